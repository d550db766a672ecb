"""SQLite: the history in one file beside the journals, for whoever has no database."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import apsw

from account_monitor.errors import HistoryDiffers, HistoryRefused, HistoryUnavailable
from account_monitor.ledger.money import to_text
from account_monitor.monitor.fills import LAST, page_of, start_of
from account_monitor.monitor.ports import (
    Clock,
    Figures,
    FillPage,
    FillQuery,
    PnLBucket,
    PnLHistory,
    PnLQuery,
)
from account_monitor.stores.history.batch import (
    AlertRow,
    Batch,
    Cursor,
    EntryRow,
    entry_row,
    recorded_entry,
)
from account_monitor.stores.history.buckets import (
    ROLLUPS,
    Level,
    bucket_from,
    bucket_of,
    combined,
    greatest,
    least,
    level_for,
    rolled_up,
)
from account_monitor.stores.history.condition import Condition
from account_monitor.stores.history.snapshots import Snapshot
from account_monitor.stores.history.store import (
    CHUNK,
    MANY,
    Replica,
    Span,
    news_per_account,
    replica_from,
    snapshot_from,
)
from account_monitor.stores.history.tables import missing_from, require_all
from account_monitor.stores.journal_file import cause, transaction
from account_monitor.stores.sql import load_migrations, load_queries

FILE_NAME = "history.sqlite"

SQL = load_queries("history/sqlite")
MIGRATIONS = load_migrations("history/sqlite")

_APPLICATION_ID = 1095585097
_BUSY_MS = 5_000
_ATTEMPTS, _AGAIN_SECONDS = 40, 0.05
_PRUNED_AT_ONCE = 5_000

T = TypeVar("T")


class SqliteHistory:
    """Implements `HistoryStore`. One process writes; others may read meanwhile.

    A commit is not flushed: after a power failure the last ones may be missing, and are written again, for the cursor
    is missing with them.
    """

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self.path = data_dir / FILE_NAME
        self.description = f"SQLite {apsw.sqlite_lib_version()}"
        self._clock = clock
        self._connection: apsw.Connection | None = None

    # -- life --------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Be ready to read: each reading opens the file for itself."""

    async def open(self) -> list[str]:
        """Open or create the file and bring its schema up to date; return the migrations. Nothing where it is open."""
        if self._connection is not None:
            return []
        with self._explained():
            for _ in range(_ATTEMPTS):
                try:
                    return self._open()
                except apsw.BusyError:  # SQLite does not wait for who turns the same new file to WAL
                    await asyncio.sleep(_AGAIN_SECONDS)
            return self._open()

    def _open(self) -> list[str]:
        connection = apsw.Connection(str(self.path))
        try:
            done = _prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return done

    async def condition(self) -> Condition:
        """Return what can be said of the file. Raises: HistoryUnavailable."""
        version = await self._read(_version_of, 0, is_complete=False)
        files = [path for path in (self.path, Path(f"{self.path}-wal")) if path.exists()]
        lacking = [
            f"to write {path}" for path in (self.path.parent, *files) if path.exists() and not os.access(path, os.W_OK)
        ]
        versions = {"sqlite": version} if version else {}
        return Condition(
            self.description,
            versions,
            [_name(number) for number in range(version + 1, len(MIGRATIONS) + 1)],
            lacking,
            sum(path.stat().st_size for path in files),
            broken=[] if version < len(MIGRATIONS) else await self._read(_missing, []),
        )

    async def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close(True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (apsw.Error, UnicodeDecodeError) as error:
            raise HistoryUnavailable(f"{self.path}: {cause(error)}") from error

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        """Commit what happens inside, or nothing of it; after a failure of the file it has to be opened anew."""
        connection = self._connection
        if connection is None:
            raise HistoryUnavailable(f"{self.path} is not open")
        if not self.path.exists():  # what is written into it now nobody would ever find
            self._connection = None
            connection.close(True)
            raise HistoryUnavailable(f"{self.path} was removed")
        with self._explained():
            try:
                with transaction(connection):
                    yield connection
            except apsw.Error:
                self._connection = None
                connection.close(True)
                raise

    # -- what is written ---------------------------------------------------------------------------------------------

    async def cursor(self, account: str) -> Cursor:
        """Return how far the journal of an account was written."""
        with self._writing() as connection:
            connection.execute(SQL["start"], (account,))
            return Cursor._make(connection.execute(SQL["cursor"], (account,)).fetchone())  # type: ignore[arg-type]

    def prepared(self, batch: Batch) -> Batch:
        """Return the batch: rows are made as they are written."""
        return batch

    async def write(self, batch: Batch) -> None:
        """Write a batch and move the cursor from where the batch begins, or nothing of it. Raises: HistoryDiffers."""
        with self._writing() as connection:
            self._advance(connection, batch)
            for name, rows in _rows(batch):
                connection.executemany(SQL[name], rows)
            for roll_up in rolled_up(batch.snapshots):
                connection.execute(
                    SQL["roll_up"].replace("pnl_level", roll_up.level.table),
                    (batch.account, roll_up.symbol, *_bucket_row(roll_up.bucket)),
                )

    def _advance(self, connection: apsw.Connection, batch: Batch) -> None:
        connection.execute(SQL["advance"], (batch.account, *batch.after, *batch.before, self._clock()))
        if not connection.changes():
            raise HistoryDiffers(f"{self.path}: somebody else writes the history of account {batch.account}")

    async def forget(self, account: str) -> None:
        """Put the cursor before the first entry, and remove what follows from entries; snapshots stay."""
        with self._writing() as connection:
            connection.execute(SQL["forget"], {"account": account})

    async def prune(self, before_ms: int) -> None:
        """Remove snapshots, and their sums by minute, that are older, some at a time."""
        for name in ("prune_snapshots", "prune_minutes"):
            is_done = False
            while not is_done:
                with self._writing() as connection:
                    connection.execute(SQL[name], (before_ms, _PRUNED_AT_ONCE))
                    is_done = connection.changes() < _PRUNED_AT_ONCE
                await asyncio.sleep(0)

    # -- what is read ------------------------------------------------------------------------------------------------

    async def pnl(self, query: PnLQuery) -> PnLHistory:
        """Return the buckets of a query."""
        return await self._read(lambda connection: _pnl(connection, query), PnLHistory(None, []))

    async def fills(self, account: str, query: FillQuery, *, until: int) -> FillPage:
        """Return a page of the fills whose last record is up to a sequence."""
        return await self._read(partial(_fills, account=account, query=query, until=until), FillPage([], None))

    async def replica(self, account: str) -> Replica | None:
        """Return the copy of a journal, None where there is no entry of it."""
        return await self._read(lambda connection: _replica(connection, account), None)

    async def entries(self, account: str, *, after: int, until: int) -> AsyncIterator[list[EntryRow]]:
        """Yield the entries of the chain that counts with after < seq <= until, in chunks."""
        nothing: list[EntryRow] = []
        while rows := await self._read(
            partial(_entries, account=account, after=after, until=until, limit=CHUNK), nothing
        ):
            yield rows
            after = rows[-1][1].seq

    async def news(self, ends: Mapping[str, int]) -> dict[str, list[EntryRow]]:
        """Return by account, where there are any, the next entries after a sequence of the chain that counts."""
        nothing: dict[str, list[EntryRow]] = {}
        return await self._read(partial(_news, ends=ends), nothing)

    async def accounts(self) -> list[str]:
        """Return the accounts of which there is anything."""
        nothing: list[str] = []
        return await self._read(_accounts, nothing)

    async def symbols(self, account: str, what: Literal["pnl", "alerts"]) -> list[str]:
        """Return the position keys that have snapshots, or what alerts were about."""
        nothing: list[str] = []
        return await self._read(partial(_symbols, account=account, what=what), nothing)

    async def snapshots(self, span: Span) -> AsyncIterator[list[Snapshot]]:
        """Yield the snapshots of an account or of a position key in the order of time, in chunks."""
        place = (span.from_ms, 0)
        while rows := await self._next("snapshots_after", span, place):
            yield [snapshot_from(row, _number) for row in rows]
            place = (rows[-1][2], rows[-1][0])

    async def alerts(self, span: Span) -> AsyncIterator[list[AlertRow]]:
        """Yield alerts as of their last transitions, in the order in which they fired, in chunks."""
        place = (span.from_ms, "")
        while rows := await self._next("alerts_after", span, place):
            found = [_alert(row) for row in rows]
            yield found
            place = (found[-1].fired_ms, found[-1].id)

    async def _next(self, statement: str, span: Span, place: tuple[int, object]) -> list[Any]:
        nothing: list[Any] = []
        parameters = (span.account, span.symbol, *place, span.to_ms, MANY)
        return await self._read(lambda connection: connection.execute(SQL[statement], parameters).fetchall(), nothing)

    async def _read(self, read: Callable[[apsw.Connection], T], nothing: T, *, is_complete: bool = True) -> T:
        """Read in a thread, through a connection of its own; return `nothing` where there is no history yet.

        `is_complete`: what is read needs every migration.
        """
        if not self.path.exists():
            return nothing

        def work() -> T:
            with self._explained():
                connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
                try:
                    connection.set_busy_timeout(_BUSY_MS)
                    if _version(connection, self.path) < len(MIGRATIONS) and is_complete:
                        return nothing
                    return read(connection)
                finally:
                    connection.close()

        return await asyncio.to_thread(work)


def _prepare(connection: apsw.Connection, path: Path) -> list[str]:
    connection.set_busy_timeout(_BUSY_MS)
    version = _version(connection, path)
    for name, value in (
        ("journal_mode", "wal"),
        ("synchronous", "NORMAL"),  # nothing is lost that the journals would not tell again
        ("temp_store", "MEMORY"),
        ("mmap_size", 0),
        ("cache_size", -16_384),
        ("journal_size_limit", 64 * 1024 * 1024),
    ):
        connection.pragma(name, value)
    connection.create_scalar_function("decimal_least", _of_texts(least), 2, deterministic=True)
    connection.create_scalar_function("decimal_greatest", _of_texts(greatest), 2, deterministic=True)
    done = []
    for number in range(version + 1, len(MIGRATIONS) + 1):
        with transaction(connection):
            if _version(connection, path) < number:  # another process may have been quicker
                connection.execute(MIGRATIONS[number - 1])
                connection.pragma("user_version", number)
                done.append(_name(number))
    require_all(str(path), _missing(connection))
    return done


def _missing(connection: apsw.Connection) -> list[str]:
    """Return the tables and columns that the migrations made and that are not there."""
    rows: Any = connection.execute(
        "SELECT t.name, c.name FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c WHERE t.type = 'table'"
    )
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return missing_from(found)


def _name(number: int) -> str:
    return f"sqlite {number}"


def _version_of(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))


