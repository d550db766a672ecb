"""Report page: periods of accounts as one HTML page without scripts and addresses.

Amounts are rounded for the eye; each carries its exact digits in `<data value>`, and those add up, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from account_monitor import __version__
from account_monitor.cli.completeness import end_text
from account_monitor.cli.markup import Child, Html, element, foreign, joined
from account_monitor.cli.report_charts import Bar, bar_chart, depth_chart, line_chart
from account_monitor.cli.screen import MISSING, rounded, visible
from account_monitor.ledger.events import Adjustment
from account_monitor.ledger.money import ZERO, divide, to_text, total_of
from account_monitor.ledger.reconciliation import Drift, Reconciliation
from account_monitor.monitor.period import (
    FLOWS,
    LINES,
    LIQUIDITIES,
    RESULTS,
    Correction,
    Day,
    Executed,
    Finished,
    Line,
    Liquidity,
    Period,
    Sums,
)

_NAMES: Final[dict[Line, str]] = {
    "realized": "realized P&L",
    "unrealized": "price changes of positions",
    "fees": "fees",
    "funding": "funding",
    "other": "other income",
    "prices": "price changes of wallets",
    "transfers": "transfers",
    "opening": "opening",
    "adjustments": "corrections",
    "priced_later": "priced later",
}
_SHORT: Final[dict[Line, str]] = {
    **_NAMES,
    "realized": "realized",
    "unrealized": "unrealized",
    "prices": "wallet prices",
    "other": "other",
}
_OF_POSITIONS: Final[tuple[Line, ...]] = ("realized", "unrealized", "fees", "funding")

_CENTS, _DIGITS = 2, 8
_SMALL = Decimal(100)
"""Where no amount of an account reaches this, in USD, cents would not say much."""

_FOOTNOTE: Final = (
    "Amounts are rounded; the exact digits stand in the page as <data value>, and add up exactly. Every figure is"
    " folded from the journal: account-monitor explain, or /api/explain, of the same span names the entries. A span is"
    " what was recorded after its beginning and up to its end; what came late counts where it was recorded."
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Told(NamedTuple):
    """An account that is told of. `last_ms`: when its last entry was recorded, None where it goes on after the span."""

    period: Period
    last_ms: int | None


class Report(NamedTuple):
    """What is told: accounts in the same span, why others are left out, and what the journals here do not hold."""

    told: list[Told]
    left_out: list[str]
    lacking: list[str]
    from_ms: int | None
    to_ms: int | None
    made_ms: int
    zone: ZoneInfo

    @property
    def periods(self) -> list[Period]:
        """What the accounts came to."""
        return [each.period for each in self.told]

    def span_text(self, moment: Callable[[int], str]) -> str:
        """Return the span in words: no longer than anything is known. `moment` writes a time."""
        begun = "the beginning" if self.from_ms is None else moment(self.from_ms)
        ends = [each.last_ms for each in self.told]
        known = [end for end in ends if end is not None]
        last_ms = max(known) if len(known) == len(ends) else None
        return f"{begun} {end_text(self.from_ms, self.to_ms, last_ms, moment)}"


def report_page(report: Report) -> str:
    """Return the page."""
    names = ", ".join(visible(period.account) for period in report.periods)
    span = report.span_text(lambda at_ms: _moment(at_ms, report.zone))
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{names}: {span}"),
        element("style", Html(style)),
    )
    body = element(
        "body",
        element("h1", "Account report"),
        element("p", f"{span}, days of {report.zone.key}; amounts in USD. Made {_moment(report.made_ms, report.zone)}"
                     f" by account-monitor {__version__}."),
        *(element("div", f"Left out: {visible(each)}", class_="notice") for each in report.left_out),
        *(element("div", visible(each), class_="notice") for each in report.lacking),
        _total(report.periods, is_all=not report.left_out) if len(report.periods) > 1 else None,
        *(_account(told, report) for told in report.told),
        element("p", _FOOTNOTE),
    )  # fmt: skip
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _account(told: Told, report: Report) -> Html:
    return element("div", *_Account(told, report).parts(), class_="account")


# -- figures -----------------------------------------------------------------------------------------------------------


class _Figures:
    """Writes amounts with as many decimals as these amounts need."""

    def __init__(self, periods: Sequence[Period]) -> None:
        amounts = [amount for p in periods for amount in (p.before, p.after, *p.sums.values()) if amount is not None]
        self._places = _CENTS if any(abs(amount) >= _SMALL for amount in amounts) else _DIGITS

    def usd(self, amount: Decimal | None, *, signed: bool = True) -> Html:
        """Return an amount in USD; one that is won or lost is coloured."""
        if amount is None:
            return Html(MISSING)
        text = self.text(amount)
        is_zero = not text.strip("-0.,")  # as it is shown: else one 0.00 is won and another lost
        kind = None if not signed or is_zero else "gain" if amount > 0 else "loss"
        return element("data", text, value=to_text(amount), class_=kind)

    def text(self, amount: Decimal) -> str:
        """Return an amount as text, with all its places."""
        text = rounded(to_text(amount), self._places)
        whole, _, fraction = text.partition(".")
        return f"{whole}.{fraction:0<{self._places}}"


def _result_name(periods: Sequence[Period]) -> str:
    """Return what P&L is called: what has no price is not in it."""
    is_whole = all(p.before is not None and p.after is not None and not p.unvalued_fills for p in periods)
    return "P&L" if is_whole else "P&L of what has a price"


def _change(period: Period | Day) -> Decimal | None:
    """Return how equity changed, None where it is not known before or after."""
    return None if period.before is None or period.after is None else period.after - period.before


def _percent(number: Decimal | None) -> Html:
    if number is None:
        return Html(MISSING)
    return element("data", _percent_text(number), value=to_text(number), class_="loss" if number < 0 else None)


def _percent_text(number: Decimal) -> str:
    return f"{rounded(to_text(number), 2)} %"


def _moment(at_ms: int, zone: ZoneInfo) -> str:
    moment = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[Child]],
    foot: Sequence[Child] | None,
    name: str,
    *,
    words: Sequence[int] = (),
    sums: Sequence[int] = (),
) -> Html:
    """Return a table whose rows begin with their name. `words`: columns of text; `sums`: rows that add up others."""
    heads = (element("th", each, scope="col", class_="word" if at in words else None) for at, each in enumerate(head))
    parts = [
        element("thead", element("tr", *heads)),
        element("tbody", *(_row(row, words, "sum" if at in sums else None) for at, row in enumerate(rows))),
    ]
    if foot is not None:
        parts.append(element("tfoot", _row(foot, words)))
    return element("div", element("table", *parts, id=name), class_="scroll")  # fmt: skip


def _row(cells: Sequence[Child], words: Sequence[int], kind: str | None = None) -> Html:
    first, *rest = cells
    written = (
        element("td", each, class_="word long" if at in words else None) for at, each in enumerate(rest, start=1)
    )
    return element("tr", element("th", first, scope="row"), *written, class_=kind)


def _key(*pairs: tuple[str, Child]) -> Html:
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs), class_="key"
    )


# -- all accounts ------------------------------------------------------------------------------------------------------


def _total(periods: Sequence[Period], *, is_all: bool) -> Html:
    """Return a table with a row for each account, and their total."""
    figures = _Figures(periods)

    def cells(
        name: Child, before: Decimal | None, sums: Sums, change: Decimal | None, rest: Decimal | None,
        after: Decimal | None,
    ) -> list[Child]:  # fmt: skip
        amounts = (sums.of(RESULTS), sums.of(FLOWS), change, rest)
        return [name, figures.usd(before, signed=False), *map(figures.usd, amounts), figures.usd(after, signed=False)]

    whole = Sums()
    for period in periods:
        for line, usd in period.sums.items():
            whole.add(line, usd)
    rows = [cells(foreign(p.account), p.before, p.sums, _change(p), p.residual, p.after) for p in periods]
    foot = cells("total", total_of(p.before for p in periods), whole, total_of(map(_change, periods)),
                 total_of(p.residual for p in periods), total_of(p.after for p in periods))  # fmt: skip
    head = ("account", "equity before", _result_name(periods), "flows", "change", "residual", "equity after")
    return element(
        "section",
        element("h3", "All accounts" if is_all else "The accounts below, and no others"),
        _table(head, rows, foot, "accounts"),
    )


# -- one account -------------------------------------------------------------------------------------------------------


class _Account:
    """The part of the page about one account."""

    def __init__(self, told: Told, report: Report) -> None:
        period = told.period
        self._period = period
        self._last_ms = told.last_ms
        self._zone = report.zone
        self._is_from_beginning = report.from_ms is None
        self._span_ms = period.span_ms
        self._figures = _Figures([period])
        self._usd = self._figures.usd
        self._result = _result_name([period])
        self._id = f"a{report.told.index(told)}"

    def parts(self) -> Iterator[Child]:
        """Yield the sections."""
        period = self._period
        yield element("h2", foreign(period.account))
        if self._last_ms is not None:
            yield element(
                "p", f"Last entry recorded {self._moment(self._last_ms)}; what came after it is not known here."
            )
        yield from self._notices()
        yield self._summary()
        yield self._equity()
        yield self._causes()
        yield self._days()
        yield self._positions()
        yield self._fees()
        yield self._trades()
        yield self._comparisons()
        yield self._corrections()

    def _name(self, table: str) -> str:
        return f"{self._id}-{table}"

    def _section(self, title: str, *parts: Child) -> Html:
        return element("section", element("h3", title), *parts)

    def _moment(self, at_ms: int) -> str:
        return _moment(at_ms, self._zone)

    def _notices(self) -> Iterator[Html]:
        period = self._period
        if period.first_ms is None:
            yield element("div", "Nothing was recorded in this span.", class_="notice")
        if period.from_seq and self._is_from_beginning:
            text = f"The span begins after entry {period.from_seq:,}: older entries are in the history only."
            yield element("div", text, class_="notice")
        if period.residual:
            text = "The causes do not add up to the change of equity: the residual is a defect of this program."
            yield element("div", text, class_="notice")
        if period.before is None or period.after is None:
            when = "beginning" if period.before is None else "end"
            text = f"Equity is not known at the {when} of the span: something that was held had no price then."
            yield element("div", text, class_="notice")

    def _summary(self) -> Html:
        period, trades = self._period, self._period.trades
        fills = sum(kind.fills for each in period.executed.values() for kind in each.values())
        return _key(
            ("equity before", self._usd(period.before, signed=False)),
            (self._result, self._usd(period.sums.of(RESULTS))),
            ("flows", self._usd(period.sums.of(FLOWS), signed=False)),
            ("equity after", self._usd(period.after, signed=False)),
            ("deepest drawdown", _percent(period.drawdown.pct)),
            ("fills", f"{fills:,}"),
            ("trades", f"{trades.count:,}"),
            ("win rate", _percent(trades.win_rate)),
            ("corrections", f"{period.correction_count:,}"),
        )

    def _equity(self) -> Html | None:
        curve = self._period.curve
        if not curve:
            return None
        amounts = [point.equity for point in curve]
        said = f"equity as observed: least {self._figures.text(min(amounts))}, most {self._figures.text(max(amounts))}"
        observed = [(point.at_ms, point.equity) for point in curve]
        charts = [element("h3", "Equity and drawdown"), element("figcaption", said),
                  line_chart(observed, self._span_ms, said, self._figures.text)]  # fmt: skip
        deep = [(point.at_ms, point.drawdown_pct) for point in curve if point.drawdown_pct is not None]
        if deep:
            when = self._period.drawdown.at_ms
            at = "when the span began" if when is None else self._moment(when)
            standing = self._period.standing.drawdown_pct
            deepest = _percent(self._period.drawdown.pct)
            told = joined("drawdown, flows apart: deepest ", deepest, f", {at}; at the end ", _percent(standing),
                          ". The peak may lie before the span.")  # fmt: skip
            charts += [
                element("figcaption", told),
                depth_chart(deep, self._span_ms, "drawdown in percent", _percent_text),
            ]
        start, end = self._span_ms
        ends = element("p", element("span", self._moment(start)), element("span", self._moment(end)), class_="ends")
        return element("figure", *charts, ends)

    def _causes(self) -> Html:
        period, sums = self._period, self._period.sums
        rows: list[Sequence[Child]] = [(_NAMES[line], self._usd(sums[line])) for line in RESULTS]
        rows.append((self._result, self._usd(sums.of(RESULTS))))
        rows += [(_NAMES[line], self._usd(sums[line], signed=False)) for line in FLOWS]
        rows.append(("residual: what no cause explains", self._usd(period.residual)))
        foot = ("change of equity", self._usd(_change(period)))
        note = (
            "Realized P&L and price changes of positions together are trading and rounding in an explanation."
            " Corrections are what nobody has explained; with transfers, the opening, and what had no price before,"
            " they are no result."
        )
        return self._section(
            "By cause",
            _table(("cause", "USD"), rows, foot, self._name("causes"), sums=(len(RESULTS),)),
            element("p", note),
        )

    def _days(self) -> Html | None:
        period, usd = self._period, self._usd
        if not period.days:
            return None
        lines = [line for line in LINES if line in ("realized", "unrealized", "fees", "funding") or period.sums[line]
                 or any(day.sums[line] for day in period.days)]  # fmt: skip
        results = [line for line in lines if line in RESULTS]
        flows = [line for line in lines if line in FLOWS]
        head = ["day", self._result, *(_SHORT[line] for line in results), *(_SHORT[line] for line in flows), "change",
                "equity at its end"]  # fmt: skip

        def cells(name: str, whole: Period | Day) -> list[Child]:
            sums = whole.sums
            return [name, usd(sums.of(RESULTS)), *(usd(sums[line]) for line in results),
                    *(usd(sums[line], signed=False) for line in flows), usd(_change(whole), signed=False),
                    usd(whole.after, signed=False)]  # fmt: skip

        rows = [cells(day.date, day) for day in period.days]
        foot = cells("total", period)
        bars = [Bar(day.date, day.sums.of(RESULTS), self._figures.text(day.sums.of(RESULTS))) for day in period.days]
        residuals = [day for day in period.days if day.residual]
        told = ", ".join(f"{day.date}: {to_text(day.residual or ZERO)}" for day in residuals)
        note = f" Residuals: {told}." if told else ""
        ends = element("p", element("span", bars[0].name), element("span", bars[-1].name), class_="ends")
        chart = [bar_chart(bars, "P&L by day", self._figures.text), ends] if len(bars) > 1 else []
        return self._section(
            "By day", *chart, _table(head, rows, foot, self._name("days")),
            element("p", f"Days that are not listed had nothing recorded.{note}"),
        )  # fmt: skip

    def _positions(self) -> Html:
        period, usd = self._period, self._usd

        def cells(name: Child, sums: Sums) -> list[Child]:
            return [name, usd(sums.of(RESULTS)), *(usd(sums[line]) for line in _OF_POSITIONS)]

        traded = sorted(period.positions.items(), key=lambda each: (-abs(each[1].change), each[0]))
        rows = [cells(foreign(key), sums) for key, sums in traded]
        rows.append(cells("of no position", period.elsewhere))
        head = ("position", self._result, *(_SHORT[line] for line in _OF_POSITIONS))
        note = (
            "Of no position: fees and funding of the account, other income, and price changes of wallets, which stand"
            " in its P&L alone."
        )
        table = _table(head, rows, cells("total", period.sums), self._name("positions"))
        return self._section("By position", table, element("p", note))

    def _fees(self) -> Html | None:
        fees = self._period.fees
        if not fees:
            return None
        rows = [(foreign(asset), self._usd(usd)) for asset, usd in sorted(fees.items())]
        foot = ("total", self._usd(sum(fees.values(), ZERO)))
        return self._section("Fees by the asset paid", _table(("asset", "USD"), rows, foot, self._name("fees")))

    def _trades(self) -> Html:
        period, trades = self._period, self._period.trades
        head = ("position", "fills", "volume", *LIQUIDITIES)

        def cells(name: Child, kinds: dict[Liquidity, Executed]) -> list[Child]:
            fills, volume = sum(each.fills for each in kinds.values()), sum((e.volume for e in kinds.values()), ZERO)
            volumes = [self._usd(kinds.get(kind, Executed()).volume, signed=False) for kind in LIQUIDITIES]
            return [name, f"{fills:,}", self._usd(volume, signed=False), *volumes]

        whole: dict[Liquidity, Executed] = {}
        for kinds in period.executed.values():
            for kind, each in kinds.items():
                known = whole.get(kind, Executed())
                whole[kind] = Executed(known.fills + each.fills, known.volume + each.volume)
        rows = [cells(foreign(key), kinds) for key, kinds in sorted(period.executed.items())]
        notes = [
            "A trade runs from flat to flat, net of its fees and funding. Volumes are those that fills first told."
        ]
        if period.unvalued_fills:
            notes.append(f"{period.unvalued_fills:,} fills had no price in USD: their volume is left out.")
        if trades.restated:
            notes.append(f"{trades.restated:,} entries changed trades that had ended: neither best nor worst.")
        average = _average(trades.won, trades.winning), _average(trades.lost, trades.losing)
        return self._section(
            "Trades",
            _key(
                ("ended", f"{trades.count:,}"),
                ("won / lost", f"{trades.winning:,} / {trades.losing:,}"),
                ("win rate", _percent(trades.win_rate)),
                ("average win", self._usd(average[0])),
                ("average loss", self._usd(average[1])),
                ("best", self._finished(trades.best)),
                ("worst", self._finished(trades.worst)),
            ),
            _table(head, rows, cells("total", whole), self._name("fills")) if rows else None,
            element("p", " ".join(notes)),
        )

    def _finished(self, trade: Finished | None) -> Html:
        if trade is None:
            return Html(MISSING)
        said = element("p", foreign(trade.key), f", {self._moment(trade.at_ms)}")
        return joined(self._usd(trade.result), said)

    def _comparisons(self) -> Html:
        period = self._period
        if not period.report_count:
            return self._section(
                "Comparison with the exchange", element("p", "No report: nothing differed in this span.")
            )
        rows = [
            (self._moment(report.at_ms), foreign(_what(report)), foreign(_came_of(report))) for report in period.reports
        ]
        causes = ", ".join(f"{count:,} {cause}" for cause, count in sorted(period.found.items()))
        found = _count(period.found_count, "event")
        note = f"{_count(period.report_count, 'report')}; found, and told of by nobody: {found}"
        note += f" ({causes})." if causes else "."
        if period.report_count > len(rows):
            note += f" The last {len(rows):,} reports are listed."
        table = _table(("time", "what differed", "what came of it"), rows, None, self._name("reports"), words=(1, 2))
        return self._section("Comparison with the exchange", table, element("p", note))

    def _corrections(self) -> Html | None:
        period = self._period
        if not period.correction_count:
            return None
        rows: list[Sequence[Child]] = [
            (self._moment(each.at_ms), str(each.seq), foreign(_correction(each)), self._usd(each.usd))
            for each in period.corrections
        ]
        listed = sum((each.usd for each in period.corrections), ZERO)
        if older := period.correction_count - len(rows):
            rows.insert(0, (f"{older:,} older ones", "", "", self._usd(period.corrected - listed)))
        foot = ("total", "", "", self._usd(period.corrected))
        note = "What an entry did to equity, prices that were found out with it included."
        table = _table(("time", "entry", "correction", "USD"), rows, foot, self._name("corrections"), words=(2,))
        return self._section("Corrections", table, element("p", note))


def _average(total: Decimal, count: int) -> Decimal | None:
    return divide(total, Decimal(count)) if count > 0 else None


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _what(report: Reconciliation) -> str:
    drifts = "; ".join(_drift(drift) for drift in report.drifts)
    if drifts or not report.finding_count:
        return drifts or f"{report.trigger}: no difference"
    return f"{report.trigger}: events that nobody had told of; the amounts agree"


def _drift(drift: Drift) -> str:
    held = "nothing known" if drift.held is None else to_text(drift.held)
    causes = ", ".join(drift.causes) or "cause not known"
    return f"{drift.kind} {drift.name}: stated {to_text(drift.stated)}, held {held} ({causes})"


def _came_of(report: Reconciliation) -> str:
    parts = [f"{_count(report.finding_count, 'event')} found"] if report.finding_count else []
    parts += [] if report.adjustment_id is None else [f"corrected as {report.adjustment_id}"]
    parts += [f"{each} taken back" for each in report.taken_back]
    return "; ".join(parts) or MISSING


def _correction(correction: Correction) -> str:
    event = correction.event
    if not isinstance(event, Adjustment):
        return f"{event.adjustment_id} taken back: {event.reason}"
    wallets = [f"wallet {asset} by {to_text(amount)}" for asset, amount in event.wallets]
    positions = [f"position {anchor.key} to {to_text(anchor.quantity)}" for anchor in event.positions]
    by = "" if event.by is None else f", by {event.by}"
    return f"{event.id} ({event.cause}{by}): {', '.join([*wallets, *positions]) or 'nothing'}. {event.reason}".strip()
