"""Keepers in virtual time: who holds what while members come, go, die, are cut off, and the store is away."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import pytest

from account_monitor.cluster.keeper import AGAIN_SECONDS, Keeper
from account_monitor.cluster.leases import HeldLease, Loss, Terms
from account_monitor.errors import HistoryUnavailable
from tests.simulation.leases_in_memory import MemoryLeases, MemoryServer
from tests.simulation.virtual_time import run_virtual, virtual_loop

TERMS = Terms(5.0)
ACCOUNTS = [f"account-{number:02}" for number in range(12)]


class Desk:
    """What a service does with its leases, in virtual seconds."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float]) -> None:
        self.cluster = cluster
        self.clock = clock
        self.spoken_for: dict[str, HeldLease] = {}
        self.losses: list[tuple[str, Loss]] = []
        self.could_write_the_rest: list[bool] = []
        self.take_up_seconds = 0.2
        self.lay_down_seconds = 0.1
        self.fails: Collection[str] = ()

    async def take_up(self, lease: HeldLease) -> None:
        await asyncio.sleep(self.take_up_seconds)
        if lease.account in self.fails:
            raise HistoryUnavailable("the database is away")
        assert lease.account not in self.spoken_for
        self.spoken_for[lease.account] = lease
        self.cluster.taken_up.append((virtual_loop().time(), lease.account, lease.epoch))

    async def lay_down(self, lease: HeldLease, why: Loss) -> None:
        self.losses.append((lease.account, why))
        if why is Loss.GIVEN_UP:
            self.could_write_the_rest.append(lease.is_valid(self.clock()))
            await asyncio.sleep(self.lay_down_seconds)
        self.spoken_for.pop(lease.account, None)

    async def known_epochs(self, accounts: Collection[str]) -> Mapping[str, int]:
        return dict.fromkeys(accounts, 0)

    @property
    def valid(self) -> set[str]:
        return {account for account, lease in self.spoken_for.items() if lease.is_valid(self.clock())}


class Node:
    """A member: its keeper, its way to the store, its clock."""

    def __init__(self, cluster: Cluster, name: str, rate: float = 1.0) -> None:
        loop = virtual_loop()

        def clock() -> float:
            return 1_000.0 + loop.time() * rate

        self.name = name
        self.store = MemoryLeases(cluster.server, delay_seconds=0.002)
        self.desk = Desk(cluster, clock)
        self.keeper = Keeper(
            self.store, name, TERMS, self.desk, clock=clock, accounts=lambda: cluster.accounts, new_id=cluster.new_id
        )
        self.task = asyncio.create_task(self.keeper.run())

    async def crash(self) -> None:
        """Die: nothing is said to anybody, and nothing it held is valid any more."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.desk.spoken_for.clear()

    async def drain(self) -> None:
        self.keeper.drain()
        await self.task


class Cluster:
    """A store, and whoever takes part."""

    def __init__(self) -> None:
        loop = virtual_loop()
        self.server = MemoryServer(lambda: 5_000.0 + loop.time())
        self.accounts = list(ACCOUNTS)
        self.nodes: dict[str, Node] = {}
        self.taken_up: list[tuple[float, str, int]] = []
        self._ids = 0

    def add(self, name: str, rate: float = 1.0) -> Node:
        node = self.nodes[name] = Node(self, name, rate)
        return node

    def new_id(self) -> str:
        """Return the id of a session: the same ones in every run, so that a seed repeats what happened."""
        self._ids += 1
        return f"s{self._ids * 7919 % 10_007:05}"

    def check(self) -> None:
        """Nobody speaks for what somebody else speaks for, and epochs grow."""
        speakers = Counter(account for node in self.nodes.values() for account in node.desk.valid)
        assert not [account for account, count in speakers.items() if count > 1]
        epochs: dict[str, int] = {}
        for _, account, epoch, _ in self.server.granted:
            assert epoch > epochs.get(account, 0)
            epochs[account] = epoch

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(node.desk.valid) for name, node in self.nodes.items()}

    async def pass_time(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass, and look all the while."""
        ends = virtual_loop().time() + seconds
        while virtual_loop().time() < ends:
            await asyncio.sleep(step)
            self.check()
            for node in self.nodes.values():
                if node.task.done() and not node.task.cancelled():
                    node.task.result()  # a defect is said, not waited for

    async def silence(self, account: str, most: float = 30) -> float:
        """Return after how long somebody speaks for an account."""
        began = virtual_loop().time()
        while not any(account in node.desk.valid for node in self.nodes.values()):
            await self.pass_time(0.01, step=0.01)
            assert virtual_loop().time() - began < most
        return virtual_loop().time() - began

    async def end(self) -> None:
        for node in self.nodes.values():
            await node.crash()


