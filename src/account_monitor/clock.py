"""Clock: what time is it? The only place that asks the machine; everybody else is told."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def boot_seconds() -> float:
    """Return seconds since the machine was started, those included in which it slept; nothing sets this clock."""
    return time.clock_gettime(_SINCE_BOOT)


# Where there is no CLOCK_BOOTTIME, as on macOS, CLOCK_MONOTONIC is what runs on through sleep.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
