"""Buckets: how snapshots are summed up over intervals, without averages of what is cumulative.

The first and the last snapshot of an interval, and how far the figures went. Larger intervals are made of smaller ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from enum import Enum
from itertools import groupby
from typing import NamedTuple

from account_monitor.monitor.ports import Extremes, Figures, PnLBucket
from account_monitor.stores.history.snapshots import Snapshot


class Level(Enum):
    """The intervals that are kept summed up, in milliseconds; RAW: the snapshots themselves."""

    DAY = 86_400_000
    HOUR = 3_600_000
    MINUTE = 60_000
    RAW = 1

    @property
    def table(self) -> str:
        """Where it is kept."""
        return _TABLES[self]


_TABLES = {Level.DAY: "pnl_1d", Level.HOUR: "pnl_1h", Level.MINUTE: "pnl_1m", Level.RAW: "pnl_snapshots"}

_LAST = len(Figures._fields)
_LOWEST = 2 * _LAST
_HIGHEST = _LOWEST + len(Extremes._fields)

ROLLUPS = (Level.MINUTE, Level.HOUR, Level.DAY)


def level_for(interval_ms: int) -> Level:
    """Return the coarsest level of which an interval can be made."""
    return next(level for level in Level if interval_ms % level.value == 0)


class RollUp(NamedTuple):
    """What a batch adds to a bucket of a level; the symbol is empty for the whole account."""

    level: Level
    symbol: str
    bucket: PnLBucket


def rolled_up(snapshots: Iterable[Snapshot]) -> list[RollUp]:
    """Return what snapshots, in the order of their times, add to every level: one row for each bucket they fall in."""
    buckets: dict[tuple[Level, str, int], PnLBucket] = {}
    for snapshot in snapshots:
        symbol, new = snapshot.symbol or "", bucket_of(snapshot.at_ms, snapshot.figures)
        for level in ROLLUPS:
            at_ms = snapshot.at_ms - snapshot.at_ms % level.value
            place = (level, symbol, at_ms)
            known = buckets.get(place)
            buckets[place] = new._replace(at_ms=at_ms) if known is None else joined(known, new)
    return [RollUp(level, symbol, bucket) for (level, symbol, _), bucket in buckets.items()]


def combined(buckets: Iterable[PnLBucket], interval_ms: int) -> Iterator[PnLBucket]:
    """Yield buckets of an interval, made of smaller ones in the order of their times."""
    for at_ms, group in groupby(buckets, key=lambda bucket: bucket.at_ms - bucket.at_ms % interval_ms):
        first, *others = group
        whole = first._replace(at_ms=at_ms)
        for other in others:
            whole = joined(whole, other)
        yield whole


def bucket_of(at_ms: int, figures: Figures) -> PnLBucket:
    """Return the bucket that holds one snapshot."""
    extremes = Extremes(
        figures.equity, figures.realized_pnl, figures.unrealized_pnl, figures.total_pnl, figures.net_pnl
    )
    return PnLBucket(at_ms, 1, figures, figures, extremes, extremes)


def bucket_from(at_ms: int, count: int, numbers: Sequence[Decimal | None]) -> PnLBucket:
    """Return the bucket that the columns of a table hold: first, last, lowest and highest figures."""
    return PnLBucket(
        at_ms,
        count,
        Figures._make(numbers[:_LAST]),
        Figures._make(numbers[_LAST:_LOWEST]),
        Extremes._make(numbers[_LOWEST:_HIGHEST]),
        Extremes._make(numbers[_HIGHEST:]),
    )


def joined(earlier: PnLBucket, later: PnLBucket) -> PnLBucket:
    """Return two neighbours as one, which begins where the earlier does."""
    return PnLBucket(
        earlier.at_ms,
        earlier.snapshot_count + later.snapshot_count,
        earlier.first,
        later.last,
        Extremes._make(map(least, earlier.lowest, later.lowest)),
        Extremes._make(map(greatest, earlier.highest, later.highest)),
    )


def least(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """Return the smaller of two numbers; where one is not known, the other."""
    return other if one is None else one if other is None else min(one, other)


def greatest(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """Return the larger of two numbers; where one is not known, the other."""
    return other if one is None else one if other is None else max(one, other)
