"""Two processes share four accounts: each is held by one, and by the other when that one is killed or frozen.

Each follows what the other holds, and is ready to go on with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
import urllib.error
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.integration.market import API_KEY, SECRET, Market, books, open_for_business
from tests.integration.nats_server import NatsServer, add_stream, publish
from tests.integration.service import Service
from tests.servers.postgres import FreshDatabase, PostgresServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

D = Decimal
TTL_SECONDS = 2.0
RESTORE_SECONDS = 3.0
"""What a loaded machine may take on top: to read the copy of a journal, and to fold it."""

TRADED, HEARD = ("alpha", "beta"), ("gamma", "delta")
"""Accounts at the exchange, and such that are known from NATS alone."""
ACCOUNTS = (*TRADED, *HEARD)
HELD = ("ready", "recording_stopped")

log = logging.getLogger(__name__)


class Trading:
    """What happens in the four accounts."""

    def __init__(self, here: Market, server: NatsServer) -> None:
        self.here = here
        self.customers = {
            "alpha": here.account,
            "beta": here.venue.open_account("c" * 64, "d" * 64, wallets={"USDT": "500000"}),
        }
        self.fills: dict[str, int] = dict.fromkeys(HEARD, 0)
        self._server = server

    async def trade(self, times: int = 5) -> None:
        """Buy a little everywhere, so many times."""
        for _ in range(times):
            for customer in self.customers.values():
                order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
                self.here.venue.place_order(customer, order)
        client = await self._server.connect()
        for name in HEARD:
            await publish(client, [self._fill(name) for _ in range(times)], f"trading.fills.{name}")
        await client.close()

    def _fill(self, name: str) -> bytes:
        self.fills[name] += 1
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        return json.dumps({"id": str(self.fills[name]), "account": name, "symbol": "BTCUSDT", "side": "BUY",
                           "quantity": "1", "price": "100", "timestamp": at}).encode()  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Return how many fills there were of each account."""
        traded = {name: sum(map(len, customer.trades.values())) for name, customer in self.customers.items()}
        return {**self.fills, **traded}

    def wallet(self, name: str) -> str:
        """Return what an account at the exchange has there, in USDT."""
        return str(self.here.venue.books(self.customers[name])["wallets"]["USDT"])

    def is_shown(self, name: str, report: dict[str, Any]) -> bool:
        """Whether an account report says what happened, all of it and once."""
        if name in HEARD:
            return D(report["positions"]["BTCUSDT"]["quantity"]) == self.fills[name]
        told = self.here.venue.books(self.customers[name])
        theirs = {key: {k: D(text) for k, text in told[key].items() if D(text)} for key in ("wallets", "positions")}
        ours = books(report)
        return all(ours[key] == theirs[key] for key in theirs)


