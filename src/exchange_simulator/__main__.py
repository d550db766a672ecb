"""The command line of the simulated exchange: `python -m exchange_simulator`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import sys
from typing import Any, NamedTuple

import click

from exchange_simulator.admin import Admin
from exchange_simulator.bots import TradingBot
from exchange_simulator.catalogue import GROUPS, KINDS
from exchange_simulator.clock import Clock
from exchange_simulator.exchange import Exchange
from exchange_simulator.faults import Faults, UnknownFault
from exchange_simulator.server import Server
from exchange_simulator.streams import Legacy
from exchange_simulator.venue import Venue

API_KEY = "demo-key"
SECRET = "demo-secret"  # noqa: S105  # printed at start: there is nothing behind it

_BOT_MS = 250  # between two actions of the bot
_WALLETS = {"USDT": "100000", "USDC": "20000", "BNB": "10"}


class Options(NamedTuple):
    host: str
    port: int
    seed: int
    faults: str
    bot: bool
    minutes: float | None
    funding_minutes: float
    volatility: float
    legacy_streams: Legacy


def _faults(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    try:
        Faults().parse(text)
    except UnknownFault as error:
        raise click.BadParameter(str(error)) from None
    return text


_HELP = f"""Serve a simulated Binance USD-M exchange until SIGINT or SIGTERM.

FAULTS are separated by commas: `name`, `name=rate`, `name=rate:setting=value`. Groups: {", ".join(GROUPS)}.
Faults: {", ".join(KINDS)}.
"""


@click.command(help=_HELP)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option("--seed", type=int, default=0, show_default=True, help="Prices, bots and faults repeat with it.")
@click.option("--faults", default="", callback=_faults, help="What goes wrong, as above.")
@click.option("--bot/--no-bot", default=True, show_default=True, help="A bot trades on the demo account.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="End after so long.")
@click.option(
    "--funding-minutes", type=click.FloatRange(0.05, 480), default=480, show_default=True, help="Between fundings."
)
@click.option(
    "--volatility", type=click.FloatRange(0, 100), default=1, show_default=True, help="Of prices, times the usual."
)
@click.option(
    "--legacy-streams", type=click.Choice(["full", "public-only"]), default="public-only", show_default=True,
    help="What comes on the unrouted /ws and /stream.",
)  # fmt: skip
def command(**options: Any) -> int:
    return asyncio.run(_serve(Options(**options)))


async def _serve(options: Options) -> int:
    clock = Clock()
    venue = Venue(
        clock=clock,
        seed=options.seed,
        funding_interval_ms=round(options.funding_minutes * 60_000),
        moving=True,
        volatility=options.volatility,
    )
    account = venue.open_account(API_KEY, SECRET, wallets=_WALLETS)
    faults = Faults(options.seed)
    faults.parse(options.faults)
    exchange = Exchange(venue, seed=options.seed, faults=faults, legacy_streams=options.legacy_streams)
    tick = TradingBot(venue, account, seed=options.seed).step if options.bot else None
    server = Server(exchange, Admin(exchange, clock.shift), every=(_BOT_MS, tick) if tick else None)
    try:
        port = await server.start(options.host, options.port)
    except OSError as error:
        click.echo(f"error: {_why(error, options.host, options.port)}", err=True)
        return 2  # what was asked for by --host and --port cannot be had, as in `account-monitor run`
    shown = _reachable(options.host)
    click.echo(
        f"exchange simulator on http://{shown}:{port} (WebSocket ws://{shown}:{port}), "
        f"API key {account.api_key}, secret {SECRET}"
    )
    try:
        await _until_told(server, options.minutes)
    finally:
        await server.stop()
    return 0


async def _until_told(server: Server, minutes: float | None) -> None:
    """Wait for a signal or the end of the time. Raises what the driver raised, if it did."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    driver = asyncio.create_task(server.run_driver())
    waiting = asyncio.create_task(told.wait())
    seconds = None if minutes is None else minutes * 60
    await asyncio.wait({driver, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if driver.done():
        driver.result()
    driver.cancel()


def _reachable(host: str) -> str:
    """Return a host to connect to, as it stands in a URL: of "all addresses", the one of this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  # not bound
    return f"[{host}]" if ":" in host else host


def _why(error: OSError, host: str, port: int) -> str:
    where = f"cannot listen on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: it is taken; choose another one with --port, 0 takes a free one"
    return f"{where}: {error.strerror or error}"


def main() -> int:
    """Run the command line. Exit codes: 0 ok, 1 failed, 2 wrong options."""
    try:
        code = command.main(prog_name="python -m exchange_simulator", standalone_mode=False)
    except click.UsageError as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        return 130
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
