"""Funding, liquidation, ADL, delisting, transfers, conditional orders, settings: what the account hears."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_simulator import reports
from exchange_simulator.accounts import Account
from tests.venue_desk import START_MS, Desk, Event, kinds, refused, trades, updates

D = Decimal
HOUR_MS = 3_600_000
FUNDING_MS = START_MS + 8 * HOUR_MS


def rows_of(desk: Desk, account: Account, kind: str) -> list[Event]:
    return reports.income(desk.venue, account, income_type=kind, start=0)


# -- funding


def test_cross_funding_names_the_symbol_and_no_position() -> None:
    desk = Desk()
    account = desk.account()
    desk.fill(account, "BUY", "2", at="100")
    desk.venue.set_funding_rate("BTCUSDT", "0.0001")
    desk.heard(account)
    desk.now = FUNDING_MS + 3_245
    desk.venue.advance()
    assert updates(desk.heard(account), "FUNDING_FEE") == []
    desk.now = FUNDING_MS + 3_246
    desk.venue.advance()

    (event,) = [event for event in desk.heard(account) if event["e"] == "ACCOUNT_UPDATE"]
    assert event["T"] == FUNDING_MS + 3_246
    assert event["a"] == {
        "B": [{"a": "USDT", "wb": "999.88", "cw": "999.88", "bc": "-0.02"}],  # −2 × 100 × 0.01 %
        "P": [],
        "m": "FUNDING_FEE",
        "S": "BTCUSDT",
    }
    (row,) = rows_of(desk, account, "FUNDING_FEE")
    assert (row["time"], row["income"], row["symbol"]) == (FUNDING_MS, "-0.02000000", "BTCUSDT")


def test_both_legs_of_a_symbol_are_one_event_and_two_rows() -> None:
    desk = Desk()
    account = desk.account(hedge=True)
    desk.fill(account, "BUY", "3", at="100", positionSide="LONG")
    desk.fill(account, "SELL", "1", at="100", positionSide="SHORT")
    desk.heard(account)
    desk.venue.fund_now()

    (update,) = updates(desk.heard(account), "FUNDING_FEE")
    assert update["B"][0]["bc"] == "-0.02"
    assert [row["income"] for row in rows_of(desk, account, "FUNDING_FEE")] == ["-0.03000000", "0.01000000"]


def test_isolated_funding_moves_the_isolated_wallet_and_shows_the_position() -> None:
    desk = Desk()
    account = desk.account(leverage=10)
    desk.venue.set_margin_type(account, {"symbol": "BTCUSDT", "marginType": "ISOLATED"})
    desk.fill(account, "BUY", "2", at="100")
    desk.heard(account)
    desk.venue.fund_now()

    (update,) = updates(desk.heard(account), "FUNDING_FEE")
    assert (update["P"][0]["iw"], update["B"][0]["cw"], update["S"]) == ("19.98", "979.9", "BTCUSDT")


def test_the_old_form_sums_all_symbols_of_an_asset_and_names_none() -> None:
    desk = Desk(legacy_funding_events=True)
    account = desk.account()
    desk.fill(account, "BUY", "2", at="100")
    desk.fill(account, "BUY", "1", at="100", symbol="ETHUSDT")
    desk.heard(account)
    desk.venue.fund_now()

    (update,) = updates(desk.heard(account), "FUNDING_FEE")
    assert (update["B"][0]["bc"], "S" in update) == ("-0.03", False)
    assert desk.venue.books(account)["funding_by_symbol"] == {"BTCUSDT": "-0.02", "ETHUSDT": "-0.01"}


def test_funding_is_settled_once_each_time_however_late() -> None:
    desk = Desk(funding_interval_ms=HOUR_MS)
    account = desk.account()
    desk.fill(account, "BUY", "2", at="100")
    desk.now = START_MS + 3 * HOUR_MS + 10_000
    desk.venue.advance()
    desk.venue.advance()

    times = [row["time"] for row in rows_of(desk, account, "FUNDING_FEE")]
    assert times == [START_MS + HOUR_MS, START_MS + 2 * HOUR_MS, START_MS + 3 * HOUR_MS]


# -- liquidation and its kin


def bankrupt(desk: Desk, price: str = "91") -> Account:
    """Return an account with 100 USDT that is long 10 at 100, and let the price fall."""
    account = desk.account("risky", wallets={"USDT": "100"}, leverage=20)
    desk.fill(account, "BUY", "10", at="100")
    desk.order(account, "SELL", "1", "104")
    desk.heard(account)
    desk.venue.set_price("BTCUSDT", price)
    return account


def test_liquidation_cancels_orders_closes_without_commission_and_takes_its_fee() -> None:
    desk = Desk()
    account = bankrupt(desk, "90.9")

    heard = desk.heard(account)
    told = kinds(heard)
    assert told[0] == "CANCELED"
    assert told[-1] == "INSURANCE_CLEAR"
    new = next(event["o"] for event in heard if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "NEW")
    assert (new["o"], new["ot"], new["f"], new["S"], new["q"]) == ("LIQUIDATION", "LIQUIDATION", "IOC", "SELL", "10")
    assert new["c"].startswith("autoclose-")
    assert new["p"] == "90.05"  # bankrupt there: 99.5 below 1000, for ten
    assert {row["n"] for row in trades(heard)} == {"0"}
    assert sum(D(row["l"]) for row in trades(heard)) == 10
    notional = sum(D(row["l"]) * D(row["L"]) for row in trades(heard))
    (clear,) = updates(heard, "INSURANCE_CLEAR")[:1]
    assert D(clear["B"][0]["bc"]) == -notional / 100
    (forced,) = reports.force_orders(desk.venue, account)
    assert (forced["clientOrderId"], forced["status"]) == (new["c"], "FILLED")


def test_the_insurance_fund_fills_up_what_would_go_below_zero() -> None:
    desk = Desk()
    account = bankrupt(desk, "89")

    clears = updates(desk.heard(account), "INSURANCE_CLEAR")
    assert [D(row["B"][0]["bc"]) < 0 for row in clears] == [True, False]
    assert clears[-1]["B"][0]["wb"] == "0"
    assert desk.wallet(account) == 0


def test_an_isolated_liquidation_leaves_the_rest_of_the_wallet_alone() -> None:
    desk = Desk()
    account = desk.account(leverage=10)
    desk.venue.set_margin_type(account, {"symbol": "BTCUSDT", "marginType": "ISOLATED"})
    desk.fill(account, "BUY", "5", at="100")
    desk.venue.set_price("BTCUSDT", "89")

    assert desk.venue.books(account)["positions"] == {}
    assert desk.wallet(account) == D("949.75")  # 1000 − 0.25 fee − 50 isolated: not more


def test_liquidations_may_be_told_as_calculated() -> None:
    desk = Desk(calculated_liquidations=True)
    heard = desk.heard(bankrupt(desk, "90.9"))

    assert {row["x"] for row in trades(heard)} == {"CALCULATED"}


def test_a_margin_call_warns_before_and_once() -> None:
    desk = Desk()
    account = bankrupt(desk, "91.1")
    desk.venue.set_price("BTCUSDT", "91.05")

    calls = [event for event in desk.heard(account) if event["e"] == "MARGIN_CALL"]
    (call,) = calls
    assert list(call) == ["e", "E", "cw", "p"]
    (row,) = call["p"]
    assert (row["s"], row["mt"], row["mp"], row["mm"]) == ("BTCUSDT", "CROSSED", "91.1", "9.11")


def test_adl_closes_at_the_mark_price_without_commission() -> None:
    desk = Desk()
    account = desk.account()
    desk.fill(account, "SELL", "2", at="100")
    desk.heard(account)
    desk.venue.adl(account, "BTCUSDT", quantity="0.5")

    (trade,) = trades(desk.heard(account))
    assert trade["c"].startswith("adl_autoclose")
    assert (trade["l"], trade["L"], trade["n"], trade["S"]) == ("0.5", "100.00", "0", "BUY")
    assert [row["symbol"] for row in reports.force_orders(desk.venue, account, auto_close_type="ADL")] == ["BTCUSDT"]
    assert reports.force_orders(desk.venue, account, auto_close_type="LIQUIDATION") == []


def test_a_delisted_symbol_is_settled_and_no_longer_traded() -> None:
    desk = Desk()
    account = desk.account()
    desk.fill(account, "BUY", "2", at="100")
    desk.heard(account)
    desk.venue.delist("BTCUSDT")

    (trade,) = trades(desk.heard(account))
    assert trade["c"].startswith("settlement_autoclose-")
    assert desk.venue.books(account)["positions"] == {}
    with refused(-4140):
        desk.order(account, "BUY", "1")


# -- money


def test_transfers_change_the_wallet_and_leave_a_row() -> None:
    desk = Desk()
    account = desk.account()
    first = desk.venue.deposit(account, "USDT", "50")
    desk.venue.withdraw(account, "USDT", D("20.5"))
    desk.venue.deposit(account, "BNB", "2", reason="ADMIN_DEPOSIT")

    heard = desk.heard(account)
    assert kinds(heard) == ["DEPOSIT", "WITHDRAW", "ADMIN_DEPOSIT"]
    assert [event["a"]["B"][0]["bc"] for event in heard] == ["50", "-20.5", "2"]
    rows = rows_of(desk, account, "TRANSFER")
    assert [row["income"] for row in rows] == ["50.00000000", "-20.50000000", "2.00000000"]
    assert rows[0]["tranId"] == first["tranId"]
    assert desk.venue.books(account)["transfers"] == {"BNB": "2", "USDT": "29.5"}


def test_only_free_money_may_leave() -> None:
    desk = Desk()
    account = desk.account(leverage=10)
    desk.fill(account, "BUY", "5", at="100")
    desk.heard(account)

    with refused(-5013):
        desk.venue.withdraw(account, "USDT", "950")
    with refused(-5013):
        desk.venue.withdraw(account, "BNB", "1")
    assert desk.heard(account) == []
    desk.venue.withdraw(account, "USDT", "949")


def test_exchanges_move_two_assets() -> None:
    desk = Desk()
    account = desk.account(wallets={"USDT": "1000", "BNB": "1"})
    desk.venue.auto_exchange(account, "BNB", "USDT", "0.5")
    desk.venue.swap(account, "USDT", "BNB", "100")

    heard = desk.heard(account)
    assert kinds(heard) == ["AUTO_EXCHANGE", "COIN_SWAP_WITHDRAW", "COIN_SWAP_DEPOSIT"]
    assert [row["bc"] for row in heard[0]["a"]["B"]] == ["-0.5", "250"]
    assert desk.venue.books(account)["wallets"] == {"BNB": "0.7", "USDT": "1150"}


# -- settings


def test_settings_are_told_refused_or_silent() -> None:
    desk = Desk()
    account = desk.account()
    assert desk.venue.set_leverage(account, {"symbol": "BTCUSDT", "leverage": "100"}) == {
        "symbol": "BTCUSDT", "leverage": 100, "maxNotionalValue": "10000",
    }  # fmt: skip
    desk.venue.set_multi_assets(account, {"multiAssetsMargin": "true"})
    desk.venue.set_position_mode(account, {"dualSidePosition": "true"})

    assert [event.get("ac") or event.get("ai") for event in desk.heard(account)] == [
        {"s": "BTCUSDT", "l": 100}, {"j": True},
    ]  # fmt: skip
    for code, change, parameters in (
        (-4028, desk.venue.set_leverage, {"symbol": "BTCUSDT", "leverage": "101"}),
        (-4171, desk.venue.set_multi_assets, {"multiAssetsMargin": "true"}),
        (-4059, desk.venue.set_position_mode, {"dualSidePosition": "true"}),
        (-4046, desk.venue.set_margin_type, {"symbol": "BTCUSDT", "marginType": "CROSSED"}),
        (-4168, desk.venue.set_margin_type, {"symbol": "BTCUSDT", "marginType": "ISOLATED"}),
        (-4054, desk.venue.change_position_margin,
         {"symbol": "BTCUSDT", "positionSide": "LONG", "amount": "1", "type": "1"}),
    ):  # fmt: skip
        with refused(code):
            change(account, parameters)


def test_the_position_mode_stays_while_anything_is_open() -> None:
    desk = Desk()
    account = desk.account()
    desk.order(account, "BUY", "1", "99")
    with refused(-4067):
        desk.venue.set_position_mode(account, {"dualSidePosition": "true"})
    desk.venue.set_price("BTCUSDT", "98")
    with refused(-4068):
        desk.venue.set_position_mode(account, {"dualSidePosition": "true"})


def test_isolated_margin_is_added_and_taken_back() -> None:
    desk = Desk()
    account = desk.account(leverage=10)
    desk.venue.set_margin_type(account, {"symbol": "BTCUSDT", "marginType": "ISOLATED"})
    desk.fill(account, "BUY", "2", at="100")
    desk.heard(account)
    terms = {"symbol": "BTCUSDT", "amount": "5"}
    desk.venue.change_position_margin(account, terms | {"type": "1"})
    desk.venue.change_position_margin(account, terms | {"type": "2"})
    with refused(-4051):
        desk.venue.change_position_margin(account, terms | {"type": "2"})

    assert [row["P"][0]["iw"] for row in updates(desk.heard(account), "MARGIN_TRANSFER")] == ["25", "20"]


# -- conditional orders


def stop(desk: Desk, account: Account, **parameters: str) -> Event:
    terms = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "1",
             "triggerPrice": "98"}  # fmt: skip
    return desk.venue.place_algo_order(account, terms | parameters)


def test_a_stop_is_triggered_sent_filled_and_finished() -> None:
    desk = Desk()
    account = desk.account()
    desk.fill(account, "BUY", "1", at="100")
    placed = stop(desk, account, reduceOnly="true")
    desk.heard(account)
    desk.venue.set_price("BTCUSDT", "98")

    heard = desk.heard(account)
    told = kinds(heard)
    assert told[:2] == ["ALGO TRIGGERING", "ALGO TRIGGERED"]
    assert told[-1] == "ALGO FINISHED"
    assert "NEW" in told
    last = heard[-1]["o"]
    fill = trades(heard)[-1]
    assert (last["aid"], last["ai"], last["aq"]) == (placed["algoId"], str(fill["i"]), "1")
    assert (fill["o"], fill["ot"], fill["sp"]) == ("MARKET", "STOP_MARKET", "98.00")
    assert desk.venue.books(account)["positions"] == {}
    assert reports.all_algo_orders(desk.venue, account, "BTCUSDT")[0]["algoStatus"] == "FINISHED"


def test_a_stop_with_nothing_to_close_is_rejected_when_triggered() -> None:
    desk = Desk()
    account = desk.account()
    desk.fill(account, "BUY", "1", at="100")
    stop(desk, account, reduceOnly="true")
    desk.fill(account, "SELL", "1", at="100")
    desk.heard(account)
    desk.venue.set_price("BTCUSDT", "97")

    heard = desk.heard(account)
    assert kinds(heard) == ["ALGO TRIGGERING", "ALGO REJECTED"]
    assert heard[-1]["o"]["rm"] == "ReduceOnly Order is rejected."


def test_closing_the_whole_position_takes_its_size_at_that_time() -> None:
    desk = Desk()
    account = desk.account()
    desk.fill(account, "BUY", "1", at="100")
    desk.venue.place_algo_order(account, {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL",
                                          "type": "TAKE_PROFIT_MARKET", "triggerPrice": "103",
                                          "closePosition": "true"})  # fmt: skip
    desk.fill(account, "BUY", "1.5", at="100")
    desk.venue.set_price("BTCUSDT", "104")

    assert desk.venue.books(account)["positions"] == {}


def test_a_trailing_stop_follows_the_best_price() -> None:
    desk = Desk()
    account = desk.account()
    desk.fill(account, "BUY", "1", at="100")
    desk.venue.place_algo_order(account, {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL",
                                          "type": "TRAILING_STOP_MARKET", "quantity": "1", "callbackRate": "2",
                                          "reduceOnly": "true"})  # fmt: skip
    for price in ("104", "108", "106"):
        desk.venue.set_price("BTCUSDT", price)
        assert desk.venue.books(account)["positions"] == {"BTCUSDT": "1"}
    desk.venue.set_price("BTCUSDT", "105.8")  # 108 less 2 % is 105.84

    assert desk.venue.books(account)["positions"] == {}


@pytest.mark.parametrize(
    ("code", "parameters"),
    [
        (-1102, {"algoType": "VP"}),
        (-1116, {"type": "LIMIT"}),
        (-2021, {"triggerPrice": "101"}),
        (-1102, {"triggerPrice": ""}),
        (-4014, {"triggerPrice": "98.05"}),
        (-1111, {"quantity": "0.0001"}),
        (-1106, {"price": "98"}),
        (-4001, {"type": "STOP", "price": "0"}),
    ],
)
def test_conditional_orders_are_refused_with_their_codes(code: int, parameters: dict[str, str]) -> None:
    desk = Desk()
    account = desk.account()
    with refused(code):
        stop(desk, account, **parameters)
    assert desk.heard(account) == []


def test_conditional_orders_are_cancelled_one_by_one_or_all() -> None:
    desk = Desk()
    account = desk.account()
    first, _ = stop(desk, account, clientAlgoId="a"), stop(desk, account, clientAlgoId="b")
    with refused(-4116):
        stop(desk, account, clientAlgoId="b")
    desk.venue.cancel_algo_order(account, {"algoId": str(first["algoId"])})
    desk.venue.cancel_all_algo_orders(account, {"symbol": "BTCUSDT"})

    assert kinds(desk.heard(account)) == ["ALGO NEW", "ALGO NEW", "ALGO CANCELED", "ALGO CANCELED"]
    with refused(-2011):
        desk.venue.cancel_algo_order(account, {"clientAlgoId": "a"})
