"""Fills: pages of them in venue order, from the journal, and from the history where that alone still has them."""

from __future__ import annotations

import asyncio
import base64
from typing import NamedTuple, Protocol

from account_monitor.errors import HistoryUnavailable, JournalCompacted
from account_monitor.ledger.events import Fill, trade_number
from account_monitor.monitor.ports import FillPage, FillQuery, History, JournalEntry, Recording

NO_NUMBER = -1
"""The trade number of a fill whose id is no number: it sorts before the numbered ones."""

SKEW_MS = 86_400_000
"""How long after it was recorded a fill may say that it happened, at most: clocks are wrong by hours, not by days."""

FIRST, LAST = -(2**63), 2**63 - 1


class FillRecording(Recording, Protocol):
    """A journal that can be asked for fills."""

    def fills(self, query: FillQuery) -> FillPage:
        """Return a page of the fills that it holds. Raises: ValueError for a cursor that it did not give."""


class FillPlace(NamedTuple):
    """Where a fill is in the order of pages."""

    at_ms: int
    trade_number: int
    seq: int


def start_of(query: FillQuery) -> FillPlace:
    """Return the place after which a query begins. Raises: ValueError for a cursor that nobody gave."""
    start = FillPlace(FIRST if query.from_ms is None else query.from_ms, FIRST, FIRST)
    return start if query.after is None else max(start, place_of(query.after))


def page_of(entries: list[JournalEntry], limit: int) -> FillPage:
    """Return a page of so many entries; one more than that was looked for, to know whether there is a next page."""
    if len(entries) <= limit:
        return FillPage(entries, None)
    return FillPage(entries[:limit], cursor_of(_place(entries[limit - 1])))


def cursor_of(place: FillPlace) -> str:
    """Return a place as text that clients hand back."""
    return base64.urlsafe_b64encode(f"{place.at_ms}.{place.trade_number}.{place.seq}".encode()).rstrip(b"=").decode()


def place_of(cursor: str) -> FillPlace:
    """Return the place that a cursor names. Raises: ValueError."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        at_ms, number, seq = (int(part) for part in text.split("."))
        place = FillPlace(at_ms, number, seq)
        is_given = cursor_of(place) == cursor
    except ValueError:  # not base64, not ASCII, not three numbers
        is_given, place = False, FillPlace(0, 0, 0)
    if not is_given or max(map(abs, place)) > LAST:
        raise ValueError(f"cursor {cursor!r} is not from this journal")
    return place


async def read_fills(journal: FillRecording, history: History | None, query: FillQuery) -> FillPage:
    """Return a page of all fills, whether the journal still has them or the history alone.

    Raises: ValueError for a cursor that nobody gave; HistoryUnavailable where older ones are asked for.
    """
    page = await asyncio.to_thread(journal.fills, query)
    until = journal.base_seq  # after the page: what is forgotten meanwhile is in both, and not in neither
    if not until or not await asyncio.to_thread(_reaches_back, journal, query):
        return page
    if history is None:
        raise HistoryUnavailable("the history is not open yet")
    older = await history.fills(journal.account, query, until=until)
    by_place = {_place(entry): entry for entry in (*older.entries, *page.entries)}
    entries = [by_place[place] for place in sorted(by_place)]
    if (older.next is None and page.next is None) or len(entries) > query.limit:
        return page_of(entries, query.limit)
    return FillPage(entries, cursor_of(_place(entries[-1])))


def _reaches_back(journal: FillRecording, query: FillQuery) -> bool:
    """Whether what is asked for may be older than what the journal holds."""
    try:
        oldest = next(journal.entries(after=journal.base_seq), None)
    except JournalCompacted:  # just now
        return True
    return oldest is None or start_of(query).at_ms <= oldest.recorded_at_ms + SKEW_MS


def _place(entry: JournalEntry) -> FillPlace:
    fill = entry.event
    assert isinstance(fill, Fill)  # these were asked for
    number = trade_number(fill.trade_id)
    return FillPlace(fill.at_ms, NO_NUMBER if number is None else number, entry.seq)
