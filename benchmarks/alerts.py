"""How long from the fill that crosses a threshold to the alert, on NATS and at a webhook, at 500 fills a second?

The service runs in a process of its own, with a real NATS server; the webhook is a real HTTP server in this process,
which publishes the fills, too. A fill's fee takes equity below the threshold, and the next one gives it back: each
crossing is timed, there and back. Everything is durable before it is told. Beside it, in the same run: what one flush
of this disk costs, which is part of every figure twice, channels that hang all the time, one and as many as there may
be beside the webhook, and how long the other fills take to a WebSocket client, which says what this machine makes of
everything.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from account_monitor.notifiers.channels import MAX_CHANNELS
from benchmarks.fills import fills, message
from benchmarks.histogram import histogram, shares
from benchmarks.latency import flush_ms
from tests.integration.nats_server import NatsServer, add_stream
from tests.integration.service import Service
from tests.integration.webhook import Webhook, webhook

PER_SECOND = 500
CROSSINGS = 200
CROSSING_SECONDS = 0.2
"""Between two crossings."""

HANGING = (1, MAX_CHANNELS - 1)
"""Channels beside the webhook that take what they are sent and never answer."""

FEE = Decimal(9_000_000)
LAST_SECONDS = 10.0


class AlertingService(Service):
    """The service, which tells of every alert at once, however many there are."""

    def start(self, *, wait: bool = True) -> None:
        """Start it, and return when it is ready."""
        self.write_config()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.alerting", str(self.config_file)], stdout=log, stderr=log
            )
        if wait:
            self.wait_ready()


class Ears:
    """When each transition was heard on NATS, in order."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def listen(self, client: Client) -> None:
        """Note from now on what is published."""

        async def note(heard: Msg) -> None:
            if json.loads(heard.data)["type"] == "LOW_BALANCE":
                self.times.append(time.perf_counter())

        await client.subscribe("trading.alerts", cb=note)
        await client.flush()


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"one flush of this disk: {flush_ms(Path(folder)):.2f} ms (median of 200)")
    for hanging in HANGING:
        print(f"\n{hanging} of {hanging + 1} channels {'hang' if hanging > 1 else 'hangs'}")
        uvloop.run(_measure(hanging))


async def _measure(hanging: int) -> None:
    async with webhook() as hook, _silent(hanging) as urls:
        with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder) / "nats", flushes=False) as server:
            client = await server.connect()
            await add_stream(client.jetstream())
            async with _serving(Path(folder), server.url, hook.url, *urls) as service:
                await _cross(client, hook, f"http://127.0.0.1:{service.http_port}/ws?account=main")
            await client.close()


@asynccontextmanager
async def _silent(count: int) -> AsyncIterator[list[str]]:
    """Give the URLs of so many channels that never answer; that costs this process next to nothing."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield [f"json://127.0.0.1:{port}/silent/{number}" for number in range(count)]
    finally:
        server.close()


@asynccontextmanager
async def _serving(folder: Path, nats_url: str, *urls: str) -> AsyncIterator[Service]:
    service = AlertingService(folder, nats_url)
    opening: dict[str, Any] = {"balances": {"USDT": "10000000"}}
    service.document["accounts"] = [{"name": "main", "exchange": "none", "opening": opening}]
    (folder / "channels").write_text("\n".join(urls))
    thresholds = {"min_balance": "5000000", "max_leverage": None, "max_drawdown_pct": None}
    service.document["alerts"] = {
        "channels_file": str(folder / "channels"), "suppression_duration": "0s", "thresholds": thresholds,
    }  # fmt: skip
    await asyncio.to_thread(service.start)
    try:
        yield service
    finally:
        await asyncio.to_thread(service.stop)


async def _cross(client: Client, hook: Webhook, address: str) -> None:
    ears, crossed = Ears(), list[float]()
    await ears.listen(client)
    published, plain = dict[str, float](), list[float]()
    listening = asyncio.create_task(_listen(address, published, plain))
    publishing = asyncio.create_task(_publish(client, published))
    await asyncio.sleep(2)
    for number in range(CROSSINGS):
        crossed.append(await _publish_crossing(client, number))
        await asyncio.sleep(CROSSING_SECONDS)
    await _until(lambda: min(len(ears.times), len(_posted(hook))) >= CROSSINGS)
    for task in (publishing, listening):
        task.cancel()
    await asyncio.gather(publishing, listening, return_exceptions=True)
    print(f"the other fills, to a WebSocket client: {len(plain)}: {shares(sorted(plain))}")
    _print("trading.alerts", crossed, ears.times)
    _print("webhook", crossed, _posted(hook))


def _posted(hook: Webhook) -> list[float]:
    return [post.at for post in hook.posts if "LOW_BALANCE" in post.title]


async def _listen(address: str, published: dict[str, float], taken: list[float]) -> None:
    """Note how many milliseconds each fill took."""
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        async for frame in socket:
            received = time.perf_counter()
            heard = json.loads(frame.data)
            if heard["type"] == "fill" and (at := published.pop(heard["data"]["id"], None)) is not None:
                taken.append((received - at) * 1000)


async def _publish(client: Client, published: dict[str, float]) -> None:
    """Publish fills at a steady pace until cancelled."""
    started = time.perf_counter()
    for number, fill in enumerate(fills(10_000_000, symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"))):
        await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))
        payload = message(fill)
        published[fill.trade_id] = time.perf_counter()
        await client.publish("trading.fills.main", payload)


async def _publish_crossing(client: Client, number: int) -> float:
    """Publish a fill whose fee takes equity across the threshold, and return when."""
    fill = next(fills(1, symbols=("XRPUSDT",), first=20_000_000 + number))
    payload = message(fill._replace(fee=-FEE if number % 2 else FEE))
    at = time.perf_counter()
    await client.publish("trading.fills.main", payload)
    return at


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LAST_SECONDS):
        while not holds():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.05)


def _print(where: str, crossed: list[float], heard: list[float]) -> None:
    # What fires and what is over alternate, so the n-th transition is that of the n-th crossing.
    taken = sorted((at - since) * 1000 for since, at in zip(crossed, heard, strict=True))
    print(f"{where}: {len(taken)} transitions: {shares(taken)}", histogram(taken), sep="\n")
