"""Positions: quantity and cost after trades, with numbers that one can check by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from account_monitor.ledger.account import fold
from account_monitor.ledger.events import Adjustment, Anchor, Fill, PositionSide, Side
from account_monitor.ledger.instruments import ContractType, Instrument
from account_monitor.ledger.position import Leg, after_trade

D = Decimal

BTCUSDT = Instrument("BTCUSDT", "USDT", "BTC")
INVERSE = Instrument("BTCUSD_PERP", "BTC", "BTC", ContractType.INVERSE, D(100))
DOLLARS = frozenset({"USDT"})


def trade(
    number: int, side: Side, quantity: str, price: str, *, leg: PositionSide = "BOTH", fee: str | None = None,
    fee_asset: str | None = None, fee_rate: str | None = None, stated: str | None = None, symbol: str = "BTCUSDT",
) -> Fill:  # fmt: skip
    return Fill(
        symbol, str(number), side, D(quantity), D(price), number, leg,
        fee=None if fee is None else D(fee), fee_asset=fee_asset, fee_rate=None if fee_rate is None else D(fee_rate),
        realized_pnl=None if stated is None else D(stated),
    )  # fmt: skip


def held(*fills: Fill, instrument: Instrument = BTCUSDT) -> Leg:
    leg = Leg()
    for fill in fills:
        leg.book(fill, instrument, DOLLARS)
    return leg


def test_adding_to_a_short_averages_its_entry() -> None:
    leg = held(trade(1, "SELL", "1", "100"), trade(2, "SELL", "1", "110"))

    assert (leg.quantity, leg.cost) == (D(-2), D(-210))
    assert BTCUSDT.price_of(leg.quantity, leg.cost) == 105


def test_a_partial_close_leaves_the_entry_as_it_was() -> None:
    leg = held(trade(1, "BUY", "4", "100"), trade(2, "SELL", "1", "120"))

    assert (leg.quantity, leg.cost, leg.realized) == (D(3), D(300), D(20))


def test_the_last_part_takes_all_remaining_cost() -> None:
    thirds = [trade(n, "SELL", "1", "10") for n in (2, 3, 4)]
    leg = held(trade(1, "BUY", "3", "3.3333333333333333333"), *thirds)

    assert (leg.quantity, leg.cost) == (D(0), D(0))
    assert leg.realized == 30 - 3 * D("3.3333333333333333333")


def test_an_average_that_cannot_be_written_leaves_nothing_behind() -> None:
    leg = held(trade(1, "BUY", "1", "1"), trade(2, "BUY", "2", "2"), *(trade(n, "SELL", "1", "2") for n in (3, 4, 5)))

    assert (leg.quantity, leg.cost, leg.realized) == (D(0), D(0), D(1))


def test_crossing_zero_realizes_only_the_closed_part() -> None:
    leg = held(trade(1, "BUY", "1", "100"), trade(2, "SELL", "3", "120"))

    assert (leg.quantity, leg.cost, leg.realized) == (D(-2), D(-240), D(20))


def test_crossing_zero_from_a_short() -> None:
    leg = held(trade(1, "SELL", "2", "100"), trade(2, "BUY", "5", "90"))

    assert (leg.quantity, leg.cost, leg.realized) == (D(3), D(270), D(20))


def test_an_inverse_long_gains_in_the_base_asset() -> None:
    leg = held(trade(1, "BUY", "100", "10000"), trade(2, "SELL", "100", "12500"), instrument=INVERSE)

    assert (leg.quantity, leg.cost, leg.realized) == (D(0), D(0), D("0.2"))  # 100 × 100 × (1/10000 − 1/12500)


def test_an_inverse_short_crosses_zero() -> None:
    leg = held(trade(1, "SELL", "10", "10000"), trade(2, "BUY", "30", "8000"), instrument=INVERSE)

    assert (leg.quantity, leg.cost, leg.realized) == (D(20), D("-0.25"), D("0.025"))  # 1000 × (1/8000 − 1/10000)


def test_a_multiplier_scales_cost_and_result() -> None:
    contract = Instrument("X", "USDT", multiplier=D("0.1"))

    leg = held(trade(1, "BUY", "10", "100"), trade(2, "SELL", "5", "110"), instrument=contract)

    assert (leg.cost, leg.realized) == (D(50), D(5))


def test_every_trade_realizes_its_change_of_cost_less_its_value() -> None:
    for change in (D(1), D(-1), D(-3), D(-5), D(4)):
        quantity, cost, realized = after_trade(D(3), D(301), change, D(100), BTCUSDT)
        assert quantity == 3 + change
        assert realized == cost - 301 - change * 100


def test_hedge_legs_are_positions_of_their_own() -> None:
    account = fold([
        trade(1, "SELL", "2", "100", leg="SHORT"),
        trade(2, "BUY", "1", "100", leg="LONG"),
        trade(3, "BUY", "1", "90", leg="SHORT"),
    ])  # fmt: skip

    assert (account.leg("BTCUSDT:SHORT").quantity, account.leg("BTCUSDT:SHORT").realized) == (D(-1), D(10))
    assert (account.leg("BTCUSDT:LONG").quantity, account.leg("BTCUSDT:LONG").realized) == (D(1), D(0))


def test_the_same_trade_id_on_two_symbols_counts_twice() -> None:
    account = fold([trade(1, "BUY", "1", "100"), trade(1, "BUY", "1", "100", symbol="ETHUSDT")])

    assert account.leg("BTCUSDT").quantity == account.leg("ETHUSDT").quantity == 1


def test_what_the_venue_states_is_realized_and_the_difference_is_rounding() -> None:
    leg = held(trade(1, "BUY", "1", "100", stated="0"), trade(2, "SELL", "1", "100.5", stated="0.49999999"))

    assert (leg.realized, leg.rounding) == (D("0.49999999"), D("0.00000001"))


def test_a_stated_result_of_zero_is_a_statement() -> None:
    leg = held(trade(1, "BUY", "1", "100"), trade(2, "SELL", "1", "101", stated="0"))

    assert (leg.realized, leg.rounding) == (D(0), D(1))


def test_a_stated_zero_needs_no_rate_to_be_valued() -> None:
    bitcoin = Instrument("ETHBTC", "BTC", "ETH")

    leg = held(trade(1, "BUY", "1", "0.05"), trade(2, "SELL", "1", "0.050000001", stated="0"), instrument=bitcoin)

    assert (leg.trips.trades, leg.trips.unvalued) == (1, 0)


@pytest.mark.parametrize(
    ("fee", "asset", "rate", "usd", "unvalued"),
    [
        ("0.5", "USDT", None, "0.5", {}),
        ("-0.5", "USDT", None, "-0.5", {}),
        ("0.5", None, None, "0.5", {}),
        ("0.001", "BNB", "600", "0.6", {}),
        ("0.001", "BTC", "50000", "50", {}),
        ("0.001", "BNB", None, "0", {"BNB": D("0.001")}),
        ("-0.001", "BNB", None, "0", {"BNB": D("-0.001")}),
    ],
)
def test_a_fee_is_booked_in_its_own_asset_signed_and_valued_then(
    fee: str, asset: str | None, rate: str | None, usd: str, unvalued: dict[str, Decimal]
) -> None:
    leg = held(trade(1, "BUY", "1", "100", fee=fee, fee_asset=asset, fee_rate=rate))

    assert leg.fees.by_asset == {asset or "USDT": D(fee)}
    assert (leg.fees.usd, leg.fees.unvalued) == (D(usd), unvalued)
    assert leg.realized == 0


def test_an_anchor_replaces_quantity_and_cost_and_keeps_what_was_realized() -> None:
    stated = Anchor("BTCUSDT", "BOTH", D(5), D(450), last_trade_id=2)

    account = fold([
        trade(1, "BUY", "1", "100"), trade(2, "SELL", "1", "107"), Adjustment("a", 3, "UNEXPLAINED", (), (stated,)),
        trade(3, "SELL", "5", "100"),
    ])  # fmt: skip

    leg = account.leg("BTCUSDT")
    assert (leg.quantity, leg.cost, leg.realized) == (D(0), D(0), D(7 + 50))
