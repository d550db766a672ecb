"""Orders at the venue: what is refused with which code, and what is heard of what is accepted."""

from __future__ import annotations

import pytest

from exchange_simulator.accounts import Account
from tests.venue_desk import START_MS, Desk, kinds, refused, trades

LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "99", "timeInForce": "GTC"}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def account(desk: Desk) -> Account:
    return desk.account()


@pytest.mark.parametrize(
    ("code", "parameters"),
    [
        (-1102, {"symbol": ""}),
        (-1102, {"type": ""}),
        (-1121, {"symbol": "NOPE"}),
        (-1116, {"type": "ICEBERG"}),
        (-1117, {"side": "HOLD"}),
        (-1115, {"timeInForce": "DAY"}),
        (-1102, {"quantity": "one"}),
        (-1102, {"quantity": "1e3"}),
        (-1102, {"quantity": "١"}),
        (-4003, {"quantity": "0"}),
        (-4003, {"quantity": "-1"}),
        (-1111, {"quantity": "1.0001"}),
        (-1111, {"quantity": "1.000000001"}),
        (-4005, {"quantity": "1000000.001"}),
        (-1111, {"price": "99.001"}),
        (-4014, {"price": "99.05"}),
        (-4013, {"price": "0.05"}),
        (-4001, {"price": "0"}),
        (-4016, {"price": "105.1"}),
        (-4024, {"price": "94.9", "side": "SELL"}),
        (-4164, {"quantity": "0.05"}),
        (-4060, {"positionSide": "UP"}),
        (-4061, {"positionSide": "LONG"}),
        (-2022, {"reduceOnly": "true"}),
        (-2019, {"quantity": "300"}),
        (-2027, {"quantity": "1100"}),
        (-4015, {"newClientOrderId": "x" * 37}),
        (-4040, {"timeInForce": "GTD", "goodTillDate": str(START_MS)}),
        (-4120, {"type": "STOP_MARKET"}),
        (-4120, {"type": "TRAILING_STOP_MARKET"}),
        (-1102, {"selfTradePreventionMode": "MAYBE"}),
    ],
)
def test_what_is_wrong_is_refused_with_its_code_and_changes_nothing(
    desk: Desk, account: Account, code: int, parameters: dict[str, str]
) -> None:
    before = desk.venue.books(account)
    with refused(code):
        desk.venue.place_order(account, LIMIT | parameters)

    assert desk.heard(account) == []
    assert desk.venue.books(account) == before
    assert list(account.open_orders()) == []
    assert account.history == {}


@pytest.mark.parametrize("missing", ["symbol", "side", "type", "quantity", "price", "timeInForce"])
def test_what_is_mandatory_is_named_when_it_is_missing(desk: Desk, account: Account, missing: str) -> None:
    with refused(-1102):
        desk.venue.place_order(account, {name: value for name, value in LIMIT.items() if name != missing})


def test_a_market_order_takes_no_price(desk: Desk, account: Account) -> None:
    with refused(-1106):
        desk.venue.place_order(account, MARKET | {"price": "100"})


def test_hedge_mode_wants_a_position_side_and_no_reduce_only(desk: Desk) -> None:
    account = desk.account("hedged", hedge=True)
    with refused(-4061):
        desk.venue.place_order(account, MARKET)
    with refused(-1106):
        desk.venue.place_order(account, MARKET | {"positionSide": "LONG", "reduceOnly": "true"})
    with refused(-2022):
        desk.venue.place_order(account, MARKET | {"positionSide": "SHORT"})


def test_a_client_order_id_is_free_again_once_its_order_is_no_longer_open(desk: Desk, account: Account) -> None:
    desk.venue.place_order(account, LIMIT | {"newClientOrderId": "mine"})
    with refused(-4116):
        desk.venue.place_order(account, LIMIT | {"newClientOrderId": "mine"})
    desk.venue.cancel_order(account, {"symbol": "BTCUSDT", "origClientOrderId": "mine"})

    assert desk.venue.place_order(account, LIMIT | {"newClientOrderId": "mine"})["status"] == "NEW"


