"""`status`: balances, positions and P&L of a running service, in the terminal."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live

from account_monitor.cli.options import account_option, config_option, settings_from
from account_monitor.cli.screen import UNBOUNDED, account_screen
from account_monitor.errors import CommandFailed
from account_monitor.monitor.reports import AccountReport

TIMEOUT_SECONDS = 5.0
WATCH_SECONDS = 1.0
_MAX_BODY_BYTES = 64 * 1024 * 1024


@click.command()
@config_option
@account_option
@click.option("--watch", is_flag=True, help="Keep showing, once a second, until Ctrl-C.")
@click.option("--url", help="Of the service; default: as configured.")
def status(config_file: Path | None, account: str | None, watch: bool, url: str | None) -> None:
    """Show what a running service knows."""
    if url is None:
        http = settings_from(config_file, with_secrets=False).http
        host = f"[{http.host}]" if ":" in http.host else http.host
        url = f"http://{host}:{http.port}"
    console = Console() if sys.stdout.isatty() else Console(width=UNBOUNDED)
    if not watch:
        console.print(account_screens(url, account, console.width))
        return
    with Live(account_screens(url, account, console.width), console=console, screen=False, auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_SECONDS)
            live.update(account_screens(url, account, console.width), refresh=True)


def account_screens(url: str, account: str | None, width: int) -> RenderableType:
    """Fetch one account, or all, and show them in so many columns. Raises: CommandFailed."""
    names = [account] if account is not None else [a["account"] for a in json.loads(_get(f"{url}/api/accounts"))]
    reports = [
        msgspec.json.decode(_get(f"{url}/api/account?account={quote(name)}"), type=AccountReport) for name in names
    ]
    return Group(*(account_screen(report, width) for report in reports))


def _get(url: str) -> bytes:
    """Fetch a document. Raises: CommandFailed naming the address and what it answered."""
    if not url.startswith(("http://", "https://")):
        raise CommandFailed(f"{url}: expected an address that starts with http:// or https://")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310  # checked above
            body: bytes = response.read(_MAX_BODY_BYTES)
            return body
    except urllib.error.HTTPError as error:
        raise CommandFailed(f"{url}: {error.code} {_detail(error.read(4096)) or error.reason}") from error
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise CommandFailed(f"{url}: no answer ({reason}); is the service running?") from error


def _detail(body: bytes) -> str | None:
    try:
        detail = json.loads(body).get("detail")
    except (ValueError, AttributeError):
        return None
    return detail if isinstance(detail, str) else None
