"""Alarms: raised once, until they are over."""

from __future__ import annotations

import pytest

from account_monitor.monitor.alarms import MAX_OPEN, AlarmBoard


class Clock:
    ms = 1_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_alarm_is_counted_once_while_it_is_open_and_its_text_stays_true(clock: Clock) -> None:
    board = AlarmBoard(clock)

    board.fire("main", "STREAM_STALE", "no pong for 10 s")
    clock.ms = 5_000
    board.fire("main", "STREAM_STALE", "no pong for 14 s")

    (alarm,) = board.open("main")
    assert (alarm.message, alarm.since_ms) == ("no pong for 14 s", 1_000)
    assert board.raised == {("main", "STREAM_STALE", "WARNING"): 1}


def test_one_symbol_does_not_mute_another(clock: Clock) -> None:
    board = AlarmBoard(clock)

    for symbol in ("BTCUSDT", "ETHUSDT"):
        board.fire("main", "POSITION_DRIFT", "differs", symbol=symbol)
    board.resolve("main", "POSITION_DRIFT", symbol="BTCUSDT")

    assert [alarm.symbol for alarm in board.open()] == ["ETHUSDT"]


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


def test_what_becomes_critical_is_raised_again(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    board = AlarmBoard(clock)

    for severity in ("WARNING", "CRITICAL", "CRITICAL"):
        board.fire("main", "RECONCILIATION_FAILED", "the key is refused", severity=severity)

    assert board.raised == {("main", "RECONCILIATION_FAILED", each): 1 for each in ("WARNING", "CRITICAL")}
    assert capsys.readouterr().out.count("alarm_raised") == 2
    assert [alarm.severity for alarm in board.open()] == ["CRITICAL"]


def test_a_storm_is_bounded_and_said_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    board = AlarmBoard(clock)

    for _ in range(2):
        for number in range(MAX_OPEN + 5):
            board.fire("main", "POSITION_DRIFT", "differs", symbol=f"S{number}")

    assert len(board.open()) == MAX_OPEN
    assert board.raised["main", "POSITION_DRIFT", "WARNING"] == MAX_OPEN
    assert capsys.readouterr().out.count("too_many_alarms") == 1
