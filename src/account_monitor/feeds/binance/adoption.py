"""Adoption: what does an account hold when it is monitored for the first time? Stated by the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import structlog

from account_monitor.feeds.binance.answers import AccountStatement, PositionRisk
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.ledger.events import Anchor, Opening, trade_number

APART_SECONDS = 0.3
"""Between the two statements that must agree: more than the clocks may differ by."""

_PLAUSIBLE = Decimal("0.00001")
"""How far, of the value, the two ways to a position's cost may differ before the displayed entry price is taken."""

log = structlog.get_logger(__name__)


class Adopted(NamedTuple):
    """The opening, and by symbol the last trade that its positions contain."""

    opening: Opening
    last_trades: dict[str, int]


async def adopt(
    requests: AccountRequests,
    server_time: ServerTime,
    *,
    heard: Callable[[], int],
) -> Adopted | None:
    """Return the opening of the account, None if it moved meanwhile: try again.

    Two statements that are equal, with nothing heard on the stream in between (`heard` counts), hold for every moment
    between them. Raises: VenueRefused, VenueUnavailable, VenueLimited.
    """
    before = heard()
    first = await requests.account()
    after_first_ms = server_time.now_ms()
    risks = {(risk.symbol, risk.position_side): risk for risk in await requests.position_risks()}
    last_trades: dict[str, int] = {}
    anchors: list[Anchor] = []
    held = [position for position in first.positions if position.quantity]
    for position in held:
        risk = risks.get((position.symbol, position.position_side))
        if risk is None or risk.quantity != position.quantity:
            return None
        fill = await requests.last_trade(position.symbol)
        number = None if fill is None else trade_number(fill.trade_id)
        if number is not None:
            last_trades[position.symbol] = number
        cost = cost_of(risk)
        anchors.append(Anchor(position.symbol, position.position_side, position.quantity, cost, number, None))
    await asyncio.sleep(APART_SECONDS)
    before_second_ms = server_time.now_ms()
    second = await requests.account()
    if heard() != before or _holdings(first) != _holdings(second):
        log.info("account_moved_during_adoption")
        return None
    at_ms = (after_first_ms + before_second_ms) // 2
    wallets = tuple(sorted((asset.asset, asset.wallet) for asset in second.assets))
    opening = Opening("adopted", at_ms, wallets, tuple(anchor._replace(at_ms=at_ms) for anchor in anchors))
    return Adopted(opening, last_trades)


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
