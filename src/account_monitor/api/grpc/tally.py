"""Tally: counts calls by method and status, and how long answers took. Imports no gRPC: it is there from the start."""

from __future__ import annotations

from collections import Counter

from account_monitor.api.metrics import Distribution, Sample, Told
from account_monitor.monitor.histogram import Histogram

DURATION_BUCKETS_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
"""From an answer that was made before to a long history from a database."""

UNARY = ("GetAccountState", "GetPosition", "GetAllPositions", "GetPnL", "GetBalance", "GetPnLHistory", "Check")
STREAMS = ("WatchAccount", "ServerReflectionInfo", "Watch")
"""`Check` and `Watch` are those of health."""


class Tally:
    """Calls since the process started. A stream counts when it ends; how long it lasted says nothing of the service."""

    def __init__(self) -> None:
        # From 0 on: what begins with 1 does not count as an increase.
        self._calls: Counter[tuple[str, str]] = Counter({(method, "OK"): 0 for method in (*UNARY, *STREAMS)})
        self.refused_connections = 0
        """Those beyond what one address may hold."""
        self._seconds = {method: Histogram(DURATION_BUCKETS_SECONDS) for method in UNARY}

    def count(self, method: str, status: str, seconds: float) -> None:
        """Count a call that ended."""
        self._calls[method, status] += 1
        histogram = self._seconds.get(method)
        if histogram is not None:
            histogram.observe(seconds)

    def samples(self) -> list[Told]:
        """Return all of it, for the page of metrics."""
        calls = [
            Sample(
                "grpc_requests_total", "Calls on gRPC that ended, by method and status.", "counter", count,
                {"method": method, "status": status},
            )
            for (method, status), count in self._calls.items()
        ]  # fmt: skip
        durations = [
            Distribution(
                "grpc_duration_seconds", "How long answers on gRPC took.", histogram.copy(), labels={"method": method}
            )
            for method, histogram in self._seconds.items()
        ]
        refused = Sample(
            "grpc_connections_refused_total", "Connections that were shut: their address had too many.", "counter",
            self.refused_connections,
        )  # fmt: skip
        return [*calls, *durations, refused]
