"""Standing: drawdown, return and daily loss of what was there, whatever was paid in or out meanwhile."""

from __future__ import annotations

from decimal import Decimal

import pytest

from account_monitor.ledger.account import DAY_MS, Account, EventList, fold
from account_monitor.ledger.events import (
    Adjustment,
    Anchor,
    DrawdownReset,
    Event,
    Fill,
    MarkPrice,
    Marks,
    Opening,
    Reversal,
    Side,
    Transfer,
)
from account_monitor.ledger.money import change_percent, scaled, shown
from account_monitor.ledger.performance import Performance, Standing
from account_monitor.ledger.valuation import Valuation

D = Decimal
BEGUN = Opening("o", 0, (("USDT", D(1000)),))
TO_THE_LAST_DIGIT = D("-3.3333333333")
"""The fall from 1,050 to 1,015."""


def buy(number: int, quantity: str = "1", at: str = "100", *, side: Side = "BUY", symbol: str = "BTCUSDT") -> Fill:
    return Fill(symbol, str(number), side, D(quantity), D(at), number)


def marked(price: str, at_ms: int = 1, *, symbol: str = "BTCUSDT") -> Marks:
    return Marks(at_ms, (MarkPrice(symbol, D(price), at_ms),))


def paid(amount: str, name: str = "t", asset: str = "USDT") -> Transfer:
    return Transfer(name, asset, D(amount), 5)


def standing(*events: Event, day_starts_at: int = 0) -> Standing:
    """Return the standing at the prices of the journal."""
    known = EventList()
    account = Account(known, day_starts_at=day_starts_at)
    for seq, event in enumerate(events, start=1):
        known.add(seq, event)
        account.apply(seq, event)
    return account.standing(Valuation(account).pnl().equity)


# -- drawdown and return ---------------------------------------------------------------------------------------------


def test_drawdown_is_against_the_peak_and_return_against_the_beginning() -> None:
    # 1,000 at first; 1,050 at a mark of 150; 1,015 at 115.
    seen = standing(BEGUN, buy(1), marked("150"), marked("115"))

    assert seen == Standing(TO_THE_LAST_DIGIT, TO_THE_LAST_DIGIT, D("1.5"), D(1050), D(0))


def test_the_example_of_the_documentation() -> None:
    events: list[Event] = [BEGUN, buy(1), marked("150"), marked("115"), paid("1015"), marked("30")]
    rows = [standing(*events[:length]) for length in (1, 3, 4, 5, 6)]

    assert [(row.drawdown_pct, row.return_pct) for row in rows] == [
        (0, 0), (0, 5), (TO_THE_LAST_DIGIT, D("1.5")), (TO_THE_LAST_DIGIT, D("1.5")), (D("-7.3809523810"), D("-2.75")),
    ]  # fmt: skip


def test_the_worst_drawdown_stays_when_the_account_recovers() -> None:
    seen = standing(BEGUN, buy(1), marked("0"), marked("100"))

    assert (seen.drawdown_pct, seen.max_drawdown_pct) == (D(0), D(-10))


def test_the_fills_of_one_commit_are_not_observed_one_by_one() -> None:
    # Between the sale at 50 and the purchase at 50 the account seems to have lost; no marks, no observation.
    seen = standing(BEGUN, buy(1), buy(2, at="50"), buy(3, at="100", side="SELL"), marked("100"))

    assert seen.max_drawdown_pct == D(0)


@pytest.mark.parametrize("amount", ["500", "-500", "0.01", "333.33", "-1014.99", "99999999999999999999"])
def test_a_deposit_or_withdrawal_changes_neither_drawdown_nor_return(amount: str) -> None:
    before = standing(BEGUN, buy(1), marked("150"), marked("115"))
    after = standing(BEGUN, buy(1), marked("150"), marked("115"), paid(amount))

    assert (after.drawdown_pct, after.max_drawdown_pct, after.return_pct) == (
        before.drawdown_pct, before.max_drawdown_pct, before.return_pct,
    )  # fmt: skip
    assert after.daily_loss == before.daily_loss


