"""Do ccxt's streams (ccxt.pro) work against the simulated exchange?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest

from conformance.simulator import API_KEY, SECRET, Simulator, near
from conformance.test_ccxt import BTC, ETH, OPTIONS, exact, point_at

PATIENCE_SECONDS = 10


@pytest.fixture
async def client(exchange: Simulator) -> AsyncIterator[Any]:
    client = point_at(ccxt.pro.binanceusdm({"apiKey": API_KEY, "secret": SECRET, "options": OPTIONS}), exchange)
    client.urls["api"]["ws"]["linear"] = f"{exchange.websocket_url}/ws"
    await client.load_markets()
    yield client
    await client.close()


async def test_ccxt_pro_hears_its_own_fill(client: Any, exchange: Simulator) -> None:
    trades, order = await while_watching(client.watch_my_trades(BTC), client, "buy")

    booked = exchange.get("/fapi/v1/userTrades", symbol="BTCUSDT", orderId=order["id"])[0]
    assert [(trade["id"], trade["order"], trade["side"]) for trade in trades] == [
        (str(booked["id"]), order["id"], "buy")
    ]
    assert exact(trades[0]["price"]) == Decimal(booked["price"])
    assert exact(trades[0]["amount"]) == Decimal(booked["qty"])
    assert exact(trades[0]["fee"]["cost"]) == Decimal(booked["commission"])


async def test_ccxt_pro_hears_its_order(client: Any) -> None:
    orders, placed = await while_watching(client.watch_orders(BTC), client, "sell")

    assert {order["id"] for order in orders} == {placed["id"]}


async def test_ccxt_pro_hears_the_wallet(client: Any, exchange: Simulator) -> None:
    balance, _ = await while_watching(client.watch_balance(), client, "buy")

    assert exact(balance["total"]["USDT"]) == exchange.wallets()["USDT"]


async def test_ccxt_pro_reads_the_positions_and_hears_a_change(client: Any, exchange: Simulator) -> None:
    snapshot = {row["symbol"]: row for row in await within(client.watch_positions())}
    assert {symbol: exact(row["contracts"]) for symbol, row in snapshot.items()} == {
        BTC: exchange.positions()["BTCUSDT"],
        ETH: -exchange.positions()["ETHUSDT"],
    }

    positions, _ = await while_watching(client.watch_positions(), client, "buy")

    assert [exact(row["contracts"]) for row in positions if row["symbol"] == BTC] == [exchange.positions()["BTCUSDT"]]


async def test_ccxt_pro_hears_mark_prices(client: Any) -> None:
    one = await within(client.watch_mark_price(BTC))
    every = await within(client.watch_mark_prices())

    assert exact(one["markPrice"]) == near("60600")
    assert exact(one["indexPrice"]) > 0
    assert {BTC, ETH} <= every.keys() or every.keys() <= {BTC, ETH}


async def test_ccxt_pro_keeps_its_listen_key_alive(client: Any) -> None:
    await client.authenticate({"type": "linear"})
    first = client.options["linear"]["listenKey"]

    await client.keep_alive_listen_key({"type": "linear"})

    assert client.options["linear"]["listenKey"] == first


async def while_watching(watched: Awaitable[Any], client: Any, side: str) -> tuple[Any, Any]:
    """Trade at the market as soon as the client listens; return what it hears, and the order."""
    hearing = asyncio.ensure_future(watched)
    await listening(client)
    order = await client.create_order(BTC, "market", side, 0.005)
    return await within(hearing), order


async def listening(client: Any) -> None:
    """Wait until the private socket is open: what happens before that is not heard, and never repeated."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        # The client has no event that says so.
        while not any("/private/" in url and socket.connection for url, socket in client.clients.items()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def within(awaitable: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(awaitable, PATIENCE_SECONDS)