class Pair:
    """Two processes, and what they say of the accounts."""

    def __init__(self, one: Service, other: Service, trading: Trading, database: FreshDatabase) -> None:
        self.one, self.other = one, other
        self.trading = trading
        self.database = database

    def held_by(self, service: Service) -> set[str]:
        """Return the accounts that a process says it holds."""
        status, told = service.get("/api/accounts")
        assert status == 200
        return {each["account"] for each in told if each["status"] in HELD}

    def is_shared(self) -> bool:
        one, other = self.held_by(self.one), self.held_by(self.other)
        return not one & other and one | other == set(ACCOUNTS) and 1 <= len(one) <= 3

    def is_adopted(self) -> bool:
        """Whether what the exchange holds was taken for the beginning: fills before that are in it."""
        return all(
            books(service.account(name))["wallets"]["USDT"] == D(self.trading.wallet(name))
            for service in (self.one, self.other) for name in self.held_by(service) & set(TRADED)
        )  # fmt: skip

    def is_warm(self) -> bool:
        """Whether each of the two could take over at once what the other holds."""
        held = {each["account"]: each for each in self.one.get("/api/cluster")[1]["accounts"]}
        return all({held[name]["member"], held[name]["follower"]} == {"one", "other"} for name in ACCOUNTS)

    def silence(self, service: Service, account: str) -> str:
        """Order that nobody hears of an alert that does not fire; return the reason that was given."""
        order = {"duration": "1h", "type": "STREAM_GAP", "reason": f"work on {account}", "by": "ann"}
        began = time.monotonic()
        status, answer = service.post(f"/api/alerts/silence?account={account}", order)
        assert (status, answer["pending"]) == (201, None)
        log.info("an order is answered after %.3f s", time.monotonic() - began)
        return order["reason"]

    def took_up(self, service: Service) -> dict[str, dict[str, Any]]:
        """Return by account how a process took it up the last time."""
        lines = map(json.loads, service.log_file.read_text().splitlines())
        return {line["account"]: line for line in lines if line["event"] == "account_taken_up"}

    def epochs(self, service: Service) -> dict[str, int]:
        return {name: service.account(name)["epoch"] for name in self.held_by(service)}

    async def until(self, holds: Callable[[], bool], what: str, seconds: float) -> float:
        """Wait until something holds; return how many seconds that took."""
        began = time.monotonic()
        while True:
            try:
                if await asyncio.to_thread(holds):
                    return time.monotonic() - began
            except (AssertionError, KeyError, urllib.error.URLError, ConnectionError, TimeoutError):
                pass  # it is not there yet
            assert time.monotonic() - began < seconds, f"not {what} after {seconds} s: {self.said()}"
            await asyncio.sleep(0.02)

    async def shown(self, *services: Service, seconds: float = 15) -> None:
        """Wait until every account is shown by one of these, as it is."""

        def is_shown() -> bool:
            reports = {name: service.account(name) for service in services for name in self.held_by(service)}
            return reports.keys() == set(ACCOUNTS) and all(
                self.trading.is_shown(name, report) for name, report in reports.items()
            )

        await self.until(is_shown, "shown", seconds)

    def said(self) -> str:
        return "\n".join(service.log_file.read_text()[-3000:] for service in (self.one, self.other))

    async def check_replica(self) -> None:
        """Demand that the journals in the database are lines: no entry is there twice, none is of an epoch before."""
        connection = await asyncpg.connect(self.database.url)
        rows = await connection.fetch("SELECT account, seq, epoch FROM journal ORDER BY account, seq, epoch")
        await connection.close()
        assert {row[0] for row in rows} == set(ACCOUNTS)
        for account in ACCOUNTS:
            line = [(seq, epoch) for name, seq, epoch in rows if name == account]
            assert [seq for seq, _ in line] == list(range(1, len(line) + 1))
            assert [epoch for _, epoch in line] == sorted(epoch for _, epoch in line)


def service_of(
    folder: Path, name: str, server: NatsServer, here: Market, database: FreshDatabase, lease: str
) -> Service:
    of_exchange = {
        "exchange": "binance-usdm",
        "rest_url": f"http://127.0.0.1:{here.port}",
        "websocket_url": f"ws://127.0.0.1:{here.port}",
        "websocket": {"reconnect_interval": "500ms", "ping_interval": "2s", "timeout": "5s"},
    }
    traded = [
        {"name": each, **of_exchange, "api_key_env": f"KEY_{each}", "secret_key_env": f"SECRET_{each}"}
        for each in TRADED
    ]
    heard = [
        {"name": each, "exchange": "none", "opening": {"balances": {"USDT": "10"}}} for each in HEARD
    ]  # too little: an alert fires
    (folder / name).mkdir()
    service = Service(folder / name, server.url, [*traded, *heard])
    parts = urlsplit(database.url)
    url = parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()
    service.document["database"] = {"url": url, "password_env": "DATABASE_PASSWORD"}
    service.document["cluster"] = {"lease": lease, "ttl": f"{TTL_SECONDS:g}s", "member": name}
    service.document["alerts"] = {"thresholds": {"min_balance": "100"}}
    return service


def accounts_of(alerts: list[dict[str, Any]], kind: str) -> set[str]:
    return {alert["account"] for alert in alerts if alert["type"] == kind}


@asynccontextmanager
async def alerts_on(server: NatsServer) -> AsyncIterator[list[dict[str, Any]]]:
    """Hear what is told of alerts."""
    heard: list[dict[str, Any]] = []

    async def hear(message: Any) -> None:
        heard.append(json.loads(message.data))

    client = await server.connect()
    await client.subscribe("trading.alerts", cb=hear)
    try:
        yield heard
    finally:
        await client.close()


