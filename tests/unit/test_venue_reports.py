"""What the venue answers: exact fields and JSON types, how histories are paged, and that its answers agree."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_simulator import reports
from exchange_simulator.accounts import Account
from exchange_simulator.symbols import catalogue
from exchange_simulator.venue import Venue
from tests.venue_desk import START_MS, Desk, refused

D = Decimal
DAY_MS = 86_400_000


def shape(row: dict[str, Any]) -> str:
    """Name the fields of a row in order, each with its JSON type's first letter: s(tring), i(nteger), b(oolean) …"""
    return " ".join(f"{name}:{type(value).__name__[0]}" for name, value in row.items())


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def account(desk: Desk) -> Account:
    account = desk.account(wallets={"USDT": "1000", "BNB": "1"}, leverage=10)
    desk.fill(account, "BUY", "2", at="100")
    desk.fill(account, "SELL", "0.5", at="101")
    desk.order(account, "BUY", "1", "99", symbol="ETHUSDT")
    return account


V3_ASSET = (
    "asset:s walletBalance:s unrealizedProfit:s marginBalance:s maintMargin:s initialMargin:s positionInitialMargin:s "
    "openOrderInitialMargin:s crossWalletBalance:s crossUnPnl:s availableBalance:s maxWithdrawAmount:s updateTime:i"
)
RISK_V3 = (
    "symbol:s positionSide:s positionAmt:s entryPrice:s breakEvenPrice:s markPrice:s unRealizedProfit:s "
    "liquidationPrice:s isolatedMargin:s notional:s marginAsset:s isolatedWallet:s initialMargin:s maintMargin:s "
    "positionInitialMargin:s openOrderInitialMargin:s adl:i bidNotional:s askNotional:s updateTime:i"
)
ORDER = (
    "orderId:i symbol:s status:s clientOrderId:s price:s avgPrice:s origQty:s executedQty:s cumQuote:s timeInForce:s "
    "type:s reduceOnly:b closePosition:b side:s positionSide:s stopPrice:s workingType:s priceProtect:b origType:s "
    "priceMatch:s selfTradePreventionMode:s goodTillDate:i time:i updateTime:i"
)
TRADE = (
    "symbol:s id:i orderId:i pair:s side:s price:s qty:s realizedPnl:s quoteQty:s commission:s commissionAsset:s "
    "time:i positionSide:s baseQty:s marginAsset:s buyer:b maker:b"
)
INCOME = "symbol:s incomeType:s income:s asset:s time:i info:s tranId:i tradeId:s"
PREMIUM = (
    "symbol:s markPrice:s indexPrice:s estimatedSettlePrice:s lastFundingRate:s interestRate:s nextFundingTime:i time:i"
)


def test_fields_and_types_of_what_a_monitor_reads(desk: Desk, account: Account) -> None:
    venue = desk.venue
    whole = reports.account(venue, account)
    assert shape(whole["assets"][0]) == V3_ASSET
    assert shape(whole["positions"][0]) == (
        "symbol:s positionSide:s positionAmt:s unrealizedProfit:s isolatedMargin:s notional:s isolatedWallet:s "
        "initialMargin:s maintMargin:s updateTime:i"
    )
    assert shape(reports.position_risk(venue, account)[0]) == RISK_V3
    assert shape(reports.open_orders(venue, account)[0]) == ORDER
    assert shape(reports.user_trades(venue, account, "BTCUSDT")[0]) == TRADE
    assert {shape(row) for row in reports.income(venue, account)} == {INCOME}
    assert shape(reports.balance(venue, account)[0]) == (
        "accountAlias:s asset:s balance:s crossWalletBalance:s crossUnPnl:s availableBalance:s maxWithdrawAmount:s "
        "marginAvailable:b updateTime:i"
    )
    premium = reports.premium_index(venue, "BTCUSDT")
    assert isinstance(premium, dict)
    assert shape(premium) == PREMIUM
    assert shape(reports.symbol_config(venue, account)[0]) == (
        "symbol:s marginType:s isAutoAddMargin:b leverage:i maxNotionalValue:s"
    )
    assert shape(reports.mark_prices(venue)[0]) == "e:s E:i s:s p:s ap:s P:s i:s r:s T:i st:i"


