"""Schedule: what is due, on a clock that never steps back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Monotonic: TypeAlias = Callable[[], float]
"""Returns seconds that only ever grow."""


class Every:
    """Something that is due at most once per interval."""

    def __init__(self, interval_seconds: float, monotonic: Monotonic) -> None:
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._last = float("-inf")

    def begin(self) -> None:
        """Let it be due once the interval has passed from now on, instead of at once."""
        self._last = self._monotonic()

    def is_due(self) -> bool:
        """Whether the interval has passed since this last said yes."""
        now = self._monotonic()
        if now - self._last < self._interval_seconds:
            return False
        self._last = now
        return True
