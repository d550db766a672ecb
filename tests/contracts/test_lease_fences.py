"""The fence in PostgreSQL: who lost an account writes nothing of it any more, and who takes it waits for a commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from account_monitor.cluster.leases import HeldLease, Session, Terms, new_session_id
from account_monitor.cluster.members import Card
from account_monitor.cluster.postgres import HANGING_SECONDS, Claims, PostgresLeases, claim, claimed_epoch, fence
from account_monitor.errors import LeaseLost
from account_monitor.stores.history.postgres import Connection, PostgresHistory
from tests.contracts.test_history_projector import project
from tests.history_samples import record
from tests.journal_samples import deliveries
from tests.servers.postgres import FreshDatabase

pytestmark = pytest.mark.integration


class Desk:
    """Two members, and connections as a projection has them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._stores: list[PostgresLeases] = []
        self._connections: list[asyncpg.Connection[asyncpg.Record]] = []

    async def member(self, name: str, ttl: float = 60) -> tuple[PostgresLeases, Session]:
        store = PostgresLeases(self.url)
        self._stores.append(store)
        await store.open()
        session = Session(name, Terms(ttl), new_session_id())
        await store.join(session, Card())
        return store, session

    async def connection(self) -> asyncpg.Connection[asyncpg.Record]:
        connection = await asyncpg.connect(self.url)
        self._connections.append(connection)
        return connection

    async def close(self) -> None:
        for store in self._stores:
            await store.close()
        for connection in self._connections:
            connection.terminate()


@pytest.fixture
async def desk(postgres_schema: FreshDatabase) -> AsyncIterator[Desk]:
    """A place of its own with a table that holders write."""
    desk = Desk(postgres_schema.url)
    connection = await desk.connection()
    await connection.execute("CREATE TABLE written (epoch bigint NOT NULL)")
    yield desk
    await desk.close()


async def write(connection: asyncpg.Connection[asyncpg.Record], epoch: int, session: Session) -> None:
    """Write as a projection does: the fence first, and everything in one transaction."""
    async with connection.transaction():
        await fence(connection, "main", epoch, session.id)
        await connection.execute("INSERT INTO written VALUES ($1)", epoch)


async def test_the_holder_writes(desk: Desk) -> None:
    store, session = await desk.member("one")
    epoch = (await store.acquire(session, {"main": 0}))["main"]
    connection = await desk.connection()

    await write(connection, epoch, session)

    assert await connection.fetchval("SELECT epoch FROM written") == epoch


async def test_who_lost_the_lease_is_refused_by_the_database(desk: Desk) -> None:
    one, former = await desk.member("one")
    other, session = await desk.member("other")
    old = (await one.acquire(former, {"main": 0}))["main"]
    await one.leave(former)
    new = (await other.acquire(session, {"main": 0}))["main"]
    connection = await desk.connection()

    with pytest.raises(LeaseLost, match=f"account main is not held under epoch {old} any more"):
        await write(connection, old, former)
    await write(connection, new, session)

    assert [row[0] for row in await connection.fetch("SELECT epoch FROM written")] == [new]


async def test_neither_epoch_nor_session_alone_lets_anybody_write(desk: Desk) -> None:
    store, session = await desk.member("one")
    _, rival = await desk.member("other")
    epoch = (await store.acquire(session, {"main": 0}))["main"]
    connection = await desk.connection()

    with pytest.raises(LeaseLost):
        await write(connection, epoch, rival)
    with pytest.raises(LeaseLost):
        await write(connection, epoch - 1, session)


async def test_a_session_that_was_ended_writes_no_more_although_nobody_took_over(desk: Desk) -> None:
    store, session = await desk.member("one")
    epoch = (await store.acquire(session, {"main": 0}))["main"]
    await store.leave(session)

    with pytest.raises(LeaseLost):
        await write(await desk.connection(), epoch, session)


async def test_a_takeover_waits_for_the_commit_under_way(desk: Desk) -> None:
    one, former = await desk.member("one")
    other, session = await desk.member("other")
    epoch = (await one.acquire(former, {"main": 0, "alt": 0}))["main"]
    connection = await desk.connection()
    transaction = connection.transaction()
    await transaction.start()
    await fence(connection, "main", epoch, former.id)
    await one.leave(former)

    began = time.monotonic()
    assert (await other.acquire(session, {"main": 0, "alt": 0})).keys() == {"alt"}  # nobody waits for the other account
    assert time.monotonic() - began < 1
    await connection.execute("INSERT INTO written VALUES ($1)", epoch)
    await transaction.commit()

    taken = await other.acquire(session, {"main": 0})
    assert taken["main"] > epoch
    assert await connection.fetchval("SELECT count(*) FROM written") == 1  # what was committed, the new holder reads


async def test_a_write_that_meets_a_takeover_under_way_is_refused(desk: Desk) -> None:
    one, former = await desk.member("one")
    _, session = await desk.member("other")
    epoch = (await one.acquire(former, {"main": 0}))["main"]
    connection, taker = await desk.connection(), await desk.connection()
    transaction = taker.transaction()
    await transaction.start()
    await taker.execute("SELECT 1 FROM account_monitor_leases WHERE account = 'main' FOR UPDATE")

    writing = asyncio.create_task(write(connection, epoch, former))
    await asyncio.sleep(0.3)
    assert not writing.done()
    await taker.execute("UPDATE account_monitor_leases SET epoch = epoch + 1, session = $1", session.id)
    await transaction.commit()

    with pytest.raises(LeaseLost):
        await writing
    assert await connection.fetchval("SELECT count(*) FROM written") == 0


