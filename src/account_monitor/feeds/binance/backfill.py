"""Backfill: what did the exchange do while nobody listened? Asked by REST, from where all is proved to be known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

import structlog

from account_monitor.feeds.binance.budget import Urgency
from account_monitor.feeds.binance.completeness import Completeness
from account_monitor.feeds.binance.refusals import VenueRefused, VenueUnavailable
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

START_OVERLAP = 1
"""Which of them is the least at a start. Accounts that are taken over together share the weight of an address."""

DEEPEST_OVERLAP = len(INCOME_OVERLAPS_MS) - 1

SEARCHED = len(TRADES_OVERLAPS_MS)
"""After so many searches that did not help, what there is has been seen."""

URGENT_ATTEMPTS = 3
"""Later ones wait for weight that nothing else needs."""

MAX_PAGES = 1_000
"""Of one question: a million rows. Were there more, the next search would begin where this one did; no account has them
between two agreements.
"""

T = TypeVar("T")

log = structlog.get_logger(__name__)


MAX_NAMED_PAGES = 5
"""For the fills of a symbol that are asked for by their ids: somebody else chose them."""

RETRY_PAUSES_SECONDS = (0.5, 2.0)
"""Before a page that did not come is asked for again: a search of hundreds of pages must not begin anew for one."""

Take: TypeAlias = Callable[[Sequence[Fill]], Awaitable[None]]
"""Takes fills as they come, known or not, and returns once there is room for more."""


class _Depth(NamedTuple):
    """How an attempt searches: since when, whether short pages are trusted, and before all else."""

    since_ms: int
    """From here on, of what is not known by its ids."""
    trades_since_ms: int | None
    """From here on, whatever is known; None where the ids are trusted."""
    is_thorough: bool
    urgency: Urgency


class Backfill:
    """Reads trades and income of one account."""

    def __init__(self, requests: AccountRequests, server_time: ServerTime, completeness: Completeness) -> None:
        self._requests = requests
        self._server_time = server_time
        self._completeness = completeness
        self._is_first = True

    async def run(
        self,
        symbols: Iterable[str],
        take: Take,
        *,
        opened_ms: int,
        attempt: int,
        named: Iterable[tuple[str, int]] = (),
    ) -> list[Flow]:
        """Hand over the fills since all was proved to be known, or since the account was opened: of these symbols, and
        of every other that the income statement names. Return the flows, known or not.

        `named` are fills (symbol, trade id) of these symbols, of which the exchange is to tell even if what it states
        agrees without. `attempt` counts from 0 how often that did not help. Raises: VenueRefused, VenueUnavailable,
        VenueLimited; what was handed over then is part of it, and the next search begins where this one did.
        """
        end_ms = self._server_time.now_ms()
        overlap = min(max(attempt, START_OVERLAP if self._is_first else 0), DEEPEST_OVERLAP)
        start_ms = max(opened_ms + 1, self._completeness.money_ms - INCOME_OVERLAPS_MS[overlap])
        trades_overlap_ms = TRADES_OVERLAPS_MS[attempt] if attempt < SEARCHED else HALF_HOUR_MS
        trades_since_ms = max(opened_ms + 1, end_ms - trades_overlap_ms) if trades_overlap_ms else None
        urgency: Urgency = "urgent" if attempt < URGENT_ATTEMPTS else "spare"
        depth = _Depth(start_ms, trades_since_ms, attempt > 0, urgency)

        flows, traded = await self._income(end_ms, depth)
        numbers = _by_symbol(named)
        for symbol in sorted({*symbols, *traded}):
            try:
                await self._trades(symbol, end_ms, depth, take)
                await self._named(symbol, numbers.get(symbol, []), depth, take)
            except VenueRefused as error:
                if error.is_about_the_key:
                    raise
                log.warning("trades_not_read", symbol=symbol, reason=str(error))  # delisted, say: the others matter
        self._is_first = False
        return flows

    async def _income(self, end_ms: int, depth: _Depth) -> tuple[list[Flow], set[str]]:
        """Return the flows of the depth's time, week by week, and the symbols that the statement says were traded."""
        flows: list[Flow] = []
        traded: set[str] = set()
        start_ms = depth.since_ms
        while start_ms <= end_ms:
            until_ms = min(start_ms + WEEK_MS - 1, end_ms)
            for number in range(1, MAX_PAGES + 1):
                page = await asked(partial(self._requests.income, start_ms, until_ms, number, depth.urgency))
                flows += page.flows
                traded.update(page.traded)
                if not page.rows or (page.rows < PAGE and not depth.is_thorough):
                    break
            start_ms += WEEK_MS
        return flows, traded

    async def _trades(self, symbol: str, end_ms: int, depth: _Depth, take: Take) -> None:
        """Hand over the fills of a symbol after those that are proved to be known, and those of the depth's time."""
        known = self._completeness.trades.get(symbol)
        if known is not None and depth.trades_since_ms is None:
            await self._from(symbol, known, depth, take)
        else:  # what is after the last that is known is after the time up to which all is
            since_ms = depth.since_ms if depth.trades_since_ms is None else min(depth.since_ms, depth.trades_since_ms)
            await self._since(symbol, since_ms, end_ms, depth, take)

    async def _from(self, symbol: str, number: int, depth: _Depth, take: Take, *, before: Sequence[Fill] = ()) -> None:
        """Hand over the fills from an id on that are not in the page before: the one of that id, too, as a trade of an
        account with itself has two.
        """
        for _ in range(MAX_PAGES):
            page = await asked(partial(self._requests.trades_from, symbol, number, depth.urgency))
            seen = {_key(fill) for fill in before}
            fresh = [fill for fill in page if _key(fill) not in seen]
            await take(fresh)
            if not fresh or (len(page) < PAGE and not depth.is_thorough):
                return
            before = page
            number = max(_numbers(page), default=number)

    async def _named(self, symbol: str, numbers: list[int], depth: _Depth, take: Take) -> None:
        """Hand over fills by their ids, which may lie before what is proved: a bot told of them, and of no gap."""
        known = self._completeness.trades.get(symbol)
        if known is not None:
            numbers = [number for number in numbers if number < known]  # from there on all was asked for
        for _ in range(MAX_NAMED_PAGES):
            if not numbers:
                return
            page = await asked(partial(self._requests.trades_from, symbol, numbers[0], depth.urgency))
            await take(page)
            last = max(_numbers(page), default=numbers[-1])
            numbers = [number for number in numbers if number > last]

    async def _since(self, symbol: str, start_ms: int, end_ms: int, depth: _Depth, take: Take) -> None:
        """Hand over the fills since a time, week by week; from the first page on, by their ids."""
        while start_ms <= end_ms:
            until_ms = min(start_ms + WEEK_MS - 1, end_ms)
            page = await asked(partial(self._requests.trades_between, symbol, start_ms, until_ms, depth.urgency))
            if page:
                await take(page)
                if numbers := _numbers(page):
                    await self._from(symbol, max(numbers), depth, take, before=page)
                return
            start_ms += WEEK_MS


async def asked(ask: Callable[[], Awaitable[T]]) -> T:
    """Return the answer, asked for again where there was none. Raises: VenueRefused, VenueUnavailable, VenueLimited."""
    for pause in RETRY_PAUSES_SECONDS:
        try:
            return await ask()
        except VenueUnavailable as error:
            log.debug("page_not_read", reason=str(error))
            await asyncio.sleep(pause)
    return await ask()


def _by_symbol(named: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for symbol, number in sorted(named):
        numbers.setdefault(symbol, []).append(number)
    return numbers


def _key(fill: Fill) -> tuple[str, str]:
    return fill.trade_id, fill.side


def _numbers(fills: Iterable[Fill]) -> list[int]:
    return [number for fill in fills if (number := trade_number(fill.trade_id)) is not None]
