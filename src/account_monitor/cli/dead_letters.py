"""`dead-letters`: parked messages, why they were parked, and another try."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from account_monitor.cli.options import Journals, journal_options, journals_from, settings_from
from account_monitor.config import NatsSettings
from account_monitor.errors import CommandFailed
from account_monitor.monitor.ports import UNROUTED, DeadLetter
from account_monitor.monitor.reports import time_text

RETRY_HEADER = "Account-Monitor-Retry"
CONNECT_SECONDS = 5


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that could not be booked. They are kept, bounded, and never stop the feed.

    `_unrouted` is the journal of those that name no configured account.
    """


def _options(command: click.decorators.FC) -> click.decorators.FC:
    return journal_options(click.option("--account", default=None, help="A journal's account, or _unrouted.")(command))


@dead_letters.command("list")
@_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def list_letters(config_file: Path | None, data_dir: Path | None, account: str | None, limit: int) -> None:
    """List the newest letters of every journal, or of one."""
    journals = journals_from(config_file, data_dir)
    table = Table("journal", "id", "parked at", "reason", "subject", "bytes", "retried at", box=None)
    for name in _names(journals, account):
        reader = journals.reader(name)
        try:
            for letter in list(reader.dead_letters())[-limit:]:
                table.add_row(*_row(name, letter))
            counts = reader.dead_letter_counts()
        finally:
            reader.close()
        if counts.dropped:
            click.echo(f"{name}: {counts.dropped} older letters were dropped to stay within the bound", err=True)
    Console().print(table if table.row_count else "no dead letters")


@dead_letters.command("show")
@_options
@click.argument("letter_id", type=int)
def show_letter(config_file: Path | None, data_dir: Path | None, account: str | None, letter_id: int) -> None:
    """Print one letter whole: why it was parked, and what came."""
    journals = journals_from(config_file, data_dir)
    name = _one(journals, account)
    letter = _letter(journals, name, letter_id)
    facts = {
        "journal": name,
        "id": letter.id,
        "rejection": letter.rejection,
        "reason": letter.reason,
        "source": letter.source,
        "subject": letter.subject,
        "parked_at": time_text(letter.parked_at_ms),
        "retried_at": None if letter.retried_at_ms is None else time_text(letter.retried_at_ms),
        "size": letter.size,
        "sha256": letter.sha256,
        "payload": letter.payload.decode("utf-8", "backslashreplace"),
    }
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False))


@dead_letters.command("retry")
@_options
@click.argument("letter_id", type=int)
def retry_letter(config_file: Path | None, data_dir: Path | None, account: str | None, letter_id: int) -> None:
    """Publish a letter again under its subject, for the service to try once more."""
    journals = journals_from(config_file, data_dir)
    name = _one(journals, account)
    letter = _letter(journals, name, letter_id)
    if letter.size > len(letter.payload):
        raise CommandFailed(f"letter {letter_id} of {name}: only its first {len(letter.payload)} of {letter.size} bytes"
                            " were kept; it cannot be published again")  # fmt: skip
    click.echo(asyncio.run(_publish(settings_from(config_file).pubsub.nats, name, letter)))


async def _publish(settings: NatsSettings, journal: str, letter: DeadLetter) -> str:
    import nats
    import nats.errors
    from nats.js.errors import NoStreamResponseError

    if settings.urls is None:
        raise CommandFailed("pubsub.nats.url is null: there is no NATS to publish to")
    try:
        connection = await nats.connect(
            list(settings.urls),
            connect_timeout=CONNECT_SECONDS,
            allow_reconnect=False,
            user_credentials=None if settings.credentials_file is None else str(settings.credentials_file),
        )
    except (OSError, TimeoutError, nats.errors.Error) as error:
        raise CommandFailed(f"{', '.join(settings.urls)}: cannot connect ({error})") from error
    headers = {RETRY_HEADER: f"{journal}:{letter.id}"}
    try:
        try:
            ack = await connection.jetstream().publish(letter.subject, letter.payload, headers=headers)
        except NoStreamResponseError:
            await connection.publish(letter.subject, letter.payload, headers=headers)
            await connection.flush()
            return "published; no stream covers the subject, so only a service that listens now has heard it"
        return f"published to stream {ack.stream} as message {ack.seq}"
    finally:
        await connection.close()


def _names(journals: Journals, account: str | None) -> list[str]:
    if account is not None:
        return [_one(journals, account)]
    everyone = [*journals.accounts(), UNROUTED]
    return [name for name in everyone if journals.path(name).exists()]


def _one(journals: Journals, account: str | None) -> str:
    return UNROUTED if account == UNROUTED else journals.chosen(account)


def _letter(journals: Journals, name: str, letter_id: int) -> DeadLetter:
    reader = journals.reader(name)
    try:
        letter = reader.dead_letter(letter_id)
    finally:
        reader.close()
    if letter is None:
        raise CommandFailed(f"there is no dead letter {letter_id} in the journal of {name}")
    return letter


def _row(name: str, letter: DeadLetter) -> tuple[str, ...]:
    retried = "" if letter.retried_at_ms is None else time_text(letter.retried_at_ms)
    reason = f"{letter.rejection}: {letter.reason}"
    return (name, str(letter.id), time_text(letter.parked_at_ms), reason, letter.subject, str(letter.size), retried)
