"""Snapshots: when one is taken, and what stands in it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise

from account_monitor.ledger.account import Account, EventList, fold
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Event, Fill, FundingPayment, MarkPrice, Marks, Opening
from account_monitor.monitor.ports import Figures, JournalEntry
from account_monitor.stores.history.snapshots import IDLE_MS, Snapshot, Snapshots

D = Decimal
SECOND = 1_000


class Follower:
    """Snapshots of an account that begins with 1,000 USDT, recorded at second 1, at most one a second."""

    def __init__(self, *, latest_ms: int = 0, has_opening: bool = True) -> None:
        self._events = EventList()
        self._seq = 0
        self.snapshots = Snapshots(Account(self._events), interval_ms=SECOND, latest_ms=latest_ms)
        if has_opening:
            assert self.follow((Opening("o", 0, (("USDT", D(1_000)),)), SECOND)) == []

    def follow(self, *recorded: tuple[Event, int]) -> list[Snapshot]:
        """Take events with the times at which they were recorded."""
        entries = []
        for event, recorded_ms in recorded:
            self._seq += 1
            self._events.add(self._seq, event)
            entries.append(JournalEntry(self._seq, event, "test", recorded_ms))
        return self.snapshots.follow(entries)


def buy(number: int, quantity: str = "2", price: str = "100", symbol: str = "BTCUSDT") -> Fill:
    return Fill(symbol, str(number), "BUY", D(quantity), D(price), number, fee=D("0.1"), fee_asset="USDT")


def sell(number: int, quantity: str = "2", price: str = "100") -> Fill:
    return buy(number, quantity, price)._replace(side="SELL")


def marks(price: str, at_ms: int, symbol: str = "BTCUSDT") -> Marks:
    return Marks(at_ms, (MarkPrice(symbol, D(price), at_ms),))


def places(snapshots: Iterable[Snapshot]) -> list[tuple[str | None, int, int]]:
    """Return of what, when, and as of which entry each was taken."""
    return [(each.symbol, each.at_ms, each.seq) for each in snapshots]


def test_a_snapshot_is_of_the_account_and_of_each_position_that_changed() -> None:
    follower = Follower()
    follower.follow((buy(1), 1_200), (marks("110", 1_300), 1_300))

    whole, position = follower.snapshots.look(2_300)

    gains = (D(0), D(20), D(20), D("0.1"), D(0), D(0), D("19.9"))
    assert whole == Snapshot(None, 2_300, Figures(D("1019.9"), *gains), None, 0, 3)
    assert position == Snapshot("BTCUSDT", 2_300, Figures(None, *gains), None, 0, 3)


def test_at_the_end_what_changed_since_the_last_one_is_told_at_once() -> None:
    follower = Follower()
    follower.follow((buy(1), 1_100))
    assert places(follower.snapshots.look(2_200)) == [(None, 2_200, 2), ("BTCUSDT", 2_200, 2)]
    follower.follow((marks("110", 2_300), 2_300))

    assert follower.snapshots.look(2_400) == []
    assert places(follower.snapshots.look(2_400, is_end=True)) == [(None, 2_400, 3), ("BTCUSDT", 2_400, 3)]
    assert follower.snapshots.look(2_500, is_end=True) == []  # nothing changed


def test_a_position_without_a_change_has_no_snapshot_of_its_own() -> None:
    follower = Follower()
    follower.follow((buy(1), 1_100), (buy(2, symbol="ETHUSDT"), 1_200), (sell(3), 1_300))
    assert [each.symbol for each in follower.snapshots.look(5_000)] == [None, "BTCUSDT", "ETHUSDT"]

    follower.follow((FundingPayment("f", "USDT", D(-1), 4, "ETHUSDT"), 6_000))

    whole, position = follower.snapshots.look(6_500)
    assert (whole.symbol, position.symbol, position.figures.funding) == (None, "ETHUSDT", D(-1))


def test_trades_and_win_rate_are_those_of_the_moment() -> None:
    follower = Follower()
    follower.follow((buy(1), 1_100), (sell(2, price="120"), 1_200))

    whole, _ = follower.snapshots.look(3_000)

    assert (whole.win_rate, whole.total_trades, whole.figures.realized_pnl) == (D(100), 1, D(40))


def test_entries_become_a_snapshot_when_the_next_one_is_an_interval_later() -> None:
    follower = Follower()

    taken = follower.follow((buy(1), 1_400), (buy(2), 1_900), (buy(3), 2_000), (buy(4), 2_950), (buy(5), 9_000))

    assert places(taken) == [
        (None, 1_000, 1),
        (None, 2_000, 3), ("BTCUSDT", 2_000, 3),
        (None, 3_000, 5), ("BTCUSDT", 3_000, 5),
    ]  # fmt: skip


def test_nothing_is_taken_before_anything_happened() -> None:
    follower = Follower(has_opening=False)
    alarm = Alert("a", "STREAM_STALE", None, "WARNING", "FIRING", "silent", 5, 5)

    assert follower.snapshots.look(10_000) == []
    assert follower.follow((alarm, 11_000), (alarm, 20_000)) == []
    assert follower.snapshots.look(100_000_000) == []


def test_while_something_is_open_there_is_one_each_interval() -> None:
    follower = Follower()
    follower.follow((buy(1), 1_100))

    taken = [places(follower.snapshots.look(at_ms)) for at_ms in (2_000, 2_999, 3_000, 3_500, 4_001)]

    assert taken == [
        [(None, at_ms, 2), ("BTCUSDT", at_ms, 2)] if at_ms in (2_000, 3_000, 4_001) else []
        for at_ms in (2_000, 2_999, 3_000, 3_500, 4_001)
    ]


def test_while_nothing_is_open_there_is_one_each_minute() -> None:
    follower = Follower()
    follower.follow((buy(1), 1_100), (sell(2), 1_200))

    assert places(follower.snapshots.look(2_200)) == [(None, 2_200, 3), ("BTCUSDT", 2_200, 3)]
    assert follower.snapshots.look(2_199 + IDLE_MS) == []
    assert places(follower.snapshots.look(2_200 + IDLE_MS)) == [(None, 2_200 + IDLE_MS, 3)]


def test_a_clock_that_was_put_back_stops_no_snapshots() -> None:
    follower = Follower()
    follower.follow((buy(1), 1_100))
    follower.snapshots.look(10_000_000)

    assert follower.snapshots.look(10_000_000 - IDLE_MS) == []
    assert len(follower.snapshots.look(9_000_000)) == 2
    assert len(follower.snapshots.look(9_001_000)) == 2


def test_an_alert_alone_makes_no_snapshot() -> None:
    follower = Follower()
    follower.snapshots.look(2_000)
    alarm = Alert("a", "STREAM_STALE", None, "WARNING", "FIRING", "silent", 5, 5)

    assert follower.follow((alarm, 5_000), (alarm._replace(revision=1), 9_000)) == []
    assert follower.snapshots.look(10_000) == []


def test_whoever_goes_on_takes_none_within_the_interval() -> None:
    follower = Follower(latest_ms=5_000, has_opening=False)

    assert follower.follow((Opening("o", 0, (("USDT", D(1)),)), 5_100), (buy(1), 5_900)) == []
    assert places(follower.follow((buy(2), 6_000))) == [(None, 6_000, 2), ("BTCUSDT", 6_000, 2)]


def test_whoever_goes_on_tells_of_every_position_once_more() -> None:
    account = fold([Opening("o", 0, (("USDT", D(1)),)), buy(1), sell(2), buy(3, symbol="ETHUSDT")])
    snapshots = Snapshots(account, interval_ms=SECOND, latest_ms=5_000, recorded_ms=5_500)

    assert places(snapshots.look(6_000)) == [(None, 6_000, 4), ("BTCUSDT", 6_000, 4), ("ETHUSDT", 6_000, 4)]
    assert places(snapshots.look(7_000)) == [(None, 7_000, 4), ("ETHUSDT", 7_000, 4)]


def test_it_does_not_matter_how_many_entries_come_at_once() -> None:
    """What is written after an outage is what would have been written then."""
    for seed in range(20):
        rng = random.Random(seed)
        recorded: list[tuple[Event, int]] = []
        at_ms = 1_000
        for number in range(1, 60):
            at_ms += rng.choice([0, 10, 300, 990, 1_000, 5_000])
            events: list[Event] = [buy(number), sell(number), marks(str(rng.randint(90, 110)), number)]
            recorded.append((rng.choice(events), at_ms))
        at_once, in_pieces = Follower(), Follower()

        expected = at_once.follow(*recorded)
        found = []
        while recorded:
            count = rng.randint(1, 9)
            found += in_pieces.follow(*recorded[:count])
            recorded = recorded[count:]

        assert found == expected
        times = sorted({each.at_ms for each in expected})
        assert all(later - earlier >= SECOND for earlier, later in pairwise(times))
        assert in_pieces.snapshots.look(at_ms + SECOND) == at_once.snapshots.look(at_ms + SECOND)
