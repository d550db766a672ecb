"""Accounts that one process cannot record, in virtual time: another one takes them, where there is one that could."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from account_monitor.membership import retreat as retreats
from account_monitor.membership.retreat import PATIENCE_SECONDS, Retreat
from tests.simulation.test_keeper import ACCOUNTS, Cluster, Node
from tests.simulation.virtual_time import run_virtual

SHARE = len(ACCOUNTS) // 2


class Disk:
    """What a process writes on, and the journals there."""

    def __init__(self, node: Node, number: int) -> None:
        self.path = Path(f"/disk-{number}")
        self.node = node
        self.is_full = False
        self.spoilt: set[str] = set()
        """Accounts whose journals cannot be written although there is room."""
        self.copied = True
        self.retreat = Retreat(
            node.keeper,
            self.path,
            accounts=lambda: ACCOUNTS,
            failed=self.failed,
            is_copied=lambda account, seq: self.copied,
            clock=node.desk.clock,
        )

    def failed(self) -> dict[str, Any]:
        journal = SimpleNamespace(failure="it cannot be written", last_seq=7)
        held = self.node.desk.spoken_for.keys()
        return {
            account: SimpleNamespace(**vars(journal), may_be_opened_anew=self.is_full)
            for account in held
            if self.is_full or account in self.spoilt
        }


class Disks(dict[Path, Disk]):
    """The disks of a cluster; what is full fails to take up anything."""

    def add(self, cluster: Cluster, name: str) -> Disk:
        disk = Disk(cluster.add(name), len(self))
        self[disk.path] = disk
        return disk

    async def pass_time(self, cluster: Cluster, seconds: int) -> None:
        for _ in range(seconds):
            for disk in self.values():
                disk.node.desk.fails = ACCOUNTS if disk.is_full else disk.spoilt
                if not disk.node.task.done():
                    await disk.retreat.look()
            await cluster.pass_time(1)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> Disks:
    disks = Disks()

    async def here(work: Any, *arguments: Any, **named: Any) -> Any:
        return work(*arguments, **named)

    monkeypatch.setattr(retreats, "is_out_of_room", lambda path: disks[path].is_full)
    monkeypatch.setattr(retreats, "has_room", lambda path: not disks[path].is_full)
    monkeypatch.setattr("asyncio.to_thread", here)
    return disks


def test_what_cannot_be_recorded_goes_to_another_and_comes_back_once_there_is_room(disks: Disks) -> None:
    async def run() -> None:
        cluster = Cluster()
        one, two = disks.add(cluster, "m1"), disks.add(cluster, "m2")
        await disks.pass_time(cluster, 10)
        assert cluster.counts == {"m1": SHARE, "m2": SHARE}
        one.is_full = True
        await disks.pass_time(cluster, int(PATIENCE_SECONDS) + 3)
        assert two.node.desk.valid == set(ACCOUNTS)
        granted = len(cluster.server.granted)
        await disks.pass_time(cluster, 120)
        assert len(cluster.server.granted) == granted, "nothing goes to and fro"
        assert one.retreat.problem == "nothing can be written in /disk-0: what others can hold is left to them"

        one.is_full = False
        await disks.pass_time(cluster, 20)
        assert cluster.counts == {"m1": SHARE, "m2": SHARE}
        assert one.retreat.problem == ""
        await cluster.end()

    run_virtual(run())


def test_who_has_no_room_gives_up_nothing_for_who_has_none_either_or_is_not_there(disks: Disks) -> None:
    async def run() -> None:
        cluster = Cluster()
        one, two = disks.add(cluster, "m1"), disks.add(cluster, "m2")
        await disks.pass_time(cluster, 10)
        granted = len(cluster.server.granted)
        one.is_full = two.is_full = True
        await disks.pass_time(cluster, 60)
        assert cluster.counts == {"m1": SHARE, "m2": SHARE}
        assert len(cluster.server.granted) == granted
        two.is_full = False
        await disks.pass_time(cluster, 20)
        assert cluster.counts == {"m1": 0, "m2": len(ACCOUNTS)}
        await cluster.end()

        alone = Cluster()
        disks.clear()
        only = disks.add(alone, "m1")
        await disks.pass_time(alone, 10)
        only.is_full = True
        await disks.pass_time(alone, 60)
        assert alone.counts == {"m1": len(ACCOUNTS)}
        await alone.end()

    run_virtual(run())


def test_a_file_that_is_at_fault_is_left_to_another_for_good(disks: Disks) -> None:
    async def run() -> None:
        cluster = Cluster()
        one, two = disks.add(cluster, "m1"), disks.add(cluster, "m2")
        await disks.pass_time(cluster, 10)
        account = min(one.node.desk.valid)
        one.spoilt = {account}
        await disks.pass_time(cluster, 120)
        assert account in two.node.desk.valid
        assert cluster.counts == {"m1": SHARE, "m2": SHARE}, "another one came for it"
        assert [given for _, given, _ in cluster.taken_up].count(account) == 2
        assert one.retreat.problem == f"left to others, for their journals here cannot be written: {account}"
        await cluster.end()

    run_virtual(run())


def test_what_is_not_copied_yet_is_kept_until_it_is(disks: Disks) -> None:
    async def run() -> None:
        cluster = Cluster()
        one, _ = disks.add(cluster, "m1"), disks.add(cluster, "m2")
        await disks.pass_time(cluster, 10)
        one.is_full, one.copied = True, False
        await disks.pass_time(cluster, 30)
        assert cluster.counts == {"m1": SHARE, "m2": SHARE}
        one.copied = True
        await disks.pass_time(cluster, 5)
        assert cluster.counts == {"m1": 0, "m2": len(ACCOUNTS)}
        await cluster.end()

    run_virtual(run())
