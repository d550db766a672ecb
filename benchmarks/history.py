"""How fast is the history written and read: in SQLite, and in PostgreSQL?

Written: the entries of a journal, against what the journal itself took for them, durable, in the same run. Then queries
of P&L as REST asks them, of ten accounts with a snapshot each second for a week and each minute for the rest of a year.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import apsw
import asyncpg

from account_monitor.historian.scribe import ready_interpreter
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.monitor.ports import Delivery, Figures, PnLQuery, StreamPosition
from account_monitor.stores.history.batch import Batch, Cursor
from account_monitor.stores.history.postgres import PostgresHistory
from account_monitor.stores.history.projector import Progress, Projector
from account_monitor.stores.history.snapshots import Snapshot
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path
from benchmarks.fills import fills
from tests.servers.postgres import PostgresServer

ENTRIES, AT_ONCE, TURNS = 200_000, 500, 3
ACCOUNTS = 10
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NOW_MS = 1_795_651_200_000  # a day begins
WEEK_MS, YEAR_MS = 7 * DAY, 365 * DAY
QUERIES = 100
TABLES = ("pnl_snapshots", "pnl_1m", "pnl_1h", "pnl_1d")


def main() -> None:
    """Print the figures."""
    ready_interpreter()  # as the process has it that writes the history
    asyncio.run(_main())


async def _main() -> None:
    with PostgresServer(flushes=True) as server:
        for turn in range(TURNS):
            await _write(server, turn)
        async with _sqlite(server) as store:
            await _read(store, _copy_in_sqlite)
        async with _postgres(server) as store:
            await _read(store, _copy_in_postgres)


@asynccontextmanager
async def _sqlite(_: PostgresServer) -> AsyncIterator[HistoryStore]:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteHistory(Path(folder), _now)
        await store.open()
        yield store
        await store.close()


@asynccontextmanager
async def _postgres(server: PostgresServer) -> AsyncIterator[HistoryStore]:
    store = PostgresHistory((await server.create_database()).url)
    await store.open()
    yield store
    await store.close()


def _now() -> int:
    return NOW_MS


# -- written -----------------------------------------------------------------------------------------------------------


async def _write(server: PostgresServer, turn: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        journaled = await _journal(data_dir, turn)
        rates = []
        for opened in (_sqlite, _postgres):
            async with opened(server) as store:
                rates.append((store.description, await _project(data_dir, store)))
        told = ", ".join(f"{name} {rate:,.0f}/s ({rate / journaled:.2f})" for name, rate in rates)
        print(f"{ENTRIES:,} entries: the journal, durable, {journaled:,.0f}/s; {told}")


async def _journal(data_dir: Path, turn: int) -> float:
    at_ms = NOW_MS

    def clock() -> int:
        return at_ms

    journal = Journal.open(data_dir, "main", clock=clock)
    waiting: list[Delivery] = []
    took = 0.0
    for number, fill in enumerate(fills(ENTRIES, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT")), start=1):
        waiting.append(Delivery("nats:FILLS", "trading.fills", b"{}", fill, number))
        if len(waiting) == AT_ONCE:
            at_ms += AT_ONCE // 5  # as of 5,000 a second
            began = time.perf_counter()
            await journal.append(waiting, [StreamPosition("nats:FILLS", str(turn), number)])
            took += time.perf_counter() - began
            waiting = []
    await journal.close()
    return ENTRIES / took


async def _project(data_dir: Path, store: HistoryStore) -> float:
    done = asyncio.Event()

    def tell(progress: Progress) -> None:
        assert progress.problem is None, progress.problem
        if progress.seq == ENTRIES:
            done.set()

    projector = Projector(
        "main", journal_path(data_dir, "main"), store, usd_assets=USD_ASSETS, interval_ms=SECOND, clock=_now, tell=tell
    )
    began = time.perf_counter()
    projecting = asyncio.create_task(projector.run())
    waiting = asyncio.create_task(done.wait())
    await asyncio.wait([projecting, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        await projecting  # raises
    took = time.perf_counter() - began
    projector.stop()
    await projecting
    return ENTRIES / took


# -- read --------------------------------------------------------------------------------------------------------------


async def _read(store: HistoryStore, copy: Callable[[HistoryStore], Awaitable[None]]) -> None:
    began = time.perf_counter()
    cursor = Cursor()
    for snapshots in _snapshots():
        after = cursor._replace(snapshot_ms=snapshots[-1].at_ms)
        await store.cursor("account0")
        await store.write(Batch("account0", cursor, after, snapshots=snapshots))
        cursor = after
    await copy(store)
    print(f"{store.description}: {ACCOUNTS} accounts filled in {time.perf_counter() - began:.0f} s")
    for name, span_ms, interval_ms in (
        ("a week by the hour", WEEK_MS, HOUR),
        ("a year by the day", YEAR_MS, DAY),
        ("an hour by the second", HOUR, SECOND),
        ("a day by the minute", DAY, MINUTE),
        ("a month by 4 hours", 30 * DAY, 4 * HOUR),
    ):
        took = []
        for number in range(QUERIES):
            query = PnLQuery(f"account{number % ACCOUNTS}", None, NOW_MS - span_ms, NOW_MS, interval_ms)
            began = time.perf_counter()
            history = await store.pnl(query)
            took.append((time.perf_counter() - began) * 1000)
            assert len(history.buckets) == span_ms // interval_ms, len(history.buckets)
        took.sort()
        print(f"  {name:<24} median {statistics.median(took):6.1f} ms, p99 {took[-2]:6.1f} ms")


def _snapshots() -> Iterator[list[Snapshot]]:
    """Yield a year of snapshots, some at a time: each minute, and in the last week each second."""
    times = [
        *range(NOW_MS - YEAR_MS, NOW_MS - WEEK_MS, MINUTE),
        *range(NOW_MS - WEEK_MS, NOW_MS, SECOND),
    ]
    for start in range(0, len(times), 5_000):
        yield [_snapshot(at_ms) for at_ms in times[start : start + 5_000]]


def _snapshot(at_ms: int) -> Snapshot:
    swing = Decimal(at_ms // SECOND % 100_003).scaleb(-4)
    figures = Figures(10_000 + swing, swing, -swing, Decimal(0), swing / 8, Decimal("0.5"), Decimal(0), swing)
    return Snapshot(None, at_ms, figures, Decimal("0.5"), 7, 1)


async def _copy_in_sqlite(store: HistoryStore) -> None:
    assert isinstance(store, SqliteHistory)
    await store.close()
    connection = apsw.Connection(str(store.path))
    for table in TABLES:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
        for statement in _copies(table, columns):
            connection.execute(statement)
    connection.close()
    await store.open()


async def _copy_in_postgres(store: HistoryStore) -> None:
    assert isinstance(store, PostgresHistory)
    connection = await asyncpg.connect(store._url)  # the benchmark made it
    for table in TABLES:
        rows = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position", table
        )
        for statement in _copies(table, [row[0] for row in rows if row[0] != "id"]):
            await connection.execute(statement)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


def _copies(table: str, columns: list[str]) -> list[str]:
    """Return the statements that give the other accounts what the first has."""
    others = ", ".join(column for column in columns if column != "account")
    return [
        f"INSERT INTO {table} (account, {others}) SELECT 'account{number}', {others} FROM {table}"
        " WHERE account = 'account0'"
        for number in range(1, ACCOUNTS)
    ]