def set_secrets(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", urlsplit(database.url).password or "")
    for name, (key, secret) in {"alpha": (API_KEY, SECRET), "beta": ("c" * 64, "d" * 64)}.items():
        monkeypatch.setenv(f"KEY_{name}", key)
        monkeypatch.setenv(f"SECRET_{name}", secret)


def is_suspended(service: Service) -> bool:
    """Whether a process says that nobody confirms what it holds."""
    return bool(service.get("/api/cluster")[1]["suspended"])


def cluster_check(service: Service) -> dict[str, Any]:
    """Return what a process says of the cluster in its health."""
    check: dict[str, Any] = service.get("/health")[1]["checks"]["cluster"]
    return check


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, postgres_database: FreshDatabase) -> None:
    set_secrets(monkeypatch, postgres_database)


@asynccontextmanager
async def pair(
    folder: Path, server: NatsServer, database: FreshDatabase, lease: str, *, has_stream: bool = True
) -> AsyncIterator[Pair]:
    """Let two processes share the accounts; without a stream, fills are told on core NATS, once."""
    if has_stream:
        client = await server.connect()
        await add_stream(client.jetstream())
        await client.close()
    async with open_for_business(Market(2)) as here:
        trading = Trading(here, server)
        one, other = (service_of(folder, name, server, here, database, lease) for name in ("one", "other"))
        both = Pair(one, other, trading, database)
        try:
            await asyncio.gather(*(asyncio.to_thread(service.start) for service in (one, other)))
            await both.until(both.is_shared, "shared", 20)
            await both.until(both.is_adopted, "adopted", 15)
            yield both
        finally:
            for service in (one, other):
                if service.process is not None and service.process.poll() is None:
                    service.process.send_signal(signal.SIGCONT)
                    service.kill()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("lease", ["postgres", "nats"])
async def test_who_is_killed_is_followed_by_the_other_with_equal_books(
    tmp_path: Path, server: NatsServer, postgres_database: FreshDatabase, keys: None, lease: str
) -> None:
    async with alerts_on(server) as alerts, pair(tmp_path, server, postgres_database, lease) as both:
        await both.trading.trade()
        await both.shown(both.one, both.other)
        lost = both.held_by(both.one)
        before = both.epochs(both.one)
        status, problem = both.other.get(f"/api/account?account={min(lost)}")
        assert (status, problem["type"]) == (503, "/docs#held-elsewhere")
        assert "is held by one, at http://127.0.0.1:" in problem["detail"]

        await both.until(both.is_warm, "warm", 15)
        silenced = both.silence(both.one, min(lost))
        await both.trading.trade(1)
        both.one.kill()
        await both.trading.trade()
        took = await both.until(
            lambda: both.held_by(both.other) == set(ACCOUNTS), "taken over", TTL_SECONDS + 1 + RESTORE_SECONDS
        )
        await both.shown(both.other)

        log.info("%s: all taken over %.2f s after a kill", lease, took)
        members = {each["member"]: each for each in both.other.get("/api/cluster")[1]["members"]}
        assert (members["one"]["alive"], members["other"]["alive"]) == (False, True)
        await both.until(lambda: "lost one" in cluster_check(both.other)["message"], "missed", 5)
        assert cluster_check(both.other)["status"] == "degraded"
        assert "member_lost" in both.other.log_file.read_text()
        held = both.other.get("/api/cluster")[1]["accounts"]
        assert {each["address"] for each in held} == {members["other"]["address"]}, "also its own"
        how = {name: line for name, line in both.took_up(both.other).items() if name in lost}
        log.info("%s: %s", lease, {name: (line["entries"], line["seconds"]) for name, line in how.items()})
        assert all(line["is_warm"] and line["journal"] in ("kept", "extended") for line in how.values())
        after = both.epochs(both.other)
        assert all(after[name] > before[name] for name in lost)
        told = both.other.get(f"/api/alerts/silences?account={min(lost)}")[1]["silences"]
        assert [each["reason"] for each in told] == [silenced], "it was answered, so it was copied"
        fills = {name: both.other.fill_count(name) for name in ACCOUNTS}
        assert fills == both.trading.counts()
        low = {(each["account"], each["id"]) for each in alerts if each["type"] == "LOW_BALANCE"}
        assert sorted(account for account, _ in low) == ["delta", "gamma"], "each once, and again only under its id"
        await asyncio.sleep(0.5)
        await both.check_replica()