def _version(connection: apsw.Connection, path: Path) -> int:
    version, has_tables = int(connection.pragma("user_version")), connection.pragma("schema_version")
    is_ours = connection.pragma("application_id") == _APPLICATION_ID  # last: another process may be making the tables
    if not is_ours and (version or has_tables):
        raise HistoryRefused(f"{path} is a SQLite file, but no history")
    if version > len(MIGRATIONS):
        raise HistoryRefused(f"{path} has schema version {version}; this program knows up to {len(MIGRATIONS)}")
    return version


def _of_texts(chosen: Callable[[Decimal | None, Decimal | None], Decimal | None]) -> Callable[..., str | None]:
    return lambda one, other: _text(chosen(_number(one), _number(other)))


def _text(number: Decimal | None) -> str | None:
    return None if number is None else to_text(number)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


# -- rows --------------------------------------------------------------------------------------------------------------


def _rows(batch: Batch) -> Iterator[tuple[str, Iterable[tuple[object, ...]]]]:
    """Yield the statements that a batch takes, each with its rows."""
    account = (batch.account,)
    yield "add_entries", ((*account, epoch, *row[:6], row.body, row.hash) for epoch, row in batch.entries)
    yield "set_epoch", (account + epoch for epoch in batch.epochs)
    yield "set_position", (account + position for position in batch.positions or ())
    if batch.state is not None:
        yield "keep_state", [account + batch.state]
    yield "set_fill", (account + _texts(fill) for fill in (*batch.fills, *batch.restated))
    yield "set_alert", (account + _texts(alert) for alert in batch.alerts)
    yield "add_report", (account + report for report in batch.reports)
    yield "add_snapshot", (account + _snapshot_row(snapshot) for snapshot in batch.snapshots)


