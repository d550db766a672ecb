"""PostgreSQL and Redis die under a service that is being fed: nothing is lost or doubled, and it is told of once."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.integration.nats_server import NatsServer
from tests.integration.publisher import SteadyPublisher, assert_equal_to
from tests.integration.service import Service
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STORES = ("history", "redis")


@pytest.fixture
def service(
    tmp_path: Path, breakable_postgres: PostgresServer, breakable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """A service with a NATS server, a database and a cache."""
    parts = urlsplit(asyncio.run(breakable_postgres.create_database()).url)
    monkeypatch.setenv("TEST_DATABASE_PASSWORD", parts.password or "")
    monkeypatch.setenv("TEST_REDIS_PASSWORD", breakable_redis.password or "")
    with NatsServer(tmp_path / "nats") as server:
        service = Service(tmp_path, server.url)
        service.document["database"] = {
            "url": parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl(),
            "password_env": "TEST_DATABASE_PASSWORD",
            "redis_url": breakable_redis.address,
            "redis_password_env": "TEST_REDIS_PASSWORD",
        }
        yield service
        service.kill()


def alerts(service: Service) -> list[tuple[str, str]]:
    """Return what is told of the stores: (which, state)."""
    told = service.get("/api/alerts?type=STORAGE_UNAVAILABLE")[1]["alerts"]
    return sorted((alert["symbol"], alert["state"]) for alert in told)


def test_both_die_and_come_back_while_fills_arrive(
    service: Service, breakable_postgres: PostgresServer, breakable_redis: RedisServer
) -> None:
    publisher = SteadyPublisher(service.document["pubsub"]["nats"]["url"], seed=11)
    publisher.start()
    service.start()
    service.wait_until(lambda: service.fill_count() > 500, "fed")

    breakable_postgres.kill()
    breakable_redis.kill()
    before = service.fill_count()
    service.wait_until(lambda: alerts(service) == [(store, "FIRING") for store in STORES], "told of", 30)
    assert service.fill_count() > before
    checks = service.get("/health")[1]["checks"]
    assert {store: checks[store]["status"] for store in STORES} == dict.fromkeys(STORES, "degraded")

    breakable_postgres.start()
    breakable_redis.start()
    service.wait_until(lambda: alerts(service) == [(store, "RESOLVED") for store in STORES], "over", 30)
    publisher.finish()
    service.wait_until(lambda: service.fill_count() == len(publisher.fills), "complete")
    assert_equal_to(publisher.fills, service.account())

    def is_written() -> bool:
        return asyncio.run(written(service)) == (len(publisher.fills), service.account()["seq"])

    service.wait_until(is_written, "written", 30)
    assert service.stop() == 0
    with breakable_redis.client() as redis:
        place: Any = redis.get("account-monitor:main:seq")
        assert json.loads(place)["seq"] == asyncio.run(written(service))[1]


async def written(service: Service) -> tuple[int, int]:
    """Return how many different fills the database has, and up to which entry the journal is in it."""
    settings = service.document["database"]
    connection = await asyncpg.connect(settings["url"], password=os.environ[settings["password_env"]])
    try:
        # In one statement, as fills are still being written.
        [(fills, rows)] = await connection.fetch("SELECT count(DISTINCT (symbol, id)), count(*) FROM fills")
        assert rows == fills
        return fills, await connection.fetchval("SELECT seq FROM projections WHERE account = 'main'")
    finally:
        await connection.close()
