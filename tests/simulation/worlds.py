"""Worlds: a seed says what kind of account it is, what everybody does, what goes wrong and when the process dies.

Whatever it is, in the end the books are equal, every dollar is explained, and what is recorded makes what is shown.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

from account_monitor.feeds.binance.orders import placed_by
from account_monitor.ledger.account import USD_ASSETS, Account
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Fill, MarkPrice
from account_monitor.ledger.reconciliation import Cause, Reconciliation
from account_monitor.monitor.ports import VENUE_INCOME, VENUE_TRADES, Delivery, JournalEntry
from account_monitor.stores.journal_reader import open_reader
from exchange_simulator.accounts import Order
from exchange_simulator.bots import RandomTrader
from exchange_simulator.errors import VenueError
from exchange_simulator.symbols import catalogue
from tests.simulation.desk_in_memory import API_KEY, DeskInMemory
from tests.simulation.virtual_time import run_virtual

CONTRACTS = [rules for i, rules in enumerate(catalogue()) if i < 10 or rules.margin_asset == "USDC"]
"""What is traded, in dollars of two kinds; each contract costs time in every second that passes."""

HEAL_SECONDS = 2_400.0
"""The books are equal by then: a cause that was listed late is searched for after ten minutes at the most."""

PASSING_SECONDS = 3_700.0
"""No alarm is open by then: one about something which merely happened is shown for an hour at the longest."""

STEADY_SECONDS = 150.0
"""How long it stays so, with whatever is paid and asked meanwhile; in every twentieth world it is PASSING_SECONDS."""


LOST_ALARMS = {"BALANCE_DRIFT", "POSITION_DRIFT", "STREAM_STALE", "UNEXPECTED_FILL"}
"""What is raised by the losses with which every world ends."""

T = TypeVar("T")


class World:
    """What a seed stands for."""

    def __init__(self, seed: int) -> None:
        chance = Random(seed)
        self.seed = seed
        self.chance = chance
        self.is_hedge = chance.random() < 0.4
        self.burns_bnb = chance.random() < 0.4
        self.legacy_funding = chance.random() < 0.2
        self.faults = chance.choice(("none", "frames", "sockets", "rest", "all", "all"))
        self.lives = chance.choice((1, 1, 2, 4))
        self.orders = chance.randint(30, 120)
        self.nats = chance.choice(("silent", "silent", "all", "some", "late"))
        self.funding_seconds = chance.choice((60, 600, 3600))

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong: then nothing may alarm."""
        return self.faults == "none" and self.lives == 1 and self.nats in ("silent", "all")

    @property
    def due_alarms(self) -> set[str]:
        """What may be open in the end: of some fills nobody tells, others are told to a process that dies with them."""
        is_told_once = self.nats != "silent" and self.lives > 1 and not self.lasts_an_hour
        lost = set() if self.lasts_an_hour else {"LIQUIDATION"}  # one with which the world ends is shown for a while
        return lost | ({"UNEXPECTED_FILL"} if self.nats == "some" or is_told_once else set())

    @property
    def lasts_an_hour(self) -> bool:
        """Whether the end is watched until everything that is shown for a while is over."""
        return self.seed % 20 == 0

    def __repr__(self) -> str:
        words = ("hedge" if self.is_hedge else "one-way", f"faults {self.faults}", f"{self.lives} lives",
                 f"NATS {self.nats}", f"{self.orders} orders")  # fmt: skip
        return f"world {self.seed} ({', '.join(words)})"


def check(seed: int) -> None:
    """Live through a world. Raises: AssertionError, naming it and what does not hold."""
    world = World(seed)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_virtual(_live(world, Path(folder)))
        except AssertionError as error:
            raise AssertionError(f"{world!r}: {error}") from error


