"""A database that dies, hangs, refuses or is full: the store says so in time, and goes on where it was afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import apsw
import asyncpg
import pytest

from account_monitor.config.secrets import Secret
from account_monitor.errors import HistoryDiffers, HistoryRefused, HistoryUnavailable
from account_monitor.monitor.ports import PnLQuery
from account_monitor.stores.history import sqlite
from account_monitor.stores.history.batch import BEGINNING
from account_monitor.stores.history.postgres import PostgresHistory
from account_monitor.stores.history.store import HistoryStore
from tests.history_samples import (
    DAY,
    NOW,
    PostgresPlace,
    SqlitePlace,
    TimescalePlace,
    batch_of,
    record,
    snapshot,
    snapshots_batch,
    write_entries,
    write_snapshots,
)
from tests.journal_samples import deliveries
from tests.servers.postgres import FreshDatabase, PostgresServer, create_database, drop_database
from tests.servers.relay import relay_to
from tests.servers.timescale import TimescaleServer

pytestmark = pytest.mark.integration

ANSWER_SECONDS = 0.4
"""How long the stores here wait for a connection, and for an answer."""

SLACK_SECONDS = 1.0
"""What a busy machine adds."""


GONE = "closed|connection refused|shutdown|terminating"


@contextmanager
def refused_in_time(match: str) -> Iterator[None]:
    """Demand that what is inside is not possible, and says so as soon as it should."""
    begin = time.monotonic()
    with pytest.raises(HistoryUnavailable, match=match) as raised:
        yield
    assert not isinstance(raised.value, HistoryDiffers)
    assert time.monotonic() - begin < 2 * ANSWER_SECONDS + SLACK_SECONDS


@asynccontextmanager
async def blocked(url: str, table: str) -> AsyncIterator[None]:
    """Let nobody else use a table."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"BEGIN; LOCK TABLE {table}")
        yield
    finally:
        await connection.close()


async def refuses_all(store: HistoryStore, match: str) -> None:
    """Demand that nothing works."""
    with refused_in_time(match):
        await store.cursor("main")
    with refused_in_time(match):
        await store.write(snapshots_batch(BEGINNING, [snapshot(NOW + 1, "1")]))
    with refused_in_time(match):
        await store.pnl(PnLQuery("main", None, NOW, NOW + DAY, DAY))


async def works(store: HistoryStore, place: PostgresPlace | SqlitePlace) -> None:
    """Demand that what was there is there, and more can be written."""
    await write_snapshots(store, snapshot(NOW + DAY, "2"))
    [first, second] = (await store.pnl(PnLQuery("main", None, NOW, NOW + 2 * DAY, DAY))).buckets
    assert (first.snapshot_count, second.snapshot_count) == (1, 1)
    assert await place.ask("SELECT count(*) FROM pnl_snapshots") == [(2,)]


async def filled(place: PostgresPlace | SqlitePlace) -> HistoryStore:
    """Return a store with one snapshot in it."""
    store = place.store()
    await store.open()
    await store.cursor("main")
    await write_snapshots(store, snapshot(NOW, "1"))
    return store


async def test_a_server_that_ends_is_used_again_once_it_is_there(breakable_postgres: PostgresServer) -> None:
    for end in (breakable_postgres.kill, breakable_postgres.stop):
        place = PostgresPlace(await breakable_postgres.create_database(), answer_seconds=ANSWER_SECONDS)
        store = await filled(place)

        end()
        await refuses_all(store, GONE)
        with refused_in_time(GONE):
            await store.open()

        breakable_postgres.start()
        await works(store, place)
        await store.close()


async def test_a_server_that_hangs_is_given_up_in_time(breakable_postgres: PostgresServer) -> None:
    place = PostgresPlace(await breakable_postgres.create_database(), answer_seconds=ANSWER_SECONDS)
    store = await filled(place)

    breakable_postgres.pause()
    await refuses_all(store, "the database does not answer in time")
    begin = time.monotonic()
    await store.close()
    assert time.monotonic() - begin < SLACK_SECONDS
    breakable_postgres.resume()

    await store.open()
    await works(store, place)
    await store.close()


