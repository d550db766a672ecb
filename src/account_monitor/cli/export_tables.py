"""Export tables: which columns a spreadsheet of fills, P&L or alerts has, and the rows, some thousand at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple, TypeAlias

from account_monitor.ledger.events import Fill
from account_monitor.monitor.fills import read_fills
from account_monitor.monitor.ports import Extremes, Figures, FillQuery, JournalEntry, PnLBucket, PnLQuery
from account_monitor.stores.history.batch import AlertRow
from account_monitor.stores.history.buckets import Level
from account_monitor.stores.history.snapshots import Snapshot
from account_monitor.stores.history.store import HistoryStore, Span
from account_monitor.stores.journal_reader import JournalReader

_PAGE = 1_000


class Kind(Enum):
    """What the cells of a column are; any of them may be None, for what is not known or does not apply."""

    TEXT = auto()
    NUMBER = auto()
    """Decimal, exact."""
    COUNT = auto()
    FLAG = auto()
    TIME = auto()
    """Milliseconds since 1970-01-01 UTC."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: Kind = Kind.TEXT


Row: TypeAlias = tuple[Any, ...]
Rows: TypeAlias = AsyncIterator[list[Row]]
"""Some rows at a time, in the order of time, which is their first cell."""

_TIMESTAMP = Column("timestamp", Kind.TIME)

FILLS = (
    _TIMESTAMP,
    Column("account"),
    Column("symbol"),
    Column("position_side"),
    Column("id"),
    Column("side"),
    Column("quantity", Kind.NUMBER),
    Column("price", Kind.NUMBER),
    Column("fee", Kind.NUMBER),
    Column("fee_currency"),
    Column("realized_pnl", Kind.NUMBER),
    Column("order_id"),
    Column("maker", Kind.FLAG),
    Column("source"),
    Column("seq", Kind.COUNT),
    Column("recorded_at", Kind.TIME),
)

PNL = (
    _TIMESTAMP,
    Column("account"),
    Column("symbol"),
    *(Column(name, Kind.NUMBER) for name in Figures._fields),
    Column("win_rate", Kind.NUMBER),
    Column("total_trades", Kind.COUNT),
    Column("seq", Kind.COUNT),
)

PNL_BUCKETS = (
    _TIMESTAMP,
    Column("account"),
    Column("symbol"),
    Column("snapshot_count", Kind.COUNT),
    *(Column(f"{end}_{name}", Kind.NUMBER) for end in ("first", "last") for name in Figures._fields),
    *(Column(f"{end}_{name}", Kind.NUMBER) for end in ("min", "max") for name in Extremes._fields),
)

ALERTS = (
    _TIMESTAMP,
    Column("account"),
    Column("id"),
    Column("type"),
    Column("severity"),
    Column("state"),
    Column("symbol"),
    Column("message"),
    Column("value", Kind.NUMBER),
    Column("threshold", Kind.NUMBER),
    Column("cause"),
    Column("resolved_at", Kind.TIME),
)

INTERVALS = {"1m": Level.MINUTE, "1h": Level.HOUR, "1d": Level.DAY}


async def fill_rows(reader: JournalReader, store: HistoryStore | None, span: Span) -> Rows:
    """Yield the fills of a journal as it is now, whatever is recorded meanwhile; the store has what it forgot."""
    query = FillQuery(span.symbol, span.from_ms, span.to_ms, limit=_PAGE, until_seq=reader.last_seq)
    while True:
        page = await read_fills(reader, store, query)
        if page.entries:
            yield [_fill_row(span.account, entry) for entry in page.entries]
        if page.next is None:
            return
        query = query._replace(after=page.next)


def _fill_row(account: str, entry: JournalEntry) -> Row:
    fill = entry.event
    assert isinstance(fill, Fill)  # these were asked for
    return (
        fill.at_ms, account, fill.symbol, fill.position_side, fill.trade_id, fill.side, fill.quantity, fill.price,
        fill.fee, fill.fee_asset, fill.realized_pnl, fill.order_id, fill.maker, entry.source, entry.seq,
        entry.recorded_at_ms,
    )  # fmt: skip


async def snapshot_rows(store: HistoryStore, span: Span) -> Rows:
    """Yield the P&L of an account, or of a position key, second by second, as far back as that is kept."""
    async for snapshots in store.snapshots(span):
        yield [_snapshot_row(span.account, snapshot) for snapshot in snapshots]


def _snapshot_row(account: str, snapshot: Snapshot) -> Row:
    symbol, at_ms, figures, win_rate, total_trades, seq = snapshot
    return (at_ms, account, symbol, *figures, win_rate, total_trades, seq)


async def bucket_rows(store: HistoryStore, span: Span, level: Level) -> Rows:
    """Yield P&L summed up by an interval, from the one that holds the beginning of the span on; a day at a time."""
    days = await _buckets(store, span, Level.DAY)
    if level is Level.DAY and days:
        yield [_bucket_row(span, day) for day in days]
        return
    for day in days:
        within = span._replace(from_ms=max(span.from_ms, day.at_ms), to_ms=min(span.to_ms, day.at_ms + Level.DAY.value))
        if found := await _buckets(store, within, level):
            yield [_bucket_row(span, bucket) for bucket in found]


async def _buckets(store: HistoryStore, span: Span, level: Level) -> Sequence[PnLBucket]:
    interval_ms = level.value
    first, last = span.from_ms - span.from_ms % interval_ms, span.to_ms + -span.to_ms % interval_ms
    return (await store.pnl(PnLQuery(span.account, span.symbol, first, last, interval_ms))).buckets


def _bucket_row(span: Span, bucket: PnLBucket) -> Row:
    at_ms, snapshot_count, first, last, lowest, highest = bucket
    return (at_ms, span.account, span.symbol, snapshot_count, *first, *last, *lowest, *highest)


async def alert_rows(store: HistoryStore, span: Span) -> Rows:
    """Yield alerts as of their last transitions, by the time at which they fired."""
    async for alerts in store.alerts(span):
        yield [_alert_row(span.account, alert) for alert in alerts]


def _alert_row(account: str, alert: AlertRow) -> Row:
    (id, type, severity, state, symbol, message, value, threshold, cause, fired_ms, resolved_ms, _) = alert  # noqa: A001  # they are called so
    return (fired_ms, account, id, type, severity, state, symbol, message, value, threshold, cause, resolved_ms)
