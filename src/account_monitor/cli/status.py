"""`status`: alerts, balances, positions and P&L of a running service, in the terminal."""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from account_monitor.api.exchange import ExchangeReport
from account_monitor.api.health import HealthReport, ReadyReport
from account_monitor.cli.options import (
    TOKEN_VARIABLE,
    account_option,
    check_way,
    config_option,
    given_token,
    settings_from,
    tls_context,
    tls_options,
    token_option,
)
from account_monitor.cli.screen import UNBOUNDED, account_screen
from account_monitor.errors import CommandFailed, ConfigurationError
from account_monitor.failures import reason
from account_monitor.monitor.reports import AccountReport, AlertReport

TIMEOUT_SECONDS = 5.0
WATCH_SECONDS = 1.0
ALERTS_SHOWN = 20
"""Of each account, those that changed last."""

_MAX_BODY_BYTES = 64 * 1024 * 1024


@click.command()
@config_option
@account_option
@tls_options
@token_option
@click.option("--watch", is_flag=True, help="Keep showing, once a second, until Ctrl-C, also while nothing answers.")
@click.option("--url", help="Of the service; default: as configured.")
def status(config_file: Path | None, account: str | None, watch: bool, url: str | None) -> None:
    """Show what a running service knows, and above it what is not well there: old figures look like any others."""
    url = url or address(config_file)
    console = Console() if sys.stdout.isatty() else Console(width=UNBOUNDED)
    if not watch:
        console.print(account_screens(url, account, console.width))
        return
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            shown = _watched(url, account, console.width)
            if live is None:
                console.print(shown)
            else:
                live.update(shown, refresh=True)
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
    except _NoAnswer as error:
        return Text(f"no answer, trying again: {error}", style="bold red")


def account_screens(url: str, account: str | None, width: int) -> RenderableType:
    """Fetch one account, or all, and show them in so many columns, below what is not well. Raises: CommandFailed."""
    health = document(f"{url}/health", HealthReport)
    ready = document(f"{url}/ready", ReadyReport)
    names = [account] if account is not None else [a.account for a in document(f"{url}/api/accounts", list[_Named])]
    reports = [document(f"{url}/api/account?account={quote(name)}", AccountReport) for name in names]
    alerts = {name: _firing(url, name) for name in names}
    exchange = document(f"{url}/api/exchange{'' if account is None else f'?account={quote(account)}'}", ExchangeReport)
    screens = (account_screen(report, width, alerts=alerts[report.account]) for report in reports)
    warnings = _warnings(health, ready, {name for name in names if alerts[name]})
    return Group(*warnings, *_poor(exchange), *screens)


def _firing(url: str, account: str) -> list[AlertReport]:
    return document(f"{url}/api/alerts?state=FIRING&limit={ALERTS_SHOWN}&account={quote(account)}", _Alerts).alerts


def _warnings(health: HealthReport, ready: ReadyReport, with_alerts: set[str]) -> Iterator[Text]:
    """Yield why the figures may not be relied on, and a line, cut to the width, for each check that is not healthy.

    Alarms of accounts whose alerts are shown are not said twice, unless the journal of the account no longer tells all.
    """
    told = {
        f"alarms:{account}"
        for account in with_alerts
        if f"journal:{account}" in health.checks and health.checks[f"journal:{account}"].status == "healthy"
    }
    if not ready.ready:
        yield Text(f"not ready: {ready.reason}", style="bold red")
    for name, check in health.checks.items():
        if check.status != "healthy" and name not in told:
            style = "red" if check.status == "unhealthy" else "yellow"
            line = f"{check.status}  {name}  {check.message}  (since {check.since})"
            yield Text(line, style=style, no_wrap=True, overflow="ellipsis")


def _poor(exchange: ExchangeReport) -> Iterator[Text]:
    """Yield a line, cut to the width, for each account and address of which something is poor of late."""
    poor = [(each.account, each.poor) for each in exchange.accounts]
    poor += [(each.address, each.poor) for each in exchange.addresses]
    for name, reasons in poor:
        if reasons:
            line = f"poor  exchange:{name}  {'; '.join(reasons)}"
            yield Text(line, style="yellow", no_wrap=True, overflow="ellipsis")


class _NoAnswer(CommandFailed):
    """Nothing answers there now, or not yet."""


class _Named(msgspec.Struct):
    """What is read here of the list of accounts."""

    account: str


class _Alerts(msgspec.Struct):
    """A page of alerts."""

    alerts: list[AlertReport]


_Document = TypeVar("_Document")


def document(url: str, kind: type[_Document], *, order: object = None) -> _Document:
    """Fetch what an address of a running service answers, to an order where there is one. Raises: CommandFailed."""
    try:
        return msgspec.json.decode(_answer(url, order), type=kind)
    except msgspec.MsgspecError as error:
        raise CommandFailed(f"{url}: answered as no account-monitor of this version does ({error})") from error


def _answer(url: str, order: object = None) -> bytes:
    """Fetch a document. Raises: CommandFailed naming the address and what it answered."""
    if not url.startswith(("http://", "https://")):
        raise CommandFailed(f"{url}: expected an address that starts with http:// or https://")
    try:
        body = None if order is None else msgspec.json.encode(order)
        asked = urllib.request.Request(url, body, {} if body is None else {"Content-Type": "application/json"})  # noqa: S310  # checked above
        if (token := given_token()) is not None:
            check_way(url)
            asked.add_unredirected_header("Authorization", f"Bearer {token}")  # for the service, and no one it names
        tls = tls_context() if url.startswith("https://") else None
        with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS, context=tls) as response:  # noqa: S310  # checked above
            answered: bytes = response.read(_MAX_BODY_BYTES)
            return answered
    except urllib.error.HTTPError as error:
        body = error.read(_MAX_BODY_BYTES)
        if url.endswith(("/health", "/ready")) and error.code == HTTPStatus.SERVICE_UNAVAILABLE:
            return body  # it says what is not well
        problem = f"{url}: {error.code} {_detail(body) or error.reason}{_advice(error.code)}"
        is_passing = error.code == HTTPStatus.SERVICE_UNAVAILABLE
        raise (_NoAnswer if is_passing else CommandFailed)(problem) from error
    except (urllib.error.URLError, OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        said = reason(cause) if isinstance(cause, BaseException) else cause
        if isinstance(cause, ssl.SSLError):
            raise CommandFailed(f"{url}: {said}; --ca names whom to trust, --client-cert what to show") from error
        hint = "does it speak TLS? then https://" if _is_cut(cause, url) else "is the service running?"
        raise _NoAnswer(f"{url}: no answer ({said}); {hint}") from error


def _is_cut(cause: object, url: str) -> bool:
    """Whether something took a request of plain http and answered nothing that is http, as a door with TLS does."""
    return url.startswith("http://") and isinstance(cause, HTTPException | ConnectionResetError)


def _advice(status: int) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return f"; this command takes it from {TOKEN_VARIABLE} or --token-file"
    if status == HTTPStatus.FORBIDDEN:
        return f"; another token can be given in {TOKEN_VARIABLE} or --token-file"
    return ""


def _detail(body: bytes) -> str | None:
    try:
        detail = json.loads(body).get("detail")
    except (ValueError, AttributeError):
        return None
    return detail if isinstance(detail, str) else None
