"""What gRPC is sent that nobody should send: the service lives, says so, and keeps nothing of it."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc.aio import AioRpcError, Channel

from account_monitor.v1 import account_monitor_pb2 as v1
from tests.integration.grpc_rig import METHODS, SERVICE, ask, calling, watch
from tests.integration.trading_desk import TradingDesk, eventually, trading_desk

pytestmark = [pytest.mark.integration, pytest.mark.slow]

REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"}
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, grpc_port=0) as opened:
        await opened.open()
        await opened.trade(opened.fill())
        yield opened


async def outcome(channel: Channel, method: str, body: bytes) -> str:
    """Return the status of a call with these bytes; of a stream, that of its first message."""
    if method == "WatchAccount":
        stream: Any = channel.unary_stream(SERVICE + method)
        call = stream(body, timeout=5)
    else:
        unary: Any = channel.unary_unary(SERVICE + method)
        call = unary(body, timeout=5)
    try:
        await (call.read() if method == "WatchAccount" else call)
    except AioRpcError as error:
        return error.code().name
    finally:
        call.cancel()
    return "OK"


def requests(chance: random.Random) -> list[tuple[str, bytes]]:
    """Return bodies of all kinds: noise, pieces of what is meant, other methods' requests, huge and strange values."""
    strange = [
        "",
        "\0",
        "A" * 60_000,
        "\u202e",
        "'; DROP TABLE fills; --",
        "../../etc/passwd",
        "BTCUSDT:BOTH:LONG",
        "%s%n",
    ]
    meant = [
        v1.GetPositionRequest(account="main", symbol="BTCUSDT"),
        v1.GetPnLHistoryRequest(symbol="BTCUSDT", interval="1h", to={"seconds": 1_800_000_000}),
        v1.WatchAccountRequest(account="main", since={"epoch": 2**64 - 1, "seq": 2**64 - 1}, interval_ms=2**32 - 1),
        *(v1.GetPositionRequest(account=text, symbol=text) for text in strange),
        *(v1.GetPnLHistoryRequest(interval=text, symbol=text) for text in strange),
        v1.GetPnLHistoryRequest(**{"from": {"seconds": -(2**63)}, "to": {"seconds": 2**63 - 1, "nanos": 2**31 - 1}}),  # type: ignore[arg-type]
    ]
    bodies: list[bytes] = [chance.randbytes(chance.randrange(1, 200)) for _ in range(150)]
    for message in meant:
        whole = message.SerializeToString()
        bodies += [whole, whole[: chance.randrange(len(whole) + 1)]]
        if whole:
            changed = bytearray(whole)
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            bodies.append(bytes(changed))
    bodies += [b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 5_000, b"\x12\x02\xff\xfe", bytes(65_536), bytes(4_000_000)]
    return [(chance.choice([*METHODS, "WatchAccount", "Nothing"]), body) for body in bodies]


@pytest.mark.parametrize("seed", range(3))
async def test_strange_requests_are_refused_by_what_they_are(
    desk: TradingDesk, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with calling(desk) as channel:
        outcomes = {await outcome(channel, method, body) for method, body in requests(random.Random(seed))}
        assert outcomes <= {"OK", *REFUSALS}
        assert "INVALID_ARGUMENT" in outcomes
        assert (await ask(channel, "GetPosition", symbol="BTCUSDT")).quantity == "1"
    assert "call_failed" not in capsys.readouterr().out


async def test_strange_bytes_on_the_port_and_silence_are_survived(desk: TradingDesk) -> None:
    host, _, port = desk.doors.grpc_address.rpartition(":")
    chance = random.Random(7)
    silent = [socket.create_connection((host, int(port))) for _ in range(50)]
    try:
        for number in range(100):
            start = (b"", HTTP2, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01")[number % 4]
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(start + chance.randbytes(chance.randrange(2_000)))
            writer.close()
        async with calling(desk) as channel:
            assert (await ask(channel, "GetPosition", symbol="BTCUSDT")).quantity == "1"
    finally:
        for connection in silent:
            connection.close()


async def test_hundreds_of_streams_that_are_dropped_leave_nothing(
    desk: TradingDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    process = psutil.Process()

    async def drop(count: int) -> None:
        for number in range(count):
            async with grpc.aio.insecure_channel(
                desk.doors.grpc_address, options=(("grpc.use_local_subchannel_pool", 1),)
            ) as channel:
                calls = [watch(channel) for _ in range(20)]
                if number % 2:
                    await asyncio.gather(*(call.read() for call in calls))
                if number % 3:
                    for call in calls:
                        call.cancel()
        await eventually(lambda: len(desk.doors.publisher) == 0, timeout_seconds=10)

    await drop(10)
    gc.collect()
    tasks, files, before = len(asyncio.all_tasks()), process.num_fds(), process.memory_info().rss
    await drop(40)  # 800 streams on 40 connections
    await eventually(lambda: process.num_fds() <= files + 2, timeout_seconds=15)
    gc.collect()

    assert len(asyncio.all_tasks()) <= tasks + 1
    assert process.memory_info().rss - before < 20e6
    assert "call_failed" not in capsys.readouterr().out
    async with calling(desk) as channel:
        assert (await ask(channel, "GetPosition", symbol="BTCUSDT")).quantity == "1"


async def test_connections_beyond_what_calls_need_are_not_taken(tmp_path: Path) -> None:
    """Who opens thousands of connections takes neither the descriptors of the process nor, for long, the port."""
    async with trading_desk(tmp_path, grpc_port=0, grpc_max_connections=1) as desk:
        await desk.open()
        host, _, port = desk.doors.grpc_address.rpartition(":")
        files = psutil.Process().num_fds()
        flood = [socket.create_connection((host, int(port))) for _ in range(400)]
        await asyncio.sleep(0.5)
        held = psutil.Process().num_fds() - files - len(flood)
        for connection in flood:
            connection.close()
        assert held <= 250
        await asyncio.sleep(0.5)
        async with calling(desk) as channel:
            assert (await ask(channel, "GetPnL")).total_trades == 0
