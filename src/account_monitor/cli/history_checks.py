"""History checks: the database of the history, looked at without changing anything, and how far it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

from account_monitor.cli.findings import Finding, Outcome
from account_monitor.cli.history import connected_history
from account_monitor.config import Lease, Settings
from account_monitor.errors import HistoryUnavailable, JournalError
from account_monitor.stores.history.comparison import Comparison, Relation, compare
from account_monitor.stores.history.condition import Condition
from account_monitor.stores.history.projector import begun_since
from account_monitor.stores.history.store import HistoryStore, Replica
from account_monitor.stores.history.tables import WHAT_TO_DO
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import JournalReader, open_reader

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
                yield await _check_copy(store, settings, account.name)
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


async def _check_copy(store: HistoryStore, settings: Settings, account: str) -> Finding:
    replica = await store.replica(account)  # before the journal is looked at, which goes on meanwhile
    path = journal_path(settings.service.data_dir, account)
    if not path.exists():
        found = "nothing of it yet" if replica is None else f"{replica.seq:,} entries of a journal that is not here"
        return Finding(account, "history", OK, found)
    try:
        with open_reader(path) as reader:
            compared = await compare(store, reader, replica)
            if settings.cluster.lease is not Lease.NONE:
                return _of_several(account, compared, reader)
            return _of_one(account, compared, reader, replica)
    except JournalError as error:
        return Finding(account, "history", WARNING, f"how far it is behind cannot be said: {error}")


def _of_several(account: str, compared: Comparison, reader: JournalReader) -> Finding:
    """Judge a journal of an account that replicas share, of which another one may have recorded more."""
    if compared.relation is not Relation.LACKS:
        return _judged_copy(account, compared, reader)
    behind = compared.copy_seq - compared.journal_seq
    found = (
        f"the journal here has {compared.journal_seq:,} of {compared.copy_seq:,} entries, {behind:,} behind the copy:"
        " another replica has recorded on, which is no fault where replicas share accounts"
    )
    return Finding(account, "history", OK, found)


def _of_one(account: str, compared: Comparison, reader: JournalReader, replica: Replica | None) -> Finding:
    """Judge a journal that nobody else writes: one that lacks entries was put back, or is another one."""
    differs = compared.relation in {Relation.LACKS, Relation.PARTED}
    if replica is not None and differs and begun_since(reader.epochs(), replica):
        found = (
            f"it holds {compared.copy_seq:,} entries, and the journal was put back since: what follows is written anew"
            " at the start"
        )
        return Finding(account, "history", OK, found)
    if compared.relation is Relation.LACKS:
        found = f"it holds {compared.copy_seq:,} entries, and the journal ends at entry {compared.journal_seq:,}"
        advice = "move this journal away, and the next start restores it from the copy; or use another database"
        return Finding(account, "history", FAILED, found, advice)
    return _judged_copy(account, compared, reader)


def _judged_copy(account: str, compared: Comparison, reader: JournalReader) -> Finding:
    """Judge a copy that ends where the journal does, or before; or that is of another one."""
    seq = compared.copy_seq
    if compared.relation is Relation.FORGOT:
        found = f"it ends at entry {seq:,}, and the journal begins after entry {reader.base_seq:,}"
        return Finding(account, "history", FAILED, found, "put back the database that holds the entries between")
    if compared.relation is Relation.PARTED:
        found = f"it holds another journal of this account, up to entry {seq:,}"
        advice = "use another database, or restore that journal; `replay --verify` names what differs"
        return Finding(account, "history", FAILED, found, advice)
    behind = compared.journal_seq - seq
    found = f"{seq:,} of {compared.journal_seq:,} entries, {behind:,} behind the journal"
    if behind > FAR_BEHIND:
        return Finding(account, "history", WARNING, found, "is the service running? /health says why it does not write")
    return Finding(account, "history", OK, found)
