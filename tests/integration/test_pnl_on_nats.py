"""`trading.pnl`: what the desk's other services hear, on a real server."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from account_monitor.notifiers.nats import cut
from tests.integration.nats_server import NatsServer, add_stream, publish
from tests.integration.service import Service

pytestmark = pytest.mark.integration


def fill(number: int) -> bytes:
    return json.dumps(
        {
            "id": str(number), "symbol": "BTCUSDT", "side": "BUY", "quantity": "1", "price": "100",
            "fee": "0.1", "fee_currency": "USDT", "timestamp": "2026-11-22T12:00:00.000Z",
        }
    ).encode()  # fmt: skip


async def test_a_changed_report_is_published_at_most_once_a_second_and_is_what_rest_says(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as server:
        client = await server.connect()
        await add_stream(client.jetstream())
        heard: list[tuple[float, Msg]] = []

        async def note(message: Msg) -> None:
            heard.append((time.monotonic(), message))

        await client.subscribe("trading.pnl", cb=note)
        service = Service(tmp_path, server.url)
        await asyncio.to_thread(service.start)
        try:
            for number in range(1, 31):
                await publish(client, [fill(number)])
                await asyncio.sleep(0.1)
            await asyncio.sleep(1.5)
            quiet_since = len(heard)
            await asyncio.sleep(1.5)
            report = json.loads(heard[-1][1].data)
            _, rest = await asyncio.to_thread(service.get, "/api/pnl")
        finally:
            await asyncio.to_thread(service.stop)
            await client.close()

    assert report == {"account": "main", **rest}
    assert len(heard) == quiet_since  # nothing changed, nothing was said
    times = [at for at, _ in heard]
    assert all(later - earlier > 0.9 for earlier, later in itertools.pairwise(times))
    ids = [message.headers["Nats-Msg-Id"] for _, message in heard if message.headers]
    assert len(set(ids)) == len(heard) >= 3


async def test_what_the_server_has_not_taken_is_lost_with_a_connection_that_is_cut() -> None:
    may_read = asyncio.Event()
    received = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload":1048576,"headers":true}\r\n')
        while await reader.readline() != b"PING\r\n":
            pass
        writer.write(b"PONG\r\n")
        await may_read.wait()
        count = 0
        try:
            while data := await reader.read(1 << 20):
                count += len(data)
        except ConnectionError:
            pass  # it was reset
        writer.close()
        received.set_result(count)

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    async with await asyncio.start_server(serve, sock=listener):
        client = await nats.connect(f"nats://127.0.0.1:{listener.getsockname()[1]}", allow_reconnect=False)
        for _ in range(6):
            await client.publish("trading.pnl", bytes(1 << 18))
        await asyncio.sleep(0.2)

        cut(client)
        await client.close()
        may_read.set()

        assert await received < 3 << 18
