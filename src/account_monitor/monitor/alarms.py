"""Alarms: what is wrong with the accounts right now? Raised once, until it is over; journaled before it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import NamedTuple, TypeAlias

import structlog

from account_monitor.ledger.alerts import MAX_FIRING, RISKS, Alert, AlertBoard, AlertKey, AlertType, Severity
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import MALFORMED_EVENT, MONITOR, UNROUTED, Clock, Delivery
from account_monitor.monitor.views import Change, View

AlarmKind: TypeAlias = AlertType

OF_OTHERS: tuple[AlertType, ...] = (
    "STORAGE_UNAVAILABLE",
    "PROJECTION_LAG",
    "CHANNEL_FAILED",
    "RISK_UNKNOWN",
    *sorted(RISKS),
)
"""What no feed speaks of: who writes to databases or tells people does, and who knows the thresholds."""

PASSING_SECONDS = 600.0
"""How long something that just happens is shown as wrong, such as a message that cannot be read."""

MAX_UNRECORDED = 2 * MAX_FIRING
"""Transitions of one account that are remembered while its journal cannot be written; older ones are in the log."""

log = structlog.get_logger()


class Alarm(NamedTuple):
    """An alert that fires, and whose it is."""

    account: str
    alert: Alert


class _Watched:
    """The alerts of one account, and who records them."""

    def __init__(self, board: AlertBoard) -> None:
        self.board = board
        self.monitor: Monitor | None = None
        """None until it is attached: until then nothing is recorded."""
        self.waiting: dict[str, Alert] = {}
        """Transitions that were handed over and are not recorded yet, by their event id."""
        self.unrecorded: dict[str, Alert] = {}
        """Transitions that the monitor cannot record any more, the oldest first."""
        self.is_flooded = False


class AlarmBoard:
    """The alerts of all accounts: what fires, and what of it is recorded already.

    A transition goes through the inbox of its account into the journal, and is logged when it is there. The inbox takes
    it also when it is full: there are no more than a thousand of them at once.
    """

    def __init__(self, clock: Clock, *, suppression_seconds: float = 0.0, is_enabled: bool = True) -> None:
        """`suppression_seconds`: the shortest time between two firings of one key."""
        self.raised: Counter[tuple[str, AlertType, Severity]] = Counter()
        """How often each fired, since the start; what became more severe fired again."""
        self._clock = clock
        self._suppression_ms = int(suppression_seconds * 1000)
        self._is_enabled = is_enabled
        self._accounts: dict[str, _Watched] = {}

    # -- accounts ----------------------------------------------------------------------------------------------------

    def attach(self, monitor: Monitor) -> None:
        """Recall what an account knew before a restart, record from now on what changes, and observe the monitor.

        What was raised before that is raised again.
        """
        early = self._accounts.pop(monitor.name, None)
        watched = self._watched(monitor.name)
        watched.board.recall(monitor.alerts)
        self._observe(monitor, watched)
        if not self._is_enabled:
            self._record(monitor.name, watched.board.end(self._clock()))
        elif early is not None:
            self._raise_again(monitor.name, early.board.firing())

    def attach_again(self, monitor: Monitor) -> None:
        """Record with the monitor that took the place of one that could not any more; first what that one could not."""
        watched = self._watched(monitor.name)
        missed, watched.waiting, watched.unrecorded = {**watched.unrecorded, **watched.waiting}, {}, {}
        self._observe(monitor, watched)
        unknown = monitor.journal.unknown(missed.values())  # the last commit may have succeeded after all
        self._record(monitor.name, [alert for event_id, alert in missed.items() if event_id in unknown])

    def attach_unrouted(self, monitor: Monitor) -> None:
        """Tell from now on of messages that name no configured account.

        They are parked in a journal that is no account's, and people look at accounts: one of them has the alert, with
        the name of that journal as its symbol.
        """
        monitor.remarks_on = self._raise_unrouted

    def _observe(self, monitor: Monitor, watched: _Watched) -> None:
        watched.monitor = monitor
        monitor.observers.append(self.note)
        monitor.remarks_on = partial(self._remarks_on, monitor.name)
        monitor.bring_up_to_date = watched.board.brought_up_to_date
        monitor.acknowledge = partial(self._acknowledge, monitor.name)

    def settle(self, account: str, *, but: tuple[AlertType, ...] = ()) -> None:
        """Resolve what fired before a restart and nobody has raised since; call it once all is well with an account.

        Of the types in `but` somebody else has yet to speak.
        """
        watched = self._watched(account)
        self._record(account, watched.board.settle(self._clock(), but=but))

    def doubt(self, account: str) -> None:
        """Wait to hear of what fires once more, before `settle`: what fed the account is replaced."""
        self._watched(account).board.doubt()

    def forget(self, account: str) -> None:
        """Speak no more of an account that is not configured any longer; its journal knows what fired."""
        watched = self._accounts.pop(account, None)
        if watched is not None:
            _say_unrecorded(account, watched)

    def configure(self, *, suppression_seconds: float, is_enabled: bool) -> None:
        """Take over changed settings. Switched off, what fires is over: nobody wants to hear of it."""
        self._suppression_ms = int(suppression_seconds * 1000)
        self._is_enabled = is_enabled
        for account, watched in self._accounts.items():
            watched.board.suppression_ms = self._suppression_ms
            if not is_enabled:
                self._record(account, watched.board.end(self._clock()))

    # -- what is wrong -----------------------------------------------------------------------------------------------

    def fire(
        self,
        account: str,
        kind: AlertType,
        message: str,
        *,
        symbol: str | None = None,
        severity: Severity = "WARNING",
        for_seconds: float | None = None,
        value: Decimal | None = None,
        threshold: Decimal | None = None,
        cause: str | None = None,
    ) -> None:
        """Raise an alert, or bring the text of one that fires up to date. With `for_seconds` it ends by itself."""
        if not self._is_enabled:
            return
        watched = self._watched(account)
        before = watched.board.find(kind, symbol)
        alert = watched.board.fire(
            kind,
            message,
            now_ms=self._clock(),
            symbol=symbol,
            severity=severity,
            value=value,
            threshold=threshold,
            cause=cause,
            for_ms=None if for_seconds is None else int(for_seconds * 1000),
        )
        if alert is not None:
            self._count(account, alert, before)
            self._record(account, [alert])
        elif before is None or before.state == "RESOLVED":
            _say_flooded(account, watched, kind, message)

    def resolve(
        self,
        account: str,
        kind: AlertType,
        *,
        symbol: str | None = None,
        message: str | None = None,
        value: Decimal | None = None,
    ) -> None:
        """End an alert, if it fires; `message` and `value` say how it ended."""
        board = self._watched(account).board
        alert = board.resolve(kind, symbol=symbol, now_ms=self._clock(), message=message, value=value)
        if alert is not None:
            self._record(account, [alert])

    def firing(self, account: str) -> list[Alert]:
        """Return what fires of an account, recorded or not, the oldest first."""
        return self._watched(account).board.firing()

    def raised_of(self, account: str) -> set[AlertKey]:
        """Return what was raised of an account and not resolved: what fires, and what is held back."""
        return self._watched(account).board.raised()

    def look(self) -> None:
        """End what was to end by itself, raise what was held back and still holds, and say what cannot be recorded."""
        for account, watched in self._accounts.items():
            changes = watched.board.look(self._clock())
            for alert in changes:
                self._count(account, alert, None)
            self._record(account, changes)
            if watched.monitor is not None and watched.monitor.failure is not None:
                _say_unrecorded(account, watched)

    def open(self, account: str | None = None) -> list[Alarm]:
        """Return what fires, recorded or not, the oldest first."""
        alarms = [
            Alarm(name, alert)
            for name, watched in self._accounts.items()
            if account in (None, name)
            for alert in watched.board.firing()
        ]
        return sorted(alarms, key=lambda alarm: alarm.alert.fired_ms)

    def unrecorded(self, account: str) -> list[Alert]:
        """Return the transitions that are logged and cannot be journaled now, the oldest first.

        None of an account that somebody else speaks for, who sees them too.
        """
        watched = self._accounts.get(account)
        if watched is None or (watched.monitor is not None and watched.monitor.is_taken()):
            return []
        return list(watched.unrecorded.values())

    # -- what monitors say -------------------------------------------------------------------------------------------

    def note(self, view: View, change: Change) -> None:
        """Observe a monitor: tell people what is recorded; what contradicts a record is worth an alert."""
        if change.recorded is None:
            return
        for entry in change.recorded.entries:
            if type(entry.event) is Alert:
                self._watched(view.account).waiting.pop(entry.event.event_id, None)
                _say(view.account, entry.event)
        for conflict in change.recorded.conflicts:
            told = f"{conflict.recorded.identity}: another source says another {', '.join(conflict.fields)}"
            end = "the exchange's word stands" if conflict.stands else "the second is parked"
            symbol = conflict.recorded.symbol
            self.fire(view.account, "CONFLICTING_FILL", f"{told}; {end}", symbol=symbol, for_seconds=PASSING_SECONDS)

    def _acknowledge(self, account: str, alert_id: str, by: str) -> Alert | None:
        watched = self._watched(account)
        alert = watched.board.acknowledge(alert_id, by=by, now_ms=self._clock())
        if alert is not None:
            watched.waiting[alert.event_id] = alert  # until whoever asked has recorded it
        return alert

    def _remarks_on(self, account: str, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return what is recorded with deliveries: a message is not parked for good before its alert is."""
        reasons = [delivery.reason for delivery in deliveries if delivery.rejection == MALFORMED_EVENT]
        if not reasons or not self._is_enabled:
            return []
        watched = self._watched(account)
        before = watched.board.find("MALFORMED_EVENT")
        alert = watched.board.fire(
            "MALFORMED_EVENT", reasons[-1], now_ms=self._clock(), for_ms=int(PASSING_SECONDS * 1000)
        )
        if alert is None:
            return []
        self._count(account, alert, before)
        if before is not None and before.event_id in watched.waiting:
            self._record(account, [alert])  # transitions of one key are journaled in their order
            return []
        watched.waiting[alert.event_id] = alert
        return [_delivery(alert)]

    def _raise_unrouted(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Raise the alert about what is about to be parked; its own journal records it, so there is nothing to add."""
        refused = [delivery for delivery in deliveries if delivery.rejection is not None]
        account = self._speaker_of(("MALFORMED_EVENT", UNROUTED))
        if refused and account is not None:
            last = refused[-1]
            text = f"{last.subject}: {last.reason}; no account has it: account-monitor dead-letters list"
            self.fire(account, "MALFORMED_EVENT", text, symbol=UNROUTED, for_seconds=PASSING_SECONDS)
        return []

    def _speaker_of(self, key: AlertKey) -> str | None:
        """Return the account that has an alert about no account: the one on which it fires, or the first that records.

        None where there is none yet.
        """
        there = {name: watched for name, watched in self._accounts.items() if watched.monitor is not None}
        well = (name for name, each in there.items() if each.monitor is not None and each.monitor.failure is None)
        has_it = (name for name, each in there.items() if key in each.board.raised())
        return next(has_it, None) or next(well, None) or next(iter(there), None)

    # -- transitions -------------------------------------------------------------------------------------------------

    def _watched(self, account: str) -> _Watched:
        known = self._accounts.get(account)
        if known is None:
            known = self._accounts[account] = _Watched(AlertBoard(account, suppression_ms=self._suppression_ms))
        return known

    def _raise_again(self, account: str, alerts: Iterable[Alert]) -> None:
        now_ms = self._clock()
        board = self._watched(account).board
        for alert in alerts:
            again = board.fire(
                alert.type, alert.message, now_ms=now_ms, symbol=alert.symbol, severity=alert.severity,
                value=alert.value, threshold=alert.threshold, cause=alert.cause,
                for_ms=None if alert.until_ms is None else alert.until_ms - now_ms,
            )  # fmt: skip
            if again is not None:
                self._record(account, [again])

    def _count(self, account: str, alert: Alert, before: Alert | None) -> None:
        """Count what fires, unless it fired before and only its cause became known."""
        is_known = before is not None and (before.id, before.severity) == (alert.id, alert.severity)
        if alert.state == "FIRING" and not is_known:
            self.raised[account, alert.type, alert.severity] += 1

    def _record(self, account: str, alerts: Iterable[Alert]) -> None:
        watched = self._watched(account)
        if watched.monitor is None:
            return
        for alert in alerts:
            watched.waiting[alert.event_id] = alert
            watched.monitor.inbox.put_ahead(_delivery(alert))


def _delivery(alert: Alert) -> Delivery:
    return Delivery(MONITOR, "alert", b"", alert)


def _say(account: str, alert: Alert) -> None:
    said = {"account": account, "type": alert.type, "symbol": alert.symbol, "severity": alert.severity, "id": alert.id}
    if alert.state == "RESOLVED":
        log.info("alert_resolved", **said, text=alert.message)
    elif alert.acked_ms == alert.at_ms:
        log.info("alert_acknowledged", **said, by=alert.acked_by)
    else:
        log.warning("alert_fired", **said, text=alert.message)


def _say_unrecorded(account: str, watched: _Watched) -> None:
    """Tell people all the same of what nobody records any more; it is recorded once somebody does again."""
    for alert in watched.waiting.values():
        log.error(
            "alert_not_recorded", account=account, type=alert.type, symbol=alert.symbol, severity=alert.severity,
            state=alert.state, text=alert.message,
        )  # fmt: skip
    watched.unrecorded.update(watched.waiting)
    watched.waiting.clear()
    for event_id in list(watched.unrecorded)[:-MAX_UNRECORDED]:
        del watched.unrecorded[event_id]


def _say_flooded(account: str, watched: _Watched, kind: AlertType, message: str) -> None:
    """Say once what has to wait because too much fires."""
    if watched.board.is_full and not watched.is_flooded:
        log.error("too_many_alerts", account=account, firing=MAX_FIRING, type=kind, text=message)
    watched.is_flooded = watched.board.is_full
