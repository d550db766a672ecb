"""The history as commands reach it: with its own password, and no other secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from account_monitor.clock import now_ms
from account_monitor.config import Settings
from account_monitor.errors import CommandFailed
from account_monitor.stores.history.keeping import Keeping
from account_monitor.stores.history.opening import history_store
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.history.tables import require_all


@asynccontextmanager
async def connected_history(settings: Settings) -> AsyncIterator[HistoryStore]:
    """Lend the history that is configured, without changing anything in it. Raises: HistoryUnavailable."""
    history = settings.history
    store = history_store(
        settings.database.url,
        settings.service.data_dir,
        clock=now_ms,
        password=settings.database.password,
        keeping=Keeping(int(history.retention_seconds * 1000), int(history.compress_after_seconds * 1000)),
    )
    try:
        await store.connect()
        yield store
    finally:
        await store.close()


async def require_tables(store: HistoryStore) -> None:
    """Make sure that there is something to read. Raises: CommandFailed, HistoryUnavailable."""
    condition = await store.condition()
    if not condition.versions:
        raise CommandFailed(f"{condition.description}: no history was written here yet; it begins with the service")
    require_all(condition.description, list(condition.broken))
    if condition.missing:
        raise CommandFailed(
            f"{condition.description}: the schema is {condition.schema}, and lacks {', '.join(condition.missing)};"
            " bring it up to date with: account-monitor migrate"
        )
