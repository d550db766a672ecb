"""Valuation: what the account is worth at the prices of now, and what of it nobody can price."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from account_monitor.ledger.account import Account, EventList, fold
from account_monitor.ledger.events import (
    Anchor,
    Event,
    Fill,
    FundingPayment,
    MarkPrice,
    Opening,
    OtherIncome,
    PositionSide,
    Side,
    Transfer,
)
from account_monitor.ledger.valuation import Valuation
from account_monitor.ledger.worth import Price

D = Decimal


def trade(
    number: int, side: Side, quantity: str, price: str, *, symbol: str = "BTCUSDT", leg: PositionSide = "BOTH",
    fee: str | None = None, fee_asset: str | None = None,
) -> Fill:  # fmt: skip
    paid = None if fee is None else D(fee)
    return Fill(symbol, str(number), side, D(quantity), D(price), number, leg, fee=paid, fee_asset=fee_asset)


def valued(*events: Event) -> Valuation:
    return Valuation(fold(events))


def opening(amount: str = "100", asset: str = "USDT") -> Opening:
    return Opening("o", 0, ((asset, D(amount)),))


def test_without_a_mark_the_last_fill_is_the_price_and_says_so() -> None:
    valuation = valued(trade(1, "BUY", "2", "100"), trade(2, "BUY", "1", "130"))

    position = valuation.positions["BTCUSDT"]
    assert position.price == Price(D(130), "last_fill", 2)
    assert (position.entry_price, position.unrealized_pnl, position.value_usd) == (D(110), D(60), D(390))


def test_a_mark_values_the_position() -> None:
    valuation = valued(trade(1, "SELL", "2", "100"))

    assert valuation.mark(MarkPrice("BTCUSDT", D(90), 5)) == ["BTCUSDT"]
    position = valuation.positions["BTCUSDT"]
    assert (position.price, position.unrealized_pnl, position.value_usd) == (Price(D(90), "mark", 5), D(20), D(-180))
    assert position.state == "SHORT"


def test_a_mark_older_than_the_known_one_is_ignored() -> None:
    valuation = valued(trade(1, "BUY", "1", "100"))
    valuation.mark(MarkPrice("BTCUSDT", D(120), 9))

    assert valuation.mark(MarkPrice("BTCUSDT", D(90), 8)) == []
    assert valuation.positions["BTCUSDT"].unrealized_pnl == 20


def test_both_legs_of_a_hedge_are_priced_by_the_newest_fill_of_either() -> None:
    valuation = valued(trade(1, "BUY", "1", "100", leg="LONG"), trade(2, "SELL", "1", "110", leg="SHORT"))

    assert valuation.positions["BTCUSDT:LONG"].unrealized_pnl == 10
    assert valuation.positions["BTCUSDT:SHORT"].unrealized_pnl == 0
    assert valuation.positions["BTCUSDT:SHORT"].position_side == "SHORT"


def test_a_fill_of_one_leg_values_the_other_leg_again() -> None:
    account_events: list[Event] = [trade(1, "BUY", "1", "100", leg="LONG"), trade(2, "SELL", "1", "110", leg="SHORT")]
    journal = EventList()
    account = Account(journal)
    account.apply(1, account_events[0])
    valuation = Valuation(account)
    account.apply(2, account_events[1])

    assert valuation.refresh(["BTCUSDT:SHORT"]) == {"BTCUSDT:LONG", "BTCUSDT:SHORT"}
    assert valuation.positions["BTCUSDT:LONG"].unrealized_pnl == 10


def test_an_adopted_position_without_a_price_is_named_and_not_zero() -> None:
    adopted = Anchor("BTCUSDT", "BOTH", D(1), D(100), 0)
    valuation = valued(Opening("o", 0, (("USDT", D(50)),), (adopted,)))

    assert valuation.unpriced() == ("BTCUSDT",)
    assert valuation.positions["BTCUSDT"].unrealized_pnl is None
    pnl = valuation.pnl()
    assert (pnl.unrealized_pnl, pnl.total_pnl, pnl.net_pnl, pnl.equity) == (None, None, None, None)
    assert pnl.realized_pnl == 0


def test_equity_is_wallets_plus_unrealized() -> None:
    valuation = valued(opening("100"), trade(1, "BUY", "1", "50", fee="1", fee_asset="USDT"))
    valuation.mark(MarkPrice("BTCUSDT", D(60), 5))

    assert valuation.pnl().equity == 109
    assert valuation.pnl().net_pnl == 9


def test_equity_is_unknown_while_nobody_said_what_the_wallets_held() -> None:
    valuation = valued(trade(1, "BUY", "1", "50", fee="1", fee_asset="USDT"))

    assert valuation.pnl().equity is None
    assert valuation.exposure().leverage is None
    assert valuation.balances()["USDT"].total is None


@pytest.mark.parametrize(("wallet", "leverage"), [("25", D(2)), ("0", None), ("-1", None)])
def test_leverage_is_null_unless_the_margin_balance_is_positive(wallet: str, leverage: Decimal | None) -> None:
    valuation = valued(opening(wallet), trade(1, "SELL", "1", "50"))

    assert valuation.exposure().notional == 50
    assert valuation.exposure().leverage == leverage


def test_what_settles_in_another_asset_is_converted_at_its_mark() -> None:
    valuation = valued(opening("1", "BTC"), trade(1, "BUY", "10", "0.05", symbol="ETHBTC"))
    valuation.mark(MarkPrice("ETHBTC", D("0.06"), 5))

    assert valuation.pnl().unrealized_pnl is None
    assert valuation.unpriced() == ("BTC",)

    assert valuation.mark(MarkPrice("BTCUSDT", D(50_000), 6)) == ["ETHBTC"]
    assert valuation.unpriced() == ()
    assert valuation.positions["ETHBTC"].unrealized_pnl == D("0.1")
    assert valuation.positions["ETHBTC"].value_usd == 30_000
    assert (valuation.pnl().unrealized_pnl, valuation.pnl().equity) == (D(5_000), D(55_000))


def test_what_no_quote_is_known_for_is_named() -> None:
    valuation = valued(
        opening(), trade(1, "BUY", "10", "0.05", symbol="XYZ"), trade(2, "BUY", "1", "0.06", symbol="XYZ")
    )

    assert valuation.unpriced() == ("XYZ.quote",)
    assert valuation.pnl().unrealized_pnl is None


# Where a figure is null, `unpriced` names why.


def test_a_notional_that_nobody_can_convert_is_named_even_at_no_profit() -> None:
    valuation = valued(opening(), trade(1, "BUY", "1", "0.05", symbol="ETHBTC"))

    assert valuation.exposure().notional is None
    assert valuation.unpriced() == ("BTC",)


def test_other_income_that_nobody_can_value_is_named_even_when_it_was_withdrawn() -> None:
    valuation = valued(opening(), OtherIncome("i", "XYZ", D(5), 1, "REBATE"), Transfer("t", "XYZ", D(-5), 2))

    assert valuation.pnl().other is None
    assert valuation.unpriced() == ("XYZ",)


def test_funding_of_no_position_that_nobody_can_value_is_named_even_when_it_was_withdrawn() -> None:
    valuation = valued(opening(), FundingPayment("f", "XYZ", D(5), 1), Transfer("t", "XYZ", D(-5), 2))

    assert valuation.pnl().funding is None
    assert valuation.unpriced() == ("XYZ",)


def test_a_fee_whose_asset_gets_a_price_is_known_in_its_position_too() -> None:
    valuation = valued(trade(1, "BUY", "1", "100", fee="0.01", fee_asset="BNB"))
    assert (valuation.unpriced(), valuation.positions["BTCUSDT"].total_fees) == (("BNB",), None)

    valuation.mark(MarkPrice("BNBUSDT", D(300), 5))

    assert (valuation.unpriced(), valuation.pnl().total_fees) == ((), D(3))
    assert valuation.positions["BTCUSDT"].total_fees == 3


@pytest.mark.parametrize("seed", range(20))
def test_totals_are_the_sum_over_positions_after_any_refresh(seed: int) -> None:
    chance = Random(seed)
    journal = EventList()
    account = Account(journal)
    account.apply(1, opening("1000"))
    valuation = Valuation(account)
    for seq in range(2, 200):
        symbol = chance.choice(["BTCUSDT", "ETHUSDT", "ETHBTC"])
        side: Side = chance.choice(["BUY", "SELL"])
        leg: PositionSide = chance.choice(["BOTH", "LONG", "SHORT"])
        number = seq if chance.random() < 0.8 else seq * 1000 - chance.randrange(10**6) + 10**7
        event = trade(number, side, str(chance.randint(1, 3)), str(chance.randint(90, 110)), symbol=symbol, leg=leg,
                      fee=str(chance.randint(-1, 3)), fee_asset="USDT")  # fmt: skip
        journal.add(seq, event)
        account.apply(seq, event)
        valuation.refresh([event.key])
        if chance.random() < 0.5:
            price = D(chance.randint(90, 110))
            valuation.mark(MarkPrice(chance.choice(["BTCUSDT", "ETHUSDT", "ETHBTC", "BNBUSDT"]), price, seq))

    valuation.mark(MarkPrice("BTCUSDT", D(100), 1000))
    fresh = Valuation(account)
    for mark in valuation.marks_in_use():
        fresh.mark(mark)
    assert valuation.positions == fresh.positions
    assert (valuation.pnl(), valuation.exposure()) == (fresh.pnl(), fresh.exposure())
    unrealized = D(0)
    for position in valuation.positions.values():
        rate = valuation.rate(position.settlement_asset)
        assert position.unrealized_pnl is not None
        assert rate is not None
        unrealized += position.unrealized_pnl * rate
    assert valuation.pnl().unrealized_pnl == unrealized
    assert valuation.pnl().total_fees == sum(p.total_fees or 0 for p in valuation.positions.values())
