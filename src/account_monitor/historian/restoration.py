"""Restoration: a service that starts without a journal looks whether the history has its past."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from account_monitor.clock import now_ms
from account_monitor.config import Settings
from account_monitor.errors import HistoryUnavailable, StartAborted
from account_monitor.monitor.desk import Desk
from account_monitor.stores.history.opening import SQLITE, history_store
from account_monitor.stores.history.restoring import restore_journal
from account_monitor.stores.history.sqlite import FILE_NAME
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.journal_file import journal_path

AGAIN_SECONDS = 1.0
"""How long to wait before a database that did not answer is asked again."""

TELL_SECONDS = 5.0
"""How often it is told how far it is."""

START = "start"

log = structlog.get_logger()


class Restoration:
    """Makes the journals that are missing, before their accounts are opened.

    While the database does not answer nobody knows whether there is a past, and to begin without it would part the
    account from it: that waits.
    """

    def __init__(self, settings: Settings, desk: Desk, *, is_stopping: Callable[[], bool]) -> None:
        self._settings = settings
        self._desk = desk
        self._is_stopping = is_stopping

    async def run(self, account: str, *, is_patient: bool = True) -> None:
        """Make the journal of an account that has none, where the history has a copy of one.

        Raises: JournalError and its kinds; StartAborted; HistoryUnavailable where it shall not wait.
        """
        settings = self._settings
        data_dir, database = settings.service.data_dir, settings.database
        if await asyncio.to_thread(_has_no_other_past, journal_path(data_dir, account), database.url):
            return
        store = history_store(database.url, data_dir, clock=now_ms, password=database.password)
        problem = ""
        try:
            while True:
                try:
                    if is_patient:
                        self._desk.wait_for(START, f"account {account}: its past is looked for in the history")
                    await self._restore(store, account)
                    return
                except HistoryUnavailable as error:
                    if not is_patient:
                        raise
                    if str(error) != problem:
                        problem = str(error)
                        log.warning("restore_waits", account=account, reason=problem)
                    self._desk.wait_for(START, f"account {account} may have a past in the history: {problem}")
                await asyncio.sleep(AGAIN_SECONDS)
                self._abort_if_stopping(account)
        finally:
            await store.close()

    async def _restore(self, store: HistoryStore, account: str) -> None:
        began = told_at = time.monotonic()

        def tell(done: int, whole: int) -> None:
            nonlocal told_at
            self._abort_if_stopping(account)
            if time.monotonic() - told_at >= TELL_SECONDS:
                told_at = time.monotonic()
                log.info("journal_being_restored", account=account, entries=done, of=whole)

        await store.open()
        replica = await restore_journal(store, self._settings.service.data_dir, account, clock=now_ms, progress=tell)
        if replica is not None:
            seconds = round(time.monotonic() - began, 1)
            log.info(
                "journal_restored", account=account, entries=replica.seq, source=store.description, seconds=seconds
            )

    def _abort_if_stopping(self, account: str) -> None:
        if self._is_stopping():
            raise StartAborted(f"stopped before the past of account {account} was restored")


def _has_no_other_past(journal: Path, database_url: str) -> bool:
    """Whether there is a journal, or no history that could hold a copy of it."""
    return journal.exists() or (database_url == SQLITE and not journal.with_name(FILE_NAME).exists())
