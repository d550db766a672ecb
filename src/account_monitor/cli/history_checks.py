"""History checks: the database of the history, looked at without changing anything, and how far it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from account_monitor.cli.findings import Finding, Outcome
from account_monitor.cli.history import connected_history
from account_monitor.config import Settings
from account_monitor.errors import HistoryUnavailable, JournalCompacted, JournalError
from account_monitor.stores.history.condition import Condition
from account_monitor.stores.history.projector import begun_since
from account_monitor.stores.history.store import HistoryStore, Replica
from account_monitor.stores.history.tables import WHAT_TO_DO
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader

FAR_BEHIND = 10_000
"""Entries; a service that writes is behind by what came in within a tenth of a second."""

OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED


async def check_history(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the database, and compare how far each journal was written with where the journal ends."""
    try:
        async with connected_history(settings) as store:
            condition = await store.condition()
            yield _judged(condition)
            if condition.missing or condition.broken:
                return
            for account in settings.accounts:
                yield await _check_copy(store, settings.service.data_dir, account.name)
    except HistoryUnavailable as error:
        advice = "accounts with a journal are recorded without it, and it catches up; one without waits for it"
        yield Finding(None, "history", FAILED, str(error), advice)


def _judged(condition: Condition) -> Finding:
    found = f"{condition.description}, schema {condition.schema}, {condition.size_bytes / (1 << 20):,.1f} MiB"
    if condition.remark is not None:
        found += f"; {condition.remark}"
    if condition.lacking:
        return Finding(None, "history", FAILED, found, f"it needs {'; '.join(condition.lacking)}")
    if condition.broken:
        return Finding(None, "history", FAILED, f"{found}; removed by hand: {', '.join(condition.broken)}", WHAT_TO_DO)
    if not condition.versions:
        return Finding(None, "history", OK, f"{found}; its tables are made at the first start, or by: migrate")
    if condition.missing:
        advice = "account-monitor migrate, or the next start, does so"
        return Finding(None, "history", WARNING, f"{found}; {', '.join(condition.missing)} is still to be run", advice)
    return Finding(None, "history", OK, found)


async def _check_copy(store: HistoryStore, data_dir: Path, account: str) -> Finding:
    replica = await store.replica(account)
    path = journal_path(data_dir, account)
    if not path.exists():
        found = "nothing of it yet" if replica is None else f"{replica.seq:,} entries of a journal that is not here"
        return Finding(account, "history", OK, found)
    try:
        return _compared(account, path, replica)
    except JournalError as error:
        return Finding(account, "history", WARNING, f"how far it is behind cannot be said: {error}")


def _compared(account: str, path: Path, replica: Replica | None) -> Finding:
    seq = 0 if replica is None else replica.seq
    with open_reader(path) as reader:
        last_seq, epochs = reader.last_seq, reader.epochs()
        try:
            held = reader.hash_at(seq)
        except JournalCompacted:
            found = f"it ends at entry {seq:,}, and the journal begins after entry {reader.base_seq:,}"
            return Finding(account, "history", FAILED, found, "put back the database that holds the entries between")
    if replica is not None and held != replica.hash and begun_since(epochs, replica):
        found = (
            f"it holds {seq:,} entries, and the journal was put back since: what follows is written anew at the start"
        )
        return Finding(account, "history", OK, found)
    if replica is not None and held != replica.hash:
        found = f"it holds another journal of this account, up to entry {seq:,}"
        advice = "use another database, or restore that journal; `replay --verify` names what differs"
        return Finding(account, "history", FAILED, found, advice)
    behind = last_seq - seq
    found = f"{seq:,} of {last_seq:,} entries, {behind:,} behind the journal"
    if behind > FAR_BEHIND:
        return Finding(account, "history", WARNING, found, "is the service running? /health says why it does not write")
    return Finding(account, "history", OK, found)
