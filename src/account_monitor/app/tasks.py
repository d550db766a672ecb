"""Tasks: the parts of the service that run until it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

CANCEL_ATTEMPTS = 3
CANCEL_SECONDS = 0.5
"""How long a task may take to hear of its cancellation, each time."""

log = structlog.get_logger()


class Tasks:
    """Named tasks. One that breaks takes the process with it: restart is recovery."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        """Set once the service is to end, because somebody asked or because a part broke."""
        self.failure: BaseException | None = None
        """What broke first."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __getitem__(self, name: str) -> asyncio.Task[None]:
        return self._tasks[name]

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a part of the service until it closes; if the part breaks, the service ends with its error."""
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    async def has_ended(self, name: str, within_seconds: float | None) -> bool:
        """Return whether a task ends by itself; None waits for as long as it takes."""
        return bool((await asyncio.wait([self._tasks[name]], timeout=within_seconds))[0])

    async def cancel(self, name: str) -> None:
        """End a part, whether it likes it or not."""
        task = self._tasks.pop(name)
        for _ in range(CANCEL_ATTEMPTS):  # a library may swallow a cancellation
            task.cancel()
            if (await asyncio.wait([task], timeout=CANCEL_SECONDS))[0]:
                break

    async def cancel_all_but(self, *prefixes: str) -> None:
        """End every part but those whose names begin so."""
        for name in [name for name in self._tasks if not name.startswith(prefixes)]:
            await self.cancel(name)

    def forget(self, name: str) -> None:
        """Hold a task no longer: it ends by itself."""
        del self._tasks[name]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.critical("part_failed", part=task.get_name(), exc_info=error)
        self.failure = self.failure or error
        self.stopping.set()
