"""Exchanges: which feed serves which account, and what the accounts at one address share. Composition, beside `app`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable
from random import SystemRandom
from typing import Any, NamedTuple, get_args

from account_monitor.api.exchange import samples_of
from account_monitor.api.metrics import Distribution, Sample, Told
from account_monitor.config import AccountSettings, Exchange, KeyPermissions, ReconciliationSettings, ThresholdSettings
from account_monitor.feeds.binance.feed import BinanceFeed
from account_monitor.feeds.binance.marks import MarkPrices
from account_monitor.feeds.binance.permissions import KeyCheck, spot_rest
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.session import StreamSettings
from account_monitor.feeds.binance.transport import AiohttpTransport, Transport, shown_url
from account_monitor.feeds.binance.venue import REST_URLS, WEBSOCKET_URLS, BinanceVenue
from account_monitor.ledger.events import MarkPrice
from account_monitor.ledger.reconciliation import Cause
from account_monitor.monitor.alarms import OF_OTHERS, AlarmBoard
from account_monitor.monitor.crosscheck import CrossCheck
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.monitor.histogram import Histogram
from account_monitor.monitor.judge import Judge
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.price_watch import MARK_PRICES
from account_monitor.monitor.quality import AccountQuality, AddressQuality, ExchangeQuality
from account_monitor.monitor.reconciler import DRIFT_BUCKETS, DURATION_BUCKETS_SECONDS, Policy, Reconciler, Terms
from account_monitor.stores.bans import Bans

Spawn = Callable[[str, Coroutine[Any, Any, None]], None]


class _Served(NamedTuple):
    """An account and everything that serves it."""

    monitor: Monitor
    venue: BinanceVenue
    key: KeyCheck
    feed: BinanceFeed
    judge: Judge
    reconciler: Reconciler
    crosscheck: CrossCheck
    unsubscribe: Callable[[], None]


class Exchanges:
    """The feeds from exchanges of one process."""

    def __init__(
        self,
        desk: Desk,
        alarms: AlarmBoard,
        *,
        spawn: Spawn,
        cancel: Callable[[str], Coroutine[Any, Any, None]],
        nats_connected: Callable[[], bool],
        transport: Transport | None = None,
        bans: Bans | None = None,
    ) -> None:
        """`spawn` runs a named part of the service, `cancel` ends one; `bans` is what a restart must not forget."""
        self._desk = desk
        self._alarms = alarms
        self._spawn = spawn
        self._cancel = cancel
        self._nats_connected = nats_connected
        self._transport = transport
        self._bans = bans
        self._venues: dict[tuple[str, str], BinanceVenue] = {}
        self._marks: dict[BinanceVenue, MarkPrices] = {}
        self._silent: dict[BinanceVenue, str] = {}
        """What is wrong with the mark prices of a venue."""
        self._served: dict[str, _Served] = {}
        desk.exchange_quality = self.quality

    def open(
        self,
        monitor: Monitor,
        account: AccountSettings,
        reconciliation: ReconciliationSettings,
        thresholds: ThresholdSettings,
    ) -> None:
        """Serve an account whose journal is folded; nothing for one without an exchange."""
        if account.exchange is Exchange.NONE:
            return
        assert account.api_key is not None  # the configuration refuses an exchange without keys
        assert account.secret_key is not None
        venue = self._venue(account)
        api_key, secret = account.api_key.reveal(), account.secret_key.reveal()
        requests = AccountRequests(venue.rest(api_key=api_key, secret=secret))
        key = KeyCheck(
            account.name,
            spot_rest(venue, api_key=api_key, secret=secret),
            requests,
            refuses=account.key_permissions is KeyPermissions.REFUSE,
            alarms=self._alarms,
        )
        terms = terms_of(reconciliation, thresholds)
        judge = Judge(
            time.monotonic,
            wallet_tolerance=reconciliation.balance_tolerance,
            position_tolerance=reconciliation.position_tolerance,
        )
        reconciler = Reconciler(
            monitor, judge, self._alarms, terms, clock=venue.server_time.now_ms, monotonic=time.monotonic
        )
        feed = BinanceFeed(
            monitor,
            venue,
            requests,
            judge=judge,
            reconciler=reconciler,
            alarms=self._alarms,
            settings=StreamSettings(*account.websocket),
            statement_seconds=reconciliation.interval_seconds,
            monotonic=time.monotonic,
            chance=SystemRandom(),
        )
        crosscheck = CrossCheck(
            account.name,
            self._alarms,
            time.monotonic,
            both_connected=lambda: feed.is_live and self._nats_connected(),
        )
        unsubscribe = self._marks[venue].subscribe(
            lambda symbol, price, at_ms: monitor.mark(MarkPrice(symbol, price, at_ms)), feed.wanted
        )
        monitor.observers += [judge.note, reconciler.note, feed.note, crosscheck.note]
        monitor.reconcile = feed.compare
        monitor.is_listed = venue.may_list
        self._served[account.name] = _Served(monitor, venue, key, feed, judge, reconciler, crosscheck, unsubscribe)
        self._desk.wait_for(f"exchange:{account.name}", f"account {account.name}: {key.unready or feed.unready}")
        self._spawn(f"exchange:{account.name}", _follow(key, feed))

    def reload(self, name: str, reconciliation: ReconciliationSettings, thresholds: ThresholdSettings) -> None:
        """Call other differences of an account grave from now on."""
        if (served := self._served.get(name)) is not None:
            served.reconciler.terms = terms_of(reconciliation, thresholds)

    async def close(self, name: str) -> None:
        """Serve an account no longer."""
        served = self._served.pop(name, None)
        if served is None:
            return
        await self._cancel(f"exchange:{name}")
        served.unsubscribe()
        for observer in (served.judge.note, served.reconciler.note, served.feed.note, served.crosscheck.note):
            served.monitor.observers.remove(observer)
        served.monitor.reconcile = None
        self._alarms.doubt(name)
        self._desk.wait_for(f"exchange:{name}", None)
        self._desk.health.forget(f"exchange:{name}")

    async def stop(self) -> None:
        """Close the connections, after everything that uses them has ended."""
        if isinstance(self._transport, AiohttpTransport):
            await self._transport.close()

    def watch(self) -> None:
        """Keep readiness, health and cross-checks true; called a few times a second."""
        for name, served in self._served.items():
            served.crosscheck.look()
            self._watch_marks(name, served.venue)
            feed = served.feed
            reason = served.key.unready or feed.unready
            self._desk.wait_for(f"exchange:{name}", None if reason is None else f"account {name}: {reason}")
            if served.key.unready is not None:
                self._desk.health.report(f"exchange:{name}", Status.DEGRADED, served.key.unready)
            elif feed.problem is not None:
                self._desk.health.report(f"exchange:{name}", Status.DEGRADED, feed.problem)
            elif not feed.is_live:
                self._desk.health.report(f"exchange:{name}", Status.DEGRADED, "the user stream is not heard")
            elif feed.terms_problem is not None:
                text = f"the terms of margins cannot be asked for: {feed.terms_problem}"
                self._desk.health.report(f"exchange:{name}", Status.DEGRADED, text)
            else:
                self._desk.health.report(f"exchange:{name}", Status.HEALTHY, "heard and asked")
            if reason is None and feed.is_whole:
                self._alarms.settle(name, but=("KEY_PERMISSIONS", *OF_OTHERS))  # of these others tell

    def samples(self) -> Iterable[Told]:
        """Return the metrics of streams, requests and comparisons."""
        drift, seconds = Histogram(DRIFT_BUCKETS), Histogram(DURATION_BUCKETS_SECONDS)
        for served in self._served.values():
            drift.add(served.reconciler.drift)
            seconds.add(served.feed.statement_seconds_taken)
        yield Distribution("reconciliation_drift_abs", "The largest difference that a statement showed.", drift)
        yield Distribution("reconciliation_duration_seconds", "What a comparison took, from the question on.", seconds)
        for name, served in self._served.items():
            feed = served.feed
            account = {"account": name}
            yield Sample(
                "websocket_reconnects_total", "Sockets made after the first.", "counter", feed.reconnects, account
            )  # fmt: skip
            for cause in get_args(Cause):  # from 0 on: what begins with 1 does not count as an increase
                count = served.reconciler.corrections[cause]
                yield Sample(
                    "reconciliation_corrections_total", "What was booked because it was missed, and corrected.",
                    "counter", count, {**account, "cause": cause},
                )  # fmt: skip
            for kind, count in feed.received.items():
                labels = {**account, "type": kind}
                yield Sample(
                    "websocket_messages_received_total", "Messages of the user stream.", "counter", count, labels
                )  # fmt: skip
        yield from samples_of(self.quality())

    def quality(self) -> ExchangeQuality:
        """Return how well each account is heard, and how well each address answers."""
        names = addresses_of(self._venues.values())
        return ExchangeQuality(
            self._desk.clock(),
            [quality_of_account(name, names[served.venue], served.feed) for name, served in self._served.items()],
            [quality_of_address(name, venue, self._silent.get(venue)) for venue, name in names.items()],
        )

    def latest_ms(self) -> int:
        """Return the latest of the exchanges' clocks, 0 where none was asked yet."""
        asked = (venue.server_time for venue in self._venues.values() if venue.server_time.error_ms is not None)
        return max((server_time.now_ms() for server_time in asked), default=0)

    def _venue(self, account: AccountSettings) -> BinanceVenue:
        rest_url = account.rest_url or REST_URLS[account.testnet]
        websocket_url = account.websocket_url or WEBSOCKET_URLS[account.testnet]
        known = self._venues.get((rest_url, websocket_url))
        if known is not None:
            return known
        if self._transport is None:
            self._transport = AiohttpTransport()
        venue = BinanceVenue(rest_url, websocket_url, self._transport, ServerTime())
        if self._bans is not None:
            respect_bans(venue, self._bans)
        self._venues[rest_url, websocket_url] = venue
        number = len(self._venues)
        self._marks[venue] = marks = MarkPrices(
            venue.transport,
            websocket_url=websocket_url,
            on_alarm=lambda text: self._note_marks(venue, text),
            on_clear=lambda: self._note_marks(venue, None),
        )
        self._spawn(f"contracts:{number}", venue.run())
        self._spawn(f"marks:{number}", marks.run())
        return venue

    def _note_marks(self, venue: BinanceVenue, text: str | None) -> None:
        if text is None:
            self._silent.pop(venue, None)
        else:
            self._silent[venue] = text

    def _watch_marks(self, name: str, venue: BinanceVenue) -> None:
        """Tell each account of the silence, also one that is served since."""
        text = self._silent.get(venue)
        if text is None:
            self._alarms.resolve(name, "STREAM_STALE", symbol=MARK_PRICES)
        else:
            self._alarms.fire(name, "STREAM_STALE", text, symbol=MARK_PRICES)


