"""Composition: puts the rooms together for one process. The only file that knows every room."""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from account_monitor import __version__
from account_monitor.admission import Admission
from account_monitor.api.metrics import Sample, Told
from account_monitor.api.server import Doors
from account_monitor.api.tls import certificates_of
from account_monitor.clock import boot_seconds, now_ms
from account_monitor.config import (
    AccountSettings,
    Exchange,
    Lease,
    OpeningSettings,
    Settings,
    changed_accounts,
    exposed_doors,
    exposed_files,
    split_position_key,
)
from account_monitor.errors import ConfigurationError, HistoryUnavailable, JournalError, JournalInUse, StartAborted
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Anchor, MarkPrice, Opening
from account_monitor.ledger.instruments import linear_instrument
from account_monitor.ledger.rules import Thresholds
from account_monitor.logs import configure_logging
from account_monitor.monitor.alarms import OF_OTHERS, PASSING_SECONDS, AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import UNROUTED, StreamPosition
from account_monitor.monitor.price_watch import PriceWatch
from account_monitor.monitor.risk_watch import RiskWatch

if TYPE_CHECKING:
    from account_monitor.cluster.leases import HeldLease
    from account_monitor.exchanges import Exchanges
    from account_monitor.feeds.nats import NatsFeed
    from account_monitor.feeds.progress import StreamGap
    from account_monitor.historian.historian import Historian
    from account_monitor.historian.reading import HistoryReader
    from account_monitor.membership import Membership
    from account_monitor.notifiers.people import People, Reach
    from account_monitor.stores.cache import CurrentState
    from account_monitor.stores.journal import Journal

STOP_SECONDS = 2.5
"""How long recording what was already heard may take after a SIGTERM; the promise is 5 s for everything."""

REDIS_STOP_SECONDS = 1.0
"""How long writing the last state to Redis may take."""

WATCH_SECONDS = 0.25
REOPEN_SECONDS = 2.0
"""How often it is looked whether a journal that could not be written can be."""

JOURNAL = "journal"

LIVE = ("accounts", "alerts", "logging")
"""Sections of the configuration that a reload takes over."""
"""What stands for a symbol in the alert that nothing can be recorded."""

ALARMS_SHOWN = 10
"""Of an account, in its health: the critical ones first, then the oldest."""

CANCEL_ATTEMPTS = 3

RELOAD_AGAIN_SECONDS = 5.0
"""How long after a reload that needed a database which was away the next one is tried."""

CONFIGURATION = "configuration"
"""The name of a refused reload in the health."""


log = structlog.get_logger()


