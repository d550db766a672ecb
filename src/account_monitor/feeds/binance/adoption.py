"""Adoption: what does an account hold when it is monitored for the first time? Stated by the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from account_monitor.feeds.binance.answers import AccountStatement, PositionRisk
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.ledger.events import Anchor, Opening, trade_number

APART_SECONDS = 0.15
"""Between the two statements that must agree: more than the clocks may differ by."""

SETTLEMENT_MS = 30_000
"""How long the funding of an hour may take to be in the wallets: an account is neither adopted nor corrected meanwhile,
as nobody could tell whether they contain it.
"""

LAST_TRADES = 100
"""Asked for by symbol, to find the last one that the statements contain, while the account goes on trading."""

_HOUR_MS = 3_600_000

_PLAUSIBLE = Decimal("0.00001")
"""How far, of the value, the two ways to a position's cost may differ before the displayed entry price is taken."""


class Adopted(NamedTuple):
    """The opening, and by symbol the last trade that its positions contain."""

    opening: Opening
    last_trades: dict[str, int]


async def adopt(
    requests: AccountRequests,
    server_time: ServerTime,
    *,
    moved: Callable[[], int],
) -> Adopted | None:
    """Return the opening of the account, None if it moved meanwhile: try again.

    Two statements that are equal, with no change heard on the stream in between (`moved` counts those), hold for every
    moment between them. Raises: VenueRefused, VenueUnavailable, VenueLimited.
    """
    await requests.read_clock()
    before = moved()
    first, listed = await asyncio.gather(requests.account(urgency="urgent"), requests.position_risks())
    after_first_ms = server_time.now_ms()
    risks = {(risk.symbol, risk.position_side): risk for risk in listed}
    held = [position for position in first.positions if position.quantity]
    quantities = {key: risk.quantity for key, risk in risks.items()}
    if any(quantities.get((position.symbol, position.position_side)) != position.quantity for position in held):
        return None
    await asyncio.sleep(APART_SECONDS)
    before_second_ms = server_time.now_ms()
    second = await requests.account(urgency="urgent")
    if moved() != before or _holdings(first) != _holdings(second):
        return None
    at_ms = (after_first_ms + before_second_ms) // 2
    if settlement_seconds(before_second_ms):
        return None
    last_trades: dict[str, int] = {}
    for symbol in sorted({position.symbol for position in held}):
        number = await _last_trade(requests, symbol, at_ms)
        if number is not None:
            last_trades[symbol] = number
    anchors = tuple(
        Anchor(p.symbol, p.position_side, p.quantity, cost_of(risks[p.symbol, p.position_side]),
               last_trades.get(p.symbol), at_ms)
        for p in held
    )  # fmt: skip
    wallets = tuple(sorted((asset.asset, asset.wallet) for asset in second.assets))
    return Adopted(Opening("adopted", at_ms, wallets, anchors), last_trades)


def settlement_seconds(now_ms: int) -> float:
    """Return how long the funding of the hour may still be under way, 0 where it is over."""
    return max(0, SETTLEMENT_MS - now_ms % _HOUR_MS) / 1000


async def _last_trade(requests: AccountRequests, symbol: str, at_ms: int) -> int | None:
    """Return the id of the last trade of a symbol up to a moment, None where it is not among those of the week."""
    fills = await requests.last_trades(symbol, LAST_TRADES)
    numbers = [trade_number(fill.trade_id) for fill in fills if fill.at_ms <= at_ms]
    return max((number for number in numbers if number is not None), default=None)


def cost_of(risk: PositionRisk) -> Decimal:
    """Return the signed cost of a position: value at the mark less unrealized P&L, which are not rounded as the entry
    price is; that price, if the two contradict each other.
    """
    displayed = risk.quantity * risk.entry_price
    exact = risk.quantity * risk.mark_price - risk.unrealized
    return exact if abs(exact - displayed) <= abs(displayed) * _PLAUSIBLE else displayed


def _holdings(statement: AccountStatement) -> tuple[frozenset[object], frozenset[object]]:
    return (
        frozenset((asset.asset, asset.wallet) for asset in statement.assets),
        frozenset((p.symbol, p.position_side, p.quantity) for p in statement.positions if p.quantity),
    )
