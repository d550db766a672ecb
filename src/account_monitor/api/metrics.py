"""Metrics: counts what monitors do, cheaply, between two scrapes; `exposition` turns it into text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from account_monitor.ledger.events import Fill
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.histogram import Histogram
from account_monitor.monitor.ports import CONFLICTING_FILL, MALFORMED_EVENT, UNKNOWN_ACCOUNT, UNROUTED, Recorded
from account_monitor.monitor.views import Change, View

LATENCY_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000, 600_000, 3_600_000)
"""From the speed of a local feed to that of a backlog that is read after an outage."""

APPEND_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""From a fast disk to one that is about to fail."""


REASONS = (CONFLICTING_FILL, MALFORMED_EVENT, UNKNOWN_ACCOUNT)
"""Why messages are parked."""


class Sample(NamedTuple):
    """A number that somebody else knows, such as whether NATS is connected."""

    name: str
    help: str
    kind: Literal["gauge", "counter"]
    value: float
    labels: Mapping[str, str] = {}  # nobody changes it


class Distribution(NamedTuple):
    """How numbers are distributed that somebody else knows; so many of their unit are a second, or what is shown."""

    name: str
    help: str
    histogram: Histogram
    per_second: float = 1.0
    labels: Mapping[str, str] = {}  # nobody changes it


Told: TypeAlias = Sample | Distribution


class Reading(NamedTuple):
    """Everything that a scrape shows, as of one moment; nothing in it changes any more."""

    version: str
    views: list[View]
    fills: Counter[tuple[str, str]]
    duplicates: Counter[tuple[str, str]]
    parked: Counter[tuple[str, str]]
    latency_ms: Histogram
    append_seconds: Histogram
    samples: list[Told]


class Meter:
    """Counts by (account, source) and (account, reason) since the process started."""

    def __init__(self, desk: Desk, samples: Callable[[], Iterable[Told]] = lambda: ()) -> None:
        self._desk = desk
        self._samples = samples
        self._fills: Counter[tuple[str, str]] = Counter()
        self._duplicates: Counter[tuple[str, str]] = Counter()
        self._parked: Counter[tuple[str, str]] = Counter()
        self._latency_ms = Histogram(LATENCY_BUCKETS_MS)
        self._append_seconds = Histogram(APPEND_BUCKETS_SECONDS)
        desk.observe(self._take)

    def read(self) -> Reading:
        """Return the state of now."""
        monitors = self._desk.monitors()
        views = [monitor.view for monitor in monitors if monitor.name != UNROUTED]
        # From 0 on: what begins with 1 does not count as an increase.
        parked = Counter({(monitor.name, reason): 0 for monitor in monitors for reason in REASONS})
        parked.update(self._parked)
        return Reading(
            self._desk.version,
            views,
            self._fills.copy(),
            self._duplicates.copy(),
            parked,
            self._latency_ms.copy(),
            self._append_seconds.copy(),
            list(self._samples()),
        )

    def _take(self, view: View, change: Change) -> None:
        recorded = change.recorded
        if recorded is None:
            return
        self._append_seconds.observe(change.append_seconds)
        if change.fills:
            self._take_fills(view.account, change)
        if recorded.duplicates or recorded.parked or recorded.conflicts:
            self._take_refused(view.account, recorded)

    def _take_fills(self, account: str, change: Change) -> None:
        counts, bounds, total = self._latency_ms.counts, self._latency_ms.bounds, 0
        now_ms = self._desk.clock()
        for _, event, _, _ in change.fills:
            latency_ms = now_ms - event.at_ms
            if latency_ms > 0:
                counts[bisect_left(bounds, latency_ms)] += 1
                total += latency_ms
            else:
                counts[0] += 1  # the venue's clock is ahead
        self._latency_ms.total += total
        self._fills.update((account, entry.source) for entry in change.fills)

    def _take_refused(self, account: str, recorded: Recorded) -> None:
        self._duplicates.update((account, d.source) for d in recorded.duplicates if type(d.event) is Fill)
        self._parked.update((account, delivery.rejection or "") for delivery in recorded.parked)
        if recorded.conflicts:
            self._parked[account, CONFLICTING_FILL] += len(recorded.conflicts)
