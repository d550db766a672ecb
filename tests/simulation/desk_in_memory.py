"""One monitored account against the simulated exchange, in virtual time: the service's own parts, wired as it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from account_monitor.exchanges import quality_of_account, quality_of_address, respect_bans
from account_monitor.feeds.binance.feed import BinanceFeed
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.session import StreamSettings
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.crosscheck import CrossCheck
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.judge import Judge
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import Delivery, Recorded, StreamPosition
from account_monitor.monitor.quality import AccountQuality, AddressQuality
from account_monitor.monitor.reconciler import Reconciler, Terms
from account_monitor.stores.bans import Bans
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from exchange_simulator.accounts import Account
from exchange_simulator.exchange import Exchange
from exchange_simulator.faults import Faults
from exchange_simulator.venue import Venue
from tests.simulation.exchange_in_memory import InMemoryTransport
from tests.simulation.virtual_time import busy, virtual_loop

API_KEY, SECRET = "k" * 64, "s" * 64
SETTINGS = StreamSettings(reconnect_interval_seconds=1.0, ping_interval_seconds=10.0, timeout_seconds=20.0)


class BusyJournal(Journal):
    """A journal whose thread holds the virtual clock while it writes."""

    async def append(self, deliveries: Any, positions: Any = ()) -> Recorded:
        with busy():
            return await super().append(deliveries, positions)

    async def save_checkpoint(self, seq: int, fingerprint: str, state: bytes) -> None:
        with busy():
            await super().save_checkpoint(seq, fingerprint, state)


class DeskInMemory:
    """A venue, and whoever monitors an account on it."""

    def __init__(self, folder: Path, *, seed: int, wallets: dict[str, str] | None = None, **venue: Any) -> None:
        self.loop = virtual_loop()
        self.folder = folder
        self.seed = seed
        self.venue = Venue(clock=self.loop.clock_ms, seed=seed, **venue)
        self.faults = Faults(seed)
        self.exchange = Exchange(self.venue, seed=seed, faults=self.faults)
        self.account: Account = self.venue.open_account(
            API_KEY, SECRET, wallets=wallets or {"USDT": "100000", "BNB": "10"}
        )
        self.transport = InMemoryTransport(self.exchange, seed=seed)
        self.alarms: AlarmBoard
        self._raised: set[str] = set()
        """The kinds of alarm that were raised in earlier lives."""
        self._adopted: dict[str, dict[str, Decimal]] = {}
        """What the venue had booked when the account was adopted: results are counted from there."""
        self.monitor: Monitor
        self.feed: BinanceFeed
        self.address: BinanceVenue
        self.judge: Judge
        self.reconciler: Reconciler
        self.terms = Terms()
        self.crosscheck: CrossCheck

    @asynccontextmanager
    async def exchange_running(self) -> AsyncIterator[None]:
        driver = asyncio.create_task(self.transport.drive())
        try:
            yield
        finally:
            driver.cancel()
            await asyncio.gather(driver, return_exceptions=True)

    @asynccontextmanager
    async def monitored(self, *, settings: StreamSettings = SETTINGS) -> AsyncIterator[None]:
        """Start the monitor of the account; leave it as `kill -9` would, but for what is being written."""
        self.alarms = AlarmBoard(self.loop.clock_ms)
        clock, monotonic = self.loop.clock_ms, self.loop.time
        journal = await asyncio.to_thread(BusyJournal.open, self.folder, "main", clock=clock)
        self.monitor = Monitor(
            "main",
            journal,
            JournalCheckpoints(journal, USD_ASSETS),
            Inbox(),
            clock=clock,
            monotonic=monotonic,
            usd_assets=USD_ASSETS,
            opening=None,
            snapshot_seconds=1.0,
            has_venue=True,
        )
        await self.monitor.start()
        server_time = ServerTime(wall_ms=clock, monotonic=monotonic)
        venue = self.address = BinanceVenue("http://exchange", "ws://exchange", self.transport, server_time)
        respect_bans(venue, Bans(self.folder, clock))
        requests = AccountRequests(venue.rest(api_key=API_KEY, secret=SECRET))
        self.judge = Judge(monotonic)
        self.reconciler = Reconciler(
            self.monitor, self.judge, self.alarms, self.terms, clock=server_time.now_ms, monotonic=monotonic
        )
        self.feed = BinanceFeed(
            self.monitor,
            venue,
            requests,
            judge=self.judge,
            reconciler=self.reconciler,
            alarms=self.alarms,
            settings=settings,
            statement_seconds=5.0,
            monotonic=monotonic,
            chance=Random(self.seed),
        )
        self.crosscheck = CrossCheck("main", self.alarms, monotonic, both_connected=lambda: self.feed.is_whole)
        self.monitor.is_listed = venue.may_list
        self.monitor.observers += [self.judge.note, self.reconciler.note, self.feed.note, self.crosscheck.note]
        self.alarms.attach(self.monitor)
        tasks = [asyncio.create_task(work) for work in (self.feed.run(), self.monitor.run(), self._look())]
        try:
            yield
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self._raised = self.raised
            with busy():
                await journal.close()

    async def _look(self) -> None:
        """Look at what has waited, as the service does."""
        while True:
            self.crosscheck.look()
            self.alarms.look()
            if self.feed.unready is None and self.feed.is_whole:
                self.alarms.settle("main")
            await asyncio.sleep(0.25)

    async def until(self, holds: Any, *, seconds: float = 120.0, what: str = "it holds") -> None:
        """Wait in virtual time."""
        deadline = self.loop.time() + seconds
        while not holds():
            assert self.loop.time() < deadline, f"not so after {seconds} s: {what}; {self.difference()}"
            await asyncio.sleep(0.05)

    async def ready(self) -> None:
        """Wait until the account agrees with the exchange."""
        await self.until(lambda: self.monitor.opening is not None, what="adopted")
        if not self._adopted:
            told = venue_books(self.venue.books(self.account))
            self._adopted = {name: book for name, book in told.items() if name not in ("wallets", "positions")}
        await self.until(lambda: self.feed.unready is None, what="ready")

    async def quiet(self, *, seconds: float = 300.0) -> None:
        """Wait until the books are equal."""
        await self.until(lambda: not self.difference(), seconds=seconds, what="books equal")

    def tell(self, deliveries: list[Delivery], positions: list[StreamPosition] | None = None) -> None:
        """Say something as NATS would."""
        for delivery in deliveries:
            self.monitor.inbox.put(delivery)

    @property
    def heard(self) -> AccountQuality:
        """How well the account is heard."""
        return quality_of_account("main", "http://exchange", self.feed)

    @property
    def answering(self) -> AddressQuality:
        """How well the exchange answers."""
        return quality_of_address("http://exchange", self.address, None)

    @property
    def raised(self) -> set[str]:
        """The kinds of alarm that were raised so far."""
        return self._raised | {kind for _, kind, _ in self.alarms.raised}

    @property
    def open_alarms(self) -> set[str]:
        """The kinds of alarm that are open."""
        return {alarm.alert.type for alarm in self.alarms.open()}

    def difference(self) -> dict[str, tuple[Any, Any]]:
        """Return what differs between our books and the venue's own, each (ours, theirs); empty when nothing does."""
        ours, theirs = books(self.monitor), venue_books(self.venue.books(self.account))
        for name, book in self._adopted.items():
            keys = theirs[name].keys() | book.keys()
            since = {key: theirs[name].get(key, Decimal(0)) - book.get(key, Decimal(0)) for key in keys}
            theirs[name] = {key: amount for key, amount in since.items() if amount}
        return {
            name: (
                {k: v for k, v in ours[name].items() if theirs[name].get(k) != v},
                {k: v for k, v in theirs[name].items() if ours[name].get(k) != v},
            )
            for name in ours
            if ours[name] != theirs[name]
        }


