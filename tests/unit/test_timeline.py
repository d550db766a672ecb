"""Late events: they are put in their place, they count once, and what they cost does not grow with the history."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest

from account_monitor.ledger.account import Account, EventList, fold
from account_monitor.ledger.events import (
    Adjustment,
    Anchor,
    Event,
    Fill,
    FundingPayment,
    LegEvent,
    Opening,
    Reversal,
    Side,
)

D = Decimal


def fill(number: int | str, side: Side = "BUY", quantity: str = "1", at: str = "100", ms: int | None = None) -> Fill:
    at_ms = ms if ms is not None else int(number)
    return Fill("BTCUSDT", str(number), side, D(quantity), D(at), at_ms, fee=D("0.1"), fee_asset="USDT")


def funding(name: str, amount: str, ms: int) -> FundingPayment:
    return FundingPayment(name, "USDT", D(amount), ms, "BTCUSDT")


def anchor(
    quantity: str, cost: str, *, last_trade_id: int | None = None, at_ms: int | None = None, name: str = "a"
) -> Adjustment:
    stated = Anchor("BTCUSDT", "BOTH", D(quantity), D(cost), last_trade_id, at_ms)
    return Adjustment(name, at_ms or 0, "UNEXPLAINED", (), (stated,))


class CountingHistory(EventList):
    """A history that counts the events that are read from it."""

    read = 0

    def history(self, key: str, *, after: int, until: int) -> Iterable[tuple[int, LegEvent]]:
        events = list(super().history(key, after=after, until=until))
        self.read += len(events)
        return events


class Recorded:
    """An account with its journal, event by event."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.journal = CountingHistory()
        self.account = Account(self.journal)
        self.seq = 0
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> int:
        """Apply an event and return how many were read from history for it."""
        self.seq += 1
        self.journal.add(self.seq, event)
        before = self.journal.read
        self.account.apply(self.seq, event)
        return self.journal.read - before

    @property
    def checkpoints(self) -> int:
        return len(self.account.state.timelines["BTCUSDT"].checkpoints)


def with_itself(number: int, quantity: str, at: str, *, taker: Side) -> list[Fill]:
    """A trade of the account with itself: the taker's half, then the maker's, which was recorded second."""
    maker: Side = "SELL" if taker == "BUY" else "BUY"
    taking = fill(number, taker, quantity, at)._replace(order_id=str(2 * number + 1), maker=False)
    return [taking, taking._replace(side=maker, order_id=str(2 * number), maker=True, is_counterpart=True)]


# -- the price of being late -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("late_by", [1, 2, 10, 63, 64, 65, 100, 500, 1000, 5000])
def test_a_fill_that_is_late_by_n_costs_about_n_and_not_the_history(late_by: int) -> None:
    length = 12_000
    missing = length - late_by
    recorded = Recorded(fill(n) for n in range(1, length + 1) if n != missing)

    read = recorded.apply(fill(missing))

    assert read <= 4 * late_by + 2 * 64
    assert recorded.account.leg("BTCUSDT").quantity == length


def test_checkpoints_grow_with_the_logarithm_of_the_history() -> None:
    recorded = Recorded(fill(n) for n in range(1, 20_001))

    assert recorded.checkpoints <= 2 * (20_000).bit_length()


def test_fills_that_come_in_swapped_pairs_read_a_bounded_stretch_of_history_each() -> None:
    length = 2_000
    recorded = Recorded(fill(n) for pair in range(1, length, 2) for n in (pair + 1, pair))

    assert recorded.journal.read <= length * 3 * 64


def test_after_one_very_late_fill_the_next_slightly_late_one_is_cheap_again() -> None:
    recorded = Recorded(fill(n) for n in range(2, 6_001))
    recorded.apply(fill(1))
    recorded.apply(fill(6_002))

    assert recorded.apply(fill(6_001)) <= 3 * 64


def test_late_fills_in_every_batch_read_a_bounded_stretch_of_history() -> None:
    journal = CountingHistory()
    account = Account(journal)
    seq = 0
    for start in range(1, 8_001, 200):
        numbers = [start + 1, start, *range(start + 2, start + 200)]
        batch = list(enumerate([fill(n) for n in numbers], start=seq + 1))
        seq += len(batch)
        for number, event in batch:
            journal.add(number, event)
        account.apply_all(batch)

    assert account.leg("BTCUSDT").quantity == 8_000
    assert journal.read <= 8_000 * 4


