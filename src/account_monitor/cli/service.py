"""`run` and `check-config`."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from account_monitor.cli.options import DEFAULT_CONFIG, config_option, settings_from
from account_monitor.clock import now_ms
from account_monitor.config import Settings, check_settings, exposed_doors, exposed_files, load_settings
from account_monitor.errors import ConfigurationError, TokensRefused
from account_monitor.logs import configure_logging

if TYPE_CHECKING:
    from account_monitor.app import App

RELOAD_POLL_SECONDS = 1.0
MAX_FILES = 65_536
SWITCH_SECONDS = 0.0005
"""How long one thread may make another wait for the interpreter: by default ten times this, and a commit is a hand-over
to the journal's thread and back."""


@click.command()
@config_option
def run(config_file: Path | None) -> None:
    """Run the service until SIGTERM or Ctrl-C; SIGHUP or a changed file reloads the accounts."""
    config_file = config_file or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    settings = settings_from(config_file)
    _require_accounts(settings, config_file)
    configure_logging(settings.logging)
    _allow_many_files()
    run_loop(serve(settings, config_file))


def _allow_many_files() -> None:
    """Use as many files as the system permits: idle clients must not keep a journal from being opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve(settings: Settings, config_file: Path | None) -> None:
    """Run the service under signals and a watched file."""
    from account_monitor.app import App  # imports the doors

    app = App(settings, reload=lambda: load_settings(config_file, os.environ))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.stop)
    reloading = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reloading.set)
    app.spawn("config", _reload_on_change(app, config_file, reloading))
    await app.run()


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop."""
    import uvloop

    sys.setswitchinterval(SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def _reload_on_change(app: App, file: Path | None, asked: asyncio.Event) -> None:
    """Reload when asked, or once a changed file has stopped changing; again and again where a database is away."""
    from account_monitor.app import RELOAD_AGAIN_SECONDS

    await app.opened.wait()
    known = latest = _stamp(file)
    again_at: float | None = None
    while True:
        try:
            async with asyncio.timeout(RELOAD_POLL_SECONDS):
                await asked.wait()
        except TimeoutError:
            before, latest = latest, _stamp(file)
            has_changed = latest is not None and latest != known and latest == before
            if not has_changed and (again_at is None or time.monotonic() < again_at):
                continue
        asked.clear()
        known = latest = _stamp(file)
        again_at = time.monotonic() + RELOAD_AGAIN_SECONDS if await app.reload() else None


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """Identify the content of a file without reading it; None while it is away, as during an atomic replacement."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ino)


@click.command("check-config")
@config_option
def check_config(config_file: Path | None) -> None:
    """Say everything that is wrong with the configuration, a line each."""
    if config_file is None and DEFAULT_CONFIG.exists():
        config_file = DEFAULT_CONFIG
    problems = check_settings(config_file, os.environ)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise click.exceptions.Exit(2)
    settings = settings_from(config_file)
    _require_accounts(settings, config_file)
    _require_channels(settings, config_file)
    _require_certificates(settings)
    for exposed in (*exposed_files(settings), *exposed_doors(settings)):
        click.echo(f"warning: {exposed}", err=True)
    _require_tokens(settings, config_file)
    accounts = ", ".join(account.name for account in settings.accounts)
    click.echo(f"{config_file or 'environment'}: ok; accounts: {accounts}")


def _require_channels(settings: Settings, config_file: Path | None) -> None:
    """Say a line for everything that is wrong with how people are told."""
    if settings.alerts.channels is None and settings.alerts.heartbeat_url is None:
        return
    from account_monitor.notifiers.people import reach_problems  # takes a second

    problems = reach_problems(settings.alerts)
    for problem in problems:
        click.echo(f"{config_file or 'environment'}: {problem}", err=True)
    if problems:
        raise click.exceptions.Exit(2)


def _require_certificates(settings: Settings) -> None:
    """Load what the doors would show, and warn of what clients refuse now or soon. Raises: ConfigurationError."""
    from account_monitor.api.tls import certificates_of

    shown = {"http.tls": settings.http.tls, "http.tls" if settings.grpc.tls is None else "grpc.tls": settings.grpc_tls}
    for section, tls in shown.items():
        certificates = certificates_of(tls, section)
        told = None if certificates is None else certificates.expiry_text(now_ms())
        if told is not None:
            click.echo(f"warning: {told}", err=True)


def _require_tokens(settings: Settings, config_file: Path | None) -> None:
    """Raises: ConfigurationError for a file of tokens that may not be used; one that is not there is made later."""
    path = settings.auth.tokens_file
    if path is None:
        return
    from account_monitor.stores.tokens_file import TokensFile

    try:
        tokens = TokensFile(path).read()
    except TokensRefused as error:
        raise ConfigurationError(f"{config_file or 'environment'}: auth.tokens_file: {error}") from error
    if not tokens:
        told = (
            f"auth.tokens_file: {path} holds no token yet, so nobody is let in: account-monitor token create makes one"
        )
        click.echo(f"{config_file or 'environment'}: {told}", err=True)


def _require_accounts(settings: Settings, config_file: Path | None) -> None:
    if not settings.accounts:
        raise ConfigurationError(
            f"{config_file or DEFAULT_CONFIG}: accounts: none is configured; name one"
            " (config.example.yaml shows how), or see it work with: account-monitor demo"
        )
