"""Alarms: raised once, until they are over; journaled before they are told, and known after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from account_monitor.ledger.alerts import MAX_FIRING, Alert
from account_monitor.monitor.alarms import MAX_UNRECORDED, PASSING_SECONDS, AlarmBoard
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import MALFORMED_EVENT, UNKNOWN_ACCOUNT, UNROUTED, Delivery
from tests.monitor_by_hand import Clock, fill, heard, opened


class Life:
    """An account from one start to the next: its monitor, and an alarm board of its own."""

    def __init__(self, monitor: Monitor, board: AlarmBoard) -> None:
        self.monitor = monitor
        self.board = board
        board.attach(monitor)

    async def record(self) -> None:
        while len(self.monitor.inbox):
            await self.monitor.step()

    @property
    def journaled(self) -> list[tuple[str, str, int]]:
        """Type, state and revision of every journaled transition, in the order of the journal."""
        alerts = [entry.event for entry in self.monitor.journal.remarks_after("alert", 0)]
        return [(alert.type, alert.state, alert.revision) for alert in alerts if isinstance(alert, Alert)]

    @property
    def firing(self) -> list[str]:
        return [alarm.alert.type for alarm in self.board.open("main")]


@asynccontextmanager
async def life(folder: Path, clock: Clock, *, suppression_seconds: float = 0.0) -> AsyncIterator[Life]:
    """Live until killed: what waits in the inbox is lost."""
    async with opened(folder, clock) as monitor:
        yield Life(monitor, AlarmBoard(clock, suppression_seconds=suppression_seconds))


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was logged of alerts since the last look."""
    return [word for line in capsys.readouterr().out.splitlines() for word in line.split() if "alert" in word]


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- in memory ---------------------------------------------------------------------------------------------------------


def test_an_alarm_is_counted_once_while_it_is_open_and_its_text_stays_true(clock: Clock) -> None:
    board = AlarmBoard(clock)
    fired_ms = clock.ms

    board.fire("main", "STREAM_STALE", "no pong for 10 s")
    clock.ms += 4_000
    board.fire("main", "STREAM_STALE", "no pong for 14 s")

    ((account, alert),) = board.open("main")
    assert (account, alert.message, alert.fired_ms) == ("main", "no pong for 14 s", fired_ms)
    assert board.raised == {("main", "STREAM_STALE", "WARNING"): 1}


def test_one_symbol_does_not_mute_another(clock: Clock) -> None:
    board = AlarmBoard(clock)

    for symbol in ("BTCUSDT", "ETHUSDT"):
        board.fire("main", "POSITION_DRIFT", "differs", symbol=symbol)
    board.resolve("main", "POSITION_DRIFT", symbol="BTCUSDT")

    assert [alarm.alert.symbol for alarm in board.open()] == ["ETHUSDT"]


def test_an_alarm_that_passes_ends_by_itself_after_its_last_reason(clock: Clock) -> None:
    board = AlarmBoard(clock)
    board.fire("main", "MALFORMED_EVENT", "first", for_seconds=10)
    clock.ms += 6_000
    board.fire("main", "MALFORMED_EVENT", "second", for_seconds=10)

    clock.ms += 9_999
    board.look()
    assert len(board.open()) == 1
    clock.ms += 1
    board.look()
    assert board.open() == []


def test_what_is_said_of_an_account_goes_with_it(clock: Clock) -> None:
    board = AlarmBoard(clock)
    board.fire("main", "STREAM_STALE", "text")
    board.fire("alt", "STREAM_STALE", "text")

    board.forget("main")

    assert [alarm.account for alarm in board.open()] == ["alt"]
    assert board.open("main") == []


def test_what_becomes_critical_is_counted_again_and_a_cause_is_not(clock: Clock) -> None:
    board = AlarmBoard(clock)

    board.fire("main", "BALANCE_DRIFT", "differs")
    board.fire("main", "BALANCE_DRIFT", "differs", severity="CRITICAL")
    board.fire("main", "BALANCE_DRIFT", "differs", severity="CRITICAL", cause="FUNDING")

    assert board.raised == {("main", "BALANCE_DRIFT", each): 1 for each in ("WARNING", "CRITICAL")}
    assert [(alarm.alert.severity, alarm.alert.cause) for alarm in board.open()] == [("CRITICAL", "FUNDING")]


