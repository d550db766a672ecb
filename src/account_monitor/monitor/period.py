"""Period: what has a span of time brought an account, by cause, by day, by position, by trade?

Summed up from the same entries and the same parts as an explanation, so the sums agree with each other and with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from account_monitor.ledger.account import Entry, moved
from account_monitor.ledger.events import Adjustment, Fill, Marks, Reversal
from account_monitor.ledger.explanation import Effect, Part
from account_monitor.ledger.money import ZERO, divide
from account_monitor.ledger.performance import Performance, Standing
from account_monitor.ledger.reconciliation import Reconciliation
from account_monitor.monitor.past import Walk
from account_monitor.monitor.ports import JournalEntry

Line: TypeAlias = Literal[
    "realized", "unrealized", "fees", "funding", "other", "prices",
    "transfers", "opening", "adjustments", "priced_later",
]  # fmt: skip
RESULTS: Final[tuple[Line, ...]] = ("realized", "unrealized", "fees", "funding", "other", "prices")
"""What was won or lost. `realized` + `unrealized` = the causes `trading` + `rounding`; the others are causes."""

FLOWS: Final[tuple[Line, ...]] = ("transfers", "opening", "adjustments", "priced_later")
"""What makes the account worth more or less, and is no result."""

LINES: Final = (*RESULTS, *FLOWS)

MOST_REMARKS: Final = 200
"""Corrections, and reports of comparisons, that are kept one by one: the youngest. All of them are summed up."""

CURVE_POINTS: Final = 480

_TOTAL_LOSS = Decimal(-100)
_OF_TRADING = ("trading", "rounding")

DayOf: TypeAlias = Callable[[int], str]
"""Return the date of a time, in milliseconds since 1970."""


class Sums(dict[Line, Decimal]):
    """USD by line; positive is a gain. A line without anything is zero."""

    def __missing__(self, line: Line) -> Decimal:
        """Return what a line has that nothing was added to."""
        return ZERO

    def add(self, line: Line, usd: Decimal) -> None:
        """Add to a line."""
        self[line] += usd

    def of(self, lines: tuple[Line, ...]) -> Decimal:
        """Return what some lines make together."""
        return sum((self[line] for line in lines), ZERO)

    @property
    def change(self) -> Decimal:
        """All lines together."""
        return sum(self.values(), ZERO)


@dataclass(slots=True)
class Day:
    """What was recorded on a day. Equity is that of its end; None: not known."""

    date: str
    sums: Sums
    before: Decimal | None
    after: Decimal | None = None

    @property
    def residual(self) -> Decimal | None:
        """What the lines do not explain of the change; anything but zero is a defect of this program."""
        return None if self.before is None or self.after is None else self.after - self.before - self.sums.change


class Finished(NamedTuple):
    """A round trip that ended: its position, when that was recorded, and its result in USD."""

    key: str
    at_ms: int
    result: Decimal


@dataclass(slots=True)
class Trades:
    """Round trips that ended in the span. What late fills made of older ones counts, and is no `best`."""

    count: int = 0
    winning: int = 0
    losing: int = 0
    won: Decimal = ZERO
    lost: Decimal = ZERO
    """Zero or negative."""
    best: Finished | None = None
    worst: Finished | None = None
    restated: int = 0
    """Entries that changed trades which had ended before."""

    @property
    def win_rate(self) -> Decimal | None:
        """Winning trades per hundred, None without any."""
        return divide(Decimal(100 * self.winning), Decimal(self.count)) if self.count > 0 else None


class Executed(NamedTuple):
    """Fills of one kind: how many, and what was traded, in USD."""

    fills: int = 0
    volume: Decimal = ZERO


Liquidity: TypeAlias = Literal["maker", "taker", "unknown"]
LIQUIDITIES: Final[tuple[Liquidity, ...]] = ("maker", "taker", "unknown")


class Correction(NamedTuple):
    """A correction, or that one was taken back, and what it did to equity, in USD."""

    seq: int
    at_ms: int
    event: Adjustment | Reversal
    usd: Decimal


class Point(NamedTuple):
    """A part of the span: its last equity, and its deepest drawdown in percent."""

    at_ms: int
    equity: Decimal
    drawdown_pct: Decimal | None


@dataclass(slots=True)
class Drawdown:
    """The deepest of the span, against the peak that was known then, which may lie before the span."""

    pct: Decimal | None = None
    at_ms: int | None = None
    """None: it was there when the span began."""

    def take(self, pct: Decimal | None, at_ms: int | None) -> None:
        """Take what was observed."""
        if pct is not None and (self.pct is None or pct < self.pct):
            self.pct, self.at_ms = pct, at_ms


@dataclass(slots=True)
class Period:
    """A span of an account, summed up. `sums.change` + `residual` = `after` − `before`."""

    account: str
    from_seq: int
    to_seq: int
    span_ms: tuple[int, int]
    """What the curve is drawn over."""
    first_ms: int | None = None
    """When the first entry of the span was recorded, None where there is none."""
    last_ms: int | None = None
    before: Decimal | None = None
    after: Decimal | None = None
    residual: Decimal | None = None
    sums: Sums = field(default_factory=Sums)
    days: list[Day] = field(default_factory=list)
    """Those on which anything was recorded."""
    positions: dict[str, Sums] = field(default_factory=dict)
    """By position key, what trading, fees and funding brought."""
    elsewhere: Sums = field(default_factory=Sums)
    """What belongs to no position: with the positions, it is `sums`."""
    fees: dict[str, Decimal] = field(default_factory=dict)
    """USD by the asset that was paid; negative where it was."""
    executed: dict[str, dict[Liquidity, Executed]] = field(default_factory=dict)
    """Fills by position key, as first recorded."""
    unvalued_fills: int = 0
    """Those of which nothing prices the volume."""
    trades: Trades = field(default_factory=Trades)
    drawdown: Drawdown = field(default_factory=Drawdown)
    standing: Standing = field(default_factory=Standing)
    """At the end."""
    curve: list[Point] = field(default_factory=list)
    reports: list[Reconciliation] = field(default_factory=list)
    report_count: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """By cause, how many events a search booked that nobody had told of; of a long report, the first."""
    found_count: int = 0
    corrections: list[Correction] = field(default_factory=list)
    correction_count: int = 0
    corrected: Decimal = ZERO
    """What all of them did to equity, in USD."""


def period(walk: Walk, account: str, day_of: DayOf, span_ms: tuple[int, int]) -> Period:
    """Go through a span to its end and sum it up; `span_ms` is what the curve is drawn over.

    Costs what is in the span, and memory for days, positions and some hundred points. Raises: what the walk raises.
    """
    summing = _Summing(walk, account, day_of, span_ms)
    for entry in walk.entries:
        summing.take(entry)
    return summing.ended()


class _Trips(NamedTuple):
    """The counters of a position's round trips at a moment."""

    trades: int = 0
    winning: int = 0
    losing: int = 0
    unvalued: int = 0
    won: Decimal = ZERO
    lost: Decimal = ZERO


