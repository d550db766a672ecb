"""`doctor`: try everything that the service will depend on, and say what to do about what does not work."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import click

from account_monitor.cli.findings import Finding, Outcome
from account_monitor.cli.options import DEFAULT_CONFIG, config_option, settings_from
from account_monitor.config import AccountSettings, Exchange, LoggingSettings, LogLevel, Settings
from account_monitor.logs import configure_logging

_STYLES = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.FAILED: "red"}


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
def doctor(config_file: Path | None, as_json: bool) -> int:
    """Try every connection, the exchange's clock and what the API keys may do; a service may be running.

    Exit code 0 if nothing failed, 1 if something did, 2 for a configuration that cannot be used.
    """
    settings = settings_from(config_file)
    configure_logging(LoggingSettings(level=LogLevel.ERROR))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    file = config_file or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    with asyncio.Runner() as runner:
        findings = runner.run(_examine(settings, file, as_json))
    has_failed = any(finding.outcome is Outcome.FAILED for finding in findings)
    if as_json:
        checks = [finding._asdict() for finding in findings]
        click.echo(json.dumps({"status": "failed" if has_failed else "ok", "checks": checks}, indent=2))
    return int(has_failed)


async def _examine(settings: Settings, file: Path | None, as_json: bool) -> list[Finding]:
    findings: list[Finding] = []
    async for finding in _findings(settings, file):
        findings.append(finding)
        if not as_json:
            click.echo(_colored(finding))
    return findings


def _colored(finding: Finding) -> str:
    """Return the line with its first word in color, where the terminal has any."""
    word = str(finding.outcome)
    return click.style(word, fg=_STYLES[finding.outcome]) + finding.line.removeprefix(word)


async def _findings(settings: Settings, file: Path | None) -> AsyncIterator[Finding]:
    from account_monitor.cli.history_checks import check_history
    from account_monitor.cli.local_checks import (
        check_certificates,
        check_data_dir,
        check_exposure,
        check_journal,
        check_nats,
        check_people,
        check_redis,
        check_tokens,
    )

    yield _configuration(settings, file)
    data_dir = settings.service.data_dir
    yield check_data_dir(data_dir)
    for finding in (*check_certificates(settings), *check_exposure(settings)):
        yield finding
    for account in settings.accounts:
        yield check_journal(data_dir, account.name)
    async for finding in check_history(settings):
        yield finding
    for finding in await check_nats(settings):
        yield finding
    yield await check_redis(settings.database)
    for finding in check_people(settings.alerts):
        yield finding
    if settings.auth.tokens_file is not None:
        yield check_tokens(settings.auth.tokens_file)
    async for finding in _exchanges(settings.accounts, data_dir):
        yield finding


def _configuration(settings: Settings, file: Path | None) -> Finding:
    where = str(file or "environment")
    if not settings.accounts:
        advice = "name one (config.example.yaml shows how), or see it work with: account-monitor demo"
        return Finding(None, "configuration", Outcome.FAILED, f"{where}: no account is configured", advice)
    accounts = ", ".join(f"{account.name} ({account.exchange})" for account in settings.accounts)
    return Finding(None, "configuration", Outcome.OK, f"{where}: accounts {accounts}")


async def _exchanges(accounts: tuple[AccountSettings, ...], data_dir: Path) -> AsyncIterator[Finding]:
    from account_monitor.cli.exchange_checks import ExchangeDoctor
    from account_monitor.clock import now_ms
    from account_monitor.feeds.binance.server_time import ServerTime
    from account_monitor.feeds.binance.transport import AiohttpTransport
    from account_monitor.feeds.binance.venue import REST_URLS, WEBSOCKET_URLS, BinanceVenue
    from account_monitor.stores.bans import Bans

    transport = AiohttpTransport()
    bans = Bans(data_dir, now_ms)
    venues: dict[tuple[str, str], BinanceVenue] = {}
    try:
        for account in accounts:
            if account.exchange is Exchange.NONE:
                found = "none: its fills come over NATS only, and nothing confirms them"
                yield Finding(account.name, "exchange", Outcome.OK, found)
                continue
            urls = (
                account.rest_url or REST_URLS[account.testnet],
                account.websocket_url or WEBSOCKET_URLS[account.testnet],
            )
            if urls not in venues:  # accounts at one address share its clock and its weight
                venue = venues[urls] = BinanceVenue(*urls, transport, ServerTime())
                if remaining_ms := bans.remaining_ms(venue.rest_url):  # a service that runs beside this was told
                    venue.budget.limit_until(venue.server_time.now_ms() + remaining_ms)
            async for finding in ExchangeDoctor(account, venues[urls]).findings():
                yield finding
    finally:
        await transport.close()
