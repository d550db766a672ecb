"""Store: what a database of the history does: journals are written into it, asked of it, and made from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol

from account_monitor.monitor.ports import Figures, History, StreamPosition
from account_monitor.stores.history.batch import BEGINNING, AlertRow, Batch, Cursor, EntryRow, KeptState
from account_monitor.stores.history.condition import Condition
from account_monitor.stores.history.snapshots import Snapshot

CHUNK = 1_000
"""Rows that are read at once: half a megabyte."""

MANY = 5_000
"""The same of rows that are many and small: TimescaleDB unpacks a day of them to find the next ones."""

NEWS = 5_000
"""Entries that are read at once of all journals that are followed."""


class Span(NamedTuple):
    """Which rows: of an account, of a symbol, with from_ms <= at < to_ms."""

    account: str
    symbol: str | None
    from_ms: int
    to_ms: int


ALONE_MS = 75_000
"""How long nobody may have written the history of an account before another journal takes it over: one that is followed
is written at least once a minute.
"""


class Replica(NamedTuple):
    """The copy of a journal: its end, its epochs as (epoch, first seq, started at), and what it knew beside entries."""

    epoch: int
    seq: int
    hash: bytes
    epochs: list[tuple[int, int, int]]
    positions: list[StreamPosition]
    state: KeptState | None
    written_ms_ago: int | None = None
    """How long ago anything of the account was written; None where nobody else can write."""

    @property
    def is_followed(self) -> bool:
        """Whether somebody may be writing the history of the account now."""
        return self.written_ms_ago is not None and self.written_ms_ago < ALONE_MS


def replica_from(
    head: Any,
    epochs: list[tuple[int, int, int]],
    positions: Iterable[Iterable[Any]],
    state: Iterable[Any] | None,
) -> Replica | None:
    """Return the copy that the rows of tables hold; `head` is (epoch, seq, hash, written ms ago if others
    can write), or None.
    """
    if head is None or head[1] == BEGINNING.seq:
        return None
    kept = None if state is None else KeptState._make(state)
    epoch, seq, last_hash, *written_ms_ago = head
    places = list(map(StreamPosition._make, positions))
    return Replica(epoch, seq, last_hash, epochs, places, kept, *written_ms_ago)


def news_per_account(accounts: int) -> int:
    """Return how many entries of each journal are read at once where so many are followed: none waits for another."""
    return max(1, NEWS // max(1, accounts))


def snapshot_from(row: Sequence[Any], number: Callable[[Any], Decimal | None] = lambda value: value) -> Snapshot:
    """Return the snapshot that a row holds after its id; `number` reads the figures."""
    _, symbol, at_ms, *figures, win_rate, total_trades, seq = row
    return Snapshot(symbol, at_ms, Figures._make(map(number, figures)), number(win_rate), total_trades, seq)


class HistoryStore(History, Protocol):
    """A database of the history. All that can go wrong with it is HistoryUnavailable, with a reason for people."""

    @property
    def description(self) -> str:
        """What it is, such as `PostgreSQL 18.1 with TimescaleDB 2.23`; known once it is open."""

    async def connect(self) -> None:
        """Be ready to read, without changing anything."""

    async def open(self) -> list[str]:
        """Connect, and bring the schema up to date; several processes may do so at once.

        Return the migrations that this one ran.
        """

    async def condition(self) -> Condition:
        """Return what can be said of it without changing anything. Raises: HistoryUnavailable."""

    async def cursor(self, account: str) -> Cursor:
        """Return how far the journal of an account was written."""

    def prepared(self, batch: Batch) -> Batch:
        """Return a batch with what takes time to make of it, from any thread: `write` need not make it then."""

    async def write(self, batch: Batch) -> None:
        """Write a batch and move the cursor from where the batch begins, or nothing of it.

        Raises: HistoryDiffers where the cursor is somewhere else by now.
        """

    async def forget(self, account: str) -> None:
        """Put the cursor before the first entry, and remove what follows from entries; snapshots stay."""

    async def prune(self, before_ms: int) -> None:
        """Remove snapshots, and their sums by minute, that are older; hours and days stay for ever."""

    async def replica(self, account: str) -> Replica | None:
        """Return the copy of a journal, None where there is no entry of it."""

    def entries(self, account: str, *, after: int, until: int) -> AsyncIterator[list[EntryRow]]:
        """Yield the entries of the chain that counts with after < seq <= until, in chunks."""

    async def news(self, ends: Mapping[str, int]) -> dict[str, list[EntryRow]]:
        """Return by account, where there are any, the next entries after a sequence of the chain that counts.

        One question, however many accounts; `NEWS` entries in all, and at least one of each account that has any.
        """

    async def accounts(self) -> list[str]:
        """Return the accounts of which there is anything."""

    async def symbols(self, account: str, what: Literal["pnl", "alerts"]) -> list[str]:
        """Return the position keys that have snapshots, or what alerts were about."""

    def snapshots(self, span: Span) -> AsyncIterator[list[Snapshot]]:
        """Yield the snapshots of an account (symbol None) or of a position key in the order of time, in chunks."""

    def alerts(self, span: Span) -> AsyncIterator[list[AlertRow]]:
        """Yield alerts as of their last transitions, in the order in which they fired, in chunks; symbol None: all."""

    async def close(self) -> None:
        """Disconnect."""
