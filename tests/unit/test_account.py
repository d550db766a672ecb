"""The account: entries that balance, wallets that move, and events that are late, repeated or contained."""

from __future__ import annotations

from decimal import Decimal

from account_monitor.ledger.account import Account, Entry, EventList, fold
from account_monitor.ledger.events import (
    Adjustment,
    Anchor,
    Event,
    Fill,
    FundingPayment,
    MarkPrice,
    Marks,
    Opening,
    OtherIncome,
    Side,
    Transfer,
)
from account_monitor.ledger.valuation import Valuation
from account_monitor.ledger.worth import Price

D = Decimal


def trade(
    number: int, side: Side, quantity: str, price: str, *, fee: str | None = "1", fee_asset: str | None = None,
    stated: str | None = None,
) -> Fill:  # fmt: skip
    return Fill(
        "BTCUSDT", str(number), side, D(quantity), D(price), number * 10, fee=None if fee is None else D(fee),
        fee_asset=fee_asset, realized_pnl=None if stated is None else D(stated),
    )  # fmt: skip


def entries(*events: Event) -> list[Entry]:
    known = EventList()
    account = Account(known)
    made = []
    for seq, event in enumerate(events, start=1):
        known.add(seq, event)
        made.append(account.apply(seq, event))
    return made


def posted(entry: Entry) -> dict[tuple[str, str], Decimal]:
    found: dict[tuple[str, str], Decimal] = {}
    for book, _, asset, amount in entry.postings:
        found[book, asset] = found.get((book, asset), D(0)) + amount
    return {place: amount for place, amount in found.items() if amount}


def test_an_opening_fill_moves_cost_and_fee() -> None:
    (entry,) = entries(trade(1, "BUY", "2", "100"))

    assert entry.outcome == "booked"
    assert posted(entry) == {
        ("position", "USDT"): 200, ("financing", "USDT"): -200, ("fees", "USDT"): 1, ("wallet", "USDT"): -1,
    }  # fmt: skip


def test_a_closing_fill_moves_the_wallet_by_what_the_venue_states() -> None:
    *_, entry = entries(trade(1, "BUY", "1", "100"), trade(2, "SELL", "1", "110", stated="9.99999999", fee_asset="BNB"))

    assert posted(entry) == {
        ("position", "USDT"): -100, ("financing", "USDT"): D("100.00000001"), ("realized", "USDT"): D("-9.99999999"),
        ("rounding", "USDT"): D("-0.00000001"), ("wallet", "USDT"): D("9.99999999"),
        ("fees", "BNB"): 1, ("wallet", "BNB"): -1,
    }  # fmt: skip


def test_every_kind_of_movement_moves_its_wallet_once() -> None:
    account = fold([
        Opening("o", 0, (("USDT", D(1000)), ("BNB", D(2)))),
        Transfer("t", "USDT", D(-100), 1),
        FundingPayment("f1", "USDT", D("-0.5"), 2, "BTCUSDT"),
        FundingPayment("f2", "USDT", D("0.25"), 3),
        OtherIncome("i", "USDT", D("-3"), 4, "INSURANCE_CLEAR"),
        trade(5, "BUY", "1", "100", fee="0.1", fee_asset="BNB"),
        Adjustment("a", 6, "UNEXPLAINED", (("USDT", D(7)),)),
        Marks(7, (MarkPrice("BTCUSDT", D(100), 7),)),
    ])  # fmt: skip

    assert account.state.wallets == {"USDT": D("903.75"), "BNB": D("1.9")}
    assert account.state.wallets_known
    assert account.state.marks["BTCUSDT"].price == 100


def test_a_late_fill_is_restated_with_what_it_changed_after_it() -> None:
    *_, entry = entries(trade(1, "BUY", "1", "100"), trade(3, "SELL", "1", "110"), trade(2, "BUY", "1", "90"))

    assert entry.outcome == "restated"
    assert posted(entry) == {  # the close realized 10 alone, and 15 against the mean of 95
        ("position", "USDT"): 95, ("financing", "USDT"): -95, ("realized", "USDT"): -5, ("fees", "USDT"): 1,
        ("wallet", "USDT"): 4,
    }  # fmt: skip


def test_a_reduction_that_comes_before_its_opening_ends_the_same() -> None:
    opening, closing = trade(1, "BUY", "1", "100"), trade(2, "SELL", "1", "110")

    assert fold([closing, opening]).leg("BTCUSDT") == fold([opening, closing]).leg("BTCUSDT")
    assert fold([closing, opening]).state.wallets == {"USDT": 8}


