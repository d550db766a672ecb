"""What do clients that mean harm cost the others? How long a fill takes to the view, and to a WebSocket client.

The service runs in a process of its own, and whoever abuses it in another: sockets that send a request byte by byte
(slow-loris), listeners of which some never read, nonsense as fast as one process sends it. Then: do memory and
descriptors come back?

    python -m benchmarks abuse                         # all of it
    python -m benchmarks.abuse PORT KIND SECONDS       # abuse what listens on a port of this machine
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import uvloop

from account_monitor.clock import now_ms
from benchmarks.fills import fills, message
from benchmarks.histogram import shares
from tests.integration.nats_server import NatsServer, add_stream
from tests.integration.service import Service

PER_SECOND = 200
SECONDS = 12
SETTLE_SECONDS = 35
"""Longer than a client may leave things lying."""

SLOW = 500
LISTENERS, DEAF = 500, 100
FLOODING = 64

HEAD = b"GET /api/account HTTP/1.1\r\nHost: 127.0.0.1\r\n"
TOKEN = os.environ.get("ABUSE_TOKEN", "")
"""Shown with every request of the flood, where there is one: `Authorization: Bearer …`."""


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder) / "nats", flushes=False) as server:
        service = Service(Path(folder), server.url)
        uvloop.run(_prepare(server))
        service.start()
        try:
            uvloop.run(_compare(server, service))
        finally:
            service.stop()


async def _prepare(server: NatsServer) -> None:
    client = await server.connect()
    await add_stream(client.jetstream())
    await client.close()


async def _compare(server: NatsServer, service: Service) -> None:
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    numbers = itertools.count(1)
    await _measure(server, service, numbers)  # warm
    before = _held(process)
    for kind in ("quiet", *ATTACKS, "quiet"):
        attack = None
        if kind in ATTACKS:
            command = [sys.executable, "-m", "benchmarks.abuse", str(service.http_port), kind, str(SECONDS + 4)]
            attack = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            await asyncio.sleep(2)
        counted = await asyncio.to_thread(_latencies, service)
        taken = await _measure(server, service, numbers)
        view = _shares(counted, await asyncio.to_thread(_latencies, service))
        peak = _held(process)
        said = ""
        if attack is not None:
            output, _ = await attack.communicate()
            said = output.decode().strip()
        print(f"{kind:10} view: {view}; client: {shares(taken)}; {_said(peak)}; {said}", flush=True)
    await asyncio.sleep(SETTLE_SECONDS)
    print(f"before     {_said(before)}\nafterwards {_said(_held(process))}")


def _latencies(service: Service) -> dict[float, float]:
    """Return how many fills were in a view within so many seconds of their publication, as the service counts them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=30) as page:
        text = page.read().decode()
    found = re.findall(r'^fill_latency_seconds_bucket\{le="([^"]+)"\} (\S+)', text, re.MULTILINE)
    return {float(bound): float(count) for bound, count in found}


def _shares(before: dict[float, float], after: dict[float, float]) -> str:
    """Say within how many milliseconds half, 99 % and all were, as the bounds of the histogram tell it."""
    counts = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    every = max(counts.values())
    bounds = (next(bound for bound, count in counts.items() if count >= share * every) for share in (0.5, 0.99, 1.0))
    return "half, 99 %, all within {:g}, {:g}, {:g} ms".format(*(bound * 1000 for bound in bounds))


def _held(process: psutil.Process) -> tuple[int, int]:
    return process.memory_info().rss, process.num_fds()


def _said(held: tuple[int, int]) -> str:
    return f"{held[0] / 1e6:.0f} MB, {held[1]} descriptors"