async def _live(world: World, folder: Path) -> None:
    desk = DeskInMemory(
        folder, seed=world.seed, wallets={"USDT": "1000000", "BNB": "10", "USDC": "50000"},
        symbols=CONTRACTS, moving=True,
        funding_interval_ms=world.funding_seconds * 1000, legacy_funding_events=world.legacy_funding,
    )  # fmt: skip
    desk.account.hedge, desk.account.fee_burn = world.is_hedge, world.burns_bnb
    trader = RandomTrader(desk.venue, [desk.account], seed=world.seed, symbols=list(desk.venue.symbols))
    teller = _Teller(world, desk)
    async with desk.exchange_running():
        for life in range(world.lives):
            async with desk.monitored():
                if life == 0:
                    await desk.ready()
                    if world.faults != "none":
                        desk.faults.set(world.faults)
                await _trade(world, desk, trader, teller, world.orders // world.lives)
            if life < world.lives - 1:
                await _trade(world, desk, trader, teller, 5, monitored=False)
        desk.faults.clear("all")
        for symbol in desk.venue.markets:
            desk.venue.cancel_all_orders(desk.account, {"symbol": symbol})
        async with desk.monitored():
            pricing = asyncio.create_task(_price_and_tell(desk, teller))
            await desk.quiet(seconds=HEAL_SECONDS)
            await _silence(world, desk)
            mysteries = await _lose(world, desk, teller)
            if not world.is_calm:
                desk.exchange.disconnect(API_KEY)  # what was missed is read once more, and counts nothing twice
            await asyncio.sleep(PASSING_SECONDS if world.lasts_an_hour else STEADY_SECONDS)
            pricing.cancel()
            await asyncio.sleep(1)
            await desk.quiet(seconds=1)  # a payment may be on its way at this very moment
            await _judge(world, desk)
            check_remarks(desk, mysteries=mysteries)
            desk.monitor.stop()
            await asyncio.sleep(1)
    with open_reader(folder / "main.journal") as reader:
        reader.verify()


async def _silence(world: World, desk: DeskInMemory) -> None:
    """Wait until no alarm is open but those that are due, and no correction stands; what is left is for the judge."""
    for _ in range(int(PASSING_SECONDS)):
        if not desk.open_alarms - world.due_alarms and not desk.monitor.adjustments:
            return
        await asyncio.sleep(1)


async def _lose(world: World, desk: DeskInMemory, teller: _Teller) -> int:
    """Let things go missing one by one; each has to be found in time and named rightly.

    Return of how many nothing explains them. Raises: AssertionError.
    """
    mysteries = 0
    teller.is_away = True  # what others tell of is not missed
    for name in world.chance.sample(sorted(LOSSES), 2):
        await _rest(desk)
        known = len(remarks(desk, Reconciliation))
        loss, paid = LOSSES[name], len(desk.account.incomes)
        is_told_before = loss.cause == "VENUE_INCONSISTENCY" and bool(desk.reconciler._inconsistent)
        mysteries += loss.cause == "UNEXPLAINED"
        try:
            loss.happen(desk, world.chance)
        except (VenueError, LookupError):
            continue  # nothing is held, or it is too little
        await asyncio.sleep(0.3)
        is_read_at_once = desk.feed._search.reason is not None  # before the stream could have told of it
        await asyncio.sleep(loss.seconds - 0.3)
        reports = remarks(desk, Reconciliation)[known:]
        named = {cause for report in reports for drift in report.drifts for cause in drift.causes}
        named |= {finding.cause for report in reports for finding in report.findings}
        is_covered = (
            loss.cause == "VENUE_INCONSISTENCY" and len(desk.account.incomes) > paid
        )  # the wallet moved as well
        assert loss.cause in named or is_read_at_once or is_told_before or is_covered, (
            f"{name}: named {named or 'nothing'}"
        )
        assert named <= {loss.cause, *loss.besides}, f"{name}: named {named}"
        await desk.quiet(seconds=1)
    teller.is_away = False
    return mysteries


async def _rest(desk: DeskInMemory) -> None:
    """Wait for a while in which nothing is paid, and what was settled has been compared."""
    while True:
        count = len(desk.account.incomes)
        await asyncio.sleep(13)
        if len(desk.account.incomes) == count:
            return


class _Loss(NamedTuple):
    """Something that the ledger is not told of, what it is called, and how long it may take to be found."""

    happen: Callable[[DeskInMemory, Random], object]
    cause: Cause
    besides: frozenset[Cause] = frozenset()
    seconds: float = 8.0


def _unheard(desk: DeskInMemory, act: Callable[[], object]) -> None:
    desk.faults.set("drop")
    try:
        act()
    finally:
        desk.faults.clear("drop")


def _order(desk: DeskInMemory, **more: str) -> None:
    side = {"positionSide": "LONG"} if desk.account.hedge else {}
    tick = desk.venue.symbols["ETHUSDT"].tick
    price = f"{Decimal(desk.venue.markets['ETHUSDT'].mark // tick * tick) / 10**8:f}"
    desk.venue.set_ladder("ETHUSDT", bids=[(price, "99")], asks=[(price, "99")])
    desk.venue.place_order(
        desk.account, {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.5", **side, **more}
    )


def _take(desk: DeskInMemory, amount: int) -> None:
    desk.account.wallets["USDT"] += amount  # and no record says why


_FILLS: frozenset[Cause] = frozenset({"FEE"})
LOSSES = {
    "a fill": _Loss(lambda desk, _: _unheard(desk, lambda: _order(desk)), "MISSED_FILL", _FILLS),
    "an order by hand": _Loss(
        lambda desk, _: _unheard(desk, lambda: _order(desk, newClientOrderId="web_1")), "FOREIGN_ORDER", _FILLS
    ),
    "a liquidation": _Loss(
        lambda desk, chance: _unheard(desk, lambda: desk.venue.liquidate(desk.account, *_held(desk, chance))),
        "LIQUIDATION", frozenset({"FEE", "INSURANCE"}),
    ),
    "a deposit": _Loss(
        lambda desk, _: _unheard(desk, lambda: desk.venue.deposit(desk.account, "BNB", "3")), "TRANSFER"
    ),
    "a withdrawal": _Loss(
        lambda desk, _: _unheard(desk, lambda: desk.venue.withdraw(desk.account, "USDT", "9")), "TRANSFER"
    ),
    "a wallet that is misstated": _Loss(
        lambda desk, _: desk.faults.set("misstated", count=1), "VENUE_INCONSISTENCY", seconds=12.0
    ),
    "money that nothing explains": _Loss(
        lambda desk, chance: _take(desk, chance.choice((-1, 1)) * chance.randint(10**6, 10**10)), "UNEXPLAINED",
        seconds=40.0,
    ),
}  # fmt: skip


def remarks(desk: DeskInMemory, kind: type[T]) -> list[T]:
    """Return what was said of the account, of one kind."""
    return [entry.event for entry in desk.monitor.journal.entries() if isinstance(entry.event, kind)]


def check_remarks(desk: DeskInMemory, *, mysteries: int = 0) -> None:
    """Hold what was said of the account against what was true. Raises: AssertionError."""
    entries = list(desk.monitor.journal.entries())
    sources = {entry.event.event_id: entry.source for entry in entries}
    for report in remarks(desk, Reconciliation):
        for finding in report.findings:
            assert sources[finding.event_id] in (VENUE_TRADES, VENUE_INCOME), f"{finding} was told of, not found"
        for drift in report.drifts:
            assert drift.causes, f"{drift} was reported without a cause"
            if not {"UNEXPLAINED", "VENUE_INCONSISTENCY", "LATE_EVENT"} & set(drift.causes):
                assert drift.explained, f"nothing was booked of {drift}"
    for fill, cause in _found_fills(entries):
        client_id = next(order.client_id for order in _orders(desk) if str(order.id) == fill.order_id)
        assert cause in ("MISSED_FILL", placed_by(client_id)), f"{fill.identity} of order {client_id} is called {cause}"
    standing = sum(each.cause == "UNEXPLAINED" for each in desk.monitor.adjustments)
    assert standing == mysteries, f"{standing} corrections stand, and {mysteries} things have no explanation"
    check_alerts(remarks(desk, Alert))


def _orders(desk: DeskInMemory) -> Iterator[Order]:
    return (order for orders in desk.account.history.values() for order in orders)


def _found_fills(entries: Iterable[JournalEntry]) -> list[tuple[Fill, Cause]]:
    fills = {entry.event.event_id: entry.event for entry in entries if isinstance(entry.event, Fill)}
    return [
        (fills[finding.event_id], finding.cause)
        for entry in entries if isinstance(entry.event, Reconciliation)
        for finding in entry.event.findings
        if finding.event_id in fills and finding.cause in ("MISSED_FILL", "FOREIGN_ORDER", "LIQUIDATION", "ADL")
    ]  # fmt: skip


def check_alerts(alerts: Iterable[Alert]) -> None:
    """Hold that each alert fires once, and again only when it is worse or understood. Raises: AssertionError."""
    latest: dict[tuple[str, str | None], Alert] = {}
    for alert in alerts:
        before = latest.get(alert.key)
        if before is None or before.state == "RESOLVED":
            assert (alert.state, alert.revision) == ("FIRING", 0), f"{alert} begins in the middle"
            assert before is None or alert.id != before.id, f"{alert} fires again under its old id"
        else:
            assert (alert.id, alert.revision) == (before.id, before.revision + 1), f"{alert} after {before}"
            told = (alert.state, alert.severity, alert.cause)
            assert told != (before.state, before.severity, before.cause), f"{alert} says nothing new"
        latest[alert.key] = alert


async def _judge(world: World, desk: DeskInMemory) -> None:
    assert desk.difference() == {}
    assert desk.transport.too_early == [], "a request left during a ban"
    still = desk.open_alarms - world.due_alarms
    assert not still, (
        f"still open: {[alarm.alert.message for alarm in desk.alarms.open() if alarm.alert.type in still]}"
    )
    if world.is_calm:
        due = {"LIQUIDATION", "MARGIN_CALL", *LOST_ALARMS}
        assert not desk.raised - due, f"raised: {desk.raised}"
    view = desk.monitor.view
    span = await asyncio.to_thread(desk.monitor.past.explain, None, None)
    assert span.explanation.residual == 0, f"unexplained: {span.explanation.residual}"
    assert span.explanation.after == view.pnl.equity, "explained another equity than is shown"
    folded = Account(desk.monitor.journal, usd_assets=USD_ASSETS)
    folded.apply_all([(entry.seq, entry.event) for entry in desk.monitor.journal.entries()])
    assert folded.state.wallets == desk.monitor._account.state.wallets, "the journal makes other wallets"
    legs = {key: timeline.leg for key, timeline in folded.state.timelines.items()}
    assert legs == {key: t.leg for key, t in desk.monitor._account.state.timelines.items()}, "and other positions"
    assert folded.state.performance == desk.monitor._account.state.performance, "and another performance"


async def _trade(
    world: World, desk: DeskInMemory, trader: RandomTrader, teller: _Teller, orders: int, *, monitored: bool = True
) -> None:
    """Do what a customer and the exchange may do, at some hundred orders a minute."""
    chance = world.chance
    acts: tuple[Callable[[], Any], ...] = (
        lambda: desk.venue.deposit(desk.account, chance.choice(("USDT", "BNB")), "5"),
        lambda: desk.venue.withdraw(desk.account, "USDT", "7"),
        lambda: desk.venue.liquidate(desk.account, *_held(desk, chance)),
        lambda: _fund(desk),
    )
    for _ in range(orders):
        trader.step()
        if chance.random() < 0.05:
            try:
                chance.choice(acts)()
            except (VenueError, LookupError):
                pass  # nothing is held, or it is too little
        if monitored:
            teller.tell()
            _mark(desk)
        await asyncio.sleep(chance.choice((0, 0, 0.01, 0.5, 2)))


def _fund(desk: DeskInMemory) -> None:
    """Pay funding out of turn, once in a millisecond: no exchange has two fundings of one moment."""
    if not desk.account.incomes or desk.account.incomes[-1].at_ms < desk.venue.now():
        desk.venue.fund_now()


def _held(desk: DeskInMemory, chance: Random) -> tuple[str, str]:
    keys = sorted(key for key, text in desk.venue.books(desk.account)["positions"].items() if Decimal(text))
    symbol, _, side = chance.choice(keys).partition(":")
    return symbol, side or "BOTH"


def _mark(desk: DeskInMemory) -> None:
    for symbol in desk.feed.wanted() & desk.venue.markets.keys():
        mark = Decimal(desk.venue.markets[symbol].mark) / 10**8
        desk.monitor.mark(MarkPrice(symbol, mark, desk.loop.clock_ms()))


async def _price_and_tell(desk: DeskInMemory, teller: _Teller) -> None:
    while True:
        _mark(desk)
        teller.tell()
        teller.catch_up()
        await asyncio.sleep(5)


class _Teller:
    """An order-execution service that publishes the account's fills: all, some, or late and in another order."""

    def __init__(self, world: World, desk: DeskInMemory) -> None:
        self._world = world
        self._desk = desk
        self._told: dict[str, int] = {}
        self._kept: list[Delivery] = []
        self.is_away = False

    def tell(self) -> None:
        """Publish what was executed since."""
        if self._world.nats == "silent" or self.is_away:
            return
        for symbol, trades in self._desk.account.trades.items():
            for record in list(trades)[self._told.get(symbol, 0) :]:
                if self._world.nats == "some" and self._world.chance.random() < 0.3:
                    continue
                self._kept.append(_published(record))
            self._told[symbol] = len(trades)
        if self._world.nats != "late" or self._world.chance.random() < 0.1:
            self.catch_up()

    def catch_up(self) -> None:
        """Publish what was kept."""
        if self._world.nats == "late":
            self._world.chance.shuffle(self._kept)
        self._desk.tell(self._kept)
        self._kept = []


def _published(record: Any) -> Delivery:
    numbers = (record.price, record.quantity, record.fee, record.realized)
    price, quantity, fee, realized = (Decimal(number) / 10**8 for number in numbers)
    fill = Fill(record.symbol, str(record.id), record.side, quantity, price, record.at_ms, record.position_side,
                fee, record.fee_asset, realized, str(record.order_id), record.maker)  # fmt: skip
    return Delivery("nats:core", "trading.fills", b"{}", fill)
