"""Backfill: what did the exchange do while nobody listened? Asked by REST, from where all is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import structlog

from account_monitor.feeds.binance.refusals import VenueRefused
from account_monitor.feeds.binance.requests import PAGE, WEEK_MS, AccountRequests
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.ledger.events import Fill, FlowEvent, trade_number
from account_monitor.ledger.flows import Flow
from account_monitor.monitor.flows import REMEMBERED_MS, FlowBook

INCOME_OVERLAPS_MS = (10_000, 120_000, 30 * 60_000)
"""Income is asked for from so long before the end of the last answer, as rows may come late: the longer, the more often
it did not help. A busy account has thousands of rows a minute, and each thousand costs 30 of the weight.
"""

NO_SUCH_SYMBOL = -1121

MAX_PAGES = 1_000
"""Of one question. More rows than this wait for the next backfill, which begins where this one ended."""

log = structlog.get_logger(__name__)


class Missed(NamedTuple):
    """What the exchange told, known or not; by symbol the id up to which its trades are complete now."""

    fills: list[Fill]
    flows: list[FlowEvent]
    complete_to: dict[str, int]
    income_to_ms: int


class _Income(NamedTuple):
    flows: list[Flow]
    traded: set[str]


class Backfill:
    """Reads trades and income of one account."""

    def __init__(self, requests: AccountRequests, server_time: ServerTime, flows: FlowBook) -> None:
        self._requests = requests
        self._server_time = server_time
        self._flows = flows
        self._asked_to_ms: int | None = None

    async def run(
        self, symbols: Iterable[str], complete_to: dict[str, int], *, opened_ms: int, income_to_ms: int, attempt: int
    ) -> Missed:
        """Return what happened since `complete_to` (trade ids by symbol) and `income_to_ms`, or since the account was
        opened: of these symbols, and of every other that the income statement names. `attempt` counts from 0 how often
        this was asked for the same reason.

        Raises: VenueRefused, VenueUnavailable, VenueLimited; nothing is returned then, and nothing is lost.
        """
        overlap_ms = INCOME_OVERLAPS_MS[-1 if self._asked_to_ms is None else min(attempt, len(INCOME_OVERLAPS_MS) - 1)]
        asked_to_ms = income_to_ms if self._asked_to_ms is None else self._asked_to_ms
        start_ms = max(opened_ms + 1, asked_to_ms - overlap_ms)
        end_ms = self._server_time.now_ms()
        income = await self._income(start_ms, end_ms)
        fills: list[Fill] = []
        reached: dict[str, int] = {}
        for symbol in sorted({*symbols, *income.traded}):
            found = await self._trades(symbol, complete_to.get(symbol), opened_ms, end_ms)
            fills += found
            numbers = [number for fill in found if (number := trade_number(fill.trade_id)) is not None]
            if numbers:
                reached[symbol] = max(numbers)
        self._asked_to_ms = end_ms
        self._flows.forget(end_ms - REMEMBERED_MS)
        return Missed(fills, self._flows.stated(income.flows), reached, end_ms)

    async def _income(self, start_ms: int, end_ms: int) -> _Income:
        """Return the rows since a time, week by week."""
        flows: list[Flow] = []
        traded: set[str] = set()
        while start_ms <= end_ms:
            for number in range(1, MAX_PAGES + 1):
                page = await self._requests.income(start_ms, min(start_ms + WEEK_MS - 1, end_ms), number)
                flows += page.flows
                traded.update(hint.symbol for hint in page.trades)
                if page.rows < PAGE:
                    break
            start_ms += WEEK_MS
        return _Income(flows, traded)

    async def _trades(self, symbol: str, known: int | None, opened_ms: int, end_ms: int) -> list[Fill]:
        """Return the fills of a symbol after an id, or since the account was opened."""
        try:
            if known is None:
                return await self._since(symbol, opened_ms + 1, end_ms)
            return await self._from(symbol, known)
        except VenueRefused as refused:
            if refused.code != NO_SUCH_SYMBOL:
                raise
            log.warning("trades_not_read", symbol=symbol, reason=str(refused))  # delisted: its trades are gone
            return []

    async def _from(self, symbol: str, known: int) -> list[Fill]:
        """Return the fills after an id."""
        fills: list[Fill] = []
        for _ in range(MAX_PAGES):
            page = await self._requests.trades_from(symbol, known + 1)
            fills += page
            known = max([known, *(number for fill in page if (number := trade_number(fill.trade_id)) is not None)])
            if len(page) < PAGE:
                break
        return fills

    async def _since(self, symbol: str, start_ms: int, end_ms: int) -> list[Fill]:
        """Return the fills since a time, week by week; a full page is continued from its last id."""
        fills: list[Fill] = []
        while start_ms <= end_ms:
            page = await self._requests.trades_between(symbol, start_ms, min(start_ms + WEEK_MS - 1, end_ms))
            fills += page
            if page:
                last = max(number for fill in page if (number := trade_number(fill.trade_id)) is not None)
                return fills + await self._from(symbol, last)
            start_ms += WEEK_MS
        return fills
