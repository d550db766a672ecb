"""`alerts`: does everybody hear, before it matters? Who looks after it, and what nobody needs to hear for a while."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import click

from account_monitor.api.alerts import TYPES, Acknowledgement, SilencedReport, SilenceOrder
from account_monitor.api.orders import RecordedReport
from account_monitor.cli.answers import document
from account_monitor.cli.options import account_option, config_option, settings_from, tls_options, token_option
from account_monitor.cli.status import address
from account_monitor.clock import now_ms
from account_monitor.config import Purpose
from account_monitor.errors import ChannelFailed, ConfigurationError
from account_monitor.ledger.alerts import AlertType

if TYPE_CHECKING:
    from account_monitor.notifiers.channels import Channel
    from account_monitor.notifiers.letters import Letter


@click.group()
def alerts() -> None:
    """What people are told, and where."""


@alerts.command("test")
@config_option
def test(config_file: Path | None) -> None:
    """Send a test through every channel, and say of each whether it took it; no service need run."""
    settings = settings_from(config_file, secrets={Purpose.CHANNELS})
    if settings.alerts.channels is None:
        raise ConfigurationError(
            "alerts.channels_env: names no variable, expected one that holds the URLs of channels (or a file in"
            " alerts.channels_file); docs/alerts.md shows some"
        )
    from account_monitor.notifiers.channels import channels_of
    from account_monitor.notifiers.letters import Letter, moment_text

    channels = channels_of(settings.alerts)
    names = ", ".join(account.name for account in settings.accounts) or "no account"
    letter = Letter(
        f"TEST of {settings.service.name} on {socket.gethostname()}",
        f"Alerts of {names} come this way. Sent {moment_text(now_ms())} by account-monitor alerts test.",
    )
    if not all(asyncio.run(_sent(channels, letter))):
        raise click.exceptions.Exit(1)


@alerts.command("ack")
@config_option
@account_option
@tls_options
@token_option
@click.option("--by", help="Who looks after it; with a token, the one whose it is.")
@click.option("--url", help="Of the service; default: as configured.")
@click.argument("alert_id", metavar="ID")
def ack(config_file: Path | None, account: str | None, by: str | None, url: str | None, alert_id: str) -> None:
    """Say who looks after an alert that fires, so that nobody is reminded of it; its ID is in the letter."""
    path = f"/api/alerts/{quote(alert_id, safe='')}/ack{_query(account)}"
    _say(document(f"{url or address(config_file)}{path}", RecordedReport, order=Acknowledgement(by=by)))


@alerts.command("silence")
@config_option
@account_option
@tls_options
@token_option
@click.option("--by", help="Who says so; with a token, the one whose it is.")
@click.option("--reason", required=True, help="Why; journaled.")
@click.option("--type", "type_", type=click.Choice(TYPES), metavar="TYPE", help="Default: every type.")
@click.option("--symbol", help="Position key, asset or stream; default: all of them.")
@click.option("--url", help="Of the service; default: as configured.")
@click.argument("duration")
def silence(
    config_file: Path | None,
    account: str | None,
    by: str | None,
    reason: str,
    type_: AlertType | None,
    symbol: str | None,
    url: str | None,
    duration: str,
) -> None:
    """Tell people nothing of some alerts for DURATION, such as 2h; 0s ends the silence of the same type and symbol."""
    order = SilenceOrder(duration=duration, reason=reason, by=by, type=type_, symbol=symbol)
    path = f"/api/alerts/silence{_query(account)}"
    silenced = document(f"{url or address(config_file)}{path}", SilencedReport, order=order)
    _say(silenced)
    if silenced.note is not None:
        click.echo(f"note      {silenced.note}")


def _query(account: str | None) -> str:
    return "" if account is None else f"?{urlencode({'account': account})}"


def _say(entry: RecordedReport) -> None:
    click.echo(f"recorded  {entry.account}  seq {entry.seq}  {entry.timestamp}  by {entry.by}")
    if entry.pending is not None:
        click.echo(f"pending   {entry.pending}")


async def _sent(channels: tuple[Channel, ...], letter: Letter) -> list[bool]:
    return await asyncio.gather(*(_is_sent(channel, letter) for channel in channels))


async def _is_sent(channel: Channel, letter: Letter) -> bool:
    """Send the test and say at once what became of it."""
    try:
        await channel.send(letter)
    except ChannelFailed as failure:
        click.echo(f"FAILED   {channel.name}: {failure}")
        return False
    click.echo(f"ok       {channel.name}")
    return True
