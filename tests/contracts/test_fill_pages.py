"""Pages of fills: the same whether the journal still holds them, or the history alone, in each of its databases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from account_monitor.errors import HistoryUnavailable
from account_monitor.ledger.events import Fill
from account_monitor.monitor.fills import SKEW_MS, read_fills
from account_monitor.monitor.ports import Delivery, FillQuery, JournalEntry
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader
from tests.history_samples import NOW, write_entries
from tests.journal_samples import fill

pytestmark = pytest.mark.integration

FORGOTTEN = 50


def random_fills(rng: random.Random) -> list[Fill]:
    """Fills of three symbols, many late, some of one millisecond, some whose ids are no numbers, some told of twice."""
    made: list[Fill] = []
    for number in range(1, 91):
        at_ms = NOW - rng.randint(1, 40)
        trade_id = rng.choice([str(number), f"order-{number}"])
        made.append(fill(trade_id, symbol=rng.choice(["BTCUSDT", "ETHUSDT", "1000SHIBUSDT"]), at_ms=at_ms))
        if rng.random() < 0.2:  # completed by a later record
            earlier = rng.choice(made)
            made.append(earlier._replace(maker=True))
    return made


@pytest.fixture
async def journals(tmp_path: Path, store: HistoryStore) -> AsyncIterator[tuple[Journal, list[JournalEntry]]]:
    """A journal that forgot its first entries, which the store has, and its fills as they were before."""
    folder = tmp_path / "data"
    folder.mkdir()
    journal = Journal.open(folder, "main", clock=lambda: NOW)
    for each in random_fills(random.Random(7)):
        await journal.append([Delivery("nats:FILLS", "trading.fills", b"{}", each)])
    whole = journal.fills(FillQuery(limit=1_000)).entries
    with open_reader(journal_path(folder, "main")) as reader:
        await write_entries(store, reader)
    journal.compact(FORGOTTEN)
    async with asyncio.timeout(10):
        while journal.base_seq < FORGOTTEN:  # noqa: ASYNC110  # another thread does it
            await asyncio.sleep(0.001)
    yield journal, whole
    await journal.close()


async def pages(journal: Journal, store: HistoryStore, query: FillQuery) -> list[JournalEntry]:
    """Return what all pages of a query hold."""
    found: list[JournalEntry] = []
    while True:
        page = await read_fills(journal, store, query)
        assert len(page.entries) <= query.limit
        found += page.entries
        if page.next is None:
            return found
        assert len(page.entries) == query.limit
        query = query._replace(after=page.next)


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_pages_hold_every_fill_once_in_venue_order(
    journals: tuple[Journal, list[JournalEntry]], store: HistoryStore, limit: int
) -> None:
    journal, whole = journals

    assert len(journal.fills(FillQuery(limit=1_000)).entries) < len(whole)
    assert await pages(journal, store, FillQuery(limit=limit)) == whole


async def test_a_symbol_and_a_span_pick_from_both(
    journals: tuple[Journal, list[JournalEntry]], store: HistoryStore
) -> None:
    journal, whole = journals
    query = FillQuery("1000SHIBUSDT", NOW - 30, NOW - 5, limit=3)
    mine = [each for each in whole if isinstance(each.event, Fill) and each.event.symbol == "1000SHIBUSDT"]

    assert await pages(journal, store, query) == [each for each in mine if NOW - 30 <= each.event.at_ms < NOW - 5]


async def test_what_cannot_be_older_is_read_without_the_history(
    journals: tuple[Journal, list[JournalEntry]], store: HistoryStore
) -> None:
    journal, _ = journals
    recent = FillQuery(from_ms=NOW + SKEW_MS + 1)

    assert (await read_fills(journal, None, recent)).entries == []
    with pytest.raises(HistoryUnavailable):
        await read_fills(journal, None, FillQuery())


@pytest.mark.parametrize("cursor", ["", "nonsense", "MS4yLjM", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjEuMQ"])
async def test_a_cursor_that_nobody_gave_is_refused(
    journals: tuple[Journal, list[JournalEntry]], store: HistoryStore, cursor: str
) -> None:
    if cursor == "MS4yLjM":  # 1.2.3: a place as good as any other, before everything that is left
        assert await pages(journals[0], store, FillQuery(after=cursor, limit=1_000)) == journals[1]
        return
    with pytest.raises(ValueError, match="is not from this journal"):
        await read_fills(journals[0], store, FillQuery(after=cursor))
