"""Core NATS: what is heard where no stream remembers. What is published while nobody listens is lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from account_monitor.errors import FeedUnavailable
from account_monitor.feeds.connection import NATS_ERRORS, Connection, Received

CAPACITY = 50_000
"""Messages that may wait here: core NATS cannot be asked to send no more."""

_CAPACITY_BYTES = 64 << 20
_AT_ONCE = 500  # messages handed over before others get their turn


class CoreListener:
    """Hears one pattern and hands its messages over, in order, while there is room for them.

    `lose` is told how many came while too many waited.
    """

    def __init__(
        self,
        connection: Connection,
        pattern: str,
        *,
        take: Callable[[Received], None],
        wait_for_room: Callable[[], Awaitable[None]],
        lose: Callable[[int], None],
        on_change: Callable[[], None],
    ) -> None:
        self.pattern = pattern
        self.is_listening = False
        self._connection = connection
        self._take = take
        self._wait_for_room = wait_for_room
        self._lose = lose
        self._on_change = on_change
        self._waiting: deque[Received] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._arrived = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled; what was heard until then is still handed over."""
        try:
            subscription = await self._connection.listen(self.pattern, self._receive)
        except NATS_ERRORS as error:  # the connection has just gone; the session is told by the connection itself
            raise FeedUnavailable(f"{self.pattern}: {type(error).__name__} {error}") from error
        try:
            await self._confirm()
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    await self._wait_for_room()
                    self._hand_over(_AT_ONCE)
                    await asyncio.sleep(0)
        finally:
            self._hand_over(len(self._waiting))
            await self._connection.stop_listening(subscription)

    async def _confirm(self) -> None:
        """Note that the server knows of the subscription."""
        while not self.is_listening:
            await self._connection.is_up.wait()
            try:
                await self._connection.confirm()
                self.is_listening = True
                self._on_change()
            except NATS_ERRORS:
                await asyncio.sleep(0.05)  # the connection broke; subscriptions are repeated when it is back

    def _receive(self, message: Received) -> None:
        if len(self._waiting) >= CAPACITY or self._waiting_bytes >= _CAPACITY_BYTES:
            self._dropped += 1
        else:
            self._waiting.append(message)
            self._waiting_bytes += len(message.payload)
        self._arrived.set()

    def _hand_over(self, limit: int) -> None:
        for _ in range(min(limit, len(self._waiting))):
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message.payload)
            self._take(message)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._lose(dropped)
