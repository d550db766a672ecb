"""Margins and liquidation prices, by the venue's own examples and by numbers that one can check by hand."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal

import pytest

from account_monitor.ledger.account import fold
from account_monitor.ledger.events import Event, Fill, MarkPrice, Opening, PositionSide, Side
from account_monitor.ledger.liquidation import Liquidation, liquidations
from account_monitor.ledger.margin import (
    MAX_RATIO,
    AssetRate,
    Bracket,
    MarginStated,
    MarginTerms,
    VenueMargin,
    maintenance_margin,
    margin_ratio,
)
from account_monitor.ledger.money import divide, venue_amount
from account_monitor.ledger.valuation import Valuation

D = Decimal
ROUNDING = Context(prec=40, traps=[])


def brackets(*tiers: tuple[str, str]) -> tuple[Bracket, ...]:
    """Return the brackets of (cap, ratio): cum_n = floor_n × (ratio_n − ratio_n−1) + cum_n−1."""
    rows: list[Bracket] = []
    for cap, ratio in tiers:
        before = rows[-1] if rows else Bracket(D(0), D(ratio), D(0))
        rows.append(Bracket(D(cap), D(ratio), before.cum + before.cap * (D(ratio) - before.ratio)))
    return tuple(rows)


PLAIN = brackets(("10000", "0.01"), ("100000", "0.02"), ("1000000", "0.05"))
BTC = brackets(("50000", "0.004"), ("250000", "0.005"), ("1000000", "0.01"), ("5000000", "0.025"), ("20000000", "0.05"))
ETH = brackets(("10000", "0.005"), ("100000", "0.0065"), ("500000", "0.01"), ("1000000", "0.02"), ("2000000", "0.05"),
               ("5000000", "0.1"))  # fmt: skip


def trade(
    number: int, side: Side, quantity: str, price: str, *, symbol: str = "BTCUSDT", leg: PositionSide = "BOTH"
) -> Fill:
    return Fill(symbol, str(number), side, D(quantity), D(price), number, leg)


def wallets(**amounts: str) -> Opening:
    return Opening("o", 0, tuple((asset, D(amount)) for asset, amount in amounts.items()))


def terms(
    *symbols: str,
    leverage: int = 10,
    isolated: Iterable[str] = (),
    rates: dict[str, AssetRate] | None = None,
) -> MarginTerms:
    return MarginTerms(
        brackets=dict.fromkeys(symbols, PLAIN),
        leverages=dict.fromkeys(symbols, leverage),
        isolated=frozenset(isolated),
        is_multi_assets=rates is not None,
        rates=rates or {},
    )


def valued(
    given: MarginTerms, *events: Event, marks: dict[str, str], isolated: dict[str, str] | None = None
) -> Valuation:
    valuation = Valuation(fold(events))
    valuation.state_terms(given)
    valuation.state_margin(MarginStated({key: D(wallet) for key, wallet in (isolated or {}).items()}, is_complete=True))
    for symbol, price in marks.items():
        valuation.mark(MarkPrice(symbol, D(price), 1_000))
    return valuation


def prices(valuation: Valuation) -> dict[str, Liquidation]:
    return liquidations(valuation.positions, valuation.margin())


# -- maintenance margin ------------------------------------------------------------------------------------------------


def test_the_maintenance_margins_of_the_official_examples() -> None:
    ada = brackets(("10000", "0.0065"))
    eth = brackets(("100000", "0.005"))

    assert maintenance_margin(ada, D(30) * D("0.41047590")) == D("0.08004280")
    assert maintenance_margin(eth, D("16660.27399046")) == D("83.30136995")
    assert maintenance_margin(ETH, D("3683.979") * D("1335.18")) == D("356512.508122")
    assert [row.cum for row in BTC] == [0, 50, 1_300, 16_300, 141_300]
    assert [row.cum for row in ETH] == [0, 15, 365, 5_365, 35_365, 135_365]


@pytest.mark.parametrize(
    ("notional", "margin"), [("10000", "100"), ("10001", "100.02"), ("100000", "1900"), ("2000000", "96900")]
)
def test_a_bracket_ends_with_its_cap_and_the_last_never(notional: str, margin: str) -> None:
    assert maintenance_margin(PLAIN, D(notional)) == D(margin)  # × 1 %, × 2 % − 100, × 5 % − 3,100


def test_an_amount_is_cut_off_and_not_by_what_a_division_left() -> None:
    assert venue_amount(D("0.123456789")) == D("0.12345678")
    assert venue_amount(D("-0.123456789")) == D("-0.12345678")
    assert venue_amount(D("0.49999999999999999999999999999")) == D("0.5")


def test_a_balance_that_is_used_up_has_the_highest_ratio() -> None:
    assert margin_ratio(D(50), D(100)) == D("0.5")
    assert margin_ratio(D(50), D("0.1")) == margin_ratio(D(50), D(0)) == margin_ratio(D(50), D(-7)) == MAX_RATIO
    assert margin_ratio(D(0), D(0)) == 0


# -- liquidation prices ------------------------------------------------------------------------------------------------


def test_the_liquidation_prices_of_the_official_example() -> None:
    """WB 1,535,443.01; 109.488 BTC @ 32,481.98, mark 31,967.27; 3,683.979 ETH @ 1,456.84, mark 1,335.18."""
    valuation = valued(
        MarginTerms(brackets={"BTCUSDT": BTC, "ETHUSDT": ETH}, leverages={"BTCUSDT": 20, "ETHUSDT": 5}),
        wallets(USDT="1535443.01"),
        trade(1, "BUY", "109.488", "32481.98"),
        trade(2, "BUY", "3683.979", "1456.84", symbol="ETHUSDT"),
        marks={"BTCUSDT": "31967.27", "ETHUSDT": "1335.18"},
    )

    found = prices(valuation)

    assert found["BTCUSDT"].price.quantize(D("1E-6"), context=ROUNDING) == D("26316.893265")
    assert found["ETHUSDT"].price.quantize(D("1E-6"), context=ROUNDING) == D("1153.256464")


def test_a_long_is_liquidated_below_and_a_short_above() -> None:
    """1,000 of wallet behind 100 at 100: 1,000 − 100 × (100 − p) = 100 × p × 1 %, and above 10,000 it is 2 % − 100."""
    long = valued(terms("BTCUSDT"), wallets(USDT="1000"), trade(1, "BUY", "100", "100"), marks={"BTCUSDT": "100"})
    short = valued(terms("BTCUSDT"), wallets(USDT="1000"), trade(1, "SELL", "100", "100"), marks={"BTCUSDT": "100"})

    assert prices(long)["BTCUSDT"].price == divide(D(9000), D(99))
    assert prices(short)["BTCUSDT"].price == divide(D(11100), D(102))
    assert prices(short)["BTCUSDT"].distance_pct == prices(short)["BTCUSDT"].price - 100


def test_a_position_that_its_wallet_covers_wholly_has_no_price() -> None:
    safe = valued(terms("BTCUSDT"), wallets(USDT="10000"), trade(1, "BUY", "1", "100"), marks={"BTCUSDT": "100"})

    assert prices(safe) == {}
    assert safe.margin().closest_pct == 100


def test_legs_of_one_symbol_share_their_price() -> None:
    """Long 3 at 100, short 1 at 100: 60 − 2 × (100 − p) = 4 × p × 1 %."""
    hedged = valued(
        terms("BTCUSDT"),
        wallets(USDT="60"),
        trade(1, "BUY", "3", "100", leg="LONG"),
        trade(2, "SELL", "1", "100", leg="SHORT"),
        marks={"BTCUSDT": "100"},
    )

    found = prices(hedged)

    assert found.keys() == {"BTCUSDT:LONG", "BTCUSDT:SHORT"}
    assert found["BTCUSDT:LONG"] == found["BTCUSDT:SHORT"]
    assert found["BTCUSDT:LONG"].price == divide(D(140), D("1.96"))


def test_legs_that_cancel_out_are_liquidated_by_their_growing_margin() -> None:
    """100 of each: 5,000 = 200 × p × ratio − 2 × cum, with each leg at 5 % − 3,100 there."""
    hedged = valued(
        terms("BTCUSDT"),
        wallets(USDT="5000"),
        trade(1, "BUY", "100", "100", leg="LONG"),
        trade(2, "SELL", "100", "100", leg="SHORT"),
        marks={"BTCUSDT": "100"},
    )

    assert prices(hedged)["BTCUSDT:LONG"].price == 1120


def test_an_isolated_position_has_its_own_wallet_and_the_others_the_rest() -> None:
    """Of 1,000, 50 stand behind 10 BTC at 100: 50 − 10 × (100 − p) = 10 × p × 1 %; 950 behind 20 ETH at 100."""
    valuation = valued(
        terms("BTCUSDT", "ETHUSDT", isolated=["BTCUSDT"]),
        wallets(USDT="1000"),
        trade(1, "BUY", "10", "100"),
        trade(2, "BUY", "20", "100", symbol="ETHUSDT"),
        marks={"BTCUSDT": "100", "ETHUSDT": "100"},
        isolated={"BTCUSDT": "50"},
    )

    found, use = prices(valuation), valuation.margin()

    assert found["BTCUSDT"].price == divide(D(950), D("9.9"))
    assert found["ETHUSDT"].price == divide(D(1050), D("19.8"))
    assert [(pool.name, pool.ratio) for pool in use.pools] == [("USDT", divide(D(20), D(950))), ("BTCUSDT", D("0.2"))]
    assert use.ratio == D("0.2")
    assert use.maintenance_margin == 30
    assert use.available == 950 - 200  # the isolated position is paid for


def test_in_multi_assets_mode_the_whole_account_is_one_pool() -> None:
    """300 USDT and 0.1 BTC at 1,000 less 5 %: 395 behind 10 ETH at 100."""
    rates = {"USDT": AssetRate(D(1), D(1), D(1)), "BTC": AssetRate(D(1000), D(950), D(1050))}
    valuation = valued(
        terms("ETHUSDT", rates=rates),
        wallets(USDT="300", BTC="0.1"),
        trade(1, "BUY", "10", "100", symbol="ETHUSDT"),
        marks={"ETHUSDT": "100"},
    )

    use = valuation.margin()

    assert [(pool.name, pool.balance, pool.maintenance_margin) for pool in use.pools] == [("USD", D(395), D(10))]
    assert use.available == 295
    assert prices(valuation)["ETHUSDT"].price == divide(D(605), D("9.9"))


def test_what_is_owed_weighs_more_than_what_is_owned() -> None:
    """0.2 BTC stand behind: 1,900 USD. At 81 the 100 ETH have lost 1,900 USDC, which count as 2,090."""
    rates = {"USDC": AssetRate(D(1), D("0.9"), D("1.1")), "BTC": AssetRate(D(10000), D(9500), D(10500))}
    valuation = valued(
        terms("ETHUSDC", rates=rates),
        wallets(USDC="0", BTC="0.2"),
        trade(1, "BUY", "100", "100", symbol="ETHUSDC"),
        marks={"ETHUSDC": "100"},
    )

    price = prices(valuation)["ETHUSDC"].price

    assert price == divide(D(11000 - 1900), D(109))  # 1,900 − 1.1 × 100 × (100 − p) = 100 × p × 1 %
    valuation.mark(MarkPrice("ETHUSDC", price, 2_000))
    assert venue_amount(valuation.margin().ratio or D(0)) in (D(1), D("1.00000001"), D("0.99999999"))


def test_a_pool_that_is_used_up_is_at_its_price() -> None:
    lost = valued(terms("BTCUSDT"), wallets(USDT="10"), trade(1, "BUY", "1", "100"), marks={"BTCUSDT": "80"})

    assert prices(lost)["BTCUSDT"].distance_pct == 0
    assert prices(lost)["BTCUSDT"].price == divide(D(90), D("0.99"))
    assert lost.margin().closest_pct == 0
    assert lost.margin().ratio == MAX_RATIO


# -- what is not known -------------------------------------------------------------------------------------------------


def test_without_terms_nothing_is_known() -> None:
    valuation = Valuation(fold([wallets(USDT="1000"), trade(1, "BUY", "1", "100")]))

    use = valuation.margin()

    assert (use.ratio, use.maintenance_margin, use.available, use.closest_pct, use.pools) == (
        None,
        None,
        None,
        None,
        (),
    )
    assert prices(valuation) == {}
    assert valuation.positions["BTCUSDT"].leverage is None


@pytest.mark.parametrize("missing", ["brackets", "isolated wallet", "wallets"])
def test_what_is_missing_of_one_position_leaves_the_account_unknown(missing: str) -> None:
    """The lowest ratio that is known may not be the highest there is."""
    known = terms("BTCUSDT", *([] if missing == "brackets" else ["ETHUSDT"]),
                  isolated=["ETHUSDT"] if missing == "isolated wallet" else [])  # fmt: skip
    events = [trade(1, "BUY", "1", "100"), trade(2, "BUY", "1", "100", symbol="ETHUSDT")]
    if missing != "wallets":
        events.insert(0, wallets(USDT="1000"))  # type: ignore[arg-type]
    valuation = valued(known, *events, marks={"BTCUSDT": "100", "ETHUSDT": "100"})

    assert valuation.margin().ratio is None
    assert valuation.margin().closest_pct is None
    assert prices(valuation) == {}


def test_an_account_without_positions_is_in_no_danger() -> None:
    use = valued(terms("BTCUSDT"), wallets(USDT="1000"), marks={}).margin()

    assert (use.ratio, use.maintenance_margin, use.available, use.closest_pct) == (D(0), D(0), D(1000), D(100))
    assert use.pools == ()


def test_what_orders_bind_is_not_available() -> None:
    valuation = valued(terms("BTCUSDT"), wallets(USDT="1000"), trade(1, "BUY", "10", "100"), marks={"BTCUSDT": "90"})
    venue = VenueMargin(D(9), D(900), D(510), 5)
    valuation.state_margin(MarginStated({}, order_margins={"USDT": D(300)}, venue=venue))

    assert valuation.margin().available == 1000 - 100 - 90 - 300
    assert valuation.margin().venue == venue


def test_terms_that_change_value_the_positions_again() -> None:
    valuation = valued(terms("BTCUSDT"), wallets(USDT="1000"), trade(1, "BUY", "10", "100"), marks={"BTCUSDT": "100"})
    assert valuation.margin().available == 900

    assert valuation.state_terms(terms("BTCUSDT", leverage=5)) == ["BTCUSDT"]

    assert valuation.margin().available == 800
    assert valuation.positions["BTCUSDT"].leverage == 5
