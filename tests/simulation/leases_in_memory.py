"""A store of leases in memory: the same rules as the real ones, with a clock of its own and outages on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from account_monitor.cluster.leases import Seconds, Session, next_epoch
from account_monitor.cluster.members import Board, Card, Holding, Member
from account_monitor.errors import LeaseLost, StorageUnavailable


class MemoryServer:
    """What all members share: the place of a database."""

    def __init__(self, clock: Seconds) -> None:
        self.clock = clock
        self.sessions: dict[str, tuple[str, Card, float]] = {}
        """By id: name, card, and when it ends."""
        self.holdings: dict[str, Holding] = {}
        self.is_down = False
        self.changed: set[asyncio.Event] = set()
        self.granted: list[tuple[float, str, int, str]] = []
        """When, account, epoch, session: for tests to look at."""

    def tell(self) -> None:
        for event in self.changed:
            event.set()


class MemoryLeases:
    """Implements `LeaseStore`: one member's way to the server, which may be cut."""

    description = "memory"

    def __init__(self, server: MemoryServer, *, delay_seconds: float = 0.0) -> None:
        self.server = server
        self.is_cut = False
        self.delay_seconds = delay_seconds
        self._news = asyncio.Event()

    async def _reach(self) -> MemoryServer:
        await asyncio.sleep(self.delay_seconds)
        if self.is_cut or self.server.is_down:
            raise StorageUnavailable("memory: no answer in time")
        return self.server

    async def open(self) -> None:
        await self._reach()
        self.server.changed.add(self._news)

    async def close(self) -> None:
        self.server.changed.discard(self._news)

    async def join(self, session: Session, card: Card) -> None:
        server = await self._reach()
        server.sessions[session.id] = (session.member, card, server.clock() + session.terms.ttl_seconds)
        server.tell()

    async def beat(self, session: Session) -> None:
        server = await self._reach()
        if session.id not in server.sessions:
            raise LeaseLost(f"session {session.id} is over")
        name, card, _ = server.sessions[session.id]
        server.sessions[session.id] = (name, card, server.clock() + session.terms.ttl_seconds)

    async def show(self, session: Session, card: Card) -> None:
        server = await self._reach()
        if session.id not in server.sessions:
            raise LeaseLost(f"session {session.id} is over")
        name, _, ends_at = server.sessions[session.id]
        server.sessions[session.id] = (name, card, ends_at)
        server.tell()

    async def board(self) -> Board:
        server = await self._reach()
        now = server.clock()
        members = {
            i: Member(i, name, card, ends_at > now, max(ends_at - now, 0.0))
            for i, (name, card, ends_at) in server.sessions.items()
        }
        ends = [ends_at - now for _, _, ends_at in server.sessions.values() if ends_at > now]
        return Board(members, dict(server.holdings), min(ends, default=None))

    async def acquire(self, session: Session, above: Mapping[str, int]) -> dict[str, int]:
        server = await self._reach()
        now = server.clock()
        server.sessions = {i: found for i, found in server.sessions.items() if found[2] > now}
        taken = {}
        for account, known in above.items():
            holding = server.holdings.get(account, Holding(0, None))
            if session.id in server.sessions and holding.session not in server.sessions:
                epoch = taken[account] = next_epoch(holding.epoch, known, int(now))
                server.holdings[account] = Holding(epoch, session.id, session.member)
                server.granted.append((now, account, epoch, session.id))
        if taken:
            server.tell()
        return taken

    async def release(self, session: Session, heirs: Mapping[str, str | None]) -> set[str]:
        server = await self._reach()
        released = set()
        for account, heir in heirs.items():
            holding = server.holdings.get(account)
            if holding is not None and holding.session == session.id:
                server.holdings[account] = holding._replace(session=None, heir=heir)
                released.add(account)
        server.tell()
        return released

    async def leave(self, session: Session) -> None:
        server = await self._reach()
        server.sessions.pop(session.id, None)
        server.tell()

    async def wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()
