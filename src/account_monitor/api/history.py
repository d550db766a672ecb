"""History: P&L over time, in intervals that say what happened in them and leave out when nobody was watching."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from typing import Annotated, NamedTuple

import msgspec
from litestar import get
from litestar.params import QueryParameter

from account_monitor.api import problems
from account_monitor.api.accounts import never_held
from account_monitor.api.answering import BY_FRAMEWORK, EVERYWHERE, GivenDesk, GivenMonitor, explained, in_turn
from account_monitor.api.moments import moment_given
from account_monitor.api.problems import Refused, bad_parameter
from account_monitor.errors import HistoryUnavailable
from account_monitor.ledger.money import ZERO, to_text
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import Extremes, Figures, History, PnLBucket, PnLHistory, PnLQuery
from account_monitor.monitor.reports import time_text

MAX_BUCKETS = 5_000
MANY_BUCKETS = 200
"""So many take about 10 ms to report."""

USUAL_BUCKETS = 168
"""Where nobody says since when: a week of hours."""

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_UNITS = {"s": _SECOND, "m": _MINUTE, "h": _HOUR, "d": _DAY}
_LARGER = {_SECOND: _MINUTE, _MINUTE: _HOUR, _HOUR: _DAY}
_LONGEST_MS = 366 * _DAY

_is_interval = re.compile(r"([1-9][0-9]{0,4})([smhd])", re.ASCII).fullmatch


class FiguresReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was brought up to a moment, in USD: total = realized + unrealized, net = total − fees + funding + other.

    Null: not known. `equity` is of the account alone.
    """

    equity: str | None
    realized_pnl: str | None
    unrealized_pnl: str | None
    total_pnl: str | None
    total_fees: str | None
    funding: str | None
    other: str | None
    net_pnl: str | None


