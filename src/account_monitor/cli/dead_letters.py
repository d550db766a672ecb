"""`dead-letters`: parked messages, why they were parked, and another try."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import click

from account_monitor.cli.options import Journals, journal_options, journals_from, settings_from
from account_monitor.config import NatsSettings
from account_monitor.errors import CommandFailed
from account_monitor.monitor.ports import UNROUTED, DeadLetter
from account_monitor.monitor.reports import time_text

if TYPE_CHECKING:
    from nats.js import JetStreamContext

RETRY_HEADER = "Account-Monitor-Retry"
CONNECT_SECONDS = 5

_SENT = (
    "sent; no stream covers the subject, and core NATS does not confirm: a service that listens now has heard it, and"
    " `dead-letters show` tells what became of it"
)


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
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, each letter whole.")
def list_letters(
    config_file: Path | None, data_dir: Path | None, account: str | None, limit: int, as_json: bool
) -> None:
    """List the newest letters of every journal, or of one: journal, id, when, what was wrong."""
    journals = journals_from(config_file, data_dir)
    listed = 0
    for name in _names(journals, account):
        with journals.reader(name) as reader:
            letters = deque(reader.dead_letters(), maxlen=limit)
            counts = reader.dead_letter_counts()
        for letter in letters:
            click.echo(json.dumps(_facts(name, letter), ensure_ascii=False) if as_json else _line(name, letter))
        listed += len(letters)
        if counts.dropped:
            click.echo(f"{name}: {counts.dropped} older letters were dropped to stay within the bound", err=True)
    if not listed:
        click.echo("no dead letters", err=True)


@dead_letters.command("show")
@_options
@click.argument("letter_id", type=int)
def show_letter(config_file: Path | None, data_dir: Path | None, account: str | None, letter_id: int) -> None:
    """Print one letter whole: why it was parked, and what came."""
    journals = journals_from(config_file, data_dir)
    name = _one(journals, account)
    letter = _letter(journals, name, letter_id)
    click.echo(json.dumps(_facts(name, letter), indent=2, ensure_ascii=False))


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
    settings = settings_from(config_file, secrets=())
    click.echo(asyncio.run(_publish(settings.pubsub.nats, name, letter)))


async def _publish(settings: NatsSettings, journal: str, letter: DeadLetter) -> str:
    import nats
    import nats.errors

    if settings.urls is None:
        raise CommandFailed("pubsub.nats.url is null: there is no NATS to publish to")
    try:
        connection = await nats.connect(
            list(settings.urls),
            connect_timeout=CONNECT_SECONDS,
            allow_reconnect=False,
            tls=None if settings.ca_file is None else ssl.create_default_context(cafile=str(settings.ca_file)),
            user_credentials=None if settings.credentials_file is None else str(settings.credentials_file),
        )
    except (OSError, TimeoutError, nats.errors.Error) as error:
        raise CommandFailed(f"{', '.join(settings.urls)}: cannot connect ({error})") from error
    headers = {RETRY_HEADER: f"{journal}:{letter.id}"}
    try:
        if not await _is_covered(connection.jetstream(), letter.subject):
            await connection.publish(letter.subject, letter.payload, headers=headers)
            await connection.flush(CONNECT_SECONDS)
            return _SENT
        ack = await connection.jetstream().publish(letter.subject, letter.payload, headers=headers)
        return f"published to stream {ack.stream} as message {ack.seq}; `dead-letters show` tells what became of it"
    except (TimeoutError, nats.errors.TimeoutError) as error:
        raise CommandFailed(f"{letter.subject}: no answer; it may have been published, or not") from error
    except (OSError, nats.errors.Error) as error:
        raise CommandFailed(f"{letter.subject}: {error}; it may have been published, or not") from error
    finally:
        await connection.close()


async def _is_covered(jetstream: JetStreamContext, subject: str) -> bool:
    """Whether a stream takes what is published under the subject. Core NATS alone, without JetStream, answers no."""
    from nats.js.errors import NotFoundError, ServiceUnavailableError

    try:
        await jetstream.find_stream_name_by_subject(subject)
    except (NotFoundError, ServiceUnavailableError):
        return False
    return True


def _names(journals: Journals, account: str | None) -> list[str]:
    if account is not None:
        return [_one(journals, account)]
    everyone = [*journals.accounts(), UNROUTED]
    return [name for name in everyone if journals.path(name).exists()]


def _one(journals: Journals, account: str | None) -> str:
    return UNROUTED if account == UNROUTED else journals.chosen(account)


def _letter(journals: Journals, name: str, letter_id: int) -> DeadLetter:
    with journals.reader(name) as reader:
        letter = reader.dead_letter(letter_id)
    if letter is None:
        raise CommandFailed(f"there is no dead letter {letter_id} in the journal of {name}")
    return letter


def _facts(name: str, letter: DeadLetter) -> dict[str, object]:
    return {
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


def _line(name: str, letter: DeadLetter) -> str:
    retried = "" if letter.retried_at_ms is None else f"  (retried {time_text(letter.retried_at_ms)})"
    what = f"{letter.rejection}: {letter.reason}"
    return f"{name} {letter.id}  {time_text(letter.parked_at_ms)}  {letter.subject}  {what}{retried}"