async def _measure(server: NatsServer, service: Service, numbers: itertools.count[int]) -> list[float]:
    """Return how many milliseconds each fill took to a client that listens, the shortest first."""
    client = await server.connect()
    published: dict[str, float] = {}
    taken: list[float] = []
    count = PER_SECOND * SECONDS
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{service.http_port}/ws?account=main", timeout=_PATIENT) as socket_,
    ):
        publishing = asyncio.create_task(_publish(client, count, published, next(numbers)))
        async for frame in socket_:
            received = time.perf_counter()
            heard = json.loads(frame.data)
            if heard["type"] == "fill" and heard["data"]["id"] in published:
                taken.append((received - published[heard["data"]["id"]]) * 1000)
                if len(taken) == count:
                    break
        await publishing
    await client.close()
    return sorted(taken)


_PATIENT = aiohttp.ClientWSTimeout(ws_close=30)


async def _publish(client: Any, count: int, published: dict[str, float], run: int) -> None:
    started = time.perf_counter()
    for number, fill in enumerate(fills(count, symbols=("BTCUSDT", "ETHUSDT"), first=run * 1_000_000)):
        await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))
        payload = message(fill._replace(at_ms=now_ms()))
        published[fill.trade_id] = time.perf_counter()
        await client.publish("trading.fills.main", payload)


# -- abuse -------------------------------------------------------------------------------------------------------------


async def _loris(port: int, ends: float) -> str:
    """Send requests byte by byte, and connect again when cut."""
    cuts = 0

    async def drip() -> None:
        nonlocal cuts
        while time.monotonic() < ends:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                for byte in HEAD + b"X-Slow: " + b"a" * 1_000:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.5)
                    if time.monotonic() > ends:
                        break
                else:
                    continue
                writer.close()
                return
            cuts += 1

    await asyncio.gather(*(drip() for _ in range(SLOW)))
    return f"{SLOW} sockets, cut {cuts} times"


async def _listeners(port: int, ends: float) -> str:
    """Listen to everything that happens; some read nothing of it."""
    heard = cut = 0

    async def listen(reads: bool) -> None:
        nonlocal heard, cut
        connection = socket.socket()
        if not reads:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=4_096)
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        writer.write(HEAD.replace(b"/api/account", b"/ws") + b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + key)
        writer.write(b"\r\n")
        if not reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket can
        while time.monotonic() < ends:
            if reads:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        taken = await reader.read(65_536)
                        if not taken:
                            cut += 1
                            break
                        heard += len(taken)
            else:
                await asyncio.sleep(0.5)
        writer.transport.abort()

    await asyncio.gather(*(listen(number >= DEAF) for number in range(LISTENERS)))
    return f"{LISTENERS} listeners, {DEAF} of them deaf; {heard / 1e6:,.0f} MB heard, {cut} cut"


async def _flood(port: int, ends: float) -> str:
    """Send requests that are refused, as fast as they are."""
    token = f"Authorization: Bearer {TOKEN}\r\n".encode() if TOKEN else b""
    bad = [
        b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n" + token + b"\r\n",
        b"GET /api/fills?limit=x HTTP/1.1\r\nHost: 127.0.0.1\r\n" + token + b"\r\n",
        b"GET /api/pnl HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"POST /api/reconcile HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n",
        b"nonsense\r\n\r\n",
    ]
    connections = itertools.cycle([bad[:4], bad[4:]])  # the fourth states a body, of which the fifth would be a part
    count = 0

    async def send() -> None:
        nonlocal count
        while time.monotonic() < ends:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                for request in next(connections):
                    writer.write(request)
                    await reader.readuntil(b"\r\n\r\n")
                    count += 1
                writer.close()

    await asyncio.gather(*(send() for _ in range(FLOODING)))
    return f"{count:,} refused"


ATTACKS: dict[str, Callable[[int, float], Coroutine[Any, Any, str]]] = {
    "loris": _loris,
    "listeners": _listeners,
    "flood": _flood,
}


if __name__ == "__main__":
    print(uvloop.run(ATTACKS[sys.argv[2]](int(sys.argv[1]), time.monotonic() + float(sys.argv[3]))))
