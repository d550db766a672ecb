"""Has every answer exactly the fields and JSON types that the official SDK's models state?

The SDK itself is lenient: it takes an answer without a field, keeps unknown ones, and on a wrong type writes a warning
and goes on with looser types. Here its models are read as a contract: nothing missing, nothing unknown, no number for a
text. The same for the events of the user stream and of the mark price stream.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from binance_sdk_derivatives_trading_usds_futures.rest_api import models
from binance_sdk_derivatives_trading_usds_futures.websocket_streams import models as events

from conformance.models import differences
from conformance.simulator import Simulator

READS: dict[str, tuple[str, dict[str, str | int]]] = {
    "AccountInformationV2Response": ("/fapi/v2/account", {}),
    "AccountInformationV3Response": ("/fapi/v3/account", {}),
    "FuturesAccountBalanceV2Response": ("/fapi/v2/balance", {}),
    "FuturesAccountBalanceV3Response": ("/fapi/v3/balance", {}),
    "FuturesAccountConfigurationResponse": ("/fapi/v1/accountConfig", {}),
    "GetBnbBurnStatusResponse": ("/fapi/v1/feeBurn", {}),
    "GetCurrentMultiAssetsModeResponse": ("/fapi/v1/multiAssetsMargin", {}),
    "GetCurrentPositionModeResponse": ("/fapi/v1/positionSide/dual", {}),
    "GetIncomeHistoryResponse": ("/fapi/v1/income", {"limit": 1000}),
    "NotionalAndLeverageBracketsResponse1": ("/fapi/v1/leverageBracket", {}),
    "QueryUserRateLimitResponse": ("/fapi/v1/rateLimit/order", {}),
    "SymbolConfigurationResponse": ("/fapi/v1/symbolConfig", {}),
    "UserCommissionRateResponse": ("/fapi/v1/commissionRate", {"symbol": "BTCUSDT"}),
    "AccountTradeListResponse": ("/fapi/v1/userTrades", {"symbol": "BTCUSDT"}),
    "AllOrdersResponse": ("/fapi/v1/allOrders", {"symbol": "BTCUSDT"}),
    "CurrentAllOpenOrdersResponse": ("/fapi/v1/openOrders", {}),
    "CurrentAllAlgoOpenOrdersResponse": ("/fapi/v1/openAlgoOrders", {}),
    "QueryAllAlgoOrdersResponse": ("/fapi/v1/allAlgoOrders", {"symbol": "BTCUSDT"}),
    "PositionInformationV2Response": ("/fapi/v2/positionRisk", {}),
    "PositionInformationV3Response": ("/fapi/v3/positionRisk", {}),
    "PositionAdlQuantileEstimationResponse": ("/fapi/v1/adlQuantile", {}),
    "CheckServerTimeResponse": ("/fapi/v1/time", {}),
    "ExchangeInformationResponse": ("/fapi/v1/exchangeInfo", {}),
    "GetFundingRateHistoryResponse": ("/fapi/v1/fundingRate", {}),
    "GetFundingRateInfoResponse": ("/fapi/v1/fundingInfo", {}),
    "MarkPriceResponse1": ("/fapi/v1/premiumIndex", {"symbol": "BTCUSDT"}),
    "MarkPriceResponse2": ("/fapi/v1/premiumIndex", {}),
    "SymbolPriceTickerResponse1": ("/fapi/v1/ticker/price", {"symbol": "BTCUSDT"}),
    "SymbolPriceTickerV2Response2": ("/fapi/v2/ticker/price", {}),
    "SymbolOrderBookTickerResponse1": ("/fapi/v1/ticker/bookTicker", {"symbol": "BTCUSDT"}),
    "AssetIndexResponse2": ("/fapi/v1/assetIndex", {}),
}

WRITES: dict[str, tuple[str, str, dict[str, str | int]]] = {
    "NewOrderResponse": ("POST", "/fapi/v1/order", {"type": "MARKET", "side": "SELL", "quantity": "0.002"}),
    "ChangeInitialLeverageResponse": ("POST", "/fapi/v1/leverage", {"leverage": 21}),
    "NewAlgoOrderResponse": (
        "POST",
        "/fapi/v1/algoOrder",
        {
            "algoType": "CONDITIONAL",
            "side": "SELL",
            "type": "STOP_MARKET",
            "quantity": "0.001",
            "triggerPrice": "40000",
        },
    ),
    "CancelAllOpenOrdersResponse": ("DELETE", "/fapi/v1/allOpenOrders", {}),
}

EVENTS = {
    "ORDER_TRADE_UPDATE": events.OrderTradeUpdate,
    "ACCOUNT_UPDATE": events.AccountUpdate,
    "ACCOUNT_CONFIG_UPDATE": events.AccountConfigUpdate,
    "ALGO_UPDATE": events.AlgoUpdate,
    "TRADE_LITE": events.TradeLite,
    "MARGIN_CALL": events.MarginCall,
    "listenKeyExpired": events.ListenKeyExpired,
    "markPriceUpdate": events.MarkPriceStreamResponse,
}


@pytest.fixture(scope="module", autouse=True)
def conditional_order(exchange: Simulator) -> None:
    exchange.post(
        "/fapi/v1/algoOrder",
        algoType="CONDITIONAL",
        symbol="BTCUSDT",
        side="SELL",
        type="STOP_MARKET",
        quantity="0.010",
        triggerPrice="50000",
    )


@pytest.mark.parametrize("name", READS)
def test_official_sdk_model_and_answer_have_the_same_fields_and_types(name: str, exchange: Simulator) -> None:
    path, parameters = READS[name]

    answer = exchange.get(path, **parameters)

    assert answer not in ([], {}), "an empty answer proves nothing"
    assert sorted(set(differences(getattr(models, name), answer, path))) == []


@pytest.mark.parametrize("name", WRITES)
def test_official_sdk_model_and_answer_to_a_change_have_the_same_fields_and_types(
    name: str, exchange: Simulator
) -> None:
    method, path, parameters = WRITES[name]

    answer = (exchange.post if method == "POST" else exchange.delete)(path, symbol="BTCUSDT", **parameters)

    assert sorted(set(differences(getattr(models, name), answer, path))) == []


async def test_official_sdk_model_and_mark_price_have_the_same_fields_and_types(exchange: Simulator) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{exchange.websocket_url}/market/ws/btcusdt@markPrice@1s") as market,
    ):
        event = await market.receive_json(timeout=10)

    assert set(differences(EVENTS["markPriceUpdate"], event, event["e"])) == set()


async def test_official_sdk_models_and_events_of_the_user_stream_have_the_same_fields_and_types(
    exchange: Simulator,
) -> None:
    account = exchange.open_account("all-events", USDT="1000")
    listen_key = account.post("/fapi/v1/listenKey")["listenKey"]
    heard: list[dict[str, Any]] = []

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{exchange.websocket_url}/private/ws/{listen_key}") as stream,
        asyncio.timeout(20),
    ):
        await asyncio.to_thread(go_through_everything, account)
        while not heard or heard[-1]["e"] != "listenKeyExpired":
            heard.append(await stream.receive_json())

    assert {kind_of(event) for event in heard} >= {
        "ACCOUNT_CONFIG_UPDATE", "ALGO_UPDATE CANCELED", "ALGO_UPDATE FINISHED", "ALGO_UPDATE NEW",
        "ALGO_UPDATE TRIGGERED", "MARGIN_CALL", "TRADE_LITE",
        "ACCOUNT_UPDATE DEPOSIT", "ACCOUNT_UPDATE FUNDING_FEE", "ACCOUNT_UPDATE INSURANCE_CLEAR",
        "ACCOUNT_UPDATE ORDER", "ACCOUNT_UPDATE MARGIN_TYPE_CHANGE",
        "ORDER_TRADE_UPDATE AMENDMENT NEW", "ORDER_TRADE_UPDATE CANCELED CANCELED", "ORDER_TRADE_UPDATE NEW NEW",
        "ORDER_TRADE_UPDATE EXPIRED EXPIRED", "ORDER_TRADE_UPDATE TRADE FILLED",
    }  # fmt: skip
    assert {difference for event in heard for difference in differences(EVENTS[event["e"]], event, event["e"])} == set()


def go_through_everything(account: Simulator) -> None:
    """A long on the edge of liquidation and over it; orders amended, cancelled, expired, triggered; an expired key."""
    account.set_price("BTCUSDT", "60000")
    account.post("/fapi/v1/leverage", symbol="BTCUSDT", leverage=50)
    account.post("/fapi/v1/marginType", symbol="SOLUSDT", marginType="ISOLATED")
    account.market_order("SOLUSDT", "BUY", "1")
    account.post("/fapi/v1/marginType", symbol="ETHUSDT", marginType="ISOLATED")
    account.market_order("BTCUSDT", "BUY", "0.200")
    limit = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.002"}
    order = account.post("/fapi/v1/order", timeInForce="GTC", price="55000", **limit)["orderId"]
    account.put("/fapi/v1/order", symbol="BTCUSDT", side="BUY", orderId=order, quantity="0.003", price="55001")
    account.delete("/fapi/v1/order", symbol="BTCUSDT", orderId=order)
    account.post("/fapi/v1/order", timeInForce="IOC", price="55000", **limit)
    stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.010"}
    cancelled = account.post("/fapi/v1/algoOrder", triggerPrice="50000", **stop)["algoId"]
    account.delete("/fapi/v1/algoOrder", algoId=cancelled)
    account.post("/fapi/v1/algoOrder", triggerPrice="59500", **stop)
    account.set_price("BTCUSDT", "59400")
    account.settle_funding("0.0001")
    account.deposit("USDT", "1")
    edge = price_on_the_edge(account)
    account.set_price("BTCUSDT", str(edge))
    account.set_price("BTCUSDT", str(edge - 500))
    account.expire_listen_key()


def price_on_the_edge(account: Simulator) -> Decimal:
    """Return the price at which the margin balance is a tenth above the maintenance margin, 0.4 % of the value."""
    books = account.books()
    wallet = Decimal(account.get("/fapi/v3/account")["totalCrossWalletBalance"])
    quantity = Decimal(books["positions"]["BTCUSDT"])
    entry = Decimal(books["entry_prices"]["BTCUSDT"])
    return round((entry * quantity - wallet) / (quantity * (1 - Decimal("0.004") * Decimal("1.1"))), 1)


def kind_of(event: dict[str, Any]) -> str:
    inner = event.get("o") or event.get("a") or {}
    parts = (event["e"], inner.get("x"), inner.get("X"), inner.get("m"))
    return " ".join(part for part in parts if isinstance(part, str))  # m of an order says who was the maker
