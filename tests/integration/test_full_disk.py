"""The disk of the journals is full: everybody is told, nothing is lost, and it goes on by itself when there is room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.feed_rig import fill_json
from tests.integration.market import equal, market, monitored
from tests.integration.nats_server import NatsServer, add_stream, publish
from tests.integration.service import Service
from tests.integration.test_alerts_on_nats import Ear, hearing
from tests.servers.disk import SmallDisk
from tests.servers.postgres import small_disk_missing
from tests.servers.valkey import RedisServer

pytestmark = pytest.mark.integration


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    if (reason := small_disk_missing()) is not None:
        pytest.skip(reason)
    with SmallDisk(megabytes=24) as disk:
        yield disk


@pytest.fixture
def service(tmp_path: Path, disk: SmallDisk, server: NatsServer) -> Iterator[Service]:
    service = Service(tmp_path, server.url, [{"name": name, "exchange": "none"} for name in ("main", "other")])
    service.document["service"] = {"data_dir": str(disk.path / "data")}
    yield service
    service.kill()


async def published(server: NatsServer, *payloads: bytes) -> None:
    client = await server.connect()
    await publish(client, payloads)
    await client.close()


async def of_journal(ear: Ear, state: str) -> dict[str, Any]:
    """Return the first alert in this state that says that the journal of main cannot be written."""
    while True:
        for alert in ear.alerts:
            if (alert["account"], alert["symbol"], alert["state"]) == ("main", "journal", state):
                return alert
        await asyncio.sleep(0.05)


def is_fed(service: Service, count: int) -> bool:
    return service.fill_count() == count


async def test_a_full_disk_is_told_of_and_recovered_from(
    service: Service, disk: SmallDisk, server: NatsServer, breakable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_REDIS_PASSWORD", breakable_redis.password or "")
    service.document["database"] = {
        "redis_url": breakable_redis.address,
        "redis_password_env": "TEST_REDIS_PASSWORD",
    }

    def status_in_redis() -> Any:
        with breakable_redis.client() as redis:
            place: Any = redis.get("account-monitor:main:seq")
            return json.loads(place)["status"]

    client = await server.connect()
    await add_stream(client.jetstream())
    await asyncio.to_thread(service.start)
    await published(server, fill_json(1))
    await asyncio.to_thread(service.wait_until, lambda: is_fed(service, 1), "fed")
    async with hearing(server) as ear, asyncio.timeout(40):
        disk.fill()
        await published(server, *(fill_json(number) for number in range(2, 40)))
        fired = await of_journal(ear, "FIRING")
        ready, health = await asyncio.to_thread(service.get, "/ready"), await asyncio.to_thread(service.get, "/health")
        await asyncio.to_thread(service.wait_until, lambda: status_in_redis() == "recording_stopped", "told in Redis")
        shown = await asyncio.to_thread(service.account)

        disk.free()
        over = await of_journal(ear, "RESOLVED")
        await asyncio.to_thread(service.wait_ready)
        await asyncio.to_thread(service.wait_until, lambda: is_fed(service, 39), "fed again")
        await asyncio.to_thread(service.wait_until, lambda: status_in_redis() == "ready", "well in Redis")
    await client.close()

    assert (fired["type"], fired["severity"]) == ("STORAGE_UNAVAILABLE", "CRITICAL")
    assert "the disk is full (SQLITE_FULL); it goes on by itself once" in fired["message"]
    assert ready == (503, {"ready": False, "reason": f"account main: {fired['message']}"})
    check = health[1]["checks"]["journal:main"]
    assert (health[0], health[1]["status"], check["message"]) == (503, "unhealthy", fired["message"])
    assert shown["positions"]["BTCUSDT"]["fill_count"] == 1  # as it was
    assert over["id"] == fired["id"]
    listed = (await asyncio.to_thread(service.get, "/api/alerts?account=main&type=STORAGE_UNAVAILABLE"))[1]["alerts"]
    assert [(alert["id"], alert["state"]) for alert in listed if alert["symbol"] == "journal"] == [
        (fired["id"], "RESOLVED")
    ]
    assert (await asyncio.to_thread(service.get, "/health"))[1]["checks"]["journal:main"]["status"] == "healthy"
    assert await asyncio.to_thread(service.stop) == 0
    verified = await asyncio.to_thread(service.command, "replay", "--verify", "--account", "main", "--config",
                                       str(service.config_file))  # fmt: skip
    assert verified.returncode == 0, verified.stderr
    log = [json.loads(line) for line in service.log_file.read_text().splitlines()]
    assert [line["account"] for line in log if line["event"] == "journal_reopened"].count("main") == 1


async def test_an_account_at_an_exchange_fetches_what_it_could_not_record(
    tmp_path: Path, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").symlink_to(disk.path)
    async with market(2) as here, monitored(tmp_path, here, monkeypatch) as service:
        here.order("BTCUSDT", "BUY", "0.5")
        await equal(service, here, 10)
        disk.fill()
        here.order("BTCUSDT", "BUY", "0.25")
        here.venue.withdraw(here.account, "USDT", "1000")
        await asyncio.to_thread(service.wait_until, lambda: service.get("/ready")[0] == 503, "told of")
        here.order("BTCUSDT", "SELL", "0.125")

        disk.free()
        await asyncio.to_thread(service.wait_ready)
        await equal(service, here, 20)
        here.order("BTCUSDT", "SELL", "0.125")
        await equal(service, here, 10)
        _, health = await asyncio.to_thread(service.get, "/health")

    checks = {name: check["status"] for name, check in health["checks"].items()}
    assert (checks["journal:main"], checks["exchange:main"]) == ("healthy", "healthy")
