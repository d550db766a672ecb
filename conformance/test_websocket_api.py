"""Do the clients' requests over a WebSocket work, and Spot's user stream, which is such a request?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest
from binance import BinanceAPIException, BinanceSocketManager
from binance_common.configuration import ConfigurationWebSocketAPI
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from binance_sdk_derivatives_trading_usds_futures.websocket_api import models

from conformance.models import differences
from conformance.simulator import API_KEY, SECRET, Simulator, non_zero
from conformance.test_ccxt import BTC, OPTIONS, point_at
from conformance.test_python_binance import connect

PATIENCE_SECONDS = 10


@pytest.fixture
async def official(exchange: Simulator) -> AsyncIterator[Any]:
    client = DerivativesTradingUsdsFutures(
        config_ws_api=ConfigurationWebSocketAPI(
            api_key=API_KEY, api_secret=SECRET, stream_url=f"{exchange.websocket_url}/ws-fapi/v1"
        )
    )
    await client.websocket_api.create_connection()
    yield client.websocket_api
    await client.websocket_api.close_connection()


@pytest.fixture(autouse=True)
def nothing_to_complain_about(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The official SDK writes a warning where an answer is no use to it, and then goes on: that is a failure here."""
    yield
    complaints = [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in complaints if record.name == "root"] == []


async def test_official_sdk_reads_the_account_over_a_websocket(official: Any, exchange: Simulator) -> None:
    account = (await official.account_information_v2()).data().result
    balances = (await official.futures_account_balance_v2()).data().result
    positions = (await official.position_information_v2()).data().result

    assert non_zero((row.asset, Decimal(row.wallet_balance)) for row in account.assets) == exchange.wallets()
    assert non_zero((row.asset, Decimal(row.balance)) for row in balances) == exchange.wallets()
    assert non_zero((row.symbol, Decimal(row.position_amt)) for row in positions) == exchange.positions()


async def test_official_sdk_places_finds_modifies_and_cancels_an_order_over_a_websocket(official: Any) -> None:
    placed = (
        await official.new_order(
            symbol="BTCUSDT", side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=50000.5
        )
    ).data().result  # fmt: skip

    found = (await official.query_order(symbol="BTCUSDT", order_id=placed.order_id)).data().result
    modified = (
        await official.modify_order(symbol="BTCUSDT", side="BUY", quantity=0.02, price=50001, order_id=placed.order_id)
    ).data().result  # fmt: skip
    cancelled = (await official.cancel_order(symbol="BTCUSDT", order_id=placed.order_id)).data().result

    assert (found.order_id, found.status) == (placed.order_id, "NEW")
    assert (Decimal(modified.orig_qty), Decimal(modified.price)) == (Decimal("0.02"), Decimal(50001))
    assert cancelled.status == "CANCELED"


async def test_official_sdk_keeps_its_listen_key_alive_over_a_websocket(official: Any, exchange: Simulator) -> None:
    listen_key = (await official.start_user_data_stream()).data().result.listen_key

    kept = (await official.keepalive_user_data_stream()).data()

    assert listen_key == kept.result.listen_key == exchange.post("/fapi/v1/listenKey")["listenKey"]
    assert [(limit.rate_limit_type, limit.limit) for limit in kept.rate_limits] == [("REQUEST_WEIGHT", 2400)]


@pytest.mark.parametrize(
    ("method", "model"),
    [
        ("account.status", models.AccountInformationResponse),
        ("v2/account.status", models.AccountInformationV2Response),
        ("account.balance", models.FuturesAccountBalanceResponse),
        ("v2/account.balance", models.FuturesAccountBalanceV2Response),
        ("account.position", models.PositionInformationResponse),
        ("v2/account.position", models.PositionInformationV2Response),
    ],
)
async def test_official_sdk_models_and_answers_over_a_websocket_have_the_same_fields_and_types(
    method: str, model: Any, official: Any
) -> None:
    sent = await official.send_signed_message({"method": method, "params": {}}, api_key=True)

    assert set(differences(model, sent.data(), method)) == set()


async def test_python_binance_reads_and_trades_over_a_websocket(exchange: Simulator) -> None:
    client = await connect(exchange)
    try:
        account = await client.ws_futures_v2_account_status()
        positions = await client.ws_futures_v2_account_position()
        placed = await client.ws_futures_create_order(
            symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.100", price="2400"
        )
        cancelled = await client.ws_futures_cancel_order(symbol="ETHUSDT", orderId=placed["orderId"])
        with pytest.raises(BinanceAPIException) as refusal:
            await client.ws_futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="100")
    finally:
        await client.close_connection()

    assert non_zero((row["asset"], Decimal(row["walletBalance"])) for row in account["assets"]) == exchange.wallets()
    assert non_zero((row["symbol"], Decimal(row["positionAmt"])) for row in positions) == exchange.positions()
    assert (placed["status"], cancelled["status"]) == ("NEW", "CANCELED")
    assert refusal.value.code == -2019


async def test_python_binance_opens_and_closes_spots_user_stream(exchange: Simulator) -> None:
    client = await connect(exchange)

    class LocalSockets(BinanceSocketManager):
        STREAM_URL = f"{exchange.websocket_url}/"

    try:
        async with LocalSockets(client).user_socket() as socket:
            assert socket is not None
        account = await client.get_account()
    finally:
        await client.close_connection()

    assert "balances" in account


async def test_ccxt_reads_and_trades_over_a_websocket(exchange: Simulator) -> None:
    client = point_at(ccxt.pro.binanceusdm({"apiKey": API_KEY, "secret": SECRET, "options": OPTIONS}), exchange)
    client.urls["api"]["ws"]["ws-api"]["linear"] = f"{exchange.websocket_url}/ws-fapi/v1"
    try:
        await client.load_markets()
        async with asyncio.timeout(PATIENCE_SECONDS):
            balance = await client.fetch_balance_ws()
            positions = await client.fetch_positions_ws([BTC])
            placed = await client.create_order_ws(BTC, "limit", "buy", 0.01, 50000.5)
            cancelled = await client.cancel_order_ws(placed["id"], BTC)
            with pytest.raises(ccxt.ExchangeError):
                await client.create_order_ws(BTC, "market", "buy", 100)
    finally:
        await client.close()

    assert balance["total"]["USDT"] > 0
    assert [Decimal(repr(row["contracts"])) for row in positions] == [exchange.positions()["BTCUSDT"]]
    assert (placed["status"], cancelled["status"]) == ("open", "canceled")
