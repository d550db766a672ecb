"""Pace: ten one by one, then summaries, unless it is urgent."""

from __future__ import annotations

from account_monitor.notifiers.pace import BURST, URGENT_SECONDS, WINDOW_SECONDS, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_ten_are_told_one_by_one_within_half_a_minute() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(BURST):
        assert pace.allows(1)
        pace.note(1, is_summary=False)
    assert not pace.allows(1)
    clock.now = WINDOW_SECONDS
    assert pace.allows(BURST)


def test_more_than_ten_at_once_are_not() -> None:
    assert not Pace(Clock()).allows(BURST + 1)


def test_a_summary_follows_another_after_half_a_minute_or_sooner_where_it_is_urgent() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.until_summary(is_urgent=False) == 0
    pace.note(100, is_summary=True)
    clock.now = 1.0

    assert pace.until_summary(is_urgent=False) == WINDOW_SECONDS - 1
    assert pace.until_summary(is_urgent=True) == URGENT_SECONDS - 1


def test_what_was_summed_up_counts_so_that_a_flood_stays_summaries() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.note(100, is_summary=True)
    clock.now = WINDOW_SECONDS - 1

    assert not pace.allows(1)


def test_what_comes_one_by_one_is_a_flood_as_well() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(BURST + 1):
        assert pace.until_summary(is_urgent=False) == 0.0
        pace.note(1, is_summary=False)

    assert pace.until_summary(is_urgent=False) == WINDOW_SECONDS
    assert pace.until_summary(is_urgent=True) == URGENT_SECONDS