def test_account_balance_and_risk_state_the_same_numbers(desk: Desk, account: Account) -> None:
    desk.venue.set_price("BTCUSDT", "102")
    whole = reports.account(desk.venue, account)
    (risk, waiting) = reports.position_risk(desk.venue, account)

    assert whole["totalWalletBalance"] == "1000.37475000"  # + 0.5 − 0.1 − 0.02525
    assert (risk["positionAmt"], risk["entryPrice"], risk["unRealizedProfit"]) == ("1.500", "100.0", "3.00000000")
    assert (risk["notional"], risk["initialMargin"], risk["maintMargin"]) == ("153", "15.3", "1.53")
    assert (waiting["symbol"], waiting["positionAmt"], waiting["openOrderInitialMargin"]) == ("ETHUSDT", "0.000", "9.9")
    assert whole["totalMarginBalance"] == "1003.37475000"
    assert whole["totalInitialMargin"] == "25.20000000"
    assert whole["availableBalance"] == "978.17475000"
    assert whole["maxWithdrawAmount"] == "975.17475000"  # without the 3 that are not realized
    usdt = reports.balance(desk.venue, account)[0]
    assert (usdt["balance"], usdt["availableBalance"]) == ("1000.37475000", "978.17475000")


def test_older_versions_list_every_symbol_and_asset(desk: Desk, account: Account) -> None:
    whole = reports.account(desk.venue, account, version=2)

    assert [row["symbol"] for row in whole["positions"]] == ["BTCUSDT", "ETHUSDT", "BNBUSDT", "BTCUSDC"]
    assert whole["positions"][0]["leverage"] == "10"
    assert {row["asset"] for row in whole["assets"]} > {"USDT", "USDC", "BNB"}
    assert len(reports.position_risk(desk.venue, account, version=2)) == 4
    assert {row["marginType"] for row in reports.position_risk(desk.venue, account, version=2)} == {"cross"}


def test_multi_assets_mode_sums_in_dollars(desk: Desk) -> None:
    account = desk.account(wallets={"USDT": "100", "BNB": "1"}, multi_assets=True)
    whole = reports.account(desk.venue, account)

    assert whole["totalWalletBalance"] == "600.00000000"
    assert whole["availableBalance"] == "575.00000000"  # BNB counts 5 % less


def test_a_real_fill_reads_as_on_the_venue(desk: Desk, account: Account) -> None:
    _, sold = reports.user_trades(desk.venue, account, "BTCUSDT")

    assert sold | {"id": 0, "orderId": 0} == {
        "symbol": "BTCUSDT", "id": 0, "orderId": 0, "pair": "BTCUSDT", "side": "SELL", "price": "101", "qty": "0.5",
        "realizedPnl": "0.50000000", "quoteQty": "50.50000000", "commission": "0.02525000", "commissionAsset": "USDT",
        "time": START_MS + 1, "positionSide": "BOTH", "baseQty": "0", "marginAsset": "USDT", "buyer": False,
        "maker": False,
    }  # fmt: skip


def test_commission_and_result_are_rows_of_their_own_with_the_trade_s_id(desk: Desk, account: Account) -> None:
    rows = reports.income(desk.venue, account)
    last = reports.user_trades(desk.venue, account, "BTCUSDT")[-1]

    assert [(row["incomeType"], row["income"]) for row in rows] == [
        ("COMMISSION", "-0.10000000"), ("COMMISSION", "-0.02525000"), ("REALIZED_PNL", "0.50000000"),
    ]  # fmt: skip
    assert {row["tradeId"] for row in rows[1:]} == {str(last["id"])}


