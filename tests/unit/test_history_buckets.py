"""Buckets: snapshots summed up by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from account_monitor.monitor.ports import Extremes, Figures, PnLBucket
from account_monitor.stores.history.buckets import Level, RollUp, bucket_of, combined, level_for, rolled_up
from tests.history_samples import DAY, HOUR, MINUTE, NOW, SECOND, snapshot

D = Decimal


def figures(equity: str | None, gain: str = "0") -> Figures:
    return snapshot(0, equity, gain).figures


def extremes(equity: str | None, gain: str = "0") -> Extremes:
    return Extremes(None if equity is None else D(equity), D(gain), D(0), D(gain), D(gain))


@pytest.mark.parametrize(
    ("interval_ms", "level"),
    [
        (SECOND, Level.RAW),
        (30 * SECOND, Level.RAW),
        (90 * SECOND, Level.RAW),
        (MINUTE, Level.MINUTE),
        (30 * MINUTE, Level.MINUTE),
        (HOUR, Level.HOUR),
        (12 * HOUR, Level.HOUR),
        (DAY, Level.DAY),
        (7 * DAY, Level.DAY),
    ],
)
def test_an_interval_is_made_of_the_coarsest_that_divides_it(interval_ms: int, level: Level) -> None:
    assert level_for(interval_ms) is level


def test_one_snapshot_is_first_last_lowest_and_highest() -> None:
    assert bucket_of(NOW, figures("7", "2")) == PnLBucket(
        NOW, 1, figures("7", "2"), figures("7", "2"), extremes("7", "2"), extremes("7", "2")
    )


def test_snapshots_are_rolled_up_by_minute_hour_and_day() -> None:
    rolls = rolled_up([snapshot(NOW, "5"), snapshot(NOW + 59_999, "3"), snapshot(NOW + HOUR, "9")])

    def bucket(at_ms: int, count: int, first: str, last: str, lowest: str, highest: str) -> PnLBucket:
        return PnLBucket(at_ms, count, figures(first), figures(last), extremes(lowest), extremes(highest))

    assert sorted(rolls, key=lambda roll: (roll.level.value, roll.bucket.at_ms)) == [
        RollUp(Level.MINUTE, "", bucket(NOW, 2, "5", "3", "3", "5")),
        RollUp(Level.MINUTE, "", bucket(NOW + HOUR, 1, "9", "9", "9", "9")),
        RollUp(Level.HOUR, "", bucket(NOW, 2, "5", "3", "3", "5")),
        RollUp(Level.HOUR, "", bucket(NOW + HOUR, 1, "9", "9", "9", "9")),
        RollUp(Level.DAY, "", bucket(NOW, 3, "5", "9", "3", "9")),
    ]


def test_each_symbol_has_buckets_of_its_own() -> None:
    rolls = rolled_up([snapshot(NOW, "1"), snapshot(NOW, "2", symbol="BTCUSDT")])

    assert {(roll.symbol, roll.bucket.last.equity) for roll in rolls} == {("", D(1)), ("BTCUSDT", D(2))}
    assert len(rolls) == 6


def test_larger_intervals_are_made_of_smaller_ones_and_gaps_stay_gaps() -> None:
    minutes = [
        bucket_of(NOW + at * MINUTE, figures(equity)) for at, equity in ((0, "5"), (4, "8"), (5, "2"), (60, "1"))
    ]

    fives = list(combined(minutes, 5 * MINUTE))

    assert [(b.at_ms - NOW, b.snapshot_count, b.first.equity, b.last.equity, b.highest.equity) for b in fives] == [
        (0, 2, D(5), D(8), D(8)),
        (5 * MINUTE, 1, D(2), D(2), D(2)),
        (HOUR, 1, D(1), D(1), D(1)),
    ]


def test_what_is_not_known_is_first_and_last_but_no_extreme() -> None:
    [day] = combined([bucket_of(NOW, figures(None)), bucket_of(NOW + 1, figures("-4"))], DAY)
    assert (day.first.equity, day.last.equity, day.lowest.equity, day.highest.equity) == (None, D(-4), D(-4), D(-4))

    [day] = combined([bucket_of(NOW, figures("-4")), bucket_of(NOW + 1, figures(None))], DAY)
    assert (day.first.equity, day.last.equity, day.lowest.equity, day.highest.equity) == (D(-4), None, D(-4), D(-4))

    [day] = combined([bucket_of(NOW, figures(None)), bucket_of(NOW + 1, figures(None))], DAY)
    assert (day.lowest.equity, day.highest.equity) == (None, None)
