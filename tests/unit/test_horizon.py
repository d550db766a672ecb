"""Horizons: what is before one is final, what is after it is not, and the journal is needed only from there."""

from __future__ import annotations

from decimal import Decimal

from account_monitor.ledger.events import Event, Horizon, Reversal, Transfer
from account_monitor.monitor.horizon import before_ms, horizon, is_due
from tests.unit.test_timeline import Recorded, anchor, fill, funding, with_itself

D = Decimal


class Kept(Recorded):
    """An account that draws horizons."""

    def draw(self, before_ms: int) -> Horizon:
        drawn = horizon(self.account.state, 10_000 + self.seq, before_ms)
        self.apply(drawn)
        return drawn

    @property
    def quantity(self) -> Decimal:
        return self.account.leg("BTCUSDT").quantity

    @property
    def needed_after(self) -> int:
        return self.account.state.needed_after


def traded(*numbers: int) -> Kept:
    """An account that drew a horizon after each fill."""
    kept = Kept()
    for number in numbers:
        kept.apply(fill(number))
        kept.draw(0)
    return kept


def test_a_fill_before_the_horizon_moves_nothing_and_one_after_it_does() -> None:
    kept = traded(10, 20, 30)
    kept.draw(20)

    kept.apply(fill(15))
    kept.apply(fill(20, quantity="7")._replace(revision=1))
    assert kept.quantity == 3
    kept.apply(fill(25))
    assert kept.quantity == 4


def test_the_journal_is_needed_from_the_horizon_on() -> None:
    kept = traded(10, 20, 30)
    assert kept.needed_after == 0

    kept.draw(20)

    assert kept.needed_after == 4  # the horizon after fill 20


def test_a_position_that_rests_needs_nothing_of_the_journal() -> None:
    kept = traded(10)
    kept.draw(15)
    kept.apply(Transfer("t", "USDT", D(5), 50))
    kept.draw(15)

    assert kept.needed_after == kept.seq
    kept.apply(fill(20))
    assert kept.apply(fill(18)) == 2  # it reads what came since, itself too
    assert kept.quantity == 3


def test_a_horizon_begins_at_any_checkpoint_where_none_was_left_by_another() -> None:
    kept = Kept(fill(number) for number in range(1, 201))

    drawn = kept.draw(150)

    (place,) = drawn.places
    assert place.trade_id == "128"
    assert kept.needed_after == 128
    assert kept.apply(fill(100)) == 0
    assert kept.quantity == 200


def test_money_that_moved_before_the_horizon_moves_nothing_any_more() -> None:
    kept = traded(10)
    kept.draw(50)

    kept.apply(Transfer("old", "USDT", D(5), 50))
    kept.apply(funding("old", "-1", 50))
    kept.apply(funding("new", "-2", 51))

    assert kept.account.state.transfers.by_asset == {}
    assert kept.account.leg("BTCUSDT").funding.by_asset == {"USDT": D(-2)}


def test_that_is_remembered_once_however_many_horizons_there_were() -> None:
    kept = traded(10)
    for before in (20, 50, 40):
        kept.draw(before)
    kept.draw(45)

    assert [before for _, before in kept.account.state.wallet_statements] == [50, 45]


def test_a_position_keeps_what_it_was_before_a_correction_that_may_be_taken_back() -> None:
    kept = traded(10, 20)
    kept.apply(anchor("7", "700", last_trade_id=20, at_ms=30))
    needed_after = kept.needed_after

    kept.draw(25)
    assert kept.needed_after == needed_after
    kept.apply(Reversal("a", 40, "explained"))

    assert kept.quantity == 2


def test_a_correction_before_the_horizon_is_final() -> None:
    kept = traded(10, 20)
    kept.apply(anchor("7", "700", last_trade_id=20, at_ms=30))
    corrected = kept.seq

    kept.draw(30)
    kept.apply(Reversal("a", 40, "explained"))

    assert kept.quantity == 7
    assert kept.account.state.adjustments == []
    assert kept.needed_after >= corrected


