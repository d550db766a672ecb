"""Slow clients of the WebSocket: they get a snapshot, the others notice nothing, and memory stays bounded."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from account_monitor.api import publisher, server
from tests.integration.trading_desk import Client, TradingDesk, eventually, get, listening, trading_desk

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, stall_seconds=60.0) as opened:
        yield opened


async def trade(desk: TradingDesk, fills: int) -> None:
    """Trade a thousand fills a second or so."""
    for number in range(fills):
        desk.put(desk.fill("SELL" if number % 3 == 2 else "BUY", symbol=f"S{number % 5}USDT"))
        if number % 10 == 9:
            await asyncio.sleep(0.01)


async def test_a_slow_client_gets_a_snapshot_and_the_others_everything(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_WAITING", 300)
    await desk.open()
    async with listening(desk) as slow, listening(desk) as quick:
        await slow.next("health")
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, *desk.doors.publisher.waiting())
                await asyncio.sleep(0.005)

        watching = asyncio.create_task(watch())
        trading = asyncio.create_task(trade(desk, 4_000))
        await quick.until(lambda mirror: len(mirror.fills) >= 4_000, timeout_seconds=60)
        await trading
        watching.cancel()

        assert sum(message["type"] == "snapshot" for message in quick.mirror.messages) == 1
        assert [fill["id"] for fill in quick.mirror.fills] == [str(n) for n in range(1, 4_001)]
        assert most <= 300

        await slow.quiet(0.5)  # it reads again: what was on its way, then a snapshot, then what follows
        account = await get(desk.doors.http_url + "/api/account")
        assert sum(message["type"] == "snapshot" for message in slow.mirror.messages) >= 2
        assert len(slow.mirror.fills) < 4_000
        assert slow.mirror.state["main"]["positions"] == account["positions"]
        assert slow.mirror.state["main"]["balances"] == account["balances"]

        desk.put(desk.fill())
        fill = await slow.next("fill")
        assert fill["data"]["id"] == "4001"


async def test_what_was_missed_is_not_held_against_who_comes_back(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_WAITING", 50)
    await desk.open()
    await desk.trade(desk.fill())
    await trade(desk, 500)
    trading = asyncio.create_task(trade(desk, 100))
    async with listening(desk, "since=1:2") as client:
        client.mirror.seqs["main"], client.mirror.epochs["main"] = 2, 1
        client.mirror.state["main"] = {"positions": {}, "balances": {}, "pnl": {}}
        await client.until(lambda mirror: len(mirror.fills) >= 600)
        await trading

    assert "snapshot" not in {message["type"] for message in client.mirror.messages}
    assert [fill["id"] for fill in client.mirror.fills] == [str(n) for n in range(2, 602)]


async def test_many_that_read_nothing_cost_little(desk: TradingDesk) -> None:
    """What waits for them is shared; each holds no more than its own buffers."""
    await desk.open()
    process = psutil.Process()
    url = desk.doors.http_url + "/ws"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sockets = [await session.ws_connect(url, max_msg_size=0) for _ in range(40)]
        await trade(desk, 500)
        gc.collect()
        before = process.memory_info().rss

        await trade(desk, 4_000)
        await desk.reach(4_501)
        gc.collect()
        grown = process.memory_info().rss - before

        # 40 × 4,000 fills × 1,400 bytes would be 220 MB; this process holds both ends of every connection.
        assert grown < 80_000_000
        assert max(desk.doors.publisher.waiting()) <= publisher.MAX_WAITING
        for socket in sockets:
            socket._response.close()  # without a goodbye


async def test_a_client_that_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, stall_seconds=0.5) as desk:
        await desk.open()
        async with listening(desk) as stalled, listening(desk) as quick:
            await stalled.next("health")
            reading = asyncio.create_task(quick.until(lambda mirror: len(mirror.fills) >= 6_000, timeout_seconds=60))
            await trade(desk, 6_000)
            await reading
            await asyncio.sleep(1.0)

            assert len(desk.doors.publisher) == 1
            async with asyncio.timeout(5):
                while (await stalled.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass  # what was on its way
            assert stalled.socket.closed


async def test_a_client_that_answers_no_ping_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PING_SECONDS", 0.2)
    async with trading_desk(tmp_path) as desk, aiohttp.ClientSession() as session:
        await desk.open()
        url = desk.doors.http_url + "/ws"
        async with session.ws_connect(url, autoping=False), session.ws_connect(url) as polite:
            reading = asyncio.create_task(_read(polite))
            await eventually(lambda: len(desk.doors.publisher) == 2)
            await eventually(lambda: len(desk.doors.publisher) == 1)
            await asyncio.sleep(0.5)
            assert len(desk.doors.publisher) == 1
            reading.cancel()


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    while not socket.closed:
        await socket.receive()


async def test_a_client_that_leaves_is_forgotten(desk: TradingDesk) -> None:
    await desk.open()
    async with listening(desk) as polite, listening(desk) as rude:
        await polite.next()
        await rude.next()
        assert len(desk.doors.publisher) == 2
        rude.socket._response.close()  # without a goodbye
    await eventually(lambda: len(desk.doors.publisher) == 0)


async def test_a_storm_of_newcomers_is_served_from_few_snapshots(desk: TradingDesk) -> None:
    """While everything moves, a hundred clients come at once: each is complete, and the loop is not held up."""
    await desk.open()
    await desk.trade(*(desk.fill(symbol=f"S{number}USDT") for number in range(50)))

    async def come() -> Client:
        async with listening(desk) as client:
            await client.until(lambda mirror: len(mirror.fills) >= 3)
            return client

    trading = asyncio.create_task(trade(desk, 500))
    clients = await asyncio.gather(*(come() for _ in range(100)))
    await trading

    assert all(client.mirror.messages[0]["type"] == "snapshot" for client in clients)
