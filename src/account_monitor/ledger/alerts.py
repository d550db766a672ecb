"""Alerts: what must people hear of an account, once, until it is over?

The board decides; what it returns is journaled, and what is journaled makes the board again after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias, TypeVar, get_args

from account_monitor.ledger.reconciliation import digest

RiskType: TypeAlias = Literal[
    "LOW_BALANCE", "HIGH_DRAWDOWN", "HIGH_MARGIN_RATIO", "HIGH_LEVERAGE", "LIQUIDATION_NEAR", "DAILY_LOSS",
]  # fmt: skip
"""What thresholds are for."""

AlertType: TypeAlias = RiskType | Literal[
    "UNEXPECTED_FILL", "CONFLICTING_FILL", "MALFORMED_EVENT", "STREAM_STALE", "BALANCE_DRIFT", "POSITION_DRIFT",
    "QUARANTINED", "RECONCILIATION_FAILED", "RATE_LIMITED", "CLOCK_SKEW", "KEY_PERMISSIONS", "MARGIN_CALL",
    "LIQUIDATION", "STORAGE_UNAVAILABLE", "PROJECTION_LAG", "STREAM_GAP", "CHANNEL_FAILED",
    "RISK_UNKNOWN",
]  # fmt: skip
Severity: TypeAlias = Literal["INFO", "WARNING", "CRITICAL"]
AlertState: TypeAlias = Literal["FIRING", "RESOLVED"]
AlertKey: TypeAlias = tuple[AlertType, str | None]
"""(type, symbol): what fires once until it is resolved. One symbol never mutes another."""

RISKS: frozenset[AlertType] = frozenset(get_args(RiskType))

SEVERITIES: tuple[Severity, ...] = ("INFO", "WARNING", "CRITICAL")

MAX_FIRING = 1_000
"""Alerts that may fire at once; beyond, the others have to wait until one is resolved."""

MAX_RESOLVED = 1_000
"""Keys of resolved alerts that are remembered, to keep them from firing again too soon."""

MAX_SILENCES = 1_000
"""Silences that are remembered."""

Key = TypeVar("Key")


class Alert(NamedTuple):
    """Something that is, or was, wrong: as of one transition of its state. Journaled at each."""

    id: str
    type: AlertType
    symbol: str | None
    severity: Severity
    state: AlertState
    message: str
    at_ms: int
    """When this transition was."""
    fired_ms: int
    value: Decimal | None = None
    """The figure that made it fire, in the unit of `threshold`."""
    threshold: Decimal | None = None
    cause: str | None = None
    until_ms: int | None = None
    """When it resolves by itself; None: when whatever raised it says so."""
    revision: int = 0
    """Counts its transitions."""
    acked_by: str | None = None
    """Who said that it is being looked after; None: nobody, or it has become more severe since."""
    acked_ms: int | None = None

    @property
    def key(self) -> AlertKey:
        """What it is about."""
        return self.type, self.symbol

    @property
    def event_id(self) -> str:
        """The identity of the transition within its account."""
        return f"alert:{self.id}:{self.revision}"

    @property
    def told_id(self) -> str:
        """What a repeat of this transition is known by to whoever was told of it.

        Who takes an account over may not have its last transitions, which were told and died with a process. What comes
        instead may have the same number and say something else: it must not pass for a repeat.
        """
        said = digest(self.state, self.severity, self.cause, self.acked_by)[:8]
        return f"{self.id}:{self.revision}:{said}"

    @property
    def resolved_ms(self) -> int | None:
        """When it was over, None while it fires."""
        return self.at_ms if self.state == "RESOLVED" else None


class Silence(NamedTuple):
    """A time in which people are not told of some alerts, such as a maintenance. They are recorded all the same.

    `type` and `symbol` None: of every type, of every symbol and of none. The last one of a type and symbol counts; one
    that is over as soon as it begins ends the one before.
    """

    from_ms: int
    until_ms: int
    type: AlertType | None
    symbol: str | None
    by: str
    reason: str

    @property
    def at_ms(self) -> int:
        """When it was ordered."""
        return self.from_ms

    @property
    def name(self) -> str:
        """What it silences, as text."""
        return f"{self.type or ''}:{self.symbol or ''}"

    @property
    def event_id(self) -> str:
        """The identity of it within its account."""
        return f"silence:{self.name}:{self.from_ms}"

    def covers(self, alert: Alert, now_ms: int) -> bool:
        """Whether people are not to be told of an alert now."""
        return (
            self.from_ms <= now_ms < self.until_ms
            and self.type in (None, alert.type)
            and self.symbol in (None, alert.symbol)
        )


class AlertBoard:
    """The alerts of one account by key: at most one of each fires, and not again within the suppression time."""

    def __init__(self, account: str, *, suppression_ms: int = 0) -> None:
        self.suppression_ms = suppression_ms
        """The shortest time between two firings of one key."""
        self._account = account
        self._latest: dict[AlertKey, Alert] = {}
        """The last transition of each key, the youngest last."""
        self._suppressed: dict[AlertKey, Alert] = {}
        """What would fire if it had not fired so shortly before."""
        self._recalled: set[AlertKey] = set()
        """What fired before whoever raised it came back, and nobody has spoken of since."""
        self._firing = 0

    def recall(self, alerts: Iterable[Alert]) -> None:
        """Take over the last transition of each key, after a restart."""
        for alert in alerts:
            self._take(alert)
        self.doubt()

    def doubt(self) -> None:
        """Wait to hear of what fires once more, before `settle`: whoever raised it is not there any more."""
        self._recalled = {alert.key for alert in self.firing() if alert.until_ms is None}

    def find(self, type_: AlertType, symbol: str | None = None) -> Alert | None:
        """Return the last transition of a key, None where there was none or it is forgotten."""
        return self._latest.get((type_, symbol))

    def brought_up_to_date(self, alert: Alert) -> Alert:
        """Return a journaled transition with the text and the figures of now, while what it tells of fires."""
        latest = self._latest.get(alert.key)
        if latest is None or latest.state == "RESOLVED" or (latest.id, latest.state) != (alert.id, alert.state):
            return alert
        return alert._replace(message=latest.message, value=latest.value, threshold=latest.threshold)

    @property
    def is_full(self) -> bool:
        """Whether what is new has to wait until something is resolved."""
        return self._firing >= MAX_FIRING

    def _has_to_wait(self, known: Alert | None, severity: Severity, now_ms: int) -> bool:
        """Whether it fires later: what is CRITICAL has as much room again, so that no flood of others mutes it."""
        room = 2 * MAX_FIRING if severity == "CRITICAL" else MAX_FIRING
        return self._firing >= room or self._is_too_soon(known, severity, now_ms)

    def fire(
        self,
        type_: AlertType,
        message: str,
        *,
        now_ms: int,
        symbol: str | None = None,
        severity: Severity = "WARNING",
        value: Decimal | None = None,
        threshold: Decimal | None = None,
        cause: str | None = None,
        for_ms: int | None = None,
    ) -> Alert | None:
        """Return the transition that is to be journaled, None where people know already.

        What fires is told again only when it becomes more severe, or its cause becomes known; its text and its figures
        are those of now for whoever asks (`brought_up_to_date`). With `for_ms` it resolves by itself so long after it
        was last raised.
        """
        key = (type_, symbol)
        self._recalled.discard(key)
        known = self._latest.get(key)
        until_ms = None if for_ms is None else now_ms + for_ms
        if known is not None and known.state == "FIRING":
            known = self._latest[key] = known._replace(
                message=message, value=value, threshold=threshold, until_ms=until_ms
            )
            is_worse = SEVERITIES.index(severity) > SEVERITIES.index(known.severity)
            if not is_worse and (cause is None or cause == known.cause):
                return None
            told = known._replace(cause=cause or known.cause, at_ms=now_ms, revision=known.revision + 1)
            if is_worse:  # whoever looks after it knew of something less severe
                told = told._replace(severity=severity, acked_by=None, acked_ms=None)
            return self._take(told)
        name = digest(self._account, type_, symbol, now_ms)
        alert = Alert(
            name, type_, symbol, severity, "FIRING", message, now_ms, now_ms, value, threshold, cause, until_ms
        )
        if self._has_to_wait(known, severity, now_ms):
            if len(self._suppressed) < (2 if severity == "CRITICAL" else 1) * MAX_FIRING:
                self._suppressed[key] = alert
            return None
        return self._take(alert)

    def resolve(
        self,
        type_: AlertType,
        *,
        now_ms: int,
        symbol: str | None = None,
        message: str | None = None,
        value: Decimal | None = None,
    ) -> Alert | None:
        """Return the transition that is to be journaled, None where nothing fires.

        `message` and `value` say how it ended; without them, those of the alert stay.
        """
        key = (type_, symbol)
        self._suppressed.pop(key, None)
        self._recalled.discard(key)
        known = self._latest.get(key)
        if known is None or known.state == "RESOLVED":
            return None
        over = known._replace(state="RESOLVED", at_ms=now_ms, revision=known.revision + 1)
        return self._take(over if message is None else over._replace(message=message, value=value))

    def acknowledge(self, alert_id: str, *, by: str, now_ms: int) -> Alert | None:
        """Return the transition that says who looks after an alert, None where it does not fire."""
        known = next((alert for alert in self.firing() if alert.id == alert_id), None)
        if known is None:
            return None
        return self._take(known._replace(at_ms=now_ms, revision=known.revision + 1, acked_by=by, acked_ms=now_ms))

    def look(self, now_ms: int) -> list[Alert]:
        """Return the transitions that are due: what was to end by itself, and what was held back and still holds."""
        ended = [alert for alert in self.firing() if alert.until_ms is not None and alert.until_ms <= now_ms]
        changes = [self.resolve(alert.type, symbol=alert.symbol, now_ms=now_ms) for alert in ended]
        for key, alert in list(self._suppressed.items()):
            if alert.until_ms is not None and alert.until_ms <= now_ms:
                del self._suppressed[key]  # it is over, and was never told
            elif not self._has_to_wait(self._latest.get(key), alert.severity, now_ms):
                name = digest(self._account, *key, now_ms)
                changes.append(self._take(alert._replace(id=name, at_ms=now_ms, fired_ms=now_ms)))
        return [change for change in changes if change is not None]

    def _is_too_soon(self, known: Alert | None, severity: Severity, now_ms: int) -> bool:
        """Whether the key has fired so shortly before, and as severely, that people need not hear of it again."""
        if known is None or SEVERITIES.index(severity) > SEVERITIES.index(known.severity):
            return False
        return 0 <= now_ms - known.fired_ms < self.suppression_ms

    def settle(self, now_ms: int, *, but: tuple[AlertType, ...] = ()) -> list[Alert]:
        """Return what fired before a restart and is over, as nobody has raised it since; call it once all is well.

        Of the types in `but` somebody else has yet to speak.
        """
        settled = [key for key in self._recalled if key[0] not in but]
        return self._resolve_all(sorted(settled, key=lambda key: (key[0], key[1] or "")), now_ms)

    def end(self, now_ms: int) -> list[Alert]:
        """Return what is over because nobody wants to hear of it any more: all that fires."""
        self._suppressed.clear()
        return self._resolve_all([alert.key for alert in self.firing()], now_ms, message="alerts are switched off")

    def _resolve_all(self, keys: Iterable[AlertKey], now_ms: int, *, message: str | None = None) -> list[Alert]:
        changes = [self.resolve(type_, symbol=symbol, now_ms=now_ms, message=message) for type_, symbol in keys]
        return [change for change in changes if change is not None]

    def raised(self) -> set[AlertKey]:
        """Return what somebody has raised and not resolved: what fires, and what is held back."""
        return {alert.key for alert in self.firing()} | self._suppressed.keys()

    def firing(self) -> list[Alert]:
        """Return what fires, the oldest first."""
        alerts = [alert for alert in self._latest.values() if alert.state == "FIRING"]
        return sorted(alerts, key=lambda alert: alert.fired_ms)

    def _take(self, alert: Alert) -> Alert:
        self._suppressed.pop(alert.key, None)
        before = self._latest.pop(alert.key, None)
        self._firing += (alert.state == "FIRING") - (before is not None and before.state == "FIRING")
        self._latest[alert.key] = alert
        trim(self._latest)
        return alert


def keep_silence(silences: dict[str, Silence], silence: Silence) -> None:
    """Take a silence over, and forget the one that was ordered longest ago where there are too many."""
    silences.pop(silence.name, None)
    silences[silence.name] = silence
    if len(silences) > MAX_SILENCES:
        del silences[next(iter(silences))]


def trim(latest: dict[Key, Alert]) -> None:
    """Forget the resolved that is oldest, where there are too many; `latest` is in the order of the transitions."""
    if len(latest) > 2 * MAX_FIRING + MAX_RESOLVED:
        oldest = next((key for key, alert in latest.items() if alert.state == "RESOLVED"), None)
        if oldest is not None:
            del latest[oldest]
