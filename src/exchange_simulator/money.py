"""Money: how does the venue count, truncate and write amounts?

Prices, quantities and amounts are integers of 1e-8; a position's cost is an integer of 1e-32 (price × quantity × 1e16),
so that what a partial close releases is never off by anything that shows. The venue's known roundings are here, each
with its source; the ambient decimal context is never used.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

SCALE = 8
UNIT: int = 10**SCALE
"""One, in the unit in which everything is counted."""

NOTIONAL = 10**16
"""Price × quantity is counted in 1e-16, and that times this in the unit of costs, 1e-32."""

COST_TO_AMOUNT = 10**24

_NUMBER = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,20}))?", re.ASCII)


class Malformed(ValueError):
    """A text is no plain decimal number."""


class TooPrecise(ValueError):
    """A number has more than eight decimal places."""


def parse(text: str) -> int:
    """Return a positive plain decimal in 1e-8. Raises: Malformed, TooPrecise."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise Malformed(text)
    whole, part = match.groups()
    if not part:
        return int(whole) * UNIT
    if len(part) > SCALE:
        if part[SCALE:].strip("0"):
            raise TooPrecise(text)
        part = part[:SCALE]
    return int(whole) * UNIT + int(part.ljust(SCALE, "0"))


def units(value: Decimal | str | int) -> int:
    """Return an amount of either sign in 1e-8. Raises: Malformed, TooPrecise."""
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return -parse(text[1:]) if text.startswith("-") else parse(text)


def trimmed(value: int, scale: int = SCALE) -> str:
    """Write without trailing zeros: 1.5, 0, -0.00000001."""
    if value < 0:
        return "-" + trimmed(-value, scale)
    unit: int = 10**scale
    whole, part = divmod(value, unit)
    return f"{whole}.{part:0{scale}d}".rstrip("0") if part else str(whole)


def fixed(value: int, decimals: int = SCALE) -> str:
    """Write with that many decimals, what is beyond them cut off: 1.50000000."""
    if value < 0:
        return "-" + fixed(-value, decimals)
    if decimals != SCALE:
        unit: int = 10 ** (SCALE - decimals)
        value //= unit
    if not decimals:
        return str(value)
    one: int = 10**decimals
    whole, part = divmod(value, one)
    return f"{whole}.{part:0{decimals}d}"


def truncated(value: int, divisor: int) -> int:
    """Divide toward zero."""
    return value // divisor if value >= 0 else -(-value // divisor)


def half_up(value: int, divisor: int) -> int:
    """Divide a positive number, rounding half up."""
    return (2 * value + divisor) // (2 * divisor)


def commission(price: int, quantity: int, rate: float) -> int:
    """Return the fee of a fill in 1e-8, negative for a rebate.

    IEEE doubles, cut off at eight decimals: reproduces every recorded commission, which plain decimals do not.
    """
    return math.trunc((price * quantity) * rate / 1e16 * 1e8)


def profit(price: int, closed: int, released: int, direction: int) -> int:
    """Return what closing realizes, in 1e-8, the way the venue does: in doubles, cut off at eight decimals.

    `released` is the cost of what is closed, `direction` +1 for a long. Mostly the exact value, now and then one unit
    less: (price − entry) × quantity as below reproduces 26 of 28 recorded closes, both differing ones by one unit.
    Where doubles would be off by more than one unit, as with very large amounts, the exact value is cut off instead.
    """
    exact = direction * (price * closed * NOTIONAL - released)
    entry = released / (closed * COST_TO_AMOUNT) * 1e8
    inexact = math.trunc(direction * ((price - entry) * closed / 1e16) * 1e8)
    if abs(inexact * COST_TO_AMOUNT - exact) <= COST_TO_AMOUNT:
        return inexact
    return truncated(exact, COST_TO_AMOUNT)
