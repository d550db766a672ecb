"""App: one process, from its configuration to everything that runs in it."""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import socket
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from account_monitor import __version__
from account_monitor.admission import Admission
from account_monitor.api.metrics import Told
from account_monitor.api.server import Doors
from account_monitor.api.tls import certificates_of
from account_monitor.app.accounts import Accounts
from account_monitor.app.reopening import Reopening
from account_monitor.app.samples import alarm_samples, lag_samples, nats_samples, people_samples, residual_samples
from account_monitor.app.tasks import Tasks
from account_monitor.app.watch import Watch
from account_monitor.clock import now_ms
from account_monitor.config import Settings, changed_accounts, exposed_doors, exposed_files
from account_monitor.errors import ConfigurationError, HistoryUnavailable, JournalError, JournalInUse, StartAborted
from account_monitor.logs import configure_logging
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status

if TYPE_CHECKING:
    from account_monitor.cluster.leases import HeldLease
    from account_monitor.feeds.nats import NatsFeed
    from account_monitor.historian.historian import Historian
    from account_monitor.historian.reading import HistoryReader
    from account_monitor.membership.membership import Membership
    from account_monitor.monitor.monitor import Monitor
    from account_monitor.notifiers.people import People, Reach
    from account_monitor.stores.cache import CurrentState

REDIS_STOP_SECONDS = 1.0
"""How long writing the last state to Redis may take."""

REST_SECONDS = 1.0
"""How long letters that are on their way to people may take at the end; the promise is 5 s for all of a stop."""

SHARED_REST_SECONDS = 0.2
"""The same where another process waits for the accounts: it tells at most once more what had not arrived."""

WATCH_SECONDS = 0.25

COLLECT_SECONDS = 300.0
"""How often all of the memory is searched for what only refers to itself; everything stands still for some 50 ms then.
What lives shorter is found at once, as ever.
"""
NEVER = 1_000_000_000

LIVE = ("accounts", "alerts", "logging")
"""Sections of the configuration that a reload takes over."""

RELOAD_AGAIN_SECONDS = 5.0
"""How long after a reload that needed a database which was away the next one is tried."""

CONFIGURATION = "configuration"
"""The name of a refused reload in the health."""


log = structlog.get_logger()


