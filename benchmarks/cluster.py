"""A cluster: what does it cost to say who holds what, how even is that while machines die, how fast are the stores?"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from account_monitor.clock import boot_seconds, now_ms
from account_monitor.cluster.assignment import assign, followers
from account_monitor.cluster.keeper import Keeper
from account_monitor.cluster.leases import HeldLease, LeaseStore, Loss, Session, Terms, new_session_id
from account_monitor.cluster.members import Board, Card, Holding, Member
from account_monitor.cluster.nats import NatsLeases
from account_monitor.cluster.nats import NatsServer as NatsPlace
from account_monitor.cluster.postgres import PostgresLeases
from tests.integration.nats_server import NatsServer
from tests.servers.postgres import PostgresServer

ACCOUNTS, MACHINES, FOLLOWERS = 100_000, 200, 2
DEATHS = 6
DEATHS_AT_ONCE = (2, 20, 67)
MOVES_AT_ONCE = 50
LEASES = 500


class Fleet:
    """Machines of which some die and come back, in rounds: what a plan says is done before the next one."""

    def __init__(self) -> None:
        self.accounts = [f"account-{number:06}" for number in range(ACCOUNTS)]
        self.members = {name: Member(name, name, Card(), True) for name in (f"m{n:03}" for n in range(MACHINES))}
        self.holdings: dict[str, Holding] = {}
        self.plan_seconds: list[float] = []
        self.ring_seconds: list[float] = []
        self.warm, self.cold, self.moved = 0, 0, 0

    def warm_up(self) -> None:
        """Let everybody follow what it should."""
        began = time.process_time()
        found = followers(self.accounts, self.members.values(), FOLLOWERS)
        self.ring_seconds.append(time.process_time() - began)
        warm: dict[str, set[str]] = {name: set() for name in self.members}
        for account, names in found.items():
            for name in names:
                warm[name].add(account)
        for name, member in self.members.items():
            self.members[name] = member._replace(card=Card(warm=frozenset(warm[name])))

    def round(self) -> int:
        """Do what a plan says; return how much that was."""
        board = Board(self.members, self.holdings)
        began = time.process_time()
        plan = assign(self.accounts, board, moves_at_once=MOVES_AT_ONCE)
        self.plan_seconds.append(time.process_time() - began)
        for name, accounts in plan.acquire.items():
            ready = self.members[name].card.warm
            self.warm += sum(account in ready for account in accounts)
            self.cold += sum(account not in ready for account in accounts)
            self.holdings |= {account: Holding(1, name, name) for account in accounts}
        for move in plan.moves:
            self.holdings[move.account] = Holding(1, move.target, move.target)
        self.moved += len(plan.moves)
        return sum(map(len, plan.acquire.values())) + len(plan.moves)

    def spread(self) -> tuple[int, int]:
        board = Board(self.members, self.holdings)
        counts = Counter(holder.session for account in self.accounts if (holder := board.holder(account)) is not None)
        alive = [counts[name] for name, member in self.members.items() if member.is_alive]
        return min(alive), max(alive)


def simulate() -> None:
    """Let machines die and come back."""
    chance, fleet = random.Random(1), Fleet()
    fleet.warm_up()
    fleet.round()
    print(f"{ACCOUNTS:,} accounts on {MACHINES} machines, {FOLLOWERS} followers each: {fleet.spread()} on a machine")
    fleet.warm = fleet.cold = 0
    rounds, worst = [], 0
    for _ in range(DEATHS):
        name = chance.choice(list(fleet.members))
        fleet.members[name] = fleet.members[name]._replace(is_alive=False)
        fleet.round()  # taken over, in one round
        worst = max(worst, fleet.spread()[1])
        fleet.warm_up()
        fleet.members[name] = fleet.members[name]._replace(is_alive=True)
        fleet.warm_up()
        rounds.append(0)
        while fleet.round():
            rounds[-1] += 1
    print(f"{DEATHS} machines died and came back, one after the other, {MOVES_AT_ONCE} accounts moved at once:")
    print(f"  taken over {fleet.warm + fleet.cold}, of them warm {fleet.warm}; most on a machine after that {worst}")
    print(f"  moved back {fleet.moved}, in {statistics.mean(rounds):.0f} rounds each; {fleet.spread()} in the end")
    print(f"  a plan: median {statistics.median(fleet.plan_seconds):.2f} s, longest {max(fleet.plan_seconds):.2f} s")
    print(f"  followers of all: {statistics.median(fleet.ring_seconds):.2f} s, of processor time")


def lose_at_once() -> None:
    """Let many machines die at the same moment, as with a rack or a zone."""
    for count in DEATHS_AT_ONCE:
        chance, fleet = random.Random(count), Fleet()
        fleet.warm_up()
        fleet.round()
        fleet.warm = fleet.cold = 0
        lost = chance.sample(sorted(fleet.members), count)
        for name in lost:
            fleet.members[name] = fleet.members[name]._replace(is_alive=False)
        fleet.plan_seconds.clear()
        fleet.round()
        least, most = fleet.spread()
        print(
            f"{count} of {MACHINES} machines died at once: {fleet.warm + fleet.cold:,} accounts taken over by a"
            f" plan, warm for {fleet.warm:,}; {least} to {most} on a machine; {fleet.plan_seconds[0]:.2f} s"
            " of processor time"
        )
        rounds = 0
        while fleet.round():
            rounds += 1
        print(f"  evened out: {fleet.moved:,} moved, in {rounds} rounds; {fleet.spread()} in the end", flush=True)


async def ask(name: str, one: LeaseStore, other: LeaseStore) -> None:
    """Time what a store is asked."""
    terms, accounts = Terms(60), {f"account-{number}": 0 for number in range(LEASES)}
    sessions = []
    for store in (one, other):
        await store.open()
        sessions.append(Session("m", terms, new_session_id()))
        await store.join(sessions[-1], Card())
    began = time.perf_counter()
    await one.acquire(sessions[0], accounts)
    acquired = time.perf_counter() - began
    beats = []
    for _ in range(200):
        began = time.perf_counter()
        await one.beat(sessions[0])
        beats.append(time.perf_counter() - began)
    await other.board()
    began = time.perf_counter()
    await one.leave(sessions[0])
    taken = await other.acquire(sessions[1], accounts)
    took = time.perf_counter() - began
    assert len(taken) == LEASES
    print(
        f"{name}: a renewal of {LEASES} leases {statistics.median(beats) * 1000:.2f} ms (median; longest"
        f" {max(beats) * 1000:.0f}), {LEASES} leases acquired in {acquired:.2f} s, left and taken over in {took:.2f} s"
    )
    await one.close()
    await other.close()


class Speaker:
    """What a service does with its leases, at once; `told` when it has them all."""

    def __init__(self) -> None:
        self.leases: dict[str, HeldLease] = {}
        self.has_all = asyncio.Event()

    async def take_up(self, lease: HeldLease) -> None:
        self.leases[lease.account] = lease
        if len(self.leases) == LEASES:
            self.has_all.set()

    async def lay_down(self, lease: HeldLease, why: Loss) -> None:
        self.leases.pop(lease.account, None)

    async def known_epochs(self, accounts: Collection[str]) -> Mapping[str, int]:
        return dict.fromkeys(accounts, 0)


async def take_over(name: str, one: LeaseStore, other: LeaseStore) -> None:
    """Let a member die that holds everything, and see how long nobody does after its session has ended."""
    accounts, terms = [f"account-{number}" for number in range(LEASES)], Terms(3)
    before, after = Speaker(), Speaker()
    keepers = [
        Keeper(store, member, terms, speaker, clock=boot_seconds, accounts=lambda: accounts, card=Card())
        for store, member, speaker in ((one, "m1", before), (other, "m2", after))
    ]
    first = asyncio.create_task(keepers[0].run())
    await before.has_all.wait()
    keepers[1].show(Card(unable=frozenset(accounts)))  # it waits for its turn
    second = asyncio.create_task(keepers[1].run())
    await asyncio.sleep(terms.ttl_seconds)
    keepers[1].show(Card())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    ends_at = keepers[0].session.valid_until + terms.ttl_seconds - terms.sure_seconds
    await after.has_all.wait()
    late = boot_seconds() - ends_at
    print(f"{name}: of a dead member {LEASES} leases were taken over {late * 1000:.0f} ms after its ttl")
    keepers[1].drain()
    await second
    await one.close()
    await other.close()


def stores() -> None:
    """Ask real servers that flush what they acknowledge."""
    with PostgresServer(flushes=True) as server:
        asyncio.run(ask("PostgreSQL", PostgresLeases(server.url), PostgresLeases(server.url)))
        asyncio.run(take_over("PostgreSQL", PostgresLeases(server.url), PostgresLeases(server.url)))
    with tempfile.TemporaryDirectory() as directory, NatsServer(Path(directory)) as nats_server:
        place = NatsPlace((nats_server.url,))

        def store() -> NatsLeases:
            return NatsLeases(place, clock=boot_seconds, wall_clock=now_ms, answer_seconds=10)

        asyncio.run(ask("NATS", store(), store()))
        asyncio.run(take_over("NATS", store(), store()))


def main() -> None:
    """Run all."""
    simulate()
    lose_at_once()
    stores()
