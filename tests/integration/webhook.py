"""A webhook on a real port: it takes what Apprise's json:// sends, or refuses, or hangs, as told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web

from tests.integration.trading_desk import eventually


class Post(NamedTuple):
    """What came, and when."""

    title: str
    message: str
    type: str
    at: float

    @property
    def id(self) -> str | None:
        """`<alert id>:<transition>`, where it is about a single one."""
        last = self.message.rpartition("\n")[2]
        if not last.startswith("Alert "):
            return None
        return last.removeprefix("Alert ").replace(", transition ", ":")


class Webhook:
    """What was posted, and how the next posts are answered."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.attempts = 0
        self.status = 200
        self.hangs = False
        """Whether a post waits until this is over; it is not taken then."""
        self.pings: list[str] = []
        """The paths that were asked for with GET."""
        self.port = 0

    @property
    def url(self) -> str:
        """The channel, as Apprise calls it."""
        return f"json://127.0.0.1:{self.port}/s3cret-token"

    @property
    def titles(self) -> list[str]:
        return [post.title for post in self.posts]

    @property
    def ids(self) -> list[str | None]:
        return [post.id for post in self.posts]

    async def until(self, count: int, *, timeout_seconds: float = 10.0) -> list[Post]:
        """Return the posts once there are so many."""
        try:
            await eventually(lambda: len(self.posts) >= count, timeout_seconds=timeout_seconds)
        except TimeoutError:
            raise AssertionError(f"{len(self.posts)} posts instead of {count}: {self.titles}") from None
        return self.posts

    async def take(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        self.attempts += 1
        while self.hangs:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.02)
        if self.status == 200:
            self.posts.append(Post(body["title"], body["message"], body["type"], time.perf_counter()))
        return web.Response(status=self.status)

    async def ping(self, request: web.Request) -> web.Response:
        self.pings.append(request.path)
        return web.Response(status=self.status)


@asynccontextmanager
async def webhook(port: int = 0) -> AsyncIterator[Webhook]:
    """Open a webhook, and close it at the end."""
    hook = Webhook()
    application = web.Application()
    application.router.add_post("/{path:.*}", hook.take)
    application.router.add_get("/{path:.*}", hook.ping)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    hook.port = runner.addresses[0][1]
    try:
        yield hook
    finally:
        hook.hangs = False
        await runner.cleanup()
