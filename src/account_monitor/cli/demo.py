"""`demo`: everything in one process tree, from nothing, until Ctrl-C."""

from __future__ import annotations

import asyncio
import fcntl
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.segment import Segment, Segments
from rich.text import Text

from account_monitor.cli.screen import account_screen, rounded
from account_monitor.cli.service import run_loop
from account_monitor.demo.mishaps import HEALING
from account_monitor.demo.runs import KEPT, keep, new_run
from account_monitor.errors import CommandFailed, ConfigurationError
from account_monitor.monitor.reports import AccountReport, account_report

if TYPE_CHECKING:
    from account_monitor.demo.stage import Stage

DEFAULT_DATA_DIR = Path("data") / "demo"
SCREEN_SECONDS = 0.5
LINE_SECONDS = 5.0
_NEWS_SHOWN = 3
_LOOK_SECONDS = 0.1
_HOST = "127.0.0.1"  # as in the configuration that a run writes


@click.command()
@click.option("--seed", type=int, default=7, show_default=True, help="Of prices, bot and mishaps.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="End by itself after so long.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_DATA_DIR,
              show_default=True,
              help=f"Each run has a folder of its own there, for the exchange begins anew; {KEPT} stay.")  # fmt: skip
@click.option("--http-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=50051, show_default=True, help="0: any free one.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=9093, show_default=True, help="0: any free one.")
def demo(seed: int, minutes: float | None, data_dir: Path, http_port: int, grpc_port: int, metrics_port: int) -> None:
    """Monitor an account at a simulated exchange, where a bot trades and connections fail, beside a NATS server of
    its own. The screen compares the ledger with the exchange's own books, to the last digit.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with _only_one(data_dir):
        ports = {"--http-port": http_port, "--grpc-port": grpc_port, "--metrics-port": metrics_port}
        run_loop(_demo(seed, minutes, data_dir, ports))


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Own the data directory. Raises: CommandFailed while another demo does."""
    with (data_dir / "demo.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandFailed(f"{data_dir}: a demo is running here; stop it, or name another --data-dir") from None
        yield


async def _demo(seed: int, minutes: float | None, data_dir: Path, ports: dict[str, int]) -> None:
    from account_monitor.demo.stage import Stage  # imports the doors

    await _require_free(ports)
    run = new_run(data_dir, datetime.now(UTC))
    http_port, grpc_port, metrics_port = ports.values()
    stage = Stage(run, seed=seed, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port)
    await stage.play(_show, minutes=minutes)
    click.echo(f"stopped; the journal, the fills and the log of this run stay in {run}")


async def _require_free(ports: dict[str, int]) -> None:
    """Raises: ConfigurationError naming the option whose port cannot be had, before anything else is begun."""
    from account_monitor.api.listening import listen

    with ExitStack() as opened:  # all at once: two may be the same
        for option, port in ports.items():
            try:
                listeners = await listen(_HOST, port, option)
            except ConfigurationError as error:
                reason = getattr(error.__cause__, "strerror", None) or error
                raise ConfigurationError(
                    f"{option}: cannot listen on {_HOST}:{port} ({reason}); stop what listens there, or choose a free"
                    f' port: {option} P, or make demo ARGS="{option} P"; 0 takes any'
                ) from error
            for listener in listeners:
                opened.enter_context(listener)


async def _show(stage: Stage) -> None:
    """Show the account: a live table in a terminal, lines elsewhere."""
    app = stage.app
    await app.opened.wait()
    keep(stage.folder)
    click.echo(f"account-monitor demo  {app.doors.http_url}  (API: {app.doors.http_url}/docs)")
    click.echo(f"gRPC {app.doors.grpc_address}   (docs/grpc.md: a client in Python, grpcurl)")
    click.echo(f"exchange {stage.exchange.rest_url}   metrics {app.doors.metrics_url}/metrics   NATS {stage.nats.url}")
    click.echo(f"configuration, journal, fills and log in {stage.folder}")
    if sys.stdout.isatty():
        await _live(stage)
    else:
        await _lines(stage)


async def _live(stage: Stage) -> None:
    with Live(auto_refresh=False) as live:
        while True:
            monitor = stage.app.desk.monitor(stage.account)
            if monitor is not None:
                report = account_report(monitor.view, stage.app.desk.clock())
                live.update(fitted(report, live.console, _now(stage), _news(stage)), refresh=True)
            await asyncio.sleep(SCREEN_SECONDS)


def fitted(report: AccountReport, console: Console, now: Sequence[str], news: Sequence[str]) -> RenderableType:
    """Return the account, how things are now, and the news, no higher than the terminal.

    What does not fit goes in this order: older news, then the lowest positions, which are the flat ones. How all is,
    and how to end it, stay.
    """
    notes = (*now, *news, "Ctrl-C stops")
    lines = console.render_lines(account_screen(report, console.width, notes=notes), pad=False)
    if len(lines) <= console.height:
        return _as_they_are(lines)
    if news:
        return fitted(report, console, now, news[1:])
    kept = len(console.render_lines(Group(*map(Text, notes)), pad=False))
    above = max(0, console.height - kept - 1)
    gone = [Segment(f"… {len(lines) - above - kept} lines more: the terminal is too low")]
    return _as_they_are([*lines[:above], gone, *lines[-kept:]][-console.height :])


def _as_they_are(lines: Sequence[Sequence[Segment]]) -> Segments:
    """Return lines that are laid out already."""
    return Segments([segment for line in lines for segment in (*line, Segment.line())][:-1])


def _news(stage: Stage) -> list[str]:
    """Return what happened last; that something is healing is news until it is healed."""
    news = list(stage.news)
    return [line for line in news if not line.endswith(HEALING) or line is news[-1]][-_NEWS_SHOWN:]


async def _lines(stage: Stage) -> None:
    """Print what goes wrong as it does, and the account now and then."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        while stage.news:
            click.echo(stage.news.popleft())
        if loop.time() >= due:
            due += LINE_SECONDS
            click.echo("  ".join((_line(stage), *_now(stage))))
        await asyncio.sleep(_LOOK_SECONDS)


def _line(stage: Stage) -> str:
    monitor = stage.app.desk.monitor(stage.account)
    if monitor is None:
        return ""
    report = account_report(monitor.view, stage.app.desk.clock())
    pnl = report.pnl
    held = sum(position.state != "FLAT" for position in report.positions.values())
    fills = sum(position.fill_count for position in report.positions.values())
    return (
        f"{report.timestamp}  fills {fills}  open positions {held}  equity {rounded(pnl.equity)}"
        f"  net P&L {rounded(pnl.net_pnl)}"
    )


def _now(stage: Stage) -> tuple[str, ...]:
    """Say whether all is well: what it still waits for, the comparison with the books, and what is wrong."""
    unready = stage.app.desk.unready
    alarms = stage.app.alarms.open(stage.account)
    kinds = ", ".join(sorted({alarm.alert.type for alarm in alarms}))
    return (
        *(() if unready is None else (f"not ready: {unready}",)),
        stage.auditor.text,
        f"alerts firing: {len(alarms)}{f' ({kinds})' if alarms else ''}",
    )
