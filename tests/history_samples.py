"""Databases of the history, journals and snapshots for the tests of what is written into one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import apsw
import asyncpg

from account_monitor.ledger.money import to_text
from account_monitor.monitor.ports import Delivery, Extremes, Figures, JournalEntry, PnLBucket, PnLHistory, PnLQuery
from account_monitor.stores.chain import Chain, Row
from account_monitor.stores.codec import decode_event
from account_monitor.stores.history.batch import BEGINNING, Batch, Cursor, alert_rows, fill_rows, report_rows
from account_monitor.stores.history.keeping import Keeping
from account_monitor.stores.history.postgres import PostgresHistory
from account_monitor.stores.history.snapshots import Snapshot
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import JournalReader
from tests.servers.postgres import FreshDatabase

D = Decimal
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NOW = 20_833 * DAY
"""Midnight, UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# -- databases ---------------------------------------------------------------------------------------------------------


class Place(Protocol):
    """An empty database."""

    computes: bool
    """Whether its own arithmetic is exact."""

    def store(self) -> HistoryStore:
        """Return a store in it, of a process of its own as it were; not open yet."""

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows, as the SQLite tables have them: numbers are text, times are milliseconds, truth is 1."""

    async def sum_up(self, until_ms: int) -> None:
        """Let the database sum up P&L until a time, if it does so itself and when it likes."""


class SqlitePlace:
    computes = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def store(self) -> SqliteHistory:
        return SqliteHistory(self.folder, lambda: NOW)

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(self.folder / "history.sqlite"))
        try:
            return list(connection.execute(sql))
        finally:
            connection.close()

    async def sum_up(self, until_ms: int) -> None:
        pass


class PostgresPlace:
    computes = True

    def __init__(
        self, database: FreshDatabase, *, answer_seconds: float = 20.0, keeping: Keeping | None = None
    ) -> None:
        """`answer_seconds`: how long its stores wait for an answer, and for a connection."""
        self.url = database.url
        self._answer_seconds = answer_seconds
        self._keeping = keeping

    def store(self) -> PostgresHistory:
        seconds = self._answer_seconds
        return PostgresHistory(self.url, keeping=self._keeping, connect_seconds=seconds, answer_seconds=seconds)

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.url)
        try:
            return [tuple(map(_as_in_sqlite, row)) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def sum_up(self, until_ms: int) -> None:
        pass


class TimescalePlace(PostgresPlace):
    async def sum_up(self, until_ms: int) -> None:
        for level in ("pnl_1m", "pnl_1h", "pnl_1d"):
            await self.ask(f"CALL refresh_continuous_aggregate('{level}', NULL, to_timestamp({until_ms} / 1000.0))")


def _as_in_sqlite(value: object) -> object:
    if isinstance(value, Decimal):
        return to_text(value)
    if isinstance(value, datetime):
        return (value - _EPOCH) // (datetime.resolution * 1_000)
    return int(value) if isinstance(value, bool) else value


# -- journals ----------------------------------------------------------------------------------------------------------


async def record(folder: Path, deliveries: Sequence[Delivery], *, at_ms: int = NOW) -> JournalReader:
    """Append to the journal of account main in a folder; return its reader."""
    journal = Journal.open(folder, "main", clock=lambda: at_ms)
    try:
        await journal.append(deliveries)
    finally:
        await journal.close()
    return JournalReader(journal_path(folder, "main"))


def batch_of(reader: JournalReader, before: Cursor = BEGINNING, *, until: int | None = None) -> Batch:
    """Return what the entries of a journal after a cursor are in the history."""
    rows = reader.rows(after=before.seq, until=reader.last_seq if until is None else until)
    entries = [JournalEntry(row.seq, decode_event(row.seq, row.kind, row.body), row.source, row.recorded_at_ms)
               for row in rows]  # fmt: skip
    epochs = reader.epochs()

    def epoch_of(row: Row) -> int:
        return max(epoch for epoch, first_seq, _ in epochs if first_seq <= row.seq)

    last = rows[-1]
    fills, restated = fill_rows(entries)
    return Batch(
        "main",
        before,
        Cursor(epoch_of(last), last.seq, last.hash, before.snapshot_ms),
        entries=[(epoch_of(row), row) for row in rows],
        fills=fills,
        restated=restated,
        alerts=alert_rows(entries),
        reports=report_rows(entries, "main"),
        epochs=epochs,
    )


async def write_entries(store: HistoryStore, reader: JournalReader, *, until: int | None = None) -> None:
    """Write the next entries of a journal."""
    await store.write(batch_of(reader, await store.cursor("main"), until=until))


async def entries_in(store: HistoryStore, *, after: int = 0, until: int = 2**62) -> list[tuple[int, Row]]:
    """Return the entries of the journal of account main that a store holds."""
    return [row async for chunk in store.entries("main", after=after, until=until) for row in chunk]


async def verify(store: HistoryStore) -> Chain:
    """Recompute the chain of the journal of account main in a store; return its end."""
    replica = await store.replica("main")
    assert replica is not None
    chain = Chain([(epoch, first_seq) for epoch, first_seq, _ in replica.epochs])
    for _, row in await entries_in(store):
        chain.check(row)
    assert (chain.seq, chain.hash) == (replica.seq, replica.hash)
    return chain


# -- snapshots ---------------------------------------------------------------------------------------------------------


def snapshot(at_ms: int, equity: str | None, realized: str = "0", symbol: str | None = None) -> Snapshot:
    """One without anything open: total = net = realized."""
    gain = D(realized)
    figures = Figures(None if equity is None else D(equity), gain, D(0), gain, D(0), D(0), D(0), gain)
    return Snapshot(symbol, at_ms, figures, None, 0, 1)


def snapshots_batch(before: Cursor, snapshots: Sequence[Snapshot], account: str = "main") -> Batch:
    """Return a batch of snapshots alone."""
    after = before._replace(snapshot_ms=snapshots[-1].at_ms)
    return Batch(account, before, after, snapshots=snapshots)


async def write_snapshots(store: HistoryStore, *snapshots: Snapshot) -> None:
    """Write them as they would come, after all that is there."""
    await store.write(snapshots_batch(await store.cursor("main"), snapshots))


def random_number(rng: random.Random) -> Decimal:
    """Return a number as accounts of every kind have them: of a few digits, or of many, before and after the point."""
    digits = rng.choice([1, 3, 8, 20, 38])
    return D(rng.randint(-(10**digits), 10**digits)).scaleb(-rng.choice([0, 2, 8, 20]))


def random_snapshots(rng: random.Random, count: int) -> list[Snapshot]:
    """Return snapshots of an account and of positions in the order of time, some days long, with gaps."""
    at_ms = NOW
    taken = []
    for _ in range(count):
        at_ms += rng.choice([1, 400, SECOND, 30 * SECOND, 7 * MINUTE, 2 * HOUR, 30 * HOUR])
        for symbol in (None, *rng.sample(["BTCUSDT", "1000SHIBUSDT:LONG", "1000SHIBUSDT:SHORT"], rng.randint(0, 2))):
            numbers = [None if rng.random() < 0.1 else random_number(rng) for _ in Figures._fields]
            taken.append(Snapshot(symbol, at_ms, Figures._make(numbers), random_number(rng), rng.randint(0, 9), 1))
    return taken


def naive_pnl(snapshots: Iterable[Snapshot], query: PnLQuery) -> PnLHistory:
    """Return what a store should answer that was given these snapshots, in this order, and has them all."""
    mine = [each for each in snapshots if each.symbol == query.symbol]
    earlier = [each.figures for each in mine if each.at_ms < query.from_ms]
    intervals: dict[int, list[Figures]] = {}
    for each in mine:
        if query.from_ms <= each.at_ms < query.to_ms:
            intervals.setdefault(each.at_ms // query.interval_ms * query.interval_ms, []).append(each.figures)
    buckets = [
        PnLBucket(at_ms, len(group), group[0], group[-1], _extremes(min, group), _extremes(max, group))
        for at_ms, group in sorted(intervals.items())
    ]
    return PnLHistory(earlier[-1] if earlier else None, buckets)


def _extremes(choose: Callable[[list[Decimal]], Decimal], group: list[Figures]) -> Extremes:
    known = {name: [n for figures in group if (n := getattr(figures, name)) is not None] for name in Extremes._fields}
    return Extremes(**{name: choose(numbers) if numbers else None for name, numbers in known.items()})