def _texts(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(to_text(value) if isinstance(value, Decimal) else value for value in row)


def _snapshot_row(snapshot: Snapshot) -> tuple[object, ...]:
    symbol, at_ms, figures, win_rate, total_trades, seq = snapshot
    return (symbol, at_ms, *_texts(figures), _text(win_rate), total_trades, seq)


def _bucket_row(bucket: PnLBucket) -> tuple[object, ...]:
    return (
        bucket.at_ms,
        bucket.snapshot_count,
        *_texts((*bucket.first, *bucket.last, *bucket.lowest, *bucket.highest)),
    )


def _pnl(connection: apsw.Connection, query: PnLQuery) -> PnLHistory:
    level = level_for(query.interval_ms)
    place = (query.account, query.symbol or "")
    span = (*place, query.from_ms, query.to_ms)
    if level is Level.RAW:
        rows = connection.execute(SQL["snapshots"], (*span, query.interval_ms))
    else:
        rows = connection.execute(_of_level("buckets", level), span)
    buckets = map(_snapshot_bucket if level is Level.RAW else _bucket, rows)
    found = list(combined(buckets, query.interval_ms))
    return PnLHistory(_before(connection, place, query.from_ms, level), found)


def _before(connection: apsw.Connection, place: tuple[str, str], from_ms: int, level: Level) -> Figures | None:
    """Return the last figures before a time, from the level or, where its rows are pruned, a coarser one."""
    coarser = [each for each in (Level.RAW, *ROLLUPS) if each.value >= level.value]
    for each in coarser:
        row: Any = connection.execute(_of_level("last_bucket", each), (*place, from_ms - each.value)).fetchone()
        if row is not None:
            return Figures._make(map(_number, row))
    return None


def _of_level(statement: str, level: Level) -> str:
    return SQL["last_snapshot"] if level is Level.RAW else SQL[statement].replace("pnl_level", level.table)


def _snapshot_bucket(row: Any) -> PnLBucket:
    at_ms, *figures = row
    return bucket_of(at_ms, Figures._make(map(_number, figures)))


def _accounts(connection: apsw.Connection) -> list[str]:
    rows: Any = connection.execute(SQL["accounts"])
    return [row[0] for row in rows]


def _symbols(connection: apsw.Connection, account: str, what: str) -> list[str]:
    rows: Any = connection.execute(SQL[f"symbols_of_{what}"], (account,))
    return [row[0] for row in rows]


def _alert(row: Any) -> AlertRow:
    alert = AlertRow._make(row)
    return alert._replace(value=_number(row[6]), threshold=_number(row[7]))


def _bucket(row: Any) -> PnLBucket:
    at_ms, count, *texts = row
    return bucket_from(at_ms, count, [_number(text) for text in texts])


def _fills(connection: apsw.Connection, account: str, query: FillQuery, until: int) -> FillPage:
    start, end = start_of(query), LAST if query.to_ms is None else query.to_ms
    rows = connection.execute(SQL["fills"], (account, *start, end, until, query.symbol, query.limit + 1))
    return page_of([recorded_entry(*row) for row in rows], query.limit)


def _replica(connection: apsw.Connection, account: str) -> Replica | None:
    connection.execute("BEGIN")  # all of one moment
    head, state = (connection.execute(SQL[name], (account,)).fetchone() for name in ("replica_head", "replica_state"))
    epochs: list[Any] = connection.execute(SQL["replica_epochs"], (account,)).fetchall()
    return replica_from(head, epochs, connection.execute(SQL["replica_positions"], (account,)), state)


def _news(connection: apsw.Connection, ends: Mapping[str, int]) -> dict[str, list[EntryRow]]:
    limit = news_per_account(len(ends))
    found = {account: _entries(connection, account, after, LAST, limit) for account, after in ends.items()}
    return {account: rows for account, rows in found.items() if rows}


def _entries(connection: apsw.Connection, account: str, after: int, until: int, limit: int) -> list[EntryRow]:
    rows: Any = connection.execute(SQL["replica_entries"], (account, after, until, limit))
    return [(row[0], entry_row(*row[1:])) for row in rows]
