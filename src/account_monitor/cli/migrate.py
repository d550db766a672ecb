"""`migrate`: bring the tables of the history to what this program needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from account_monitor.cli.history import connected_history
from account_monitor.cli.options import config_option, settings_from
from account_monitor.config import Purpose, Settings
from account_monitor.stores.journal_file import make_private


@click.command()
@config_option
def migrate(config_file: Path | None) -> None:
    """Run the migrations that the database of the history lacks; several may do so at once.

    The service does the same when it starts. By hand it shows beforehand whether the rights suffice.
    """
    click.echo(asyncio.run(_migrated(settings_from(config_file, secrets={Purpose.DATABASE}))))


async def _migrated(settings: Settings) -> str:
    make_private(settings.service.data_dir)
    async with connected_history(settings) as store:
        done = await store.open()
        condition = await store.condition()
    what = f"ran {', '.join(done)}" if done else f"up to date at {condition.schema}"
    return f"{condition.description}: {what}" + (f"; {condition.remark}" if condition.remark else "")
