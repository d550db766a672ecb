"""Replicas: several processes that share accounts, each in a network of its own, and what happens in these accounts."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from nats.errors import Error as NatsError

from exchange_simulator.accounts import Account
from exchange_simulator.admin import Admin
from exchange_simulator.bots import RandomTrader
from exchange_simulator.clock import Clock
from exchange_simulator.errors import VenueError
from exchange_simulator.exchange import Exchange
from exchange_simulator.server import Server
from exchange_simulator.venue import Venue
from tests.integration.market import SELDOM_MS, books
from tests.integration.nats_server import NatsServer, add_stream
from tests.integration.service import Service
from tests.servers.guard import freeze, send
from tests.servers.network import Network, networks
from tests.servers.postgres import FreshDatabase, PostgresServer
from tests.servers.valkey import RedisServer

D = Decimal
REPLICAS = ("one", "two", "three")
WALLET, DIP = "1000000", "950000"
LEAST = "100000"
"""In dollars: below it an account alarms. It is, when it has dipped."""
HEARD_SHARE = 5
"""One account in so many is known from NATS alone."""
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SECRET = "s" * 64
HELD = ("ready", "recording_stopped")
LOOK_SECONDS = 0.3
ADOPTED_SECONDS = 90.0
STREAM = "TOLD"
"""What the replicas publish, kept by NATS in the order in which it came."""


class Desk:
    """What happens in the accounts: those at a simulated exchange, and those that only NATS tells of."""

    def __init__(self, accounts: int, seed: int) -> None:
        names = [f"desk{number:02}" for number in range(accounts)]
        self.heard = dict.fromkeys(names[::HEARD_SHARE][1:], 0)
        """How many fills of one contract were published."""
        clock = Clock()
        self.venue = Venue(clock=clock, seed=seed, funding_interval_ms=SELDOM_MS, moving=True)
        self.customers = {
            name: self.venue.open_account(name, SECRET, wallets={"USDT": WALLET}, hedge=number % 3 == 1)
            for number, name in enumerate(names)
            if name not in self.heard
        }
        self._exchange = Exchange(self.venue, seed=seed)
        self.server = Server(self._exchange, Admin(self._exchange, clock.shift))
        self.venue.on_user_event.append(self._count)
        self.fills = 0
        self.is_over = False
        """Whether nothing is to happen any more."""
        self.dips: dict[str, list[float]] = {name: [] for name in self.customers}
        """By account, when it lost nearly all, and got it back, and so on: time of day in seconds."""
        self._trader = _Trader(self.venue, list(self.customers.values()), seed=seed, symbols=SYMBOLS)

    @property
    def violations(self) -> int:
        """Requests that came although the exchange had told their address to wait."""
        return self._exchange.limits.violations

    @property
    def names(self) -> list[str]:
        """All accounts."""
        return [*self.customers, *self.heard]

    def _count(self, _account: Account, event: dict[str, Any]) -> None:
        self.fills += event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE"

    async def trade(self, a_second: float) -> None:
        """Trade at the exchange at a rate of fills, until it is over."""
        began, before = time.monotonic(), self.fills
        while not self.is_over:
            due = before + (time.monotonic() - began) * a_second
            for _ in range(50):
                if self.fills >= due:
                    break
                self._trader.step()
            await asyncio.sleep(0.005)

    async def publish(self, server: NatsServer, a_second: float) -> None:
        """Publish fills of the other accounts in turn, each until the stream has it, until it is over."""
        client = await server.connect()
        stream = client.jetstream(timeout=2)
        for name in itertools.cycle(self.heard):
            if self.is_over:
                break
            await self._publish(stream, name)
            await asyncio.sleep(1 / a_second)
        await client.close()

    async def _publish(self, stream: Any, name: str) -> None:
        number = self.heard[name] + 1
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        fill = json.dumps({"id": str(number), "account": name, "symbol": "BTCUSDT", "side": "BUY", "quantity": "1",
                           "price": "100", "timestamp": at}).encode()  # fmt: skip
        while True:
            try:
                await stream.publish(f"trading.fills.{name}", fill, headers={"Nats-Msg-Id": f"{name}:{number}"})
            except (NatsError, TimeoutError, OSError):
                await asyncio.sleep(0.2)
            else:
                self.heard[name] = number
                return

    async def dip(self, seconds: float) -> None:
        """Let each account lose nearly all, and get it back, in turn and so often that each is so for `seconds`."""
        for name in itertools.cycle(self.customers):
            if self.is_over:
                break
            account = self.customers[name]
            move = self.venue.deposit if len(self.dips[name]) % 2 else self.venue.withdraw
            try:
                move(account, "USDT", DIP)
                self.dips[name].append(time.time())
            except VenueError:
                pass  # margin is in the way
            await asyncio.sleep(seconds / len(self.customers))

    def differs(self, name: str, report: dict[str, Any]) -> str | None:
        """Return in what an account report differs from what happened, None where it says all of it."""
        if name in self.heard:
            held = D(report["positions"].get("BTCUSDT", {"quantity": "0"})["quantity"])
            return None if held == self.heard[name] else f"{held} fills, expected {self.heard[name]}"
        account = self.customers[name]
        told, ours = self.venue.books(account), books(report)
        theirs = {kind: told[kind] for kind in ("wallets", "positions", "realized", "fees")}
        if not account.hedge:  # else the exchange does not say which leg it is of
            ours["funding"] = {key: D(each["funding"] or 0) for key, each in report["positions"].items()}
            theirs["funding"] = told["funding_by_symbol"]
        for kind, book in theirs.items():
            expected = {key: D(text) for key, text in book.items() if D(text)}
            found = {key: amount for key, amount in ours[kind].items() if amount}
            if found != expected:
                return f"{kind} {_text(found)}, expected {_text(expected)}"
        funding = sum(map(D, told["funding"].values()), D(0))
        if D(report["pnl"]["funding"]) != funding:
            return f"funding {report['pnl']['funding']}, expected {funding}"
        count = sum(each["fill_count"] for each in report["positions"].values())
        trades = sum(map(len, self.customers[name].trades.values()))
        return None if count == trades else f"{count} fills, expected {trades}"


def _text(amounts: dict[str, Decimal]) -> dict[str, str]:
    return {key: str(amount) for key, amount in amounts.items()}


class _Trader(RandomTrader):
    """Does anything that a customer may, moves only dollars, and is paid funding a few times a minute."""

    def _act(self, account: Account, symbol: str, chance: float) -> None:
        if 0.97 <= chance < 0.985:
            self._venue.deposit(account, "USDT", str(self._rng.randint(1, 300)))
        elif chance < 0.998 or self._rng.random() < 0.05:
            super()._act(account, symbol, chance)


class Replica(Service):
    """One of the processes, seen from outside: from its own network, which nobody cuts off from it."""

    def __init__(self, folder: Path, name: str, network: Network, cluster: Cluster) -> None:
        folder.mkdir()
        host, port = network.port("nats")
        super().__init__(folder, f"nats://{host}:{port}", cluster.documents(network))
        self.name = name
        self.network = network
        database = urlsplit(cluster.database.url)
        host, port = network.port("postgres")
        url = database._replace(netloc=f"{database.username}@{host}:{port}").geturl()
        host, port = network.port("redis")
        self.document["database"] = {
            "url": url, "password_env": "DATABASE_PASSWORD", "redis_url": f"redis://{host}:{port}/0",
        }  # fmt: skip
        self.document["cluster"] = {"lease": cluster.lease, "ttl": f"{cluster.ttl_seconds:g}s", "member": name}
        self.document["alerts"] = {"thresholds": {"min_balance": LEAST}, "suppression_duration": "1s"}
        self.document["reconciliation"] = {"interval": "10s"}
        self._secrets = {"DATABASE_PASSWORD": database.password or "", "EXCHANGE_SECRET": SECRET} | {
            f"KEY_{account}": account for account in cluster.desk.names
        }

    def start(self, *, wait: bool = True) -> None:
        self.write_config()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.network.command, sys.executable, "-m", "account_monitor", "run", "--config", self.config_file],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self._secrets},
            )
        if wait:
            self.wait_ready()

    def get(self, path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port)
        connection.sock = self.network.connect(self.http_port)
        try:
            connection.sock.settimeout(10)
            connection.sock.connect(("127.0.0.1", self.http_port))
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def freeze(self) -> None:
        """SIGSTOP to it and to all that it started, as of a container or a machine that is paused."""
        assert self.process is not None
        freeze(psutil.Process(self.process.pid))

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        root = psutil.Process(self.process.pid)
        for process in [*root.children(recursive=True), root]:
            send(process, signal.SIGCONT)

    def end(self) -> None:
        """Let nothing of it run any more."""
        if self.process is not None and self.process.poll() is None:
            self.network.mend()
            self.thaw()
            self.kill()


class Cluster:
    """The processes, their servers, and the desk whose accounts they share."""

    def __init__(
        self, desk: Desk, nats: NatsServer, postgres: PostgresServer, database: FreshDatabase, redis: RedisServer,
        *, lease: str, ttl_seconds: float,
    ) -> None:  # fmt: skip
        self.desk = desk
        self.nats = nats
        self.postgres = postgres
        self.database = database
        self.redis = redis
        self.lease = lease
        self.ttl_seconds = ttl_seconds
        self.replicas: list[Replica] = []

    def documents(self, network: Network) -> list[dict[str, Any]]:
        """Return the configuration of the accounts, as a process in a network reaches them."""
        host, port = network.port("exchange")
        return [
            {"name": name, "exchange": "none"} if name in self.desk.heard else {
                "name": name,
                "exchange": "binance-usdm",
                "rest_url": f"http://{host}:{port}",
                "websocket_url": f"ws://{host}:{port}",
                "api_key_env": f"KEY_{name}",
                "secret_key_env": "EXCHANGE_SECRET",
                "websocket": {"reconnect_interval": "500ms", "ping_interval": "2s", "timeout": "5s"},
            }
            for name in self.desk.names
        ]  # fmt: skip

    async def differing(self) -> dict[str, str]:
        """Return by account in what it differs from what happened, where it does, or that nobody shows it."""
        reports: dict[str, dict[str, Any]] = {}
        for replica in self.replicas:
            try:
                status, told = await asyncio.to_thread(replica.get, "/api/accounts")
                held = [each["account"] for each in told if each["status"] in HELD] if status == 200 else []
                for name in held:
                    reports[name] = await asyncio.to_thread(replica.account, name)
            except (OSError, AssertionError):
                continue  # it is away, or has just handed it over
        return {
            name: text
            for name in self.desk.names
            if (text := self.desk.differs(name, reports[name]) if name in reports else "nobody shows it") is not None
        }

    async def end_equal(self, seconds: float) -> dict[str, str]:
        """Wait until nothing differs, so long; return what still does."""
        deadline = time.monotonic() + seconds
        while True:
            found = await self.differing()
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def cluster(
    folder: Path,
    *,
    accounts: int,
    seed: int,
    lease: str,
    ttl_seconds: float,
    flushes: bool = False,
    has_one_address: bool = False,
) -> AsyncIterator[Cluster]:
    """Let three processes share accounts; all of them are held, and nothing has happened in them yet.

    The exchange counts the weight of requests by address: each process has its own, or all have one.
    """
    desk = Desk(accounts, seed)
    with (
        NatsServer(folder / "nats", flushes=flushes) as nats,
        PostgresServer(flushes=flushes) as postgres,
        RedisServer() as redis,
    ):
        client = await nats.connect()
        await add_stream(client.jetstream())
        await add_stream(client.jetstream(), STREAM, "trading.alerts", "trading.pnl", duplicate_window=0.1)
        await client.close()
        database = await postgres.create_database()
        port = await desk.server.start("127.0.0.1", 0)
        servers = {"exchange": port, "nats": nats.port, "postgres": postgres.port, "redis": redis.port}
        here = Cluster(desk, nats, postgres, database, redis, lease=lease, ttl_seconds=ttl_seconds)
        telling_apart = () if has_one_address else ("exchange",)
        async with networks(len(REPLICAS), servers, telling_apart=telling_apart) as places:
            here.replicas = [
                Replica(folder / name, name, place, here) for name, place in zip(REPLICAS, places, strict=True)
            ]
            try:
                await asyncio.gather(*(asyncio.to_thread(replica.start) for replica in here.replicas))
                # Who trades while its account is adopted has results that nobody saw.
                assert not (differing := await here.end_equal(ADOPTED_SECONDS)), differing
                yield here
            finally:
                for replica in here.replicas:
                    replica.end()
                await desk.server.stop()


def chance_of(seed: int) -> random.Random:
    """Return chance that comes again with its seed."""
    return random.Random(seed)