def test_a_member_alone_takes_everything_once_others_had_time_to_come() -> None:
    async def run() -> None:
        cluster = Cluster()
        node = cluster.add("m1")
        await cluster.pass_time(1)
        assert node.desk.valid == set()
        await cluster.pass_time(2)
        assert node.desk.valid == set(ACCOUNTS)
        await cluster.pass_time(60)
        assert node.desk.valid == set(ACCOUNTS)
        assert len(cluster.server.granted) == len(ACCOUNTS)
        await cluster.end()

    run_virtual(run())


def test_members_that_start_together_share_evenly_and_nothing_moves() -> None:
    async def run() -> None:
        cluster = Cluster()
        for name in ("m1", "m2", "m3"):
            cluster.add(name)
        await cluster.pass_time(10)
        assert cluster.counts == {"m1": 4, "m2": 4, "m3": 4}
        assert len(cluster.server.granted) == len(ACCOUNTS)
        await cluster.end()

    run_virtual(run())


def test_who_comes_later_is_handed_its_share_in_good_order() -> None:
    async def run() -> None:
        cluster = Cluster()
        first = cluster.add("m1")
        await cluster.pass_time(5)
        second = cluster.add("m2")
        await cluster.pass_time(10)
        assert cluster.counts == {"m1": 6, "m2": 6}
        assert {why for _, why in first.desk.losses} == {Loss.GIVEN_UP}
        assert all(first.desk.could_write_the_rest)
        moved = sorted(second.desk.valid)
        assert sorted(account for account, _ in first.desk.losses) == moved  # no other was touched
        await cluster.end()

    run_virtual(run())


def test_what_a_dead_member_held_is_taken_over_when_its_time_is_over() -> None:
    async def run() -> None:
        cluster = Cluster()
        nodes = [cluster.add(name) for name in ("m1", "m2", "m3")]
        await cluster.pass_time(10)
        lost = sorted(nodes[0].desk.valid)
        await nodes[0].crash()
        silent = [await cluster.silence(account) for account in lost]
        assert max(silent) < TERMS.ttl_seconds + 0.5  # 0.2 of which the desk takes to take them up
        assert cluster.counts == {"m1": 0, "m2": 6, "m3": 6}
        await cluster.end()

    run_virtual(run())


def test_draining_hands_over_at_once() -> None:
    async def run() -> None:
        cluster = Cluster()
        first = cluster.add("m1")
        cluster.add("m2")
        await cluster.pass_time(10)
        draining = asyncio.create_task(first.drain())
        await cluster.pass_time(1)
        assert cluster.counts == {"m1": 0, "m2": 12}
        await draining
        assert {why for _, why in first.desk.losses} == {Loss.GIVEN_UP}
        await cluster.end()

    run_virtual(run())


def test_the_last_member_drains_too_and_the_next_one_starts_at_once() -> None:
    async def run() -> None:
        cluster = Cluster()
        first = cluster.add("m1")
        await cluster.pass_time(5)
        await first.drain()
        began = virtual_loop().time()
        cluster.add("m1")
        await cluster.silence(ACCOUNTS[0])
        assert virtual_loop().time() - began < TERMS.beat_seconds + 0.5
        await cluster.end()

    run_virtual(run())


