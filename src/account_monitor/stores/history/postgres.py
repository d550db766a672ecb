"""PostgreSQL: the history where other programs can ask for it, with TimescaleDB where the database has it."""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from account_monitor.config.secrets import Secret
from account_monitor.errors import HistoryDiffers, HistoryRefused, HistoryUnavailable
from account_monitor.failures import reason
from account_monitor.monitor.fills import LAST, page_of, start_of
from account_monitor.monitor.ports import (
    Figures,
    FillPage,
    FillQuery,
    PnLHistory,
    PnLQuery,
)
from account_monitor.postgres import server_of, transaction
from account_monitor.stores.chain import START
from account_monitor.stores.history import timescale
from account_monitor.stores.history.batch import (
    BEGINNING,
    AlertRow,
    Batch,
    Cursor,
    EntryRow,
    entry_row,
    recorded_entry,
)
from account_monitor.stores.history.buckets import ROLLUPS, Level, RollUp, bucket_from, level_for, rolled_up
from account_monitor.stores.history.condition import Condition
from account_monitor.stores.history.copying import FILLS, JOURNAL, Lines, lines_of, stored_ms
from account_monitor.stores.history.examination import examine
from account_monitor.stores.history.keeping import Keeping
from account_monitor.stores.history.schema import bring_up_to_date, has_tables, server_version, uses_timescale
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
from account_monitor.stores.sql import load_queries

SQL = load_queries("history/postgres")

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""How long a question or a batch may take; after that it is given up with its connection."""

MIGRATING_SECONDS = 600.0

SESSION = {
    "application_name": "account-monitor",
    "timezone": "UTC",
    # The server notices within two minutes that a client's machine is gone, and lets go of what it had locked.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    "tcp_user_timeout": "90s",
    "idle_in_transaction_session_timeout": "60s",
}

_PRUNED_AT_ONCE = 5_000

log = structlog.get_logger(__name__)

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

Fence: TypeAlias = Callable[[Connection, str], Awaitable[None]]
"""Lets a transaction write of an account, or raises LeaseLost."""

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What a server, the network or the client of it may answer with."""

UNUSABLE = (*FAILURES, ValueError, OverflowError)
"""The same of connecting: the last are of hosts and ports that cannot be, such as in PGPORT."""


