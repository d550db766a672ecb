"""Letters: what people read of an alert, a reminder and a flood."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.alerts import Alert, AlertState
from account_monitor.notifiers.letters import (
    MAX_LINES,
    Outage,
    Told,
    duration_text,
    headline,
    reminder_letter,
    standing_letter,
    summary_letter,
    transition_letter,
)

D = Decimal
FIRED = 1_795_521_605_000  # 2026-11-24 12:00:05Z
LOW = Alert(
    "0f1e", "MARGIN_CALL", "BTCUSDT", "CRITICAL", "FIRING", "equity is low", FIRED, FIRED, D("950"), D("1000.00")
)


def end(alert: Alert, after_ms: int) -> Alert:
    return alert._replace(state="RESOLVED", at_ms=alert.fired_ms + after_ms, revision=1)


def test_a_title_says_account_what_where_value_against_threshold_and_since_when() -> None:
    letter = transition_letter(Told("main", LOW))

    assert letter.title == "CRITICAL main MARGIN_CALL BTCUSDT: 950 against 1000 since 2026-11-24 12:00:05Z"
    assert letter.body == "equity is low\nAlert 0f1e, transition 0"
    assert letter.mood == "failure"


def test_a_figure_is_rounded_for_people() -> None:
    assert ": 0.33333333 against 1000" in headline(
        Told("main", LOW._replace(value=D(1).scaleb(-30) + D("0.333333333333")))
    )


def test_a_figure_without_an_end_is_said() -> None:
    assert ": ∞ against 10 since" in headline(Told("main", LOW._replace(value=D("Infinity"), threshold=D(10))))


figures = (
    st.none()
    | st.sampled_from((D("Infinity"), D("-Infinity")))
    | st.builds(lambda digits, exponent: D(digits).scaleb(exponent), st.integers(), st.integers(-40, 40))
)


@given(
    value=figures,
    threshold=figures,
    message=st.text(),
    state=st.sampled_from(("FIRING", "RESOLVED")),
    lasted_ms=st.integers(-(10**9), 10**12),
)
def test_whatever_is_journaled_can_be_told(
    value: Decimal | None, threshold: Decimal | None, message: str, state: AlertState, lasted_ms: int
) -> None:
    told = Told("main", LOW._replace(value=value, threshold=threshold, message=message, state=state,
                                     at_ms=FIRED + lasted_ms))  # fmt: skip

    for letter in (transition_letter(told), reminder_letter(told, FIRED + lasted_ms), summary_letter([told, told])):
        assert "\n" not in letter.title
        assert letter.title


def test_an_end_says_how_long_it_lasted() -> None:
    letter = transition_letter(Told("main", end(LOW, 303_000)))

    assert letter.title == "RESOLVED main MARGIN_CALL BTCUSDT after 5 min 3 s"
    assert letter.body.splitlines()[1] == "From 2026-11-24 12:00:05Z to 2026-11-24 12:05:08Z"
    assert letter.mood == "success"


def test_a_cause_is_said_when_it_is_known() -> None:
    assert "Cause: FUNDING" in transition_letter(Told("main", LOW._replace(cause="FUNDING"))).body


def test_a_title_says_who_looks_after_it_or_what_became_known_since() -> None:
    acknowledged = LOW._replace(revision=1, at_ms=FIRED + 5, acked_by="anna", acked_ms=FIRED + 5)
    known = acknowledged._replace(revision=2, at_ms=FIRED + 9, cause="MISSED_FILL")

    assert headline(Told("main", acknowledged)) == "ACKNOWLEDGED by anna: CRITICAL main MARGIN_CALL BTCUSDT"
    assert headline(Told("main", known)) == (
        "CRITICAL main MARGIN_CALL BTCUSDT: 950 against 1000 since 2026-11-24 12:00:05Z, cause MISSED_FILL,"
        " acknowledged by anna"
    )


def test_a_reminder_says_for_how_long() -> None:
    assert reminder_letter(Told("main", LOW), FIRED + 4 * 3_600_000).title == (
        "STILL CRITICAL main MARGIN_CALL BTCUSDT: 950 against 1000 since 2026-11-24 12:00:05Z (4 h)"
    )


def test_a_summary_has_each_alert_once_as_it_is_now_the_worst_first() -> None:
    warning = LOW._replace(id="2", symbol="ETHUSDT", severity="WARNING", value=None)
    told = [
        Told("main", warning),
        Told("alt", LOW),
        Told("alt", LOW._replace(id="3")),
        Told("alt", end(LOW._replace(id="3"), 10)),
    ]

    letter = summary_letter(told)

    assert letter.title == "1 CRITICAL, 1 WARNING, 1 RESOLVED (alt, main)"
    assert [line.split(" since")[0] for line in letter.body.splitlines()] == [
        "CRITICAL alt MARGIN_CALL BTCUSDT: 950 against 1000",
        "WARNING main MARGIN_CALL ETHUSDT",
        "RESOLVED alt MARGIN_CALL BTCUSDT after 10 ms",
    ]
    assert letter.mood == "failure"


def test_a_summary_after_an_outage_says_from_when_to_when_nobody_heard() -> None:
    letter = summary_letter([Told("main", LOW)], outage=Outage(FIRED, FIRED + 60_000))

    assert letter.body.splitlines()[0] == (
        "Nothing could be sent here from 2026-11-24 12:00:05Z to 2026-11-24 12:01:05Z (1 min). Meanwhile:"
    )


def test_what_is_over_is_good_news() -> None:
    assert summary_letter([Told("main", end(LOW, 1))]).mood == "success"


def test_a_summary_is_bounded() -> None:
    many = [Told(f"account{number}", LOW._replace(id=str(number))) for number in range(100)]

    for letter in (summary_letter(many), standing_letter(many, FIRED)):
        assert len(letter.body.splitlines()) == MAX_LINES + 1
        assert letter.body.endswith("and 70 more")
        assert letter.title.endswith("100 CRITICAL (account0, account1, account2, account3, account4, 95 more)")


def test_a_letter_shows_no_password_and_no_control_characters() -> None:
    letter = transition_letter(Told("main", LOW._replace(message="postgresql://anna:hunter2@db/x\x1b[31m\rred")))

    assert "hunter2" not in letter.body
    assert letter.body.splitlines()[0] == "postgresql://anna:***@db/x[31mred"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0 ms"), (12, "12 ms"), (1_000, "1 s"), (60_000, "1 min"), (303_999, "5 min 3 s"), (3_600_000, "1 h"),
     (3_660_000, "1 h 1 min"), (3_605_000, "1 h"), (90_000_000, "1 d 1 h"), (86_400_000, "1 d")],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(milliseconds: int, text: str) -> None:
    assert duration_text(milliseconds) == text
