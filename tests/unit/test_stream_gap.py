"""A gap of a stream is told on the accounts that miss something, and on no other."""

from __future__ import annotations

from account_monitor.app import App
from account_monitor.config import Settings
from account_monitor.feeds.progress import StreamGap
from account_monitor.monitor.ports import UNROUTED


async def test_a_gap_is_told_on_those_who_miss_something() -> None:
    app = App(Settings())
    app.desk.configure(["main", "alt", "new"])

    app.watch.note_gap(StreamGap("nats:FILLS", ("main", "alt", UNROUTED), "3 messages were removed unseen"))

    assert [(alarm.account, alarm.alert.type) for alarm in app.alarms.open()] == [
        ("main", "STREAM_GAP"),
        ("alt", "STREAM_GAP"),
    ]
