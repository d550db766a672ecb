"""A journal behaves like a dictionary that remembers, whatever is thrown at it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from account_monitor.ledger.events import Event, Fill, Transfer
from account_monitor.ledger.money import ONE, use_exact_arithmetic
from account_monitor.monitor.ports import VENUE_STREAM, VENUE_TRADES, Delivery, JournalEntry, StreamPosition
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_reader import open_reader
from tests.journal_samples import delivery, fill, garbage
from tests.journal_samples import events as any_events

use_exact_arithmetic()


class Append(NamedTuple):
    deliveries: list[Delivery]
    positions: list[StreamPosition]


# Few ids and few prices, so that duplicates and conflicts are common.
_few_fills = st.builds(
    lambda number, price, at_ms, fee, side, order_id: fill(str(number), price=price, at_ms=at_ms)._replace(
        fee=fee, side=side, order_id=order_id
    ),
    st.integers(1, 6),
    st.sampled_from(["100", "100.0", "101"]),
    st.integers(1, 2),
    st.sampled_from([None, ONE]),
    st.sampled_from(["BUY", "BUY", "SELL"]),
    st.sampled_from([None, "11", "12"]),
)
_few_events: st.SearchStrategy[Event] = _few_fills | st.builds(
    lambda n: Transfer(str(n), "USDT", ONE, n), st.integers(1, 3)
)
_deliveries = st.builds(delivery, _few_events | any_events) | st.builds(garbage, st.binary(max_size=3))
_positions = st.builds(StreamPosition, st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), st.integers(1, 99))
_appends = st.builds(Append, st.lists(_deliveries, max_size=12), st.lists(_positions, max_size=2))


class NaiveJournal:
    """What a journal should hold."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.positions: dict[str, StreamPosition] = {}
        self.parked = 0

    def append(self, append: Append) -> tuple[list[Event], list[Delivery], list[Delivery], list[Delivery]]:
        new, duplicates, conflicts, parked = [], [], [], []
        for one in append.deliveries:
            event = one.event
            if isinstance(event, Fill) and self._is_counterpart(event):
                event = event._replace(is_counterpart=True)
                one = one._replace(event=event)
            if event is None:
                parked.append(one)
            elif event.event_id not in self.events:
                self.events[event.event_id] = event
                new.append(event)
            elif isinstance(event, Fill) and event.contradicts(self._fill(event)):
                conflicts.append(one)
            elif isinstance(event, Fill) and self._fill(event).lacks(event):
                before = self._fill(event)
                pairs = zip(before, event, strict=True)
                complete = Fill._make(theirs if ours is None else ours for ours, theirs in pairs)
                complete = complete._replace(revision=before.revision + 1)
                self.events[complete.event_id] = complete
                new.append(complete)
            else:
                duplicates.append(one)
        self.parked += len(parked) + len(conflicts)
        self.positions |= {position.source: position for position in append.positions}
        return new, duplicates, conflicts, parked

    def _is_counterpart(self, event: Fill) -> bool:
        counterpart = event._replace(is_counterpart=True)
        if counterpart.event_id in self.events:
            orders = [self._fill(event).order_id, self._fill(counterpart).order_id]
            if event.order_id in orders:
                return event.order_id == orders[1]
            return event.side == self._fill(counterpart).side
        if event.event_id not in self.events:
            return False
        first = self._fill(event)
        return {first.side, event.side} == {"BUY", "SELL"} and None not in (first.order_id, event.order_id) and (
            first.order_id != event.order_id
        )  # fmt: skip

    def _fill(self, event: Fill) -> Fill:
        records = [e for e in self.events.values() if isinstance(e, Fill) and e.identity == event.identity]
        return max(records, key=lambda record: record.revision)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_appends, min_size=1, max_size=3), max_size=5))
def test_any_appends_leave_what_a_dictionary_would_hold(rounds: list[list[Append]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_compare(Path(name), rounds))


async def _compare(folder: Path, rounds: Sequence[Sequence[Append]]) -> None:
    model = NaiveJournal()
    for together in rounds:  # the journal is opened anew for each round; the appends of a round wait together
        journal = Journal.open(folder, "main", clock=lambda: 7)
        expected = [model.append(append) for append in together]
        answers = await asyncio.gather(*(journal.append(*append) for append in together))
        for (new, duplicates, conflicts, parked), recorded in zip(expected, answers, strict=True):
            assert [entry.event for entry in recorded.entries] == new
            assert recorded.duplicates == duplicates
            assert [conflict.delivery for conflict in recorded.conflicts] == conflicts
            assert recorded.parked == parked
        _check(journal, model)
        await journal.close()
    if rounds:
        with open_reader(folder / "main.journal") as reader:
            assert reader.verify()[0] == len(model.events)


_of_one_id = st.builds(
    lambda source, side, order_id, price, leg, pnl: delivery(
        fill(price=price)._replace(side=side, order_id=order_id, position_side=leg, realized_pnl=pnl), source=source
    ),
    st.sampled_from(["nats:FILLS", VENUE_STREAM, VENUE_TRADES]),
    st.sampled_from(["BUY", "SELL"]),
    st.sampled_from([None, "11", "12", "13"]),
    st.sampled_from(["100", "100", "101"]),
    st.sampled_from(["BOTH", "BOTH", "LONG"]),
    st.sampled_from([None, ONE]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_of_one_id, min_size=1, max_size=5), min_size=1, max_size=4))
def test_how_the_records_of_one_id_are_batched_does_not_matter(batches: list[list[Delivery]]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        together = asyncio.run(_recorded(Path(one), batches))
        apart = asyncio.run(_recorded(Path(other), [[delivery] for batch in batches for delivery in batch]))

    assert together == apart


async def _recorded(folder: Path, batches: list[list[Delivery]]) -> tuple[list[Event], list[Event | None], list[str]]:
    """Return what is entered, what was a duplicate and what a conflict."""
    journal = Journal.open(folder, "main", clock=lambda: 7)
    answers = [await journal.append(batch) for batch in batches]
    entries = [entry.event for entry in journal.entries()]
    await journal.close()
    duplicates = [delivery.event for answer in answers for delivery in answer.duplicates]
    conflicts = [conflict.recorded.event_id for answer in answers for conflict in answer.conflicts]
    return entries, duplicates, conflicts


def _check(journal: Journal, model: NaiveJournal) -> None:
    entries = list(journal.entries())
    assert [entry.event for entry in entries] == list(model.events.values())
    assert [entry.seq for entry in entries] == list(range(1, len(model.events) + 1))
    assert dict(journal.positions) == model.positions
    assert journal.reader.dead_letter_counts().parked == model.parked
    _check_histories(journal, entries)


def _check_histories(journal: Journal, entries: list[JournalEntry]) -> None:
    keys = {entry.event.key for entry in entries if isinstance(entry.event, Fill)}
    for key in keys:
        expected = [(entry.seq, entry.event) for entry in entries if getattr(entry.event, "key", None) == key]
        assert list(journal.history(key, after=0, until=len(entries))) == expected
