"""Doors: letters leave one after the other, so that many channels at once hold up nobody.

What begins an attempt is work of a few milliseconds in a thread, such as TLS. Fifty of them at once would keep the
event loop from its turn for half a second. What an attempt waits for then costs nothing, and is not waited for here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

BEGIN_SECONDS: Final = 0.01
"""How long an attempt has the door to itself; one that ends before leaves it then."""


class Door:
    """Lets attempts begin one after the other, in the order in which they come."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> None:
        """Wait until nobody else is in it."""
        await self._turn.acquire()

    async def __aexit__(self, *_error: object) -> None:
        """Let the next one in."""
        self._turn.release()

    async def send(self, attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin an attempt in its turn, and return when it is over. Raises: what it raises."""
        async with self:
            sending = asyncio.create_task(attempt())
            try:
                await asyncio.wait([sending], timeout=BEGIN_SECONDS)
            except asyncio.CancelledError:
                sending.cancel()
                raise
        await sending


class Doors:
    """One for channels that are well, and one for those that fail or have taken nothing yet: these keep only each other
    waiting.
    """

    def __init__(self) -> None:
        self.well = Door()
        self.failing = Door()