class ExtremesReport(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest, or the highest, of each figure among the snapshots of an interval, in USD."""

    equity: str | None
    realized_pnl: str | None
    unrealized_pnl: str | None
    total_pnl: str | None
    net_pnl: str | None


class BucketReport(msgspec.Struct, frozen=True, kw_only=True):
    """One interval, which begins at `timestamp`: its first and last snapshot, and how far the figures went.

    `change` is what the interval itself brought: its last snapshot less the last one before it.
    """

    timestamp: str
    snapshot_count: int
    first: FiguresReport
    last: FiguresReport
    min: ExtremesReport
    max: ExtremesReport
    change: FiguresReport


class PnLHistoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals in the order of time, aligned to UTC. One in which nobody was watching is left out."""

    account: str
    symbol: str | None
    interval: str
    from_: str = msgspec.field(name="from")
    to: str
    buckets: list[BucketReport]


REPORTS = (BucketReport, ExtremesReport, FiguresReport, PnLHistoryReport)

_OF_FILLS = (
    *EVERYWHERE, *BY_FRAMEWORK, problems.UNKNOWN_ACCOUNT, problems.UNKNOWN_SYMBOL, problems.FOLDING,
    problems.HELD_ELSEWHERE, problems.HISTORY_UNAVAILABLE,
)  # fmt: skip
OF_FILLS = explained(*_OF_FILLS)
OF_HISTORY = explained(*_OF_FILLS, problems.BUSY)


@get("/api/pnl/history", operation_id="pnl_history", summary="P&L over time", responses=OF_HISTORY)
async def pnl_history(
    desk: GivenDesk,
    monitor: GivenMonitor,
    symbol: Annotated[str | None, QueryParameter(description="A position key; default: the whole account.")] = None,
    from_: Annotated[
        str | None,
        QueryParameter(
            name="from", schema_extra={"format": "date-time"}, description="Default: 168 intervals before `to`."
        ),
    ] = None,
    to: Annotated[str | None, QueryParameter(schema_extra={"format": "date-time"}, description="Default: now.")] = None,
    interval: Annotated[
        str,
        QueryParameter(
            description="1s to 30s, 1m to 30m or 1h to 12h that divide the next unit; or days of UTC, as 1d."
        ),
    ] = "1h",
) -> PnLHistoryReport:
    """Equity and P&L in USD, as believed at the time, in whole intervals from the one that holds `from` on."""
    return await history_report(desk, monitor, symbol=symbol, from_=from_, to=to, interval=interval)


HANDLERS = (pnl_history,)


# -- what is asked -----------------------------------------------------------------------------------------------------


async def history_report(
    desk: Desk, monitor: Monitor, *, symbol: str | None, from_: str | None, to: str | None, interval: str
) -> PnLHistoryReport:
    """Report P&L over time; `from_` and `to` are RFC 3339. Raises: Refused."""
    if symbol is not None and symbol not in monitor.view.positions:
        raise never_held(monitor.name, symbol)
    span = _span(_interval_ms(interval), from_, to, desk.clock())
    query = PnLQuery(monitor.name, symbol, *span)
    if desk.history is None:
        raise Refused(problems.HISTORY_UNAVAILABLE, "the history is not open yet")
    if (span.to_ms - span.from_ms) // span.interval_ms < MANY_BUCKETS:
        buckets = _bucket_reports(await _asked(desk.history, query))
    else:
        async with in_turn(desk.recounting):
            buckets = await asyncio.to_thread(_bucket_reports, await _asked(desk.history, query))
    return PnLHistoryReport(
        account=monitor.name,
        symbol=symbol,
        interval=interval,
        from_=time_text(span.from_ms),
        to=time_text(span.to_ms),
        buckets=buckets,
    )


class _Span(NamedTuple):
    from_ms: int
    to_ms: int
    interval_ms: int


def _interval_ms(text: str) -> int:
    match = _is_interval(text)
    unit_ms = _UNITS[match[2]] if match is not None else 0
    interval_ms = int(match[1]) * unit_ms if match is not None else 0
    larger_ms = _LARGER.get(unit_ms, _LONGEST_MS)
    divides = unit_ms == _DAY or (interval_ms > 0 and larger_ms % interval_ms == 0)
    if not divides or interval_ms > larger_ms:
        raise bad_parameter(
            "interval", f"was {text[:60]!r}, expected one that divides the next unit, such as 1s, 5m, 1h, 1d"
        )
    return interval_ms


def _span(interval_ms: int, from_: str | None, to: str | None, now_ms: int) -> _Span:
    """Return whole intervals that hold what is asked for. Raises: Refused."""
    to_ms = moment_given("to", to)
    from_ms = moment_given("from", from_)
    to_ms = now_ms + 1 if to_ms is None else to_ms
    to_ms += -to_ms % interval_ms
    from_ms = to_ms - USUAL_BUCKETS * interval_ms if from_ms is None else from_ms
    from_ms -= from_ms % interval_ms
    count = (to_ms - from_ms) // interval_ms
    if count < 1:
        raise bad_parameter(*_no_span(from_, to))
    if count > MAX_BUCKETS:
        raise bad_parameter(
            "interval", f"would make {count:,} of the time from `from` to `to`, expected at most {MAX_BUCKETS:,}"
        )
    return _Span(from_ms, to_ms, interval_ms)


def _no_span(from_: str | None, to: str | None) -> tuple[str, str]:
    if to is None:
        return "from", f"was {from_!r}, expected a time before now"
    return "to", f"was {to!r}, expected a time after `from`"


# -- what is told ------------------------------------------------------------------------------------------------------


async def _asked(history: History, query: PnLQuery) -> PnLHistory:
    """Return what the history holds. Raises: Refused where it does not answer."""
    try:
        return await history.pnl(query)
    except HistoryUnavailable as error:
        raise Refused(problems.HISTORY_UNAVAILABLE, str(error)) from None


def _bucket_reports(history: PnLHistory) -> list[BucketReport]:
    reports: list[BucketReport] = []
    before = history.before
    for bucket in history.buckets:
        reports.append(_bucket_report(bucket, before))
        before = bucket.last
    return reports


def _bucket_report(bucket: PnLBucket, before: Figures | None) -> BucketReport:
    return BucketReport(
        timestamp=time_text(bucket.at_ms),
        snapshot_count=bucket.snapshot_count,
        first=_figures_report(bucket.first),
        last=_figures_report(bucket.last),
        min=_extremes_report(bucket.lowest),
        max=_extremes_report(bucket.highest),
        change=_figures_report(_change(bucket.last, before)),
    )


def _change(last: Figures, before: Figures | None) -> Figures:
    """Return what came since a snapshot; before the first one all P&L was 0, and nobody knew the equity."""
    earlier = Figures(None, *[ZERO] * 7) if before is None else before
    return Figures._make(
        None if now is None or then is None else now - then for now, then in zip(last, earlier, strict=True)
    )


def _figures_report(figures: Figures) -> FiguresReport:
    return FiguresReport(**{name: _text(number) for name, number in figures._asdict().items()})


def _extremes_report(extremes: Extremes) -> ExtremesReport:
    return ExtremesReport(**{name: _text(number) for name, number in extremes._asdict().items()})


def _text(number: Decimal | None) -> str | None:
    return None if number is None else to_text(number)
