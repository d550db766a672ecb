"""Complaints: said once, until there is something new to say."""

from __future__ import annotations

from structlog.testing import capture_logs

from account_monitor.notifiers.complaints import Complaints


def test_what_fails_again_and_again_is_said_once_for_each_reason() -> None:
    complaints = Complaints("not_read")

    with capture_logs() as said:
        for reason in ("damaged", "damaged", "locked", "locked"):
            complaints.say("main", reason, account="main")

    assert [(line["event"], line["account"], line["reason"]) for line in said] == [
        ("not_read", "main", "damaged"),
        ("not_read", "main", "locked"),
    ]


def test_what_worked_meanwhile_is_news_when_it_fails_again() -> None:
    complaints = Complaints("not_read")

    with capture_logs() as said:
        complaints.say("main", "damaged")
        complaints.say("other", "damaged")
        complaints.withdraw("main")
        complaints.say("main", "damaged")
        complaints.say("other", "damaged")

    assert len(said) == 3