# -- ids that are not numbers ----------------------------------------------------------------------------------------


def test_the_first_id_that_is_no_number_may_come_after_a_checkpoint() -> None:
    events = [*(fill(n) for n in range(1, 70)), fill("x", ms=100)]
    journal = EventList()
    for seq, event in enumerate(events, start=1):
        journal.add(seq, event)
    account = Account(journal)

    batch = account.apply_in_order(list(enumerate(events, start=1)))
    size = account.restatement_size(batch)
    account.restate(batch)

    assert size >= 1
    assert account.leg("BTCUSDT").quantity == 70


def test_the_first_id_that_is_no_number_orders_the_whole_position_by_time() -> None:
    backwards = [fill(n, "BUY" if n % 3 else "SELL", str(1 + n % 2), str(100 + n), ms=1000 - n) for n in range(1, 201)]

    account = fold([*backwards, fill("x", "SELL", "5", ms=2000)])

    assert account.leg("BTCUSDT") == fold([fill("x", "SELL", "5", ms=2000), *reversed(backwards)]).leg("BTCUSDT")


def test_ids_that_are_equal_as_numbers_but_not_as_text_count_each() -> None:
    to_checkpoint = [fill(n) for n in range(1, 65)]

    account = fold([*to_checkpoint, fill("064", "SELL", "0.5", ms=64), fill(66), fill(65)])

    assert account.leg("BTCUSDT").quantity == D("65.5")


def test_ids_that_are_equal_as_numbers_have_one_order_whichever_arrives_first() -> None:
    buy, sell = fill("7", "BUY", "2", "100", 7), fill("07", "SELL", "1", "110", 7)

    assert fold([buy, sell]).leg("BTCUSDT").realized == fold([sell, buy]).leg("BTCUSDT").realized


# -- anchors ---------------------------------------------------------------------------------------------------------


def test_a_payment_that_is_found_after_an_adjustment_still_counts() -> None:
    account = fold([
        fill(1), funding("b", "-2", 50), anchor("1", "100", last_trade_id=1, at_ms=60), funding("a", "-3", 40),
    ])  # fmt: skip

    assert account.leg("BTCUSDT").funding.by_asset == {"USDT": D("-5")}
    assert account.state.wallets == {"USDT": D("-5.1")}


@pytest.mark.parametrize("older", [50, None])
def test_an_anchor_older_than_the_last_one_does_not_count_fills_again(older: int | None) -> None:
    account = fold([
        fill(1, ms=60), fill(2, "SELL", at="110", ms=90),
        anchor("0", "0", at_ms=100, name="x"), anchor("0", "0", at_ms=older, name="y"),
    ])  # fmt: skip

    assert account.leg("BTCUSDT").realized == 10
    assert account.leg("BTCUSDT").fees.by_asset == {"USDT": D("0.2")}


def test_a_contained_text_id_does_not_break_an_older_anchor() -> None:
    account = fold([
        anchor("0", "0", at_ms=100, name="x"), fill("text", ms=50), fill(1, ms=150), anchor("1", "90", name="y"),
    ])  # fmt: skip

    assert account.leg("BTCUSDT").quantity == 2


def test_an_anchor_by_id_swallows_no_younger_fill_of_a_position_that_is_ordered_by_time() -> None:
    fills = [fill("x", ms=0), *(fill(n) for n in range(1, 200))]

    account = fold([*fills, anchor("50", "5000", last_trade_id=50, at_ms=150)])

    assert account.leg("BTCUSDT").quantity == 50 + 149


@pytest.mark.parametrize("place", range(4))
def test_funding_stays_in_its_round_trip_whenever_the_opening_arrives(place: int) -> None:
    opening = Opening("o", 0, (), (Anchor("BTCUSDT", "BOTH", D(0), D(0), 0, 0),))
    events: list[Event] = [fill(1, ms=10), funding("f", "-2", 20), fill(2, "SELL", at="110", ms=30)]

    account = fold([*events[:place], opening, *events[place:]])

    assert account.leg("BTCUSDT").trips.gross_win == D("7.8")


def test_a_contained_fill_is_contained_in_a_batch_with_late_ones_too() -> None:
    events: list[Event] = [anchor("0", "0", at_ms=100), fill(5, ms=200), fill(4, ms=195), fill("x", ms=50)]
    journal = EventList()
    for seq, event in enumerate(events, start=1):
        journal.add(seq, event)
    account = Account(journal)

    entries = account.apply_all(list(enumerate(events, start=1)))

    assert [entry.outcome for entry in entries] == ["booked", "booked", "restated", "contained"]
    assert account.state.timelines["BTCUSDT"].by_number