async def test_a_batch_that_hangs_is_written_or_not_and_the_cursor_says_which(
    postgres_schema: FreshDatabase, tmp_path: Path
) -> None:
    place = PostgresPlace(postgres_schema, answer_seconds=ANSWER_SECONDS)
    store = await filled(place)
    blocker = await asyncpg.connect(place.url)
    await blocker.execute("BEGIN; LOCK TABLE fills")
    with await record(tmp_path, deliveries(1)) as reader:
        before = await store.cursor("main")
        batch = batch_of(reader, before)
        with refused_in_time("the database does not answer in time"):
            await store.write(batch)
        await blocker.execute("COMMIT")
        await blocker.close()

        assert await store.cursor("main") == before
        await store.write(batch)
        assert await place.ask("SELECT seq FROM journal") == [(1,)]
    await store.close()


async def test_a_commit_whose_answer_is_lost_is_found_by_the_cursor(
    postgres_schema: FreshDatabase, tmp_path: Path
) -> None:
    place = PostgresPlace(postgres_schema)
    async with relay_to(postgres_schema.url) as relay:
        store = PostgresHistory(relay.url)
        await store.open()
        await store.cursor("main")
        with await record(tmp_path, deliveries(1)) as reader:
            batch = batch_of(reader, await store.cursor("main"))
            relay.breaks_at = b"COMMIT"
            with pytest.raises(HistoryUnavailable):
                await store.write(batch)

        assert await store.cursor("main") == batch.after
        with pytest.raises(HistoryDiffers):
            await store.write(batch)
        assert await place.ask("SELECT seq FROM journal") == [(1,)]
        await store.close()


async def test_a_batch_that_breaks_off_before_its_commit_leaves_nothing(
    postgres_schema: FreshDatabase, tmp_path: Path
) -> None:
    place = PostgresPlace(postgres_schema)
    async with relay_to(postgres_schema.url) as relay:
        store = PostgresHistory(relay.url)
        await store.open()
        await store.cursor("main")
        with await record(tmp_path, deliveries(1)) as reader:
            relay.breaks_at = b'COPY "fills"'
            with pytest.raises(HistoryUnavailable):
                await write_entries(store, reader)
            assert await place.ask("SELECT seq FROM journal") == []

            await write_entries(store, reader)
            assert await place.ask("SELECT seq FROM journal") == [(1,)]
        await store.close()


async def test_who_waits_for_another_to_be_done_does_not_blame_the_server(postgres_schema: FreshDatabase) -> None:
    store = PostgresHistory(postgres_schema.url, connections=2, connect_seconds=ANSWER_SECONDS)
    await store.open()

    async with blocked(postgres_schema.url, "projections"):
        asked = [asyncio.create_task(store.cursor(account)) for account in "abcdefgh"]
        await asyncio.sleep(2 * ANSWER_SECONDS)

    assert [cursor.seq for cursor in await asyncio.gather(*asked)] == [0] * 8
    await store.close()


async def test_who_waits_for_a_turn_when_the_store_is_closed_is_told(postgres_schema: FreshDatabase) -> None:
    store = PostgresHistory(postgres_schema.url, connections=1)
    await store.open()

    async with blocked(postgres_schema.url, "projections"):
        asked = [asyncio.create_task(store.cursor(account)) for account in "ab"]
        await asyncio.sleep(0.1)
        await store.close()

        async with asyncio.timeout(ANSWER_SECONDS + SLACK_SECONDS):
            found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found] == [HistoryUnavailable] * 2


async def test_a_server_without_a_connection_to_spare_is_used_once_it_has_one(postgres_server_url: str) -> None:
    database = await create_database(postgres_server_url, connection_limit=1)
    if database.role is None:
        pytest.skip("the role of the server's URL cannot make roles")
    taken = await asyncpg.connect(database.url)
    store = PostgresHistory(database.url)

    with refused_in_time("too many connections .*53300"):
        await store.open()

    await taken.close()
    async with asyncio.timeout(5):
        while True:
            try:
                await store.open()
                break
            except HistoryUnavailable:
                await asyncio.sleep(0.01)  # the server lets go of a connection after its client has
    assert (await store.cursor("main")).seq == 0
    await store.close()
    await drop_database(postgres_server_url, database)


