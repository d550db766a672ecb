"""When what may be missing is looked for: at once, and ever more slowly while it does not help."""

from __future__ import annotations

import itertools

import pytest

from account_monitor.feeds.binance.search import FORGIVEN_SECONDS, LONGEST_PAUSE_SECONDS, Patience, Search


def test_nothing_is_searched_for_until_it_is_wanted() -> None:
    search = Search()
    assert not search.is_due(10.0)

    search.want("a gap", 10.0)
    assert search.is_due(10.0)
    assert search.reason == "a gap"

    search.begin(10.0)
    assert search.end(11.0)
    assert not search.is_due(1e9)


def test_what_is_wanted_during_a_search_is_searched_for_again() -> None:
    search = Search()
    search.want("a gap", 0.0)
    search.begin(0.0)
    search.want("another", 1.0)

    assert not search.end(2.0)
    assert search.is_due(2.0)
    search.begin(2.0)
    assert search.end(3.0)


def test_a_cause_that_does_not_go_away_is_searched_for_ever_more_slowly() -> None:
    search, patience, now, begun = Search(), Patience(), 0.0, []
    while now < 600.0:
        search.want("drift", now, patience=patience)
        if search.is_due(now):
            begun.append(now)
            search.begin(now)
            search.end(now)
        now += 0.5

    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert pauses[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_PAUSE_SECONDS]
    assert set(pauses[7:]) == {LONGEST_PAUSE_SECONDS}
    assert search.attempt == len(begun)


def test_a_gap_does_not_wait_for_the_pace_of_something_else() -> None:
    search, patience = Search(), Patience()
    for now in (0.0, 1.0, 3.0):
        search.want("garbage", now, patience=patience)
        search.begin(now)
        search.end(now)
    search.want("garbage", 4.0, patience=patience)
    assert not search.is_due(4.0)

    search.want("a gap", 4.0)
    assert search.is_due(4.0)


def test_a_flood_during_a_search_makes_the_next_one_wait_and_the_stream_whole() -> None:
    search, patience = Search(), Patience()
    search.want("garbage", 0.0, patience=patience)
    search.begin(0.0)
    search.want("garbage", 0.1, patience=patience)

    assert search.end(0.2)
    assert not search.is_due(0.9)
    assert search.is_due(1.0)


@pytest.mark.parametrize(("after", "due"), [(FORGIVEN_SECONDS, 4.0), (FORGIVEN_SECONDS + 5.0, 0.0)])
def test_after_a_long_time_without_it_a_cause_is_new(after: float, due: float) -> None:
    patience = Patience()
    for now in (0.0, 1.0, 3.0):
        patience.begin(now)
    at = 3.0 + after
    patience.due(at)
    patience.begin(at)

    assert patience.due(at) - at == (8.0 if due else 1.0)
