"""Restoring: a journal made again from the copy in the history, entry by entry, each proved by its hash.

One that was lost begins a new epoch: what it recorded last may not have come as far as the copy, and readers saw it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apsw

from account_monitor.errors import JournalCorrupt, JournalDamaged, JournalError
from account_monitor.monitor.ports import Clock
from account_monitor.stores.bulk import insert_rows
from account_monitor.stores.chain import BEGINNING, Base, Chain
from account_monitor.stores.history.batch import EntryRow
from account_monitor.stores.history.store import HistoryStore, Replica
from account_monitor.stores.journal_file import (
    SQL,
    WriterLock,
    explained,
    journal_path,
    leftovers,
    make_private,
    open_for_writing,
    read_base,
    sync_directory,
    transaction,
)

_FOLDER = ".restoring"


async def restore_journal(
    store: HistoryStore,
    data_dir: Path,
    account: str,
    *,
    clock: Clock,
    progress: Callable[[int, int], None],
    begins_epoch: bool = True,
) -> Replica | None:
    """Make the journal of an account from the copy in a store; return the copy's end, None where there is no copy.

    `begins_epoch`: whether the journal begins its next one by itself; a lease says which one it is.

    The journal appears whole and flushed, or not at all. What lies there of one that is gone is kept under another
    name. `progress` is called with the entries that are done and with how many there are.
    Raises: HistoryUnavailable; JournalInUse; JournalCorrupt for a copy whose entries do not match their hashes;
    JournalError where there is a journal already.
    """
    replica = await store.replica(account)
    if replica is None:
        return None
    path, folder = journal_path(data_dir, account), data_dir / f"{_FOLDER}-{account}"  # others have their own
    await asyncio.to_thread(make_private, folder)
    scratch = journal_path(folder, account)
    with ExitStack() as stack:
        stack.callback(WriterLock(path).release)
        if path.exists():
            raise JournalError(f"{path} exists; move it away before the journal of {account!r} is restored")
        connection = await asyncio.to_thread(_begin, scratch, account, clock())
        stack.callback(connection.close)
        chain = Chain([(epoch, first_seq) for epoch, first_seq, _ in replica.epochs])
        with of_copy(account, store.description):
            async for rows in store.entries(account, after=0, until=replica.seq):
                await asyncio.to_thread(_add, connection, chain, rows, scratch)
                progress(chain.seq, replica.seq)
            if (chain.seq, chain.hash) != (replica.seq, replica.hash):
                raise JournalCorrupt(f"entry {chain.seq + 1} of {replica.seq} is missing")
        await asyncio.to_thread(_finish, connection, replica, scratch, clock() if begins_epoch else None)
        connection.close()
        await asyncio.to_thread(_put, scratch, path, clock())
        await asyncio.to_thread(_remove_if_empty, folder)
    return replica


async def refill_journal(
    store: HistoryStore, data_dir: Path, account: str, *, clock: Clock, progress: Callable[[int, int], None]
) -> int:
    """Bring back what a journal forgot, from the copy in a store; return how many entries came back.

    An attempt that was interrupted is gone on with. `progress` is as above.
    Raises: HistoryUnavailable; JournalInUse; JournalCorrupt for a copy that does not lead to what the journal holds.
    """
    path = journal_path(data_dir, account)
    with ExitStack() as stack:
        stack.callback(WriterLock(path).release)
        connection = await asyncio.to_thread(open_for_writing, path, account, clock())
        stack.callback(connection.close)
        with explained(path):
            base, chain = read_base(connection), _chain_up_to_base(connection)
        came_back = base.seq - chain.seq
        async for rows in store.entries(account, after=chain.seq, until=base.seq):
            await asyncio.to_thread(_add, connection, chain, rows, path)
            progress(chain.seq, base.seq)
        if (chain.seq, chain.hash) != base:
            raise JournalCorrupt(
                f"{path} begins after entry {base.seq}, and the history of account {account} does not lead there: it"
                f" ends at entry {chain.seq}, or is another's"
            )
        with explained(path), transaction(connection):
            connection.execute(SQL["move_base"], BEGINNING)
            connection.execute(SQL["forget_spent"])
            connection.execute(SQL["forget_floors"])
    return came_back


def _chain_up_to_base(connection: apsw.Connection) -> Chain:
    """Return the chain of what came back already."""
    base = read_base(connection)
    found: Any = connection.execute(SQL["newest_entry_by"], (base.seq,)).fetchone()
    epochs: Any = connection.execute(SQL["epochs"])
    return Chain([(epoch, first_seq) for epoch, first_seq, _ in epochs], Base._make(found or BEGINNING))


@contextmanager
def of_copy(account: str, database: str) -> Iterator[None]:
    """Say whose copy is damaged, and what to do; of a file that is damaged itself, nothing."""
    try:
        yield
    except JournalDamaged:
        raise
    except JournalCorrupt as error:
        raise JournalCorrupt(
            f"the copy of account {account} in {database} is damaged: {error}; put back a backup of the database or of"
            " the journal"
        ) from error


def _begin(path: Path, account: str, now_ms: int) -> apsw.Connection:
    for leftover in leftovers(path):
        leftover.unlink()  # of an attempt that was interrupted
    connection = open_for_writing(path, account, now_ms)
    connection.pragma("synchronous", "OFF")  # it is flushed once, at the end
    return connection


def _add(connection: apsw.Connection, chain: Chain, rows: list[EntryRow], path: Path) -> None:
    for _, row in rows:
        chain.check(row)
    with explained(path), transaction(connection):
        insert_rows(connection, SQL["append_entries"], [row for _, row in rows])


def _finish(connection: apsw.Connection, replica: Replica, path: Path, now_ms: int | None) -> None:
    """Write down what a journal knows beside its entries, begin its next epoch, and flush it into one file."""
    with explained(path):
        with transaction(connection):
            end_like(connection, replica)
            if now_ms is not None:
                connection.execute(SQL["start_next_epoch"], (now_ms,))
        connection.pragma("journal_mode", "delete")  # one file, without a WAL beside it


def end_like(connection: apsw.Connection, replica: Replica) -> None:
    """Write down what a journal that ends where the copy does knows beside its entries."""
    connection.execute(SQL["move_head"], (replica.seq, replica.hash))
    connection.execute(SQL["forget_epochs"])
    connection.executemany(SQL["add_epoch"], replica.epochs)
    connection.executemany(SQL["move_position"], replica.positions)
    if replica.state is not None:
        connection.execute(SQL["save_checkpoint"], replica.state)


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def _put(scratch: Path, path: Path, now_ms: int) -> None:
    """Flush a file and give it its name. SQLite has closed it: to close another handle would drop SQLite's locks."""
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    _set_aside(path, now_ms)
    scratch.rename(path)
    sync_directory(path.parent)


def _set_aside(path: Path, now_ms: int) -> None:
    """Rename, for good, what SQLite kept beside a journal that is gone: it would play that back over the next one."""
    for leftover in leftovers(path):
        leftover.rename(f"{leftover}.{now_ms}")
    sync_directory(path.parent)
