"""`doctor`: what it says about a whole set-up, about each thing that can be wrong with one, and what it never says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from account_monitor.cli.local_checks import check_redis
from account_monitor.config import DatabaseSettings, Secret
from tests.integration.nats_server import NatsServer, add_stream, free_port
from tests.integration.service import Service
from tests.integration.simulated_exchange import Simulation
from tests.servers.valkey import RedisServer

KEYS = {"TEST_API_KEY": "demo-key", "TEST_SECRET_KEY": "demo-secret"}


class Desk:
    """A folder with a configuration, and `doctor` in it."""

    def __init__(self, folder: Path, account: dict[str, Any], nats_url: str | None = None) -> None:
        self.folder = folder
        self.environment: dict[str, str] = dict(KEYS)
        self.document: dict[str, Any] = {
            "service": {"data_dir": str(folder / "data")},
            "accounts": [account],
            "pubsub": {"nats": {"url": nats_url}},
        }

    def doctor(self, *options: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "config.yaml").write_text(json.dumps(self.document))
        return subprocess.run(
            [sys.executable, "-m", "account_monitor", "doctor", "--config", "config.yaml", *options],
            capture_output=True, text=True, cwd=self.folder, timeout=60, check=False,
            env={**os.environ, **self.environment},
        )  # fmt: skip

    def checks(self) -> dict[str, tuple[str, str]]:
        """Return what was found, by check; of several with one name the last."""
        document = json.loads(self.doctor("--json").stdout)
        return {check["check"]: (check["outcome"], check["found"]) for check in document["checks"]}


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulation]:
    with Simulation() as simulation:
        yield simulation


@pytest.fixture
def desk(tmp_path: Path, exchange: Simulation) -> Desk:
    return Desk(tmp_path, exchange.account())


@pytest.mark.integration
def test_a_whole_set_up_is_ok_line_by_line(desk: Desk, exchange: Simulation, tmp_path: Path) -> None:
    exchange.admin("POST", "accounts", api_key="reader", secret="reader-secret", permissions=["READ"])
    desk.environment = {"TEST_API_KEY": "reader", "TEST_SECRET_KEY": "reader-secret"}
    with NatsServer(tmp_path / "nats") as server:

        async def make_stream() -> None:
            client = await server.connect()
            await add_stream(client.jetstream())
            await client.close()

        asyncio.run(make_stream())
        desk.document["pubsub"]["nats"]["url"] = server.url
        result = desk.doctor()

    assert result.returncode == 0, result.stdout + result.stderr
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"ok"}
    for check in ("configuration", "data directory", "journal", "nats", "jetstream", "redis", "rest", "clock",
                  "api key", "permissions", "modes", "user stream", "mark prices", "request weight"):  # fmt: skip
        assert check in result.stdout
    assert "FILLS" in result.stdout
    assert result.stderr == ""


@pytest.mark.integration
async def test_redis_is_logged_in_to_and_what_would_lose_the_state_is_said(tmp_path: Path) -> None:
    with RedisServer(password="right-horse") as server, server.client() as redis:
        right, wrong = (
            DatabaseSettings(redis_url=server.address, redis_password=Secret(password))
            for password in ("right-horse", "wrong-horse")
        )
        assert (await check_redis(right)).outcome == "ok"

        redis.config_set("maxmemory", "100mb")
        redis.config_set("maxmemory-policy", "allkeys-lru")
        assert (await check_redis(right)).outcome == "warning"

        redis.replicaof("127.0.0.1", "1")
        finding = await check_redis(right)
        assert (finding.outcome, "replica" in finding.found) == ("FAILED", True)

        finding = await check_redis(wrong)
        assert (finding.outcome, "invalid" in finding.found, "horse" in finding.line) == ("FAILED", True, False)

    assert (await check_redis(right)).outcome == "FAILED"


@pytest.mark.integration
async def test_redis_says_whether_it_has_so_many_databases() -> None:
    with RedisServer() as server:
        finding = await check_redis(DatabaseSettings(redis_url=server.address.replace("/0", "/99")))

    assert finding.outcome == "FAILED"
    assert finding.found == (
        f"127.0.0.1:{server.port}/99: DB index is out of range; name a database that the server has in"
        " database.redis_url, such as /0"
    )


async def test_redis_may_be_switched_off() -> None:
    assert (await check_redis(DatabaseSettings())).found == "switched off"


@pytest.mark.integration
def test_an_account_from_nats_alone_needs_nats(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"name": "main", "exchange": "none"})

    assert desk.doctor().returncode == 1
    assert desk.checks()["nats"][0] == "FAILED"
    assert desk.checks()["exchange"][0] == "ok"


@pytest.mark.integration
def test_a_nats_server_that_is_not_there_failed_and_one_without_stream_is_worth_a_warning(
    desk: Desk, tmp_path: Path
) -> None:
    desk.document["pubsub"]["nats"]["url"] = f"nats://127.0.0.1:{free_port()}"
    outcome, found = desk.checks()["nats"]
    assert (outcome, "nats://127.0.0.1" in found) == ("FAILED", True)

    for has_jetstream in (True, False):
        with NatsServer(tmp_path / f"nats-{has_jetstream}", jetstream=has_jetstream) as server:
            desk.document["pubsub"]["nats"]["url"] = server.url
            checks = desk.checks()
        assert checks["nats"][0] == "ok"
        assert checks["jetstream"][0] == "warning"


@pytest.mark.integration
def test_a_key_that_may_trade_is_a_warning_or_refused_as_configured(desk: Desk) -> None:
    warned = desk.doctor()
    desk.document["accounts"][0]["key_permissions"] = "refuse"
    refused = desk.doctor()

    assert warned.returncode == 0
    assert "warning  main: permissions" in warned.stdout
    assert refused.returncode == 1
    assert "FAILED   main: permissions" in refused.stdout
    assert "trade" in refused.stdout


@pytest.mark.integration
@pytest.mark.parametrize(
    ("key", "secret", "advice"), [("nobody", "demo-secret", "unknown here"), ("demo-key", "wrong", "does not belong")]
)
def test_a_key_that_is_not_accepted_failed_and_is_never_shown(desk: Desk, key: str, secret: str, advice: str) -> None:
    desk.environment = {"TEST_API_KEY": key, "TEST_SECRET_KEY": secret}

    result = desk.doctor()

    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if "api key" in line]
    assert line.startswith("FAILED")
    assert advice in line


@pytest.mark.integration
def test_nothing_secret_is_ever_printed(desk: Desk, exchange: Simulation) -> None:
    key, secret = "k" * 40 + "KEY7", "s" * 40 + "SECRET7"
    exchange.admin("POST", "accounts", api_key=key, secret=secret)
    desk.environment = {"TEST_API_KEY": key, "TEST_SECRET_KEY": secret}
    said = [desk.doctor(), desk.doctor("--json")]
    desk.environment["TEST_SECRET_KEY"] = secret[::-1]
    said.append(desk.doctor())

    for result in said:
        for hidden in (key, secret, secret[::-1], key[:12], "signature=", "listenKey="):
            assert hidden not in result.stdout + result.stderr


@pytest.mark.integration
@pytest.mark.parametrize(("ahead_ms", "outcome"), [(1_500, "warning"), (8_000, "FAILED")])
def test_the_clock_of_this_machine_is_compared(tmp_path: Path, ahead_ms: int, outcome: str) -> None:
    with Simulation() as exchange:
        exchange.admin("POST", "clock", forward_ms=ahead_ms)
        checks = Desk(tmp_path, exchange.account()).checks()

    assert checks["clock"][0] == outcome
    assert "ms behind the exchange" in checks["clock"][1]
    assert checks["api key"][0] == "ok"  # requests carry the exchange's time


@pytest.mark.integration
def test_an_address_that_is_not_routed_opens_and_delivers_nothing(desk: Desk, exchange: Simulation) -> None:
    exchange.admin("POST", "faults", silent={"streams": "market"}, half_open={"streams": "user"})
    try:
        checks = desk.checks()
    finally:
        exchange.admin("DELETE", "faults")

    assert checks["mark prices"][0] == "FAILED"
    assert "no price" in checks["mark prices"][1]
    assert checks["user stream"][0] == "FAILED"
    assert "no answer to a ping" in checks["user stream"][1]


@pytest.mark.integration
def test_an_exchange_that_is_not_there_failed_without_a_traceback(desk: Desk) -> None:
    port = free_port()
    desk.document["accounts"][0] |= {"rest_url": f"http://127.0.0.1:{port}", "websocket_url": f"ws://127.0.0.1:{port}"}

    result = desk.doctor()

    assert result.returncode == 1
    assert result.stdout.count("FAILED") == 2
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.integration
def test_the_listen_key_of_a_running_service_stays(desk: Desk, exchange: Simulation) -> None:
    desk.doctor()

    requests = exchange.admin("GET", "statistics")["requests"]

    assert {r["method"] for r in requests if r["path"] == "/fapi/v1/listenKey"} == {"POST"}


@pytest.mark.integration
def test_it_looks_at_journals_while_the_service_writes_them(tmp_path: Path) -> None:
    service = Service(tmp_path, None, [{"name": "main", "exchange": "none", "opening": {"balances": {"USDT": "1"}}}])
    service.start()
    try:
        result = service.command("doctor", "--config", str(service.config_file))
    finally:
        service.stop()
    assert "ok       main: journal" in result.stdout
    assert re.search(r"[1-9] entries", result.stdout)

    (tmp_path / "data" / "main.journal").write_bytes(b"no journal, this")
    result = service.command("doctor", "--config", str(service.config_file))
    assert "FAILED   main: journal" in result.stdout
    assert result.returncode == 1


@pytest.mark.integration
def test_a_data_directory_that_cannot_be_written_failed(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, where a folder ought to be")
    desk = Desk(tmp_path, {"name": "main", "exchange": "none"})
    assert desk.checks()["data directory"][0] == "FAILED"


def test_without_accounts_the_configuration_failed_and_the_demo_is_named(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    desk.document["accounts"] = []
    result = desk.doctor()

    assert result.returncode == 1
    assert "account-monitor demo" in result.stdout


def test_a_configuration_that_cannot_be_read_is_one_line_and_exit_code_2(desk: Desk) -> None:
    desk.environment = {}
    result = desk.doctor()

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "TEST_API_KEY" in result.stderr