def test_of_two_corrections_the_second_may_be_taken_back_when_the_first_is_final() -> None:
    kept = traded(10)
    kept.apply(anchor("5", "500", last_trade_id=10, at_ms=30, name="a"))
    kept.apply(anchor("7", "700", last_trade_id=10, at_ms=60, name="b"))
    kept.draw(40)

    kept.apply(Reversal("b", 70, "explained"))

    assert kept.quantity == 5


def test_the_second_half_of_a_trade_with_itself_before_the_horizon_moves_nothing() -> None:
    taking, making = with_itself(20, "1", "100", taker="BUY")
    kept = traded(10)
    kept.apply(taking)
    kept.draw(0)
    kept.apply(fill(30))
    kept.draw(25)

    kept.apply(making)

    assert kept.quantity == 3


def test_a_place_that_something_late_came_before_is_left_alone() -> None:
    kept = traded(10, 20, 30)
    drawn = horizon(kept.account.state, 20_000, 20)
    kept.apply(fill(15))

    kept.apply(drawn)
    kept.apply(fill(16))

    assert kept.quantity == 5


def test_no_place_parts_a_trade_of_the_account_with_itself() -> None:
    taking, making = with_itself(20, "1", "100", taker="BUY")
    kept = traded(10)
    kept.apply(taking)
    kept.draw(0)
    kept.apply(fill(30))
    drawn = horizon(kept.account.state, 20_000, 25)
    kept.apply(making)

    kept.apply(drawn)
    kept.apply(fill(25))

    assert kept.quantity == 3


def test_nothing_after_the_horizon_is_lost_when_an_id_is_no_number() -> None:
    kept = traded(10, 20)
    kept.apply(fill(30, ms=15))  # numbers that do not follow time
    kept.draw(20)
    assert kept.account.state.timelines["BTCUSDT"].floor is not None

    kept.apply(fill("text", ms=40))
    assert kept.quantity == 4
    kept.apply(fill("old", ms=20))
    assert kept.quantity == 4


def test_of_one_millisecond_what_is_after_the_place_counts() -> None:
    kept = Kept()
    for name in ("a", "b", "d"):
        kept.apply(fill(name, ms=10))
        kept.draw(0)
    state = kept.account.state
    place = horizon(state, 0, 10).places[0]._replace(trade_id="b", fill_count=2)
    kept.apply(Horizon(20_000, 10, (place,)))

    kept.apply(fill("aa", ms=10))
    assert kept.quantity == 4  # longer ids come later
    kept.apply(fill("c", ms=10))
    assert kept.quantity == 5
    kept.apply(fill("B", ms=10))
    assert kept.quantity == 5


def test_checkpoints_of_horizons_stay_few() -> None:
    kept = traded(*range(10, 110))

    assert kept.checkpoints < 30
    kept.draw(105)
    assert kept.checkpoints < 10


def test_a_horizon_is_never_later_than_what_the_account_had_seen_at_the_last_one() -> None:
    kept = Kept([fill(10)])
    assert is_due(None, 500, 80)
    assert before_ms(None, 500, 80) == 0
    kept.draw(0)
    settled = kept.account.state.settled
    assert settled is not None

    assert before_ms(settled, 10_500, 80) == 10
    assert before_ms(settled, 85, 80) == 5
    assert before_ms(settled, 10_500, 80, proved_ms=7) == 7
    assert before_ms(settled, 10_500, 80, proved_ms=0) == 0
    assert before_ms(settled._replace(moved_ms=10**9), 10_500, 80) == settled.at_ms  # a date that was still to come
    assert not is_due(settled, settled.at_ms + 9, 80)
    assert is_due(settled, settled.at_ms + 10, 80)


def test_what_is_said_by_a_horizon_is_no_beginning() -> None:
    events: list[Event] = [Horizon(1, 0)]
    kept = Kept(events)

    assert not kept.account.state.has_begun
    assert kept.account.state.latest_ms == 0
