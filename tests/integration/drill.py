"""Drills: a process is killed, stopped, frozen or cut off, or the store of the leases is restarted; who serves when?"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

from tests.integration.replicas import Cluster, Replica
from tests.integration.witness import Witness

SERVED_SECONDS = 60.0
"""What no takeover may take, however busy the machine is."""
EVEN_SECONDS = 30.0
LOOK_SECONDS = 0.01
KILL, FREEZE, RESTART, PARTITION, DRAIN = "kill", "freeze", "restart the store", "partition", "drain"
EXIT_SECONDS = 6.0

log = logging.getLogger(__name__)


class Drill:
    """Breaks one thing at a time, as chance will have it, and mends it before the next."""

    def __init__(self, cluster: Cluster, witness: Witness, chance: Random) -> None:
        self.cluster = cluster
        self.witness = witness
        self.killed: list[float] = []
        """For each account of a process that was killed, seconds until another process served it."""
        self.drained: list[float] = []
        """The same from SIGTERM."""
        self.done: dict[str, int] = {}
        """How often each thing was done."""
        self._chance = chance
        self._ttl_seconds = cluster.ttl_seconds

    @property
    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What it can do."""
        return {
            KILL: self.kill,
            FREEZE: self.freeze,
            RESTART: self.restart_store,
            PARTITION: self.partition,
            DRAIN: self.drain,
        }

    async def do(self, kind: str) -> None:
        """Break something, mend it, and return when all accounts are shared evenly again."""
        self.done[kind] = self.done.get(kind, 0) + 1
        self.witness.disturbances.append(time.time())
        log.info("%s", kind)
        await self.kinds[kind]()
        self.witness.disturbances.append(time.time())
        await self.even()

    def _victim(self) -> Replica:
        return self._chance.choice([each for each in self.cluster.replicas if self.witness.held_by(each)])

    async def kill(self) -> None:
        """kill -9, and another start some time after others have taken over."""
        victim = self._victim()
        accounts, at = self.witness.held_by(victim), time.monotonic()
        await asyncio.to_thread(victim.kill)
        self.killed += await self._served(accounts, victim, at)
        await asyncio.sleep(self._chance.uniform(0, 2))
        victim.start(wait=False)

    async def drain(self) -> None:
        """SIGTERM, and another start."""
        victim = self._victim()
        assert victim.process is not None
        accounts, at = self.witness.held_by(victim), time.monotonic()
        victim.process.send_signal(signal.SIGTERM)
        self.drained += await self._served(accounts, victim, at)
        code = await asyncio.to_thread(victim.process.wait, EXIT_SECONDS)
        if code != 0:
            self.witness.accuse(f"{victim.name} ended with {code} after a SIGTERM")
        victim.start(wait=False)

    async def freeze(self) -> None:
        """Stop all processes of a replica for longer than it is missed."""
        victim = self._victim()
        accounts, at = self.witness.held_by(victim), time.monotonic()
        victim.freeze()
        await self._served(accounts, victim, at)
        await asyncio.sleep(self._chance.uniform(0, self._ttl_seconds))
        victim.thaw()

    async def partition(self) -> None:
        """Cut a replica off from everything, for a moment or for longer than it is missed."""
        victim = self._victim()
        accounts, at = self.witness.held_by(victim), time.monotonic()
        victim.network.cut()
        if self._chance.random() < 0.25:
            await asyncio.sleep(self._chance.uniform(0.1, 0.6) * self._ttl_seconds)
        else:
            await self._served(accounts, victim, at)
            await asyncio.sleep(self._chance.uniform(0, self._ttl_seconds))
        victim.network.mend()

    async def restart_store(self) -> None:
        """Restart where the leases are kept: in good order or by kill -9, for a moment or longer than a ttl."""
        store = self.cluster.nats if self.cluster.lease == "nats" else self.cluster.postgres
        await asyncio.to_thread(self._chance.choice([store.stop, store.kill]))
        await asyncio.sleep(self._chance.uniform(0, 1.5) * self._ttl_seconds)
        await asyncio.to_thread(store.start)

    async def _served(self, accounts: list[str], victim: Replica, at: float) -> list[float]:
        """Wait until others serve the accounts of a process; return for each how long that took."""
        served: dict[str, float] = {}
        deadline = at + SERVED_SECONDS
        while len(served) < len(accounts):
            for account in accounts:
                when = self.witness.served_since(account, at, but=victim.name)
                if when is not None:
                    served[account] = when - at
            if time.monotonic() > deadline:
                missing = sorted(set(accounts) - served.keys())
                self.witness.accuse(f"{SERVED_SECONDS:g} s after {victim.name} was gone nobody served {missing}")
                break
            await asyncio.sleep(LOOK_SECONDS)
        return list(served.values())

    async def even(self) -> None:
        """Wait until all processes are there again and hold about as many accounts, and a little longer."""
        deadline = time.monotonic() + EVEN_SECONDS
        while not self._is_even():
            if time.monotonic() > deadline:
                counts = {each.name: len(self.witness.held_by(each)) for each in self.cluster.replicas}
                self.witness.counts["times the shares stayed uneven"] += 1
                log.warning("uneven: %s", counts)
                break
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(self._chance.uniform(0.5, 2))

    def _is_even(self) -> bool:
        counts = [len(self.witness.held_by(each)) for each in self.cluster.replicas]
        return max(counts) - min(counts) <= 2


@asynccontextmanager
async def busy(cluster: Cluster, *, fills_per_second: float, dip_seconds: float) -> AsyncIterator[None]:
    """Let things happen in all accounts for the length of the block."""
    desk = cluster.desk
    jobs = (
        desk.trade(fills_per_second),
        desk.publish(cluster.nats, max(1.0, len(desk.heard) * fills_per_second / len(desk.names))),
        desk.dip(dip_seconds),
    )
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job)
        try:
            yield
        finally:
            desk.is_over = True
