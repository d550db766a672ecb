"""Does ccxt's synchronous REST client work against the simulated exchange?"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from conformance.simulator import API_KEY, SECRET, Simulator, decimals, near, non_zero, total_of

BTC = "BTC/USDT:USDT"
ETH = "ETH/USDT:USDT"
SOL = "SOL/USDT:USDT"
UNIFIED = {"BTCUSDT": BTC, "ETHUSDT": ETH}

OPTIONS = {"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False}


def point_at(client: Any, exchange: Simulator) -> Any:
    """Replace Binance's addresses in the client's settings."""
    addresses = client.urls["api"]
    for name, address in addresses.items():
        if isinstance(address, str):
            for host in ("fapi", "api", "dapi"):
                address = address.replace(f"https://{host}.binance.com", exchange.url)
            addresses[name] = address
    return client


@pytest.fixture(scope="module")
def client(exchange: Simulator) -> Iterator[Any]:
    client = point_at(ccxt.binanceusdm({"apiKey": API_KEY, "secret": SECRET, "options": OPTIONS}), exchange)
    client.load_markets()
    yield client
    client.session.close()


def test_ccxt_reads_the_markets(client: Any) -> None:
    bitcoin = client.market(BTC)

    assert (bitcoin["id"], bitcoin["settle"], bitcoin["swap"], bitcoin["active"]) == ("BTCUSDT", "USDT", True, True)
    assert (bitcoin["precision"]["amount"], bitcoin["precision"]["price"]) == (0.001, 0.1)
    assert bitcoin["limits"]["cost"]["min"] > 0


def test_ccxt_reads_the_wallets(client: Any, exchange: Simulator) -> None:
    balance = client.fetch_balance()

    rows = balance["info"]["assets"]
    assert non_zero((row["asset"], Decimal(row["walletBalance"])) for row in rows) == exchange.wallets()
    margin_balance = next(row["marginBalance"] for row in rows if row["asset"] == "USDT")
    assert exact(balance["total"]["USDT"]) == Decimal(margin_balance)


def test_ccxt_reads_the_positions(client: Any, exchange: Simulator) -> None:
    positions = {row["symbol"]: row for row in client.fetch_positions()}

    books = exchange.books()
    assert {
        symbol: exact(row["contracts"]) * (1 if row["side"] == "long" else -1) for symbol, row in positions.items()
    } == unified(decimals(books["positions"]))
    assert {symbol: exact(row["entryPrice"]) for symbol, row in positions.items()} == unified(
        decimals(books["entry_prices"])
    )
    assert exact(positions[BTC]["markPrice"]) == near("60600")
    assert positions[BTC]["maintenanceMargin"] > 0


def test_ccxt_reads_the_trades(client: Any, exchange: Simulator) -> None:
    books = exchange.books()

    trades = {name: client.fetch_my_trades(symbol) for name, symbol in UNIFIED.items()}

    assert {name: len(rows) for name, rows in trades.items()} == books["trades"]
    fees = sum(exact(row["fee"]["cost"]) for rows in trades.values() for row in rows)
    assert {"USDT": fees} == decimals(books["fees"])
    realized = ((name, total_of(row["info"]["realizedPnl"] for row in rows)) for name, rows in trades.items())
    assert non_zero(realized) == decimals(books["realized"])
    assert [row["side"] for row in trades["BTCUSDT"]][:2] == ["buy", "sell"]


def test_ccxt_reads_the_income(client: Any, exchange: Simulator) -> None:
    books = exchange.books()

    income = client.fetch_ledger()
    funding = client.fetch_funding_history()

    signed = [
        (row["info"]["incomeType"], exact(row["amount"]) * (1 if row["direction"] == "in" else -1)) for row in income
    ]
    assert sum(amount for kind, amount in signed if kind == "COMMISSION") == -Decimal(books["fees"]["USDT"])
    assert sum(amount for kind, amount in signed if kind == "TRANSFER") == Decimal(books["transfers"]["USDT"])
    assert sum(exact(row["amount"]) for row in funding) == Decimal(books["funding"]["USDT"]) != 0
    assert {row["symbol"] for row in funding} == {BTC, ETH}


def test_ccxt_places_finds_and_cancels_an_order(client: Any) -> None:
    placed = client.create_order(BTC, "limit", "buy", 0.01, 50000.5)

    found = client.fetch_order(placed["id"], BTC)
    listed = [row["id"] for row in client.fetch_open_orders(BTC)]
    cancelled = client.cancel_order(placed["id"], BTC)

    assert (placed["status"], placed["price"], placed["amount"]) == ("open", 50000.5, 0.01)
    assert found["clientOrderId"] == placed["clientOrderId"]
    assert placed["id"] in listed
    assert cancelled["status"] == "canceled"


def test_ccxt_places_lists_and_cancels_a_conditional_order(client: Any) -> None:
    placed = client.create_order(BTC, "market", "sell", 0.01, None, {"stopLossPrice": 50000})

    listed = [row["id"] for row in client.fetch_open_orders(BTC, params={"trigger": True})]
    cancelled = client.cancel_order(placed["id"], BTC, {"trigger": True})

    assert placed["triggerPrice"] == 50000
    assert placed["id"] in listed
    assert cancelled["id"] == placed["id"]


def test_ccxt_fills_a_market_order(client: Any, exchange: Simulator) -> None:
    before = exchange.positions()["ETHUSDT"]

    placed = client.create_order(ETH, "market", "sell", 0.02)

    filled = client.fetch_order(placed["id"], ETH)
    assert (filled["status"], filled["filled"], filled["remaining"]) == ("closed", 0.02, 0.0)
    assert exchange.positions()["ETHUSDT"] == before - Decimal("0.02")


def test_ccxt_changes_settings(client: Any, exchange: Simulator) -> None:
    client.set_leverage(9, SOL)
    client.set_margin_mode("isolated", SOL)

    settings = exchange.get("/fapi/v1/symbolConfig", symbol="SOLUSDT")[0]
    assert (settings["leverage"], settings["marginType"]) == (9, "ISOLATED")
    assert client.fetch_position_mode(BTC)["hedged"] is False


def test_ccxt_reads_the_market_data(client: Any) -> None:
    assert exact(client.fetch_mark_price(BTC)["markPrice"]) == near("60600")
    assert exact(client.fetch_funding_rate(BTC)["markPrice"]) == near("60600")
    assert client.fetch_trading_fee(BTC)["taker"] > 0
    assert client.fetch_leverage_tiers([BTC])[BTC][0]["minNotional"] == 0
    assert abs(client.fetch_time() - client.milliseconds()) < 5000


def test_ccxt_understands_refusals(client: Any, exchange: Simulator) -> None:
    stranger = point_at(ccxt.binanceusdm({"apiKey": "a" * 64, "secret": SECRET, "options": OPTIONS}), exchange)

    # It knows the futures' own codes by the name of Binance's host alone: elsewhere this is no InsufficientFunds.
    with pytest.raises(ccxt.ExchangeError, match="-2019"):
        client.create_order(BTC, "market", "buy", 100)
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order("1", BTC)
    with pytest.raises(ccxt.BadSymbol):
        client.fapiPrivateGetUserTrades({"symbol": "NOSUCHUSDT"})
    with pytest.raises(ccxt.AuthenticationError):
        stranger.fapiPrivateV3GetAccount()


def test_ccxt_trades_and_reads_both_sides_in_hedge_mode(exchange: Simulator) -> None:
    account = exchange.open_account("ccxt-hedge", USDT="10000")
    client = point_at(
        ccxt.binanceusdm({"apiKey": account.api_key, "secret": account.secret, "options": OPTIONS}), account
    )
    client.load_markets()

    client.set_position_mode(True, BTC)
    client.create_order(BTC, "market", "buy", 0.02, None, {"hedged": True})
    client.create_order(BTC, "market", "sell", 0.01, None, {"hedged": True})

    sides = {(row["side"], exact(row["contracts"])) for row in client.fetch_positions() if row["hedged"]}
    assert sides == {("long", Decimal("0.02")), ("short", Decimal("0.01"))}
    assert account.positions() == {"BTCUSDT:LONG": Decimal("0.02"), "BTCUSDT:SHORT": Decimal("-0.01")}
    client.session.close()


def test_ccxt_keeps_its_listen_key_alive(client: Any) -> None:
    first = client.fapiPrivatePostListenKey()["listenKey"]

    assert client.fapiPrivatePutListenKey()["listenKey"] == first
    assert client.fapiPrivatePostListenKey()["listenKey"] == first


def exact(number: float) -> Decimal:
    """Return the decimal that a binary float was read from: ccxt's unified numbers are floats."""
    return Decimal(repr(number))


def unified(amounts: dict[str, Decimal]) -> dict[str, Decimal]:
    return {UNIFIED[symbol]: amount for symbol, amount in amounts.items()}
