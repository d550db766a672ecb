"""Leases in PostgreSQL, where the history is: the database itself refuses what a former holder writes late.

Sessions end by the clock of the server. A renewal is one statement on one row, on a connection of its own, so that
nothing else delays it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from account_monitor.cluster.leases import HeldLease, Session, session_over
from account_monitor.cluster.members import Board, Card, Holding, Member, decode_card, encode_card
from account_monitor.config.secrets import Secret
from account_monitor.errors import LeaseLost, StorageRefused, StorageUnavailable
from account_monitor.failures import reason
from account_monitor.postgres import AnyConnection, server_of, transaction

ANSWER_SECONDS = 2.0
"""How long a question may take, and to connect; after that it is given up with its connection."""

OVERLAP = timedelta(seconds=30)
"""How far back changes are read again: one that was committed late bears an earlier time."""

WHOLE_SECONDS = 15.0
"""How often all leases are read, and not only what changed: rows that are restored or edited bear earlier times."""

WHOLE_SHARE = 500
"""How many times as long as that took there is no other one, unless something contradicts what is known."""

IDLE_SECONDS = 5.0
"""How long a fenced transaction may wait for its client: after that the server ends it, and a takeover goes on."""

HANGING_SECONDS = 1.0
"""The same of a writer whose session is over, and that keeps somebody from taking the account over."""

CHANNEL = "account_monitor_leases"

_CREATING = 0x414D4D4C
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

_SESSION = {
    "application_name": "account-monitor leases",
    "timezone": "UTC",
    "synchronous_commit": "on",  # a renewal that a crash takes back would be believed in nevertheless
    "tcp_user_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
}

_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_NEEDS_HELP = (
    asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidSchemaNameError, asyncpg.ClientConfigurationError, ValueError, OverflowError,
)  # fmt: skip

log = structlog.get_logger()


def _statements() -> Mapping[str, str]:
    text = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    _, *parts = re.split(r"^-- name: *(\w+) *$", text, flags=re.MULTILINE)
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}


SQL = _statements()


class PostgresLeases:
    """Implements `LeaseStore`. The role that connects needs to make two tables, or find them made."""

    def __init__(self, url: str, password: Secret | None = None, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.description = f"PostgreSQL {server_of(url)}"
        self._beats = _Line(url, self.description, password, answer_seconds)
        self.line = _Line(url, self.description, password, answer_seconds)
        """For all that is not a renewal."""
        self.line.on_open = self._listen
        self._news = asyncio.Event()
        self._is_doubted = False
        """Whether something contradicts what is known of the leases: the next board is read whole."""
        self._whole_due = 0.0
        self._forget()

    def _forget(self) -> None:
        """Know nothing of the board: the next one is read whole."""
        self._cards: dict[str, Card] = {}
        self._shown_at = self._changed_at = _BEGINNING
        self._holdings: dict[str, Holding] = {}

    async def open(self) -> None:
        """Make the tables where they are missing; several processes may do so at once."""
        async with self.line.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _CREATING)
            if not await connection.fetchval(SQL["is_created"]):
                await connection.execute(SQL["create"])
                self._is_doubted = True
        self._beats.lacks_tables = self.line.lacks_tables = False

    @property
    def lacks_tables(self) -> bool:
        """Whether something that was asked found no tables, which `open` makes again."""
        return self._beats.lacks_tables or self.line.lacks_tables

    async def close(self) -> None:
        """Disconnect, without waiting for a server that does not answer."""
        self._beats.close()
        self.line.close()

    # -- a session ---------------------------------------------------------------------------------------------------

    async def join(self, session: Session, card: Card) -> None:
        """Begin a session. Where that failed and was done after all, the session ends unused: take another one."""
        told = (session.id, session.member, encode_card(card).decode(), session.terms.ttl_seconds)
        async with self._beats.connection() as connection:
            await connection.execute(SQL["join"], *told)
        await self._tell()

    async def beat(self, session: Session) -> None:
        """Renew a session with all that it holds, in one round trip. Raises: LeaseLost, also where a table is gone."""
        try:
            async with self._beats.connection() as connection:
                is_renewed = await connection.fetchval(SQL["beat"], session.id, session.terms.ttl_seconds)
        except StorageUnavailable:
            if not self.lacks_tables:
                raise
            is_renewed = False
        if self.lacks_tables:  # also that of the leases: who joins again makes it
            raise LeaseLost(
                f"session {session.id} of member {session.member} is over: its table, or the leases', is gone"
            )
        if not is_renewed:
            self._is_doubted = True  # whoever emptied one table may have emptied the other one
            raise session_over(session)

    async def show(self, session: Session, card: Card) -> None:
        """Replace what a member says of itself. Raises: LeaseLost."""
        async with self.line.connection() as connection:
            is_shown = await connection.fetchval(SQL["show"], session.id, encode_card(card).decode())
        if not is_shown:
            raise session_over(session)
        await self._tell()

    async def leave(self, session: Session) -> None:
        """End a session: all its leases are free at once."""
        async with self.line.connection() as connection:
            await connection.execute(SQL["leave"], session.id)
        await self._tell()

    # -- leases ------------------------------------------------------------------------------------------------------

    async def acquire(self, session: Session, above: Mapping[str, int]) -> dict[str, int]:
        """Take those of some accounts that nobody holds; return their epochs."""
        accounts = sorted(above)
        async with self.line.connection() as connection:
            await connection.execute(SQL["end_expired"])
        async with self.line.transaction() as connection:
            await connection.execute(SQL["add_missing"], accounts)  # also those that were there once
            locked = [row[0] for row in await connection.fetch(SQL["lock"], accounts)]
            told = (session.id, session.member, locked, [above[account] for account in locked])
            taken = {row[0]: row[1] for row in await connection.fetch(SQL["acquire"], *told)}
        if taken:
            await self._tell()
        if len(taken) < len(locked):
            self._is_doubted = True  # somebody holds what seemed to be free
        if missed := sorted(above.keys() - set(locked)):
            await self.end_hanging(missed)
        return taken

    async def end_hanging(self, accounts: Sequence[str]) -> None:
        """Let the server end writers without a session that wait for a client, and so keep accounts from others."""
        async with self.line.connection() as connection:
            for account, process, _ in await connection.fetch(SQL["end_hanging"], accounts, HANGING_SECONDS):
                log.warning("hanging_writer_ended", account=account, backend=process, seconds=HANGING_SECONDS)

    async def release(self, session: Session, heirs: Mapping[str, str | None]) -> set[str]:
        """Give up leases, each for a session that is to take it next; return those that were this session's."""
        async with self.line.connection() as connection:
            rows = await connection.fetch(SQL["release"], session.id, list(heirs), list(heirs.values()))
        released = {row[0] for row in rows}
        if len(released) < len(heirs):
            self._is_doubted = True  # what is known of the others would say for ever that they are this session's
        return released

    # -- the board ---------------------------------------------------------------------------------------------------

    async def board(self) -> Board:
        """Return who is there and who holds what: what changed since the last time is read, and all now and then."""
        async with self.line.connection() as connection:
            began = time.monotonic()
            if is_whole := self._is_doubted or began >= self._whole_due:
                self._forget()
                self._is_doubted = False
            sessions = await connection.fetch(SQL["members"], self._shown_at - OVERLAP)
            changes = await connection.fetch(SQL["changes"], self._changed_at - OVERLAP)
        for account, epoch, session, member, heir, changed_at in changes:
            self._holdings[account] = Holding(epoch, session, member, heir)
            self._changed_at = max(self._changed_at, changed_at)
        if is_whole:
            now = time.monotonic()
            self._whole_due = now + max(WHOLE_SECONDS, WHOLE_SHARE * (now - began))
        members, cards = {}, {}
        for session, name, card, shown_at, seconds in sessions:
            cards[session] = decode_card(card) if card is not None else self._cards.get(session, Card())
            self._shown_at = max(self._shown_at, shown_at)
            members[session] = Member(session, name, cards[session], seconds > 0, max(seconds, 0.0))
        self._cards = cards
        ends = [row[4] for row in sessions if row[4] > 0]
        return Board(members, dict(self._holdings), min(ends, default=None))

    async def wait(self, seconds: float) -> None:
        """Return after so many seconds, or sooner when somebody told of a change."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()

    async def _listen(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._forget()  # it may be another database
        await connection.add_listener(CHANNEL, self._hear)

    def _hear(self, *_: object) -> None:
        self._news.set()

    async def _tell(self) -> None:
        """Let the others look at the board now instead of in a while."""
        async with self.line.connection() as connection:
            await connection.execute(SQL["tell"], "")


class Claims:
    """The accounts that are held by leases elsewhere, as the database of the history has to know them."""

    def __init__(self, url: str, password: Secret | None = None, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._leases = PostgresLeases(url, password, answer_seconds=answer_seconds)
        self._is_open = False

    async def claim(self, lease: HeldLease) -> None:
        """Keep everybody with an older epoch from writing of an account. Raises: LeaseLost, StorageUnavailable."""
        if not self._is_open or self._leases.lacks_tables:
            await self._leases.open()
            self._is_open = True
        await self._leases.end_hanging([lease.account])  # `claim` would wait for it
        async with self._leases.line.connection() as connection:
            await claim(connection, lease)

    async def youngest(self, account: str) -> int:
        """Return the youngest epoch under which an account was claimed, 0 for none. Raises: StorageUnavailable."""
        async with self._leases.line.connection() as connection:
            return await claimed_epoch(connection, account)

    async def close(self) -> None:
        """Disconnect."""
        await self._leases.close()


class _Line:
    """One connection, made when it is needed and given up when it does not answer."""

    def __init__(self, url: str, server: str, password: Secret | None, answer_seconds: float) -> None:
        self._url = url
        self._server = server
        self._password = password
        self._answer_seconds = answer_seconds
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._turn = asyncio.Lock()
        self.on_open: Any = None
        self.lacks_tables = False
        """Whether a table was not found; until it is made again."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Lend the connection, to one at a time. Raises: StorageUnavailable."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._answer_seconds):
                    yield await self._opened()
            except _FAILURES as error:
                self.lacks_tables |= isinstance(error, asyncpg.UndefinedTableError)
                if not isinstance(error, asyncpg.PostgresError):
                    self.close()  # what it is doing is not known
                raise self._explained(error) from error
            except (ValueError, OverflowError) as error:  # hosts and ports that cannot be
                raise self._explained(error) from error
            except asyncio.CancelledError:
                self.close()
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Commit what happens inside, or nothing of it."""
        async with self.connection() as connection, transaction(connection):
            yield connection

    async def _opened(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            password = None if self._password is None else self._password.reveal()
            self._connection = await asyncpg.connect(
                self._url, password=password, timeout=self._answer_seconds, server_settings=_SESSION
            )
            if self.on_open is not None:
                await self.on_open(self._connection)
        return self._connection

    def close(self) -> None:
        """Disconnect at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _explained(self, error: BaseException) -> StorageUnavailable:
        kind = StorageRefused if isinstance(error, _NEEDS_HELP) else StorageUnavailable
        said = reason(error)
        if isinstance(error, asyncpg.PostgresError):
            said = f"{' '.join(str(error).split()).rstrip('.')} ({error.sqlstate})"
        return kind(f"leases in {self._server}: {said}")


