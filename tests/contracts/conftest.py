"""The databases that every history store is tested with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from account_monitor.stores.history.store import HistoryStore
from tests.history_samples import Place, PostgresPlace, SqlitePlace, TimescalePlace
from tests.servers.postgres import FreshDatabase, create_schema, drop_database


@pytest.fixture
async def postgres_schema(postgres_server_url: str) -> AsyncIterator[FreshDatabase]:
    """A place of a test's own in a database that tests share: made ten times as fast as a database."""
    schema = await create_schema(postgres_server_url)
    yield schema
    await drop_database(postgres_server_url, schema)


@pytest.fixture(params=["sqlite", "postgres", "timescale"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place for one test."""
    match request.param:
        case "postgres":
            return PostgresPlace(request.getfixturevalue("postgres_schema"))
        case "timescale":
            return TimescalePlace(request.getfixturevalue("timescale_database"))
        case _:
            return SqlitePlace(tmp_path)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[HistoryStore]:
    """A store in it that is open, and has nothing of account main; nothing goes wrong behind its back."""
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    store = place.store()
    await store.open()
    await store.cursor("main")
    yield store
    await store.close()
    assert problems == []
