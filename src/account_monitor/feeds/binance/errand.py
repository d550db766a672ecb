"""Errand: something that is asked of the exchange now and then, and after a failure ever more slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from account_monitor.feeds.binance.refusals import VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.monitor.schedule import Monotonic

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_AFTER_A_BAN_SECONDS = 0.1
_SHORTEST_BAN_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Errand:
    """Runs one at a time. What fails for other reasons than the exchange's is a bug, and ends everything."""

    def __init__(
        self, account: str, name: str, run: Callable[[], Awaitable[None]], server_time: ServerTime, monotonic: Monotonic
    ) -> None:
        self.problem: Exception | None = None
        """Why it failed the last time; None after it succeeded."""
        self.failing_since: float | None = None
        self._account = account
        self._name = name
        self._run = run
        self._server_time = server_time
        self._monotonic = monotonic
        self._task: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    @property
    def is_free(self) -> bool:
        """Whether it may be run now."""
        return (self._task is None or self._task.done()) and self._monotonic() >= self._not_before

    @property
    def is_limited(self) -> bool:
        """Whether the exchange takes no requests from this address now."""
        return isinstance(self.problem, VenueLimited) and self._monotonic() < self._not_before

    @property
    def is_refused(self) -> bool:
        """Whether the exchange does not take the key."""
        return isinstance(self.problem, VenueRefused) and self.problem.is_about_the_key

    def start(self, group: asyncio.TaskGroup) -> None:
        """Run it, if it may."""
        if self.is_free:
            self._task = group.create_task(self._guarded(), name=f"{self._name}:{self._account}")

    async def _guarded(self) -> None:
        try:
            await self._run()
        except VenueLimited as limited:
            self._failed(limited)
            until_seconds = (limited.until_ms - self._server_time.now_ms()) / 1000
            self._not_before = self._monotonic() + max(until_seconds, _SHORTEST_BAN_SECONDS) + _AFTER_A_BAN_SECONDS
        except (VenueUnavailable, VenueRefused) as error:
            self._failed(error)
            self._not_before = self._monotonic() + self._pause_seconds
            self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        else:
            if self.problem is not None:
                log.info("exchange_answers_again", account=self._account, asked=self._name)
            self.problem = self.failing_since = None
            self._pause_seconds = _FIRST_PAUSE_SECONDS

    def _failed(self, error: Exception) -> None:
        if self.problem is None:
            self.failing_since = self._monotonic()
            log.warning("exchange_not_answering", account=self._account, asked=self._name, reason=str(error))
        self.problem = error
