"""`export`: fills, P&L and alerts for a spreadsheet or a notebook."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import click

from account_monitor.cli.completeness import warned_shortfalls
from account_monitor.cli.export_files import CsvSheet, Sheet, parquet_sheet, require_parquet, whole_file
from account_monitor.cli.export_tables import (
    ALERTS,
    FILLS,
    INTERVALS,
    PNL,
    PNL_BUCKETS,
    Column,
    Rows,
    alert_rows,
    bucket_rows,
    fill_rows,
    snapshot_rows,
)
from account_monitor.cli.history import connected_history, require_tables
from account_monitor.cli.options import (
    account_option,
    chosen_account,
    journal_options,
    journals_of,
    located,
    settings_from,
)
from account_monitor.cli.times import TIME
from account_monitor.clock import now_ms
from account_monitor.config import Purpose, Settings
from account_monitor.stores.history.store import HistoryStore, Span

_SYMBOLS_SHOWN = 20
_END_OF_TIME_MS = 253_402_300_800_000  # the year 10000

What: TypeAlias = Literal["fills", "pnl", "alerts"]
Format: TypeAlias = Literal["csv", "parquet"]
Note: TypeAlias = Callable[[int, int], None]
"""Hears how many rows are written, and the time of the last one."""


class _Order(NamedTuple):
    """What is asked for; `span` names the account as soon as that is known."""

    what: What
    account: str | None
    span: Span
    interval: str | None


class _Output(NamedTuple):
    """Where it goes; without a target to the standard output, as CSV."""

    target: Path | None
    format: Format
    force: bool


class _Table(NamedTuple):
    account: str
    columns: Sequence[Column]
    rows: Rows
    symbols: Callable[[], Awaitable[list[str]]]
    """Returns for which symbols there is anything, at any time."""


@click.command()
@click.argument("what", type=click.Choice(["fills", "pnl", "alerts"]))
@journal_options
@account_option
@click.option("--from", "from_ms", type=TIME, metavar="TIME", help="Default: the beginning.")
@click.option("--to", "to_ms", type=TIME, metavar="TIME", help="What came before this time. Default: all.")
@click.option("--symbol", help="Only this one; of P&L a position key. P&L without it is of the whole account.")
@click.option("--interval", type=click.Choice(list(INTERVALS)),
              help="P&L summed up: what was first, last, least and most. Default: every snapshot.")  # fmt: skip
@click.option("--format", "named_format", type=click.Choice(["csv", "parquet"]),
              help="Default: parquet for a file that is called so, else csv.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: -, the standard output.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
def export(
    what: What,
    config_file: Path | None,
    data_dir: Path | None,
    account: str | None,
    from_ms: int | None,
    to_ms: int | None,
    symbol: str | None,
    interval: str | None,
    named_format: Format | None,
    output: Path | None,
    force: bool,
) -> None:
    """Write fills, P&L or alerts to a file, in the order of time; the service may be running.

    Fills are read from the journal; P&L, alerts and fills that it does not hold any more from the history.
    """
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise click.UsageError("--from is later than --to")
    if interval is not None and what != "pnl":
        raise click.UsageError(f"--interval is for pnl; {what} are not summed up")
    span = Span("", symbol, from_ms or 0, _END_OF_TIME_MS if to_ms is None else to_ms)
    where = _output(output, named_format, force=force)

    def load(*secrets: Purpose) -> Settings:
        return located(settings_from(config_file, secrets=secrets), data_dir)

    if what == "fills":  # the history, of which the others are read, has what every replica recorded
        account = journals_of(load()).chosen(account)
        warned_shortfalls(config_file, data_dir, [account])
    count = asyncio.run(_export(load, _Order(what, account, span, interval), where))
    if where.target is not None:
        click.echo(f"{where.target}: {count:,} rows")


def _output(output: Path | None, named: Format | None, *, force: bool) -> _Output:
    target = None if output is None or str(output) == "-" else output
    is_called_so = target is not None and target.suffix == ".parquet"
    output_format: Format = named or ("parquet" if is_called_so else "csv")
    if output_format == "parquet":
        if target is None:
            raise click.UsageError("Parquet goes into a file: name it with --output")
        require_parquet()
    return _Output(target, output_format, force)


async def _export(load: Callable[..., Settings], order: _Order, output: _Output) -> int:
    """Write a table; return how many rows it has. `load` returns the settings, with the secrets of what it is given."""
    count = 0
    async with _table(load, order) as table:
        with _sheet(table.columns, output) as sheet, _progress(order.span, output) as note:
            async for rows in table.rows:
                sheet.write(rows)
                count += len(rows)
                note(count, rows[-1][0])
        if not count:
            click.echo(f"account-monitor: {await _said_of_nothing(order, table)}", err=True)
    return count


async def _said_of_nothing(order: _Order, table: _Table) -> str:
    """Say that there is nothing, and of what there would be something."""
    span = order.span
    nothing = f"no {order.what}" + ("" if span.symbol is None else f" of {_shown(span.symbol)}")
    nothing += f" in account {table.account}"
    symbols = await table.symbols()
    if span.symbol is not None and span.symbol not in symbols:
        named = [_shown(each) for each in symbols[:_SYMBOLS_SHOWN]]
        if len(symbols) > _SYMBOLS_SHOWN:
            named.append(f"{len(symbols) - _SYMBOLS_SHOWN:,} more")
        return f"{nothing}; there are of: {', '.join(named) or 'nothing'}"
    is_whole = (span.from_ms, span.to_ms) == (0, _END_OF_TIME_MS)
    return nothing if is_whole else f"{nothing} between these times"


def _shown(symbol: str) -> str:
    return symbol if symbol.isprintable() else ascii(symbol)


@asynccontextmanager
async def _table(load: Callable[..., Settings], order: _Order) -> AsyncIterator[_Table]:
    if order.what == "fills":
        journals = journals_of(load())
        name = journals.chosen(order.account)
        span = order.span._replace(account=name)
        async with AsyncExitStack() as stack:
            reader = stack.enter_context(journals.reader(name))
            store = None
            if reader.base_seq:  # the history alone has the older ones
                store = await stack.enter_async_context(connected_history(load(Purpose.DATABASE)))
            yield _Table(name, FILLS, fill_rows(reader, store, span), partial(asyncio.to_thread, reader.symbols))
        return
    async with connected_history(load(Purpose.DATABASE)) as store:
        await require_tables(store)
        names = await store.accounts()
        name = chosen_account(order.account, names, f"the history has: {', '.join(names) or 'none'}")
        yield _kept(store, order._replace(span=order.span._replace(account=name)))


def _kept(store: HistoryStore, order: _Order) -> _Table:
    account = order.span.account
    if order.what == "alerts":
        return _Table(account, ALERTS, alert_rows(store, order.span), partial(store.symbols, account, "alerts"))
    symbols = partial(store.symbols, account, "pnl")
    if order.interval is None:
        return _Table(account, PNL, snapshot_rows(store, order.span), symbols)
    return _Table(account, PNL_BUCKETS, bucket_rows(store, order.span, INTERVALS[order.interval]), symbols)


@contextmanager
def _sheet(columns: Sequence[Column], output: _Output) -> Iterator[Sheet]:
    if output.target is None:
        text = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
        try:
            yield CsvSheet(text, columns)
        finally:
            text.detach()  # flushes, and leaves the standard output open
        return
    with whole_file(output.target, force=output.force) as scratch:
        if output.format == "parquet":
            with parquet_sheet(scratch, columns) as sheet:
                yield sheet
        else:
            with scratch.open("w", encoding="utf-8", newline="") as file:
                yield CsvSheet(file, columns)


@contextmanager
def _progress(span: Span, output: _Output) -> Iterator[Note]:
    """Show on a terminal how far the rows have come between the first one and the end of the span."""
    if output.target is None or not sys.stderr.isatty():
        yield lambda count, at_ms: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        first_ms: int | None = None

        def note(count: int, at_ms: int) -> None:
            nonlocal first_ms
            if first_ms is None:
                first_ms = at_ms
            whole_ms = max(1, min(span.to_ms, now_ms()) - first_ms)
            bar.update(task, description=f"{count:,} rows", total=whole_ms, completed=at_ms - first_ms)

        yield note
