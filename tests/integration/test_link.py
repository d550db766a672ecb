"""The link of `status --watch` to a service: when figures are those of now, and how often it connects again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from account_monitor.api.health import HealthReport
from account_monitor.cli.book import Book
from account_monitor.cli.link import Link
from tests.unit.test_book import message
from tests.unit.test_screen import ACCOUNT, PNL

pytestmark = pytest.mark.integration

HEALTH = HealthReport(status="healthy", version="1", uptime=1, checks={})


class Linked:
    """A link to a service of these words, by a clock that stands still."""

    def __init__(self, port: int) -> None:
        self.now_ms = 1_000
        self.book = Book()
        self.link = Link(f"http://127.0.0.1:{port}", None, self.book, clock=lambda: self.now_ms, token=None, tls=None,
                         changed=lambda _: None)  # fmt: skip


@asynccontextmanager
async def linked(tell: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[Linked]:
    async with serve(tell, "127.0.0.1", 0) as server:
        made = Linked(server.sockets[0].getsockname()[1])
        following = asyncio.create_task(made.link.run())
        yield made
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # nothing tells when it does
            await asyncio.sleep(0.01)


async def test_old_figures_are_not_those_of_now_before_their_account_is_told() -> None:
    may_close, may_tell = asyncio.Event(), asyncio.Event()
    connections = 0

    async def tell(socket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await socket.send(message("snapshot", ACCOUNT, seq=7, prev=None))
            await may_close.wait()
            return
        health = {"type": "health", "account": None, "epoch": None, "seq": None, "prev": None, "data": HEALTH}
        await socket.send(msgspec.json.encode(health))
        await may_tell.wait()
        await socket.send(message("pnl_update", PNL, seq=7))
        await socket.wait_closed()

    async with linked(tell) as made:
        await until(lambda: made.link.lost_ms is None)
        made.now_ms = 2_000
        may_close.set()
        await until(lambda: made.book.health is not None)
        assert made.link.lost_ms == 2_000
        assert "has not told of an account yet" in made.link.why
        may_tell.set()
        await until(lambda: made.link.lost_ms is None)


async def test_a_stream_that_never_fits_is_asked_again_ever_more_seldom() -> None:
    connected: list[float] = []

    async def tell(socket: ServerConnection) -> None:
        connected.append(time.monotonic())
        await socket.send(message("snapshot", ACCOUNT, seq=7, prev=None))
        await socket.send(message("pnl_update", PNL, prev=5))
        await socket.wait_closed()

    async with linked(tell) as made:
        await until(lambda: len(connected) >= 5)
        await until(lambda: "again and again" in made.link.why)  # between two connections
    assert connected[4] - connected[1] > 0.75 * (0.25 + 0.5 + 1)