def test_the_peak_is_what_equity_would_be_at_it_with_the_money_of_now() -> None:
    # Twice the money: the same fall is twice as much.
    assert standing(BEGUN, buy(1), marked("150"), marked("115"), paid("1015")).peak_equity == D(2100)


def test_a_thousand_deposits_and_withdrawals_change_no_digit() -> None:
    flows = [paid(amount, f"{amount}:{n}") for n in range(500) for amount in ("33.33", "-33.33")]

    seen = standing(BEGUN, buy(1), marked("150"), marked("115"), *flows)

    assert (seen.drawdown_pct, seen.return_pct) == (TO_THE_LAST_DIGIT, D("1.5"))


def test_a_deposit_in_another_asset_is_none_of_it() -> None:
    rate = marked("30000", symbol="BNBUSDT")

    seen = standing(BEGUN, buy(1), marked("150"), marked("115"), rate, paid("2", asset="BNB"))

    assert (seen.drawdown_pct, seen.return_pct) == (TO_THE_LAST_DIGIT, D("1.5"))


def test_what_an_asset_gains_after_it_was_deposited_is_a_result() -> None:
    rate = marked("500", symbol="BNBUSDT")

    seen = standing(BEGUN, rate, paid("2", asset="BNB"), marked("400", symbol="BNBUSDT"))

    assert seen.drawdown_pct == D(-10)  # from 2,000 to 1,800


def test_all_money_may_leave_and_come_back() -> None:
    fallen: list[Event] = [BEGUN, buy(1), marked("150"), buy(2, at="115", side="SELL"), marked("115")]

    gone = standing(*fallen, paid("-1015"))
    back = standing(*fallen, paid("-1015"), marked("1"), paid("50", "u"), marked("2"))

    assert (gone.drawdown_pct, gone.return_pct) == (TO_THE_LAST_DIGIT, D("1.5"))
    assert gone.peak_equity is None
    assert (back.drawdown_pct, back.return_pct) == (TO_THE_LAST_DIGIT, D("1.5"))


def test_equity_that_reaches_zero_closes_the_series_and_the_next_deposit_opens_another() -> None:
    lost: list[Event] = [BEGUN, buy(1, "10"), marked("0")]

    closed = standing(*lost)
    opened = standing(*lost, paid("2000"), marked("20"))

    assert (closed.drawdown_pct, closed.return_pct, closed.peak_equity) == (D(-100), D(-100), None)
    assert opened == Standing(D(0), D(-100), D(10), D(2200), D(800))  # of the day: 1,000 lost, then 200 won
    assert standing(*lost, marked("50")).drawdown_pct == D(-100)  # a price opens nothing


def test_an_account_that_is_empty_begins_with_its_first_deposit() -> None:
    seen = standing(Opening("o", 0, ()), marked("1"), paid("200"))

    assert seen == Standing(D(0), D(0), D(0), D(200), D(0))


def test_what_nobody_knows_is_not_zero() -> None:
    assert standing(buy(1), marked("100")) == Standing()  # nobody said what the wallets held
    unpriced = Opening("o", 0, (("USDT", D(1000)),), (Anchor("ETHUSDT", "BOTH", D(1), D(50)),))
    assert standing(unpriced, marked("1")) == Standing()


def test_an_open_position_without_a_price_is_no_observation() -> None:
    adopted = Adjustment("a", 6, "OPERATOR", positions=(Anchor("ETHUSDT", "BOTH", D(1), D(50)),))

    seen = standing(BEGUN, buy(1), marked("150"), adopted, marked("0"))

    assert (seen.drawdown_pct, seen.max_drawdown_pct, seen.daily_loss) == (None, D(0), None)


