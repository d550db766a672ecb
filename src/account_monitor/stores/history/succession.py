"""Succession: the journal of an account goes on where its copy in the history ends, whoever wrote that.

For whoever takes an account over under a lease: nobody can add anything to the copy meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import structlog

from account_monitor.errors import (
    HistoryUnavailable,
    JournalCompacted,
    JournalCorrupt,
    JournalDamaged,
    JournalError,
)
from account_monitor.ledger.events import Event
from account_monitor.monitor.ports import Clock, StreamPosition
from account_monitor.stores.bulk import insert_rows
from account_monitor.stores.chain import Base, Chain, Head
from account_monitor.stores.checkpoints import Folding, load_state
from account_monitor.stores.history.batch import EntryRow
from account_monitor.stores.history.restoring import end_like, of_copy, restore_journal
from account_monitor.stores.history.store import HistoryStore, Replica
from account_monitor.stores.journal_file import (
    SQL,
    WriterLock,
    blamed,
    explained,
    journal_path,
    leftovers,
    open_for_writing,
    read_head,
    sync_directory,
    transaction,
)
from account_monitor.stores.journal_reader import JournalReader

log = structlog.get_logger()


class Outcome(StrEnum):
    """What became of the journal that was here."""

    NEW = "new"
    """There was none, and there is no copy: the account begins."""
    KEPT = "kept"
    """It holds all of the copy, and perhaps more that nobody else knows."""
    EXTENDED = "extended"
    """It lacked what others recorded since, and has it now."""
    RESTORED = "restored"
    """It was made from the copy."""
    SET_ASIDE = "set_aside"
    """It parted from the copy, or was damaged, lies under another name, and another one was made from the copy."""


class Succession(NamedTuple):
    """What was done, and with how many entries of the copy."""

    outcome: Outcome
    entries: int = 0
    set_aside: Path | None = None
    """Where the journal lies that parted from the copy, or was damaged."""
    damage: str = ""
    """What was wrong with its file; empty where it parted from the copy."""


async def succeed(
    store: HistoryStore,
    data_dir: Path,
    account: str,
    replica: Replica | None,
    *,
    clock: Clock,
    progress: Callable[[int, int], None],
    folding: Folding | None = None,
) -> Succession:
    """Make a journal go on from the copy of it. Nobody may write either. A file that is damaged is set aside, too.

    `folding`: how it is folded next, of which each entry is proved then; None where whoever folds it proves it.
    Raises: HistoryUnavailable; JournalInUse; JournalError where the copy lost what the journal forgot; its kinds.
    """
    path = journal_path(data_dir, account)
    if not path.exists():
        return await _restored(store, data_dir, account, replica, Succession(Outcome.RESTORED), clock, progress)
    if replica is None:
        return Succession(Outcome.KEPT)
    damage = ""
    try:
        done = await _gone_on(store, path, account, replica, clock=clock, progress=progress)
        if done is not None and folding is not None:
            await asyncio.to_thread(_prove, path, replica, folding)
        if done is not None:
            return done
    except JournalDamaged as error:
        damage = str(error)
    aside = await asyncio.to_thread(set_aside, path, account, clock(), damage=damage)
    done = Succession(Outcome.SET_ASIDE, set_aside=aside, damage=damage)
    return await _restored(store, data_dir, account, replica, done, clock, progress)


async def _gone_on(
    store: HistoryStore,
    path: Path,
    account: str,
    replica: Replica,
    *,
    clock: Clock,
    progress: Callable[[int, int], None],
) -> Succession | None:
    """Let a journal that is here go on from the copy; None where the two part. Raises: JournalDamaged."""
    own = await asyncio.to_thread(_end_of, path, account, clock())
    if own.seq >= replica.seq:
        if await asyncio.to_thread(_hash_at, path, replica.seq) != replica.hash:
            return None
        await asyncio.to_thread(_see_as_far, path, account, replica, clock())
        return Succession(Outcome.KEPT)
    if not await holds(store, account, own):
        return None
    await _extend(store, path, account, replica, own, clock=clock, progress=progress)
    return Succession(Outcome.EXTENDED, replica.seq - own.seq)


def _prove(path: Path, replica: Replica, folding: Folding) -> None:
    """Prove what is folded of a journal: the entries after the newest state that it keeps.

    Raises: JournalDamaged; JournalCorrupt where it is the copy whose state cannot be read.
    """
    with JournalReader(path) as reader:
        try:
            after = fold_start(reader, folding)
        except JournalDamaged as error:
            if replica.state is not None and reader.newest_state(replica.state.seq) == replica.state:
                raise JournalCorrupt(f"{error}; it came from the copy, which is to be written anew") from error
            raise
        for _ in reader.proved(after=after, until=reader.last_seq):
            pass


def fold_start(reader: JournalReader, folding: Folding) -> int:
    """Return after which entry a journal is folded. Raises: JournalDamaged for a state that cannot be read."""
    with blamed(reader.path):
        state = load_state(reader, folding.usd_assets, day_starts_at=folding.day_starts_at)
    return reader.base_seq if state is None else state.seq


async def _restored(
    store: HistoryStore,
    data_dir: Path,
    account: str,
    replica: Replica | None,
    done: Succession,
    clock: Clock,
    progress: Callable[[int, int], None],
) -> Succession:
    if replica is None:
        return Succession(Outcome.NEW)
    copied = await restore_journal(store, data_dir, account, clock=clock, progress=progress, begins_epoch=False)
    if copied is None or (copied.seq, copied.hash) != (replica.seq, replica.hash):
        raise HistoryUnavailable(f"{store.description}: the copy of account {account} changed while it was read")
    return done._replace(entries=copied.seq)


def _end_of(path: Path, account: str, now_ms: int) -> Head:
    """Return where a journal ends, brought up to date with this program. Raises: JournalDamaged."""
    lock = WriterLock(path)
    try:
        connection = open_for_writing(path, account, now_ms)
        try:
            with explained(path):
                return read_head(connection)[1]
        finally:
            connection.close()
    finally:
        lock.release()


def _see_as_far(path: Path, account: str, replica: Replica, now_ms: int) -> None:
    """Go on with each source where the copy or the journal saw it last: a copy moves on without any entry, too.

    All that the copy has seen up to its end is in a journal that holds all of the copy.
    """
    with ExitStack() as stack:
        stack.callback(WriterLock(path).release)
        connection = open_for_writing(path, account, now_ms)
        stack.callback(connection.close)
        with explained(path), transaction(connection):
            see_as_far(connection, replica.positions)


def see_as_far(connection: apsw.Connection, positions: Iterable[StreamPosition]) -> None:
    """Move each source on to where a copy saw it, if that is further; within a transaction."""
    rows: Any = connection.execute(SQL["positions"])
    own = {position.source: position for position in map(StreamPosition._make, rows)}
    further = [each for each in positions if _is_further(each, own.get(each.source))]
    connection.executemany(SQL["move_position"], further)


def _is_further(position: StreamPosition, own: StreamPosition | None) -> bool:
    return own is None or (position.created, position.sequence) > (own.created, own.sequence)


def _hash_at(path: Path, seq: int) -> bytes | None:
    with JournalReader(path) as reader:
        try:
            return reader.hash_at(seq)
        except JournalCompacted:
            raise JournalError(
                f"the history of {path.stem} ends at entry {seq}, and {path} begins after entry {reader.base_seq}: put"
                " back the database that holds the entries between"
            ) from None


async def holds(store: HistoryStore, account: str, own: Head) -> bool:
    """Whether the last entry of a journal is in the copy."""
    if own.seq == 0:
        return True
    async for rows in store.entries(account, after=own.seq - 1, until=own.seq):
        return rows[0][1].hash == own.hash
    return False


async def _extend(
    store: HistoryStore,
    path: Path,
    account: str,
    replica: Replica,
    own: Head,
    *,
    clock: Clock,
    progress: Callable[[int, int], None],
) -> None:
    """Append what others recorded since. After an interruption it goes on from there."""
    with ExitStack() as stack:
        stack.callback(WriterLock(path).release)
        connection = await asyncio.to_thread(open_for_writing, path, account, clock())
        stack.callback(connection.close)
        chain = Chain([(epoch, first_seq) for epoch, first_seq, _ in replica.epochs], Base(own.seq, own.hash))
        with of_copy(account, store.description):
            async for rows in store.entries(account, after=own.seq, until=replica.seq):
                await _to_its_end(append_copies, connection, chain, rows, replica.epochs, path)
                progress(chain.seq, replica.seq)
            if (chain.seq, chain.hash) != (replica.seq, replica.hash):
                raise JournalCorrupt(f"entry {chain.seq + 1} of {replica.seq} is missing")
        await _to_its_end(_end_with, connection, replica, path)


async def _to_its_end(write: Callable[..., object], *arguments: object) -> None:
    """Write in a thread; where it is cancelled meanwhile, only then: the file is closed, and let go of, after that."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, *arguments))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