async def test_a_full_disk_takes_nothing_until_there_is_room(small_postgres: PostgresServer, tmp_path: Path) -> None:
    place = PostgresPlace(await small_postgres.create_database())
    store = await filled(place)
    with await record(tmp_path, deliveries(*range(1000))) as reader:
        small_postgres.fill_disk()
        with pytest.raises(HistoryUnavailable, match="53100"):
            await write_entries(store, reader)
        assert (await store.cursor("main")).seq == 0
        small_postgres.free_disk()

        await write_entries(store, reader)
    assert await place.ask("SELECT count(*) FROM journal") == [(1000,)]
    await store.close()


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@{host}/postgres", "postgresql://postgres@{host}/no_such_database"]
)
async def test_a_refusal_names_no_password(postgres_server_url: str, url: str) -> None:
    secret = postgres_server_url.partition("@")[0].rpartition(":")[2]
    host = postgres_server_url.partition("@")[2].partition("/")[0]
    store = PostgresHistory(url.format(host=host), Secret(secret))

    with pytest.raises(HistoryUnavailable) as raised:
        await store.open()

    assert secret not in str(raised.value)
    assert "nobody" in str(raised.value) or "no_such_database" in str(raised.value)
    await store.close()


@pytest.mark.parametrize(
    ("user", "database", "more", "says"),
    [
        (
            "own",
            "own",
            "",
            "password authentication failed .* see the user in database.url and what database.password_",
        ),
        ("own", "own", "?sslmode=require", "rejected SSL upgrade; sslmode in database.url asks for TLS"),
        ("postgres", "no_such_database", "", r"does not exist \(3D000\); make that database, or name another one"),
        ("other", "own", "", r"permission denied .* give the role a schema of its own; account-monitor doctor names"),
    ],
)
async def test_a_mistake_that_no_waiting_mends_is_told_with_what_to_change(
    postgres_database: FreshDatabase, postgres_server_url: str, user: str, database: str, more: str, says: str
) -> None:
    if postgres_database.role is None:
        pytest.skip("no roles can be made on this server")
    tenant = await create_database(postgres_server_url)
    parts = {"own": urlsplit(postgres_database.url), "other": urlsplit(tenant.url)}
    asked = parts.get(user, urlsplit(postgres_server_url))
    path = parts["own"].path if database == "own" else f"/{database}"
    password = "wrong" if says.startswith("password") else unquote(asked.password or "")
    host = f"{asked.hostname}:{asked.port}"
    store = PostgresHistory(f"postgresql://{asked.username}@{host}{path}{more}", Secret(password))

    with pytest.raises(HistoryRefused, match=rf"^{host}{path}: .*{says}"):
        await store.open()

    await store.close()
    await drop_database(postgres_server_url, tenant)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u@127.0.0.1:1/db", "127.0.0.1:1/db: connection refused"),
        ("postgresql:///db?host=/nowhere", "db in /nowhere: no such file or directory"),
        ("postgresql://u@h:abc/db", "h:abc/db: invalid literal"),
        ("postgresql://u@a..b/db", "a..b/db: encoding with 'idna' codec failed"),
        ("postgresql://u@127.0.0.1:99999/db", "127.0.0.1:99999/db: "),
    ],
)
async def test_a_server_that_cannot_be_reached_is_named(url: str, says: str) -> None:
    store = PostgresHistory(url)

    with pytest.raises(HistoryUnavailable) as raised:
        await store.open()

    assert str(raised.value).startswith(says)
    await store.close()


async def test_a_timescale_that_hangs_is_given_up_in_time(breakable_timescale: TimescaleServer) -> None:
    place = TimescalePlace(await breakable_timescale.create_database(), answer_seconds=ANSWER_SECONDS)
    store = await filled(place)

    breakable_timescale.pause()
    await refuses_all(store, "the database does not answer in time")
    breakable_timescale.resume()

    await works(store, place)
    await store.close()


async def test_a_file_that_another_program_locks_is_written_once_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_MS", 100)
    place = SqlitePlace(tmp_path)
    store = await filled(place)
    other = apsw.Connection(str(tmp_path / "history.sqlite"))
    other.execute("BEGIN IMMEDIATE")

    with refused_in_time("BUSY"):
        await store.cursor("main")
    with refused_in_time("BUSY|not open"):
        await store.open()
        await store.cursor("main")
    other.execute("COMMIT")
    other.close()

    await store.open()
    await works(store, place)
    await store.close()


async def test_a_file_that_has_no_room_is_written_once_there_is(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    store = await filled(place)
    with await record(tmp_path, deliveries(*range(1000))) as reader:
        connection = store._connection  # type: ignore[attr-defined]
        connection.pragma("max_page_count", connection.pragma("page_count") + 5)
        with pytest.raises(HistoryUnavailable, match="FULL"):
            await write_entries(store, reader)

        await store.open()
        await write_entries(store, reader)
    assert await place.ask("SELECT count(*) FROM journal") == [(1000,)]
    await store.close()
