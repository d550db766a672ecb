"""Health: what works, what does not, and since when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from account_monitor.monitor.ports import Clock


class Status(Enum):
    """How well something works; the worst of all checks is the service's own."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


_ORDER = (Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `since_ms` is when it took on this status."""

    status: Status
    message: str
    since_ms: int


def worst(checks: Iterable[Check]) -> Check:
    """Return the worst of some checks, of those the one that has been so for longest."""
    return max(checks, key=lambda check: (_ORDER.index(check.status), -check.since_ms))


class HealthBoard:
    """The checks of one process, by name, such as `nats` or `journal:main`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._checks: dict[str, Check] = {}

    def report(self, name: str, status: Status, message: str) -> None:
        """Set a check; the time stays that of the last change of status."""
        known = self._checks.get(name)
        since_ms = known.since_ms if known is not None and known.status is status else self._clock()
        self._checks[name] = Check(status, message, since_ms)

    def forget(self, name: str) -> None:
        """Remove a check, such as that of an account that is no longer configured."""
        self._checks.pop(name, None)

    @property
    def checks(self) -> dict[str, Check]:
        """All checks, by name."""
        return dict(sorted(self._checks.items()))

    @property
    def status(self) -> Status:
        """The worst status of all."""
        return max((check.status for check in self._checks.values()), key=_ORDER.index, default=Status.HEALTHY)