def test_a_storm_is_bounded_and_said_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    board = AlarmBoard(clock)

    for _ in range(2):
        for number in range(MAX_FIRING + 5):
            board.fire("main", "POSITION_DRIFT", "differs", symbol=f"S{number}")

    assert len(board.open()) == MAX_FIRING
    assert board.raised["main", "POSITION_DRIFT", "WARNING"] == MAX_FIRING
    assert capsys.readouterr().out.count("too_many_alerts") == 1


def test_switched_off_nothing_fires_and_what_fired_is_over(clock: Clock) -> None:
    board = AlarmBoard(clock)
    board.fire("main", "STREAM_STALE", "silent")

    board.configure(suppression_seconds=0, is_enabled=False)
    board.fire("main", "RATE_LIMITED", "refused")
    assert board.open() == []

    board.configure(suppression_seconds=0, is_enabled=True)
    board.fire("main", "RATE_LIMITED", "refused")
    assert [alarm.alert.type for alarm in board.open()] == ["RATE_LIMITED"]


def test_a_changed_suppression_time_counts_at_once(clock: Clock) -> None:
    board = AlarmBoard(clock)
    board.fire("main", "STREAM_STALE", "silent")
    board.resolve("main", "STREAM_STALE")

    board.configure(suppression_seconds=60, is_enabled=True)
    board.fire("main", "STREAM_STALE", "silent")

    assert board.open() == []


# -- recorded ----------------------------------------------------------------------------------------------------------


