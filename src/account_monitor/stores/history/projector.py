"""Projector: writes what one journal records into the history, in order, each entry once, however often that fails.

The place up to which it is written is written with it. So nothing has to be remembered here: whoever comes back asks
the store, and goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from account_monitor.errors import (
    HistoryDiffers,
    HistoryRefused,
    HistoryUnavailable,
    JournalCompacted,
    JournalError,
    LeaseLost,
)
from account_monitor.ledger.account import Account, AccountState
from account_monitor.monitor.ports import Clock, JournalEntry, StreamPosition
from account_monitor.stores.chain import Row
from account_monitor.stores.checkpoints import load_state
from account_monitor.stores.codec import decode_event
from account_monitor.stores.history.batch import Batch, Cursor, EntryRow, KeptState, alert_rows, fill_rows, report_rows
from account_monitor.stores.history.snapshots import Snapshot, Snapshots
from account_monitor.stores.history.store import ALONE_MS, CHUNK, HistoryStore, Replica
from account_monitor.stores.journal_reader import JournalEnd, JournalReader, open_reader

LOOK_SECONDS = 0.1
"""How long new entries may lie in the journal before they are looked for, while it moves; an idle one is looked at
half as often each time, up to `IDLE_SECONDS`."""

IDLE_SECONDS = 0.8
RETRY_SECONDS = (0.2, 5.0)
"""How long to wait after a failure: at first, and at most."""

SLOW_SECONDS = 3.0
"""After which a database that has not answered yet is told of."""

BATCH, SNAPSHOTS, PIECE = 4 * CHUNK, 10_000, 50
"""Entries and snapshots that are written at once, at most, and entries after which that is looked at."""

POSITIONS_SECONDS = 10.0
"""How often it is written how far sources were seen that had nothing for this account."""

STATE_EVERY = 10_000
"""Entries after which it is looked whether the journal has a newer folded state."""


class Progress(NamedTuple):
    """How far the history of an account is; `problem` is None while all is well."""

    account: str
    seq: int
    problem: str | None = None
    needs_help: bool = False
    """Waiting does not help: somebody has to change something, which the problem says."""
    is_lost: bool = False
    """Somebody else holds the account by now, and this projector writes no more of it."""


class Projector:
    """Follows the journal of one account into a store."""

    def __init__(
        self,
        account: str,
        journal: Path,
        store: HistoryStore,
        *,
        usd_assets: frozenset[str],
        day_starts_at: int = 0,
        interval_ms: int,
        clock: Clock,
        tell: Callable[[Progress], None],
    ) -> None:
        """`interval_ms`: the shortest time between two snapshots, and the longest while something is open."""
        self._account = account
        self._journal = journal
        self._store = store
        self._usd_assets = usd_assets
        self._day_starts_at = day_starts_at
        self._interval_ms = interval_ms
        self._clock = clock
        self._tell = tell
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()
        self._patience = RETRY_SECONDS[0]
        """How long to wait after the next failure."""
        self._cursor = Cursor()
        self._snapshots: Snapshots
        self._epochs: list[tuple[int, int, int]] = []
        """Those of the journal, as they were last written."""
        self._positions: list[StreamPosition] | None = None
        """How far the sources were seen, as it was last written."""
        self._positions_due = 0.0
        self._state_seq = 0
        """Of the newest folded state that was written."""
        self._looked_seq = 0
        """Where the journal ended when its folded states were last looked at."""

    def stop(self) -> None:
        """Let `run` end once everything that is recorded now is written."""
        self._stopping.set()
        self.hurry()

    def hurry(self) -> None:
        """Look at once at what is recorded, or try at once again."""
        self._woken.set()

    async def run(self) -> None:
        """Follow until `stop`, or until somebody else holds the account; through every failure of the store."""
        while not self._stopping.is_set():
            try:
                with open_reader(self._journal) as reader:
                    await self._resume(reader)
                    await self._follow(reader)
            except LeaseLost as error:
                self._tell(Progress(self._account, self._cursor.seq, str(error), is_lost=True))
                return
            except (HistoryUnavailable, JournalError) as error:
                self._tell(
                    Progress(
                        self._account, self._cursor.seq, str(error), isinstance(error, HistoryDiffers | HistoryRefused)
                    )
                )
                await self._wait(self._patience)
                self._patience = min(2 * self._patience, RETRY_SECONDS[1])

    async def _wait(self, seconds: float) -> None:
        """Return after so many seconds, or sooner after `hurry` and `stop`."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        finally:
            if not self._stopping.is_set():
                self._woken.clear()

    # -- where to begin ----------------------------------------------------------------------------------------------

    async def _resume(self, reader: JournalReader) -> None:
        """Find the place up to which the store is written, and fold the account up to there."""
        await self._store.open()
        cursor = await self._store.cursor(self._account)
        if not self._is_of(reader, cursor):
            await self._begin_again(reader, cursor)
            cursor = await self._store.cursor(self._account)
        self._cursor, self._epochs, self._positions, self._state_seq, self._looked_seq = cursor, [], None, 0, 0
        state = load_state(reader, self._usd_assets, day_starts_at=self._day_starts_at, until=cursor.seq)
        account = await asyncio.to_thread(self._folded, reader, state, cursor.seq)
        rows = reader.rows(after=cursor.seq - 1, until=cursor.seq) if cursor.seq > reader.base_seq else []
        recorded_ms = rows[0].recorded_at_ms if rows else cursor.snapshot_ms
        self._snapshots = Snapshots(
            account, interval_ms=self._interval_ms, latest_ms=cursor.snapshot_ms, recorded_ms=recorded_ms
        )

    async def _begin_again(self, reader: JournalReader, cursor: Cursor) -> None:
        """Write all of a journal anew that was put back to an older state. Raises: HistoryDiffers for another journal.

        A restored journal says so by a new epoch; up to its beginning it must be what the store has.
        """
        if reader.base_seq:
            raise self._differs(cursor)  # what the store has, nobody else may have
        replica = await self._store.replica(self._account)
        if replica is not None and replica.is_followed:
            raise HistoryUnavailable(
                f"another journal of account {self._account} was written less than {ALONE_MS // 1000} s ago, by a"
                " service that may still be running"
            )
        begun = [] if replica is None else begun_since(reader.epochs(), replica)
        if not begun or not await self._has(reader, begun[0] - 1):
            raise self._differs(cursor)
        await self._store.forget(self._account)

    def _differs(self, cursor: Cursor) -> HistoryDiffers:
        return HistoryDiffers(
            f"the history holds another journal of account {self._account}, up to entry {cursor.seq}: start with an"
            " empty data directory to restore it, or use another database, or give the account another name"
        )

    def _is_of(self, reader: JournalReader, cursor: Cursor) -> bool:
        """Whether a journal holds the entry at which a cursor is. Raises: HistoryDiffers where that is too old."""
        try:
            return reader.hash_at(cursor.seq) == cursor.hash
        except JournalCompacted:
            raise HistoryDiffers(
                f"the history of account {self._account} ends at entry {cursor.seq}, and its journal begins after"
                f" entry {reader.base_seq}: put back the database that holds the entries between"
            ) from None

    async def _has(self, reader: JournalReader, seq: int) -> bool:
        """Whether the store holds this entry of the journal."""
        if seq == 0:
            return True
        mine = reader.rows(after=seq - 1, until=seq)
        async for rows in self._store.entries(self._account, after=seq - 1, until=seq):
            return bool(mine) and rows[0][1].hash == mine[0].hash
        return False

    def _folded(self, reader: JournalReader, state: AccountState | None, until: int) -> Account:
        account = Account(reader, usd_assets=self._usd_assets, state=state, day_starts_at=self._day_starts_at)
        after = account.state.seq
        while rows := reader.rows(after=after, until=until):
            account.apply_all([(row.seq, decode_event(row.seq, row.kind, row.body)) for row in rows])
            after = rows[-1].seq
        return account

    # -- on the way --------------------------------------------------------------------------------------------------

    async def _follow(self, reader: JournalReader) -> None:
        patience, is_caught_up = LOOK_SECONDS, False
        while True:
            is_last = self._stopping.is_set()
            moved = await self._catch_up(reader)
            if not is_caught_up:
                is_caught_up, self._patience = True, RETRY_SECONDS[0]
                if not moved:  # else it is told
                    self._tell(Progress(self._account, self._cursor.seq))
            if is_last:
                return
            patience = LOOK_SECONDS if moved else min(2 * patience, IDLE_SECONDS)
            await self._wait(patience)

    async def _catch_up(self, reader: JournalReader) -> bool:
        """Write what the journal holds now; return whether that was anything new.

        While the store works at a batch, the next one is made. Where that cannot be made, this one is written first.
        """
        end = reader.end()
        began = place = self._cursor
        writing: asyncio.Task[None] | None = None
        try:
            while writing is None or place.seq < end.head.seq:
                batch = await asyncio.to_thread(self._batch, reader, place, end)
                if writing is not None:
                    await writing
                if batch is None:
                    break
                place, writing = batch.after, asyncio.create_task(self._write(batch))
            if writing is not None:
                await writing
        except JournalError:
            if writing is not None:
                await writing  # a failure of it comes first: that of the journal is met again
            raise
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.wait([writing])
        return self._cursor.seq > began.seq

    def _batch(self, reader: JournalReader, before: Cursor, end: JournalEnd) -> Batch | None:
        """Return what the next entries after a place are in the tables, None for nothing.

        A few prices may be snapshots of a thousand positions: those count, too.
        """
        found = self._next_rows(reader, before.seq, end.head.seq)
        entries: list[JournalEntry] = []
        snapshots: list[Snapshot] = []
        for start in range(0, len(found), PIECE):
            read = [
                JournalEntry(row.seq, decode_event(row.seq, row.kind, row.body), row.source, row.recorded_at_ms)
                for row in found[start : start + PIECE]
            ]
            entries += read
            snapshots += self._snapshots.follow(read)
            if len(snapshots) >= SNAPSHOTS:
                break
        rows = found[: len(entries)]
        is_last = before.seq + len(rows) == end.head.seq
        epochs = reader.epochs() if rows else []
        positions = state = None
        if is_last:
            snapshots += self._snapshots.look(self._clock(), is_end=self._stopping.is_set())
            positions = self._news(end.positions, is_due=bool(rows))
            state = self._newest_state(reader, end.head.seq)
        if not rows and not snapshots and positions is None and state is None:
            return None
        numbered = _with_epochs(rows, epochs)
        epoch, seq, last_hash = (numbered[-1][0], rows[-1].seq, rows[-1].hash) if rows else before[:3]
        fills, restated = fill_rows(entries)
        batch = Batch(
            self._account,
            before,
            Cursor(epoch, seq, last_hash, self._snapshots.latest_ms),
            entries=numbered,
            fills=fills,
            restated=restated,
            alerts=alert_rows(entries),
            reports=report_rows(entries, self._account),
            snapshots=snapshots,
            epochs=self._new_epochs(epochs),
            positions=positions,
            state=state,
        )
        return self._store.prepared(batch)

    def _next_rows(self, reader: JournalReader, after: int, until: int) -> list[Row]:
        """Return the next entries, at most a batch of them."""
        found: list[Row] = []
        while len(found) < BATCH and (rows := reader.rows(after=after, until=until)):
            found += rows
            after = rows[-1].seq
        return found

    def _new_epochs(self, epochs: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """Return all epochs of the journal where they are not those that were last written."""
        if epochs == self._epochs:
            return []
        self._epochs = epochs
        return epochs

    def _news(self, positions: list[StreamPosition], *, is_due: bool) -> list[StreamPosition] | None:
        """Return how far the sources were seen, where that is news: of others' messages it is only now and then."""
        now = time.monotonic()
        if positions == self._positions or not (is_due or now >= self._positions_due or self._stopping.is_set()):
            return None
        self._positions, self._positions_due = positions, now + POSITIONS_SECONDS
        return positions

    def _newest_state(self, reader: JournalReader, seq: int) -> KeptState | None:
        """Return the newest folded state of the journal, where it is new and not younger than what is written."""
        if seq - self._looked_seq < STATE_EVERY and not (self._stopping.is_set() and seq > self._looked_seq):
            return None
        self._looked_seq = seq
        state = reader.newest_state(seq)
        if state is None or state[0] <= self._state_seq:
            return None
        self._state_seq = state[0]
        return KeptState._make(state)

    async def _write(self, batch: Batch) -> None:
        """Write a batch, and again until it is in the store: whether a broken attempt was is asked first."""
        patience, longest = RETRY_SECONDS
        is_unsure = False
        while True:
            try:
                if batch.before == batch.after or not is_unsure or not await self._is_written(batch):
                    await self._attempt(batch)
                break
            except HistoryDiffers:
                raise
            except HistoryUnavailable as error:
                is_unsure = True
                self._tell(Progress(self._account, self._cursor.seq, str(error), isinstance(error, HistoryRefused)))
                if self._stopping.is_set():
                    raise
                await self._wait(patience)
                patience = min(2 * patience, longest)
        self._cursor = batch.after
        self._tell(Progress(self._account, self._cursor.seq))

    async def _attempt(self, batch: Batch) -> None:
        """Write a batch, and say so where that takes long."""
        writing = asyncio.ensure_future(self._store.write(batch))
        try:
            done, _ = await asyncio.wait([writing], timeout=SLOW_SECONDS)
            if not done:
                self._tell(
                    Progress(
                        self._account,
                        self._cursor.seq,
                        f"{self._store.description}: no answer for {SLOW_SECONDS:.0f} s",
                    )
                )
            await writing
        except asyncio.CancelledError:
            writing.cancel()
            await asyncio.wait([writing])
            raise

    async def _is_written(self, batch: Batch) -> bool:
        """Whether an attempt that seemed to fail was committed after all."""
        await self._store.open()
        return await self._store.cursor(self._account) == batch.after


def begun_since(epochs: list[tuple[int, int, int]], replica: Replica) -> list[int]:
    """Return where a journal begins the epochs that are younger than all that the store knows.

    They are numbered by the second in which they began: two that began from one backup within a second have one number,
    and the second of them begins later.
    """
    latest_ms = max(started_ms for _, _, started_ms in replica.epochs)
    return [
        first_seq
        for epoch, first_seq, started_ms in epochs
        if epoch > replica.epoch or (epoch > 1 and started_ms > latest_ms)
    ]


def _with_epochs(rows: list[Row], epochs: list[tuple[int, int, int]]) -> list[EntryRow]:
    """Return each of the rows, in the order of their seq, with the epoch that it belongs to."""
    if not rows:
        return []
    numbered: list[EntryRow] = []
    ends = [*(first_seq for _, first_seq, _ in epochs[1:]), rows[-1].seq + 1]
    for (epoch, _, _), end in zip(epochs, ends, strict=True):
        numbered += [(epoch, row) for row in rows[len(numbered) : max(0, end - rows[0].seq)]]
    return numbered
