"""Pace: one letter for each transition, or one for many? People who are flooded read nothing."""

from __future__ import annotations

from collections import deque
from typing import Final

from account_monitor.monitor.schedule import Monotonic

BURST: Final = 10
"""Transitions within `WINDOW_SECONDS` that are told one by one; more become summaries."""

WINDOW_SECONDS: Final = 30.0
"""The same is the shortest time between two summaries,"""

URGENT_SECONDS: Final = 3.0
"""or this, where something CRITICAL has begun to fire."""


class Pace:
    """What one channel has told lately."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._told: deque[float] = deque(maxlen=BURST)
        self._summed_up = float("-inf")

    def allows(self, count: int) -> bool:
        """Whether so many transitions may be told one by one."""
        since = self._monotonic() - WINDOW_SECONDS
        return count + sum(at > since for at in self._told) <= BURST

    def until_summary(self, *, is_urgent: bool) -> float:
        """Return in how many seconds the next summary may leave, 0 when it may now."""
        least = URGENT_SECONDS if is_urgent else WINDOW_SECONDS
        return max(0.0, self._summed_up + least - self._monotonic())

    def note(self, count: int, *, is_summary: bool) -> None:
        """Note that so many transitions were told. One alone beyond the burst is a summary of one."""
        now = self._monotonic()
        if is_summary or not self.allows(count):
            self._summed_up = now
        self._told.extend([now] * min(count, BURST))
