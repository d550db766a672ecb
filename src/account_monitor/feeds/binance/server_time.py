"""Server time: what does the exchange's clock say now?

Asked now and then, and in between told by the monotonic clock: a local clock that is set does not matter here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from account_monitor import clock
from account_monitor.feeds.binance.refusals import VenueLimited, VenueUnavailable

REFRESH_SECONDS = 600.0
"""Quartz drifts some tens of milliseconds in this time; a request may be a second early and five late."""

_log = structlog.get_logger(__name__)

_ROUND_TRIPS = 3  # the shortest tells the most
_RETRY_SECONDS = 5.0  # after a failure: until then the estimate that there is, or the local clock, has to serve


class ServerTime:
    """The exchange's clock, shared by all accounts. Until it was asked, the local one is believed.

    `wall_ms` is the local clock, in milliseconds since 1970; `monotonic` counts seconds and is never set.
    """

    def __init__(
        self,
        *,
        wall_ms: Callable[[], int] = clock.now_ms,
        monotonic: Callable[[], float] = time.monotonic,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        self._wall_ms = wall_ms
        self.monotonic = monotonic
        self._refresh_seconds = refresh_seconds
        self._zero_ms = wall_ms() - monotonic() * 1000  # what the clock said when `monotonic` was zero
        self._due = monotonic()
        self._error_ms: float | None = None
        self._estimates = 0
        self._one_at_a_time = asyncio.Lock()

    def now_ms(self) -> int:
        """Return the time on the exchange's clock."""
        return int(self._zero_ms + self.monotonic() * 1000)

    @property
    def is_due(self) -> bool:
        """Whether it is time to ask again, or for the first time."""
        return self.monotonic() >= self._due

    @property
    def estimates(self) -> int:
        """How often the clock was read so far."""
        return self._estimates

    @property
    def error_ms(self) -> float | None:
        """How wrong `now_ms` may have been when it was estimated, at most; None before."""
        return self._error_ms

    @property
    def skew_ms(self) -> int | None:
        """How far the local clock is ahead of the exchange's (negative: behind); None before an estimate."""
        return None if self._error_ms is None else self._wall_ms() - self.now_ms()

    async def refresh(self, ask: Callable[[], Awaitable[int]]) -> None:
        """Read the exchange's clock by `ask` if it is time to. Raises: what `ask` raises, where it never answered."""
        if not self.is_due:
            return
        async with self._one_at_a_time:
            if self.is_due:
                try:
                    await self._read(ask)
                except (VenueUnavailable, VenueLimited):
                    if not self._estimates:
                        raise

    async def estimate(self, ask: Callable[[], Awaitable[int]], *, seen: int) -> None:
        """Read the exchange's clock by `ask`, unless that has happened since `seen` estimates.

        Raises: what `ask` raises; the estimate stays what it was.
        """
        async with self._one_at_a_time:
            if self._estimates == seen:
                await self._read(ask)

    async def _read(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._due = self.monotonic() + _RETRY_SECONDS
        readings: list[tuple[float, float]] = []
        while len(readings) < _ROUND_TRIPS:
            before = self.monotonic()
            try:
                server_ms = await ask()
            except (VenueUnavailable, VenueLimited):
                if not readings:
                    raise
                break  # what does not answer is not asked again at once
            after = self.monotonic()
            readings.append((after - before, server_ms - (before + after) * 500))
        shortest_seconds, self._zero_ms = min(readings)
        self._error_ms = shortest_seconds * 500
        self._estimates += 1
        self._due = self.monotonic() + self._refresh_seconds
        _log.info("server_time_read", skew_ms=self.skew_ms, error_ms=round(self._error_ms))
