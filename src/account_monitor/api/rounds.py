"""Rounds: how much all clients together may be told before the event loop looks at everything else again."""

from __future__ import annotations

import asyncio
from collections import deque

MESSAGES = 1_024
"""In one round of the loop: some 10 ms. Between a fill's arrival and the view that shows it lie a few rounds; with far
fewer messages in each, clients that read fast would wait for those that do not (5 s of 500, measured with 128)."""


class Rounds:
    """Lets those who tell come one after the other, some of them in each round of the event loop."""

    def __init__(self, messages: int = MESSAGES) -> None:
        self._most = messages
        self._left = messages
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._is_due = False
        """Whether the next round has been asked for."""

    async def take(self, count: int) -> None:
        """Return when so many messages may be told: at once while there is room in this round, in turn otherwise."""
        loop = asyncio.get_running_loop()
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._begin, loop)
        if self._left > 0 and not self._waiting:
            self._left -= count
            return
        turn = loop.create_future()
        self._waiting.append((turn, count))
        await turn

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin a round; the one after it is asked for as long as somebody waits."""
        self._left = self._most
        while self._waiting and self._left > 0:
            turn, count = self._waiting.popleft()
            if not turn.done():  # cancelled: the client is gone
                turn.set_result(None)
                self._left -= count
        self._is_due = bool(self._waiting)
        if self._is_due:
            loop.call_soon(self._begin, loop)
