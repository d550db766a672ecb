"""How long from a fill's publication on NATS to the message at a WebSocket client, at 500 fills a second?

The service runs as users run it, in a process of its own; a fill is durable before its message leaves.
Beside it, in the same run: what one flush of this disk costs, which is part of every figure.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.fills import fills, message
from benchmarks.histogram import histogram, shares
from tests.integration.nats_server import NatsServer, add_stream
from tests.integration.service import Service

PER_SECOND = 500
SECONDS = 20


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"one flush of this disk: {flush_ms(Path(folder)):.2f} ms (median of 200)")
    taken = latencies({})
    print(f"{len(taken)} fills: {shares(taken)}", histogram(taken), sep="\n")


def latencies(database: dict[str, str]) -> list[float]:
    """Return how many milliseconds each fill took, with these settings of `database`, the shortest first."""
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder) / "nats", flushes=False) as server:
        service = Service(Path(folder), server.url)
        service.document["database"] = database
        uvloop.run(_prepare(server))
        service.start()
        try:
            return sorted(uvloop.run(_measure(server, service)))
        finally:
            service.stop()


async def _prepare(server: NatsServer) -> None:
    client = await server.connect()
    await add_stream(client.jetstream())
    await client.close()


async def _measure(server: NatsServer, service: Service) -> list[float]:
    client = await server.connect()
    published: dict[str, float] = {}
    taken: list[float] = []
    count = PER_SECOND * SECONDS
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{service.http_port}/ws?account=main") as socket,
    ):
        publishing = asyncio.create_task(_publish(client, count, published))
        async for frame in socket:
            received = time.perf_counter()
            heard = json.loads(frame.data)
            if heard["type"] == "fill":
                taken.append((received - published[heard["data"]["id"]]) * 1000)
                if len(taken) == count:
                    break
        await publishing
    await client.close()
    return taken


async def _publish(client: object, count: int, published: dict[str, float]) -> None:
    started = time.perf_counter()
    for number, fill in enumerate(fills(count, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"))):
        payload = message(fill)
        await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))
        published[fill.trade_id] = time.perf_counter()
        await client.publish("trading.fills.main", payload)  # type: ignore[attr-defined]


def flush_ms(folder: Path) -> float:
    """Return what one flush of this disk takes, in milliseconds: the median of 200."""
    descriptor = os.open(folder / "flush", os.O_CREAT | os.O_WRONLY)
    costs = []
    for _ in range(200):
        os.write(descriptor, bytes(4096))
        started = time.perf_counter()
        os.fdatasync(descriptor)
        costs.append((time.perf_counter() - started) * 1000)
    os.close(descriptor)
    return sorted(costs)[100]