def test_while_the_store_is_away_nothing_is_valid_and_nothing_changes_hands() -> None:
    async def run() -> None:
        cluster = Cluster()
        nodes = [cluster.add(name) for name in ("m1", "m2")]
        await cluster.pass_time(10)
        held = [node.desk.valid for node in nodes]
        granted = len(cluster.server.granted)

        cluster.server.is_down = True
        await cluster.pass_time(60)
        assert cluster.counts == {"m1": 0, "m2": 0}
        assert [node.keeper.is_suspended for node in nodes] == [True, True]
        assert [node.keeper.problem for node in nodes] == ["memory: no answer in time"] * 2
        cluster.server.is_down = False
        await cluster.pass_time(10)

        assert [node.desk.valid for node in nodes] == held  # under the same epochs
        assert len(cluster.server.granted) == granted
        assert [node.desk.losses for node in nodes] == [[], []]
        assert [node.keeper.is_suspended for node in nodes] == [False, False]
        await cluster.end()

    run_virtual(run())


def test_a_blink_of_the_store_is_not_noticed() -> None:
    async def run() -> None:
        cluster = Cluster()
        node = cluster.add("m1")
        await cluster.pass_time(5)
        for _ in range(10):
            cluster.server.is_down = True
            await cluster.pass_time(2)
            cluster.server.is_down = False
            assert node.desk.valid == set(ACCOUNTS)
            await cluster.pass_time(3)
        assert node.desk.losses == []
        await cluster.end()

    run_virtual(run())


def test_who_is_cut_off_falls_silent_before_others_take_over_and_comes_back_as_another() -> None:
    async def run() -> None:
        cluster = Cluster()
        cut, other = cluster.add("m1"), cluster.add("m2")
        await cluster.pass_time(10)
        before = cut.keeper.session.id
        cut.store.is_cut = True
        await cluster.pass_time(TERMS.sure_seconds + 0.1)
        assert cut.desk.valid == set()
        await cluster.pass_time(2)
        assert other.desk.valid == set(ACCOUNTS)
        cut.store.is_cut = False
        await cluster.pass_time(10)
        assert cluster.counts == {"m1": 6, "m2": 6}
        assert cut.keeper.session.id != before
        assert {why for _, why in cut.desk.losses} == {Loss.TAKEN}
        await cluster.end()

    run_virtual(run())


def test_what_a_member_cannot_take_up_another_one_does() -> None:
    async def run() -> None:
        cluster = Cluster()
        cluster.accounts = ["main"]
        nodes = [cluster.add(name) for name in ("m1", "m2")]
        nodes[0].desk.fails = nodes[1].desk.fails = {"main"}
        await cluster.pass_time(10)
        assert cluster.counts == {"m1": 0, "m2": 0}
        assert {session for _, _, _, session in cluster.server.granted} == {n.keeper.session.id for n in nodes}
        nodes[0].desk.fails = ()
        await cluster.pass_time(3 * AGAIN_SECONDS)
        assert cluster.counts == {"m1": 1, "m2": 0}
        await cluster.end()

    run_virtual(run())


def test_accounts_come_and_go_with_the_configuration() -> None:
    async def run() -> None:
        cluster = Cluster()
        node = cluster.add("m1")
        await cluster.pass_time(5)
        cluster.accounts = [*ACCOUNTS[1:], "new"]
        await cluster.pass_time(5)
        assert node.desk.valid == {*ACCOUNTS[1:], "new"}
        assert node.desk.losses == [(ACCOUNTS[0], Loss.GIVEN_UP)]
        await cluster.end()

    run_virtual(run())


