"""The clock of a running simulator: real time, from where it began, and as far ahead as the operator moved it."""

from __future__ import annotations

import time

_NANOSECONDS = 1_000_000


class Clock:
    """Milliseconds since 1970 that never go back, whatever happens to the machine's own clock."""

    def __init__(self) -> None:
        self._base_ms = time.time_ns() // _NANOSECONDS - time.monotonic_ns() // _NANOSECONDS

    def __call__(self) -> int:
        return self._base_ms + time.monotonic_ns() // _NANOSECONDS

    def shift(self, forward_ms: int) -> None:
        """Move it forward."""
        self._base_ms += forward_ms
