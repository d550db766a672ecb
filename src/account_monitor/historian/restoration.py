"""Restoration: a service that starts without a journal, or without what it must fold again, asks the history for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from account_monitor.clock import now_ms
from account_monitor.config import Settings
from account_monitor.errors import HistoryRefused, HistoryUnavailable, JournalError, JournalTooOld, StartAborted
from account_monitor.historian.historian import HISTORY
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.stores.checkpoints import load_state
from account_monitor.stores.history.opening import SQLITE, history_store
from account_monitor.stores.history.restoring import refill_journal, restore_journal
from account_monitor.stores.history.sqlite import FILE_NAME
from account_monitor.stores.history.store import ALONE_MS, HistoryStore
from account_monitor.stores.journal_file import WriterLock, journal_path, open_for_writing
from account_monitor.stores.journal_reader import open_reader

AGAIN_SECONDS = 1.0
"""How long to wait before a database that did not answer is asked again."""

TELL_SECONDS = 5.0
"""How often it is told how far it is."""

TELL_AGAIN_SECONDS = 60.0
"""How often it is told that it waits."""

START = "start"

log = structlog.get_logger()


class Restoration:
    """Makes the journals that are missing, and brings back what others forgot and another ledger has to fold again,
    before their accounts are opened.

    While the database does not answer nobody knows whether there is a past, and to begin without it would part the
    account from it: that waits.
    """

    def __init__(self, settings: Settings, desk: Desk, *, is_stopping: Callable[[], bool]) -> None:
        self._settings = settings
        self._desk = desk
        self._is_stopping = is_stopping

    async def run(self, account: str, *, is_patient: bool = True) -> None:
        """Make the journal of an account that has none, where the history has a copy of one, or make it whole.

        Raises: JournalError and its kinds; StartAborted; HistoryUnavailable where it shall not wait.
        """
        settings = self._settings
        data_dir, database = settings.service.data_dir, settings.database
        path = journal_path(data_dir, account)
        is_cut_off = await asyncio.to_thread(
            _is_cut_off, path, settings.service.usd_assets, settings.service.day_starts_at_minutes
        )
        if not is_cut_off and await asyncio.to_thread(_has_no_other_past, path, database.url):
            return
        restore = self._refill if is_cut_off else self._restore
        store = history_store(database.url, data_dir, clock=now_ms, password=database.password)
        problem, told_until, again = "", 0.0, f"tried again every {AGAIN_SECONDS:g} s, until then the account waits"
        try:
            while True:
                try:
                    if is_patient:
                        self._desk.wait_for(START, f"account {account}: its past is looked for in the history")
                    await restore(store, account)
                    return
                except HistoryUnavailable as error:
                    if not is_patient:
                        raise
                    if str(error) != problem or time.monotonic() >= told_until:
                        problem, told_until = str(error), time.monotonic() + TELL_AGAIN_SECONDS
                        if isinstance(error, HistoryRefused):
                            log.error("history_refused", account=account, reason=f"{problem}; {again}")
                        else:
                            log.warning("restore_waits", account=account, reason=f"{problem}; {again}")
                    waits = f"account {account} may have a past in the history: {problem}; {again}"
                    self._desk.wait_for(START, waits)
                    self._desk.health.report(HISTORY, Status.DEGRADED, waits)
                await asyncio.sleep(AGAIN_SECONDS)
                self._abort_if_stopping(account)
        finally:
            await store.close()

    async def _restore(self, store: HistoryStore, account: str) -> None:
        began = time.monotonic()
        await store.open()
        await self._check_alone(store, account)
        replica = await restore_journal(
            store, self._settings.service.data_dir, account, clock=now_ms, progress=self._teller(account)
        )
        if replica is not None:
            seconds = round(time.monotonic() - began, 1)
            log.info(
                "journal_restored", account=account, entries=replica.seq, source=store.description, seconds=seconds
            )

    async def _check_alone(self, store: HistoryStore, account: str) -> None:
        """Raise HistoryUnavailable while another service may follow an account: the two would be parted for good."""
        replica = await store.replica(account)
        if replica is not None and replica.is_followed:
            raise HistoryUnavailable(
                f"the history of account {account} was written less than {ALONE_MS // 1000} s ago, by a service that"
                " may still be running"
            )

    async def _refill(self, store: HistoryStore, account: str) -> None:
        began = time.monotonic()
        await store.open()
        entries = await refill_journal(
            store, self._settings.service.data_dir, account, clock=now_ms, progress=self._teller(account)
        )
        seconds = round(time.monotonic() - began, 1)
        log.info("journal_refilled", account=account, entries=entries, source=store.description, seconds=seconds)

    def _teller(self, account: str) -> Callable[[int, int], None]:
        """Return what says now and then how far it is, and gives up where the service is to stop."""
        told_at = time.monotonic()

        def tell(done: int, whole: int) -> None:
            nonlocal told_at
            self._abort_if_stopping(account)
            if time.monotonic() - told_at >= TELL_SECONDS:
                told_at = time.monotonic()
                log.info("journal_being_restored", account=account, entries=done, of=whole)

        return tell

    def _abort_if_stopping(self, account: str) -> None:
        if self._is_stopping():
            raise StartAborted(f"stopped before the past of account {account} was restored")


def _is_cut_off(journal: Path, usd_assets: frozenset[str], day_starts_at: int = 0) -> bool:
    """Whether a journal forgot entries that have to be folded again, because no kept state is of this ledger."""
    if not journal.exists():
        return False
    try:
        try:
            reader = open_reader(journal)
        except JournalTooOld:
            _bring_up_to_date(journal)
            reader = open_reader(journal)
        with reader:
            return reader.base_seq > 0 and load_state(reader, usd_assets, day_starts_at=day_starts_at) is None
    except JournalError:
        return False  # opening it will say what is wrong


def _bring_up_to_date(journal: Path) -> None:
    """Migrate a journal."""
    lock = WriterLock(journal)
    try:
        open_for_writing(journal, journal.stem, now_ms()).close()
    finally:
        lock.release()


def _has_no_other_past(journal: Path, database_url: str) -> bool:
    """Whether there is a journal, or no history that could hold a copy of it."""
    return journal.exists() or (database_url == SQLITE and not journal.with_name(FILE_NAME).exists())
