"""Patience: waits that end, with one timer for all of them. Most end by themselves within a millisecond."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Patience:
    """Of so many seconds for each wait. A timer for each would cost more than most waits."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began: dict[asyncio.Task[Any], float] = {}
        """By task that waits, since when, oldest first."""
        self._overdue: set[asyncio.Task[Any]] = set()
        """Those that were broken off, until they notice."""
        self._timer: asyncio.TimerHandle | None = None

    async def wait_for(self, coming: Awaitable[T]) -> T:
        """Return what comes; one wait of a task at a time. Raises: TimeoutError where it does not come in time."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # a coroutine that runs is one
        self._began[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look)
        try:
            return await coming
        except asyncio.CancelledError:
            if task in self._overdue and task.uncancel() == 0:  # else somebody else ends it as well
                raise TimeoutError from None
            raise
        finally:
            self._began.pop(task, None)
            self._overdue.discard(task)

    def _look(self) -> None:
        """Break off waits that last too long, and look again when the next one may."""
        loop = asyncio.get_running_loop()
        until = loop.time() - self.seconds
        while self._began:
            task, began = next(iter(self._began.items()))
            if began > until:
                self._timer = loop.call_at(began + self.seconds, self._look)
                return
            del self._began[task]
            self._overdue.add(task)
            task.cancel()
        self._timer = None
