"""Following: the journals that other processes write, kept up from their copies, so that a takeover reads next to none.

A journal that is followed lies where it would lie if it was written here. What is not here any more, or what parted
from the copy, is brought in order first, by `succession`; from then on one question for all of them finds what is new.
What is in a file is flushed when SQLite likes: a copy of it is elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import structlog

from account_monitor.errors import HistoryUnavailable, JournalCorrupt, JournalDamaged, JournalError, StartAborted
from account_monitor.ledger.account import Account, AccountState
from account_monitor.monitor.ports import Clock
from account_monitor.stores.chain import Base, Chain, Head
from account_monitor.stores.checkpoints import Folding, keep_state, load_state
from account_monitor.stores.history.batch import EntryRow
from account_monitor.stores.history.store import HistoryStore, Replica
from account_monitor.stores.history.succession import (
    Outcome,
    Succession,
    append_copies,
    put_epochs,
    see_as_far,
    set_aside,
    succeed,
)
from account_monitor.stores.journal_file import (
    WriterLock,
    blamed,
    explained,
    journal_path,
    open_for_writing,
    read_head,
    transaction,
)
from account_monitor.stores.journal_reader import JournalReader

LOOK_SECONDS = (0.1, 0.8)
"""How often it is asked what is new: while anything is, and at most so long after that. As the scribes look."""

AGAIN_SECONDS = 5.0
"""How long after a failure of its file, or of its copy, a journal is left alone."""

NOTHING_SECONDS = 1.0
"""The same where there is no copy yet."""

STATE_EVERY = 10_000
"""Entries between two states that are kept: whoever folds the file, such as a scribe, begins at the last of them."""

log = structlog.get_logger()


class Heritage(NamedTuple):
    """What whoever takes an account over finds of a journal that was followed."""

    done: Succession | None = None
    """What it was extended by to the end of its copy; None: it is still to be brought there."""
    state: AccountState | None = None
    """What its entries come to, as far as they are known."""
    aside: Succession | None = None
    """How a journal was set aside while it was followed, or began to be, None where none was."""


class _Followed:
    """One journal that is kept up, and what its entries come to. Not for two threads at once."""

    def __init__(
        self, data_dir: Path, account: str, folding: Folding, now_ms: int, *, is_stopping: Callable[[], bool]
    ) -> None:
        """Open it, and fold it, each entry proved by its hash. Raises: JournalError and its kinds; StartAborted."""
        self._path = journal_path(data_dir, account)
        self._folding = folding
        with ExitStack() as undo:
            undo.callback(WriterLock(self._path).release)
            self._connection = open_for_writing(self._path, account, now_ms)
            self._inode, self._size = _file_of(self._path)
            undo.callback(self._connection.close)
            self._connection.pragma("synchronous", "NORMAL")
            reader = JournalReader(self._path)
            undo.callback(reader.close)
            with explained(self._path):
                self._head = read_head(self._connection)[1]
            self._epochs = reader.epochs()
            self._folded = _folded(reader, folding)
            self._kept_seq = self.seq if self._folded is None else self._folded.state.seq
            self._catch_up(reader, is_stopping)
            self._closing = undo.pop_all()

    @property
    def head(self) -> Head:
        """Where it ends."""
        return self._head

    @property
    def seq(self) -> int:
        """The sequence of its newest entry."""
        return self._head.seq

    @property
    def state(self) -> AccountState | None:
        """What its entries come to; None where that takes entries that are in the history only."""
        return None if self._folded is None else self._folded.state

    def knows(self, epoch: int) -> bool:
        """Whether it is known where an epoch began."""
        return any(epoch == known for known, _, _ in self._epochs)

    def learn(self, epochs: Sequence[tuple[int, int, int]]) -> None:
        """Take note of the epochs of the copy."""
        self._epochs = list(epochs)

    def append(self, rows: Sequence[EntryRow]) -> None:
        """Take the next entries of the copy. Raises: JournalCorrupt where they do not follow; JournalDamaged;
        JournalError.
        """
        self.look_at_file()
        chain = Chain([(epoch, first_seq) for epoch, first_seq, _ in self._epochs], Base(self.seq, self._head.hash))
        events = append_copies(self._connection, chain, rows, self._epochs, self._path)
        self._head = self._head._replace(seq=chain.seq, hash=chain.hash)
        if self._folded is not None:
            self._folded.apply_all(events)
            self._keep_now_and_then()

    def look_at_file(self) -> None:
        """See that what is open is still what lies under its name, for SQLite does not.

        Raises: JournalError where it is gone, or another; JournalDamaged where it was cut: followed, none gets smaller.
        """
        inode, size = _file_of(self._path)
        if inode != self._inode:
            raise JournalError(f"{self._path}: another file lies there than the one that was followed")
        if size < self._size:
            raise JournalDamaged(f"{self._path}: the file was cut: it had {self._size} bytes, and has {size}")
        self._size = size

    def end_like(self, replica: Replica) -> None:
        """Take over what the copy knows beside its entries, all of which are here. Raises: JournalCorrupt where they
        are others; JournalError.
        """
        if (self.seq, self._head.hash) != (replica.seq, replica.hash):
            raise JournalCorrupt(f"entry {self.seq} is not entry {replica.seq} of the copy, where that ends")
        self.look_at_file()
        with explained(self._path), transaction(self._connection):
            put_epochs(self._connection, replica.epochs)
            see_as_far(self._connection, replica.positions)

    def _catch_up(self, reader: JournalReader, is_stopping: Callable[[], bool]) -> None:
        """Fold what is in the file, of which nobody knows what happened to it meanwhile."""
        folded = self._folded
        if folded is None:
            return
        for events in reader.proved(after=folded.state.seq, until=self.seq):
            if is_stopping():
                raise StartAborted(f"{self._path}: stopped after {folded.state.seq} of {self.seq} entries were folded")
            folded.apply_all(events)
            self._keep_now_and_then()

    def _keep_now_and_then(self) -> None:
        state = self.state
        if state is None or state.seq - self._kept_seq < STATE_EVERY:
            return
        usd_assets, day_starts_at = self._folding
        with explained(self._path), transaction(self._connection):
            keep_state(self._connection, state, usd_assets, day_starts_at=day_starts_at)
        self._kept_seq = state.seq

    def close(self) -> None:
        """Leave the file to whoever writes it."""
        self._closing.close()


def _folded(reader: JournalReader, folding: Folding) -> Account | None:
    """Return the account as of the newest state that a journal keeps; None where it can only be folded with what it
    forgot.
    """
    usd_assets, day_starts_at = folding
    with blamed(reader.path):
        state = load_state(reader, usd_assets, day_starts_at=day_starts_at)
    if state is None and reader.base_seq:
        return None
    return Account(reader, usd_assets=usd_assets, state=state, day_starts_at=day_starts_at)


def _file_of(path: Path) -> tuple[int, int]:
    """Return what tells a file from another one, and its size. Raises: JournalError where there is none."""
    try:
        found = path.stat()
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    return found.st_ino, found.st_size


def _see_end(path: Path, head: Head) -> None:
    """See that a journal that was closed ends as it did while it was open.

    Raises: JournalDamaged; JournalError where it is gone, or ends elsewhere.
    """
    with JournalReader(path) as reader:
        found = reader.head()
    if (found.seq, found.hash) != (head.seq, head.hash):
        raise JournalError(f"{path} ends with another entry {found.seq}, and was followed to entry {head.seq}")


class Following:
    """Keeps up the journals of some accounts, until each of them is left."""

    def __init__(self, store: HistoryStore, data_dir: Path, folding: Folding, *, clock: Clock) -> None:
        self._store = store
        self._data_dir = data_dir
        self._folding = folding
        self._clock = clock
        self._wanted: set[str] = set()
        self._followed: dict[str, _Followed] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By account, held by whoever works with its file."""
        self._aside: dict[str, Succession] = {}
        """By account, how its journal was set aside since somebody took it over."""
        self._mended: set[str] = set()
        """Accounts whose files were damaged, and of which none was whole since then: on a disk that damages whatever is
        written, copy after copy would be set aside.
        """
        self._again: dict[str, float] = {}
        """By account that failed, when it is tried again."""
        self._problems: dict[object, str] = {}
        """By what is done, why it cannot be done now."""
        self._is_closing = False
        self.on_entries: Callable[[str, Iterable[EntryRow]], None] = lambda account, rows: None
        """Hears of entries that came into a copy; what listens to sources that cannot be read again sets it."""

    @property
    def warm(self) -> frozenset[str]:
        """The accounts whose journals were followed to where their copies ended a moment ago, and are folded so far."""
        return frozenset(account for account, followed in self._followed.items() if followed.state is not None)

    async def follow(self, accounts: Collection[str], *, but: Collection[str] = ()) -> None:
        """Follow these from now on, as soon as may be, and no others.

        `but`: accounts that are being taken over, of which none is begun, and none is left.
        """
        self._wanted = set(accounts).difference(but)
        for account in self._followed.keys() - self._wanted - set(but):
            async with self._turns[account]:
                await self._leave(account)

    async def hand_over(self, account: str, replica: Replica) -> Heritage:
        """Follow an account to the end of its copy, to which nobody can add, and then no more; its file is closed.

        What is being done with the file is done to its end first: who takes the account over needs the same of it.
        Raises: HistoryUnavailable; then it is followed no more either.
        """
        self._wanted.discard(account)
        async with self._turns[account]:
            aside = self._aside.pop(account, None)
            followed = self._followed.get(account)
            if followed is None:
                return Heritage(aside=aside)
            try:
                done = await self._finish(account, followed, replica)
                await self._leave(account)
                await asyncio.to_thread(_see_end, journal_path(self._data_dir, account), followed.head)
                return Heritage(done, followed.state, aside)
            except JournalError as error:
                log.warning("journal_not_followed", account=account, seq=followed.seq, reason=str(error))
                await self._leave(account)
                if isinstance(error, JournalDamaged):
                    aside = await self._set_aside(account, error)
                return Heritage(aside=aside)
            except HistoryUnavailable:
                if aside is not None:
                    self._aside[account] = aside  # of which nobody has heard yet
                raise
            finally:
                await self._leave(account)

    async def _finish(self, account: str, followed: _Followed, replica: Replica) -> Succession | None:
        followed.look_at_file()
        before = followed.seq
        if before > replica.seq:
            return None  # what was recorded here may be a tail that is kept
        followed.learn(replica.epochs)
        async for rows in self._store.entries(account, after=before, until=replica.seq):
            await self._append(account, followed, rows)
        await asyncio.to_thread(followed.end_like, replica)
        return Succession(Outcome.EXTENDED, followed.seq - before)

    async def _set_aside(self, account: str, error: JournalDamaged) -> Succession:
        """Rename a damaged file that nobody has open. Raises: JournalError; OSError."""
        path = journal_path(self._data_dir, account)
        aside = await asyncio.to_thread(set_aside, path, account, self._clock(), damage=str(error))
        return Succession(Outcome.SET_ASIDE, set_aside=aside, damage=str(error))

    async def _mend(self, account: str, error: JournalDamaged) -> None:
        """Set a damaged file aside, so that another one is made from the copy next."""
        if account in self._mended:
            return
        self._mended.add(account)
        try:
            self._aside[account] = await self._set_aside(account, error)
        except (JournalError, OSError) as failure:
            log.warning("journal_not_set_aside", account=account, reason=str(failure))
        else:
            self._leave_alone(account, 0.0)

    async def _leave(self, account: str) -> None:
        """Close a file, in its turn."""
        if (followed := self._followed.pop(account, None)) is not None:
            await asyncio.to_thread(followed.close)

    async def run(self) -> None:
        """Follow until cancelled, through every outage of the store."""
        async with asyncio.TaskGroup() as group:
            for work in (self._keep_up, self._begin_all):
                group.create_task(self._through_outages(work))

    async def _through_outages(self, work: Callable[[], Awaitable[bool]]) -> None:
        """Do something again and again, the more often the more there is to do."""
        shortest, longest = LOOK_SECONDS
        patience = shortest
        while True:
            try:
                moved = await work()
                self._note_problem(work, "")
            except HistoryUnavailable as error:
                self._note_problem(work, str(error))
                moved = False
            patience = shortest if moved else min(2 * patience, longest)
            await asyncio.sleep(patience)

    def _note_problem(self, work: object, problem: str) -> None:
        known = self._problems.get(work, "")
        if problem and not known:
            log.warning("copies_not_followed", reason=problem)
        elif known and not problem:
            log.info("copies_followed_again", count=len(self._followed))
        self._problems[work] = problem

    async def close(self) -> None:
        """Leave everything; what is being begun is broken off."""
        self._is_closing = True
        await self.follow([])
        for account, turn in list(self._turns.items()):
            async with turn:
                await self._leave(account)  # what was just being begun

    # -- those that are followed -------------------------------------------------------------------------------------

    async def _keep_up(self) -> bool:
        """Take what is new of all that are followed; return whether there was anything."""
        ends = {account: followed.seq for account, followed in self._followed.items()}
        news = await self._store.news(ends) if ends else {}
        for account, rows in news.items():
            await self._take(account, rows)
        return bool(news)

    async def _take(self, account: str, rows: Sequence[EntryRow]) -> None:
        async with self._turns[account]:
            followed = self._followed.get(account)
            if followed is None or rows[0][1].seq != followed.seq + 1:
                return  # it was left meanwhile
            try:
                await self._extend(account, followed, rows)
            except JournalError as error:
                log.warning("journal_not_followed", account=account, seq=followed.seq, reason=str(error))
                await self._leave(account)
                if isinstance(error, JournalDamaged):
                    await self._mend(account, error)
                elif not isinstance(error, JournalCorrupt):  # else it parted from its copy, which is looked at next
                    self._leave_alone(account, AGAIN_SECONDS)

    async def _extend(self, account: str, followed: _Followed, rows: Sequence[EntryRow]) -> None:
        if not followed.knows(rows[-1][0]):
            replica = await self._store.replica(account)
            if replica is None:
                raise JournalError(f"{self._store.description}: the copy of account {account} is gone")
            followed.learn(replica.epochs)
        await self._append(account, followed, rows)

    async def _append(self, account: str, followed: _Followed, rows: Sequence[EntryRow]) -> None:
        await asyncio.to_thread(followed.append, rows)
        self.on_entries(account, rows)

    # -- those that are not yet --------------------------------------------------------------------------------------

    async def _begin_all(self) -> bool:
        """Begin with all that are wanted, one after the other; return whether there was any.

        To bring a file in order may take long. What is followed goes on meanwhile.
        """
        now = asyncio.get_running_loop().time()
        due = [each for each in sorted(self._wanted - self._followed.keys()) if self._again.get(each, 0.0) <= now]
        for account in due:
            async with self._turns[account]:
                if account in self._wanted:
                    await self._begin(account)
        return bool(due)

    async def _begin(self, account: str) -> None:
        self._leave_alone(account, NOTHING_SECONDS)
        replica = await self._store.replica(account)
        if replica is None:
            return
        self._leave_alone(account, AGAIN_SECONDS)
        try:
            done = await succeed(
                self._store, self._data_dir, account, replica, clock=self._clock, progress=self._break_off_if_closing
            )
            if done.outcome is Outcome.SET_ASIDE:
                self._aside[account] = done
            if account not in self._wanted:
                return  # it is taken over, or nobody wants it any more
            followed = await asyncio.to_thread(
                _Followed, self._data_dir, account, self._folding, self._clock(), is_stopping=lambda: self._is_closing
            )
        except (JournalError, OSError) as error:
            log.warning("journal_not_followed", account=account, reason=str(error))
            if isinstance(error, JournalDamaged):
                await self._mend(account, error)
            return
        except StartAborted:
            return
        self._followed[account] = followed
        self._mended.discard(account)
        self._again.pop(account, None)
        log.info("journal_followed", account=account, seq=followed.seq, journal=str(done.outcome), entries=done.entries)

    def _break_off_if_closing(self, done: int, whole: int) -> None:
        if self._is_closing:
            raise StartAborted(f"stopped after {done} of {whole} entries were copied")

    def _leave_alone(self, account: str, seconds: float) -> None:
        self._again[account] = asyncio.get_running_loop().time() + seconds
