"""Dead letters as the engineer on call meets them: listed, shown, and tried again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nats_server import NatsServer, add_stream, publish
from tests.integration.service import Service

pytestmark = pytest.mark.integration

FILL = {
    "id": "7", "account": "alt", "symbol": "BTCUSDT", "side": "BUY", "quantity": "2", "price": "100",
    "timestamp": "2026-11-22T12:00:00.000Z",
}  # fmt: skip


def published(server: NatsServer, *payloads: bytes, subject: str = "trading.fills") -> None:
    async def work() -> None:
        client = await server.connect()
        await publish(client, payloads, subject)
        await client.close()

    asyncio.run(work())


@pytest.fixture
def server(server: NatsServer) -> NatsServer:
    async def make_stream() -> None:
        client = await server.connect()
        await add_stream(client.jetstream())
        await client.close()

    asyncio.run(make_stream())
    return server


@pytest.fixture
def service(tmp_path: Path, server: NatsServer) -> Iterator[Service]:
    service = Service(tmp_path, server.url)
    service.start()
    yield service
    service.stop()


def letters(service: Service) -> str:
    return service.command("dead-letters", "list", "--config", str(service.config_file)).stdout


def test_a_letter_is_listed_with_its_reason_and_shown_whole(server: NatsServer, service: Service) -> None:
    published(server, b'{"id": "1", "price": "NaN"}', subject="trading.fills.main")
    service.wait_until(lambda: "MALFORMED_EVENT" in letters(service), "parked")

    shown = service.command("dead-letters", "show", "--account", "main", "1", "--config", str(service.config_file))

    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["payload"] == '{"id": "1", "price": "NaN"}'


def test_a_fill_of_an_unknown_account_counts_once_it_is_configured_and_retried(
    server: NatsServer, service: Service
) -> None:
    published(server, json.dumps(FILL).encode())
    service.wait_until(lambda: "UNKNOWN_ACCOUNT" in letters(service), "parked")
    service.document["accounts"].append({"name": "alt", "exchange": "none"})
    service.write_config()
    service.wait_until(lambda: service.get("/api/account?account=alt")[0] == 200, "reloaded")

    retried = service.command(
        "dead-letters", "retry", "--account", "_unrouted", "1", "--config", str(service.config_file)
    )

    assert retried.returncode == 0, retried.stderr
    service.wait_until(lambda: service.fill_count("alt") == 1, "booked")
    service.wait_until(lambda: _retried_at(service) is not None, "marked as retried")


def _retried_at(service: Service) -> str | None:
    shown = service.command("dead-letters", "show", "--account", "_unrouted", "1", "--config", str(service.config_file))
    retried_at: str | None = json.loads(shown.stdout)["retried_at"]
    return retried_at


@pytest.mark.parametrize("jetstream", [True, False], ids=["no stream covers it", "no JetStream"])
def test_on_core_nats_a_retry_is_sent_and_nothing_confirms_it(tmp_path: Path, jetstream: bool) -> None:
    with NatsServer(tmp_path / "nats", jetstream=jetstream) as server:
        service = Service(tmp_path, server.url)
        service.start()
        try:
            published(server, json.dumps(FILL).encode())
            service.wait_until(lambda: "UNKNOWN_ACCOUNT" in letters(service), "parked")

            retried = service.command(
                "dead-letters", "retry", "--account", "_unrouted", "1", "--config", str(service.config_file)
            )

            assert (retried.returncode, retried.stderr) == (0, "")
            assert retried.stdout.startswith("sent; no stream covers the subject, and core NATS does not confirm")
            service.wait_until(lambda: _retried_at(service) is not None, "marked as retried")
        finally:
            service.stop()


def test_a_letter_that_was_not_kept_whole_is_not_published_in_part(server: NatsServer, service: Service) -> None:
    published(server, b"x" * 10_000)
    service.wait_until(lambda: "MALFORMED_EVENT" in letters(service), "parked")

    retried = service.command("dead-letters", "retry", "--account", "main", "1", "--config", str(service.config_file))

    assert retried.returncode == 1
    assert "4096 of 10000" in retried.stderr


def test_a_letter_that_does_not_exist_is_named(service: Service) -> None:
    shown = service.command("dead-letters", "show", "--account", "main", "99", "--config", str(service.config_file))

    assert (shown.returncode, "99" in shown.stderr) == (1, True)


def test_a_message_that_names_no_account_is_told_where_people_look(server: NatsServer, service: Service) -> None:
    published(server, json.dumps(FILL).encode())
    service.wait_until(lambda: service.get("/api/alerts")[1]["alerts"], "told")

    (alert,) = service.get("/api/alerts")[1]["alerts"]
    shown = service.command("status", "--config", str(service.config_file)).stdout

    assert (alert["type"], alert["symbol"], alert["state"]) == ("MALFORMED_EVENT", "_unrouted", "FIRING")
    assert alert["message"].startswith('trading.fills: account was "alt", which is not configured')
    assert "MALFORMED_EVENT _unrouted" in " ".join(shown.split())
    assert "account was" in service.get("/health")[1]["checks"]["alarms:main"]["message"]


def test_a_fill_that_is_years_ahead_is_parked_told_and_moves_nothing(server: NatsServer, service: Service) -> None:
    published(server, json.dumps({**FILL, "account": "main", "timestamp": "2199-01-01T00:00:00.000Z"}).encode())
    service.wait_until(lambda: service.get("/api/alerts")[1]["alerts"], "told")

    (alert,) = service.get("/api/alerts")[1]["alerts"]
    assert (alert["type"], alert["symbol"]) == ("MALFORMED_EVENT", None)
    assert alert["message"].startswith('timestamp was "2199-01-01T00:00:00.000Z", expected at most 20')
    assert service.account()["positions"] == {}
    assert "2199-01-01" in letters(service)