@pytest.mark.parametrize("place", range(3))
def test_what_an_opening_does_not_name_was_flat_then_wherever_the_opening_arrives(place: int) -> None:
    opening = Opening("o", 10, ())
    events: list[Event] = [fill(1, ms=5), fill(2, ms=20)]

    account = fold([*events[:place], opening, *events[place:]])

    assert account.leg("BTCUSDT").quantity == 1


def test_a_late_fill_from_before_the_opening_is_contained_although_younger_ones_came_first() -> None:
    account = fold([fill(2, ms=20), Opening("o", 10, ()), fill(1, ms=5)])

    assert account.leg("BTCUSDT").quantity == 1


def test_a_payment_from_before_the_opening_is_in_its_wallets_already() -> None:
    account = fold([Opening("o", 10, (("USDT", D(100)),)), funding("f", "-2", 5)])

    assert account.state.wallets == {"USDT": D(100)}


def test_an_anchor_by_time_contains_its_own_millisecond() -> None:
    account = fold([anchor("3", "300", at_ms=50), fill(1, ms=50), fill(2, ms=51)])

    assert account.leg("BTCUSDT").quantity == 4


def test_late_fills_of_a_batch_are_restated_before_its_adjustment() -> None:
    events: list[Event] = [fill(1), fill(3), fill(2), anchor("5", "500", last_trade_id=3)]
    journal = EventList()
    for seq, event in enumerate(events, start=1):
        journal.add(seq, event)

    *_, late, adjusted = Account(journal).apply_all(list(enumerate(events, start=1)))

    assert ("fees", "BTCUSDT", "USDT", D("0.1")) in late.postings
    assert {book for book, *_ in adjusted.postings} == {"position", "adjustment"}


def test_one_fill_far_ahead_does_not_make_later_ones_read_all_that_came_since() -> None:
    """A trade id of another counter stays last for good, so everything after it is late by one."""
    account = Recorded([fill("999999999999", "BUY", "1", "100", 0)])
    reads = [account.apply(fill(str(number), "BUY", "1", "100", number)) for number in range(1, 3_001)]

    assert max(reads[:500]) <= 200
    assert max(reads[-500:]) <= 200


# -- trades of the account with itself -------------------------------------------------------------------------------


def test_both_halves_of_a_trade_with_itself_count() -> None:
    account = fold([fill(1, quantity="10"), *with_itself(2, "4", "120", taker="SELL")])

    leg = account.leg("BTCUSDT")
    assert (leg.quantity, leg.cost, leg.realized, leg.fill_count) == (D(10), D(600 + 480), D(80), 3)


@pytest.mark.parametrize("says_who_made", [True, False])
@pytest.mark.parametrize("is_taker_first", [True, False])
@pytest.mark.parametrize("is_late", [True, False])
def test_the_takers_half_counts_first_whichever_was_recorded_first(
    is_late: bool, is_taker_first: bool, says_who_made: bool
) -> None:
    taking, making = with_itself(2, "10", "120", taker="BUY")
    first, second = (taking, making) if is_taker_first else (making, taking)
    told = [first._replace(is_counterpart=False), second._replace(is_counterpart=True)]
    halves = told if says_who_made else [half._replace(maker=None) for half in told]
    before, after = fill(1, quantity="10"), fill(3, "SELL", at="130")

    leg = fold([before, after, *halves] if is_late else [before, *halves, after]).leg("BTCUSDT")

    assert (leg.quantity, leg.cost, leg.realized) == (D(9), D(2200 - 1100 - 110), D(100 + 20))


def test_an_older_order_that_was_amended_takes_first_too() -> None:
    halves = [
        half._replace(order_id=number)
        for half, number in zip(with_itself(2, "10", "120", taker="BUY"), "12", strict=True)
    ]

    leg = fold([fill(1, quantity="10"), *halves]).leg("BTCUSDT")

    assert (leg.quantity, leg.cost, leg.realized) == (D(10), D(1100), D(100))