class App:
    """One process: the accounts of a configuration, fed, recorded and shown."""

    def __init__(self, settings: Settings, *, reload: Callable[[], Settings] | None = None) -> None:
        self.settings = settings
        self.desk = Desk(now_ms, __version__)
        self.alarms = AlarmBoard(
            now_ms,
            suppression_seconds=settings.alerts.suppression_duration_seconds,
            is_enabled=settings.alerts.enabled,
        )
        self.risks = RiskWatch(self.alarms, time.monotonic)
        self.prices = PriceWatch(
            self.desk, self.alarms, clock=now_ms, monotonic=time.monotonic, subject=settings.pubsub.topics.prices
        )
        self.inboxes = Inboxes()
        http_tls = certificates_of(settings.http.tls, "http.tls")
        grpc_tls = http_tls if settings.grpc.tls is None else certificates_of(settings.grpc.tls, "grpc.tls")
        self._admission = Admission(settings.auth, self.desk)
        self.doors = Doors(
            self.desk,
            http_host=settings.http.host,
            http_port=settings.http.port,
            metrics_host=settings.metrics.host,
            metrics_port=settings.metrics.port,
            metrics_path=settings.metrics.path,
            grpc_host=settings.grpc.host,
            grpc_port=settings.grpc.port,
            grpc_max_connections=settings.grpc.max_connections,
            allowed_origins=settings.http.allowed_origins,
            max_connections=settings.http.max_connections,
            max_connections_per_address=settings.http.max_connections_per_address,
            http_certificates=http_tls,
            grpc_certificates=grpc_tls,
            access=self._admission.access,
            metrics_need_token=settings.metrics.require_token,
            shows_page=settings.http.dashboard_enabled,
            samples=self._samples,
        )
        self.opened = asyncio.Event()
        """Set once every account has a view."""
        self._reload = reload
        self._starting: Monitor | None = None
        self._feed: NatsFeed | None = None
        self._exchanges: Exchanges | None = None
        self._historian: Historian | None = None
        self._reader: HistoryReader | None = None
        self._current_state: CurrentState | None = None
        self._people: People | None = None
        self._membership: Membership | None = None
        """With leases only: which accounts are open here is decided there."""
        self._gap_count = 0
        self._heard_at_end: dict[str, int] | None = None
        """By account without an exchange, how much had been heard when the end of the streams was first reached."""
        self._monitors: dict[str, Monitor] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reload_problem = ""
        """Why the last reload was not taken over."""
        self._changing = asyncio.Lock()
        """Held while accounts come, go or are opened anew."""
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until `stop`. Raises: ConfigurationError or JournalError at start; whatever broke a part later."""
        self.desk.configure([account.name for account in self.settings.accounts])
        await self._admission.open()
        await self.doors.start()
        self.spawn("admission", self._admission.run())
        self.spawn("doors", self.doors.watch())
        self._warn_of_exposed_files(self.settings)
        for problem in exposed_doors(self.settings):
            log.warning("door_exposed", problem=problem)
        log.info("listening", http=self.doors.http_url, grpc=self.doors.grpc_address, metrics=self.doors.metrics_url)
        try:
            await self._open_accounts()
            self.opened.set()
            self.spawn("reopening", self._reopen_journals())
            self.desk.wait_for("start", "the doors are not complete yet")
            self._open_history()
            await self._open_current_state()
            await self._open_people()
            await self._open_feed()
            await self._complete_doors()
            await self._join()
            gc.collect()
            gc.freeze()  # what a start has made stays: the collector need not look at it again and again
            self.desk.wait_for("start", None)
            if not self._has_leases:
                self._settle(self.settings.accounts)
            log.info("service_started", accounts=self.desk.accounts, version=__version__)
            await self._stopping.wait()
        except StartAborted as reason:
            log.info("start_aborted", reason=str(reason))
        finally:
            await self._close()
        if self._failure is not None:
            raise self._failure

    def _warn_of_exposed_files(self, settings: Settings) -> None:
        for problem in exposed_files(settings):
            log.warning("secret_file_exposed", problem=problem)

    async def _complete_doors(self) -> None:
        """Return when everything is answered. Raises: StartAborted where nobody wants that any more."""
        stopping = asyncio.create_task(self._stopping.wait())
        completing = asyncio.create_task(self.doors.complete())
        await asyncio.wait([stopping, completing], return_when=asyncio.FIRST_COMPLETED)
        if self._stopping.is_set():
            completing.cancel()
            raise StartAborted("stopped before the doors were complete")
        stopping.cancel()
        await completing

    def stop(self) -> None:
        """End `run`: what was heard is recorded first."""
        self._stopping.set()
        if self._starting is not None:
            self._starting.stop()

    async def reload(self) -> bool:
        """Read the configuration again and take over accounts, alerts and log level; an error keeps what was, and is
        logged and shown in the health.

        Return whether it ought to be asked for again after `RELOAD_AGAIN_SECONDS`: what it needs is away.
        """
        if self._reload is None:
            return False
        try:
            async with self._changing:
                await self._take_over(self._reload)
        except (ConfigurationError, JournalError, HistoryUnavailable, StartAborted, OSError) as error:
            is_away = isinstance(error, HistoryUnavailable | JournalInUse | OSError)
            self._note_refused_reload(str(error), is_away=is_away)
            return is_away
        self._reload_problem = ""
        self.desk.health.forget(CONFIGURATION)
        return False

    def _note_refused_reload(self, reason: str, *, is_away: bool) -> None:
        if is_away:
            reason += f"; tried again every {RELOAD_AGAIN_SECONDS:g} s"
        if not is_away:
            log.error("reload_refused", reason=reason)
        elif reason != self._reload_problem:
            log.warning("reload_waits", reason=reason)
        self._reload_problem = reason
        told = f"what was changed is not taken over: {reason}"
        self.desk.health.report(CONFIGURATION, Status.DEGRADED, told)

    async def _take_over(self, load: Callable[[], Settings]) -> None:
        opened: list[Monitor] = []
        try:
            settings = await asyncio.to_thread(load)
            reach = await asyncio.to_thread(_reach_of, settings)
            if not settings.accounts:
                raise ConfigurationError("accounts: none is configured any more; what was configured goes on")
            changes = changed_accounts(self.settings, settings)
            if self._has_leases:  # the keeper opens and closes accounts, once they are held
                changes = changes._replace(added=(), removed=())
            self._check_openings(settings)
            self._check_exchanges(settings)
            added = [account for account in settings.accounts if account.name in changes.added]
            for account in added:
                opened.append(await self._open_account(account))  # noqa: PERF401  # one fails: the others are known
        except BaseException:
            for monitor in opened:
                await self._close_monitor(monitor.name)
            raise
        needs_restart = _needs_restart(self.settings, settings)
        took_over = [name for name in LIVE if getattr(self.settings, name) != getattr(settings, name)]
        self.settings = self.settings._replace(
            accounts=settings.accounts, alerts=settings.alerts, logging=settings.logging
        )
        self.alarms.configure(
            suppression_seconds=settings.alerts.suppression_duration_seconds, is_enabled=settings.alerts.enabled
        )
        for account, monitor in zip(added, opened, strict=True):
            self._show_account(monitor, account)
            self._serve(monitor, account)
        self._settle(added)
        for name in changes.removed:
            await self._close_account(name)
        for account in settings.accounts:
            if account.name in changes.changed and (changed := self._monitors.get(account.name)) is not None:
                await self._serve_anew(changed, account)
        if self._people is not None:
            await self._people.configure(reach)
        for account in settings.accounts:
            self._take_thresholds(account)
        self.desk.configure([account.name for account in settings.accounts])
        if self._membership is not None:
            self._share_others()
            self._membership.changed()
        elif self._historian is not None:
            self._historian.assign(self.desk.accounts)
        configure_logging(settings.logging)
        self._warn_of_exposed_files(settings)
        await self.tell_feeds()
        log.info("reloaded", **changes._asdict(), took_over=took_over, needs_restart=needs_restart)

    # -- accounts ----------------------------------------------------------------------------------------------------

    async def _open_accounts(self) -> None:
        self.spawn("watch", self._watch())
        self.spawn("risks", self.risks.run())
        if self._has_leases:
            self.inboxes.leave_to_others(UNROUTED)
            self._share_others()
            return
        # Accounts whose past may be in a database that is away wait for it, and keep no other waiting.
        has_journal = partial(_has_journal, self.settings.service.data_dir)
        for account in sorted(self.settings.accounts, key=has_journal, reverse=True):
            monitor = await self._open_account(account, is_start=True)
            self._show_account(monitor, account)
            self._serve(monitor, account)
            if self._stopping.is_set():
                raise StartAborted("stopped before all accounts were open")
        unrouted = await self._open_monitor(UNROUTED, self.inboxes.unrouted, None)
        self.desk.add(unrouted)
        self.alarms.attach_unrouted(unrouted)

    async def _open_account(
        self, account: AccountSettings, *, is_start: bool = False, lease: HeldLease | None = None
    ) -> Monitor:
        from account_monitor.historian.restoration import Restoration

        if lease is None or _has_journal(self.settings.service.data_dir, account):
            restoration = Restoration(self.settings, self.desk, is_stopping=self._stopping.is_set)
            await restoration.run(account.name, is_patient=is_start)
        has_venue = account.exchange is not Exchange.NONE
        opening = opening_of(account.opening)
        return await self._open_monitor(account.name, Inbox(), opening, has_venue=has_venue, lease=lease)

    def _show_account(self, monitor: Monitor, account: AccountSettings) -> None:
        self.inboxes.add(monitor.name, monitor.inbox)
        self.desk.add(monitor)
        self.alarms.attach(monitor)
        self.alarms.resolve(monitor.name, "STORAGE_UNAVAILABLE", symbol=JOURNAL)  # it is open, and can be written
        self._watch_risks(monitor, account)
        if self.settings.database.redis_url is None:
            self.alarms.resolve(monitor.name, "STORAGE_UNAVAILABLE", symbol="redis")  # of a start that had one

    def _settle(self, accounts: Iterable[AccountSettings]) -> None:
        """End what fired before a restart and nobody raised since; where there is an exchange, its feed tells when."""
        for account in accounts:
            if account.exchange is Exchange.NONE:
                self.prices.look_at(self._monitors[account.name])  # before what it speaks of is taken to be over
                self.alarms.settle(account.name, but=OF_OTHERS)

    def _serve(self, monitor: Monitor, account: AccountSettings) -> None:
        """Feed the account from its exchange, where it has one."""
        if account.exchange is Exchange.NONE:
            return
        if self._exchanges is None:
            from account_monitor.exchanges import Exchanges
            from account_monitor.stores.bans import Bans

            self._exchanges = Exchanges(
                self.desk,
                self.alarms,
                spawn=self.spawn,
                cancel=self._cancel,
                nats_connected=lambda: self._feed is not None and self._feed.status.connected,
                bans=Bans(self.settings.service.data_dir, now_ms),
            )
        settings = self.settings
        self._exchanges.open(monitor, account, settings.reconciliation, settings.thresholds_of(account))

    def _watch_risks(self, monitor: Monitor, account: AccountSettings) -> None:
        alerts = self.settings.alerts
        self.risks.attach(monitor, thresholds_from(self.settings, account), for_seconds=alerts.for_seconds)

    def _take_thresholds(self, account: AccountSettings) -> None:
        settings = self.settings
        self.risks.configure(account.name, thresholds_from(settings, account), for_seconds=settings.alerts.for_seconds)
        if self._exchanges is not None:
            self._exchanges.reload(account.name, settings.reconciliation, settings.thresholds_of(account))

    async def _serve_anew(self, monitor: Monitor, account: AccountSettings) -> None:
        """Take over other keys or addresses."""
        if self._exchanges is not None:
            await self._exchanges.close(account.name)
        self._serve(monitor, account)

    async def _open_journal(self, name: str, lease: HeldLease | None) -> Journal:
        data_dir = self.settings.service.data_dir
        if lease is not None:
            from account_monitor.membership import leased_journal

            return await leased_journal(data_dir, lease)
        from account_monitor.stores.journal import Journal

        return await asyncio.to_thread(Journal.open, data_dir, name, clock=now_ms)

    async def _open_monitor(
        self,
        name: str,
        inbox: Inbox,
        opening: Opening | None,
        *,
        has_venue: bool = False,
        lease: HeldLease | None = None,
    ) -> Monitor:
        from account_monitor.stores.checkpoints import JournalCheckpoints

        settings = self.settings
        usd_assets = settings.service.usd_assets
        journal = await self._open_journal(name, lease)
        monitor = Monitor(
            name,
            journal,
            JournalCheckpoints(journal, usd_assets, day_starts_at=settings.service.day_starts_at_minutes),
            inbox,
            clock=now_ms,
            monotonic=time.monotonic,
            usd_assets=usd_assets,
            day_starts_at=settings.service.day_starts_at_minutes,
            opening=opening,
            snapshot_seconds=settings.history.snapshot_interval_seconds,
            has_venue=has_venue,
        )
        if lease is not None:
            monitor.speaks = lambda: lease.is_valid(boot_seconds())
        self._starting = monitor
        try:
            await monitor.start()
        except BaseException:
            await journal.close()
            raise
        finally:
            self._starting = None
        self._monitors[name] = monitor
        self.spawn(f"account:{name}", monitor.run())
        return monitor

    async def _close_account(self, name: str) -> None:
        if self._exchanges is not None:
            await self._exchanges.close(name)
        self.inboxes.remove(name)
        self.desk.remove(name)
        await self._close_monitor(name, None)
        self.alarms.forget(name)
        self.risks.forget(name)
        log.info("account_closed", account=name)

    async def _close_monitor(self, name: str, patience_seconds: float | None = STOP_SECONDS) -> None:
        monitor = self._monitors.pop(name)
        task = self._tasks.pop(f"account:{name}")
        monitor.stop()
        await asyncio.wait([task], timeout=patience_seconds)
        await monitor.journal.close()
        self.desk.health.forget(f"journal:{name}")
        self.desk.wait_for(f"journal:{name}", None)
        self.desk.health.forget(f"alarms:{name}")

    async def _reopen_journals(self) -> None:
        """Go on with accounts whose journals could not be written, as on a full disk, once they can be."""
        from account_monitor.stores.journal_file import has_room

        while True:
            await asyncio.sleep(REOPEN_SECONDS)
            for monitor in [each for each in self._monitors.values() if each.journal.may_be_opened_anew]:
                if await asyncio.to_thread(has_room, self.settings.service.data_dir):
                    async with self._changing:
                        await self._reopen(monitor)

    async def _reopen(self, failed: Monitor) -> None:
        """Replace a monitor that could not record by one that begins with what is in its journal, as after a restart.

        The failed one is shown until then. Its feeds read again what came since.
        """
        name = failed.name
        if self._monitors.get(name) is not failed:
            return  # it was removed meanwhile
        failed.stop()
        if not (await asyncio.wait([self._tasks[f"account:{name}"]], timeout=STOP_SECONDS))[0]:
            return  # it has not noticed yet
        await failed.journal.give_up_writing()
        account = next((each for each in self.settings.accounts if each.name == name), None)
        opening = None if account is None else opening_of(account.opening)
        lease = None if self._membership is None else self._membership.lease(name)
        if self._has_leases and lease is None:
            return  # it is about to be laid down
        try:
            monitor = await self._open_monitor(name, Inbox(), opening, has_venue=failed.has_venue, lease=lease)
        except (JournalError, StartAborted, OSError) as error:
            log.error("journal_not_reopened", account=name, reason=str(error))
            return
        await self._replace(failed, monitor, account)
        log.info("journal_reopened", account=name, seq=monitor.view.seq, reason=failed.journal.failure)

    async def _replace(self, failed: Monitor, monitor: Monitor, account: AccountSettings | None) -> None:
        name = monitor.name
        self.desk.add(monitor)
        if account is None:
            self.inboxes.unrouted = monitor.inbox
            self.alarms.attach_unrouted(monitor)
        else:
            self.inboxes.add(name, monitor.inbox)
            self.alarms.attach_again(monitor)
            self._watch_risks(monitor, account)
            self.alarms.resolve(name, "STORAGE_UNAVAILABLE", symbol=JOURNAL)
            await self._serve_anew(monitor, account)
        self._heard_at_end = None  # what was counted went into the inbox that is no more
        await self.tell_feeds()
        await failed.journal.close()

    # -- accounts that are shared ------------------------------------------------------------------------------------

    @property
    def _has_leases(self) -> bool:
        return self.settings.cluster.lease is not Lease.NONE

    async def _join(self) -> None:
        """Take part in the cluster, where the accounts are shared: accounts are opened once they are held."""
        if not self._has_leases:
            return
        assert self._historian is not None  # it is open by now
        module = await asyncio.to_thread(importlib.import_module, "account_monitor.membership")
        membership: Membership = module.Membership(
            self, self.desk, self.alarms, self._historian, address=self._address(), spawn=self.spawn
        )
        self.desk.cluster = self._membership = membership
        self.spawn("cluster", membership.run())

    def _address(self) -> str:
        """Return where other machines reach the doors, as far as this one knows."""
        url = urlsplit(self.doors.http_url)
        is_everywhere = url.hostname in ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound
        return f"{url.scheme}://{socket.gethostname()}:{url.port}" if is_everywhere else self.doors.http_url

    def _share_others(self) -> None:
        """Leave what is not open here to other processes; what is not configured any more to nobody."""
        names = {account.name for account in self.settings.accounts}
        for name in names - self._monitors.keys():
            self.inboxes.leave_to_others(name)
        self.inboxes.forget_all_but(names)

    async def open_held(self, lease: HeldLease) -> None:
        """Monitor an account whose journal goes on from the copy of it. Raises: AccountMonitorError."""
        async with self._changing:
            self._heard_at_end = None  # what was counted may have been another process's to take
            if lease.account == UNROUTED:
                unrouted = await self._open_monitor(UNROUTED, Inbox(), None, lease=lease)
                self.inboxes.unrouted = unrouted.inbox
                self.desk.add(unrouted)
                self.alarms.attach_unrouted(unrouted)
                return
            account = next((each for each in self.settings.accounts if each.name == lease.account), None)
            if account is None:
                raise ConfigurationError(f"account {lease.account} is not configured any more")
            monitor = await self._open_account(account, lease=lease)
            self._show_account(monitor, account)
            self._serve(monitor, account)
            self._settle([account])

    async def quiet_held(self, account: str) -> int:
        """Take nothing more for an account, and record what was heard; return where its journal ends then."""
        if self._exchanges is not None:
            await self._exchanges.close(account)
        self.inboxes.leave_to_others(account)
        monitor = self._monitors[account]
        monitor.stop()
        await asyncio.wait([self._tasks[f"account:{account}"]], timeout=STOP_SECONDS)
        return monitor.journal.last_seq

    async def close_held(self, account: str, *, at_once: bool) -> None:
        """Monitor an account no longer; `at_once`: without recording what was heard, for another process does."""
        self.inboxes.leave_to_others(account)
        if at_once:
            self._monitors[account].inbox.shut()
            self._tasks[f"account:{account}"].cancel()
        async with self._changing:
            self._heard_at_end = None
            if self._exchanges is not None:
                await self._exchanges.close(account)
            self.desk.remove(account)
            await self._close_monitor(account)
            self.alarms.forget(account)
            self.risks.forget(account)
            self._share_others()
        log.info("account_closed", account=account)

    def _check_exchanges(self, settings: Settings) -> None:
        """Refuse to change what feeds an account while it runs: who is believed would change amid what was heard."""
        for account in settings.accounts:
            monitor = self._monitors.get(account.name)
            has_venue = account.exchange is not Exchange.NONE
            if monitor is not None and monitor.has_venue is not has_venue:
                raise ConfigurationError(
                    f"accounts.{account.name}.exchange: was changed to {account.exchange}, which takes a restart"
                )

    def _check_openings(self, settings: Settings) -> None:
        for account in settings.accounts:
            monitor = self._monitors.get(account.name)
            if monitor is not None:
                monitor.check_opening(opening_of(account.opening))

    # -- what follows the accounts -----------------------------------------------------------------------------------

    def _open_history(self) -> None:
        """Let the history be written by another process, and be asked in another thread."""
        from account_monitor.historian.historian import Historian
        from account_monitor.historian.reading import HistoryReader
        from account_monitor.stores.history.opening import SQLITE, history_store
        from account_monitor.stores.journal_file import journal_path

        settings = self.settings
        self._historian = Historian(settings, self.desk, self.alarms)
        if self._has_leases:
            self._historian.assign([], {})
        else:
            self._historian.assign(self.desk.accounts)
        self.spawn("history", self._historian.run())
        database, data_dir = settings.database, settings.service.data_dir
        store = history_store(database.url, data_dir, clock=now_ms, password=database.password)
        self.desk.history = self._reader = reader = HistoryReader(store)
        if settings.history.journal_retention_seconds is not None and database.url != SQLITE:
            from account_monitor.historian.retention import Retention

            retention = Retention(
                self.desk,
                retention_ms=int(settings.history.journal_retention_seconds * 1000),
                clock=now_ms,
                replicated=self._historian.replicated,
                prove=lambda account, until: reader.prove(journal_path(data_dir, account), until),
            )
            self.spawn("retention", retention.run())

    async def _close_history(self) -> None:
        if self._historian is not None:
            await self._historian.stop()
        if self._reader is not None:
            await self._reader.close()

    async def _open_current_state(self) -> None:
        """Keep the newest views in Redis, where one is configured."""
        database = self.settings.database
        if database.redis_url is None:
            return
        cache, redis = [
            await asyncio.to_thread(importlib.import_module, f"account_monitor.stores.{name}")
            for name in ("cache", "redis_connection")
        ]
        connection = redis.RedisConnection(database.redis_url, database.redis_password)
        state = self._current_state = cache.CurrentState(self.desk, self.alarms, connection)
        self.spawn("redis", state.run())

    async def _close_current_state(self) -> None:
        if self._current_state is not None:
            self._current_state.stop()
            await asyncio.wait([self._tasks["redis"]], timeout=REDIS_STOP_SECONDS)
            await self._cancel("redis")

    # -- people ------------------------------------------------------------------------------------------------------

    async def _open_people(self) -> None:
        """Let people be told, through the channels that are configured."""
        reach = await asyncio.to_thread(_reach_of, self.settings)
        from account_monitor.notifiers.people import People

        self._people = People(
            self.desk,
            self.alarms,
            day_starts_at_minutes=self.settings.service.day_starts_at_minutes,
            spawn=self.spawn,
            cancel=self._cancel,
            is_changing=self._changing.locked,
        )
        await self._people.configure(reach)
        self.spawn("people", self._people.run())
        self.spawn("heartbeat", self._people.heartbeat.run())

    # -- feeds -------------------------------------------------------------------------------------------------------

    async def _open_feed(self) -> None:
        nats = self.settings.pubsub.nats
        if nats.urls is None:
            self.desk.health.report("nats", Status.HEALTHY, "switched off")
            return
        if nats.credentials_file is not None and importlib.util.find_spec("nkeys") is None:
            raise ConfigurationError(
                "pubsub.nats.credentials_file: needs the package nkeys; install account-monitor[credentials]"
            )
        self.desk.wait_for("nats", f"waiting for NATS at {', '.join(nats.urls)}")
        feeds, notifiers = [
            await asyncio.to_thread(importlib.import_module, f"account_monitor.{room}.nats")
            for room in ("feeds", "notifiers")
        ]
        topics = self.settings.pubsub.topics
        self._feed = feeds.NatsFeed(
            ",".join(nats.urls),
            inboxes=self.inboxes,
            prices=self,
            recorded=self._positions(),
            clock=self._latest_ms,
            fills_subject=topics.fill_events,
            prices_subject=topics.prices,
            credentials_file=None if nats.credentials_file is None else str(nats.credentials_file),
            ca_file=None if nats.ca_file is None else str(nats.ca_file),
            reconnect_wait_seconds=nats.reconnect_wait_seconds,
            durable=self.settings.service.name,
            on_gap=self._note_gap,
        )
        self.spawn("nats", self._feed.run())
        server = notifiers.Server(nats.urls, nats.credentials_file, nats.ca_file, nats.reconnect_wait_seconds)
        self.spawn("pnl", notifiers.PnLNotifier(self.desk, server, topics.pnl_updates).run())
        alerts = notifiers.AlertNotifier(self.desk, server, topics.alerts, unrecorded=self.alarms.unrecorded)
        self.spawn("alerts", alerts.run())

    def _latest_ms(self) -> int:
        """Return what time it is at the latest, as this machine and the exchanges say: one of them may be late."""
        return now_ms() if self._exchanges is None else max(now_ms(), self._exchanges.latest_ms())

    async def tell_feeds(self) -> None:
        """Let the feeds know which accounts there are."""
        if self._feed is not None:
            await self._feed.accounts_changed(self._positions())

    def _positions(self) -> dict[str, dict[str, StreamPosition]]:
        return {name: dict(monitor.journal.positions) for name, monitor in self._monitors.items()}

    def mark(self, symbol: str, price: Decimal, at_ms: int) -> None:
        """Hand a price to every account: NATS prices are for all that have no exchange of their own.

        A price from the future is one of now: else no later one would be newer.
        """
        at_ms = min(at_ms, now_ms())
        for monitor in self._monitors.values():
            if monitor.name != UNROUTED and not monitor.has_venue:
                monitor.mark(MarkPrice(symbol, price, at_ms))

    # -- watching ----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Keep the health checks true."""
        while True:
            for name, monitor in self._monitors.items():
                self._watch_journal(name, monitor)
                if name != UNROUTED:
                    self._watch_alarms(name)
            self.prices.look()
            self.alarms.look()
            if self._feed is not None:
                self._watch_feed(self._feed)
            if self._exchanges is not None:
                self._exchanges.watch()
            if self._membership is not None:
                self._membership.watch()
            if self._historian is not None:
                self._historian.watch()
            if self._current_state is not None:
                self._current_state.watch()
            await asyncio.sleep(WATCH_SECONDS)

    def _watch_journal(self, name: str, monitor: Monitor) -> None:
        failure = self._failure_of(monitor)
        status = Status.HEALTHY if failure is None else Status.UNHEALTHY
        self.desk.health.report(f"journal:{name}", status, failure or "recording")
        self.desk.wait_for(f"journal:{name}", None if failure is None else f"account {name}: {failure}")
        if failure is not None and name != UNROUTED:
            self.alarms.fire(name, "STORAGE_UNAVAILABLE", failure, symbol=JOURNAL, severity="CRITICAL")

    def _failure_of(self, monitor: Monitor) -> str | None:
        """Return why nothing is recorded and what happens next, None while all is well."""
        failure = monitor.failure or monitor.journal.failure
        if failure is None:
            return None
        if monitor.journal.may_be_opened_anew:
            where = self.settings.service.data_dir
            return f"{failure}; it goes on by itself once {where} can be written, and reads what came meanwhile"
        return f"{failure}; see whether the disk is sound and what `replay --verify` says, then restart the service"

    def _watch_alarms(self, name: str) -> None:
        alerts = sorted(
            (alarm.alert for alarm in self.alarms.open(name)), key=lambda alert: alert.severity != "CRITICAL"
        )
        status = Status.DEGRADED if alerts else Status.HEALTHY
        told = [_said(alert) for alert in alerts[:ALARMS_SHOWN]]
        if len(alerts) > ALARMS_SHOWN:
            told.append(f"and {len(alerts) - ALARMS_SHOWN} more")
        self.desk.health.report(f"alarms:{name}", status, "; ".join(told) or "none")

    def _watch_feed(self, feed: NatsFeed) -> None:
        status = feed.status
        if status.connected:
            modes = ", ".join(f"{subject}: {mode}" for subject, mode in status.modes.items())
            self.desk.health.report("nats", Status.HEALTHY, f"connected; {modes}")
        else:
            nats = self.settings.pubsub.nats
            why = status.last_error or "connecting"
            again = f"tried again every {nats.reconnect_wait_seconds:g} s"
            where = ", ".join(nats.urls or ())
            self.desk.health.report("nats", Status.DEGRADED, f"{where}: not connected: {why}; {again}")
        if not status.has_reached_end:
            return
        if self._heard_at_end is None:
            self._heard_at_end = {name: m.inbox.put_count for name, m in self._monitors.items() if not m.has_venue}
        monitors = self._monitors
        if all(name not in monitors or monitors[name].taken_count >= n for name, n in self._heard_at_end.items()):
            self.desk.wait_for("nats", None)

    def _note_gap(self, gap: StreamGap) -> None:
        """Say it until somebody has looked and restarted: what a stream lost nobody can read again.

        Each account that misses something has an alert of its own: nobody knows whose fills are lost, and who looks
        after one account does not look at another.
        """
        self._gap_count += 1
        self.desk.health.report("stream", Status.DEGRADED, gap.text)
        for name in [account for account in self.desk.accounts if account in gap.accounts]:
            self.alarms.fire(name, "STREAM_GAP", gap.text, for_seconds=PASSING_SECONDS)

    def _samples(self) -> list[Told]:
        nats = [] if self._feed is None else self._nats_samples(self._feed)
        exchanges = [] if self._exchanges is None else self._exchanges.samples()
        alarms = [
            Sample(
                "alerts_triggered_total", "Alerts that fired.", "counter", count,
                {"account": account, "type": kind, "severity": severity},
            )
            for (account, kind, severity), count in self.alarms.raised.items()
        ]  # fmt: skip
        firing = Counter(dict.fromkeys(self.alarms.raised, 0))
        firing.update((account, alert.type, alert.severity) for account, alert in self.alarms.open())
        alarms += [
            Sample(
                "alerts_firing", "Alerts that fire now.", "gauge", count,
                {"account": account, "type": kind, "severity": severity},
            )
            for (account, kind, severity), count in firing.items()
        ]  # fmt: skip
        residuals = [
            Sample(
                "account_equity_residual_usd", "What the wallets hold that no cause explains.", "gauge",
                float(monitor.residual), {"account": monitor.name},
            )
            for monitor in self.desk.monitors() if monitor.name != UNROUTED and monitor.residual is not None
        ]  # fmt: skip
        lags = [
            Sample(
                "projection_lag_events", "Entries of the journal that are not there yet.", "gauge", lag,
                {"account": account, "projection": projection},
            )
            for projection, follower in (("history", self._historian), ("redis", self._current_state))
            if follower is not None for account, lag in follower.lags()
        ]  # fmt: skip
        people = [] if self._people is None else _people_samples(self._people)
        cluster = [] if self._membership is None else self._membership.samples()
        return [*nats, *exchanges, *alarms, *residuals, *lags, *people, *cluster, *self._admission.samples()]

    def _nats_samples(self, feed: NatsFeed) -> list[Sample]:
        status = feed.status
        return [
            Sample("nats_connected", "Whether there is a connection to NATS.", "gauge", float(status.connected)),
            Sample("nats_reconnects_total", "Connections that were made anew.", "counter", status.reconnects),
            Sample("nats_stream_gaps_total", "Places where a stream had lost messages.", "counter", self._gap_count),
            *(
                Sample("nats_messages_received_total", "Messages by what they were.", "counter", count, {"type": kind})
                for kind, count in status.received.items()
            ),
        ]

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a part of the service until it closes; if the part breaks, the service ends with its error."""
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    async def _cancel(self, name: str) -> None:
        task = self._tasks.pop(name)
        for _ in range(CANCEL_ATTEMPTS):  # a library may swallow a cancellation
            task.cancel()
            if (await asyncio.wait([task], timeout=0.5))[0]:
                break

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part that breaks takes the process with it: restart is recovery."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.critical("part_failed", part=task.get_name(), exc_info=error)
        self._failure = self._failure or error
        self._stopping.set()

    async def _close(self) -> None:
        started = time.monotonic()
        if self._membership is not None:
            await self._membership.stop(self._tasks["cluster"])
        for name in [name for name in self._tasks if not name.startswith(("account:", "redis"))]:
            await self._cancel(name)
        if self._exchanges is not None:
            await self._exchanges.stop()
        await asyncio.gather(*(self._close_monitor(name) for name in list(self._monitors)))
        await asyncio.gather(self._close_history(), self._close_current_state())
        await self.doors.stop()
        log.info("service_stopped", seconds=round(time.monotonic() - started, 3))


def opening_of(settings: OpeningSettings | None) -> Opening | None:
    """Return what the configuration says an account held at first; cost is the value at the entry price."""
    if settings is None:
        return None
    anchors = []
    for key, position in settings.positions or ():
        symbol, side = split_position_key(key)
        cost = linear_instrument(symbol).value(position.quantity, position.entry_price)
        anchors.append(Anchor(symbol, side, position.quantity, cost, None, settings.at_ms))
    return Opening("config", settings.at_ms or 0, settings.balances, tuple(anchors))


def _reach_of(settings: Settings) -> Reach:
    """Return how people are reached; imports what that takes, so ask in a thread. Raises: ConfigurationError."""
    from account_monitor.notifiers.people import reach_of

    return reach_of(settings.alerts)


def _people_samples(people: People) -> list[Sample]:
    letters = [
        Sample(
            "channel_letters_total", "Letters to people that a channel took (sent) or did not take (failed).",
            "counter", count, {"channel": channel, "outcome": outcome},
        )
        for channel, outcome, count in people.counts()
    ]  # fmt: skip
    if people.heartbeat.url is None:
        return letters
    calls = (("heard", people.heartbeat.called), ("failed", people.heartbeat.failed))
    beats = [
        Sample("heartbeats_total", "Calls of the dead man's switch.", "counter", count, {"outcome": outcome})
        for outcome, count in calls
    ]
    return [*letters, *beats]


def thresholds_from(settings: Settings, account: AccountSettings) -> Thresholds:
    """Return where the risk alerts of an account begin; without an exchange there are no margins to watch."""
    limits = settings.thresholds_of(account)
    if account.exchange is Exchange.NONE:
        limits = limits._replace(max_margin_ratio=None, min_liquidation_distance_pct=None)
    return Thresholds(
        limits.min_balance, limits.max_drawdown_pct, limits.max_margin_ratio, limits.max_leverage,
        limits.min_liquidation_distance_pct, limits.max_daily_loss, settings.alerts.hysteresis_pct,
    )  # fmt: skip


def _has_journal(data_dir: Path, account: AccountSettings) -> bool:
    return (data_dir / f"{account.name}.journal").exists()


def _said(alert: Alert) -> str:
    where = "" if alert.symbol is None else f" {alert.symbol}"
    return f"{alert.type}{where}: {alert.message}"


def _needs_restart(old: Settings, new: Settings) -> list[str]:
    """Name the sections that changed and are read only at start."""
    return [name for name in old._fields if name not in LIVE and getattr(old, name) != getattr(new, name)]
