"""Does Binance's own SDK for USD-M futures work against the simulated exchange?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_common.errors import BadRequestError, UnauthorizedError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from binance_sdk_derivatives_trading_usds_futures.websocket_streams.models import (
    AccountConfigUpdate,
    AccountUpdate,
    OrderTradeUpdate,
)

from conformance.simulator import API_KEY, SECRET, Simulator, decimals, near, non_zero, total_of

PATIENCE_SECONDS = 10


@pytest.fixture(autouse=True)
def nothing_to_complain_about(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The SDK writes a warning where an answer does not fit its models, and then goes on: that is a failure here."""
    yield
    complaints = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    assert complaints == []


@pytest.fixture
def client(exchange: Simulator) -> DerivativesTradingUsdsFutures:
    return connect(exchange, API_KEY, SECRET)


@pytest.fixture
def rest(client: DerivativesTradingUsdsFutures) -> Any:
    return client.rest_api


def connect(exchange: Simulator, api_key: str, secret: str) -> DerivativesTradingUsdsFutures:
    return DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(api_key=api_key, api_secret=secret, base_path=exchange.url),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=exchange.websocket_url),
    )


def test_official_sdk_reads_the_wallets(rest: Any, exchange: Simulator) -> None:
    assets = rest.account_information_v3().data().assets
    balances = rest.futures_account_balance_v2().data()

    assert non_zero((row.asset, Decimal(row.wallet_balance)) for row in assets) == exchange.wallets()
    assert non_zero((row.asset, Decimal(row.balance)) for row in balances) == exchange.wallets()


def test_official_sdk_reads_the_positions(rest: Any, exchange: Simulator) -> None:
    positions = {row.symbol: row for row in rest.position_information_v3().data() if Decimal(row.position_amt)}

    assert {symbol: Decimal(row.position_amt) for symbol, row in positions.items()} == exchange.positions()
    assert {symbol: Decimal(row.entry_price) for symbol, row in positions.items()} == decimals(
        exchange.books()["entry_prices"]
    )


def test_official_sdk_reads_the_trades(rest: Any, exchange: Simulator) -> None:
    books = exchange.books()

    trades = {symbol: rest.account_trade_list(symbol).data() for symbol in books["trades"]}

    assert {symbol: len(rows) for symbol, rows in trades.items()} == books["trades"]
    realized = ((symbol, total_of(row.realized_pnl for row in rows)) for symbol, rows in trades.items())
    assert non_zero(realized) == decimals(books["realized"])
    fees = sum(Decimal(row.commission) for rows in trades.values() for row in rows)
    assert {"USDT": fees} == decimals(books["fees"])


def test_official_sdk_reads_the_income(rest: Any, exchange: Simulator) -> None:
    books = exchange.books()

    income = rest.get_income_history(limit=1000).data()

    assert total(income, "REALIZED_PNL") == sum(decimals(books["realized"]).values())
    assert total(income, "COMMISSION") == -Decimal(books["fees"]["USDT"])
    assert total(income, "FUNDING_FEE") == Decimal(books["funding"]["USDT"]) != 0
    assert total(income, "TRANSFER") == Decimal(books["transfers"]["USDT"])


def test_official_sdk_places_finds_and_cancels_an_order(rest: Any) -> None:
    placed = rest.new_order(
        symbol="BTCUSDT", side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=50000.5
    ).data()

    found = rest.query_order(symbol="BTCUSDT", order_id=placed.order_id).data()
    listed = [row.order_id for row in rest.current_all_open_orders(symbol="BTCUSDT").data()]
    cancelled = rest.cancel_order(symbol="BTCUSDT", order_id=placed.order_id).data()

    assert (placed.status, Decimal(placed.price), Decimal(placed.orig_qty)) == (
        "NEW",
        Decimal("50000.5"),
        Decimal("0.01"),
    )
    assert (found.status, found.client_order_id) == ("NEW", placed.client_order_id)
    assert placed.order_id in listed
    assert cancelled.status == "CANCELED"


def test_official_sdk_places_lists_and_cancels_a_conditional_order(rest: Any) -> None:
    placed = rest.new_algo_order(
        algo_type="CONDITIONAL", symbol="BTCUSDT", side="SELL", type="STOP_MARKET", quantity=0.01, trigger_price=50000
    ).data()

    listed = [row.algo_id for row in rest.current_all_algo_open_orders().data()]
    cancelled = rest.cancel_algo_order(algo_id=placed.algo_id).data()

    assert (placed.algo_status, Decimal(placed.trigger_price)) == ("NEW", Decimal(50000))
    assert placed.algo_id in listed
    assert cancelled.algo_id == placed.algo_id


