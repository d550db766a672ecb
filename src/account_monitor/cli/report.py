"""`report`: what a span of time has brought, as one HTML page that needs nothing else."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import click

from account_monitor.cli.completeness import last_recorded_ms, warned_shortfalls
from account_monitor.cli.export_files import whole_file
from account_monitor.cli.options import Journals, journal_options, journals_of, located, settings_from
from account_monitor.cli.report_page import Report, Told, report_page
from account_monitor.cli.times import span_ms, span_options, zone_named
from account_monitor.clock import now_ms
from account_monitor.errors import CommandFailed
from account_monitor.monitor.past import Past, TooOld
from account_monitor.monitor.period import period
from account_monitor.monitor.reports import time_text
from account_monitor.stores.journal_reader import JournalReader

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Asked(NamedTuple):
    """The span: what was recorded after `from_ms` and up to `to_ms`. None: the beginning, and now, at `at_ms`."""

    from_ms: int | None
    to_ms: int | None
    at_ms: int
    zone: ZoneInfo


@click.command()
@journal_options
@click.option("--account", "accounts", multiple=True, help="May be repeated. Default: all, and their total.")
@span_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: -, the standard output.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
def report(
    config_file: Path | None,
    data_dir: Path | None,
    accounts: tuple[str, ...],
    from_text: str | None,
    to_text: str | None,
    timezone: str,
    output: Path | None,
    force: bool,
) -> None:
    """Write P&L by cause, day and position, drawdown, trades and corrections of a span to one HTML file.

    All of it is folded from the journal, as `explain` is; the service may be running.
    """
    asked = _asked(from_text, to_text, zone_named(timezone), now_ms())
    settings = located(settings_from(config_file, secrets=()), data_dir)
    journals = journals_of(settings)
    names = _chosen(journals, accounts)
    absent = [] if accounts else [each.name for each in settings.accounts if each.name not in names]
    lacking = warned_shortfalls(config_file, data_dir, [*names, *absent])
    if output is None or str(output) == "-":
        if sys.stdout is None:
            raise CommandFailed("the standard output is closed; --output names a file")
        page = _made(journals, names, absent, lacking, asked).page
        click.echo(page.encode(), nl=False)  # it says itself that it is UTF-8, whatever the terminal takes
        return
    with whole_file(output, force=force) as scratch:
        made = _made(journals, names, absent, lacking, asked)
        scratch.write_text(made.page, encoding="utf-8")
    click.echo(f"{output}: {', '.join(made.accounts)}, {made.span}")


# -- what is asked for -------------------------------------------------------------------------------------------------


def _asked(from_text: str | None, to_text: str | None, zone: ZoneInfo, at_ms: int) -> _Asked:
    from_ms, to_ms = span_ms(from_text, to_text, zone, at_ms)
    return _Asked(from_ms, to_ms if to_ms is None or to_ms < at_ms else None, at_ms, zone)


def _chosen(journals: Journals, accounts: tuple[str, ...]) -> list[str]:
    """Return the accounts that are meant, in the order of their names. Raises: ConfigurationError, CommandFailed."""
    names = sorted({journals.chosen(name) for name in accounts}) if accounts else journals.accounts()
    if not names:
        raise CommandFailed(f"{journals.data_dir}: holds no journal of an account")
    return names


# -- what comes of it --------------------------------------------------------------------------------------------------


class _Made(NamedTuple):
    """The page, and for one line: the accounts it tells of, and the span."""

    page: str
    accounts: list[str]
    span: str


def _made(journals: Journals, names: list[str], absent: list[str], lacking: list[str], asked: _Asked) -> _Made:
    """Sum up accounts. `absent` have no journal here; `lacking` is what the journals here do not hold."""
    summed = [_period(journals, name, asked) for name in names]
    told = [each for each in summed if isinstance(each, Told)]
    if not told:
        raise CommandFailed("; ".join(str(each) for each in summed))
    left_out = [str(each) for each in summed if isinstance(each, _NotYet)]
    left_out += [f"account {name}: is configured, and has no journal in {journals.data_dir}" for name in absent]
    for each in left_out:
        click.echo(f"account-monitor: left out: {each}", err=True)
    report = Report(told, left_out, lacking, asked.from_ms, asked.to_ms, asked.at_ms, asked.zone)
    return _Made(report_page(report), [each.period.account for each in told], report.span_text(time_text))


class _NotYet(NamedTuple):
    """An account of which the span holds nothing, because it began later."""

    account: str
    begun_ms: int | None
    to_ms: int

    def __str__(self) -> str:
        """Say so."""
        if self.begun_ms is None:
            return f"account {self.account}: nothing was recorded yet"
        begun = time_text(self.begun_ms)
        return f"account {self.account}: began at {begun}, after the span, which ends at {time_text(self.to_ms)}"


def _period(journals: Journals, name: str, asked: _Asked) -> Told | _NotYet:
    """Sum up one account. Raises: CommandFailed where its journal does not reach back so far; JournalError."""
    end_ms = asked.at_ms if asked.to_ms is None else asked.to_ms
    with journals.reader(name) as reader:
        begun_ms = _begun(reader)
        if begun_ms is None or (not reader.base_seq and begun_ms > end_ms):
            return _NotYet(name, begun_ms, end_ms)
        past = Past(reader, journals.kept_states(reader), journals.usd_assets, day_starts_at=journals.day_starts_at)
        start_ms = begun_ms if asked.from_ms is None else max(asked.from_ms, begun_ms)
        try:
            with past.walk(asked.from_ms, asked.to_ms) as walk:
                last_ms = last_recorded_ms(reader, walk.to_seq, asked.to_ms)
                if last_ms is not None:  # what came after it is not known here: no curve goes on as if it were
                    end_ms = max(start_ms, min(end_ms, last_ms))
                return Told(period(walk, name, _Days(asked.zone).date, (start_ms, end_ms)), last_ms)
        except TooOld as error:
            raise CommandFailed(f"account {name}: {_too_old(error)}") from error


def _too_old(error: TooOld) -> str:
    if error.first_ms is None:
        return "older entries are in the history only, and nothing is kept here that the ledger could go on from"
    return f"--from: it can be told from {time_text(error.first_ms)} on; older entries are in the history only"


def _begun(reader: JournalReader) -> int | None:
    """Return when the first entry that is here was recorded, None without any."""
    first = next(reader.entries(after=reader.base_seq), None)
    return None if first is None else first.recorded_at_ms


class _Days:
    """The calendar of a time zone. A day is after its 00:00 and up to the next, as the span of an explanation is."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._date = ""
        self._from_ms, self._to_ms = 0, -1

    def date(self, at_ms: int) -> str:
        """Return the date of a time; asked for again and again of the same day."""
        if not self._from_ms < at_ms <= self._to_ms:
            day = (_EPOCH + timedelta(milliseconds=at_ms - 1)).astimezone(self._zone).date()
            bounds = [
                datetime.combine(each, datetime.min.time(), self._zone) for each in (day, day + timedelta(days=1))
            ]
            self._from_ms, self._to_ms = (int((bound - _EPOCH).total_seconds() * 1_000) for bound in bounds)
            self._date = day.isoformat()
        return self._date
