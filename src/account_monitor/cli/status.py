"""`status`: alerts, balances, positions and P&L of a running service, in the terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from account_monitor.cli.answers import NoAnswer
from account_monitor.cli.options import account_option, config_option, settings_from, tls_options, token_option
from account_monitor.cli.questions import Questions
from account_monitor.cli.screen import ALARM, UNBOUNDED, account_screen, visible
from account_monitor.errors import ConfigurationError

WATCH_SECONDS = 1.0


@click.command()
@config_option
@account_option
@tls_options
@token_option
@click.option("--watch", is_flag=True,
              help="Keep showing, as it changes, until q or Ctrl-C, also while nothing answers; where there is no"
                   " terminal, a screen a second.")  # fmt: skip
@click.option("--url", help="Of the service; default: as configured.")
@click.pass_context
def status(context: click.Context, config_file: Path | None, account: str | None, watch: bool, url: str | None) -> None:
    """Show what a running service knows, and above it what is not well there: old figures look like any others."""
    url = url or address(config_file)
    console = Console() if sys.stdout.isatty() else Console(width=UNBOUNDED)
    if not watch:
        console.print(account_screens(url, account, console.width))
    elif console.is_terminal and not console.is_dumb_terminal:
        from account_monitor.cli.watch import watch as watch_terminal

        context.exit(watch_terminal(Questions(url, account), account))
    else:
        while True:
            console.print(_watched(url, account, console.width))
            time.sleep(WATCH_SECONDS)


def address(config_file: Path | None) -> str:
    """Return where the service answers, as configured. Raises: ConfigurationError, which says how to do without."""
    try:
        http = settings_from(config_file, secrets=()).http
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; with --url no configuration is read: --url http://127.0.0.1:8080") from None
    bound = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104  # recognized, not bound
    host = f"[{bound}]" if ":" in bound else bound
    return f"{'http' if http.tls.cert_file is None else 'https'}://{host}:{http.port}"


def _watched(url: str, account: str | None, width: int) -> RenderableType:
    """Return the screens, or only that there is no answer: figures that nobody vouches for are not left standing."""
    try:
        return account_screens(url, account, width)
    except NoAnswer as error:
        return Text(visible(f"no answer, trying again: {error}"), style=ALARM)


def account_screens(url: str, account: str | None, width: int) -> RenderableType:
    """Fetch one account, or all, and show them in so many columns, below what is not well. Raises: CommandFailed."""
    asked = Questions(url, account)
    names = asked.accounts()
    reports = [asked.account(name) for name in names]
    alerts = {name: asked.firing(name) for name in names}
    warnings = asked.warnings({name for name in names if alerts[name]})
    return Group(*warnings, *(account_screen(each, width, alerts=alerts[each.account]) for each in reports))
