"""Watching over gRPC: resuming, clients that read slowly or not at all, and the end of the service."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from account_monitor.api import publisher
from account_monitor.v1 import account_monitor_pb2 as v1
from tests.integration.grpc_rig import SERVICE, as_json, ask, calling, end_of, watch
from tests.integration.trading_desk import TradingDesk, eventually, listening, trading_desk

pytestmark = pytest.mark.integration

NARROW = {"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": 65_536}
"""A client that takes no more than it reads; left to itself it takes up to 4 MB beforehand."""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, grpc_port=0, stall_seconds=60.0) as opened:
        await opened.open()
        yield opened


async def read(call: Any, count: int) -> list[tuple[str, int]]:
    async with asyncio.timeout(5):
        told = [await call.read() for _ in range(count)]
    return [(message.WhichOneof("data"), message.seq) for message in told]


# -- resuming ------------------------------------------------------------------------------------------------------


async def test_who_comes_back_hears_what_was_missed_and_nothing_else(desk: TradingDesk) -> None:
    async with calling(desk) as channel:
        call = watch(channel)
        last = await call.read()
        await desk.trade(desk.fill())
        async with asyncio.timeout(5):
            while last.WhichOneof("data") != "balance_update":  # the last of what a fill changes
                last = await call.read()
        call.cancel()
        await desk.trade(desk.fill(), desk.fill())

        again = watch(channel, since=v1.Place(epoch=last.epoch, seq=last.seq))
        fills: list[str] = []
        told = last.seq
        async with asyncio.timeout(5):
            while len(fills) < 2:
                message = await again.read()
                kind = message.WhichOneof("data")
                assert kind != "snapshot"
                if kind == "health":
                    continue
                assert message.prev == told
                told = message.seq
                if kind == "fill":
                    fills.append(message.fill.id)
        assert fills == ["2", "3"]


@pytest.mark.parametrize("since", [v1.Place(epoch=99, seq=1), v1.Place(epoch=1, seq=999_999)], ids=["epoch", "future"])
async def test_a_place_that_is_not_known_is_answered_with_a_snapshot(desk: TradingDesk, since: v1.Place) -> None:
    async with calling(desk) as channel:
        assert (await read(watch(channel, since=since), 1))[0][0] == "snapshot"


async def test_an_interval_that_is_not_allowed_is_named(desk: TradingDesk) -> None:
    async with calling(desk) as channel:
        for interval_ms in (0, 49, 3_600_001):
            assert await end_of(watch(channel, interval_ms=interval_ms)) == (
                "INVALID_ARGUMENT",
                f"interval_ms: was {interval_ms}, expected milliseconds from 50 to 3600000",
            )


async def test_an_account_that_is_removed_ends_its_streams(desk: TradingDesk) -> None:
    async with calling(desk) as channel:
        call = watch(channel)
        await call.read()
        desk.desk.configure([])
        async with asyncio.timeout(2):
            assert await end_of(call) == ("NOT_FOUND", "account: 'main' is not configured any more")


# -- slow clients --------------------------------------------------------------------------------------------------


async def trade(desk: TradingDesk, fills: int) -> None:
    """Trade a thousand fills a second or so."""
    for number in range(fills):
        desk.put(desk.fill("SELL" if number % 3 == 2 else "BUY", symbol=f"S{number % 5}USDT"))
        if number % 10 == 9:
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_slow_client_gets_a_snapshot_and_the_others_everything(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_WAITING", 300)
    async with calling(desk, **NARROW) as channel, listening(desk) as quick:
        slow = watch(channel)
        await slow.read()
        trading = asyncio.create_task(trade(desk, 4_000))
        await quick.until(lambda mirror: len(mirror.fills) >= 4_000, timeout_seconds=100)
        await trading
        assert max(desk.doors.publisher.waiting()) <= 300

        snapshots, fills, told, message = 0, 0, 0, v1.WatchAccountResponse()
        async with asyncio.timeout(30):
            while told < desk.monitor().view.seq:  # what was on its way, then a snapshot, then what follows
                message = await slow.read()
                kind = message.WhichOneof("data")
                if kind == "snapshot":
                    snapshots += 1
                elif kind != "health":
                    assert message.prev == told or not told
                fills += kind == "fill"
                told = message.seq or told
        assert snapshots >= 1
        assert fills < 4_000
        desk.put(desk.fill("BUY", "7", symbol="NEWUSDT"))
        while message.WhichOneof("data") != "fill" or message.fill.symbol != "NEWUSDT":
            message = await slow.read()
        assert as_json(message.fill)["quantity"] == "7"


async def test_a_client_that_takes_nothing_is_cut_off_with_a_status(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, grpc_port=0, stall_seconds=0.5) as desk:
        await desk.open()
        async with calling(desk, **NARROW) as channel:
            call, other = watch(channel), watch(channel)
            reading = asyncio.create_task(end_of(other))
            await call.read()
            trading = asyncio.create_task(trade(desk, 3_000))
            await eventually(lambda: len(desk.doors.publisher) == 1, timeout_seconds=60)
            trading.cancel()
            async with asyncio.timeout(20):
                status, detail = await end_of(call)
            assert (status, "watch again with `since`" in detail) == ("RESOURCE_EXHAUSTED", True)
            assert not reading.done()
            reading.cancel()


PAUSED = textwrap.dedent(
    """
    import sys, time
    import grpc
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536)]
    with grpc.insecure_channel(sys.argv[1], options=options) as channel:
        calls = [channel.unary_stream("/account_monitor.v1.AccountMonitor/WatchAccount")(b"") for _ in range(10)]
        for call in calls:
            next(call)
        print("reads nothing more", flush=True)
        time.sleep(600)
    """
)


@contextmanager
def clients_that_read_nothing(address: str) -> Iterator[None]:
    """Ten streams of one process that took a snapshot each, and take nothing more."""
    process = subprocess.Popen([sys.executable, "-c", PAUSED, address], stdout=subprocess.PIPE)
    try:
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.slow
async def test_ten_clients_that_read_nothing_cost_a_bounded_number_of_bytes(desk: TradingDesk) -> None:
    """What 20,000 fills make, some 60,000 messages for each, is not held for clients that do not take it."""
    await trade(desk, 2_000)
    with clients_that_read_nothing(desk.doors.grpc_address):
        await eventually(lambda: len(desk.doors.publisher) == 10, timeout_seconds=20)
        gc.collect()
        before = psutil.Process().memory_info().rss
        await trade(desk, 20_000)
        assert max(desk.doors.publisher.waiting()) <= publisher.MAX_WAITING
        gc.collect()
        grown = psutil.Process().memory_info().rss - before
        assert grown < 60e6, f"{grown / 1e6:.0f} MB"
    await eventually(lambda: len(desk.doors.publisher) == 0, timeout_seconds=10)


# -- the end -------------------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_is_forgotten(desk: TradingDesk) -> None:
    async with calling(desk) as channel:
        calls = [watch(channel) for _ in range(20)]
        for call in calls:
            await call.read()
        assert len(desk.doors.publisher) == 20
        for call in calls[:10]:
            call.cancel()
        await eventually(lambda: len(desk.doors.publisher) == 10)
    await eventually(lambda: len(desk.doors.publisher) == 0)


async def test_the_end_of_the_service_is_told_to_who_watches(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, grpc_port=0) as desk:
        await desk.open()
        async with calling(desk) as channel:
            call = watch(channel)
            await call.read()
            await ask(channel, "GetPnL")
            stopping = asyncio.create_task(desk.doors.stop())
            async with asyncio.timeout(2):
                status, detail = await end_of(call)
                await stopping
            assert (status, "the service stops" in detail) == ("UNAVAILABLE", True)


def test_the_service_and_the_tests_ask_the_same_service() -> None:
    assert SERVICE.strip("/") == v1.DESCRIPTOR.services_by_name["AccountMonitor"].full_name


async def test_as_many_watchers_as_clients_are_allowed(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, grpc_port=0, max_clients=2) as desk, calling(desk) as channel:
        await desk.open()
        async with listening(desk):
            await watch(channel).read()

            status, detail = await end_of(watch(channel))

    assert (status, detail) == ("RESOURCE_EXHAUSTED", "2 clients are connected; try again later")