# -- paging


@pytest.fixture
def trader(desk: Desk) -> Account:
    """Someone with a trade a day, ten days long, the last one now."""
    account = desk.account("trader", wallets={"USDT": "10000"})
    for day in range(10):
        desk.now = START_MS + day * DAY_MS
        desk.fill(account, "BUY", "0.1", at="100")
    return account


def days(rows: list[dict[str, Any]]) -> list[int]:
    return [(row["time"] - START_MS) // DAY_MS for row in rows]


def test_trades_default_to_the_latest_of_seven_days(desk: Desk, trader: Account) -> None:
    assert days(reports.user_trades(desk.venue, trader, "BTCUSDT")) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert days(reports.user_trades(desk.venue, trader, "BTCUSDT", limit=3)) == [7, 8, 9]


def test_trades_from_a_time_are_the_first_of_seven_days(desk: Desk, trader: Account) -> None:
    def from_day(day: int, **terms: int) -> list[int]:
        return days(reports.user_trades(desk.venue, trader, "BTCUSDT", start=START_MS + day * DAY_MS, **terms))

    assert from_day(0) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert from_day(0, limit=2) == [0, 1]
    assert from_day(1, end=START_MS + 3 * DAY_MS) == [1, 2, 3]
    with refused(-1127):
        from_day(0, end=START_MS + 7 * DAY_MS + 1)
    with refused(-1023):
        from_day(2, end=START_MS)


def test_trades_from_an_id_include_it_and_page_on_without_end(desk: Desk, trader: Account) -> None:
    ids = [trade.id for trade in trader.trades["BTCUSDT"]]
    page = reports.user_trades(desk.venue, trader, "BTCUSDT", from_id=ids[0], limit=6)
    rest = reports.user_trades(desk.venue, trader, "BTCUSDT", from_id=page[-1]["id"] + 1, limit=6)

    assert [row["id"] for row in page + rest] == ids
    assert reports.user_trades(desk.venue, trader, "BTCUSDT", from_id=ids[-1] + 1) == []
    with refused(-1128):
        reports.user_trades(desk.venue, trader, "BTCUSDT", from_id=1, start=1)


def test_trades_of_one_order(desk: Desk, trader: Account) -> None:
    wanted = trader.trades["BTCUSDT"][-2].order_id
    rows = reports.user_trades(desk.venue, trader, "BTCUSDT", order_id=wanted)

    assert [row["orderId"] for row in rows] == [wanted]


def test_nothing_is_known_of_a_symbol_that_is_not_there(desk: Desk, account: Account) -> None:
    with refused(-1121):
        reports.user_trades(desk.venue, account, "NOPE")
    with refused(-1121):
        reports.premium_index(desk.venue, "NOPE")
    assert reports.user_trades(desk.venue, account, "BNBUSDT") == []


def test_income_is_paged_from_the_oldest(desk: Desk, trader: Account) -> None:
    everything = reports.income(desk.venue, trader, start=START_MS, limit=1000)
    pages = [reports.income(desk.venue, trader, start=START_MS, limit=4, page=page) for page in (1, 2, 3, 4)]

    assert days(everything) == list(range(10))
    assert [len(page) for page in pages] == [4, 4, 2, 0]
    assert pages[0] + pages[1] + pages[2] == everything
    assert days(reports.income(desk.venue, trader)) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert reports.income(desk.venue, trader, income_type="FUNDING_FEE") == []


def test_funding_rows_stand_where_their_time_belongs(desk: Desk, trader: Account) -> None:
    """Funding is booked seconds after the time that it bears: a row may appear before one that was read already."""
    desk.now = START_MS + 10 * DAY_MS + 1_000
    desk.fill(trader, "SELL", "0.1", at="100")
    desk.now = START_MS + 10 * DAY_MS + 5_000
    desk.venue.advance()

    rows = reports.income(desk.venue, trader, start=START_MS + 10 * DAY_MS - 1)
    assert [row["incomeType"] for row in rows] == ["FUNDING_FEE", "COMMISSION"]


def test_orders_are_found_by_id_and_by_client_id(desk: Desk, account: Account) -> None:
    placed = desk.order(account, "BUY", "1", "98", newClientOrderId="mine")
    by_id = reports.order(desk.venue, account, "BTCUSDT", order_id=placed["orderId"])

    assert by_id == reports.order(desk.venue, account, "BTCUSDT", client_order_id="mine")
    assert reports.open_order(desk.venue, account, "BTCUSDT", client_order_id="mine") == by_id
    desk.venue.cancel_order(account, {"symbol": "BTCUSDT", "origClientOrderId": "mine"})
    with refused(-2013):
        reports.open_order(desk.venue, account, "BTCUSDT", client_order_id="mine")
    with refused(-2013):
        reports.order(desk.venue, account, "BTCUSDT", order_id=1)
    statuses = [row["status"] for row in reports.all_orders(desk.venue, account, "BTCUSDT")]
    assert statuses == ["FILLED", "FILLED", "CANCELED"]


# -- the market


def test_the_catalogue_is_large_and_consistent() -> None:
    listed = catalogue()
    assert sum(rules.quote == "USDT" for rules in listed) >= 20
    assert sum(rules.quote == "USDC" for rules in listed) >= 3
    for rules in listed:
        unit = 10 ** (8 - rules.price_precision)
        assert rules.tick % unit == 0, rules.symbol
        assert rules.maker_rate == ("0" if rules.quote == "USDC" else "0.0002")
        floors = [row.floor for row in rules.brackets]
        assert floors == [0, *(row.cap for row in rules.brackets[:-1])]


def test_exchange_info_describes_every_filter(desk: Desk) -> None:
    info = reports.exchange_info(Venue(clock=lambda: START_MS))
    btc = info["symbols"][0]

    assert {row["filterType"]: {k: v for k, v in row.items() if k != "filterType"} for row in btc["filters"][:3]} == {
        "PRICE_FILTER": {"minPrice": "0.1", "maxPrice": "76888100", "tickSize": "0.10"},
        "LOT_SIZE": {"minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        "MARKET_LOT_SIZE": {"minQty": "0.001", "maxQty": "125", "stepSize": "0.001"},
    }
    assert (btc["symbol"], btc["marginAsset"], btc["liquidationFee"]) == ("BTCUSDT", "USDT", "0.012500")


def test_brackets_are_numbers_and_cumulate(desk: Desk, account: Account) -> None:
    bracket = reports.leverage_bracket(desk.venue, account, "BTCUSDT")
    assert isinstance(bracket, dict)
    assert bracket["brackets"][1] == {
        "bracket": 2, "initialLeverage": 20, "notionalCap": 100_000, "notionalFloor": 10_000,
        "maintMarginRatio": 0.05, "cum": 400,
    }  # fmt: skip
    assert type(bracket["brackets"][1]["cum"]) is int


def test_the_depth_is_sorted_and_holds_the_accounts_orders(desk: Desk) -> None:
    account = desk.account()
    desk.quote("BTCUSDT", bids="99 x 1", asks="101 x 1")
    desk.order(account, "BUY", "2", "99.5")
    book = reports.depth(desk.venue, "BTCUSDT", limit=5)
    best = reports.book_ticker(desk.venue, "BTCUSDT")

    assert isinstance(best, dict)
    assert (best["bidPrice"], best["bidQty"], best["askPrice"]) == ("99.50", "2.000", "101.00")
    bids, asks = [D(row[0]) for row in book["bids"]], [D(row[0]) for row in book["asks"]]
    assert (len(bids), bids) == (5, sorted(bids, reverse=True))
    assert asks == sorted(asks)
