"""Does python-binance work against the simulated exchange?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from binance import AsyncClient, BinanceAPIException, BinanceSocketManager

from conformance.simulator import API_KEY, SECRET, Simulator, decimals, near, non_zero, total_of

PATIENCE_SECONDS = 10


async def connect(exchange: Simulator, api_key: str = API_KEY, secret: str = SECRET) -> Any:
    class LocalClient(AsyncClient):
        API_URL = f"{exchange.url}/api"
        MARGIN_API_URL = f"{exchange.url}/sapi"
        FUTURES_URL = f"{exchange.url}/fapi"
        FUTURES_DATA_URL = f"{exchange.url}/futures/data"
        WS_API_URL = f"{exchange.websocket_url}/ws-api/v3"
        WS_FUTURES_URL = f"{exchange.websocket_url}/ws-fapi/v1"

    return await LocalClient.create(api_key, secret)


@pytest.fixture
async def client(exchange: Simulator) -> AsyncIterator[Any]:
    client = await connect(exchange)
    yield client
    await client.close_connection()


@pytest.fixture
def sockets(client: Any, exchange: Simulator) -> Any:
    class LocalSockets(BinanceSocketManager):
        STREAM_URL = f"{exchange.websocket_url}/"
        FSTREAM_URL = f"{exchange.websocket_url}/"

    return LocalSockets(client)


async def test_python_binance_reads_the_wallets(client: Any, exchange: Simulator) -> None:
    account = await client.futures_account()
    balance = await client.futures_account_balance()

    assert non_zero((row["asset"], Decimal(row["walletBalance"])) for row in account["assets"]) == exchange.wallets()
    assert non_zero((row["asset"], Decimal(row["balance"])) for row in balance) == exchange.wallets()
    assert account["canTrade"] is True


async def test_python_binance_reads_the_positions(client: Any, exchange: Simulator) -> None:
    positions = [row for row in await client.futures_position_information() if Decimal(row["positionAmt"])]

    books = exchange.books()
    assert {row["symbol"]: Decimal(row["positionAmt"]) for row in positions} == decimals(books["positions"])
    assert {row["symbol"]: Decimal(row["entryPrice"]) for row in positions} == decimals(books["entry_prices"])


async def test_python_binance_reads_the_trades(client: Any, exchange: Simulator) -> None:
    books = exchange.books()

    trades = {symbol: await client.futures_account_trades(symbol=symbol) for symbol in books["trades"]}

    assert {symbol: len(rows) for symbol, rows in trades.items()} == books["trades"]
    realized = ((symbol, total_of(row["realizedPnl"] for row in rows)) for symbol, rows in trades.items())
    assert non_zero(realized) == decimals(books["realized"])
    fees = sum(Decimal(row["commission"]) for rows in trades.values() for row in rows)
    assert {"USDT": fees} == decimals(books["fees"])


async def test_python_binance_reads_the_income(client: Any, exchange: Simulator) -> None:
    books = exchange.books()

    income = await client.futures_income_history(limit=1000)

    def total(kind: str) -> Decimal:
        return total_of(row["income"] for row in income if row["incomeType"] == kind)

    assert total("REALIZED_PNL") == sum(decimals(books["realized"]).values())
    assert total("COMMISSION") == -Decimal(books["fees"]["USDT"])
    assert total("FUNDING_FEE") == Decimal(books["funding"]["USDT"]) != 0
    assert total("TRANSFER") == Decimal(books["transfers"]["USDT"])


async def test_python_binance_places_finds_and_cancels_an_order(client: Any) -> None:
    placed = await client.futures_create_order(
        symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.010", price="50000.5"
    )

    found = await client.futures_get_order(symbol="BTCUSDT", orderId=placed["orderId"])
    listed = [row["orderId"] for row in await client.futures_get_open_orders(symbol="BTCUSDT")]
    cancelled = await client.futures_cancel_order(symbol="BTCUSDT", orderId=placed["orderId"])

    assert (placed["status"], Decimal(placed["price"])) == ("NEW", Decimal("50000.5"))
    assert found["clientOrderId"] == placed["clientOrderId"]
    assert placed["orderId"] in listed
    assert cancelled["status"] == "CANCELED"


async def test_python_binance_places_and_cancels_a_conditional_order(client: Any) -> None:
    placed = await client.futures_create_order(
        symbol="BTCUSDT", side="SELL", type="STOP_MARKET", quantity="0.010", triggerPrice="50000"
    )

    listed = [row["algoId"] for row in await client.futures_get_open_algo_orders()]
    cancelled = await client.futures_cancel_algo_order(algoId=placed["algoId"])

    assert placed["algoId"] in listed
    assert cancelled["algoId"] == placed["algoId"]


async def test_python_binance_cancels_all_orders_of_a_symbol(client: Any) -> None:
    for price in ("50", "51"):
        await client.futures_create_order(
            symbol="SOLUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="1", price=price
        )

    answer = await client.futures_cancel_all_open_orders(symbol="SOLUSDT")

    assert answer["code"] == 200
    assert await client.futures_get_open_orders(symbol="SOLUSDT") == []


async def test_python_binance_changes_settings(client: Any) -> None:
    changed = await client.futures_change_leverage(symbol="SOLUSDT", leverage=9)
    await client.futures_change_margin_type(symbol="SOLUSDT", marginType="ISOLATED")

    settings = await client.futures_symbol_config(symbol="SOLUSDT")
    assert (changed["leverage"], settings[0]["leverage"], settings[0]["marginType"]) == (9, 9, "ISOLATED")
    assert (await client.futures_get_position_mode())["dualSidePosition"] is False


async def test_python_binance_reads_the_market(client: Any) -> None:
    symbols = {row["symbol"] for row in (await client.futures_exchange_info())["symbols"]}

    assert {"BTCUSDT", "ETHUSDT"} <= symbols
    assert Decimal((await client.futures_mark_price(symbol="BTCUSDT"))["markPrice"]) == near("60600")
    assert Decimal((await client.futures_symbol_ticker(symbol="BTCUSDT"))["price"]) > 0
    assert Decimal((await client.futures_commission_rate(symbol="BTCUSDT"))["takerCommissionRate"]) > 0


async def test_python_binance_understands_refusals(client: Any, exchange: Simulator) -> None:
    stranger = await connect(exchange, "a" * 64)
    forger = await connect(exchange, secret="another secret")

    assert await code_of(client.futures_account_trades(symbol="NOSUCHUSDT")) == -1121
    assert (
        await code_of(client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="100")) == -2019
    )
    assert await code_of(stranger.futures_account()) == -2015
    assert await code_of(forger.futures_account()) == -1022
    await stranger.close_connection()
    await forger.close_connection()


async def test_python_binance_keeps_its_listen_key_alive(client: Any) -> None:
    first = await client.futures_stream_get_listen_key()

    assert (await client.futures_stream_keepalive(first))["listenKey"] == first
    assert await client.futures_stream_get_listen_key() == first


async def test_python_binance_hears_its_own_fills_and_what_they_did_to_the_account(
    client: Any, sockets: Any, exchange: Simulator
) -> None:
    async with sockets.futures_user_socket() as socket:
        order = await client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.005")

        events = await events_until_filled(socket)

    trades = exchange.get("/fapi/v1/userTrades", symbol="BTCUSDT", orderId=order["orderId"])
    fills = [event["o"] for event in events if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE"]
    assert [(fill["t"], Decimal(fill["L"]), Decimal(fill["l"]), Decimal(fill["n"])) for fill in fills] == [
        (trade["id"], Decimal(trade["price"]), Decimal(trade["qty"]), Decimal(trade["commission"])) for trade in trades
    ]
    account = [event["a"] for event in events if event["e"] == "ACCOUNT_UPDATE"][-1]
    assert Decimal(account["B"][0]["wb"]) == exchange.wallets()["USDT"]
    assert Decimal(account["P"][0]["pa"]) == exchange.positions()["BTCUSDT"]


async def test_python_binance_hears_mark_prices(sockets: Any) -> None:
    async with sockets.symbol_mark_price_socket("BTCUSDT", fast=True) as prices:
        message = await asyncio.wait_for(prices.recv(), PATIENCE_SECONDS)

    assert message["stream"] == "btcusdt@markPrice@1s"
    assert Decimal(message["data"]["p"]) == near("60600")


async def events_until_filled(socket: Any) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not heard or heard[-1].get("o", {}).get("X") != "FILLED":
            heard.append(await socket.recv())
    return heard


async def code_of(call: Any) -> int:
    with pytest.raises(BinanceAPIException) as refusal:
        await call
    return int(refusal.value.code)