class PostgresHistory:
    """Implements `HistoryStore` on a server. The role that connects needs to own its tables, and nothing else."""

    def __init__(
        self,
        url: str,
        password: Secret | None = None,
        *,
        keeping: Keeping | None = None,
        fence: Fence | None = None,
        connections: int = 4,
        connect_seconds: float = CONNECT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`keeping` is for whoever writes: what TimescaleDB is told to do with what is old. So is `fence`, which is
        called first in each transaction that writes of an account: what it raises is raised, and nothing is written.
        """
        self.description = ""
        self._keeping = keeping
        self._fence = fence
        self.is_timescale = False
        self._url = url
        self._server = server_of(url)
        self._password = password
        self._connections = connections
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._turns = asyncio.Semaphore(connections)
        """Waited for without a limit: whoever has a connection gives it back in time."""
        self._has_tables = False
        """Whether the tables were seen; nobody takes them away."""

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> list[str]:
        """Connect and bring the schema up to date; several processes may do so at once. Return the migrations."""
        await self.connect()
        async with self._opening, self._connection(patience_seconds=MIGRATING_SECONDS) as connection:
            done = await bring_up_to_date(connection)
            await self._recognize(connection)
            if self.is_timescale and self._keeping is not None:
                await timescale.keep(connection, self._keeping)
        return done

    async def connect(self) -> None:
        """Connect without changing anything; nothing to do where that was done."""
        async with self._opening:
            if self._pool is None:
                with _explained(self._server, UNUSABLE):
                    self._pool = await self._new_pool()

    def _new_pool(self) -> asyncpg.Pool[asyncpg.Record]:
        return asyncpg.create_pool(
            self._url,
            password=None if self._password is None else self._password.reveal(),
            min_size=0,
            max_size=self._connections,
            timeout=self._connect_seconds,
            max_inactive_connection_lifetime=60.0,
            server_settings=SESSION,
        )

    async def close(self) -> None:
        """Disconnect, without waiting for a server that does not answer."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.terminate()

    @asynccontextmanager
    async def _connection(self, *, patience_seconds: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection, in turn; one that does not answer in time is given up."""
        async with self._turns:
            pool = self._pool
            if pool is None:
                raise HistoryUnavailable("not connected")
            with _explained(self._server, UNUSABLE):
                connection = await pool.acquire(timeout=self._connect_seconds)
            with _explained(self._server):
                try:
                    async with asyncio.timeout(self._answer_seconds if patience_seconds is None else patience_seconds):
                        yield connection
                except (TimeoutError, asyncio.CancelledError):
                    connection.terminate()  # what it is doing is not known, and to ask would take as long again
                    raise
                finally:
                    await pool.release(connection, timeout=self._connect_seconds)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """Commit what happens inside, or nothing of it."""
        async with self._connection() as connection, transaction(connection):
            yield connection

    async def _recognize(self, connection: Connection) -> None:
        self.is_timescale = await uses_timescale(connection)
        self.description = f"PostgreSQL {server_version(connection)}"
        if self.is_timescale:
            extension = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
            self.description += f" with TimescaleDB {extension}"

    async def condition(self) -> Condition:
        """Return what can be said of the server and its tables. Raises: HistoryUnavailable."""
        async with self._connection() as connection:
            return await examine(connection)

    # -- what is written ---------------------------------------------------------------------------------------------

    async def cursor(self, account: str) -> Cursor:
        """Return how far the journal of an account was written."""
        async with self._connection() as connection:
            await connection.execute(SQL["start"], account, START)
            return Cursor._make(await connection.fetchrow(SQL["cursor"], account) or BEGINNING)

    def prepared(self, batch: Batch) -> Batch:
        """Return a batch with the lines of it that are copied."""
        return batch._replace(prepared=lines_of(batch))

    async def write(self, batch: Batch) -> None:
        """Write a batch and move the cursor from where the batch begins, or nothing of it. Raises: HistoryDiffers."""
        lines = batch.prepared if isinstance(batch.prepared, Lines) else lines_of(batch)
        async with self._transaction() as connection:
            await self._pass_fence(connection, batch.account)
            is_known = await self._advance(connection, batch)
            if not is_known:
                await _copy(connection, "journal", JOURNAL, lines.entries)
            await _copy(connection, "fills", FILLS, lines.fills)
            for name, columns in _tables(batch, with_entries=is_known):
                if columns:
                    await connection.execute(SQL[name], batch.account, *_arguments(SQL[name], columns))
            if batch.state is not None:
                await connection.execute(SQL["keep_state"], batch.account, *batch.state)
            if batch.snapshots and not self.is_timescale:
                for level, columns in _by_level(rolled_up(batch.snapshots)):
                    statement = _of_level("roll_up", level)
                    await connection.execute(statement, batch.account, *_arguments(statement, columns))

    async def _pass_fence(self, connection: Connection, account: str) -> None:
        if self._fence is not None:
            await self._fence(connection, account)

    async def _advance(self, connection: Connection, batch: Batch) -> bool:
        """Move the cursor; return whether there are entries already that come after where it was."""
        before, after = batch.before, batch.after
        is_known = await connection.fetchval(SQL["advance"], batch.account, *after, *before)
        if is_known is None:
            raise HistoryDiffers(f"somebody else writes the history of account {batch.account} into this database")
        return bool(is_known)

    async def forget(self, account: str) -> None:
        """Put the cursor before the first entry, and remove what follows from entries; snapshots stay."""
        async with self._transaction() as connection:
            await self._pass_fence(connection, account)
            for what in ("fills", "alerts", "reports", "epochs", "state", "positions"):
                await connection.execute(SQL[f"forget_{what}"], account)
            await connection.execute(SQL["forget_place"], account, START)

    async def prune(self, before_ms: int) -> None:
        """Remove snapshots, and their sums by minute, that are older, some at a time.

        TimescaleDB does so itself; there, what came too late for its own sums is summed up.
        """
        if self.is_timescale:
            await self._sum_up()
            return
        for name in ("prune_snapshots", "prune_minutes"):
            pruned = _PRUNED_AT_ONCE
            while pruned == _PRUNED_AT_ONCE:
                async with self._connection() as connection:
                    answer = await connection.execute(SQL[name], before_ms, _PRUNED_AT_ONCE)
                pruned = int(answer.removeprefix("DELETE "))

    async def _sum_up(self) -> None:
        if self._keeping is None:
            return
        async with self._connection(patience_seconds=MIGRATING_SECONDS) as connection:
            try:
                await timescale.sum_up(connection, self._keeping, datetime.now(UTC))
            except asyncpg.PostgresError as error:
                log.debug("sums_not_refreshed", reason=_reason(error))  # the database itself, or another, does so now

    # -- what is read ------------------------------------------------------------------------------------------------

    async def pnl(self, query: PnLQuery) -> PnLHistory:
        """Return the buckets of a query."""
        level = level_for(query.interval_ms)
        place = (query.account, query.symbol or "")
        span = (query.from_ms, query.to_ms)
        async with self._connection() as connection:
            if not await self._is_ready(connection):
                return PnLHistory(None, [])
            if level.value == query.interval_ms:
                rows = await connection.fetch(_of_level("buckets", level), *place, *span)
            else:
                rows = await connection.fetch(_of_level("buckets_joined", level), *place, *span, query.interval_ms)
            before = await self._before(connection, place, query.from_ms, level)
        return PnLHistory(before, [bucket_from(row[0], row[1], row[2:]) for row in rows])

    async def _before(
        self, connection: Connection, place: tuple[str, str], from_ms: int, level: Level
    ) -> Figures | None:
        """Return the last figures before a time, from the level or, where its rows are pruned, a coarser one."""
        for each in (Level.RAW, *ROLLUPS):
            if each.value < level.value:
                continue
            row = await connection.fetchrow(_of_level("last_bucket", each), *place, from_ms - each.value)
            if row is not None:
                return Figures._make(row)
        return None

    async def _is_ready(self, connection: Connection) -> bool:
        self._has_tables = self._has_tables or await has_tables(connection)
        return self._has_tables

    async def fills(self, account: str, query: FillQuery, *, until: int) -> FillPage:
        """Return a page of the fills whose last record is up to a sequence."""
        at_ms, number, seq = start_of(query)
        span = (stored_ms(at_ms), number, seq, stored_ms(LAST if query.to_ms is None else query.to_ms))
        async with self._connection() as connection:
            if not await self._is_ready(connection):
                return FillPage([], None)
            rows = await connection.fetch(SQL["fills"], account, *span, until, query.symbol, query.limit + 1)
        return page_of([recorded_entry(*tuple(row)) for row in rows], query.limit)

    async def replica(self, account: str) -> Replica | None:
        """Return the copy of a journal, None where there is no entry of it."""
        async with self._connection() as connection:
            if not await self._is_ready(connection):
                return None
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                head = await connection.fetchrow(SQL["replica_head"], account)
                epochs = [tuple(row) for row in await connection.fetch(SQL["replica_epochs"], account)]
                positions = await connection.fetch(SQL["replica_positions"], account)
                state = await connection.fetchrow(SQL["replica_state"], account)
        return replica_from(head, epochs, positions, state)

    async def entries(self, account: str, *, after: int, until: int) -> AsyncIterator[list[EntryRow]]:
        """Yield the entries of the chain that counts with after < seq <= until, in chunks."""
        while True:
            async with self._connection() as connection:
                rows = await connection.fetch(SQL["replica_entries"], account, after, until, CHUNK)
            if not rows:
                return
            found = [(row[0], entry_row(*tuple(row)[1:])) for row in rows]
            yield found
            after = found[-1][1].seq

    async def news(self, ends: Mapping[str, int]) -> dict[str, list[EntryRow]]:
        """Return by account, where there are any, the next entries after a sequence of the chain that counts."""
        found: dict[str, list[EntryRow]] = {}
        async with self._connection() as connection:
            if not ends or not await self._is_ready(connection):
                return found
            limit = news_per_account(len(ends))
            rows = await connection.fetch(SQL["replica_news"], list(ends), list(ends.values()), limit)
        for account, epoch, *row in rows:
            found.setdefault(account, []).append((epoch, entry_row(*row)))
        return found

    async def accounts(self) -> list[str]:
        """Return the accounts of which there is anything."""
        async with self._connection() as connection:
            if not await self._is_ready(connection):
                return []
            return [row[0] for row in await connection.fetch(SQL["accounts"])]

    async def symbols(self, account: str, what: Literal["pnl", "alerts"]) -> list[str]:
        """Return the position keys that have snapshots, or what alerts were about."""
        async with self._connection() as connection:
            if not await self._is_ready(connection):
                return []
            return [row[0] for row in await connection.fetch(SQL[f"symbols_of_{what}"], account)]

    async def snapshots(self, span: Span) -> AsyncIterator[list[Snapshot]]:
        """Yield the snapshots of an account or of a position key in the order of time, in chunks."""
        place = (span.from_ms, 0)
        while rows := await self._next("snapshots_after", span, place):
            yield [snapshot_from(tuple(row)) for row in rows]
            place = (rows[-1][2], rows[-1][0])

    async def alerts(self, span: Span) -> AsyncIterator[list[AlertRow]]:
        """Yield alerts as of their last transitions, in the order in which they fired, in chunks."""
        place = (span.from_ms, "")
        while rows := await self._next("alerts_after", span, place):
            found = [AlertRow._make(row) for row in rows]
            yield found
            place = (found[-1].fired_ms, found[-1].id)

    async def _next(self, statement: str, span: Span, place: tuple[int, object]) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            if not await self._is_ready(connection):
                return []
            return await connection.fetch(SQL[statement], span.account, span.symbol, *place, span.to_ms, MANY)


async def _copy(connection: Connection, table: str, columns: Sequence[str], lines: bytes) -> None:
    """Add rows to a table that has none of them: COPY takes half the time of INSERT, and knows no conflicts."""

    async def source() -> AsyncIterator[bytes]:
        yield lines  # as they are, they would be taken for the name of a file

    if lines:
        await connection.copy_to_table(table, columns=columns, source=source())


@contextmanager
def _explained(server: str, failures: tuple[type[Exception], ...] = FAILURES) -> Iterator[None]:
    """Turn what a server answers into HistoryUnavailable, in words that name it and no secret; into HistoryRefused
    where waiting does not help.
    """
    try:
        yield
    except HistoryUnavailable as error:
        raise type(error)(f"{server}: {error}") from error
    except failures as error:
        said = f"{server}: {_reason(error)}"
        if (advice := _advice(error)) is not None:
            raise HistoryRefused(f"{said}; {advice}") from error
        raise HistoryUnavailable(said) from error


def _advice(error: BaseException) -> str | None:
    """Return what to change where the same question will get the same answer, None where it may not."""
    refuses_tls = isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error)  # as asyncpg says it
    if refuses_tls or isinstance(error, ssl.SSLCertVerificationError):
        return "sslmode in database.url asks for TLS, sslrootcert names whose certificates are trusted"
    is_of_address = isinstance(error, asyncpg.ClientConfigurationError) or not isinstance(error, asyncpg.InterfaceError)
    if isinstance(error, ValueError | OverflowError) and is_of_address:
        return "see database.url, and the variables PGHOST and PGPORT"
    return next((advice for kinds, advice in _ADVICE if isinstance(error, kinds)), None)


_ADVICE: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (asyncpg.InvalidPasswordError,),
        "see the user in database.url and what database.password_env or database.password_file names",
    ),
    (
        (asyncpg.InvalidAuthorizationSpecificationError,),
        "see the user in database.url, sslmode, and whom pg_hba.conf of the server admits",
    ),
    ((asyncpg.InvalidCatalogNameError,), "make that database, or name another one in database.url"),
    (
        (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError),
        "give the role a schema of its own; account-monitor doctor names what it lacks",
    ),
    ((asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError), "account-monitor doctor names what is missing"),
)
"""Mistakes that no waiting mends, and how people do."""


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the database does not answer in time"
    if isinstance(error, asyncpg.PostgresError):
        return f"{' '.join(str(error).split()).rstrip('.')} ({error.sqlstate})"
    return reason(error)


# -- rows --------------------------------------------------------------------------------------------------------------

Column: TypeAlias = Sequence[Any]


def _tables(batch: Batch, *, with_entries: bool) -> Iterator[tuple[str, list[Column]]]:
    """Yield the statements that a batch takes for what is not copied, each with the columns of its rows.

    None where there are no rows.
    """
    if batch.entries and with_entries:
        epochs, rows = zip(*batch.entries, strict=True)
        seq, event_id, kind, at_ms, recorded_ms, source, _, _, _, body, entry_hash = zip(*rows, strict=True)
        yield "add_entries", [epochs, seq, event_id, kind, _in_calendar(at_ms), recorded_ms, source, body, entry_hash]
    yield "set_epochs", _transposed(batch.epochs)
    yield "set_positions", _transposed(batch.positions or ())
    for name, found, times in (
        ("set_fills", batch.restated, ("at_ms",)),
        ("set_alerts", batch.alerts, ("fired_ms", "resolved_ms")),
        ("add_reports", batch.reports, ("at_ms",)),
    ):
        yield (
            name,
            [
                _in_calendar(column) if field in times else column
                for field, column in zip(type(found[0])._fields, _transposed(found), strict=True)
            ]
            if found
            else [],
        )
    yield (
        "add_snapshots",
        _transposed(
            (symbol, at_ms, *figures, win_rate, total_trades, seq)
            for symbol, at_ms, figures, win_rate, total_trades, seq in batch.snapshots
        ),
    )


def _by_level(roll_ups: list[RollUp]) -> Iterator[tuple[Level, list[Column]]]:
    for level in ROLLUPS:
        yield level, _transposed(
            (symbol, b.at_ms, b.snapshot_count, *b.first, *b.last, *b.lowest, *b.highest)
            for at, symbol, b in roll_ups if at is level
        )  # fmt: skip


def _transposed(rows: Iterable[tuple[Any, ...]]) -> list[Column]:
    return list(zip(*rows, strict=True))


def _arguments(statement: str, columns: list[Column]) -> Iterator[object]:
    """Yield columns as a statement takes them, from its second parameter on."""
    written_out = _written_out(statement)
    for number, column in enumerate(columns, start=2):
        yield _array(column) if number in written_out else _storable(column)


@functools.cache
def _written_out(statement: str) -> frozenset[int]:
    """Return which parameters are arrays as text: of numbers, which takes a third of the driver's time for them."""
    return frozenset(map(int, re.findall(r"\$(\d+)::text::", statement)))


def _array(numbers: Column) -> str:
    return f"{{{','.join(['NULL' if number is None else str(number) for number in numbers])}}}"


def _storable(column: Column) -> Column:
    """Return what the database can hold: its texts have no NUL. The body of an entry has none, as JSON escapes it."""
    if not any(isinstance(value, str) and "\0" in value for value in column):
        return column
    return [value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value for value in column]


def _in_calendar(times: Column) -> Column:
    """Return times that the database can hold: whoever was told one of another millennium is told the nearest."""
    return [None if at_ms is None else stored_ms(at_ms) for at_ms in times]


def _of_level(statement: str, level: Level) -> str:
    if level is Level.RAW:
        return SQL[{"buckets_joined": "snapshots_joined", "last_bucket": "last_snapshot"}[statement]]
    return SQL[statement].replace("pnl_level", level.table)
