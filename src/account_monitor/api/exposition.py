"""Exposition: the metrics page, in the formats that Prometheus asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from account_monitor.api.asgi import Receive, Reply, Scope, Send, header
from account_monitor.api.front import require_get
from account_monitor.api.metrics import Distribution, Meter, Reading, Told
from account_monitor.api.problems import NOT_FOUND, Refused
from account_monitor.ledger.valuation import PositionValue
from account_monitor.monitor.histogram import Histogram
from account_monitor.monitor.views import View


class Exposition:
    """Answers scrapes, one at a time and in a thread: writing thousands of lines takes longer than others may wait."""

    def __init__(self, meter: Meter, path: str) -> None:
        self._meter = meter
        self._path = path
        self._process = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)
        self._is_free = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a scrape. Raises: Refused for any other address."""
        if scope["path"] != self._path:
            raise Refused(NOT_FOUND, f"{scope['path']}: expected {self._path}, /health or /ready")
        require_get(scope)
        async with self._is_free:
            reading = self._meter.read()
            reply = await asyncio.to_thread(self._write, reading, header(scope, b"accept") or "")
        await reply.send(scope, send)

    def _write(self, reading: Reading, accept: str) -> Reply:
        encode, media_type = _encoder(accept)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Read(reading))
        registry.register(self._process)
        return Reply(200, encode(registry), media_type)


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")


class _Read(Collector):
    """The metrics of one reading."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        reading = self._reading
        yield InfoMetricFamily("account", "What runs here.", {"version": reading.version})
        yield from _of_accounts(reading.views)
        yield from _of_positions(reading.views)
        yield from _counters(reading)
        yield _histogram(
            "fill_latency_seconds", "From the time at the venue to the view that shows a fill.", reading.latency_ms, 1e3
        )
        yield _histogram(
            "journal_append_seconds", "What it took to commit a batch to the journal.", reading.append_seconds, 1.0
        )
        yield from _foreign(reading.samples)


def _of_accounts(views: list[View]) -> Iterator[Metric]:
    numbers: tuple[tuple[str, str, Callable[[View], Decimal | None]], ...] = (
        ("account_realized_pnl_usd", "Realized P&L before fees and funding.", lambda view: view.pnl.realized_pnl),
        ("account_equity_usd", "Wallets plus unrealized P&L.", lambda view: view.pnl.equity),
        ("account_margin_ratio", "Maintenance margin per balance.", lambda view: view.margin.ratio),
        (
            "account_drawdown_pct",
            "Fall from the peak, flows apart; 0 or less.",
            lambda view: view.standing.drawdown_pct,
        ),
        ("account_leverage", "Sum of absolute notionals per margin balance.", lambda view: view.exposure.leverage),
    )
    for name, help_text, number in numbers:
        family = GaugeMetricFamily(name, help_text, labels=("account",))
        for view in views:
            value = number(view)
            if value is not None:
                family.add_metric((view.account,), float(value))
        yield family
    balances = GaugeMetricFamily("account_balance", "What a wallet holds.", labels=("account", "asset"))
    for view in views:
        for balance in view.balances.values():
            if balance.total is not None:
                balances.add_metric((view.account, balance.asset), float(balance.total))
    yield balances


def _of_positions(views: list[View]) -> Iterator[Metric]:
    labels = ("account", "symbol")
    counts = GaugeMetricFamily("account_positions_total", "1 for each open position.", labels=labels)
    values = GaugeMetricFamily("account_position_value_usd", "Value, negative when short.", labels=labels)
    unrealized = GaugeMetricFamily("account_unrealized_pnl_usd", "Unrealized P&L of a position.", labels=labels)
    for view in views:
        for position in view.positions.values():
            if not position.quantity:
                continue
            label = (view.account, position.key)
            counts.add_metric(label, 1)
            if position.value_usd is not None:
                values.add_metric(label, float(position.value_usd))
            pnl = _unrealized_usd(position)
            if pnl is not None:
                unrealized.add_metric(label, pnl)
    return iter((counts, values, unrealized))


def _unrealized_usd(position: PositionValue) -> float | None:
    """Return the unrealized P&L in USD, at the rate by which the position's value was valued."""
    if position.unrealized_pnl is None or position.value_usd is None:
        return None
    value = position.cost + position.unrealized_pnl
    if not value:
        return None
    return float(position.unrealized_pnl) * (float(position.value_usd) / float(value))


def _counters(reading: Reading) -> Iterator[Metric]:
    for name, help_text, label, counts in (
        ("fills", "Fills recorded.", "source", reading.fills),
        ("fills_duplicate", "Fills that were recorded before.", "source", reading.duplicates),
        ("events_parked", "Messages parked in the dead letters.", "reason", reading.parked),
    ):
        family = CounterMetricFamily(name, help_text, labels=("account", label))
        for labels, count in counts.items():
            family.add_metric(labels, count)
        yield family


def _histogram(name: str, help_text: str, histogram: Histogram, per_second: float) -> Metric:
    buckets, total = _cumulative(histogram, per_second)
    return HistogramMetricFamily(name, help_text, buckets, total)


def _cumulative(histogram: Histogram, per_second: float) -> tuple[list[tuple[str, float]], float]:
    """Return how many were up to each bound, and the sum of all."""
    bounds = [*(str(bound / per_second) for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total / per_second


def _foreign(samples: Iterable[Told]) -> Iterator[Metric]:
    numbers: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    histograms: dict[str, HistogramMetricFamily] = {}
    for sample in samples:
        labels = tuple(sample.labels)
        values = tuple(sample.labels.values())
        if isinstance(sample, Distribution):
            histogram = histograms.get(sample.name)
            if histogram is None:
                histogram = histograms[sample.name] = HistogramMetricFamily(sample.name, sample.help, labels=labels)
            histogram.add_metric(values, *_cumulative(sample.histogram, sample.per_second))
            continue
        family = numbers.get(sample.name)
        if family is None:
            make = GaugeMetricFamily if sample.kind == "gauge" else CounterMetricFamily
            family = numbers[sample.name] = make(sample.name, sample.help, labels=labels)
        family.add_metric(values, sample.value)
    yield from numbers.values()
    yield from histograms.values()
