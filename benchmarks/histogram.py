"""Histograms of latencies, as text."""

from __future__ import annotations

from collections.abc import Sequence

BUCKETS_MS = (1, 2, 3, 4, 5, 7, 10, 15, 25, 50, 100, float("inf"))


def shares(latencies: Sequence[float]) -> str:
    """Return median, p90, p99 and the most of latencies in milliseconds, in order."""

    def at(share: float) -> float:
        return latencies[min(len(latencies) - 1, int(share * len(latencies)))]

    return f"median {at(0.5):.2f}, p90 {at(0.9):.2f}, p99 {at(0.99):.2f}, most {latencies[-1]:.2f} ms"


def histogram(latencies: Sequence[float]) -> str:
    """Return a line for each bucket of latencies in milliseconds, in order."""
    lines: list[str] = []
    below = 0
    for bound in BUCKETS_MS:
        count = sum(latency < bound for latency in latencies) - below
        below += count
        lines.append(f"  < {bound:>5} ms {count:>6} {'#' * round(60 * count / len(latencies))}")
    return "\n".join(lines)
