"""Opening: which database the history is in, by its address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from account_monitor.config.secrets import Secret
from account_monitor.monitor.ports import Clock
from account_monitor.stores.history.keeping import Keeping
from account_monitor.stores.history.store import HistoryStore

if TYPE_CHECKING:
    from account_monitor.stores.history.postgres import Fence

SQLITE = "sqlite"


def history_store(
    url: str,
    data_dir: Path,
    *,
    clock: Clock,
    password: Secret | None = None,
    keeping: Keeping | None = None,
    fence: Fence | None = None,
) -> HistoryStore:
    """Return the history at an address: `sqlite` in the data directory, or a libpq URI. Nothing is opened yet.

    `fence`: what each transaction that writes of an account has to pass; only where several write.
    """
    if url == SQLITE:
        from account_monitor.stores.history.sqlite import SqliteHistory

        return SqliteHistory(data_dir, clock)
    from account_monitor.stores.history.postgres import PostgresHistory  # a driver that nobody else needs

    return PostgresHistory(url, password, keeping=keeping, fence=fence)