def test_what_happens_around_a_flow_without_a_price_is_left_out() -> None:
    # 1,050 at the peak, 1,015 when 2 BNB arrive that nobody prices; meanwhile the mark falls to 15.
    unpriced: list[Event] = [BEGUN, buy(1), marked("150"), marked("115"), paid("2", asset="BNB"), marked("15")]

    seen = standing(*unpriced, marked("600", symbol="BNBUSDT"))

    assert standing(*unpriced).drawdown_pct is None
    assert (seen.drawdown_pct, seen.return_pct, seen.daily_loss) == (TO_THE_LAST_DIGIT, D("1.5"), D(0))


# -- corrections -----------------------------------------------------------------------------------------------------


def test_what_nobody_has_explained_is_neither_won_nor_lost() -> None:
    unexplained = Adjustment("a", 6, "UNEXPLAINED", wallets=(("USDT", D(-300)),))

    seen = standing(BEGUN, buy(1), marked("150"), marked("115"), unexplained)

    assert (seen.drawdown_pct, seen.return_pct, seen.daily_loss) == (TO_THE_LAST_DIGIT, D("1.5"), D(0))


def test_what_is_explained_later_counts_as_what_it_is() -> None:
    # The exchange states a short of 1 at 100 that nobody told of, at a mark of 110; its fill turns up at 150.
    stated = Adjustment("a", 6, "UNEXPLAINED", positions=(Anchor("ETHUSDT", "BOTH", D(-1), D(-100), None, 6),))
    missed = Fill("ETHUSDT", "1", "SELL", D(1), D(100), 4)
    priced, risen = marked("110", symbol="ETHUSDT"), marked("150", symbol="ETHUSDT")
    believed: list[Event] = [BEGUN, priced, stated, risen]

    explained = standing(*believed, Reversal("a", 7, "explained"), missed, risen)
    contained = standing(*believed, missed, Reversal("a", 7, "explained"), risen)

    assert standing(*believed).return_pct == change_percent(D(950), D(990))  # 990 with what was stated
    # The 40 that it lost since, of 990; the 10 before, of the 960 that are there without them: each once.
    assert contained == explained
    assert explained.return_pct == change_percent(D(950) * 950, D(990) * 960)
    assert explained.daily_loss == D(50)


def test_a_transfer_that_explains_a_correction_changes_nothing() -> None:
    unexplained = Adjustment("a", 6, "UNEXPLAINED", wallets=(("USDT", D(500)),))
    fallen: list[Event] = [BEGUN, buy(1), marked("150"), marked("115")]

    seen = standing(*fallen, unexplained, Reversal("a", 7, "a deposit"), paid("500"))

    assert (seen.drawdown_pct, seen.return_pct, seen.daily_loss) == (TO_THE_LAST_DIGIT, D("1.5"), D(0))


def test_where_a_younger_correction_states_the_same_position_nothing_is_paid_back() -> None:
    def stated(name: str, quantity: str, cost: str) -> Adjustment:
        return Adjustment(name, 6, "UNEXPLAINED", positions=(Anchor("BTCUSDT", "BOTH", D(quantity), D(cost), None, 6),))

    first, second = stated("a", "1", "50"), stated("b", "2", "120")
    believed: list[Event] = [BEGUN, marked("100"), first, second]

    taken = standing(*believed, Reversal("a", 7, "explained"), marked("100"))
    both = standing(*believed, Reversal("a", 7, "explained"), Reversal("b", 8, "explained"), marked("100"))

    assert (taken.return_pct, both.return_pct) == (D(0), D(0))


def test_a_late_fill_restates_positions_and_not_past_observations() -> None:
    # The sale at 140 was missing while the account seemed to fall to 1,000.
    late = Fill("BTCUSDT", "2", "SELL", D(1), D(140), 2)

    seen = standing(BEGUN, buy(1), buy(3, at="140"), marked("140"), marked("100"), late, marked("100"))

    assert seen.max_drawdown_pct == change_percent(D(960), D(1040))  # as it was believed
    assert seen.drawdown_pct == change_percent(D(1000), D(1040))  # as it is known now


