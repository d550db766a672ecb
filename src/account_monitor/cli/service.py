"""`run` and `check-config`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from account_monitor.cli.options import DEFAULT_CONFIG, config_option, settings_from
from account_monitor.config import Settings, check_settings
from account_monitor.errors import ConfigurationError
from account_monitor.logs import configure_logging

RELOAD_POLL_SECONDS = 2.0


@click.command()
@config_option
def run(config_file: Path | None) -> None:
    """Run the service until SIGTERM or Ctrl-C; SIGHUP or a changed file reloads the accounts."""
    settings = settings_from(config_file)
    _require_accounts(settings, config_file)
    configure_logging(settings.logging)
    run_loop(serve(settings, config_file))


async def serve(settings: Settings, config_file: Path | None) -> None:
    """Run the service under signals and a watched file."""
    from account_monitor.app import App  # imports the doors

    app = App(settings, reload=lambda: settings_from(config_file))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.stop)
    reloading = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reloading.set)
    app.spawn("config", _reload_on_change(app.reload, config_file or DEFAULT_CONFIG, reloading))
    await app.run()


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def _reload_on_change(reload: Callable[[], Awaitable[None]], file: Path, asked: asyncio.Event) -> None:
    known = _stamp(file)
    while True:
        try:
            async with asyncio.timeout(RELOAD_POLL_SECONDS):
                await asked.wait()
        except TimeoutError:
            if (stamp := _stamp(file)) == known:
                continue
            known = stamp
        asked.clear()
        await reload()


def _stamp(file: Path) -> tuple[int, int] | None:
    """Identify the content of a file without reading it; None while it is away, as during an atomic replacement."""
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
    accounts = ", ".join(account.name for account in settings.accounts)
    click.echo(f"{config_file or 'environment'}: ok; accounts: {accounts}")


def _require_accounts(settings: Settings, config_file: Path | None) -> None:
    if not settings.accounts:
        raise ConfigurationError(
            f"{config_file or DEFAULT_CONFIG}: accounts: none is configured; name one"
            " (config.example.yaml shows how), or see it work with: account-monitor demo"
        )
