"""Does a fill come later while a database is down? 1,000 fills a second, and PostgreSQL and Redis break meanwhile.

Each is killed with -9, paused, restarted, out of connections, and full. How long from a fill's publication on NATS to
the message at a WebSocket client, while all is well and during each of these? Then: does the history hold every fill
once, does Redis show the newest state, and did each alert fire and resolve?
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import redis.asyncio
import uvloop

from benchmarks.fills import fills, message
from benchmarks.histogram import histogram, shares
from tests.integration.nats_server import NatsServer, add_stream
from tests.integration.service import Service
from tests.servers.postgres import FreshDatabase, PostgresServer
from tests.servers.valkey import RedisServer

PER_SECOND = 1_000
CALM_SECONDS, BROKEN_SECONDS, PAUSED_SECONDS, RECOVERY_SECONDS = 20.0, 10.0, 60.0, 8.0
CAUGHT_UP_SECONDS = 120.0
PAUSE = "paused"


class Outage(NamedTuple):
    """A way to break, and to mend."""

    name: str
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]


class Rig:
    """The service, its servers, and what is known of every fill."""

    def __init__(self, service: Service, postgres: PostgresServer, database: FreshDatabase, cache: RedisServer) -> None:
        self.service = service
        self.postgres = postgres
        self.database = database
        self.cache = cache
        self.phase = ""
        self.published: dict[str, tuple[float, str]] = {}
        """By trade id, when it was published and in which phase."""
        self.latencies: dict[str, list[float]] = {}
        """By phase, in milliseconds."""
        self.alerts: list[tuple[str, str, str, str]] = []
        """(phase, type, symbol, state) as the stream told them."""
        self.is_over = False

    def outages(self) -> list[Outage]:
        """Return every way in which the servers break."""
        return [
            Outage("PostgreSQL killed", _called(self.postgres.kill), _called(self.postgres.start)),
            Outage(f"PostgreSQL {PAUSE}", _called(self.postgres.pause), _called(self.postgres.resume)),
            Outage("PostgreSQL restarted", _called(self._restart_postgres), _called(lambda: None)),
            Outage("PostgreSQL out of connections", self._refuse_connections, self._admit_connections),
            Outage("PostgreSQL's disk full", _called(self.postgres.fill_disk), _called(self.postgres.free_disk)),
            Outage("Redis killed", _called(self.cache.kill), _called(self.cache.start)),
            Outage(f"Redis {PAUSE}", _called(self.cache.pause), _called(self.cache.resume)),
            Outage("Redis restarted", _called(self._restart_cache), _called(lambda: None)),
            Outage("Redis out of connections", self._refuse_clients, self._admit_clients),
            Outage("Redis full", self._limit_memory, self._free_memory),
        ]

    def _restart_postgres(self) -> None:
        self.postgres.stop()
        self.postgres.start()

    def _restart_cache(self) -> None:
        self.cache.stop()
        self.cache.start()

    async def _refuse_connections(self) -> None:
        await self._as_admin(
            f"ALTER ROLE {self.database.role} CONNECTION LIMIT 0",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self.database.role}'",
        )

    async def _admit_connections(self) -> None:
        await self._as_admin(f"ALTER ROLE {self.database.role} CONNECTION LIMIT -1")

    async def _as_admin(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.postgres.url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    async def _refuse_clients(self) -> None:
        async with redis.asyncio.Redis.from_url(self.cache.url) as client:
            await client.config_set("maxclients", 1)
            await client.client_kill_filter(_type="normal", skipme=True)

    async def _admit_clients(self) -> None:
        # The service may have taken the one place that is left: a server that knows no limit any more is a new one.
        await asyncio.to_thread(self._restart_cache)

    async def _limit_memory(self) -> None:
        async with redis.asyncio.Redis.from_url(self.cache.url) as client:
            await client.config_set("maxmemory", 1)

    async def _free_memory(self) -> None:
        async with redis.asyncio.Redis.from_url(self.cache.url) as client:
            await client.config_set("maxmemory", 0)

    async def listen(self) -> None:
        """Note when each fill is heard, and what is alerted."""
        address = f"http://127.0.0.1:{self.service.http_port}/ws?account=main"
        async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
            async for frame in socket:
                received = time.perf_counter()
                heard = json.loads(frame.data)
                if heard["type"] == "fill":
                    at, phase = self.published[heard["data"]["id"]]
                    self.latencies.setdefault(phase, []).append((received - at) * 1000)
                elif heard["type"] == "alert":
                    alert = heard["data"]
                    self.alerts.append((self.phase, alert["type"], alert["symbol"], alert["state"]))

    async def publish(self, client: Any) -> None:
        """Publish fills at a steady pace until it is over."""
        started = time.perf_counter()
        for number, fill in enumerate(fills(10_000_000, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"))):
            if self.is_over:
                break
            if (early := started + number / PER_SECOND - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            payload = message(fill)
            self.published[fill.trade_id] = (time.perf_counter(), self.phase)
            await client.publish("trading.fills.main", payload)
        await client.flush()

    async def run(self, client: Any) -> None:
        """Live through calm and every outage."""
        self.phase = "all is well"
        listening = asyncio.create_task(self.listen())
        await asyncio.sleep(1)
        publishing = asyncio.create_task(self.publish(client))
        await asyncio.sleep(CALM_SECONDS)
        for outage in self.outages():
            self.phase = outage.name
            await outage.begin()
            await asyncio.sleep(PAUSED_SECONDS if PAUSE in outage.name else BROKEN_SECONDS)
            await outage.end()
            self.phase = "recovery"
            await asyncio.sleep(RECOVERY_SECONDS)
        self.is_over = True
        await publishing
        while sum(map(len, self.latencies.values())) < len(self.published):  # noqa: ASYNC110  # a stream has no end
            await asyncio.sleep(0.05)
        await self._catch_up()
        listening.cancel()

    async def _catch_up(self) -> None:
        began = time.perf_counter()
        while await self._written() < self.service.account()["seq"]:  # noqa: ASYNC110  # another process writes
            await asyncio.sleep(0.1)
        print(f"the history had everything {time.perf_counter() - began:.1f} s after the last fill")
        await asyncio.sleep(1)  # for the last alert

    async def _written(self) -> int:
        return int((await self._ask("SELECT seq FROM projections WHERE account = 'main'"))[0])

    async def _ask(self, query: str) -> asyncpg.Record:
        connection = await asyncpg.connect(self.database.url)
        row = await connection.fetchrow(query)
        await connection.close()
        assert row is not None
        return row

    async def check(self) -> None:
        """Say whether everything is there once."""
        held, distinct = await self._ask("SELECT count(*), count(DISTINCT id) FROM fills")
        entries, last = await self._ask("SELECT count(*), max(seq) FROM journal WHERE account = 'main'")
        journaled = self.service.account()["seq"]
        print(f"{len(self.published):,} fills published; the history holds {held:,}, {distinct:,} of them different,")
        print(f"  and {entries:,} entries up to {last:,} of the journal's {journaled:,}")
        async with redis.asyncio.Redis.from_url(self.cache.url, decode_responses=True) as client:
            keys = sorted(map(str, await client.keys("*")))
        print(f"Redis holds {', '.join(keys)}")
        fired = [alert for alert in self.alerts if alert[3] == "FIRING"]
        resolved = [alert for alert in self.alerts if alert[3] == "RESOLVED"]
        print(f"alerts: {len(fired)} fired, {len(resolved)} resolved")
        for phase, kind, symbol, state in self.alerts:
            print(f"  {phase:<32} {kind} {symbol} {state}")


def _called(function: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        await asyncio.to_thread(function)

    return call


async def _run(service: Service, server: NatsServer, postgres: PostgresServer, cache: RedisServer) -> None:
    client = await server.connect()
    await add_stream(client.jetstream())
    database = await postgres.create_database()
    url, _, password = _without_password(database.url)
    os.environ["OUTAGES_DATABASE_PASSWORD"] = password
    service.document["database"] = {
        "url": url, "password_env": "OUTAGES_DATABASE_PASSWORD", "redis_url": cache.url,
    }  # fmt: skip
    service.document["alerts"] = {"suppression_duration": "1s"}  # each outage is told of
    await asyncio.to_thread(service.start)
    try:
        rig = Rig(service, postgres, database, cache)
        await rig.run(client)
        for phase, latencies in rig.latencies.items():
            print(f"{phase:<32} {len(latencies):>6} fills: {shares(sorted(latencies))}")
        calm = sorted(rig.latencies["all is well"])
        broken = sorted(x for phase, found in rig.latencies.items() if phase != "all is well" for x in found)
        print("while all is well:", histogram(calm), "while something is broken:", histogram(broken), sep="\n")
        await rig.check()
    finally:
        service.stop()
    await client.close()


def _without_password(url: str) -> tuple[str, str, str]:
    scheme, _, rest = url.partition("://")
    role, _, host = rest.rpartition("@")
    user, _, password = role.partition(":")
    return f"{scheme}://{user}@{host}", user, password


def main() -> None:
    """Print the figures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        NatsServer(Path(folder) / "nats", flushes=False) as server,
        PostgresServer(disk_megabytes=1_500) as postgres,
        RedisServer() as cache,
    ):
        uvloop.run(_run(Service(Path(folder), server.url), server, postgres, cache))