# -- the order of a person -------------------------------------------------------------------------------------------


def test_a_reset_begins_the_peak_anew_and_leaves_the_worst_and_the_return() -> None:
    reset = DrawdownReset("r", 9, "new strategy", "ann")

    seen = standing(BEGUN, buy(1), marked("150"), marked("115"), reset)

    assert seen == Standing(D(0), TO_THE_LAST_DIGIT, D("1.5"), D(1015), D(0))


def test_a_reset_opens_a_series_that_was_closed() -> None:
    reset = DrawdownReset("r", 9, "new strategy", "ann")

    seen = standing(BEGUN, buy(1, "10"), marked("0"), marked("50"), reset)

    assert (seen.drawdown_pct, seen.return_pct, seen.peak_equity) == (D(0), D(0), D(500))


# -- the day ---------------------------------------------------------------------------------------------------------


def test_the_daily_loss_is_since_the_last_observation_before_the_day_began() -> None:
    morning, noon = DAY_MS, DAY_MS + DAY_MS // 2

    seen = standing(BEGUN, buy(1), marked("150", DAY_MS - 1), marked("130", morning), paid("500"), marked("120", noon))

    assert seen.daily_loss == D(30)  # from 1,050 to 1,020, and 500 came in


def test_nothing_is_lost_on_a_day_that_won() -> None:
    assert standing(BEGUN, buy(1), marked("90", DAY_MS), marked("150", DAY_MS + 1)).daily_loss == D(0)


def test_the_day_begins_when_the_settings_say() -> None:
    events: list[Event] = [
        BEGUN,
        buy(1),
        marked("150", DAY_MS - 1),
        marked("130", DAY_MS),
        marked("120", DAY_MS + 27_000_000),
    ]

    assert standing(*events).daily_loss == D(30)
    assert standing(*events, day_starts_at=450).daily_loss == D(10)  # at 07:30


def test_a_clock_that_is_put_back_a_little_begins_no_day() -> None:
    def at(at_ms: int, price: str) -> Marks:
        return Marks(at_ms, (MarkPrice("BTCUSDT", D(price), 0),))

    events: list[Event] = [BEGUN, buy(1), at(DAY_MS - 1, "150"), at(DAY_MS, "130"), at(DAY_MS - 1000, "120")]

    assert standing(*events).daily_loss == D(30)
    assert standing(*events, at(-5 * DAY_MS, "110")).daily_loss == D(10)  # so much is another day


def test_a_loss_of_yesterday_waits_for_an_observation_of_today() -> None:
    account = fold([BEGUN, buy(1), marked("150", 1), marked("130", 2)])
    flat = fold([BEGUN, marked("150", 1)])

    assert account.state.performance.awaits_day(1)
    assert not account.state.performance.awaits_day(0)
    assert not flat.state.performance.awaits_day(1)


# -- exactness -------------------------------------------------------------------------------------------------------


def test_the_peak_is_compared_without_rounding() -> None:
    least = D("0.00000000000000000001")
    performance = Performance()
    performance.observe(D(1000), 0)
    performance.flow(D(1000), D("1333.33"))
    performance.observe(D("1333.33") + least, 0)

    assert performance.peak is not None
    assert performance.peak.equity == D("1333.33") + least


def test_percentages_have_ten_decimals_and_half_goes_to_the_even_digit() -> None:
    assert change_percent(D(2), D(3)) == D("-33.3333333333")
    assert change_percent(D("1.00000000000050"), D(1)) == D("0")
    assert change_percent(D("1.00000000000150"), D(1)) == D("0.0000000002")
    assert shown(D(2), D(3)) == D("0.6666666667")


def test_what_is_larger_than_any_number_of_the_venue_is_rounded_and_does_not_break() -> None:
    assert change_percent(D("1e5000"), D(3)).adjusted() == 5001
    assert scaled(D("1e5000"), D("1e-60"), D("3e60")).adjusted() == 4879
