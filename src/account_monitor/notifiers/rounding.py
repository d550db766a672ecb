"""Rounding: figures as people read them. What is computed or recorded is never rounded here."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

_FOR_PEOPLE = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[])


def rounded(value: Decimal, places: int) -> Decimal:
    """Return the value, half-even, with at most so many decimal places; what has no end stays without."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent <= places:
        return value
    return _FOR_PEOPLE.quantize(value, Decimal(1).scaleb(-places))


def money_text(value: Decimal | None, *, signed: bool = False) -> str:
    """Return an amount to the cent, such as `10,250.00`, `+3.10` or `?` where it is not known."""
    if value is None:
        return "?"
    if not value.is_finite():
        return "∞" if value > 0 else "−∞"
    cents = _FOR_PEOPLE.quantize(value, Decimal("0.01"))
    return format(cents or abs(cents), "+,.2f" if signed else ",.2f")
