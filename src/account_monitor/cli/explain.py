"""`explain`: why the account is worth more or less than before, cause by cause and entry by entry."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import click
import msgspec

from account_monitor.cli.completeness import end_text, last_recorded_ms, warned_shortfalls
from account_monitor.cli.options import account_option, journal_options, journals_from
from account_monitor.cli.times import span_ms, span_options, zone_named
from account_monitor.clock import now_ms
from account_monitor.monitor.past import Past
from account_monitor.monitor.reports import ExplanationReport, explanation_report, time_text

_MOST_ENTRIES = 1_000_000


@click.command()
@click.argument("symbol", required=False)
@journal_options
@account_option
@span_options
@click.option("--entries", "count", type=click.IntRange(0, _MOST_ENTRIES), default=20, show_default=True,
              help="How many entries to name, the youngest.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as /api/explain returns.")
def explain(
    symbol: str | None,
    config_file: Path | None,
    data_dir: Path | None,
    account: str | None,
    from_text: str | None,
    to_text: str | None,
    timezone: str,
    count: int,
    as_json: bool,
) -> None:
    """Say which causes and entries changed equity; the service may be running. SYMBOL: only of this one."""
    from_ms, to_ms = span_ms(from_text, to_text, zone_named(timezone), now_ms())
    journals = journals_from(config_file, data_dir)
    name = journals.chosen(account)
    warned_shortfalls(config_file, data_dir, [name])
    with journals.reader(name) as reader:
        past = Past(reader, journals.kept_states(reader), journals.usd_assets, day_starts_at=journals.day_starts_at)
        span = past.explain(from_ms, to_ms, symbol=symbol, limit=count)
        last_ms = last_recorded_ms(reader, span.to_seq, to_ms)
    report = explanation_report(span, from_ms=from_ms, to_ms=to_ms, symbol=symbol)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        click.echo("\n".join(_lines(report, symbol, end_text(from_ms, to_ms, last_ms, time_text))))


def _lines(report: ExplanationReport, symbol: str | None, ended: str) -> list[str]:
    """Say it in words and columns; `ended` says where the span does."""
    span = f"from {report.from_ or 'the beginning'} {ended}"
    of_symbol = "" if symbol is None else f" because of {symbol}"
    lines = [f"equity changed by {report.equity_change or 'an amount that is not known'} USD{of_symbol} {span}", ""]
    causes = msgspec.to_builtins(report.causes)
    rows: list[tuple[str, str]] = []
    for cause, amount in causes.items():
        if isinstance(amount, dict):
            rows += [(f"{cause.replace('_', ' ')} in {asset}", usd) for asset, usd in amount.items()]
        elif Decimal(amount) or cause == "adjustments":  # that nothing was corrected is worth a word
            rows.append((cause.replace("_", " "), amount))
    rows.append(("residual", report.residual or "not known"))
    lines += _columns(rows)
    if report.drawdown_pct is not None:
        lines += ["", f"at the end, flows apart: drawdown {report.drawdown_pct} %, return {report.return_pct} %"]
    if report.positions:
        lines += ["", "of which trading, fees and funding by position", *_columns(list(report.positions.items()))]
    if report.entries:
        shown = f"the last {len(report.entries)} of " if len(report.entries) < report.entry_count else ""
        lines += ["", f"{shown}{report.entry_count} entries that changed it"]
        lines += _columns([(f"{e.seq:>9}  {e.timestamp}  {e.event}", e.usd) for e in report.entries])
    return lines


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    """Align amounts at their point."""
    names = max(len(name) for name, _ in rows)
    whole = max(len(amount.partition(".")[0]) for _, amount in rows)
    return [f"  {name:<{names}}  {' ' * (whole - len(amount.partition('.')[0]))}{amount}" for name, amount in rows]