def _end_with(connection: apsw.Connection, replica: Replica, path: Path) -> None:
    """Let a journal that holds all of a copy know what that knows beside its entries."""
    with explained(path), transaction(connection):
        end_like(connection, replica)


def append_copies(
    connection: apsw.Connection,
    chain: Chain,
    rows: Sequence[EntryRow],
    epochs: Sequence[tuple[int, int, int]],
    path: Path,
) -> list[tuple[int, Event]]:
    """Append entries of a copy with the epochs that they belong to, and let the journal end there; return what they
    say.

    Raises: JournalCorrupt, before anything is written, for one that does not follow; JournalDamaged.
    """
    events = [(row.seq, chain.check(row)) for _, row in rows]
    with explained(path), transaction(connection):
        insert_rows(connection, SQL["append_entries"], [row for _, row in rows])
        connection.execute(SQL["move_head"], (chain.seq, chain.hash))
        put_epochs(connection, [epoch for epoch in epochs if epoch[1] <= chain.seq])
    return events


def put_epochs(connection: apsw.Connection, epochs: Sequence[tuple[int, int, int]]) -> None:
    """Let a journal have these epochs; within a transaction."""
    connection.execute(SQL["forget_epochs"])
    connection.executemany(SQL["add_epoch"], epochs)


def set_aside(path: Path, account: str, now_ms: int, *, damage: str) -> Path:
    """Rename a journal for good, and say so at once: what comes next may fail. Return its new name.

    It is one file that can be read where it lies, or, where it is damaged, as it is with all that SQLite kept beside.
    `damage`: what is wrong with it; empty where it parted from the copy.
    """
    lock = WriterLock(path)
    try:
        if not path.exists():
            raise JournalError(f"there is no journal at {path}")
        if not damage:
            _make_one_file(path, account, now_ms)
        aside = _free_name(path, now_ms)
        for leftover in leftovers(path):  # the journal first: another one that is made meanwhile has no WAL of this one
            leftover.rename(f"{aside}{leftover.name.removeprefix(path.name)}")
        sync_directory(path.parent)
    finally:
        lock.release()
    log.warning("journal_set_aside", account=account, path=str(aside), reason=damage or "it parted from the copy")
    return aside


def _make_one_file(path: Path, account: str, now_ms: int) -> None:
    """Write what is in the WAL into the journal itself; what is damaged stays as it is."""
    with suppress(JournalDamaged):
        connection = open_for_writing(path, account, now_ms)
        try:
            with explained(path):
                connection.pragma("journal_mode", "delete")
        finally:
            connection.close()


def _free_name(path: Path, now_ms: int) -> Path:
    """Return a name under which nothing lies yet: to rename a file to one that is taken would delete that."""
    while leftovers(aside := path.with_name(f"{path.name}.{now_ms}")):
        now_ms += 1
    return aside
