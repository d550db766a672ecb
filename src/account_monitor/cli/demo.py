"""`demo`: everything in one process tree, from nothing, until Ctrl-C."""

from __future__ import annotations

import asyncio
import fcntl
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.live import Live

from account_monitor.cli.screen import account_screen, shown
from account_monitor.cli.service import run_loop
from account_monitor.clock import now_ms
from account_monitor.config import Settings, load_settings
from account_monitor.demo.feeder import ACCOUNT, Feeder, recorded_fills, recorded_positions
from account_monitor.demo.nats_server import EmbeddedNatsServer
from account_monitor.errors import CommandFailed
from account_monitor.logs import configure_logging
from account_monitor.monitor.reports import account_report

if TYPE_CHECKING:
    from account_monitor.app import App

DEFAULT_DATA_DIR = Path("data") / "demo"
SCREEN_SECONDS = 0.5
LINE_SECONDS = 5.0
_TOLERANCE = Decimal("0.00000001")
"""How far the exchange's own rounding of one fill may be from the exact result."""


@click.command()
@click.option("--seed", type=int, default=7, show_default=True, help="Of the market.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="End by itself after so long.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_DATA_DIR,
              show_default=True, help="Continued when it exists.")  # fmt: skip
@click.option("--http-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=9093, show_default=True, help="0: any free one.")
def demo(seed: int, minutes: float | None, data_dir: Path, http_port: int, metrics_port: int) -> None:
    """Start a NATS server, play recorded fills and then an endless market, and monitor it all."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with _only_one(data_dir):
        run_loop(_demo(seed, minutes, data_dir, http_port, metrics_port))


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Own the data directory. Raises: CommandFailed while another demo does."""
    with (data_dir / "demo.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandFailed(f"{data_dir}: a demo is running here; stop it, or name another --data-dir") from None
        yield


async def _demo(seed: int, minutes: float | None, data_dir: Path, http_port: int, metrics_port: int) -> None:
    from account_monitor.app import App

    server = EmbeddedNatsServer(data_dir / "nats")
    await server.start()
    try:
        settings = _settings(data_dir, server.url, http_port, metrics_port)
        with (data_dir / "service.log").open("a") as log_file:
            configure_logging(settings.logging, log_file)
            app = App(settings)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, app.stop)
            if minutes is not None:
                loop.call_later(minutes * 60, app.stop)
            app.spawn("server", server.keep_running())
            app.spawn("feeder", Feeder(server.url, seed, now_ms).run())
            app.spawn("screen", _show(app, data_dir, server.url))
            await app.run()
    finally:
        await server.stop()
    click.echo(f"stopped; the journal stays in {data_dir}, and the next demo continues it")


def _settings(data_dir: Path, nats_url: str, http_port: int, metrics_port: int) -> Settings:
    """Write the configuration that this demo runs with, and read it like any other."""
    document = {
        "service": {"data_dir": str(data_dir)},
        "http": {"port": str(http_port)},
        "metrics": {"port": str(metrics_port)},
        "accounts": [
            {
                "name": ACCOUNT,
                "exchange": "none",
                "opening": {"balances": {"USDT": "10000"}, "positions": recorded_positions()},
            }
        ],
        "pubsub": {"nats": {"url": nats_url}},
    }
    file = data_dir / "config.yaml"
    file.write_text(json.dumps(document, indent=2) + "\n")  # JSON is YAML
    return load_settings(file, {})


async def _show(app: App, data_dir: Path, nats_url: str) -> None:
    """Show the account: a live table in a terminal, a line now and then elsewhere."""
    await app.opened.wait()
    click.echo(f"account-monitor demo  {app.doors.http_url}  (API: {app.doors.http_url}/docs)")
    click.echo(f"metrics {app.doors.metrics_url}/metrics   NATS {nats_url}   data and log in {data_dir}")
    if not sys.stdout.isatty():
        while True:
            click.echo(_line(app))
            await asyncio.sleep(LINE_SECONDS)
    with Live(auto_refresh=False) as live:
        while True:
            monitor = app.desk.monitor(ACCOUNT)
            if monitor is not None:
                report = account_report(monitor.view, app.desk.clock())
                live.update(
                    account_screen(report, live.console.width, notes=(_recorded(app), "Ctrl-C stops")), refresh=True
                )
            await asyncio.sleep(SCREEN_SECONDS)


def _line(app: App) -> str:
    monitor = app.desk.monitor(ACCOUNT)
    if monitor is None:
        return ""
    report = account_report(monitor.view, app.desk.clock())
    pnl = report.pnl
    held = sum(position.state != "FLAT" for position in report.positions.values())
    fills = sum(position.fill_count for position in report.positions.values())
    return (
        f"{report.timestamp}  fills {fills}  open positions {held}  equity {shown(pnl.equity)}"
        f"  net P&L {shown(pnl.net_pnl)}  {_recorded(app)}"
    )


def _recorded(app: App) -> str:
    """Compare the realized P&L of the recorded symbols with the exchange's own, where all their fills are in."""
    monitor = app.desk.monitor(ACCOUNT)
    positions = {} if monitor is None else monitor.view.positions
    stated: dict[str, list[Decimal]] = {}
    for fill in recorded_fills():
        stated.setdefault(fill.symbol, []).append(fill.realized_pnl)
    complete = [s for s, results in stated.items() if s in positions and positions[s].fill_count == len(results)]
    equal = [
        symbol
        for symbol in complete
        if abs(positions[symbol].realized_pnl - sum(stated[symbol])) <= _TOLERANCE * len(stated[symbol])
    ]
    return (
        f"recorded real fills: {len(complete)} of {len(stated)} symbols complete;"
        f" realized P&L equals the exchange's own in {len(equal)}"
    )