def test_a_market_order_fills_in_several_parts_at_several_prices(desk: Desk, account: Account) -> None:
    desk.quote("BTCUSDT", asks="100 x 0.5, 100.1 x 0.3, 100.3 x 5")

    answer = desk.order(account, "BUY", "1", newOrderRespType="RESULT")

    heard = desk.heard(account)
    assert kinds(heard) == ["TRADE_LITE"] * 3 + ["NEW"] + ["ORDER", "TRADE"] * 3
    assert [(row["l"], row["L"], row["z"], row["X"]) for row in trades(heard)] == [
        ("0.5", "100.00", "0.5", "PARTIALLY_FILLED"),
        ("0.3", "100.10", "0.8", "PARTIALLY_FILLED"),
        ("0.2", "100.30", "1", "FILLED"),
    ]
    assert (answer["status"], answer["executedQty"], answer["avgPrice"]) == ("FILLED", "1.000", "100.09000")
    ids = [row["t"] for row in trades(heard)]
    assert ids == sorted(set(ids))


def test_an_acknowledgement_knows_nothing_of_fills(desk: Desk, account: Account) -> None:
    answer = desk.order(account, "BUY", "1")

    assert (answer["status"], answer["executedQty"], answer["cumQuote"]) == ("NEW", "0.000", "0.00000000")


def test_a_resting_order_fills_as_maker_when_the_price_goes_through_it(desk: Desk, account: Account) -> None:
    desk.order(account, "BUY", "2", "99")
    assert kinds(desk.heard(account)) == ["NEW"]
    desk.venue.set_price("BTCUSDT", "98")

    heard = desk.heard(account)
    assert kinds(heard)[:3] == ["TRADE_LITE", "ORDER", "TRADE"]
    assert sum(float(row["l"]) for row in trades(heard)) == 2
    assert {(row["L"], row["m"], row["x"]) for row in trades(heard)} == {("99.00", True, "TRADE")}
    assert desk.venue.books(account)["fees"] == {"USDT": "0.0396"}  # 0.02 % of 198


def test_accounts_trade_with_each_other_before_they_trade_with_the_market_maker(desk: Desk) -> None:
    maker, taker = desk.account("maker"), desk.account("taker")
    desk.quote("BTCUSDT", bids="99.5 x 1", asks="100.5 x 5")
    desk.order(maker, "SELL", "1", "100")
    desk.heard(maker)

    desk.order(taker, "BUY", "1.5")

    (mine,) = trades(desk.heard(maker))
    theirs = trades(desk.heard(taker))
    assert [(row["l"], row["L"]) for row in theirs] == [("1", "100.00"), ("0.5", "100.50")]
    assert (mine["t"], mine["m"], mine["S"]) == (theirs[0]["t"], True, "SELL")


@pytest.mark.parametrize(
    ("mode", "mine", "incoming"),
    [
        ("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED"),
        ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
        ("NONE", "FILLED", "FILLED"),
    ],
)
def test_self_trade_prevention(desk: Desk, account: Account, mode: str, mine: str, incoming: str) -> None:
    desk.quote("BTCUSDT", bids="99.5 x 1", asks="100.5 x 5")
    resting = desk.order(account, "SELL", "1", "100")
    taking = desk.order(account, "BUY", "1", selfTradePreventionMode=mode)

    status = {order.id: order.status for order in account.history["BTCUSDT"]}
    assert (status[resting["orderId"]], status[taking["orderId"]]) == (mine, incoming)


def test_what_is_not_filled_at_once_expires_or_rests(desk: Desk, account: Account) -> None:
    for tif, told in (("IOC", ["NEW", "EXPIRED"]), ("FOK", ["NEW", "EXPIRED"]), ("GTX", ["NEW"]), ("GTC", ["NEW"])):
        desk.quote("BTCUSDT", asks="100 x 0.5")
        desk.order(account, "BUY", "1", "99", timeInForce=tif)
        assert kinds(desk.heard(account)) == told, tif


def test_fill_or_kill_and_post_only_never_trade_halfway(desk: Desk, account: Account) -> None:
    for tif in ("FOK", "GTX"):
        desk.quote("BTCUSDT", asks="100 x 0.5, 101 x 1")
        desk.order(account, "BUY", "1", "100", timeInForce=tif)

        heard = desk.heard(account)
        assert kinds(heard) == ["NEW", "EXPIRED"]
        assert (heard[-1]["o"]["X"], heard[-1]["o"]["z"]) == ("EXPIRED", "0")


def test_immediate_or_cancel_keeps_what_it_got(desk: Desk, account: Account) -> None:
    desk.quote("BTCUSDT", asks="100 x 0.5, 101 x 1")
    desk.order(account, "BUY", "1", "100", timeInForce="IOC")

    heard = desk.heard(account)
    assert kinds(heard) == ["TRADE_LITE", "NEW", "ORDER", "TRADE", "EXPIRED"]
    assert (heard[-1]["o"]["z"], heard[-1]["o"]["l"], heard[-1]["o"]["t"]) == ("0.5", "0", 0)


