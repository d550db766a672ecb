"""Recorder: what one append changes in the journal. It runs inside the writer's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import apsw
import msgspec

from account_monitor.ledger.events import Event, Fill, Horizon
from account_monitor.ledger.money import ZERO, to_text
from account_monitor.monitor.ports import (
    CONFLICTING_FILL,
    Conflict,
    Delivery,
    JournalEntry,
    Recorded,
    StreamPosition,
    authority,
    is_venue,
)
from account_monitor.stores.bulk import insert_rows
from account_monitor.stores.chain import Head, columns, link
from account_monitor.stores.codec import decode_event, encode_event
from account_monitor.stores.dead_letters import Refusal, mark_retried, park, refusal
from account_monitor.stores.journal_file import SQL, read_base
from account_monitor.stores.spent import SPENT, Forgotten, Spent, Verdict, identity_of

CHECKPOINTS_KEPT = 2
"""The newest, and one before it in case the newest is of another version of the program."""


CHECKPOINT_EVERY = 200_000
"""Entries between two of the older ones: a look into the past folds so many at most, in two or three seconds."""


FORGOTTEN_AT_ONCE = 100
"""Old entries that go in one transaction: what comes meanwhile waits for a millisecond or two."""


SPARE_PAGES = 2_048
"""Free pages of 4 KiB, and half as many as are in use, stay in the file for what comes; more go back to the disk."""

PAGES_AT_ONCE = 100
"""Pages that go back in one transaction."""


class _Known(NamedTuple):
    """The record of an event that stands, and who said it."""

    event: Event
    source: str


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
        self.base_seq = read_base(connection).seq
        self._connection = connection
        self._spent = Spent(connection)

    def append(self, deliveries: Sequence[Delivery], positions: Sequence[StreamPosition], now_ms: int) -> Recorded:
        """Record what is new, park what cannot be booked, and move the positions."""
        is_final = self._spent.is_final
        batch = _sort(deliveries, {}, is_final)
        may_be_known = any(self._spent.may_know(event) for _, event, _ in batch.fresh)
        entries = None if may_be_known else self._insert_all_new(batch, now_ms)
        if entries is None:
            known = self._known(deliveries, [identity_of(event) for _, event, _ in batch.fresh])
            verdicts = self._spent.verdicts([event for _, event, _ in batch.fresh if identity_of(event) not in known])
            batch = _sort(deliveries, known, is_final, verdicts)
            entries = self._insert(batch, now_ms)
        if batch.refusals:
            park(self._connection, batch.refusals, now_ms)
        self._mark_retried(batch, now_ms)
        self._move(positions)
        return Recorded(entries, batch.duplicates, batch.conflicts, batch.parked)

    def begin_epoch(self, epoch: int, now_ms: int) -> None:
        """Let what is recorded from now on belong to a younger epoch."""
        self._connection.execute(SQL["begin_epoch"], (epoch, now_ms))
        self.head = self.head._replace(epoch=epoch)

    def save_checkpoint(self, seq: int, fingerprint: str, state: bytes) -> None:
        """Keep a folded state and forget older ones. What is final in it is final when the entries are gone."""
        self._spent.confirm(state)
        self._connection.execute(SQL["save_checkpoint"], (seq, fingerprint, state))
        self._connection.execute(SQL["drop_old_checkpoints"], (CHECKPOINTS_KEPT, fingerprint, CHECKPOINT_EVERY))

    def forget(self, until: int) -> bool:
        """Forget some of the entries up to a sequence, the oldest, but not that they were; where none are left, give
        some pages back. Return whether there is more to do.

        The last entry stays, whatever is asked for.
        """
        return self._forget_some(until) or self._shrink()

    def _forget_some(self, until: int) -> bool:
        until = min(until, self.head.seq - 1)
        rows: Any = self._connection.execute(SQL["entries_to_forget"], (until, FORGOTTEN_AT_ONCE)).fetchall()
        if not rows:
            return False
        self._spent.take(map(Forgotten._make, rows))
        last = Forgotten._make(rows[-1])
        self._connection.execute(SQL["forget_entries"], (last.seq,))
        if last.seq > self.base_seq:
            self._connection.execute(SQL["move_base"], (last.seq, last.hash))
            self._connection.execute(SQL["forget_checkpoints"], (last.seq,))
            self.base_seq = last.seq
        return last.seq < until

    def _shrink(self) -> bool:
        """Give back some pages that are free and will not be needed soon; return whether there may be more of them."""
        free, pages = self._free_pages(), int(self._connection.pragma("page_count"))
        spare = free - max(SPARE_PAGES, (pages - free) // 2)
        if spare <= 0:
            return False
        self._connection.execute(f"PRAGMA incremental_vacuum({min(spare, PAGES_AT_ONCE)})").fetchall()
        return self._free_pages() < free  # files that older versions made cannot

    def _free_pages(self) -> int:
        return int(self._connection.pragma("freelist_count"))

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
        for entry in entries:
            if type(entry.event) is Horizon:
                self._spent.note(entry.event)
        return entries

    def _known(self, deliveries: Sequence[Delivery], identities: list[str]) -> dict[str, _Known]:
        """Return what is recorded under these identities, and the counterparts of which the deliveries may tell."""
        known = self._find(identities)
        told = (delivery.event for delivery in deliveries)
        fills = [event for event in told if type(event) is Fill and (first := known.get(event.identity)) is not None
                 and _may_be_another(event, first.event)]  # fmt: skip
        return known | self._find([_as_counterpart(fill).identity for fill in fills]) if fills else known

    def _find(self, identities: list[str]) -> dict[str, _Known]:
        rows = self._connection.execute(SQL["find_recorded"], (msgspec.json.encode(identities).decode(),))
        known: dict[str, _Known] = {}
        for identity, seq, kind, body, source in rows:
            if kind == "void":
                continue  # of an execution that was moved to another position, the record there is what stands
            before = known.get(identity)
            if before is not None and authority(before.source) > authority(source):
                source = before.source  # it was completed by a source with less
            known[identity] = _Known(decode_event(seq, kind, body), source)
        return known

    def _mark_retried(self, batch: _Sorted, now_ms: int) -> None:
        booked = [*(delivery for _, _, delivery in batch.fresh), *batch.duplicates, *batch.elsewhere]
        ids = [delivery.retry_of for delivery in booked if delivery.retry_of is not None]
        mark_retried(self._connection, ids, now_ms)

    def _move(self, positions: Sequence[StreamPosition]) -> None:
        for position in positions:
            self._connection.execute(SQL["move_position"], position)
            self.positions[position.source] = position


_NOTHING: Mapping[str, Verdict] = MappingProxyType({})


def _sort(
    deliveries: Sequence[Delivery],
    recorded: Mapping[str, _Known],
    is_final: Callable[[Fill], bool],
    verdicts: Mapping[str, Verdict] = _NOTHING,
) -> _Sorted:
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
        identity = identity_of(event)
        verdict = verdicts.get(identity)
        if verdict is not None:
            if verdict == SPENT:
                batch.duplicates.append(delivery)
            else:
                refused = delivery._replace(rejection=CONFLICTING_FILL, reason=verdict)
                batch.parked.append(refused)
                batch.refusals.append(refusal(refused))
            continue
        before = known.get(identity)
        if before is not None and type(event) is Fill and _is_counterpart(event, before.event, known):
            event = _as_counterpart(event)
            identity, delivery = event.identity, delivery._replace(event=event)
            before = known.get(identity)
        if before is None:
            known[identity] = _Known(event, delivery.source)
            batch.fresh.append((event.event_id, event, delivery))
        elif isinstance(before.event, Fill) and isinstance(event, Fill):
            if (stands := _meet(before.event, before.source, event, delivery, batch, is_final)) is not None:
                known[identity] = stands
        else:
            batch.duplicates.append(delivery)
    return batch


def _as_counterpart(fill: Fill) -> Fill:
    return fill._replace(is_counterpart=True)


def _may_be_another(fill: Fill, first: Event) -> bool:
    """Whether a record under the id of a recorded fill may tell of another execution: by its order, else its side."""
    if not isinstance(first, Fill):
        return False
    if fill.order_id is None or first.order_id is None:
        return fill.side != first.side
    return fill.order_id != first.order_id


def _is_counterpart(fill: Fill, first: Event, known: Mapping[str, _Known]) -> bool:
    """Whether a record under the id of a recorded fill tells of its counterpart, which may be recorded, too.

    If it is, the order that the record names decides, and where that is neither's the side.
    """
    if not isinstance(first, Fill) or not _may_be_another(fill, first):
        return False
    second = known.get(_as_counterpart(fill).identity)
    if second is None or not isinstance(second.event, Fill):
        return fill.trades_with(first)
    if fill.order_id is not None and fill.order_id == second.event.order_id:
        return True
    return fill.side == second.event.side


def _meet(
    before: Fill, source: str, fill: Fill, delivery: Delivery, batch: _Sorted, is_final: Callable[[Fill], bool]
) -> _Known | None:
    """Sort a fill that is recorded already; return the record that stands from now on, None if that is the old one.

    What was missing is completed. Where sources disagree, the word of the one with more authority stands, and the
    conflict is told; that a source which is not the exchange has a clock of its own is no conflict. What is final
    stands whoever speaks, and nothing becomes what is final: a position would hold it twice, or not at all.
    """
    fields = before.contradicts(fill)
    overrules = authority(delivery.source) > authority(source)
    stays = is_final(before) or (overrules and is_final(fill))
    overrules = overrules and not stays
    if is_venue(delivery.source) is not is_venue(source):
        disputed = tuple(field for field in fields if field != "at_ms")
    else:
        disputed = fields
    if disputed and not overrules:
        batch.conflicts.append(Conflict(delivery, before, disputed))
        batch.refusals.append(Refusal(delivery, CONFLICTING_FILL, _reason(before, fill, disputed)))
        return None
    if stays or (not before.lacks(fill) and not (fields and overrules)):
        batch.duplicates.append(delivery)
        return None
    if disputed:
        batch.conflicts.append(Conflict(delivery, before, disputed, stands=True))
    stands = _merged(before, fill) if overrules else _merged(fill, before)
    stands = stands._replace(revision=before.revision + 1)
    if stands.key != before.key:
        void = before._replace(quantity=ZERO, revision=before.revision + 1)
        batch.fresh.append((void.event_id, void, delivery._replace(retry_of=None)))
        stands = stands._replace(revision=before.revision + 2)
    batch.fresh.append((stands.event_id, stands, delivery))
    return _Known(stands, delivery.source if overrules else source)


def _merged(loser: Fill, winner: Fill) -> Fill:
    """Return what the winner states, and the other where the winner states nothing."""
    merged = Fill._make(theirs if ours is None else ours for ours, theirs in zip(winner, loser, strict=True))
    if winner.fee is None or winner.fee_asset is None or winner.fee_asset == loser.fee_asset:
        return merged
    return merged._replace(fee_rate=winner.fee_rate)  # the other's is that of another asset


def _reason(recorded: Fill, fill: Fill, fields: tuple[str, ...]) -> str:
    told = (f"{field}: recorded {_said(recorded, field)}, got {_said(fill, field)}" for field in fields)
    return f"{recorded.identity} is recorded with other content: {'; '.join(told)}"


def _said(fill: Fill, field: str) -> str:
    value = getattr(fill, field)
    return to_text(value) if hasattr(value, "as_tuple") else str(value)
