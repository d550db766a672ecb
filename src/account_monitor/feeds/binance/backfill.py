"""Backfill: what did the exchange do while nobody listened? Asked by REST, from where all is proved to be known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import structlog

from account_monitor.feeds.binance.completeness import Completeness
from account_monitor.feeds.binance.refusals import VenueRefused
from account_monitor.feeds.binance.requests import PAGE, WEEK_MS, AccountRequests
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.ledger.events import Fill, trade_number
from account_monitor.ledger.flows import Flow

HALF_HOUR_MS = 30 * 60_000
DAY_MS = 24 * 3_600_000

INCOME_OVERLAPS_MS = (10_000, 120_000, HALF_HOUR_MS)
"""Income is asked for from so long before what is proved, by how often a search did not help: rows may come late.
A busy account has thousands of rows a minute, and each thousand costs 30 of the weight.
"""

TRADES_OVERLAPS_MS = (0, 0, HALF_HOUR_MS, DAY_MS, WEEK_MS)
"""Trades are asked for from the last that is proved on, and then also since so long ago, whatever is proved."""

FIRST_OVERLAP = len(INCOME_OVERLAPS_MS) - 1
SEARCHED = len(TRADES_OVERLAPS_MS)
"""After so many searches that did not help, what there is has been seen."""

URGENT_ATTEMPTS = 3
"""Later ones wait for weight that nothing else needs."""

MAX_PAGES = 1_000
"""Of one question: a million rows. Were there more, the next search would begin where this one did; no account has them
between two agreements.
"""

log = structlog.get_logger(__name__)


class Missed(NamedTuple):
    """What the exchange told, known or not."""

    fills: list[Fill]
    flows: list[Flow]


class _Depth(NamedTuple):
    """How an attempt searches: since when, whether short pages are trusted, and before all else."""

    trades_since_ms: int | None
    is_thorough: bool
    is_urgent: bool


class Backfill:
    """Reads trades and income of one account."""

    def __init__(self, requests: AccountRequests, server_time: ServerTime, completeness: Completeness) -> None:
        self._requests = requests
        self._server_time = server_time
        self._completeness = completeness
        self._is_first = True

    async def run(self, symbols: Iterable[str], *, opened_ms: int, attempt: int) -> Missed:
        """Return what happened since all was proved to be known, or since the account was opened: of these symbols, and
        of every other that the income statement names. `attempt` counts from 0 how often that did not help.

        Raises: VenueRefused, VenueUnavailable, VenueLimited; nothing is returned then, and nothing is lost.
        """
        end_ms = self._server_time.now_ms()
        overlap = FIRST_OVERLAP if self._is_first else min(attempt, FIRST_OVERLAP)
        start_ms = max(opened_ms + 1, self._completeness.money_ms - INCOME_OVERLAPS_MS[overlap])
        trades_overlap_ms = TRADES_OVERLAPS_MS[attempt] if attempt < SEARCHED else HALF_HOUR_MS
        trades_since_ms = max(opened_ms + 1, end_ms - trades_overlap_ms) if trades_overlap_ms else None
        depth = _Depth(trades_since_ms, attempt > 0, attempt < URGENT_ATTEMPTS)

        flows, traded = await self._income(start_ms, end_ms, depth)
        fills: list[Fill] = []
        refused: VenueRefused | None = None
        asked = sorted({*symbols, *traded})
        skipped = 0
        for symbol in asked:
            try:
                fills += await self._trades(symbol, opened_ms, end_ms, depth)
            except VenueRefused as error:
                if error.is_about_the_key:
                    raise
                refused = error
                skipped += 1
                log.warning("trades_not_read", symbol=symbol, reason=str(error))  # delisted, say: the others matter
        if refused is not None and skipped == len(asked):
            raise refused
        self._is_first = False
        return Missed(fills, flows)

    async def _income(self, start_ms: int, end_ms: int, depth: _Depth) -> tuple[list[Flow], set[str]]:
        """Return the flows since a time, week by week, and the symbols that the statement says were traded."""
        flows: list[Flow] = []
        traded: set[str] = set()
        while start_ms <= end_ms:
            until_ms = min(start_ms + WEEK_MS - 1, end_ms)
            for number in range(1, MAX_PAGES + 1):
                page = await self._requests.income(start_ms, until_ms, number, urgent=depth.is_urgent)
                flows += page.flows
                traded.update(hint.symbol for hint in page.trades)
                if not page.rows or (page.rows < PAGE and not depth.is_thorough):
                    break
            start_ms += WEEK_MS
        return flows, traded

    async def _trades(self, symbol: str, opened_ms: int, end_ms: int, depth: _Depth) -> list[Fill]:
        """Return the fills of a symbol after those that are proved to be known, and those of the depth's time."""
        known = self._completeness.trades.get(symbol)
        if known is None:
            return await self._since(symbol, opened_ms + 1, end_ms, depth)
        fills = await self._from(symbol, known, depth)
        if depth.trades_since_ms is not None:
            fills += await self._since(symbol, depth.trades_since_ms, end_ms, depth)
        return list({_key(fill): fill for fill in fills}.values())

    async def _from(self, symbol: str, number: int, depth: _Depth) -> list[Fill]:
        """Return the fills from an id on: that one, too, as a trade of an account with itself has two of one id."""
        fills: dict[tuple[str, str], Fill] = {}
        for _ in range(MAX_PAGES):
            page = await self._requests.trades_from(symbol, number, urgent=depth.is_urgent)
            known = len(fills)
            fills |= {_key(fill): fill for fill in page}
            if len(fills) == known or (len(page) < PAGE and not depth.is_thorough):
                break
            number = max(_numbers(page), default=number)
        return list(fills.values())

    async def _since(self, symbol: str, start_ms: int, end_ms: int, depth: _Depth) -> list[Fill]:
        """Return the fills since a time, week by week; from the first page on, by their ids."""
        while start_ms <= end_ms:
            until_ms = min(start_ms + WEEK_MS - 1, end_ms)
            page = await self._requests.trades_between(symbol, start_ms, until_ms, urgent=depth.is_urgent)
            if page:
                later = await self._from(symbol, max(_numbers(page)), depth)
                return list({_key(fill): fill for fill in (*page, *later)}.values())
            start_ms += WEEK_MS
        return []


def _key(fill: Fill) -> tuple[str, str]:
    return fill.trade_id, fill.side


def _numbers(fills: Iterable[Fill]) -> list[int]:
    return [number for fill in fills if (number := trade_number(fill.trade_id)) is not None]
