"""Orders: who placed the order behind a fill that was missed? The exchange's own ids of orders tell.

Source: "Event: Order Update" of the user data streams, for what the exchange does itself; recorded orders of its web
page and apps for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

import structlog

from account_monitor.feeds.binance.backfill import asked
from account_monitor.feeds.binance.refusals import VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.ledger.events import Fill
from account_monitor.ledger.reconciliation import Cause

MAX_ASKED = 20
"""Orders of one search that are asked about: each costs 1 of the weight."""

_PLACED_BY: tuple[tuple[str, Cause], ...] = (
    ("settlement_autoclose-", "SETTLEMENT"),
    ("adl_autoclose", "ADL"),
    ("autoclose-", "LIQUIDATION"),
    ("web_", "FOREIGN_ORDER"),
    ("android_", "FOREIGN_ORDER"),
    ("ios_", "FOREIGN_ORDER"),
    ("electron_", "FOREIGN_ORDER"),
)
"""How ids begin that the exchange gives, or its own page and apps."""

log = structlog.get_logger(__name__)


def placed_by(client_order_id: str) -> Cause:
    """Return what it is called when a fill of such an order was missed."""
    return next((cause for start, cause in _PLACED_BY if client_order_id.startswith(start)), "MISSED_FILL")


async def ask_about_orders(requests: AccountRequests, fills: Iterable[Fill]) -> dict[tuple[str, str], Cause]:
    """Return what is known of the orders behind fills, by symbol and id; those that are not shown are left out."""
    named = dict.fromkeys((fill.symbol, fill.order_id) for fill in fills if fill.order_id is not None)
    orders = list(named)[:MAX_ASKED]
    causes = await asyncio.gather(*(_cause_of(requests, *order) for order in orders))
    return {order: cause for order, cause in zip(orders, causes, strict=True) if cause is not None}


async def _cause_of(requests: AccountRequests, symbol: str, order_id: str) -> Cause | None:
    try:
        return placed_by((await asked(partial(requests.order, symbol, order_id))).client_order_id)
    except (VenueRefused, VenueUnavailable, VenueLimited) as error:
        log.info("order_not_shown", symbol=symbol, order_id=order_id, reason=str(error))
        return None  # its fill is booked all the same; a ban is seen by whatever asks next