def test_official_sdk_reads_and_changes_settings(rest: Any) -> None:
    changed = rest.change_initial_leverage(symbol="SOLUSDT", leverage=7).data()

    settings = rest.symbol_configuration(symbol="SOLUSDT").data()
    rates = rest.user_commission_rate(symbol="SOLUSDT").data()
    brackets = rest.notional_and_leverage_brackets().data().actual_instance

    assert changed.leverage == settings[0].leverage == 7
    assert Decimal(rates.taker_commission_rate) > 0
    assert {row.symbol for row in brackets} >= {"BTCUSDT", "ETHUSDT"}
    assert rest.get_current_position_mode().data().dual_side_position is False
    assert rest.get_current_multi_assets_mode().data().multi_assets_margin is False


def test_official_sdk_reads_the_market(rest: Any) -> None:
    symbols = {row.symbol: row for row in rest.exchange_information().data().symbols}
    marks = {row.symbol: row for row in rest.mark_price().data().actual_instance}

    assert symbols["BTCUSDT"].contract_type == "PERPETUAL"
    assert Decimal(marks["BTCUSDT"].mark_price) == near("60600")
    assert Decimal(rest.mark_price(symbol="ETHUSDT").data().actual_instance.mark_price) == near("2500")
    assert rest.check_server_time().data().server_time > 0


def test_official_sdk_reads_the_used_weight(rest: Any) -> None:
    limits = rest.account_information_v3().rate_limits

    assert [(limit.rateLimitType, limit.interval, limit.intervalNum) for limit in limits] == [
        ("REQUEST_WEIGHT", "MINUTE", 1)
    ]
    assert limits[0].count >= 5


def test_official_sdk_understands_refusals(rest: Any, exchange: Simulator) -> None:
    with pytest.raises(BadRequestError, match="Invalid symbol"):
        rest.account_trade_list("NOSUCHUSDT")
    with pytest.raises(BadRequestError, match="Margin is insufficient"):
        rest.new_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=100)
    with pytest.raises(BadRequestError, match="Signature"):
        connect(exchange, API_KEY, "another secret").rest_api.account_information_v3()
    with pytest.raises(UnauthorizedError, match="Invalid API-key"):
        connect(exchange, "a" * 64, SECRET).rest_api.account_information_v3()


def test_official_sdk_trades_and_reads_both_sides_in_hedge_mode(exchange: Simulator) -> None:
    account = exchange.open_account("sdk-hedge", USDT="10000")
    rest = connect(account, account.api_key, account.secret).rest_api

    rest.change_position_mode(dual_side_position="true")
    rest.new_order(symbol="BTCUSDT", side="BUY", position_side="LONG", type="MARKET", quantity=0.02)
    rest.new_order(symbol="BTCUSDT", side="SELL", position_side="SHORT", type="MARKET", quantity=0.01)

    positions = {f"{row.symbol}:{row.position_side}": row for row in rest.position_information_v3().data()}
    assert non_zero((key, Decimal(row.position_amt)) for key, row in positions.items()) == account.positions()
    assert account.positions() == {"BTCUSDT:LONG": Decimal("0.02"), "BTCUSDT:SHORT": Decimal("-0.01")}


def test_official_sdk_moves_margin_of_an_isolated_position(exchange: Simulator) -> None:
    account = exchange.open_account("sdk-isolated", USDT="10000")
    rest = connect(account, account.api_key, account.secret).rest_api

    rest.change_margin_type(symbol="BTCUSDT", margin_type="ISOLATED")
    rest.new_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.02)
    before = Decimal(rest.position_information_v3().data()[0].isolated_wallet)
    moved = rest.modify_isolated_position_margin(symbol="BTCUSDT", amount=12.5, type=1).data()
    after = Decimal(rest.position_information_v3().data()[0].isolated_wallet)

    assert (moved.code, moved.amount) == (200, 12.5)
    assert after - before == Decimal("12.5")


