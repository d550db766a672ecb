"""The demo's audit: equal means equal to the last digit, and what differs is named."""

from __future__ import annotations

from decimal import Decimal

from account_monitor.demo.audit import Holdings, compare, holdings_of_books

D = Decimal
BOOKS = {
    "wallets": {"USDT": "99.50000000", "BNB": "1"},
    "positions": {"BTCUSDT": "-0.016"},
    "realized": {"BTCUSDT": "1.5", "ETHUSDT": "-2", "XRPUSDT": "0.25"},
}


def test_equal_holdings_are_counted() -> None:
    ours = Holdings({"USDT": D("99.5"), "BNB": D(1)}, {"BTCUSDT": D("-0.016")}, {"BTCUSDT": D("0.5"), "ETHUSDT": D(-2)})

    comparison = compare(ours, holdings_of_books(BOOKS, {"BTCUSDT": D(1), "XRPUSDT": D("0.25")}))

    assert comparison.text == (
        "equal to the exchange's own books: wallets 2 of 2, positions 1 of 1, realized P&L 2 of 2"
    )


def test_the_last_digit_and_what_only_one_side_holds_are_differences() -> None:
    ours = Holdings({"USDT": D("99.50000001")}, {"ETHUSDT": D(2)}, {})

    comparison = compare(ours, Holdings({"USDT": D("99.5")}, {"BTCUSDT": D(-1)}, {}))

    assert (comparison.wallets, comparison.quantities, comparison.realized) == ((0, 1), (0, 2), (0, 0))
    assert comparison.differences == (
        "wallet USDT is 99.50000001 here, 99.5 there",
        "position BTCUSDT is 0 here, -1 there",
        "position ETHUSDT is 2 here, 0 there",
    )
    assert comparison.text.startswith("not equal to the exchange's own books: wallets 0 of 1")


def test_a_long_list_of_differences_is_cut() -> None:
    wallets = {f"A{number}": D(number) for number in range(1, 6)}

    text = compare(Holdings(wallets, {}, {}), Holdings({}, {}, {})).text

    assert text.endswith("and 2 more")
