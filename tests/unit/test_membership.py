"""What a process does of the accounts that it shares, without the processes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from account_monitor.cluster.attendance import Attendance
from account_monitor.cluster.keeper import Keeper
from account_monitor.cluster.leases import HeldLease, Session, Terms
from account_monitor.cluster.members import Board, Card, Holding, Member
from account_monitor.config import Settings
from account_monitor.historian.historian import Historian
from account_monitor.historian.messages import Tenure
from account_monitor.membership import membership as memberships
from account_monitor.membership.membership import Membership
from account_monitor.stores.history.following import Heritage
from account_monitor.stores.history.succession import Outcome, Succession
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_reader import JournalReader, open_reader


class Accounts:
    async def quiet_held(self, account: str) -> int:
        return 10

    async def close_held(self, account: str, *, at_once: bool) -> None:
        await asyncio.sleep(0.01)


class Store:
    async def release(self, *told: Any) -> None:
        return None


def membership_with(copied: list[int]) -> tuple[Any, Keeper, HeldLease]:
    """Return one that holds `x`, without the parts that these tests do not need."""
    made: Any = Membership.__new__(Membership)
    session = Session("one", Terms(9), "s1")
    keeper: Any = Keeper(Store(), "one", Terms(9), made, clock=lambda: 0.0, accounts=lambda: ["x"])  # type: ignore[arg-type]
    keeper.session = session
    lease = HeldLease("x", 5, session)
    keeper._held = {"x": lease}
    made._keeper, made._open, made._refused, made._known = keeper, {"x": lease}, set(), {"x": 5}
    made._laying_down, made._closing = set(), defaultdict(asyncio.Lock)
    made._news, made._claims, made._accounts = asyncio.Event(), None, Accounts()
    made._historian = SimpleNamespace(finish=lambda account: None, replicated=lambda account: copied[0])
    return made, keeper, lease


async def test_a_refusal_amid_a_handing_over_does_not_end_the_process() -> None:
    copied: list[int] = [0]
    tasks: list[asyncio.Task[None]] = []
    made, keeper, lease = membership_with(copied)
    async with asyncio.TaskGroup() as group:
        keeper._group = group
        made._spawn = lambda name, work: tasks.append(group.create_task(work))
        keeper._start_handing_over(lease, "s2")
        await asyncio.sleep(0.05)
        made._note_refused("x", 5, "account x is not held under epoch 5 any more")
        await asyncio.sleep(0.1)
        copied[0] = 10
    assert made._open == {}
    assert keeper.held == {}


async def journal_of(data_dir: Path, account: str, epoch: int) -> None:
    """Make a journal that ends under an epoch."""
    journal = Journal.open(data_dir, account, clock=lambda: 1_800_000_000_000)
    await journal.begin_epoch(epoch)
    await journal.close()


async def test_the_epochs_of_journals_are_read_once_and_not_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = Membership.__new__(Membership)
    made._known, made._read = {}, set()
    made._accounts = SimpleNamespace(settings=SimpleNamespace(service=SimpleNamespace(data_dir=tmp_path)))
    await journal_of(tmp_path, "x", 40)
    await journal_of(tmp_path, "y", 50)
    made._know("x", 30)  # told of the copy, which the journal is ahead of
    made._know("y", 60)
    read: list[int] = []

    def noted(path: Path) -> JournalReader:
        read.append(threading.get_ident())
        return open_reader(path)

    monkeypatch.setattr(memberships, "open_reader", noted)

    assert await made.known_epochs(["x", "y", "new"]) == {"x": 40, "y": 60, "new": 0}
    made._know("new", 70)
    assert await made.known_epochs(["new", "x"]) == {"new": 70, "x": 40}
    assert len(read) == 3
    assert threading.get_ident() not in read


def test_watching_the_cluster_costs_the_same_for_each_account() -> None:
    def seconds(count: int) -> float:
        made: Any = Membership.__new__(Membership)
        keeper = Keeper.__new__(Keeper)
        session = Session("one", Terms(9), "s1")
        keeper.session, keeper.problem, keeper._is_suspended = session, None, False
        keeper._attendance, keeper._clock, made._card = Attendance("one", Terms(9)), lambda: 0.0, Card()
        names = [f"a{number}" for number in range(count)]
        keeper._held = {name: HeldLease(name, 1, session) for name in names}
        keeper.board = Board({"s1": Member("s1", "one", Card(), True)}, {name: Holding(1, "s1") for name in names})
        made._keeper, made._member, made._open, made._has_settled = keeper, "one", keeper._held, True
        settings = SimpleNamespace(accounts=[SimpleNamespace(name=name) for name in names])
        made._accounts = SimpleNamespace(settings=settings)
        made._leases = SimpleNamespace(description="store")
        made._desk = SimpleNamespace(health=SimpleNamespace(report=lambda *_: None))
        began = time.process_time()
        made.watch()
        return time.process_time() - began

    seconds(100)
    assert seconds(8_000) < 40 * seconds(800)  # ten times as many, and a wide margin


def test_what_is_written_to_its_end_is_not_begun_again_because_another_account_came() -> None:
    historian = Historian(Settings(), None, None)  # type: ignore[arg-type]  # of whom it says nothing here
    tenure = Tenure(5, "s1")
    historian.assign(["x", "y"], {"x": tenure, "y": tenure})
    historian.finish("x")

    historian.assign(["x", "y", "z"], dict.fromkeys("xyz", tenure))
    assert historian._assignment().accounts == ["y", "z"]
    assert "x" in historian._followed, "how far it is written is still told"

    historian.assign(["x", "y"], {"x": Tenure(9, "s1"), "y": tenure})
    assert historian._assignment().accounts == ["x", "y"], "it came back under another lease"


async def test_who_takes_over_what_was_damaged_while_it_was_followed_says_so_and_believes_nothing_of_it() -> None:
    made, _, _ = membership_with([0])
    aside, fired = Path("x.journal.1"), []

    async def hand_over(*_: object) -> Heritage:
        return Heritage(Succession(Outcome.EXTENDED), None, Succession(Outcome.SET_ASIDE, 3, aside, "it was cut"))

    made._standby = SimpleNamespace(hand_over=hand_over)
    made._alarms = SimpleNamespace(fire=lambda *told, **more: fired.append((*told, more["symbol"])))

    made._untold = {}
    _, state = await made._inherit(None, "x", object())
    made._tell_set_aside("x", made._untold["x"])

    assert state is None
    text = (
        "the journal that was here is damaged (it was cut): it lies in x.journal.1, and the account goes on from the"
        " history"
    )
    assert fired == [("x", "STORAGE_UNAVAILABLE", text, "set_aside")]
