"""The historian: how far does it say that a journal is in a database elsewhere?"""

from __future__ import annotations

from account_monitor.config import DatabaseSettings, Settings
from account_monitor.historian.historian import Historian, _Followed
from account_monitor.historian.messages import Written
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from tests.monitor_by_hand import Clock


async def test_nothing_counts_as_replicated_while_the_database_does_not_answer() -> None:
    settings = Settings()._replace(database=DatabaseSettings(url="postgresql://history"))
    historian = Historian(settings, Desk(Clock(), "9"), AlarmBoard(Clock()))
    followed = historian._followed["main"] = _Followed()
    assert historian.replicated("main") == 0

    historian._note(followed, Written("main", 1_000, None, False))
    assert historian.replicated("main") == 1_000
    historian._note(followed, Written("main", 1_000, "Connect call failed", False))
    assert historian.replicated("main") == 0
    historian._note(followed, Written("main", 1_000, None, False))
    historian._note_end("its process ended")
    assert historian.replicated("main") == 0


async def test_who_has_nothing_to_write_does_not_say_that_the_history_is_being_opened() -> None:
    desk = Desk(Clock(), "9")
    historian = Historian(Settings(), desk, AlarmBoard(Clock()))

    historian.watch()
    assert desk.health.checks["history"].message == "no account is open here: nothing to write"
    historian.assign(["main"])
    historian.watch()
    assert desk.health.checks["history"].message == "is being opened"
