"""Reminders: at multiples of the interval since it fired, not of what somebody looks after, and after a silence."""

from __future__ import annotations

from typing import NamedTuple

from account_monitor.ledger.alerts import Alert
from account_monitor.notifiers.letters import Told
from account_monitor.notifiers.reminders import Reminders
from account_monitor.notifiers.silences import is_silenced

HOUR = 3_600_000
ALERT = Alert("1", "STREAM_STALE", "a", "WARNING", "FIRING", "silent", 0, 0)
TOLD = Told("main", ALERT)


def loud(_told: Told) -> bool:
    return False


def silent(_told: Told) -> bool:
    return True


class Acknowledged(NamedTuple):
    """As far as reminders look at an alert."""

    id: str
    fired_ms: int
    acked_by: str


def test_a_reminder_is_due_an_interval_after_it_fired_and_again_after_the_next() -> None:
    reminders = Reminders(3600, 0)
    reminders.note([TOLD], 5)

    assert reminders.due([TOLD], loud, HOUR - 1) == []
    assert reminders.due([TOLD], loud, HOUR) == [TOLD]
    assert reminders.due([TOLD], loud, HOUR + 1) == [TOLD]  # it was not told
    reminders.note([TOLD], HOUR + 2)
    assert reminders.due([TOLD], loud, 2 * HOUR - 1) == []
    assert reminders.due([TOLD], loud, 2 * HOUR) == [TOLD]


def test_a_restart_puts_no_reminder_off_and_repeats_none() -> None:
    after = Reminders(3600, HOUR + 10)

    assert after.due([TOLD], loud, HOUR + 11) == []
    assert after.due([TOLD], loud, 2 * HOUR) == [TOLD]


def test_nobody_is_reminded_of_what_somebody_looks_after() -> None:
    alert = Acknowledged("1", 0, "anna")

    assert Reminders(3600, 0).due([Told("main", alert)], loud, 5 * HOUR) == []  # type: ignore[arg-type]


def test_what_is_silenced_is_held_back_and_told_when_the_silence_is_over() -> None:
    reminders = Reminders(3600, 0)

    assert reminders.due([TOLD], silent, 5 * HOUR) == []
    assert reminders.held() == {"main": 1}
    assert reminders.due([TOLD], loud, 5 * HOUR + 1) == [TOLD]
    reminders.note([TOLD], 5 * HOUR + 1)
    assert reminders.held() == {}


def test_what_is_over_is_not_held_back_any_more() -> None:
    reminders = Reminders(3600, 0)
    reminders.due([TOLD], silent, 1)
    reminders.due([], silent, 2)

    assert reminders.held() == {}


class Quiet(NamedTuple):
    type: str | None
    symbol: str | None
    from_ms: int = 10
    until_ms: int = 20


def test_a_silence_is_about_a_type_a_symbol_both_or_all_from_one_moment_up_to_another() -> None:
    about = [Quiet(None, None), Quiet("STREAM_STALE", None), Quiet(None, "a"), Quiet("STREAM_STALE", "a")]
    others = [Quiet("MARGIN_CALL", None), Quiet(None, "b"), Quiet("STREAM_STALE", "b")]

    assert [is_silenced(ALERT, [each], 10) for each in about] == [True] * 4
    assert not is_silenced(ALERT, others, 10)
    assert [is_silenced(ALERT, about, at_ms) for at_ms in (9, 10, 19, 20)] == [False, True, True, False]
