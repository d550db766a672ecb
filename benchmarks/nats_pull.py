"""How fast are messages pulled from a stream, by our engine and by nats-py's `fetch`, in one run, taking turns?

python -m benchmarks.nats_pull
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

import nats
import uvloop
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from account_monitor.feeds.connection import Connection
from account_monitor.feeds.jetstream import Consumer
from tests.integration.nats_server import NatsServer

MESSAGES = 50_000
ROUNDS = 3
FETCH = 500  # larger ones made `fetch` no faster

PAYLOAD = (
    b'{"id":"5612520599","account":"main","symbol":"BTCUSDT","side":"BUY","quantity":"0.001","price":"50000.00",'
    b'"fee":"0.05","fee_currency":"USDT","position_side":"BOTH","order_id":"482277363667","maker":false,'
    b'"realized_pnl":null,"timestamp":"2026-11-22T12:00:00.000Z"}'
)


def measure() -> dict[str, float]:
    """Return messages per second of both, medians of their rounds, and how many times faster the engine is."""
    with tempfile.TemporaryDirectory() as directory, NatsServer(Path(directory)) as server:
        rates = uvloop.run(_rates(server.url))
    engine, fetch = (median(rates[name]) for name in ("engine", "fetch"))
    return {"engine_per_second": round(engine), "fetch_per_second": round(fetch), "ratio": round(engine / fetch, 1)}


async def _rates(url: str) -> dict[str, list[float]]:
    client = await nats.connect(url)
    connection = Connection()
    await connection.open(
        [url],
        credentials_file=None,
        ca_file=None,
        reconnect_wait_seconds=1,
        on_disconnect=lambda: None,
        on_reconnect=lambda: None,
        on_error=lambda error: None,
    )
    await _fill_stream(client)
    rates: dict[str, list[float]] = {"engine": [], "fetch": []}
    for _ in range(ROUNDS):
        rates["engine"].append(MESSAGES / await _pull(connection))
        rates["fetch"].append(MESSAGES / await _fetch(client))
    await connection.shut()
    await client.close()
    return rates


async def _fill_stream(client: Client) -> None:
    js = client.jetstream()
    await js.add_stream(name="FILLS", subjects=["trading.fills", "trading.fills.*"], storage="memory")
    for i in range(MESSAGES):
        await client.publish("trading.fills.main", PAYLOAD)
        if i % 1000 == 0:
            await client.flush()
    while (await js.stream_info("FILLS")).state.messages < MESSAGES:
        pass


async def _pull(connection: Connection) -> float:
    consumer = Consumer(connection, "FILLS", ["trading.fills", "trading.fills.*"], durable=None)
    await consumer.open(1)
    started, taken = time.perf_counter(), 0
    while taken < MESSAGES:
        taken += len(await consumer.batch())
        await asyncio.sleep(0)
    seconds = time.perf_counter() - started
    await consumer.close()
    return seconds


async def _fetch(client: Client) -> float:
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True, num_replicas=1)
    subscription = await client.jetstream().pull_subscribe("trading.fills.*", stream="FILLS", config=config)
    started, taken = time.perf_counter(), 0
    while taken < MESSAGES:
        taken += len(await subscription.fetch(FETCH))
    seconds = time.perf_counter() - started
    await subscription.unsubscribe()
    return seconds


def main() -> None:
    """Print both rates."""
    for name, value in measure().items():
        print(f"{name:20} {value:>12,}")


if __name__ == "__main__":
    main()