def terms_of(reconciliation: ReconciliationSettings, thresholds: ThresholdSettings) -> Terms:
    """Return what the configuration says of corrections and grave differences."""
    policy: Policy = reconciliation.policy.value if reconciliation.enabled else "off"
    return Terms(policy, thresholds.balance_drift_pct, thresholds.position_drift_pct)


def addresses_of(venues: Collection[BinanceVenue]) -> dict[BinanceVenue, str]:
    """Return how each is called: by its address for requests, and that for streams where several share the first."""
    shared = Counter(shown_url(venue.rest_url) for venue in venues)
    return {
        venue: name if shared[name] == 1 else f"{name} {shown_url(venue.websocket_url)}"
        for venue in venues
        for name in (shown_url(venue.rest_url),)
    }


def quality_of_account(account: str, address: str, feed: BinanceFeed) -> AccountQuality:
    """Return how well an account is heard."""
    quality = feed.quality
    gaps, gap_count, gap_ms = quality.gaps(feed.unheard)
    return AccountQuality(
        account=account,
        address=address,
        is_heard=feed.is_live,
        last_message_ms=quality.last_message_ms,
        reconnects=feed.reconnects,
        lag=quality.lag.measured(),
        gaps=gaps,
        gap_count=gap_count,
        gap_ms=gap_ms,
        messages=quality.tally("messages"),
        repeated=quality.tally("repeated"),
        disordered=quality.tally("disordered"),
        unreadable=quality.tally("unreadable"),
        contradicted=quality.tally("contradicted"),
        fills_repeated=dict(quality.fills_repeated),
        stream_behind=quality.skew.stream_behind.measured(),
        statement_behind=quality.skew.statement_behind.measured(),
        untold_changes=quality.skew.untold,
        last_statement_ms=quality.last_statement_ms,
        interval_seconds=feed.interval_seconds,
    )


def quality_of_address(address: str, venue: BinanceVenue, silent_marks: str | None) -> AddressQuality:
    """Return how well an address answers; `silent_marks`: why no mark prices come from there, None while they do."""
    return AddressQuality(
        address=address,
        weight_used=venue.budget.used_weight,
        weight_limit=venue.budget.limit,
        limited_until_ms=venue.budget.limited_until_ms,
        requests=venue.quality.outcomes(),
        last_failure=venue.quality.last_failure,
        clock_offset_ms=venue.server_time.skew_ms,
        clock_error_ms=venue.server_time.error_ms,
        silent_marks=silent_marks,
    )


def respect_bans(venue: BinanceVenue, bans: Bans) -> None:
    """Leave the exchange alone for as long as it wanted before a restart, and write down what it wants from now on."""
    remaining_ms = bans.remaining_ms(venue.rest_url)
    if remaining_ms:
        venue.budget.limit_until(venue.server_time.now_ms() + remaining_ms)
    venue.budget.on_limit = lambda for_ms: bans.note(venue.rest_url, for_ms)


async def _follow(key: KeyCheck, feed: BinanceFeed) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(key.run())
        await key.passed()
        await feed.run()
