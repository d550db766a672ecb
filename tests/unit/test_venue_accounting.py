"""The venue's books: what a fill does to position and wallet, in numbers that one can check by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_simulator.money import commission, parse, profit, trimmed, units
from exchange_simulator.positions import Position
from tests.venue_desk import Desk, plain_rules, trades, updates

D = Decimal


def test_opening_adding_and_reducing_keep_the_average_price() -> None:
    desk = Desk()
    account = desk.account()

    desk.fill(account, "BUY", "1", at="100")
    desk.fill(account, "BUY", "1", at="104")
    desk.fill(account, "SELL", "0.5", at="103")

    books = desk.venue.books(account)
    assert books["positions"] == {"BTCUSDT": "1.5"}
    assert books["entry_prices"] == {"BTCUSDT": "102"}
    assert books["realized"] == {"BTCUSDT": "0.5"}  # (103 − 102) × 0.5
    assert books["fees"] == {"USDT": "0.12775"}  # 0.05 % of 100 + 104 + 51.5
    assert books["wallets"] == {"USDT": "1000.37225"}
    assert books["trades"] == {"BTCUSDT": 3}


def test_crossing_zero_realizes_only_the_closed_part() -> None:
    desk = Desk()
    account = desk.account()

    desk.fill(account, "BUY", "1", at="100")
    desk.heard(account)
    desk.fill(account, "SELL", "3", at="120")

    (trade,) = trades(desk.heard(account))
    assert trade["rp"] == "20.00000000"
    books = desk.venue.books(account)
    assert (books["positions"], books["entry_prices"]) == ({"BTCUSDT": "-2"}, {"BTCUSDT": "120"})


def test_realized_results_are_over_the_life_of_the_account() -> None:
    desk = Desk()
    account = desk.account()
    for bought, sold in (("100", "101"), ("100", "98")):
        desk.fill(account, "BUY", "1", at=bought)
        desk.fill(account, "SELL", "1", at=sold)

    (row,) = updates(desk.heard(account), "ORDER")[-1]["P"]
    assert (row["pa"], row["ep"], row["bep"], row["up"], row["cr"]) == ("0", "0", "0", "0", "-1")


def test_hedge_mode_keeps_two_books() -> None:
    desk = Desk()
    account = desk.account(hedge=True)

    desk.fill(account, "BUY", "2", at="100", positionSide="LONG")
    desk.fill(account, "SELL", "1", at="102", positionSide="SHORT")
    desk.fill(account, "BUY", "1", at="101", positionSide="SHORT")

    books = desk.venue.books(account)
    assert books["positions"] == {"BTCUSDT:LONG": "2"}
    assert books["realized"] == {"BTCUSDT:SHORT": "1"}


def test_fees_in_bnb_cost_a_tenth_less_and_leave_the_margin_asset_alone() -> None:
    desk = Desk()
    account = desk.account(wallets={"USDT": "1000", "BNB": "1"}, fee_burn=True)

    desk.fill(account, "BUY", "2", at="100")

    heard = desk.heard(account)
    (trade,) = trades(heard)
    assert (trade["n"], trade["N"]) == ("0.00018000", "BNB")  # 0.05 % of 200 = 0.1 USDT; × 0.9 / 500
    (update,) = updates(heard, "ORDER")
    assert update["B"] == [
        {"a": "USDT", "wb": "1000", "cw": "1000", "bc": "0"},
        {"a": "BNB", "wb": "0.99982", "cw": "0.99982", "bc": "0"},
    ]


def test_a_fee_that_the_bnb_wallet_cannot_pay_is_taken_in_the_margin_asset() -> None:
    desk = Desk()
    account = desk.account(wallets={"USDT": "1000", "BNB": "0.00001"}, fee_burn=True)

    desk.fill(account, "BUY", "2", at="100")

    assert desk.venue.books(account)["fees"] == {"USDT": "0.1"}


def test_a_negative_maker_rate_is_a_rebate() -> None:
    desk = Desk()
    account = desk.account(maker_rate="-0.0001")
    desk.order(account, "BUY", "1", "99")
    desk.venue.set_price("BTCUSDT", "95")

    assert {trade["m"] for trade in trades(desk.heard(account))} == {True}
    assert desk.venue.books(account)["fees"] == {"USDT": "-0.0099"}
    assert desk.wallet(account) == D("1000.0099")


def test_usdc_contracts_have_no_maker_fee_and_their_own_wallet() -> None:
    desk = Desk()
    account = desk.account(wallets={"USDT": "10", "USDC": "1000"})
    desk.order(account, "BUY", "1", "99", symbol="BTCUSDC")
    desk.venue.set_price("BTCUSDC", "95")

    (row,) = updates(desk.heard(account), "ORDER")[-1]["P"]
    assert (row["ma"], row["ep"], row["bep"], row["up"]) == ("USDC", "99", "99", "-4")
    assert desk.venue.books(account)["wallets"] == {"USDC": "1000", "USDT": "10"}


def test_isolated_margin_is_set_aside_and_set_free_in_proportion() -> None:
    desk = Desk()
    account = desk.account(leverage=10)
    desk.venue.set_margin_type(account, {"symbol": "BTCUSDT", "marginType": "ISOLATED"})

    desk.fill(account, "BUY", "4", at="100")
    opened = updates(desk.heard(account), "ORDER")[-1]
    desk.fill(account, "SELL", "1", at="100")
    reduced = updates(desk.heard(account), "ORDER")[-1]
    desk.fill(account, "SELL", "3", at="100")
    closed = updates(desk.heard(account), "ORDER")[-1]

    assert (opened["P"][0]["iw"], opened["P"][0]["mt"]) == ("40", "isolated")
    assert opened["B"][0] | {"bc": "0"} == {"a": "USDT", "wb": "999.8", "cw": "959.8", "bc": "0"}
    assert (reduced["P"][0]["iw"], reduced["B"][0]["cw"]) == ("30", "969.75")
    assert (closed["P"][0]["iw"], closed["B"][0]["cw"]) == ("0", "999.6")


@pytest.mark.parametrize(
    ("fills", "shown"),
    [
        ([("BUY", "37140", "0.0002")], "37147.428"),
        ([("BUY", "91739.9", "0.0005")], "91785.76995"),
        ([("SELL", "70.92841", "0.0004")], "70.900038636"),
        ([("BUY", "2317.3", "0")], "2317.3"),
        # bought 2 at 100, sold 1 at 110: what is left has cost 90, and fees of 0.05 % on 200
        ([("BUY", "100", "0.0005"), ("BUY", "100", "0.0005"), ("SELL", "110", "0.0005")], "90.1"),
    ],
)
def test_break_even_prices_include_opening_fees_and_what_partial_closes_brought(
    fills: list[tuple[str, str, str]], shown: str
) -> None:
    """The first four are values that the real venue showed."""
    position = Position("X", "BOTH")
    for side, price, rate in fills:
        position.apply(parse("1") if side == "BUY" else -parse("1"), parse(price), parse(rate))

    assert trimmed(position.break_even_price(), 9) == shown


def test_unrealized_results_are_cut_off_at_eight_places() -> None:
    position = Position("ADAUSDT", "BOTH")
    position.apply(parse("30"), parse("0.385"), 0)

    assert trimmed(position.unrealized(parse("0.4104759"))) == "0.764277"
    assert trimmed(position.notional(parse("0.4104759"))) == "12.314277"


def test_a_cost_that_no_decimal_can_divide_stays_exact_to_the_last_close() -> None:
    """Bought at 1, 2 and 2: the average is 5/3. Three closes at 5/3's neighbourhood release the whole cost."""
    position = Position("X", "BOTH")
    for price in ("1", "2", "2"):
        position.apply(parse("1"), parse(price), 0)
    for _ in range(2):
        position.apply(-parse("1"), parse("2"), 0)
        assert trimmed(position.entry_price(), 9) == "1.666666667"
    position.apply(-parse("1"), parse("2"), 0)

    assert (position.quantity, position.cost) == (0, 0)
    assert trimmed(position.realized) == "0.99999999"  # three times 0.33333333


