"""`alerts test`: does everybody hear, before it matters?"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from account_monitor.cli.options import config_option, settings_from
from account_monitor.clock import now_ms
from account_monitor.config import Purpose
from account_monitor.errors import ChannelFailed, ConfigurationError

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
    if not channels:
        raise ConfigurationError(
            "alerts.channels_env: what it names lists no channel, expected URLs as docs/alerts.md shows"
        )
    names = ", ".join(account.name for account in settings.accounts) or "no account"
    letter = Letter(
        f"TEST of {settings.service.name} on {socket.gethostname()}",
        f"Alerts of {names} come this way. Sent {moment_text(now_ms())} by account-monitor alerts test.",
    )
    if not all(asyncio.run(_sent(channels, letter))):
        raise click.exceptions.Exit(1)


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