class _Summing:
    """A period in the making."""

    def __init__(self, walk: Walk, account: str, day_of: DayOf, span_ms: tuple[int, int]) -> None:
        self._walk = walk
        self._day_of = day_of
        self._span_ms = span_ms
        self._made = Period(account, walk.from_seq, walk.to_seq, span_ms, before=walk.explanation.before)
        self._trips = {key: self._counters(key) for key in walk.account.state.timelines}
        self._worst_so_far = self._performance.max_drawdown_pct
        self._made.drawdown.take(_drawdown(self._performance), None)

    @property
    def _performance(self) -> Performance:
        return self._walk.account.state.performance

    def take(self, entry: JournalEntry) -> None:
        """Apply one entry and add what it did."""
        made = self._made
        at_ms = entry.recorded_at_ms if made.last_ms is None else max(made.last_ms, entry.recorded_at_ms)
        made.first_ms = at_ms if made.first_ms is None else made.first_ms
        made.last_ms = at_ms
        day = self._day(at_ms)
        effect = self._walk.apply(entry)
        self._sum(day, effect)
        self._observe(effect.entry, at_ms)
        self._trade(effect.entry, at_ms)
        if isinstance(entry.event, Adjustment | Reversal):
            made.correction_count += 1
            made.corrected += effect.usd
            made.corrections.append(Correction(entry.seq, at_ms, entry.event, effect.usd))
            del made.corrections[:-MOST_REMARKS]
        elif isinstance(entry.event, Reconciliation):
            self._compare(entry.event)

    def ended(self) -> Period:
        """Return what came of it, after the last entry."""
        made, explanation = self._made, self._walk.end()
        made.after, made.residual = explanation.after, explanation.residual
        made.fees = explanation.by_asset("fees")
        made.standing = self._walk.account.standing(made.after)
        if made.days:
            made.days[-1].after = made.after
        return made

    # -- sums --------------------------------------------------------------------------------------------------------

    def _day(self, at_ms: int) -> Day:
        """Return the day of an entry that is not applied yet, which is not before the last one's."""
        days, date = self._made.days, self._day_of(at_ms)
        if not days:
            days.append(Day(date, Sums(), self._made.before))
        elif days[-1].date != date:
            days[-1].after = self._walk.explainer.equity
            days.append(Day(date, Sums(), days[-1].after))
        return days[-1]

    def _sum(self, day: Day, effect: Effect) -> None:
        for part in effect.parts:
            line: Line = "unrealized" if part.cause in _OF_TRADING else part.cause  # type: ignore[assignment]  # the rest
            self._add(day, line, part, part.usd)
        for part in effect.realized:
            self._add(day, "realized", part, part.usd)
            self._add(day, "unrealized", part, -part.usd)

    def _add(self, day: Day, line: Line, part: Part, usd: Decimal) -> None:
        day.sums.add(line, usd)
        self._made.sums.add(line, usd)
        is_of_position = line in ("realized", "unrealized") or (
            line in ("fees", "funding") and part.name not in ("", part.asset)
        )
        place = self._made.positions.setdefault(part.name, Sums()) if is_of_position else self._made.elsewhere
        place.add(line, usd)

    # -- how it went -------------------------------------------------------------------------------------------------

    def _observe(self, entry: Entry, at_ms: int) -> None:
        """Note how deep the account is, and what it is worth, where that was observed."""
        performance, made = self._performance, self._made
        if performance.max_drawdown_pct != self._worst_so_far:  # also where a flow followed within the entry
            self._worst_so_far = performance.max_drawdown_pct
            made.drawdown.take(self._worst_so_far, at_ms)
        if type(entry.event) is not Marks or performance.equity is None:
            return
        pct = _drawdown(performance)
        made.drawdown.take(pct, at_ms)
        point = Point(at_ms, performance.equity, pct)
        if made.curve and self._place(made.curve[-1].at_ms) == self._place(at_ms):
            deepest = min((each for each in (made.curve[-1].drawdown_pct, pct) if each is not None), default=None)
            made.curve[-1] = point._replace(drawdown_pct=deepest)
        else:
            made.curve.append(point)

    def _place(self, at_ms: int) -> int:
        """Return to which of the points of the curve a time belongs."""
        start, end = self._span_ms
        return (at_ms - start) * CURVE_POINTS // max(1, end - start)

    # -- trades ------------------------------------------------------------------------------------------------------

    def _trade(self, entry: Entry, at_ms: int) -> None:
        event = entry.event
        if type(event) is Fill and not event.revision and entry.outcome in ("booked", "restated"):
            self._execute(event)
        for key in sorted(moved([entry])[0]):
            now, before = self._counters(key), self._trips.get(key, _Trips())
            if now != before:
                self._trips[key] = now
                self._finish(entry, key, at_ms, before, now)

    def _execute(self, fill: Fill) -> None:
        instrument = self._walk.account.state.timelines[fill.key].instrument
        rate = self._walk.explainer.rate(instrument.settlement_asset)
        if rate is None:
            self._made.unvalued_fills += 1
        volume = ZERO if rate is None else abs(instrument.value(fill.quantity, fill.price)) * rate
        liquidity: Liquidity = "unknown" if fill.maker is None else "maker" if fill.maker else "taker"
        of_key = self._made.executed.setdefault(fill.key, {})
        known = of_key.get(liquidity, Executed())
        of_key[liquidity] = Executed(known.fills + 1, known.volume + volume)

    def _finish(self, entry: Entry, key: str, at_ms: int, before: _Trips, now: _Trips) -> None:
        trades = self._made.trades
        trades.count += now.trades - before.trades
        trades.winning += now.winning - before.winning
        trades.losing += now.losing - before.losing
        trades.won += now.won - before.won
        trades.lost += now.lost - before.lost
        if entry.outcome != "booked" or now.trades != before.trades + 1:
            trades.restated += 1
        elif now.unvalued == before.unvalued:
            trade = Finished(key, at_ms, now.won - before.won + now.lost - before.lost)
            if trades.best is None or trade.result > trades.best.result:
                trades.best = trade
            if trades.worst is None or trade.result < trades.worst.result:
                trades.worst = trade

    def _counters(self, key: str) -> _Trips:
        timeline = self._walk.account.state.timelines.get(key)
        if timeline is None:
            return _Trips()
        trips = timeline.leg.trips
        return _Trips(trips.trades, trips.winning, trips.losing, trips.unvalued, trips.gross_win, trips.gross_loss)

    # -- comparisons -------------------------------------------------------------------------------------------------

    def _compare(self, report: Reconciliation) -> None:
        made = self._made
        made.report_count += 1
        made.reports.append(report)
        del made.reports[:-MOST_REMARKS]
        made.found.update(finding.cause for finding in report.findings)
        made.found_count += report.finding_count


def _drawdown(performance: Performance) -> Decimal | None:
    """Return how far equity as observed last is below its peak, in percent; None: not known."""
    if performance.is_closed:
        return _TOTAL_LOSS
    return performance.standing(performance.equity).drawdown_pct
