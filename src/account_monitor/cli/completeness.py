"""Completeness: how far do the journals here go, and is that as far as their accounts were recorded?

Where replicas share accounts, an account goes on in the journal of another replica, and the file here stays as it was.
What was recorded anywhere stands in the copy in the history, to which a file is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from account_monitor.cli.history import connected_history, require_tables
from account_monitor.cli.options import Journals, located, settings_from
from account_monitor.config import Lease, Purpose, Settings
from account_monitor.errors import CommandFailed, ConfigurationError, HistoryUnavailable
from account_monitor.monitor.reports import time_text
from account_monitor.stores.history.comparison import Comparison, Relation, compare
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.journal_reader import JournalReader

_FOLLOWER_SECONDS: Final = 1.0
"""Who follows an account is behind its copy by less than that."""


def recorded_ms(reader: JournalReader, seq: int) -> int | None:
    """Return when an entry was recorded, None where it is not here. Raises: JournalError."""
    entry = next(reader.entries(after=seq - 1, until=seq), None) if seq > reader.base_seq else None
    return None if entry is None else entry.recorded_at_ms


def last_recorded_ms(reader: JournalReader, to_seq: int, to_ms: int | None) -> int | None:
    """Return when the last entry was recorded, None where the journal goes on after a span or nothing is here.

    The span ends with entry `to_seq`, at `to_ms`; None: with the last entry. Raises: JournalError.
    """
    return recorded_ms(reader, to_seq) if to_ms is None or to_seq == reader.last_seq else None


def end_text(from_ms: int | None, to_ms: int | None, last_ms: int | None, moment: Callable[[int], str]) -> str:
    """Return in words where a span ends: what is after the last entry is not known here, and is not told as if it were.

    `last_ms` is as `last_recorded_ms` returns it, `moment` writes a time.
    """
    asked = "now" if to_ms is None else moment(to_ms)
    if last_ms is None:
        return f"to {asked}"
    if from_ms is not None and last_ms <= from_ms:
        return f"to {asked}; nothing was recorded after {moment(last_ms)}"
    return f"to {moment(last_ms)}, when the last entry was recorded"


def warned_shortfalls(config_file: Path | None, data_dir: Path | None, accounts: Sequence[str]) -> list[str]:
    """Return what the journals here lack, a line for each, and warn of it on the standard error.

    Nothing where one process holds all accounts. That it cannot be found out is such a line, too.
    Raises: ConfigurationError, CommandFailed, JournalError.
    """
    found = _shortfalls(config_file, data_dir, accounts)
    for line in found:
        click.echo(f"account-monitor: warning: {line}", err=True)
    return found


def _shortfalls(config_file: Path | None, data_dir: Path | None, accounts: Sequence[str]) -> list[str]:
    settings = settings_from(config_file, secrets=())
    if settings.cluster.lease is Lease.NONE:
        return []
    try:
        settings = located(settings_from(config_file, secrets={Purpose.DATABASE}), data_dir)
        return asyncio.run(_compared(settings, accounts))
    except (ConfigurationError, CommandFailed, HistoryUnavailable) as error:
        names = ", ".join(accounts)
        asked = f"cluster.lease is {settings.cluster.lease}: whether another replica has recorded more of {names}"
        return [f"{asked} cannot be said: {error}"]


async def _compared(settings: Settings, accounts: Sequence[str]) -> list[str]:
    journals = Journals(settings.service.data_dir, settings.service.usd_assets)
    async with connected_history(settings) as store:
        await require_tables(store)
        found = [await shortfall(store, journals, account) for account in accounts]
    return [line for line in found if line is not None]


async def shortfall(store: HistoryStore, journals: Journals, account: str) -> str | None:
    """Say what a journal lacks of the copy, None where that is nothing. Raises: HistoryUnavailable, JournalError."""
    replica = await store.replica(account)  # before the journal is looked at, which goes on meanwhile
    if replica is None:
        return None
    if not journals.path(account).exists():
        return f"account {account}: another replica has recorded {replica.seq:,} entries of it, and here is no journal"
    with journals.reader(account) as reader:
        if reader.last_seq < replica.seq:
            await asyncio.sleep(_FOLLOWER_SECONDS)
        return _lacking(reader, await compare(store, reader, replica))


def _lacking(reader: JournalReader, compared: Comparison) -> str | None:
    if compared.relation is Relation.LACKS:
        at_ms = recorded_ms(reader, compared.journal_seq)
        when = "" if at_ms is None else f", recorded at {time_text(at_ms)}"
        return (
            f"account {reader.account}: the journal here ends at entry {compared.journal_seq:,}{when}; another replica"
            f" has recorded on, to entry {compared.copy_seq:,}: what follows is not here. Ask the replica that holds"
            " the account"
        )
    if compared.relation is Relation.PARTED:
        return (
            f"account {reader.account}: entry {compared.compared_seq:,} of the journal here is another one than that"
            " which a replica has recorded: what is here is not the past of the account. Ask the replica that holds it"
        )
    return None  # it holds all of the copy, or forgot only what is in the copy