class App:
    """One process: the accounts of a configuration, fed, recorded and shown."""

    def __init__(self, settings: Settings, *, reload: Callable[[], Settings] | None = None) -> None:
        self.desk = Desk(now_ms, __version__)
        self.alarms = AlarmBoard(
            now_ms,
            suppression_seconds=settings.alerts.suppression_duration_seconds,
            is_enabled=settings.alerts.enabled,
        )
        self.tasks = Tasks()
        self.accounts = Accounts(
            settings,
            self.desk,
            self.alarms,
            self.tasks,
            nats_connected=lambda: self._feed is not None and self._feed.status.connected,
        )
        self.watch = Watch(self.desk, self.alarms, self.accounts)
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
        self._feed: NatsFeed | None = None
        self._historian: Historian | None = None
        self._reader: HistoryReader | None = None
        self._current_state: CurrentState | None = None
        self._people: People | None = None
        self._membership: Membership | None = None
        """With leases only: which accounts are open here is decided there."""
        self._reload_problem = ""
        """Why the last reload was not taken over."""

    @property
    def settings(self) -> Settings:
        """The configuration in effect."""
        return self.accounts.settings

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
            self.spawn("watch", self._watch())
            self.spawn("risks", self.accounts.risks.run())
            await self.accounts.open_all()
            self.opened.set()
            self.spawn("reopening", self._reopening().run())
            self.desk.wait_for("start", "it is starting: not all of its addresses are open yet")
            self._open_history()
            await self._open_current_state()
            await self._open_people()
            await self._open_feed()
            await self._complete_doors()
            await self._join()
            self.spawn("collector", _collect_garbage())
            self.desk.wait_for("start", None)
            if not self.accounts.has_leases:
                self.accounts.settle(self.settings.accounts)
            log.info("service_started", accounts=self.desk.accounts, version=__version__)
            await self.tasks.stopping.wait()
        except StartAborted as reason:
            log.info("start_aborted", reason=str(reason))
        finally:
            await self._close()
        if self.tasks.failure is not None:
            raise self.tasks.failure

    def _warn_of_exposed_files(self, settings: Settings) -> None:
        for problem in exposed_files(settings):
            log.warning("secret_file_exposed", problem=problem)

    async def _complete_doors(self) -> None:
        """Return when everything is answered. Raises: StartAborted where nobody wants that any more."""
        stopping = asyncio.create_task(self.tasks.stopping.wait())
        completing = asyncio.create_task(self.doors.complete())
        await asyncio.wait([stopping, completing], return_when=asyncio.FIRST_COMPLETED)
        if self.tasks.stopping.is_set():
            completing.cancel()
            raise StartAborted("stopped before the doors were complete")
        stopping.cancel()
        await completing

    def stop(self) -> None:
        """End `run`: what was heard is recorded first."""
        self.tasks.stopping.set()
        self.accounts.stop_starting()

    async def reload(self) -> bool:
        """Read the configuration again and take over accounts, alerts and log level; an error keeps what was, and is
        logged and shown in the health.

        Return whether it ought to be asked for again after `RELOAD_AGAIN_SECONDS`: what it needs is away.
        """
        if self._reload is None:
            return False
        try:
            async with self.accounts.changing:
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
        accounts = self.accounts
        opened: list[Monitor] = []
        try:
            settings = await asyncio.to_thread(load)
            reach = await asyncio.to_thread(_reach_of, settings)
            if not settings.accounts:
                raise ConfigurationError("accounts: none is configured any more; what was configured goes on")
            changes = changed_accounts(self.settings, settings)
            if accounts.has_leases:  # the keeper opens and closes accounts, once they are held
                changes = changes._replace(added=(), removed=())
            accounts.check(settings)
            added = [account for account in settings.accounts if account.name in changes.added]
            for account in added:
                opened.append(await accounts.open(account))  # noqa: PERF401  # one fails: the others are known
        except BaseException:
            for monitor in opened:
                await accounts.close_monitor(monitor.name)
            raise
        needs_restart = _needs_restart(self.settings, settings)
        took_over = [name for name in LIVE if getattr(self.settings, name) != getattr(settings, name)]
        accounts.settings = self.settings._replace(
            accounts=settings.accounts, alerts=settings.alerts, logging=settings.logging
        )
        self.alarms.configure(
            suppression_seconds=settings.alerts.suppression_duration_seconds, is_enabled=settings.alerts.enabled
        )
        for account, monitor in zip(added, opened, strict=True):
            accounts.show(monitor, account)
            accounts.serve(monitor, account)
        accounts.settle(added)
        for name in changes.removed:
            await accounts.close(name)
        for account in settings.accounts:
            if account.name in changes.changed and (changed := accounts.monitors.get(account.name)) is not None:
                await accounts.serve_anew(changed, account)
            accounts.take_thresholds(account)
        if self._people is not None:
            await self._people.configure(reach)
        await self._tell_of_accounts()
        configure_logging(settings.logging)
        self._warn_of_exposed_files(settings)
        log.info("reloaded", **changes._asdict(), took_over=took_over, needs_restart=needs_restart)

    async def _tell_of_accounts(self) -> None:
        """Let everything that serves accounts know which there are now."""
        self.desk.configure([account.name for account in self.settings.accounts])
        if self._membership is not None:
            self.accounts.share_others()
            self._membership.changed()
        elif self._historian is not None:
            self._historian.assign(self.desk.accounts)
        await self.tell_feeds()

    # -- several processes -------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Take part in the cluster, where the accounts are shared: accounts are opened once they are held."""
        if not self.accounts.has_leases:
            return
        assert self._historian is not None  # it is open by now
        module = await asyncio.to_thread(importlib.import_module, "account_monitor.membership.membership")
        membership: Membership = module.Membership(
            self.accounts,
            self.desk,
            self.alarms,
            self._historian,
            address=self._address(),
            spawn=self.spawn,
            tell_feeds=self.tell_feeds,
        )
        self.desk.cluster = self._membership = membership
        self.spawn("cluster", membership.run())

    def _address(self) -> str:
        """Return where other machines reach the doors, as far as this one knows."""
        url = urlsplit(self.doors.http_url)
        is_everywhere = url.hostname in ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound
        return f"{url.scheme}://{socket.gethostname()}:{url.port}" if is_everywhere else self.doors.http_url

    def _reopening(self) -> Reopening:
        return Reopening(self.accounts, self.tasks, lease_of=self._lease_of, tell_feeds=self.tell_feeds)

    def _lease_of(self, account: str) -> HeldLease | None:
        return None if self._membership is None else self._membership.lease(account)

    # -- what follows the accounts -----------------------------------------------------------------------------------

    def _open_history(self) -> None:
        """Let the history be written by another process, and be asked in another thread."""
        from account_monitor.historian.historian import Historian
        from account_monitor.historian.reading import HistoryReader
        from account_monitor.stores.history.opening import SQLITE, history_store
        from account_monitor.stores.journal_file import journal_path

        settings = self.settings
        self._historian = Historian(settings, self.desk, self.alarms)
        if self.accounts.has_leases:
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
            await self.tasks.has_ended("redis", REDIS_STOP_SECONDS)
            await self.tasks.cancel("redis")

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
            cancel=self.tasks.cancel,
            is_changing=self.accounts.changing.locked,
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
            inboxes=self.accounts.inboxes,
            prices=self.accounts,
            recorded=self.accounts.positions(),
            clock=self.accounts.latest_ms,
            fills_subject=topics.fill_events,
            prices_subject=topics.prices,
            credentials_file=None if nats.credentials_file is None else str(nats.credentials_file),
            ca_file=None if nats.ca_file is None else str(nats.ca_file),
            reconnect_wait_seconds=nats.reconnect_wait_seconds,
            durable=self.settings.service.name,
            on_gap=self.watch.note_gap,
        )
        self.spawn("nats", self._feed.run())
        server = notifiers.Server(nats.urls, nats.credentials_file, nats.ca_file, nats.reconnect_wait_seconds)
        self.spawn("pnl", notifiers.PnLNotifier(self.desk, server, topics.pnl_updates).run())
        alerts = notifiers.AlertNotifier(self.desk, server, topics.alerts, unrecorded=self.alarms.unrecorded)
        self.spawn("alerts", alerts.run())

    async def tell_feeds(self) -> None:
        """Let the feeds know which accounts there are."""
        if self._feed is not None:
            await self._feed.accounts_changed(self.accounts.positions())

    # -- watching ----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Keep the health checks true."""
        while True:
            self.watch.look(self._feed)
            for part in (self.accounts.exchanges, self._membership, self._historian, self._current_state):
                if part is not None:
                    part.watch()
            await asyncio.sleep(WATCH_SECONDS)

    def _samples(self) -> list[Told]:
        samples: list[Told] = [*alarm_samples(self.alarms), *residual_samples(self.desk.monitors())]
        if self._feed is not None:
            samples += nats_samples(self._feed, self.watch.gap_count)
        if self.accounts.exchanges is not None:
            samples += self.accounts.exchanges.samples()
        if self._historian is not None:
            samples += lag_samples("history", self._historian.lags())
        if self._current_state is not None:
            samples += lag_samples("redis", self._current_state.lags())
        if self._people is not None:
            samples += people_samples(self._people)
        if self._membership is not None:
            samples += self._membership.samples()
        return [*samples, *self._admission.samples()]

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a part of the service until it closes; if the part breaks, the service ends with its error."""
        self.tasks.spawn(name, work)

    async def _close(self) -> None:
        started = time.monotonic()
        if self._people is not None:
            await self._people.rest(REST_SECONDS if self._membership is None else SHARED_REST_SECONDS)
        if self._membership is not None:
            await self._membership.stop(self.tasks["cluster"])
        await self.tasks.cancel_all_but("account:", "redis")
        await self.accounts.close_all()
        await asyncio.gather(self._close_history(), self._close_current_state())
        await self.doors.stop()
        log.info("service_stopped", seconds=round(time.monotonic() - started, 3))


async def _collect_garbage() -> None:
    """Keep Python from stopping everything whenever it likes: it would every few seconds of 500 fills/s."""
    gc.collect()
    gc.freeze()  # what a start has made stays: nobody need look at it again and again
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, NEVER)
    while True:
        await asyncio.sleep(COLLECT_SECONDS)
        gc.collect()


def _reach_of(settings: Settings) -> Reach:
    """Return how people are reached; imports what that takes, so ask in a thread. Raises: ConfigurationError."""
    from account_monitor.notifiers.people import reach_of

    return reach_of(settings.alerts)


def _needs_restart(old: Settings, new: Settings) -> list[str]:
    """Name the sections that changed and are read only at start."""
    return [name for name in old._fields if name not in LIVE and getattr(old, name) != getattr(new, name)]
