"""What if prices moved: by the same functions as the present, and by numbers that one can check by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from account_monitor.ledger.account import fold
from account_monitor.ledger.events import Event, Fill, MarkPrice, Opening, Side
from account_monitor.ledger.margin import AssetRate, Bracket, MarginStated, MarginTerms
from account_monitor.ledger.money import divide
from account_monitor.ledger.valuation import Valuation
from account_monitor.ledger.whatif import Holdings, Shock, Shocks, liquidated, scenario, shock_from_text, shocks_of

D = Decimal
ONE_PERCENT = (Bracket(D(10) ** 12, D("0.01"), D(0)),)
NOTHING = Shocks({})


def trade(number: int, side: Side, quantity: str, price: str, symbol: str = "BTCUSDT") -> Fill:
    return Fill(symbol, str(number), side, D(quantity), D(price), number)


def held(
    *events: Event,
    marks: dict[str, str],
    isolated: dict[str, str] | None = None,
    rates: dict[str, AssetRate] | None = None,
    is_known: bool = True,
) -> Holdings:
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    isolated = isolated or {}
    terms = MarginTerms(
        dict.fromkeys(symbols, ONE_PERCENT), dict.fromkeys(symbols, 10), frozenset(isolated), rates is not None,
        rates or {},
    )  # fmt: skip
    valuation = Valuation(fold(events))
    if is_known:
        valuation.state_terms(terms)
    valuation.state_margin(MarginStated({key: D(wallet) for key, wallet in isolated.items()}))
    for symbol, price in marks.items():
        valuation.mark(MarkPrice(symbol, D(price), 1_000))
    return Holdings(valuation.positions, valuation.balances(), valuation.margin())


def wallets(**amounts: str) -> Opening:
    return Opening("o", 0, tuple((asset, D(amount)) for asset, amount in amounts.items()))


LONG_AND_SHORT = (wallets(USDT="300"), trade(1, "BUY", "10", "100"), trade(2, "SELL", "5", "40", "ETHUSDT"))
MARKS = {"BTCUSDT": "100", "ETHUSDT": "40"}


def test_without_a_shock_nothing_changes() -> None:
    now = held(*LONG_AND_SHORT, marks=MARKS)

    same = scenario(now, NOTHING)

    assert same.margin == now.margin
    assert same.positions == now.positions
    assert (same.equity, same.unrealized_pnl) == (D(300), D(0))
    assert liquidated(now, NOTHING) == []


def test_every_price_falls() -> None:
    """10 BTC lose 100, and 5 ETH that were sold gain 20."""
    after = scenario(held(*LONG_AND_SHORT, marks=MARKS), Shocks({}, D(-10)))

    assert (after.equity, after.unrealized_pnl) == (D(220), D(-80))
    assert after.leverage == divide(D(900 + 180), D(220))
    assert after.margin.ratio == divide(D("10.8"), D(220))
    assert {key: each.price.price for key, each in after.positions.items() if each.price} == {
        "BTCUSDT": D(90),
        "ETHUSDT": D(36),
    }


def test_one_price_falls_and_the_others_rise() -> None:
    after = scenario(held(*LONG_AND_SHORT, marks=MARKS), Shocks({"BTCUSDT": D(-10)}, D(5)))

    assert after.unrealized_pnl == -100 - 10
    assert after.liquidations()["BTCUSDT"].price == divide(D(1000 - 300) + 10 + D("2.1"), D("9.9"))


def test_money_in_a_coin_moves_with_the_price_of_the_coin() -> None:
    rates = {"USDT": AssetRate(D(1), D(1), D(1)), "BTC": AssetRate(D(1000), D(950), D(1050))}
    now = held(wallets(USDT="100", BTC="1"), trade(1, "BUY", "1", "40", "ETHUSDT"),
               marks={"BTCUSDT": "1000", "ETHUSDT": "40"}, rates=rates)  # fmt: skip

    after = scenario(now, Shocks({"BTCUSDT": D(-50)}))

    assert (now.margin.pools[0].balance, after.margin.pools[0].balance) == (D(1050), D(100 + 475))
    assert after.equity == 600


def test_pools_are_liquidated_in_the_order_in_which_they_are_used_up() -> None:
    """SOL has 20 behind 400: gone at −4.04 %. ETH, sold short, gains. BTC has the rest, 80, behind 1,000: −7.07 %."""
    now = held(
        wallets(USDT="200"),
        trade(1, "BUY", "10", "100"),
        trade(2, "SELL", "5", "40", "ETHUSDT"),
        trade(3, "BUY", "4", "100", "SOLUSDT"),
        marks={**MARKS, "SOLUSDT": "100"},
        isolated={"SOLUSDT": "20", "ETHUSDT": "100"},
    )

    found = liquidated(now, Shocks({}, D(-20)))

    assert [(each.pool.name, each.positions) for each in found] == [
        ("SOLUSDT", ("SOLUSDT",)), ("USDT", ("BTCUSDT",)),
    ]  # fmt: skip
    assert abs(found[0].share * 20 - divide(D(16), D("3.96"))) < D("0.0001")
    assert abs(found[1].share * 20 - divide(D(70), D("9.9"))) < D("0.0001")


def test_in_a_cross_pool_the_largest_loss_is_named_first() -> None:
    now = held(
        wallets(USDT="100"),
        trade(1, "BUY", "10", "100"),
        trade(2, "BUY", "50", "40", "ETHUSDT"),
        marks=MARKS,
    )

    assert liquidated(now, Shocks({}, D(-10)))[0].positions == ("ETHUSDT", "BTCUSDT")


def test_what_is_not_known_stays_so() -> None:
    now = held(trade(1, "BUY", "10", "100"), marks=MARKS, is_known=False)

    after = scenario(now, Shocks({}, D(-10)))

    assert (after.equity, after.unrealized_pnl, after.margin.ratio, after.pools()) == (None, D(-100), None, ())


@pytest.mark.parametrize(
    ("text", "shock"),
    [
        ("-10%", Shock(None, D(-10))),
        ("-10", Shock(None, D(-10))),
        ("+5%", Shock(None, D(5))),
        (" 5%", Shock(None, D(5))),
        ("BTCUSDT:-0.5%", Shock("BTCUSDT", D("-0.5"))),
        ("BTCUSDT:+5%", Shock("BTCUSDT", D(5))),
        ("-99.99%", Shock(None, D("-99.99"))),
    ],
)
def test_a_shock_is_a_percentage_with_or_without_a_symbol(text: str, shock: Shock) -> None:
    assert shock_from_text(text) == shock


@pytest.mark.parametrize(
    "text", ["", "%", "-", "-100%", "-100.1%", "1000001%", "NaN", "1_0%", "１0%", ":5%", "BTCUSDT:", "++5", "5%%"]
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="expected a percentage above -100 and up to 1000000") as refused:
        shock_from_text(text)

    assert repr(text) in str(refused.value)


def test_a_symbol_is_moved_once() -> None:
    assert shocks_of([Shock("A", D(1)), Shock(None, D(2)), Shock("B", D(3))]) == Shocks({"A": D(1), "B": D(3)}, D(2))
    with pytest.raises(ValueError, match="A was given twice"):
        shocks_of([Shock("A", D(1)), Shock("A", D(1))])
    with pytest.raises(ValueError, match="two were given without a symbol"):
        shocks_of([Shock(None, D(1)), Shock(None, D(2))])