def test_official_sdk_keeps_its_listen_key_alive(rest: Any) -> None:
    first = rest.start_user_data_stream().data().listen_key

    assert rest.keepalive_user_data_stream().data().listen_key == first
    assert rest.start_user_data_stream().data().listen_key == first
    assert len(first) == 64


async def test_official_sdk_hears_its_own_fills_and_what_they_did_to_the_account(
    client: DerivativesTradingUsdsFutures, exchange: Simulator
) -> None:
    async with user_stream(client) as stream:
        order = client.rest_api.new_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.005).data()

        events = await events_until(stream, lambda event: is_order(event) and event.o.X == "FILLED")

    trades = exchange.get("/fapi/v1/userTrades", symbol="BTCUSDT", orderId=order.order_id)
    assert [
        (event.o.i, event.o.t, Decimal(event.o.L), Decimal(event.o.l), Decimal(event.o.n), event.o.N)
        for event in events
        if is_order(event) and event.o.x == "TRADE"
    ] == [
        (
            order.order_id, trade["id"], Decimal(trade["price"]), Decimal(trade["qty"]), Decimal(trade["commission"]),
            trade["commissionAsset"],
        )
        for trade in trades
    ]  # fmt: skip
    account = [event for event in events if is_account(event)][-1].a
    assert Decimal(account.B[0].wb) == exchange.wallets()["USDT"]
    assert Decimal(account.P[0].pa) == exchange.positions()["BTCUSDT"]


async def test_official_sdk_hears_a_transfer_and_a_setting(
    client: DerivativesTradingUsdsFutures, exchange: Simulator
) -> None:
    async with user_stream(client) as stream:
        exchange.deposit("USDT", "7.5")
        client.rest_api.change_initial_leverage(symbol="SOLUSDT", leverage=11)

        account, setting = await events_until(stream, lambda event: isinstance(event, AccountConfigUpdate))

    assert (account.a.m, Decimal(account.a.B[0].bc)) == ("DEPOSIT", Decimal("7.5"))
    assert Decimal(account.a.B[0].wb) == exchange.wallets()["USDT"]
    assert (setting.ac.s, setting.ac.l) == ("SOLUSDT", 11)


async def test_official_sdk_hears_mark_prices(client: DerivativesTradingUsdsFutures) -> None:
    streams = client.websocket_streams
    await streams.create_connection()
    prices: asyncio.Queue[Any] = asyncio.Queue()
    try:
        single = await streams.mark_price_stream(symbol="btcusdt", update_speed="1s")
        single.on("message", prices.put_nowait)
        one = await asyncio.wait_for(prices.get(), PATIENCE_SECONDS)
        await single.unsubscribe()
        every = await streams.mark_price_stream_for_all_market(update_speed="1s")
        every.on("message", lambda message: prices.put_nowait(message) if isinstance(message, list) else None)
        rows = await asyncio.wait_for(prices.get(), PATIENCE_SECONDS)
        while not isinstance(rows, list):  # one of the single stream that was already on its way
            rows = await asyncio.wait_for(prices.get(), PATIENCE_SECONDS)
    finally:
        await streams.close_connection()

    assert (one.s, one.st) == ("BTCUSDT", 1)
    assert Decimal(one.p) == near("60600")
    assert {row.s for row in rows} >= {"BTCUSDT", "ETHUSDT"}


@asynccontextmanager
async def user_stream(client: DerivativesTradingUsdsFutures) -> AsyncIterator[asyncio.Queue[Any]]:
    """Listen to the account; what comes is one of the SDK's models."""
    listen_key = client.rest_api.start_user_data_stream().data().listen_key
    streams = client.websocket_streams
    await streams.create_connection()
    events: asyncio.Queue[Any] = asyncio.Queue()
    try:
        handle = await streams.user_data(listen_key)
        handle.on("message", lambda event: events.put_nowait(event.actual_instance))
        yield events
    finally:
        await streams.close_connection()


async def events_until(stream: asyncio.Queue[Any], is_last: Callable[[Any], bool]) -> list[Any]:
    heard: list[Any] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not heard or not is_last(heard[-1]):
            heard.append(await stream.get())
    return heard


def is_order(event: Any) -> bool:
    return isinstance(event, OrderTradeUpdate)


def is_account(event: Any) -> bool:
    return isinstance(event, AccountUpdate)


def total(income: list[Any], kind: str) -> Decimal:
    return total_of(row.income for row in income if row.income_type == kind)
