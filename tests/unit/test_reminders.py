"""Reminders: at multiples of the interval since it fired, not of what somebody looks after, and after a silence."""

from __future__ import annotations

from account_monitor.ledger.alerts import Alert
from account_monitor.notifiers.letters import Told
from account_monitor.notifiers.reminders import Reminders

HOUR = 3_600_000
ALERT = Alert("1", "STREAM_STALE", "a", "WARNING", "FIRING", "silent", 0, 0)
TOLD = Told("main", ALERT)


def loud(_told: Told) -> bool:
    return False


def silent(_told: Told) -> bool:
    return True


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
    alert = ALERT._replace(acked_by="anna", acked_ms=1)

    assert Reminders(3600, 0).due([Told("main", alert)], loud, 5 * HOUR) == []


def test_what_is_silenced_is_held_back_and_told_when_the_silence_is_over() -> None:
    reminders = Reminders(3600, 0)

    assert reminders.due([TOLD], silent, 5 * HOUR) == []
    assert reminders.held() == {"main": {ALERT.id}}
    assert reminders.due([TOLD], loud, 5 * HOUR + 1) == [TOLD]
    reminders.note([TOLD], 5 * HOUR + 1)
    assert reminders.held() == {}


def test_what_somebody_looked_after_before_a_silence_is_not_told_again_after_it() -> None:
    reminders = Reminders(3600, 0)
    acknowledged = TOLD._replace(alert=ALERT._replace(acked_by="anna", acked_ms=1, revision=1))

    assert reminders.due([acknowledged], silent, HOUR) == []
    assert reminders.held() == {}
    assert reminders.due([acknowledged], loud, 2 * HOUR) == []


def test_what_became_known_within_a_silence_is_told_after_it_although_somebody_looks_after_it() -> None:
    reminders = Reminders(3600, 0)
    acknowledged = TOLD._replace(alert=ALERT._replace(acked_by="anna", acked_ms=1, revision=1))
    reminders.hold([TOLD])  # it began to fire within the silence

    assert reminders.due([acknowledged], silent, 1) == []
    assert reminders.due([acknowledged], loud, 2) == [acknowledged]


def test_what_is_over_is_not_held_back_any_more() -> None:
    reminders = Reminders(3600, 0)
    reminders.due([TOLD], silent, 1)
    reminders.due([], silent, 2)

    assert reminders.held() == {}