def test_a_defect_of_the_service_ends_the_keeper() -> None:
    async def run() -> None:
        cluster = Cluster()
        node = cluster.add("m1")

        async def fail(lease: HeldLease) -> None:
            raise ZeroDivisionError(lease.account)

        node.desk.take_up = fail  # type: ignore[method-assign]  # as a service with a mistake in it
        with pytest.raises(ExceptionGroup) as raised:
            await node.task
        assert raised.group_contains(ZeroDivisionError)

    run_virtual(run())


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_nobody_speaks_for_what_another_has_and_all_is_well_in_the_end(seed: int) -> None:
    async def run() -> None:
        chance = random.Random(seed)
        cluster = Cluster()
        rates = {name: chance.uniform(0.96, 1.04) for name in ("m1", "m2", "m3", "m4")}
        for name, rate in rates.items():
            cluster.add(name, rate)
        for _ in range(30):
            await cluster.pass_time(chance.uniform(0, 4))
            name = chance.choice(list(rates))
            node = cluster.nodes[name]
            match chance.choice(["crash", "drain", "cut", "cut", "heal", "down", "up", "slow"]):
                case "crash":
                    await node.crash()
                    cluster.add(name, rates[name])
                case "drain" if not cluster.server.is_down:
                    await node.drain()
                    cluster.add(name, rates[name])
                case "cut":
                    node.store.is_cut = True
                case "heal":
                    node.store.is_cut = False
                case "down":
                    cluster.server.is_down = True
                case "up":
                    cluster.server.is_down = False
                case "slow":
                    node.store.delay_seconds = chance.choice([0.001, 0.1, 0.6])
                case _:
                    pass
        cluster.server.is_down = False
        for node in cluster.nodes.values():
            node.store.is_cut = False
        await cluster.pass_time(60)
        assert sorted(cluster.counts.values()) == [3, 3, 3, 3]
        await cluster.end()

    run_virtual(run())


def test_a_member_that_dies_is_named_by_the_others_and_one_that_stops_is_not() -> None:
    async def run() -> None:
        cluster = Cluster()
        nodes = [cluster.add(name) for name in ("m1", "m2", "m3")]
        await cluster.pass_time(10)
        await nodes[1].drain()
        await nodes[2].crash()
        await cluster.pass_time(TERMS.ttl_seconds + 1)
        assert [member.name for member in nodes[0].keeper.lost] == ["m3"]
        cluster.add("m3")
        await cluster.pass_time(2)
        assert nodes[0].keeper.lost == []
        await cluster.end()

    run_virtual(run())


def test_an_outage_of_the_store_loses_nobody() -> None:
    async def run() -> None:
        cluster = Cluster()
        nodes = [cluster.add(name) for name in ("m1", "m2", "m3")]
        await cluster.pass_time(10)
        cluster.server.is_down = True
        await cluster.pass_time(4 * TERMS.ttl_seconds)
        cluster.server.is_down = False
        await cluster.pass_time(10)
        assert [node.keeper.lost for node in nodes] == [[], [], []]
        await cluster.end()

    run_virtual(run())


def test_two_members_of_one_name_hear_of_each_other() -> None:
    async def run() -> None:
        cluster = Cluster()
        first, second = cluster.add("m1"), Node(cluster, "m1")
        await cluster.pass_time(2 * TERMS.ttl_seconds)
        assert [member.session for member in first.keeper.namesakes] == [second.keeper.session.id]
        assert [member.session for member in second.keeper.namesakes] == [first.keeper.session.id]
        await second.crash()
        await cluster.pass_time(2 * TERMS.ttl_seconds)
        assert first.keeper.namesakes == []
        await cluster.end()

    run_virtual(run())


def test_who_has_just_joined_takes_what_is_handed_over_to_it_at_once() -> None:
    async def run() -> None:
        cluster = Cluster()
        first = cluster.add("m1")
        await cluster.pass_time(10)
        second = cluster.add("m2")
        second.desk.take_up_seconds = 0.0
        began = virtual_loop().time()
        while not first.desk.losses:
            await cluster.pass_time(0.01, step=0.01)
        handed_over = first.desk.losses[0][0]
        await cluster.pass_time(first.desk.lay_down_seconds + 0.1, step=0.01)
        assert handed_over in second.desk.valid
        assert virtual_loop().time() - began < TERMS.beat_seconds
        await cluster.end()

    run_virtual(run())
