"""Recorder: what one append changes in the journal. It runs inside the writer's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import apsw
import msgspec

from account_monitor.ledger.events import Event, Fill
from account_monitor.ledger.money import to_text
from account_monitor.monitor.ports import (
    CONFLICTING_FILL,
    Conflict,
    Delivery,
    JournalEntry,
    Recorded,
    StreamPosition,
)
from account_monitor.stores.bulk import insert_rows
from account_monitor.stores.chain import Head, columns, link
from account_monitor.stores.codec import decode_event, encode_event
from account_monitor.stores.dead_letters import Refusal, mark_retried, park, refusal
from account_monitor.stores.journal_file import SQL

CHECKPOINTS_KEPT = 2
"""The newest, and one before it in case the newest is of another version of the program."""


class _Sorted(NamedTuple):
    """The deliveries of an append by what becomes of them, each list in their order."""

    fresh: list[tuple[str, Event, Delivery]]
    duplicates: list[Delivery]
    conflicts: list[Conflict]
    parked: list[Delivery]
    refusals: list[Refusal]
    elsewhere: list[Delivery]
    """Retries of dead letters of this journal that another journal books."""


class Recorder:
    """Appends to one journal. After an exception the transaction must be rolled back and the recorder not be used."""

    def __init__(self, connection: apsw.Connection, head: Head, positions: Mapping[str, StreamPosition]) -> None:
        self.head = head
        self.positions = dict(positions)
        self._connection = connection

    def append(self, deliveries: Sequence[Delivery], positions: Sequence[StreamPosition], now_ms: int) -> Recorded:
        """Record what is new, park what cannot be booked, and move the positions."""
        batch = _sort(deliveries, {})
        entries = self._insert_all_new(batch, now_ms)
        if entries is None:
            batch = _sort(deliveries, self._find([event_id for event_id, _, _ in batch.fresh]))
            entries = self._insert(batch, now_ms)
        if batch.refusals:
            park(self._connection, batch.refusals, now_ms)
        self._mark_retried(batch, now_ms)
        self._move(positions)
        return Recorded(entries, batch.duplicates, batch.conflicts, batch.parked)

    def save_checkpoint(self, seq: int, fingerprint: str, state: bytes) -> None:
        """Keep a folded state and forget all but the newest."""
        self._connection.execute(SQL["save_checkpoint"], (seq, fingerprint, state))
        self._connection.execute(SQL["drop_old_checkpoints"], (CHECKPOINTS_KEPT,))

    def _insert_all_new(self, batch: _Sorted, now_ms: int) -> list[JournalEntry] | None:
        # Nearly every batch is all new, so nothing is looked up before: the unique index says if one was not.
        self._connection.execute("SAVEPOINT all_new")
        entries = None
        try:
            entries = self._insert(batch, now_ms)
        except apsw.ConstraintError:
            self._connection.execute("ROLLBACK TO all_new")
        self._connection.execute("RELEASE all_new")
        return entries

    def _insert(self, batch: _Sorted, now_ms: int) -> list[JournalEntry]:
        if not batch.fresh:
            return []
        rows: list[tuple[object, ...]] = []  # in the order of chain.Row, which costs too much to make
        entries: list[JournalEntry] = []
        epoch, seq, last_hash = self.head
        for event_id, event, delivery in batch.fresh:
            seq += 1
            kind, body = encode_event(event)
            stated = (seq, event_id, kind, event.at_ms, now_ms, delivery.source)
            last_hash = link(last_hash, epoch, stated, body)
            rows.append((*stated, *columns(event), body.decode(), last_hash))
            entries.append(JournalEntry(seq, event, delivery.source, now_ms))
        insert_rows(self._connection, SQL["append_entries"], rows)
        self._connection.execute(SQL["move_head"], (seq, last_hash))
        self.head = Head(epoch, seq, last_hash)
        return entries

    def _find(self, event_ids: list[str]) -> dict[str, Event]:
        rows = self._connection.execute(SQL["find_recorded"], (msgspec.json.encode(event_ids).decode(),))
        return {event_id: decode_event(seq, kind, body) for event_id, seq, kind, body in rows}

    def _mark_retried(self, batch: _Sorted, now_ms: int) -> None:
        booked = [*(delivery for _, _, delivery in batch.fresh), *batch.duplicates, *batch.elsewhere]
        ids = [delivery.retry_of for delivery in booked if delivery.retry_of is not None]
        mark_retried(self._connection, ids, now_ms)

    def _move(self, positions: Sequence[StreamPosition]) -> None:
        for position in positions:
            self._connection.execute(SQL["move_position"], position)
            self.positions[position.source] = position


def _sort(deliveries: Sequence[Delivery], recorded: Mapping[str, Event]) -> _Sorted:
    known = dict(recorded)
    batch = _Sorted([], [], [], [], [], [])
    for delivery in deliveries:
        event = delivery.event
        if event is None and delivery.rejection is None:
            batch.elsewhere.append(delivery)
            continue
        if event is None or delivery.rejection is not None:
            batch.parked.append(delivery)
            batch.refusals.append(refusal(delivery))
            continue
        event_id = event.event_id
        before = known.get(event_id)
        if before is None:
            known[event_id] = event
            batch.fresh.append((event_id, event, delivery))
        elif conflict := _conflict(before, event, delivery):
            batch.conflicts.append(conflict)
            batch.refusals.append(Refusal(delivery, CONFLICTING_FILL, _reason(conflict)))
        else:
            batch.duplicates.append(delivery)
    return batch


def _conflict(before: Event, event: Event, delivery: Delivery) -> Conflict | None:
    if not isinstance(before, Fill) or not isinstance(event, Fill):
        return None
    fields = before.contradicts(event) or before.lacks(event)
    return Conflict(delivery, before, fields) if fields else None


def _reason(conflict: Conflict) -> str:
    fill = conflict.delivery.event
    told = (
        f"{field}: recorded {_said(conflict.recorded, field)}, got {_said(fill, field)}" for field in conflict.fields
    )
    return f"{conflict.recorded.event_id} is recorded with other content: {'; '.join(told)}"


def _said(fill: object, field: str) -> str:
    value = getattr(fill, field)
    return to_text(value) if hasattr(value, "as_tuple") else str(value)
