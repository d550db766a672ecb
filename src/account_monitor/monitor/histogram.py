"""Histogram: how often values fell where, counted at the cost of a comparison."""

from __future__ import annotations

from bisect import bisect_left


class Histogram:
    """How often values fell into each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bucket, not cumulative; the last is what exceeds all bounds."""
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, other: Histogram) -> None:
        """Count what another has counted, in the same buckets."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def copy(self) -> Histogram:
        """Return one that does not change any more."""
        copied = Histogram(self.bounds)
        copied.counts = self.counts.copy()
        copied.total = self.total
        return copied
