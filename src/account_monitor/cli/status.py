"""`status`: alerts, balances, positions and P&L of a running service, in the terminal."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from account_monitor.cli.answers import NoAnswer
from account_monitor.cli.options import account_option, config_option, settings_from, tls_options, token_option
from account_monitor.cli.questions import Questions
from account_monitor.cli.screen import ALARM, UNBOUNDED, account_screen, elsewhere_line, visible
from account_monitor.errors import CommandFailed, ConfigurationError
from account_monitor.monitor.reports import AccountReport

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
    """Show what a running service knows, and above it what is not well there: old figures look like any others.

    Exit code 1 where another replica holds every account.
    """
    if sys.stdout is None:
        raise CommandFailed("the standard output is closed: there is nowhere to show anything")
    url = url or address(config_file)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of Latin-1, say, which has no dash
    console = Console() if sys.stdout.isatty() else Console(width=UNBOUNDED)
    if not watch:
        screens = account_screens(url, account, console.width)
        console.print(screens.shown)
        context.exit(0 if screens.is_any_here else 1)
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
        return account_screens(url, account, width).shown
    except NoAnswer as error:
        return Text(visible(f"no answer, trying again: {error}"), style=ALARM)


class Screens(NamedTuple):
    """What is shown, and whether an account of it is held there, if there is one at all."""

    shown: RenderableType
    is_any_here: bool


def account_screens(url: str, account: str | None, width: int) -> Screens:
    """Fetch one account, or all, and show them in so many columns, below what is not well.

    Of those that another replica holds it is said which. Raises: CommandFailed.
    """
    asked = Questions(url, account)
    names, elsewhere = asked.accounts()
    reports, unanswered = _reports(asked, names)
    alerts = {each.account: asked.firing(each.account) for each in reports}
    warnings = asked.warnings({name for name, firing in alerts.items() if firing})
    screens = (account_screen(each, width, alerts=alerts[each.account]) for each in reports)
    shown = Group(*warnings, *unanswered, *map(elsewhere_line, elsewhere), *screens)
    return Screens(shown, bool(names) or not elsewhere)


def _reports(asked: Questions, names: list[str]) -> tuple[list[AccountReport], list[Text]]:
    """Return those accounts that can be shown, and a line for each that cannot now. Raises: NoAnswer where none can."""
    reports: list[AccountReport] = []
    unanswered: list[NoAnswer] = []
    for name in names:
        try:
            reports.append(asked.account(name))
        except NoAnswer as error:  # it is not open yet, or was handed over since
            unanswered.append(error)
    if unanswered and not reports:
        raise unanswered[0]
    return reports, [Text(visible(str(error)), style=ALARM) for error in unanswered]