def test_an_order_that_only_reduces_stops_at_flat(desk: Desk, account: Account) -> None:
    desk.fill(account, "BUY", "1", at="100")
    desk.heard(account)
    desk.quote("BTCUSDT", bids="100 x 5")
    desk.order(account, "SELL", "3", reduceOnly="true")

    assert kinds(desk.heard(account)) == ["TRADE_LITE", "NEW", "ORDER", "TRADE", "EXPIRED"]
    assert desk.venue.books(account)["positions"] == {}


def test_resting_orders_that_only_reduce_expire_with_the_position(desk: Desk, account: Account) -> None:
    desk.fill(account, "BUY", "1", at="100")
    desk.order(account, "SELL", "1", "103", reduceOnly="true")
    desk.heard(account)
    desk.fill(account, "SELL", "1", at="100")

    assert kinds(desk.heard(account))[-1] == "EXPIRED"
    assert list(account.open_orders()) == []


def test_cancelling(desk: Desk, account: Account) -> None:
    first = desk.order(account, "BUY", "1", "99")
    desk.order(account, "BUY", "1", "98")
    desk.order(account, "BUY", "1", "98", symbol="ETHUSDT")
    with refused(-2011):
        desk.venue.cancel_order(account, {"symbol": "ETHUSDT", "orderId": str(first["orderId"])})
    assert desk.venue.cancel_order(account, {"symbol": "BTCUSDT", "orderId": str(first["orderId"])})["status"] == (
        "CANCELED"
    )
    with refused(-2011):
        desk.venue.cancel_order(account, {"symbol": "BTCUSDT", "orderId": str(first["orderId"])})
    desk.venue.cancel_all_orders(account, {"symbol": "BTCUSDT"})

    assert [order.rules.symbol for order in account.open_orders()] == ["ETHUSDT"]


def test_amending_tells_of_it_and_may_trade(desk: Desk, account: Account) -> None:
    desk.quote("BTCUSDT", bids="99 x 1", asks="101 x 5")
    placed = desk.order(account, "BUY", "1", "98")
    change = {"symbol": "BTCUSDT", "side": "BUY", "orderId": str(placed["orderId"]), "quantity": "2", "price": "98"}
    desk.heard(account)

    assert desk.venue.modify_order(account, change)["origQty"] == "2.000"
    assert kinds(desk.heard(account)) == ["AMENDMENT"]
    with refused(-5027):
        desk.venue.modify_order(account, change)
    with refused(-2013):
        desk.venue.modify_order(account, change | {"orderId": "1"})
    desk.venue.modify_order(account, change | {"price": "101"})
    assert kinds(desk.heard(account)) == ["AMENDMENT", "TRADE_LITE", "ORDER", "TRADE"]
    assert desk.venue.books(account)["positions"] == {"BTCUSDT": "2"}


def test_orders_until_a_date_expire_then(desk: Desk, account: Account) -> None:
    desk.order(account, "BUY", "1", "99", timeInForce="GTD", goodTillDate=str(START_MS + 700_000))
    desk.heard(account)
    desk.now = START_MS + 699_000
    desk.venue.advance()
    assert desk.heard(account) == []
    desk.now = START_MS + 701_000
    desk.venue.advance()

    assert kinds(desk.heard(account)) == ["EXPIRED"]


def test_open_orders_bind_margin_until_they_are_gone(desk: Desk) -> None:
    account = desk.account("small", wallets={"USDT": "10"}, leverage=10)
    desk.order(account, "BUY", "0.9", "100.0", timeInForce="GTX")
    desk.venue.cancel_all_orders(account, {"symbol": "BTCUSDT"})
    desk.order(account, "BUY", "0.9", "99")
    with refused(-2019):
        desk.order(account, "BUY", "0.9", "99")
    desk.venue.cancel_all_orders(account, {"symbol": "BTCUSDT"})

    desk.order(account, "BUY", "0.9", "99")


def test_the_test_order_checks_and_does_nothing(desk: Desk, account: Account) -> None:
    assert desk.venue.test_order(account, LIMIT) == {}
    with refused(-4014):
        desk.venue.test_order(account, LIMIT | {"price": "99.05"})
    assert desk.heard(account) == []


def test_at_most_two_hundred_orders_are_open_in_one_symbol(desk: Desk) -> None:
    account = desk.account("busy", wallets={"USDT": "100000"})
    for _ in range(200):
        desk.order(account, "BUY", "0.1", "98")
    with refused(-2025):
        desk.order(account, "BUY", "0.1", "98")
