"""Alarms: what is wrong with an account right now, and how often it was. Raised once, until it is over."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

import structlog

from account_monitor.monitor.ports import MALFORMED_EVENT, Clock
from account_monitor.monitor.views import Change, View

AlarmKind: TypeAlias = Literal[
    "UNEXPECTED_FILL", "CONFLICTING_FILL", "MALFORMED_EVENT", "STREAM_STALE", "BALANCE_DRIFT", "POSITION_DRIFT",
    "RECONCILIATION_FAILED", "RATE_LIMITED", "CLOCK_SKEW", "KEY_PERMISSIONS", "MARGIN_CALL", "LIQUIDATION",
    "QUARANTINED",
]  # fmt: skip
Severity: TypeAlias = Literal["WARNING", "CRITICAL"]

PASSING_SECONDS = 600.0
"""How long something that just happens is shown as wrong, such as a message that cannot be read."""

MAX_OPEN = 1_000
"""Alarms that may be open at once; beyond, the first is logged, and the others have to wait."""

log = structlog.get_logger()


class Alarm(NamedTuple):
    """Something wrong: about an account, or a symbol of it where `symbol` names one."""

    account: str
    kind: AlarmKind
    symbol: str | None
    message: str
    severity: Severity
    since_ms: int
    until_ms: int | None
    """When it ends by itself; None: when it is resolved."""


class AlarmBoard:
    """The open alarms by (account, kind, symbol)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[tuple[str, AlarmKind, str | None], Alarm] = {}
        self.raised: Counter[tuple[str, AlarmKind, Severity]] = Counter()
        """How often each was raised, since the start; one that became CRITICAL was raised again."""
        self._is_full = False

    def fire(
        self,
        account: str,
        kind: AlarmKind,
        message: str,
        *,
        symbol: str | None = None,
        severity: Severity = "WARNING",
        for_seconds: float | None = None,
        value: Decimal | None = None,
        threshold: Decimal | None = None,
        cause: str | None = None,
    ) -> None:
        """Raise an alarm, or bring the text of an open one up to date. With `for_seconds` it ends by itself."""
        key = (account, kind, symbol)
        now_ms = self._clock()
        known = self._open.get(key)
        since_ms = now_ms if known is None else known.since_ms
        until_ms = None if for_seconds is None else now_ms + int(for_seconds * 1000)
        if known is None and len(self._open) >= MAX_OPEN:
            if not self._is_full:
                log.error("too_many_alarms", open=MAX_OPEN, account=account, alarm=kind, symbol=symbol, text=message)
            self._is_full = True
            return
        self._open[key] = Alarm(account, kind, symbol, message, severity, since_ms, until_ms)
        if known is None or (known.severity, severity) == ("WARNING", "CRITICAL"):
            self.raised[account, kind, severity] += 1
            log.warning("alarm_raised", account=account, alarm=kind, symbol=symbol, severity=severity, text=message)

    def resolve(self, account: str, kind: AlarmKind, *, symbol: str | None = None) -> None:
        """End an alarm, if it is open."""
        if self._open.pop((account, kind, symbol), None) is not None:
            self._is_full = False
            log.info("alarm_resolved", account=account, alarm=kind, symbol=symbol)

    def note(self, view: View, change: Change) -> None:
        """Observe a monitor: what its journal refused is worth an alarm."""
        if change.recorded is None:
            return
        for conflict in change.recorded.conflicts:
            told = f"{conflict.recorded.identity}: another source says another {', '.join(conflict.fields)}"
            end = "the exchange's word stands" if conflict.stands else "the second is parked"
            symbol = conflict.recorded.symbol
            self.fire(view.account, "CONFLICTING_FILL", f"{told}; {end}", symbol=symbol, for_seconds=PASSING_SECONDS)
        for delivery in change.recorded.parked:
            if delivery.rejection == MALFORMED_EVENT:
                self.fire(view.account, "MALFORMED_EVENT", delivery.reason, for_seconds=PASSING_SECONDS)

    def look(self) -> None:
        """End what was to end by itself."""
        now_ms = self._clock()
        for (account, kind, symbol), alarm in list(self._open.items()):
            if alarm.until_ms is not None and alarm.until_ms <= now_ms:
                self.resolve(account, kind, symbol=symbol)

    def forget(self, account: str) -> None:
        """End everything about an account that is no longer configured."""
        for key in [key for key in self._open if key[0] == account]:
            del self._open[key]

    def open(self, account: str | None = None) -> list[Alarm]:
        """Return the open alarms, the oldest first."""
        alarms = [alarm for alarm in self._open.values() if account in (None, alarm.account)]
        return sorted(alarms, key=lambda alarm: alarm.since_ms)
