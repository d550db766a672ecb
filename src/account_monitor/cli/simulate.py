"""`simulate`: only the simulated exchange, in a process that takes the place of this one."""

from __future__ import annotations

import os
import sys

import click


@click.command()
@click.option("--host", help="Where it listens; default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="REST and WebSocket; default: 0, any free one.")
@click.option("--seed", type=int, help="Prices, bot and faults repeat with it; default: 0.")
@click.option("--faults", metavar="NAMES",
              help="What goes wrong, such as drop=0.01,close_1006,rest; an unknown name lists all.")  # fmt: skip
@click.option("--bot/--no-bot", default=None, help="Whether a bot trades on the account; default: it does.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="End by itself after so long.")
@click.option("--funding-minutes", type=click.FloatRange(0.05, 480), help="Between two fundings; default: 480.")
@click.option("--volatility", type=click.FloatRange(0, 100), help="How far prices move, times the usual; default: 1.")
@click.option("--legacy-streams", type=click.Choice(["full", "public-only"]),
              help="What comes on addresses without /private and /market; default: public-only.")  # fmt: skip
def simulate(bot: bool | None, **options: str | float | None) -> None:
    """Run a simulated Binance USD-M exchange until Ctrl-C: REST and WebSocket on one port, with the trading account
    demo-key / demo-secret. Point rest_url and websocket_url of an account at the addresses that it prints.
    """
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
    if bot is not None:
        arguments.append("--bot" if bot else "--no-bot")
    command = [sys.executable, "-m", "exchange_simulator", *arguments]
    os.execv(sys.executable, command)  # noqa: S606  # no shell, and signals and exit code are the simulator's own
