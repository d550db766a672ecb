"""Reopening: accounts whose journals could not be written, as on a full disk, go on once they can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from account_monitor.app.accounts import STOP_SECONDS, Accounts
from account_monitor.app.tasks import Tasks
from account_monitor.app.terms import opening_of
from account_monitor.errors import JournalError, StartAborted
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import Monitor

if TYPE_CHECKING:
    from account_monitor.cluster.leases import HeldLease

REOPEN_SECONDS = 2.0
"""How often it is looked whether a journal that could not be written can be."""

log = structlog.get_logger()


class Reopening:
    """Replaces monitors that cannot record."""

    def __init__(
        self,
        accounts: Accounts,
        tasks: Tasks,
        *,
        lease_of: Callable[[str], HeldLease | None],
        tell_feeds: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """`lease_of` an account is asked where accounts are shared; `tell_feeds` lets them know from where to read."""
        self._accounts = accounts
        self._tasks = tasks
        self._lease_of = lease_of
        self._tell_feeds = tell_feeds

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        from account_monitor.stores.journal_file import has_room

        accounts = self._accounts
        while True:
            await asyncio.sleep(REOPEN_SECONDS)
            for monitor in [each for each in accounts.monitors.values() if each.journal.may_be_opened_anew]:
                if await asyncio.to_thread(has_room, accounts.settings.service.data_dir):
                    async with accounts.changing:
                        await self._reopen(monitor)

    async def _reopen(self, failed: Monitor) -> None:
        """Replace a monitor that could not record by one that begins with what is in its journal, as after a restart.

        The failed one is shown until then. Its feeds read again what came since.
        """
        name, accounts = failed.name, self._accounts
        if accounts.monitors.get(name) is not failed:
            return  # it was removed meanwhile
        failed.stop()
        if not await self._tasks.has_ended(f"account:{name}", STOP_SECONDS):
            return  # it has not noticed yet
        await failed.journal.give_up_writing()
        account = next((each for each in accounts.settings.accounts if each.name == name), None)
        opening = None if account is None else opening_of(account.opening)
        lease = self._lease_of(name)
        if accounts.has_leases and lease is None:
            return  # it is about to be laid down
        try:
            monitor = await accounts.open_monitor(name, Inbox(), opening, has_venue=failed.has_venue, lease=lease)
        except (JournalError, StartAborted, OSError) as error:
            log.error("journal_not_reopened", account=name, reason=str(error))
            return
        accounts.replace(monitor, account)
        if account is not None:
            await accounts.serve_anew(monitor, account)
        await self._tell_feeds()
        await failed.journal.close()
        log.info("journal_reopened", account=name, seq=monitor.view.seq, reason=failed.journal.failure)
