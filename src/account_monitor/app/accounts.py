"""Open accounts: from a line of the configuration to a monitor that is fed, watched and shown, and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import structlog

from account_monitor.app.tasks import Tasks
from account_monitor.app.terms import has_journal, opening_of, thresholds_of
from account_monitor.clock import boot_seconds, now_ms
from account_monitor.config import AccountSettings, Exchange, Lease, Settings
from account_monitor.errors import ConfigurationError, StartAborted
from account_monitor.ledger.events import MarkPrice, Opening
from account_monitor.monitor.alarms import OF_OTHERS, AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import UNROUTED, StreamPosition
from account_monitor.monitor.price_watch import PriceWatch
from account_monitor.monitor.risk_watch import RiskWatch

if TYPE_CHECKING:
    from account_monitor.cluster.leases import HeldLease
    from account_monitor.exchanges import Exchanges
    from account_monitor.ledger.account import AccountState
    from account_monitor.stores.journal import Journal

STOP_SECONDS = 2.5
"""How long recording what was already heard may take after a SIGTERM; the promise is 5 s for everything."""

JOURNAL = "journal"
"""What stands for a symbol in the alert that nothing can be recorded."""

log = structlog.get_logger()


class Accounts:
    """The accounts that are open in this process, and `_unrouted`, which records what names none of them."""

    def __init__(
        self,
        settings: Settings,
        desk: Desk,
        alarms: AlarmBoard,
        tasks: Tasks,
        *,
        nats_connected: Callable[[], bool],
    ) -> None:
        self.settings = settings
        """The configuration in effect; a reload replaces it."""
        self.inboxes = Inboxes()
        self.monitors: dict[str, Monitor] = {}
        self.risks = RiskWatch(alarms, time.monotonic)
        self.prices = PriceWatch(
            desk, alarms, clock=now_ms, monotonic=time.monotonic, subject=settings.pubsub.topics.prices
        )
        self.exchanges: Exchanges | None = None
        """Made for the first account that has one."""
        self.changing = asyncio.Lock()
        """Held while accounts come, go or are opened anew."""
        self._desk = desk
        self._alarms = alarms
        self._tasks = tasks
        self._nats_connected = nats_connected
        self._starting: set[Monitor] = set()
        self._heard_at_end: dict[str, int] | None = None

    # -- from the configuration to a monitor -------------------------------------------------------------------------

    async def open_all(self) -> None:
        """Open what is configured, or leave it to whoever will hold it. Raises: StartAborted."""
        if self.has_leases:
            self.inboxes.leave_to_others(UNROUTED)
            self.share_others()
            return
        # Accounts whose past may be in a database that is away wait for it, and keep no other waiting.
        is_known = partial(has_journal, self.settings.service.data_dir)
        for account in sorted(self.settings.accounts, key=is_known, reverse=True):
            monitor = await self.open(account, is_start=True)
            self.show(monitor, account)
            self.serve(monitor, account)
            if self._tasks.stopping.is_set():
                raise StartAborted("stopped before all accounts were open")
        self._show_unrouted(await self.open_monitor(UNROUTED, self.inboxes.unrouted, None))

    async def open(
        self,
        account: AccountSettings,
        *,
        is_start: bool = False,
        lease: HeldLease | None = None,
        folded: AccountState | None = None,
    ) -> Monitor:
        """Monitor an account, with its past from the history where only that has it; `show` makes it known.

        `folded`: what its journal came to as far as it was followed, while another process wrote it.
        """
        from account_monitor.historian.restoration import Restoration

        if lease is None or has_journal(self.settings.service.data_dir, account):
            restoration = Restoration(self.settings, self._desk, is_stopping=self._tasks.stopping.is_set)
            await restoration.run(account.name, is_patient=is_start)
        has_venue = account.exchange is not Exchange.NONE
        return await self.open_monitor(
            account.name, Inbox(), opening_of(account.opening), has_venue=has_venue, lease=lease, folded=folded
        )

    async def open_monitor(
        self,
        name: str,
        inbox: Inbox,
        opening: Opening | None,
        *,
        has_venue: bool = False,
        lease: HeldLease | None = None,
        folded: AccountState | None = None,
    ) -> Monitor:
        """Fold a journal, from where it is folded already, and record from its end on.

        Raises: JournalError, StartAborted.
        """
        from account_monitor.stores.checkpoints import JournalCheckpoints

        settings = self.settings
        usd_assets, day_starts_at = settings.service.usd_assets, settings.service.day_starts_at_minutes
        journal = await self._open_journal(name, lease)
        monitor = Monitor(
            name,
            journal,
            JournalCheckpoints(journal, usd_assets, day_starts_at=day_starts_at, folded=folded),
            inbox,
            clock=now_ms,
            monotonic=time.monotonic,
            usd_assets=usd_assets,
            day_starts_at=day_starts_at,
            opening=opening,
            snapshot_seconds=settings.history.snapshot_interval_seconds,
            has_venue=has_venue,
        )
        if lease is not None:
            monitor.speaks = lambda: lease.is_valid(boot_seconds())
            monitor.is_taken = lambda: lease.is_lost
        self._starting.add(monitor)
        try:
            await monitor.start()
        except BaseException:
            await journal.close()
            raise
        finally:
            self._starting.discard(monitor)
        self.monitors[name] = monitor
        self._tasks.spawn(f"account:{name}", monitor.run())
        return monitor

    async def _open_journal(self, name: str, lease: HeldLease | None) -> Journal:
        data_dir = self.settings.service.data_dir
        if lease is not None:
            from account_monitor.membership.journal import leased_journal

            return await leased_journal(data_dir, lease)
        from account_monitor.stores.journal import Journal

        return await asyncio.to_thread(Journal.open, data_dir, name, clock=now_ms)

    def stop_starting(self) -> None:
        """Let accounts that are being opened give up: the process is to end."""
        for monitor in self._starting:
            monitor.stop()

    # -- shown, fed and watched --------------------------------------------------------------------------------------

    def show(self, monitor: Monitor, account: AccountSettings) -> None:
        """Let readers, feeds and alarms know an account that was opened."""
        self.inboxes.add(monitor.name, monitor.inbox)
        self._desk.add(monitor)
        self._alarms.attach(monitor)
        self._alarms.resolve(monitor.name, "STORAGE_UNAVAILABLE", symbol=JOURNAL)  # it is open, and can be written
        self._watch_risks(monitor, account)
        if self.settings.database.redis_url is None:
            self._alarms.resolve(monitor.name, "STORAGE_UNAVAILABLE", symbol="redis")  # of a start that had one

    def _show_unrouted(self, monitor: Monitor) -> None:
        self.inboxes.unrouted = monitor.inbox
        self._desk.add(monitor)
        self._alarms.attach_unrouted(monitor)

    def replace(self, monitor: Monitor, account: AccountSettings | None) -> None:
        """Show another monitor of an account in the place of one that failed; None: of `_unrouted`."""
        self._heard_at_end = None  # what was counted went into the inbox that is no more
        if account is None:
            self._show_unrouted(monitor)
            return
        self._desk.add(monitor)
        self.inboxes.add(monitor.name, monitor.inbox)
        self._alarms.attach_again(monitor)
        self._watch_risks(monitor, account)
        self._alarms.resolve(monitor.name, "STORAGE_UNAVAILABLE", symbol=JOURNAL)

    def settle(self, accounts: Iterable[AccountSettings]) -> None:
        """End what fired before a restart and nobody raised since; where there is an exchange, its feed tells when."""
        for account in accounts:
            if account.exchange is Exchange.NONE:
                self.prices.look_at(self.monitors[account.name])  # before what it speaks of is taken to be over
                self._alarms.settle(account.name, but=OF_OTHERS)

    def serve(self, monitor: Monitor, account: AccountSettings) -> None:
        """Feed the account from its exchange, where it has one."""
        if account.exchange is Exchange.NONE:
            return
        if self.exchanges is None:
            from account_monitor.exchanges import Exchanges
            from account_monitor.stores.bans import Bans

            self.exchanges = Exchanges(
                self._desk,
                self._alarms,
                spawn=self._tasks.spawn,
                cancel=self._tasks.cancel,
                nats_connected=self._nats_connected,
                bans=Bans(self.settings.service.data_dir, now_ms),
            )
        self.exchanges.open(monitor, account, self.settings.reconciliation, self.settings.thresholds_of(account))

    async def serve_anew(self, monitor: Monitor, account: AccountSettings) -> None:
        """Feed it with other keys or from other addresses, or another monitor of it."""
        await self._stop_serving(account.name)
        self.serve(monitor, account)

    async def _stop_serving(self, name: str) -> None:
        if self.exchanges is not None:
            await self.exchanges.close(name)

    def _watch_risks(self, monitor: Monitor, account: AccountSettings) -> None:
        alerts = self.settings.alerts
        self.risks.attach(monitor, thresholds_of(self.settings, account), for_seconds=alerts.for_seconds)

    def take_thresholds(self, account: AccountSettings) -> None:
        """Watch an account that is open within other limits."""
        settings = self.settings
        self.risks.configure(account.name, thresholds_of(settings, account), for_seconds=settings.alerts.for_seconds)
        if self.exchanges is not None:
            self.exchanges.reload(account.name, settings.reconciliation, settings.thresholds_of(account))

    def check(self, settings: Settings) -> None:
        """Refuse what cannot change while an account runs. Raises: ConfigurationError naming it.

        If another source fed it, who is believed would change amid what was heard.
        """
        for account in settings.accounts:
            monitor = self.monitors.get(account.name)
            if monitor is None:
                continue
            monitor.check_opening(opening_of(account.opening))
            if monitor.has_venue is not (account.exchange is not Exchange.NONE):
                raise ConfigurationError(
                    f"accounts.{account.name}.exchange: was changed to {account.exchange}, which takes a restart"
                )

    # -- what comes for them -----------------------------------------------------------------------------------------

    def mark(self, symbol: str, price: Decimal, at_ms: int) -> None:
        """Hand a price to every account: NATS prices are for all that have no exchange of their own.

        A price from the future is one of now: else no later one would be newer.
        """
        at_ms = min(at_ms, now_ms())
        for monitor in self.monitors.values():
            if monitor.name != UNROUTED and not monitor.has_venue:
                monitor.mark(MarkPrice(symbol, price, at_ms))

    def positions(self) -> dict[str, dict[str, StreamPosition]]:
        """Return by account how far each stream is recorded."""
        return {name: dict(monitor.journal.positions) for name, monitor in self.monitors.items()}

    def latest_ms(self) -> int:
        """Return what time it is at the latest, as this machine and the exchanges say: one of them may be late."""
        return now_ms() if self.exchanges is None else max(now_ms(), self.exchanges.latest_ms())

    def has_caught_up(self) -> bool:
        """Return whether everything is recorded that had been heard when this was asked for the first time.

        It is begun anew when accounts come or are replaced.
        """
        if self._heard_at_end is None:
            self._heard_at_end = {name: m.inbox.put_count for name, m in self.monitors.items() if not m.has_venue}
        monitors = self.monitors
        return all(name not in monitors or monitors[name].taken_count >= n for name, n in self._heard_at_end.items())

    # -- closing -----------------------------------------------------------------------------------------------------

    async def close(self, name: str) -> None:
        """Monitor an account no longer, once everything heard is recorded."""
        await self._stop_serving(name)
        self.inboxes.remove(name)
        self._desk.remove(name)
        await self.close_monitor(name, None)
        self._forget(name)

    async def close_all(self) -> None:
        """Record what was heard, within `STOP_SECONDS`, and close the journals."""
        if self.exchanges is not None:
            await self.exchanges.stop()
        await asyncio.gather(*(self.close_monitor(name) for name in list(self.monitors)))

    async def close_monitor(self, name: str, patience_seconds: float | None = STOP_SECONDS) -> None:
        """Close a journal once what was heard is in it, or patience ends."""
        monitor = self.monitors[name]
        monitor.stop()
        await self._tasks.has_ended(f"account:{name}", patience_seconds)
        await monitor.journal.close()
        if self.monitors.get(name) is not monitor:
            return  # another one closed it meanwhile
        del self.monitors[name]  # last: who is cancelled before has not closed it
        self._tasks.forget(f"account:{name}")
        self._desk.health.forget(f"journal:{name}")
        self._desk.wait_for(f"journal:{name}", None)
        self._desk.health.forget(f"alarms:{name}")

    def _forget(self, name: str) -> None:
        self._alarms.forget(name)
        self.risks.forget(name)
        log.info("account_closed", account=name)

    # -- those that several processes share --------------------------------------------------------------------------

    @property
    def has_leases(self) -> bool:
        """Whether several processes share the accounts."""
        return self.settings.cluster.lease is not Lease.NONE

    def share_others(self) -> None:
        """Leave what is not open here to other processes; what is not configured any more to nobody."""
        names = {account.name for account in self.settings.accounts}
        for name in names - self.monitors.keys():
            self.inboxes.leave_to_others(name)
        self.inboxes.forget_all_but(names)

    async def open_held(self, lease: HeldLease, folded: AccountState | None = None) -> None:
        """Monitor an account whose journal goes on from the copy of it, and is folded so far.

        Raises: AccountMonitorError.
        """
        if lease.account == UNROUTED:
            monitor = await self.open_monitor(UNROUTED, Inbox(), None, lease=lease)
        else:
            monitor = await self.open(self._configured(lease.account), lease=lease, folded=folded)
        async with self.changing:  # not while it is folded: others are not to wait for that
            self._heard_at_end = None  # what was counted may have been another process's to take
            if lease.account == UNROUTED:
                self._show_unrouted(monitor)
                return
            try:
                account = self._configured(lease.account)
            except ConfigurationError:
                await self.close_monitor(lease.account)
                raise
            self.show(monitor, account)
            self.serve(monitor, account)
            self.settle([account])

    def _configured(self, name: str) -> AccountSettings:
        account = next((each for each in self.settings.accounts if each.name == name), None)
        if account is None:
            raise ConfigurationError(f"account {name} is not configured any more")
        return account

    async def quiet_held(self, account: str) -> int:
        """Take nothing more for an account, and record what was heard; return where its journal ends then."""
        await self._stop_serving(account)
        self.inboxes.leave_to_others(account)
        monitor = self.monitors[account]
        monitor.stop()
        if not await self._tasks.has_ended(f"account:{account}", STOP_SECONDS):
            log.warning("account_not_quiet", account=account, seq=monitor.journal.last_seq, seconds=STOP_SECONDS)
        return monitor.journal.last_seq

    async def close_held(self, account: str, *, at_once: bool) -> None:
        """Monitor an account no longer; `at_once`: without recording what was heard, for another process does."""
        self.inboxes.leave_to_others(account)
        if at_once:
            self.monitors[account].inbox.shut()
            self._tasks[f"account:{account}"].cancel()
        async with self.changing:
            self._heard_at_end = None
            await self._stop_serving(account)
            self._desk.remove(account)
            await self.close_monitor(account)
            self._forget(account)
            self.share_others()