# -- fences ------------------------------------------------------------------------------------------------------------


async def fence(
    connection: AnyConnection,
    account: str,
    epoch: int,
    session: str,
    *,
    is_lease: bool = True,
    idle_seconds: float = IDLE_SECONDS,
) -> None:
    """Let a transaction that has begun write of an account, and nobody take the account over before it has ended.

    `is_lease`: whether the leases are in this database; else what `claim` wrote is compared alone.
    Raises: LeaseLost where somebody else has it by now, or nobody, as the table is gone; nothing may be written then.
    """
    idle = f"{idle_seconds * 1000:.0f}ms"
    try:
        passed = await connection.fetchrow(SQL["fence"], account, epoch, session, idle, is_lease)
    except asyncpg.UndefinedTableError as error:
        raise LeaseLost(f"account {account} is held by nobody, nothing is written: {error}") from error
    if passed is None:
        raise LeaseLost(f"account {account} is not held under epoch {epoch} any more: nothing is written")


async def claim(connection: AnyConnection, lease: HeldLease) -> None:
    """Keep everybody with an older epoch from writing of an account, where the leases are not in this database.

    It waits for what such a one commits at this moment.
    Raises: LeaseLost where a younger one came before.
    """
    told = (lease.account, lease.epoch, lease.session.id, lease.session.member)
    if await connection.fetchval(SQL["claim"], *told) is None:
        raise LeaseLost(f"account {lease.account} was claimed under a younger epoch than {lease.epoch}")


async def claimed_epoch(connection: AnyConnection, account: str) -> int:
    """Return the youngest epoch under which an account was held or claimed in this database, 0 for none."""
    return int(await connection.fetchval(SQL["claimed"], account) or 0)
