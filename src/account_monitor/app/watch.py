"""Watch: the health of journals, alarms and NATS, as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from account_monitor.app.accounts import JOURNAL, Accounts
from account_monitor.ledger.alerts import Alert
from account_monitor.monitor.alarms import PASSING_SECONDS, AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import UNROUTED

if TYPE_CHECKING:
    from account_monitor.feeds.nats import NatsFeed
    from account_monitor.feeds.progress import StreamGap

ALARMS_SHOWN = 10
"""Of an account, in its health: the critical ones first, then the oldest."""


class Watch:
    """Tells the desk how things are."""

    def __init__(self, desk: Desk, alarms: AlarmBoard, accounts: Accounts) -> None:
        self.gap_count = 0
        """Gaps of streams that were told."""
        self._desk = desk
        self._alarms = alarms
        self._accounts = accounts

    def look(self, feed: NatsFeed | None) -> None:
        """Look at everything that changes without saying so."""
        for name, monitor in self._accounts.monitors.items():
            self._look_at_journal(name, monitor)
            if name != UNROUTED:
                self._look_at_alarms(name)
        self._accounts.prices.look()
        self._alarms.look()
        if feed is not None:
            self._look_at_nats(feed)

    def _look_at_journal(self, name: str, monitor: Monitor) -> None:
        failure = self._failure_of(monitor)
        status = Status.HEALTHY if failure is None else Status.UNHEALTHY
        self._desk.health.report(f"journal:{name}", status, failure or "recording")
        self._desk.wait_for(f"journal:{name}", None if failure is None else f"account {name}: {failure}")
        if failure is not None and name != UNROUTED:
            self._alarms.fire(name, "STORAGE_UNAVAILABLE", failure, symbol=JOURNAL, severity="CRITICAL")

    def _failure_of(self, monitor: Monitor) -> str | None:
        """Return why nothing is recorded and what happens next, None while all is well."""
        failure = monitor.failure or monitor.journal.failure
        if failure is None:
            return None
        if monitor.journal.may_be_opened_anew:
            where = self._accounts.settings.service.data_dir
            return f"{failure}; it goes on by itself once {where} can be written, and reads what came meanwhile"
        return f"{failure}; see whether the disk is sound and what `replay --verify` says, then restart the service"

    def _look_at_alarms(self, name: str) -> None:
        alerts = sorted(
            (alarm.alert for alarm in self._alarms.open(name)), key=lambda alert: alert.severity != "CRITICAL"
        )
        status = Status.DEGRADED if alerts else Status.HEALTHY
        told = [_said(alert) for alert in alerts[:ALARMS_SHOWN]]
        if len(alerts) > ALARMS_SHOWN:
            told.append(f"and {len(alerts) - ALARMS_SHOWN} more")
        self._desk.health.report(f"alarms:{name}", status, "; ".join(told) or "none")

    def _look_at_nats(self, feed: NatsFeed) -> None:
        status = feed.status
        if status.connected:
            modes = ", ".join(f"{subject}: {mode}" for subject, mode in status.modes.items())
            self._desk.health.report("nats", Status.HEALTHY, f"connected; {modes}")
        else:
            nats = self._accounts.settings.pubsub.nats
            why = status.last_error or "connecting"
            again = f"tried again every {nats.reconnect_wait_seconds:g} s"
            where = ", ".join(nats.urls or ())
            self._desk.health.report("nats", Status.DEGRADED, f"{where}: not connected: {why}; {again}")
        if status.has_reached_end and self._accounts.has_caught_up():
            self._desk.wait_for("nats", None)

    def note_gap(self, gap: StreamGap) -> None:
        """Say it until somebody has looked and restarted: what a stream lost nobody can read again.

        Each account that misses something has an alert of its own: nobody knows whose fills are lost, and who looks
        after one account does not look at another.
        """
        self.gap_count += 1
        self._desk.health.report("stream", Status.DEGRADED, gap.text)
        for name in [account for account in self._desk.accounts if account in gap.accounts]:
            self._alarms.fire(name, "STREAM_GAP", gap.text, for_seconds=PASSING_SECONDS)


def _said(alert: Alert) -> str:
    where = "" if alert.symbol is None else f" {alert.symbol}"
    return f"{alert.type}{where}: {alert.message}"