def books(monitor: Monitor) -> dict[str, dict[str, Decimal]]:
    """Return the ledger's figures by book, without zeros."""
    view, state = monitor.view, monitor._account.state
    fees: dict[str, Decimal] = {}
    funding: dict[str, Decimal] = dict(state.funding.by_asset)
    for position in view.positions.values():
        for asset, amount in position.fees.items():
            fees[asset] = fees.get(asset, Decimal(0)) + amount
    for timeline in state.timelines.values():
        for asset, amount in timeline.leg.funding.by_asset.items():
            funding[asset] = funding.get(asset, Decimal(0)) + amount
    other = {
        asset: state.other.by_asset.get(asset, Decimal(0)) - state.charges.by_asset.get(asset, Decimal(0))
        for asset in state.other.by_asset.keys() | state.charges.by_asset.keys()
    }
    figures = {
        "wallets": {asset: b.total for asset, b in view.balances.items() if b.total is not None},
        "positions": {key: p.quantity for key, p in view.positions.items()},
        "realized": {key: p.realized_pnl for key, p in view.positions.items()},
        "fees": fees,
        "funding": funding,
        "other": other,
    }
    return {name: {key: value for key, value in book.items() if value} for name, book in figures.items()}


def venue_books(told: dict[str, Any]) -> dict[str, dict[str, Decimal]]:
    """Return the same of the venue."""
    names = ("wallets", "positions", "realized", "fees", "funding")
    figures = {name: {key: Decimal(text) for key, text in told[name].items()} for name in names}
    figures["other"] = {}
    for book in ("insurance", "exchanged"):
        for asset, text in told[book].items():
            figures["other"][asset] = figures["other"].get(asset, Decimal(0)) + Decimal(text)
    return {name: {key: number for key, number in book.items() if number} for name, book in figures.items()}