def test_halves_are_told_apart_before_and_after_every_checkpoint() -> None:
    pairs = [half for n in range(2, 302) for half in with_itself(n, "1", str(100 + n % 7), taker="SELL")]
    swapped = [half for n in range(0, len(pairs), 2) for half in reversed(pairs[n : n + 2])]
    whole = fold([fill(1, quantity="10"), *pairs]).leg("BTCUSDT")

    for arrivals in ([fill(1, quantity="10"), *swapped], [*pairs, fill(1, quantity="10")]):
        assert fold(arrivals).leg("BTCUSDT") == whole
    for cut in range(120, 140):
        recorded = Recorded([fill(1, quantity="10"), *pairs[:cut], *pairs[cut + 1 :]])
        recorded.apply(pairs[cut])
        assert recorded.account.leg("BTCUSDT") == whole


def test_each_half_is_corrected_by_itself() -> None:
    taking, making = with_itself(2, "4", "120", taker="SELL")
    corrected = [half._replace(price=D(110), revision=1) for half in (taking, making)]
    right = [half._replace(price=D(110)) for half in (taking, making)]
    start = fill(1, quantity="10")

    for n in (0, 1):
        others = [making, taking][n]
        once = fold([start, taking, making, corrected[n]]).leg("BTCUSDT")
        assert once == fold([start, *sorted([right[n], others], key=lambda f: f.is_counterpart)]).leg("BTCUSDT")


def test_a_half_that_was_taken_back_leaves_the_other() -> None:
    taking, making = with_itself(2, "4", "120", taker="SELL")
    start = fill(1, quantity="10")

    leg = fold([start, taking, making, taking._replace(quantity=D(0), revision=1)]).leg("BTCUSDT")

    assert leg == fold([start, making]).leg("BTCUSDT")


def test_an_anchor_contains_both_halves_or_none() -> None:
    halves = with_itself(2, "4", "120", taker="SELL")

    contained = fold([fill(1, quantity="10"), anchor("7", "700", last_trade_id=2), *halves]).leg("BTCUSDT")
    after = fold([fill(1, quantity="10"), anchor("7", "700", last_trade_id=1), *halves]).leg("BTCUSDT")

    assert (contained.quantity, contained.cost) == (D(7), D(700))
    assert (after.quantity, after.cost) == (D(7), D(300 + 480))


# -- corrections that are taken back -----------------------------------------------------------------------------------


def test_what_a_correction_contained_counts_once_it_is_taken_back() -> None:
    account = fold([fill(1), anchor("5", "500", at_ms=10), fill(2, ms=5), fill(3, "SELL", at="120", ms=20)])
    assert (account.leg("BTCUSDT").quantity, account.leg("BTCUSDT").fill_count) == (D(4), 2)

    taken = fold(
        [fill(1), anchor("5", "500", at_ms=10), fill(2, ms=5), fill(3, "SELL", at="120", ms=20), Reversal("a", 30, "")]
    )
    leg = taken.leg("BTCUSDT")
    assert (leg.quantity, leg.cost, leg.realized, leg.fill_count) == (D(1), D(100), D(20), 3)
    assert taken.state.wallets == {"USDT": D("19.7")}


def test_corrections_of_one_position_are_taken_back_in_any_order() -> None:
    events: list[Event] = [fill(1), anchor("5", "500", at_ms=10, name="a"), anchor("7", "700", at_ms=20, name="b")]

    assert fold([*events, Reversal("a", 30, "")]).leg("BTCUSDT").quantity == 7
    assert fold([*events, Reversal("b", 30, "")]).leg("BTCUSDT").quantity == 5
    assert fold([*events, Reversal("a", 30, ""), Reversal("b", 30, "")]).leg("BTCUSDT").quantity == 1


def test_a_reversal_of_nothing_that_stands_moves_nothing() -> None:
    account = fold([fill(1), Reversal("a", 5, ""), anchor("5", "500", at_ms=10), Reversal("a", 30, ""),
                    Reversal("a", 31, "")])  # fmt: skip

    assert account.leg("BTCUSDT").quantity == 1


@pytest.mark.parametrize("length", [500, 5_000])
def test_a_reversal_costs_what_came_since_the_correction_and_not_the_history(length: int) -> None:
    recorded = Recorded(fill(n) for n in range(1, length + 1))
    recorded.apply(anchor("5", "500", at_ms=length))
    for n in range(length + 1, length + 101):
        recorded.apply(fill(n))

    assert recorded.apply(Reversal("a", length, "")) <= 2 * (
        100 + 2 * 64
    )  # read once to see how far back, once to fold
    assert recorded.account.leg("BTCUSDT").quantity == length + 100
