"""Flood: how often may somebody ask, and how often be wrong? Bounded memory, whoever asks."""

from __future__ import annotations

from collections.abc import Callable

from account_monitor.api.origin import origin_of

WINDOW_SECONDS = 60.0

MAX_ORIGINS = 10_000
"""Addresses that are remembered, some 2 MB; beyond, the one that began first is forgotten."""


class Attempts:
    """Counts what went wrong by address, in windows of a minute that begin with the first time."""

    def __init__(self, most: int, monotonic: Callable[[], float], *, max_origins: int = MAX_ORIGINS) -> None:
        """So many of a window are told what was wrong."""
        self._most = most
        self._monotonic = monotonic
        self._max_origins = max_origins
        self._windows: dict[str, tuple[float, int]] = {}
        """By origin, when its window began and how many there were; the oldest first."""

    def __len__(self) -> int:
        return len(self._windows)

    def fail(self, address: str) -> float:
        """Count one more; return the seconds that the address has to wait now, 0 where it has not."""
        now, origin = self._monotonic(), origin_of(address)
        began, count = self._windows.get(origin, (now, 0))
        if now - began >= WINDOW_SECONDS:
            del self._windows[origin]
            began, count = now, 0
        elif count == 0 and len(self._windows) >= self._max_origins:
            del self._windows[next(iter(self._windows))]
        self._windows[origin] = (began, count + 1)
        return began + WINDOW_SECONDS - now if count >= self._most else 0.0


class Pace:
    """A bucket for each token at each origin, which a second fills: in it, as many requests as a second may have."""

    def __init__(self, per_second: float, monotonic: Callable[[], float], *, max_buckets: int = MAX_ORIGINS) -> None:
        self.per_second = per_second
        self._size = max(1.0, per_second)
        self._monotonic = monotonic
        self._max_buckets = max_buckets
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}
        """By token and origin, what was in it and when; the oldest first."""

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, token_id: str, address: str) -> float:
        """Take one request out; return 0.0, or for how many seconds there is none to be taken."""
        now, key = self._monotonic(), (token_id, origin_of(address))
        known = self._buckets.get(key)
        if known is None:
            level = self._size
            if len(self._buckets) >= self._max_buckets:
                del self._buckets[next(iter(self._buckets))]
        else:
            level = min(self._size, known[0] + (now - known[1]) * self.per_second)
        if level < 1.0:
            return (1.0 - level) / self.per_second
        self._buckets[key] = (level - 1.0, now)
        return 0.0