@pytest.mark.timeout(180)
async def test_who_was_frozen_comes_back_and_writes_nothing_late_and_who_stops_hands_over_within_a_second(
    tmp_path: Path, server: NatsServer, postgres_database: FreshDatabase, keys: None
) -> None:
    async with pair(tmp_path, server, postgres_database, "postgres") as both:
        await both.trading.trade()
        await both.shown(both.one, both.other)
        lost = both.held_by(both.one)
        assert both.one.process is not None
        both.one.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        await both.until(
            lambda: both.held_by(both.other) == set(ACCOUNTS), "taken over", TTL_SECONDS + 1 + RESTORE_SECONDS
        )
        await both.trading.trade()
        await both.shown(both.other)
        await asyncio.sleep(max(0.0, began + 3 * TTL_SECONDS - time.monotonic()))

        both.one.process.send_signal(signal.SIGCONT)
        await both.trading.trade()
        await both.until(both.is_shared, "shared again", 30)
        await both.shown(both.one, both.other)
        await asyncio.sleep(0.5)

        said = both.one.log_file.read_text()
        assert all(f'"account":"{name}"' in said.replace(" ", "") for name in lost)
        assert "session_lost" in said
        assert "Traceback" not in both.said()
        await both.check_replica()

        both.one.process.send_signal(signal.SIGTERM)
        took = await both.until(lambda: both.held_by(both.other) == set(ACCOUNTS), "handed over", 1 + RESTORE_SECONDS)
        assert await asyncio.to_thread(both.one.process.wait, 6) == 0

        log.info("all handed over %.2f s after a SIGTERM", took)
        await both.shown(both.other)
        assert "lost" not in cluster_check(both.other)["message"], "a stop is no loss, and who was frozen is back"
        await both.check_replica()


@pytest.mark.timeout(120)
async def test_while_nobody_confirms_the_leases_all_keep_what_they_hold_and_people_are_told(
    tmp_path: Path, server: NatsServer, breakable_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await breakable_postgres.create_database()
    set_secrets(monkeypatch, database)
    async with alerts_on(server) as alerts, pair(tmp_path, server, database, "postgres") as both:
        held = [both.held_by(service) for service in (both.one, both.other)]
        before = [both.epochs(service) for service in (both.one, both.other)]
        breakable_postgres.pause()
        try:
            await both.until(lambda: all(is_suspended(each) for each in (both.one, both.other)), "suspended", 10)
            account = min(held[0])
            order = {"duration": "1h", "type": "STREAM_GAP", "reason": "work", "by": "ann"}
            status, answer = await asyncio.to_thread(both.one.post, f"/api/alerts/silence?account={account}", order)
            assert status == 202
            assert answer["pending"].startswith("recorded here, and not yet where another process would read it")
            await both.trading.trade()
            await both.shown(both.one, both.other)
            await both.until(lambda: accounts_of(alerts, "HIGH_LEVERAGE") == set(HEARD), "told", 10)
        finally:
            breakable_postgres.resume()

        await both.until(lambda: not any(is_suspended(each) for each in (both.one, both.other)), "confirmed", 10)
        assert [both.held_by(service) for service in (both.one, both.other)] == held
        assert [both.epochs(service) for service in (both.one, both.other)] == before
        await asyncio.sleep(TTL_SECONDS)
        await both.shown(both.one, both.other)
        await both.check_replica()


@pytest.mark.timeout(120)
async def test_what_was_told_on_core_nats_while_a_holder_died_is_recorded_by_who_followed_it(
    tmp_path: Path, server: NatsServer, postgres_database: FreshDatabase, keys: None
) -> None:
    async with pair(tmp_path, server, postgres_database, "postgres", has_stream=False) as both:
        await both.trading.trade(2)
        await both.shown(both.one, both.other)
        await both.until(both.is_warm, "warm", 15)
        lost, heir = (both.one, both.other) if set(HEARD) & both.held_by(both.one) else (both.other, both.one)
        assert lost.process is not None
        lost.process.send_signal(signal.SIGSTOP)
        await both.trading.trade(3)  # the frozen one never takes it
        lost.kill()
        await both.trading.trade(2)

        await both.until(lambda: both.held_by(heir) == set(ACCOUNTS), "taken over", TTL_SECONDS + 1 + RESTORE_SECONDS)

        await both.shown(heir)
        assert {name: heir.fill_count(name) for name in HEARD} == both.trading.fills