async def test_a_writer_that_hangs_in_its_transaction_is_ended_by_the_server(desk: Desk) -> None:
    one, former = await desk.member("one")
    other, session = await desk.member("other")
    epoch = (await one.acquire(former, {"main": 0}))["main"]
    connection = await desk.connection()
    await connection.execute("BEGIN")
    await fence(connection, "main", epoch, former.id, idle_seconds=0.5)
    await one.leave(former)
    assert await other.acquire(session, {"main": 0}) == {}

    await asyncio.sleep(1.0)

    assert (await other.acquire(session, {"main": 0}))["main"] > epoch
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.execute("COMMIT")


async def hang(connection: asyncpg.Connection[asyncpg.Record], epoch: int, session: Session) -> asyncio.Task[str]:
    """Pass the fence, and say nothing any more in the middle of a COPY, as a process that is frozen."""

    async def rows() -> AsyncIterator[bytes]:
        yield b"1\n"
        await asyncio.Event().wait()

    await connection.execute("BEGIN")
    await fence(connection, "main", epoch, session.id, is_lease=False, idle_seconds=0.5)
    hanging = asyncio.create_task(connection.copy_to_table("written", source=rows()))
    await asyncio.sleep(0.1)
    return hanging


async def test_a_writer_that_hangs_in_a_copy_is_ended_by_whoever_takes_over(desk: Desk) -> None:
    one, former = await desk.member("one")
    other, session = await desk.member("other")
    epoch = (await one.acquire(former, {"main": 0}))["main"]
    hanging = await hang(await desk.connection(), epoch, former)
    assert await other.acquire(session, {"main": 0}) == {}, "its session is not over"
    await asyncio.sleep(HANGING_SECONDS)
    assert await other.acquire(session, {"main": 0}) == {}
    assert not hanging.done()

    await one.leave(former)
    began = time.monotonic()
    while not (taken := await other.acquire(session, {"main": 0})):
        assert time.monotonic() - began < 10
        await asyncio.sleep(0.05)

    assert taken["main"] > epoch
    hanging.cancel()
    connection = await desk.connection()
    await write(connection, taken["main"], session)
    assert [row[0] for row in await connection.fetch("SELECT epoch FROM written")] == [taken["main"]]


async def test_a_claim_does_not_wait_for_a_writer_that_hangs(desk: Desk) -> None:
    claims = Claims(desk.url)
    former, session = (Session(name, Terms(60), new_session_id()) for name in ("one", "other"))
    await claims.claim(HeldLease("main", 1, former))
    hanging = await hang(await desk.connection(), 1, former)
    await asyncio.sleep(HANGING_SECONDS)

    began = time.monotonic()
    await claims.claim(HeldLease("main", 2, session))

    assert time.monotonic() - began < 1
    hanging.cancel()
    await claims.close()


async def test_a_writer_without_a_pause_does_not_keep_anybody_from_taking_over(desk: Desk) -> None:
    one, former = await desk.member("one")
    other, session = await desk.member("other")
    epoch = (await one.acquire(former, {"main": 0}))["main"]

    async def write_on() -> None:
        connection = await desk.connection()
        while True:
            await write(connection, epoch, former)

    writers = [asyncio.create_task(write_on()) for _ in range(3)]
    await asyncio.sleep(0.3)
    await one.leave(former)
    async with asyncio.timeout(10):
        while True:
            if await other.acquire(session, {"main": 0}):
                break
            await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(*writers, return_exceptions=True)

    assert all(isinstance(outcome, LeaseLost) for outcome in outcomes)


async def test_where_leases_are_elsewhere_the_youngest_claim_writes(desk: Desk) -> None:
    await desk.member("one")  # makes the tables
    former, session = Session("one", Terms(5), "s1"), Session("other", Terms(5), "s2")
    connection = await desk.connection()
    await claim(connection, HeldLease("main", 7, former))
    async with connection.transaction():
        await fence(connection, "main", 7, former.id, is_lease=False)

    await claim(connection, HeldLease("main", 8, session))
    await claim(connection, HeldLease("main", 8, session))  # as often as it likes

    with pytest.raises(LeaseLost):
        async with connection.transaction():
            await fence(connection, "main", 7, former.id, is_lease=False)
    assert await claimed_epoch(connection, "main") == 8
    with pytest.raises(LeaseLost, match="account main was claimed under a younger epoch than 7"):
        await claim(connection, HeldLease("main", 7, former))
    with pytest.raises(LeaseLost):  # two that a store gave one epoch, having lost the first
        await claim(connection, HeldLease("main", 8, former))


# -- the history -------------------------------------------------------------------------------------------------------


async def test_a_journal_is_written_until_somebody_else_holds_the_account(desk: Desk, tmp_path: Path) -> None:
    store, session = await desk.member("one")
    epoch = (await store.acquire(session, {"main": 0}))["main"]

    async def of_session(connection: Connection, account: str) -> None:
        await fence(connection, account, epoch, session.id)

    history = PostgresHistory(desk.url, fence=of_session)
    await record(tmp_path, deliveries(1, 2))
    assert [each.seq for each in await project(tmp_path, history)][-1] == 2
    await store.leave(session)
    await record(tmp_path, deliveries(3))

    (lost,) = [each for each in await project(tmp_path, history) if each.is_lost]

    replica = await history.replica("main")
    await history.close()
    assert replica is not None
    assert (replica.seq, lost.seq) == (2, 2)
    assert f"account main is not held under epoch {epoch} any more" in (lost.problem or "")
