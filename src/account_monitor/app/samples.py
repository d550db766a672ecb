"""Samples: metrics that the rooms know and nobody counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from account_monitor.api.metrics import Sample
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import UNROUTED

if TYPE_CHECKING:
    from account_monitor.feeds.nats import NatsFeed
    from account_monitor.notifiers.people import People


def alarm_samples(alarms: AlarmBoard) -> Iterator[Sample]:
    """Yield how many alerts fired, and how many fire: 0 once one of a kind is over."""
    for (account, kind, severity), count in alarms.raised.items():
        labels = {"account": account, "type": kind, "severity": severity}
        yield Sample("alerts_triggered_total", "Alerts that fired.", "counter", count, labels)
    firing = Counter(dict.fromkeys(alarms.raised, 0))
    firing.update((account, alert.type, alert.severity) for account, alert in alarms.open())
    for (account, kind, severity), count in firing.items():
        labels = {"account": account, "type": kind, "severity": severity}
        yield Sample("alerts_firing", "Alerts that fire now.", "gauge", count, labels)


def residual_samples(monitors: Iterable[Monitor]) -> Iterator[Sample]:
    """Yield what no cause explains; of accounts that were compared."""
    for monitor in monitors:
        if monitor.name != UNROUTED and monitor.residual is not None:
            yield Sample(
                "account_equity_residual_usd", "What the wallets hold that no cause explains.", "gauge",
                float(monitor.residual), {"account": monitor.name},
            )  # fmt: skip


def lag_samples(projection: str, lags: Iterable[tuple[str, int]]) -> Iterator[Sample]:
    """Yield how far what follows the journals is behind."""
    for account, lag in lags:
        yield Sample(
            "projection_lag_events", "Entries of the journal that are not there yet.", "gauge", lag,
            {"account": account, "projection": projection},
        )  # fmt: skip


def nats_samples(feed: NatsFeed, gap_count: int) -> Iterator[Sample]:
    """Yield what is known of the connection to NATS, and what came over it."""
    status = feed.status
    yield Sample("nats_connected", "Whether there is a connection to NATS.", "gauge", float(status.connected))
    yield Sample("nats_reconnects_total", "Connections that were made anew.", "counter", status.reconnects)
    yield Sample("nats_stream_gaps_total", "Places where a stream had lost messages.", "counter", gap_count)
    for kind, count in status.received.items():
        yield Sample("nats_messages_received_total", "Messages by what they were.", "counter", count, {"type": kind})


def people_samples(people: People) -> Iterator[Sample]:
    """Yield how people were told."""
    for channel, outcome, count in people.counts():
        yield Sample(
            "channel_letters_total", "Letters to people that a channel took (sent) or did not take (failed).",
            "counter", count, {"channel": channel, "outcome": outcome},
        )  # fmt: skip
    if people.heartbeat.url is not None:
        for outcome, count in (("heard", people.heartbeat.called), ("failed", people.heartbeat.failed)):
            yield Sample("heartbeats_total", "Calls of the dead man's switch.", "counter", count, {"outcome": outcome})