def test_results_are_now_and_then_one_unit_short_as_at_the_real_venue() -> None:
    """0.20 × (381.03 − 381.45 …): in doubles, cut off, some products fall just below the decimal one."""
    differences = set()
    for ticks in range(1, 400):
        price, entry, closed = 38_000_000_000 + ticks * 1_000_000, 38_000_000_000, parse("0.07")
        exact = (price - entry) * closed // 10**8
        differences.add(exact - profit(price, closed, entry * closed * 10**16, 1))

    assert differences == {0, 1}


def test_enormous_results_never_leave_the_exact_one_by_more_than_a_unit() -> None:
    price, closed = parse("99999.91"), parse("999999.993")
    released = parse("76543.21") * closed * 10**16
    exact = (price - parse("76543.21")) * closed // 10**8

    assert abs(profit(price, closed, released, 1) - exact) <= 1


@pytest.mark.parametrize(
    ("price", "quantity", "rate", "fee"),
    [
        ("90853.20", "0.002", "0.0005", "0.0908532"),
        ("379.91", "1.7", "0.0004", "0.25833879"),  # exactly 0.2583388: doubles cut off
        ("7.46253", "1", "-0.0001", "-0.00074625"),
    ],
)
def test_commissions_as_recorded(price: str, quantity: str, rate: str, fee: str) -> None:
    assert commission(parse(price), parse(quantity), float(rate)) == units(fee)


def test_what_a_position_costs_does_not_depend_on_how_it_was_filled() -> None:
    desk = Desk([plain_rules()])
    one, many = desk.account("one"), desk.account("many")
    desk.quote("BTCUSDT", asks="100 x 1, 100.1 x 1, 100.3 x 1")
    desk.order(many, "BUY", "3")
    for price in ("100", "100.1", "100.3"):
        desk.fill(one, "BUY", "1", at=price)

    assert desk.venue.books(one)["entry_prices"] == desk.venue.books(many)["entry_prices"]
    assert desk.wallet(one) == desk.wallet(many)