def test_numeric_ids_are_compared_as_numbers() -> None:
    fills = [trade(999, "BUY", "1", "100")._replace(at_ms=5), trade(1000, "SELL", "1", "110")._replace(at_ms=5)]

    leg = fold(reversed(fills)).leg("BTCUSDT")

    assert (leg.realized, leg.last_price) == (D(10), D(110))


def test_a_fill_that_an_anchor_contains_moves_nothing() -> None:
    anchor = Anchor("BTCUSDT", "BOTH", D(1), D(100), last_trade_id=5)
    made = entries(
        Opening("o", 0, (("USDT", D(10)),), (anchor,)), trade(5, "BUY", "1", "100"), trade(6, "SELL", "1", "110")
    )

    assert [entry.outcome for entry in made] == ["booked", "contained", "booked"]
    assert made[1].postings == ()
    assert posted(made[2])["wallet", "USDT"] == 9


def test_an_anchor_without_a_moment_contains_nothing() -> None:
    anchor = Anchor("BTCUSDT", "BOTH", D(1), D(100))

    account = fold([Opening("o", 0, None, (anchor,)), trade(0, "BUY", "1", "90")])

    assert (account.leg("BTCUSDT").quantity, account.leg("BTCUSDT").cost) == (D(2), D(190))


def test_fills_after_the_moment_of_a_late_anchor_stay() -> None:
    anchor = Anchor("BTCUSDT", "BOTH", D(5), D(500), last_trade_id=2)
    fills = [trade(n, "BUY", "1", "100", fee=None) for n in (1, 2, 3)]

    account = fold([*fills, Adjustment("a", 30, "UNEXPLAINED", (), (anchor,))])

    assert (account.leg("BTCUSDT").quantity, account.leg("BTCUSDT").cost) == (D(6), D(600))


def test_an_adjustment_takes_the_change_of_cost_from_its_own_book() -> None:
    anchor = Anchor("BTCUSDT", "BOTH", D(3), D(330), last_trade_id=1)

    *_, entry = entries(trade(1, "BUY", "1", "100"), Adjustment("a", 30, "UNEXPLAINED", (), (anchor,)))

    assert posted(entry) == {("position", "USDT"): 230, ("adjustment", "USDT"): -230}


def test_wallets_are_unknown_until_somebody_says() -> None:
    assert not fold([trade(1, "BUY", "1", "100")]).state.wallets_known
    assert not fold([Opening("o", 0, None)]).state.wallets_known
    assert fold([Opening("o", 0, ())]).state.wallets_known


def test_a_correction_of_the_fee_asset_takes_the_old_fee_back() -> None:
    first, corrected = trade(1, "BUY", "1", "100"), trade(1, "BUY", "1", "100", fee="0.01", fee_asset="BNB")

    account = fold([first, corrected])

    assert {asset: amount for asset, amount in account.state.wallets.items() if amount} == {"BNB": D("-0.01")}


def test_older_marks_do_not_replace_younger_ones() -> None:
    young, old = MarkPrice("BTCUSDT", D(120), 20), MarkPrice("BTCUSDT", D(90), 10)

    assert fold([Marks(20, (young,)), Marks(10, (old,))]).state.marks["BTCUSDT"] == young


def test_a_late_fill_does_not_turn_back_the_time_at_which_a_wallet_moved() -> None:
    assert fold([trade(2, "BUY", "1", "100"), trade(1, "BUY", "1", "100")]).state.wallet_touched_ms == {"USDT": 20}


def test_a_revision_with_a_later_time_replaces_its_fill_where_ids_are_no_numbers() -> None:
    bot = trade(1, "BUY", "1", "100")._replace(trade_id="T1")
    first = trade(7, "BUY", "1", "100")
    account = fold([bot, first, first._replace(price=D(101), at_ms=first.at_ms + 500, revision=1)])

    assert account.leg("BTCUSDT").quantity == 2
    assert account.leg("BTCUSDT").cost == 201


def test_of_two_legs_of_one_millisecond_the_same_one_prices_the_symbol_whatever_came_first() -> None:
    long = trade(1, "BUY", "2", "91")._replace(position_side="LONG")
    short = trade(2, "BUY", "1", "101")._replace(position_side="SHORT", at_ms=long.at_ms)
    for order in ([long, short], [short, long]):
        assert Valuation(fold(order)).price("BTCUSDT") == Price(D(101), "last_fill", long.at_ms)
