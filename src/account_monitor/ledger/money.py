"""Money: exact decimals. Every rounding in the system has its name and its reason here."""

from __future__ import annotations

import decimal
import re
from collections.abc import Iterable
from decimal import Decimal

ZERO = Decimal(0)
ONE = Decimal(1)

MAX_INTEGER_DIGITS = 20
MAX_FRACTION_DIGITS = 20

# Products and sums of inputs stay far below this, and libmpdec charges for digits used, not for digits allowed.
_PRECISION = 400
_TRAPS = (
    decimal.Inexact,
    decimal.FloatOperation,
    decimal.InvalidOperation,
    decimal.DivisionByZero,
    decimal.Overflow,
)

_DIVISION_PLACES = 30
_QUANTUM = Decimal(1).scaleb(-_DIVISION_PLACES)


def _sticky_context(precision: int) -> decimal.Context:
    # ROUND_05UP keeps a sticky last digit, so rounding its result once more is as good as rounding the exact quotient.
    traps = [decimal.InvalidOperation, decimal.DivisionByZero]
    return decimal.Context(prec=precision, rounding=decimal.ROUND_05UP, traps=traps)


# Long division costs by the digit, so the usual quotient gets a short context.
_SHORT_INTEGER_DIGITS = 30
_SHORT = _sticky_context(_SHORT_INTEGER_DIGITS + _DIVISION_PLACES + 2)
_LONG = _sticky_context(_PRECISION)
_HALF_EVEN = decimal.Context(prec=_PRECISION, rounding=decimal.ROUND_HALF_EVEN, traps=[decimal.InvalidOperation])
_DOWN = decimal.Context(prec=_PRECISION, rounding=decimal.ROUND_DOWN, traps=[decimal.InvalidOperation])

_VENUE_QUANTUM = Decimal(1).scaleb(-8)
_VENUE_GUARD = Decimal(1).scaleb(-20)


def _significant(digits: int) -> decimal.Context:
    traps = [decimal.InvalidOperation, decimal.DivisionByZero]
    return decimal.Context(
        prec=digits, rounding=decimal.ROUND_HALF_EVEN, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=traps
    )


# Units are rounded so much finer than percentages that no number of deposits shows in a percentage.
_UNITS = _significant(120)
_SHOWN_DIGITS = 60
_SHOWN = _significant(_SHOWN_DIGITS)
_SHOWN_PLACES = 10
_SHOWN_QUANTUM = Decimal(1).scaleb(-_SHOWN_PLACES)
_HUNDRED = Decimal(100)

_is_plain = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?").fullmatch
_is_scientific = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?[eE][+-]?[0-9]{1,3}").fullmatch


def use_exact_arithmetic() -> None:
    """Make decimal arithmetic exact or loud, in this thread and in every thread that starts later.

    Called first thing in the process and in the tests: an operation that would round raises `decimal.Inexact`.
    """
    # Rebinding decimal.DefaultContext has no effect; new threads copy the original object.
    for context in (decimal.DefaultContext, decimal.getcontext()):
        context.prec = _PRECISION
        context.rounding = decimal.ROUND_HALF_EVEN
        context.Emin = decimal.MIN_EMIN
        context.Emax = decimal.MAX_EMAX
        for signal in context.traps:
            context.traps[signal] = signal in _TRAPS


def divide(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Return the quotient, rounded half-even to 30 decimal places: the one rounding of released cost.

    Raises: decimal.DivisionByZero.
    """
    if not divisor:
        raise decimal.DivisionByZero
    quotient = _SHORT.divide(dividend, divisor)
    if quotient.adjusted() >= _SHORT_INTEGER_DIGITS:
        quotient = _LONG.divide(dividend, divisor)
    return _HALF_EVEN.quantize(quotient, _QUANTUM)


def venue_amount(amount: Decimal) -> Decimal:
    """Return an amount as the venue counts margins: cut off at eight decimals, toward zero.

    What divisions leave behind the 20th decimal is rounded away first, half-even, so that an amount which ought to end
    before does not lose its last digit.
    Source: 12.31427700 × 0.65 % is stated as 0.08004280, in the venue's documentation of the account.
    """
    return _DOWN.quantize(_HALF_EVEN.quantize(amount, _VENUE_GUARD), _VENUE_QUANTUM)


def scaled(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return amount × part / whole, rounded half-even to 120 significant digits: the one rounding of units.

    Raises: decimal.DivisionByZero.
    """
    return _UNITS.divide(amount * part, whole)


def shown(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Return a quotient that nothing is computed from, rounded half-even to 10 decimal places.

    Of a number with more than 50 integer digits, 60 digits are kept. Raises: decimal.DivisionByZero.
    """
    return _shown(_SHOWN.divide(dividend, divisor))


def total_of(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return a sum, None where one of the amounts is not known."""
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def change_percent(after: Decimal, before: Decimal) -> Decimal:
    """Return by how many percent `after` is more than `before`, rounded as `shown` rounds.

    Raises: decimal.DivisionByZero.
    """
    return _shown(_SHOWN.subtract(_SHOWN.divide(_HUNDRED * after, before), _HUNDRED))


def _shown(number: Decimal) -> Decimal:
    if number.adjusted() >= _SHOWN_DIGITS - _SHOWN_PLACES:
        return number
    return _HALF_EVEN.quantize(number, _SHOWN_QUANTUM) or ZERO


def decimal_from_text(text: str) -> Decimal:
    """Return the number that `text` writes in ASCII digits: at most 20 before and 20 after the point.

    Refuses what Python's constructor would take: NaN, infinities, underscores, spaces, other scripts' digits.
    Raises: ValueError, naming what was expected.
    """
    if _is_plain(text):
        return Decimal(text) or ZERO  # "-0" is zero
    if not _is_scientific(text):
        raise ValueError("expected a decimal number")
    number = Decimal(text) or ZERO
    exponent = number.as_tuple().exponent
    if number.adjusted() >= MAX_INTEGER_DIGITS or exponent < -MAX_FRACTION_DIGITS:  # type: ignore[operator]  # finite
        raise ValueError(f"expected at most {MAX_INTEGER_DIGITS} integer and {MAX_FRACTION_DIGITS} fractional digits")
    return number


def to_text(number: Decimal) -> str:
    """Return plain fixed-point text without trailing zeros: equal numbers have equal text, never `1E-8` or `-0`."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def rounded_text(number: Decimal, places: int) -> str:
    """Return plain fixed-point text, rounded half-even to so many decimal places: for sentences, never for figures."""
    return to_text(_HALF_EVEN.quantize(number, Decimal(1).scaleb(-places)))
