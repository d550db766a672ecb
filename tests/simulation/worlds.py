"""Worlds: a seed says what kind of account it is, what everybody does, what goes wrong and when the process dies.

Whatever it is, in the end the books are equal, every dollar is explained, and what is recorded makes what is shown.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from account_monitor.ledger.account import USD_ASSETS, Account
from account_monitor.ledger.events import Fill, MarkPrice
from account_monitor.monitor.ports import Delivery
from account_monitor.stores.journal_reader import open_reader
from exchange_simulator.bots import RandomTrader
from exchange_simulator.errors import VenueError
from tests.simulation.desk_in_memory import DeskInMemory
from tests.simulation.virtual_time import run_virtual

HEAL_SECONDS = 2_400.0
"""A cause that was listed late is searched for after ten minutes at the most, and every fault has ended then."""

PASSING_SECONDS = 3_700.0
"""The longest that an alarm about something which merely happened is shown."""


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
        folder, seed=world.seed, wallets={"USDT": "1000000", "BNB": "10", "USDC": "50000"}, moving=True,
        funding_interval_ms=world.funding_seconds * 1000, legacy_funding_events=world.legacy_funding,
    )  # fmt: skip
    desk.account.hedge, desk.account.fee_burn = world.is_hedge, world.burns_bnb
    trader = RandomTrader(desk.venue, [desk.account], seed=world.seed, symbols=list(desk.venue.symbols)[:12])
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
            await asyncio.sleep(PASSING_SECONDS)
            pricing.cancel()
            await asyncio.sleep(1)
            await _judge(world, desk)
            desk.monitor.stop()
            await asyncio.sleep(1)
    with open_reader(folder / "main.journal") as reader:
        reader.verify()


async def _judge(world: World, desk: DeskInMemory) -> None:
    assert desk.difference() == {}
    assert desk.transport.too_early == [], "a request left during a ban"
    expected = {"UNEXPECTED_FILL"} if world.nats == "some" else set()
    still = desk.open_alarms - expected
    assert not still, (
        f"still open: {[alarm.alert.message for alarm in desk.alarms.open() if alarm.alert.type in still]}"
    )
    if world.is_calm:
        assert not desk.raised - {"LIQUIDATION", "MARGIN_CALL"}, f"raised: {desk.raised}"
    view = desk.monitor.view
    span = await asyncio.to_thread(desk.monitor.past.explain, None, None)
    assert span.explanation.residual == 0, f"unexplained: {span.explanation.residual}"
    assert span.explanation.after == view.pnl.equity, "explained another equity than is shown"
    folded = Account(desk.monitor.journal, usd_assets=USD_ASSETS)
    folded.apply_all([(entry.seq, entry.event) for entry in desk.monitor.journal.entries()])
    assert folded.state.wallets == desk.monitor._account.state.wallets, "the journal makes other wallets"
    legs = {key: timeline.leg for key, timeline in folded.state.timelines.items()}
    assert legs == {key: t.leg for key, t in desk.monitor._account.state.timelines.items()}, "and other positions"


async def _trade(
    world: World, desk: DeskInMemory, trader: RandomTrader, teller: _Teller, orders: int, *, monitored: bool = True
) -> None:
    """Do what a customer and the exchange may do, at some hundred orders a minute."""
    chance = world.chance
    acts: tuple[Callable[[], Any], ...] = (
        lambda: desk.venue.deposit(desk.account, chance.choice(("USDT", "BNB")), "5"),
        lambda: desk.venue.withdraw(desk.account, "USDT", "7"),
        lambda: desk.venue.liquidate(desk.account, *_held(desk, chance)),
        desk.venue.fund_now,
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

    def tell(self) -> None:
        """Publish what was executed since."""
        if self._world.nats == "silent":
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