async def test_people_are_told_once_it_is_in_the_journal(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with life(tmp_path, clock) as main:
        main.board.fire("main", "STREAM_STALE", "silent")
        assert (main.journaled, said(capsys)) == ([], [])

        await main.record()
        assert main.journaled == [("STREAM_STALE", "FIRING", 0)]
        assert said(capsys) == ["alert_fired"]

        main.board.fire("main", "STREAM_STALE", "still silent")
        main.board.resolve("main", "STREAM_STALE")
        main.board.resolve("main", "STREAM_STALE")
        await main.record()
        assert main.journaled[1:] == [("STREAM_STALE", "RESOLVED", 1)]
        assert said(capsys) == ["alert_resolved"]


async def test_what_fired_before_a_kill_fires_still_is_told_once_and_resolved_once(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with life(tmp_path, clock) as before:
        before.board.fire("main", "BALANCE_DRIFT", "USDT differs", symbol="USDT")
        before.board.fire("main", "STREAM_STALE", "silent")
        await before.record()
        ids = {alarm.alert.id for alarm in before.board.open()}
    assert said(capsys) == ["alert_fired"] * 2

    clock.ms += 60_000
    async with life(tmp_path, clock) as after:
        assert {alarm.alert.id for alarm in after.board.open()} == ids
        after.board.fire("main", "STREAM_STALE", "silent")
        await after.record()
        assert said(capsys) == []

        after.board.settle("main")
        after.board.settle("main")
        await after.record()
        assert after.firing == ["STREAM_STALE"]
        assert after.journaled[2:] == [("BALANCE_DRIFT", "RESOLVED", 1)]
        assert said(capsys) == ["alert_resolved"]
        assert after.board.raised == {}


async def test_what_was_not_recorded_before_a_kill_is_raised_anew(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as before:
        before.board.fire("main", "STREAM_STALE", "silent")

    async with life(tmp_path, clock) as after:
        assert after.firing == []
        after.board.fire("main", "STREAM_STALE", "silent")
        await after.record()
        assert after.journaled == [("STREAM_STALE", "FIRING", 0)]


async def test_suppression_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock, suppression_seconds=60) as before:
        before.board.fire("main", "STREAM_STALE", "silent")
        before.board.resolve("main", "STREAM_STALE")
        await before.record()

    clock.ms += 59_999
    async with life(tmp_path, clock, suppression_seconds=60) as after:
        after.board.fire("main", "STREAM_STALE", "silent")
        after.board.look()
        assert after.firing == []
        clock.ms += 1
        after.board.look()
        await after.record()
        assert after.firing == ["STREAM_STALE"]
        assert after.journaled[2:] == [("STREAM_STALE", "FIRING", 0)]


async def test_what_passes_by_itself_does_so_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as before:
        before.board.fire("main", "LIQUIDATION", "BTCUSDT", symbol="BTCUSDT", for_seconds=PASSING_SECONDS)
        await before.record()

    clock.ms += int(PASSING_SECONDS * 1000) - 1
    async with life(tmp_path, clock) as after:
        after.board.settle("main")
        after.board.look()
        assert after.firing == ["LIQUIDATION"]
        clock.ms += 1
        after.board.look()
        assert after.firing == []


async def test_of_what_somebody_else_has_to_say_the_settling_waits(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as before:
        before.board.fire("main", "KEY_PERMISSIONS", "the key may trade")
        await before.record()

    async with life(tmp_path, clock) as after:
        after.board.settle("main", but=("KEY_PERMISSIONS",))
        assert after.firing == ["KEY_PERMISSIONS"]
        after.board.settle("main")
        assert after.firing == []


async def test_what_a_replaced_feed_had_raised_is_over_unless_the_next_one_raises_it(
    tmp_path: Path, clock: Clock
) -> None:
    async with life(tmp_path, clock) as main:
        main.board.fire("main", "STREAM_STALE", "silent")
        main.board.fire("main", "RATE_LIMITED", "refused")
        main.board.settle("main")
        assert main.firing == ["STREAM_STALE", "RATE_LIMITED"]

        main.board.doubt("main")
        main.board.fire("main", "RATE_LIMITED", "refused")
        main.board.settle("main")
        assert main.firing == ["RATE_LIMITED"]


async def test_a_message_is_parked_together_with_its_alert(tmp_path: Path, clock: Clock) -> None:
    garbage = Delivery("FILLS", "trading.fills", b"{", None, 1, MALFORMED_EVENT, "not JSON")
    async with life(tmp_path, clock) as before:
        before.monitor.inbox.put(garbage)
        before.monitor.inbox.put(garbage)
        await before.monitor.step()

    async with life(tmp_path, clock) as after:
        assert after.journaled == [("MALFORMED_EVENT", "FIRING", 0)]
        ((_, alert),) = after.board.open()
        assert alert.message == "not JSON"


def nobodys(reason: str, rejection: str = UNKNOWN_ACCOUNT) -> Delivery:
    return Delivery("FILLS", "trading.fills", b"{}", None, 0, rejection, reason)


async def test_what_names_no_account_is_told_on_one_account_and_once(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as main, opened(tmp_path, clock, name=UNROUTED) as unrouted:
        main.board.attach_unrouted(unrouted)
        for delivery in (nobodys('account was "alt"'), nobodys("price was null", MALFORMED_EVENT)):
            unrouted.inbox.put(delivery)
            await unrouted.step()
        await main.record()

        assert main.journaled == [("MALFORMED_EVENT", "FIRING", 0)]
        ((account, alert),) = main.board.open()
        assert (account, alert.symbol) == ("main", UNROUTED)
        assert alert.message == "trading.fills: price was null; no account has it: account-monitor dead-letters list"
        clock.ms += int(PASSING_SECONDS * 1000)
        main.board.look()
        assert main.board.open() == []


async def test_what_names_no_account_is_held_back_as_long_as_what_names_one(tmp_path: Path, clock: Clock) -> None:
    async with (
        life(tmp_path, clock, suppression_seconds=3_600) as main,
        opened(tmp_path, clock, name=UNROUTED) as unrouted,
    ):
        main.board.attach_unrouted(unrouted)
        for _ in range(2):
            unrouted.inbox.put(nobodys("unknown"))
            await unrouted.step()
            clock.ms += int(PASSING_SECONDS * 1000)
            main.board.look()
        await main.record()

        assert main.journaled == [("MALFORMED_EVENT", "FIRING", 0), ("MALFORMED_EVENT", "RESOLVED", 1)]


async def test_what_names_no_account_mutes_nothing_that_names_one(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as main, opened(tmp_path, clock, name=UNROUTED) as unrouted:
        main.board.attach_unrouted(unrouted)
        unrouted.inbox.put(nobodys("unknown"))
        await unrouted.step()
        main.monitor.inbox.put(Delivery("FILLS", "trading.fills", b"{", None, 1, MALFORMED_EVENT, "not JSON"))
        await main.record()

        assert sorted(str(alarm.alert.symbol) for alarm in main.board.open()) == ["None", UNROUTED]


async def test_what_names_no_account_stays_on_the_account_that_tells_of_it(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path / "a", clock) as main, opened(tmp_path / "b", clock, name="alt") as other:
        main.board.attach(other)
        async with opened(tmp_path / "b", clock, name=UNROUTED) as unrouted:
            main.board.attach_unrouted(unrouted)
            for _ in range(2):
                unrouted.inbox.put(nobodys("unknown"))
                await unrouted.step()
                main.monitor.failure = "the disk is full"
            assert [alarm.account for alarm in main.board.open()] == ["main"]
            main.board.forget("main")
            unrouted.inbox.put(nobodys("unknown"))
            await unrouted.step()
            assert [alarm.account for alarm in main.board.open()] == ["alt"]


async def test_the_transitions_of_one_key_are_journaled_in_their_order(tmp_path: Path, clock: Clock) -> None:
    """Although an alert about what is parked overtakes what waits in the inbox."""
    async with life(tmp_path, clock) as main:
        main.monitor.inbox.put(Delivery("FILLS", "trading.fills", b"{", None, 1, MALFORMED_EVENT, "not JSON"))
        main.board.fire("main", "MALFORMED_EVENT", "earlier")
        main.board.resolve("main", "MALFORMED_EVENT")
        clock.ms += 1
        await main.record()

        assert [state for _, state, _ in main.journaled] == ["FIRING", "RESOLVED", "FIRING"]


async def test_a_fill_that_contradicts_the_record_is_alarming(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as main:
        main.monitor.inbox.put(heard(fill("1", price="100")))
        main.monitor.inbox.put(heard(fill("1", price="101")))
        await main.record()

        assert main.journaled == [("CONFLICTING_FILL", "FIRING", 0)]
        ((_, alert),) = main.board.open()
        assert (alert.symbol, "price" in alert.message) == ("BTCUSDT", True)


# -- before, after and without a journal -------------------------------------------------------------------------------


async def test_what_is_raised_before_an_account_is_there_is_recorded_with_it(tmp_path: Path, clock: Clock) -> None:
    board = AlarmBoard(clock)
    board.fire("main", "KEY_PERMISSIONS", "the key may trade")
    async with opened(tmp_path, clock) as monitor:
        main = Life(monitor, board)
        await main.record()

        assert main.journaled == [("KEY_PERMISSIONS", "FIRING", 0)]
        assert board.raised["main", "KEY_PERMISSIONS", "WARNING"] == 1


async def test_what_fires_already_is_not_raised_again_by_what_was_raised_too_early(
    tmp_path: Path, clock: Clock
) -> None:
    async with life(tmp_path, clock) as before:
        before.board.fire("main", "KEY_PERMISSIONS", "the key may trade")
        await before.record()

    board = AlarmBoard(clock)
    clock.ms += 1
    board.fire("main", "KEY_PERMISSIONS", "the key may trade")
    async with opened(tmp_path, clock) as monitor:
        after = Life(monitor, board)
        await after.record()
        assert len(after.journaled) == 1


async def test_what_nobody_records_any_more_is_shown_and_said_aloud(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with life(tmp_path, clock) as main:
        main.board.fire("main", "STREAM_STALE", "silent")
        main.monitor.inbox.shut()
        main.monitor.failure = "disk full"
        main.board.fire("main", "RATE_LIMITED", "refused")

        main.board.look()
        main.board.look()

        assert main.firing == ["STREAM_STALE", "RATE_LIMITED"]
        assert said(capsys) == ["alert_not_recorded"] * 2


async def test_what_is_not_recorded_of_an_account_that_another_process_holds_is_told_by_that_one(
    tmp_path: Path, clock: Clock
) -> None:
    async with life(tmp_path, clock) as main:
        main.board.fire("main", "STREAM_STALE", "silent")
        main.monitor.inbox.shut()
        main.monitor.failure = "account main is not held under epoch 7 any more"
        main.board.look()
        assert main.board.unrecorded("main")

        main.monitor.is_taken = lambda: True

        assert main.board.unrecorded("main") == []


async def test_what_could_not_be_recorded_is_recorded_under_the_same_ids_by_whoever_can_again(
    tmp_path: Path, clock: Clock
) -> None:
    async with life(tmp_path, clock) as main:
        main.board.fire("main", "STREAM_STALE", "silent")
        await main.record()
        main.monitor.inbox.shut()
        main.monitor.failure = "disk full"
        main.board.resolve("main", "STREAM_STALE")
        main.board.fire("main", "RATE_LIMITED", "refused")
        main.board.look()
        missed = [alert.event_id for alert in main.board.unrecorded("main")]

    clock.ms += 1
    async with opened(tmp_path, clock) as monitor:
        main.board.attach_again(monitor)
        main.board.fire("main", "RATE_LIMITED", "refused")
        main.monitor = monitor
        await main.record()

        assert main.journaled == [
            ("STREAM_STALE", "FIRING", 0),
            ("STREAM_STALE", "RESOLVED", 1),
            ("RATE_LIMITED", "FIRING", 0),
        ]
        told = [entry.event.event_id for entry in monitor.journal.remarks_after("alert", 1)]
        assert told == missed
        assert main.board.unrecorded("main") == []


async def test_what_the_last_commit_recorded_after_all_is_not_recorded_twice(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as main:
        main.board.fire("main", "STREAM_STALE", "silent")
        monitor = main.monitor
        monitor.observers.clear()  # nobody was told that it is recorded
        await main.record()

        main.board.attach_again(monitor)

        assert len(monitor.inbox) == 0
        main.board.resolve("main", "STREAM_STALE")
        await main.record()
        assert main.journaled == [("STREAM_STALE", "FIRING", 0), ("STREAM_STALE", "RESOLVED", 1)]


async def test_of_what_cannot_be_recorded_the_youngest_are_remembered(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as main:
        main.monitor.inbox.shut()
        main.monitor.failure = "disk full"
        for _ in range(MAX_UNRECORDED):
            clock.ms += 1
            main.board.fire("main", "STREAM_STALE", "silent")
            main.board.resolve("main", "STREAM_STALE")
            main.board.look()

        remembered = main.board.unrecorded("main")
        assert (len(remembered), remembered[-1].at_ms) == (MAX_UNRECORDED, clock.ms)


async def test_what_comes_too_late_for_the_journal_of_a_removed_account_is_said_aloud(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with life(tmp_path, clock) as main:
        main.monitor.inbox.seal()
        main.board.fire("main", "STREAM_STALE", "silent")
        await main.record()

        main.board.forget("main")
        assert said(capsys) == ["alert_not_recorded"]
        assert main.board.open() == []


# -- who looks after it ------------------------------------------------------------------------------------------------


async def test_who_looks_after_an_alert_is_known_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as first:
        first.board.fire("main", "STREAM_STALE", "silent")
        await first.record()
        (firing,) = first.board.firing("main")
        acked = first.monitor.acknowledge(firing.id, "ann")
        assert acked is not None
        first.monitor.inbox.put(Delivery("operator", "", b"", acked))
        await first.record()
    async with life(tmp_path, clock) as second:
        (recalled,) = second.board.firing("main")

    assert (recalled.acked_by, recalled.acked_ms, recalled.revision) == ("ann", clock.ms, 1)
