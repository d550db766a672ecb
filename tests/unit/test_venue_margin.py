"""Margins and liquidation prices, against the venue's own published examples."""

from __future__ import annotations

from exchange_simulator import reports
from exchange_simulator.margin import LegTerms, liquidation_price, maintenance_margin
from exchange_simulator.money import half_up, parse, trimmed
from exchange_simulator.symbols import MAJOR, brackets, rules
from tests.venue_desk import Desk

ETH = rules(
    "ETHUSDT", "1335.18", tick="0.01", step="0.001",
    tiers=brackets([(100, 10_000, "0.005"), (75, 100_000, "0.0065"), (50, 500_000, "0.01"), (25, 1_000_000, "0.02"),
                    (10, 2_000_000, "0.05"), (5, 5_000_000, "0.1")]),
)  # fmt: skip
BTC = rules(
    "BTCUSDT", "31967.27", tick="0.01", step="0.001",
    tiers=brackets([(125, 50_000, "0.004"), (100, 250_000, "0.005"), (50, 1_000_000, "0.01"), (20, 5_000_000, "0.025"),
                    (10, 20_000_000, "0.05")]),
)  # fmt: skip


def test_cumulated_amounts_follow_from_floors_and_ratios() -> None:
    assert [row.cum // 10**8 for row in BTC.brackets] == [0, 50, 1_300, 16_300, 141_300]
    assert [row.cum // 10**8 for row in ETH.brackets] == [0, 15, 365, 5_365, 35_365, 135_365]
    assert MAJOR[1].cum == 300 * 10**8  # 300,000 × (0.5 % − 0.4 %)


def test_margins_are_cut_off_not_rounded() -> None:
    ada = rules("ADAUSDT", "0.4", tick="0.0001", step="1", tiers=brackets([(75, 10_000, "0.0065")]))

    assert trimmed(maintenance_margin(ada, parse("12.314277"))) == "0.0800428"
    assert trimmed(maintenance_margin(ETH, parse("3683.979") * parse("1335.18") // 10**8)) == "356512.508122"


def test_the_liquidation_prices_of_the_official_example() -> None:
    """WB 1,535,443.01; 109.488 BTC @ 32,481.98, mark 31,967.27; 3,683.979 ETH @ 1,456.84, mark 1,335.18."""
    wallet = parse("1535443.01")
    btc, eth = parse("109.488"), parse("3683.979")
    eth_mark, btc_mark = parse("1335.18"), parse("31967.27")
    eth_terms = LegTerms(eth, eth * parse("1456.84") * 10**16)
    btc_terms = LegTerms(btc, btc * parse("32481.98") * 10**16)
    eth_maintenance = maintenance_margin(ETH, eth * eth_mark // 10**8)
    btc_maintenance = maintenance_margin(BTC, btc * btc_mark // 10**8)
    eth_result, btc_result = -parse("448192.88514"), (btc_mark - parse("32481.98")) * btc // 10**8

    of_btc = liquidation_price(BTC, wallet, eth_maintenance, eth_result, (btc_terms,), btc_mark)
    of_eth = liquidation_price(ETH, wallet, btc_maintenance, btc_result, (eth_terms,), eth_mark)

    assert trimmed(half_up(of_btc, 100), 6) == "26316.893265"
    assert trimmed(half_up(of_eth, 100), 6) == "1153.256464"


def test_a_short_is_liquidated_above_and_a_safe_long_never() -> None:
    short = LegTerms(-parse("1"), parse("1") * parse("1000") * 10**16)
    safe = LegTerms(parse("1"), parse("1") * parse("1000") * 10**16)

    assert trimmed(liquidation_price(ETH, parse("100"), 0, 0, (short,), parse("1000"))) == "1094.52736318"  # 1100/1.005
    assert liquidation_price(ETH, parse("2000"), 0, 0, (safe,), parse("1000")) == 0


def test_an_account_is_liquidated_at_the_price_that_was_reported() -> None:
    desk = Desk()
    account = desk.account(wallets={"USDT": "100"}, leverage=20)
    desk.fill(account, "BUY", "10", at="100")
    (risk,) = reports.position_risk(desk.venue, account, "BTCUSDT")

    assert risk["liquidationPrice"] == "90.95959595"  # (1000 − 99.5) / (10 × 0.99)
    desk.venue.set_price("BTCUSDT", "90.9596")
    assert desk.venue.books(account)["positions"] == {"BTCUSDT": "10"}
    desk.venue.set_price("BTCUSDT", "90.95959595")
    assert desk.venue.books(account)["positions"] == {}


def test_in_multi_assets_mode_an_account_is_liquidated_by_balances_with_their_buffers() -> None:
    """One BNB at 500 counts 475: less 10 × (100 − p), that is 10 × p × 1 % at 52.5 / 0.99."""
    desk = Desk()
    account = desk.account(wallets={"USDT": "0.5", "BNB": "1"}, leverage=20, multi_assets=True)
    desk.fill(account, "BUY", "10", at="100")  # for a fee of 0.5

    desk.venue.set_price("BTCUSDT", "53.03030304")
    assert desk.venue.books(account)["positions"] == {"BTCUSDT": "10"}
    desk.venue.set_price("BTCUSDT", "53.03030303")
    assert desk.venue.books(account)["positions"] == {}
