"""What the margin book keeps by adding and subtracting equals what is added up anew, and its bound is one."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from random import Random

import pytest

from account_monitor.ledger.account import Account, EventList
from account_monitor.ledger.events import Event, Fill, MarkPrice, Opening, PositionSide
from account_monitor.ledger.liquidation import liquidations
from account_monitor.ledger.margin import AssetRate, Bracket, MarginStated, MarginTerms
from account_monitor.ledger.money import divide
from account_monitor.ledger.valuation import Valuation

D = Decimal
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ETHUSDC")
BRACKETS = (
    Bracket(D(1_000), D("0.004"), D(0)),
    Bracket(D(5_000), D("0.01"), D(6)),
    Bracket(D(20_000), D("0.05"), D(206)),
    Bracket(D(100_000), D("0.125"), D(1_706)),
)
RATES = {"USDT": AssetRate(D(1), D(1), D(1)), "USDC": AssetRate(D(1), D("0.99"), D("1.01"))}


class World:
    """An account that trades, and is judged, at random."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.events = EventList()
        self.account = Account(self.events)
        self.is_hedge = self.chance.random() < 0.5
        self.terms = self._terms()
        self.isolated: dict[str, Decimal] = {}
        self.marks: dict[str, MarkPrice] = {}
        self.seq = 0
        self._apply(Opening("o", 0, (("USDT", D(self.chance.choice((500, 5_000, 50_000)))), ("USDC", D(500)))))
        self.valuation = Valuation(self.account)
        self.valuation.state_terms(self.terms)

    def _terms(self) -> MarginTerms:
        is_multi_assets = self.chance.random() < 0.4
        isolated = [] if is_multi_assets else [symbol for symbol in SYMBOLS if self.chance.random() < 0.4]
        return MarginTerms(
            dict.fromkeys(SYMBOLS, BRACKETS), dict.fromkeys(SYMBOLS, 10), frozenset(isolated), is_multi_assets, RATES
        )

    def _apply(self, event: Event) -> None:
        self.seq += 1
        self.events.add(self.seq, event)
        self.account.apply(self.seq, event)

    def step(self) -> None:
        """Trade, or move a price, or change an isolated wallet."""
        symbol = self.chance.choice(SYMBOLS)
        leg: PositionSide = self.chance.choice(("LONG", "SHORT")) if self.is_hedge else "BOTH"
        key = symbol if leg == "BOTH" else f"{symbol}:{leg}"
        what = self.chance.random()
        if what < 0.3:
            side = self.chance.choice(("BUY", "SELL"))
            price = self.marks[symbol].price if symbol in self.marks else D(100)
            size = D(self.chance.randint(1, 30))
            if leg != "BOTH":  # a leg has one direction, and no more is closed than there is
                held = abs(self.account.leg(key).quantity) if key in self.account.state.timelines else D(0)
                side = "BUY" if (leg == "LONG") is (size > held or self.chance.random() < 0.5) else "SELL"
            self._apply(Fill(symbol, str(self.seq), side, size, price, self.seq, leg, fee=D(0)))  # type: ignore[arg-type]
            self.valuation.refresh([key])
            if key not in self.isolated and self.chance.random() < 0.8:
                self.state_wallet(key)
        elif what < 0.8:
            self.marks[symbol] = MarkPrice(symbol, D(self.chance.randint(2_000, 20_000)).scaleb(-2), self.seq)
            self.valuation.mark(self.marks[symbol])
        else:
            self.state_wallet(key)

    def state_wallet(self, key: str) -> None:
        """Let the venue say what stands behind a position, if it is isolated."""
        self.isolated[key] = D(self.chance.choice((50, 500, 5_000)))
        self.valuation.state_margin(MarginStated({key: self.isolated[key]}))

    def anew(self) -> Valuation:
        """Value the same account from nothing."""
        valuation = Valuation(self.account)
        for mark in self.marks.values():
            valuation.mark(mark)
        valuation.state_margin(MarginStated(self.isolated, is_complete=True))
        valuation.state_terms(self.terms)
        return valuation


@pytest.mark.parametrize("seed", range(40))
def test_the_book_equals_what_is_added_up_anew(seed: int) -> None:
    world = World(seed)
    known = 0
    for _ in range(150):
        world.step()
        use = world.valuation.margin()
        assert use == world.anew().margin()
        known += use.is_known
    assert known


@pytest.mark.parametrize("seed", range(40))
def test_no_position_is_nearer_than_the_bound_and_its_pool_ends_at_its_price(seed: int) -> None:
    world = World(seed)
    told = 0
    for _ in range(150):
        world.step()
        use = world.valuation.margin()
        found = liquidations(world.valuation.positions, use)
        if use.closest_pct is None:
            assert not found
            continue
        assert use.closest_pct <= min((each.distance_pct for each in found.values()), default=D(100)) + D("0.000001")
        told += len(found)
    assert told


@pytest.mark.parametrize("seed", range(20))
def test_a_pool_is_safe_up_to_the_price_and_not_beyond(seed: int) -> None:
    world = World(seed)
    tried = 0
    for _ in range(60):
        world.step()
        found = liquidations(world.valuation.positions, world.valuation.margin())
        for (key, each), share in product(found.items(), ("0.999", "1.001")):
            if not each.distance_pct:
                continue
            symbol = key.partition(":")[0]
            now = world.valuation.positions[key].price
            assert now is not None
            moved = world.anew()
            price = now.price + (each.price - now.price) * D(share)
            moved.mark(MarkPrice(symbol, price, 10**9))
            worst = {pool.name: pool.ratio for pool in moved.margin().pools}
            position = moved.positions[key]
            assert position.margin is not None
            if position.margin.isolated_wallet is None:
                pool = "USD" if world.terms.is_multi_assets else position.settlement_asset
                ratio = worst[pool]
            else:
                balance = position.margin.isolated_wallet + position.margin.unrealized
                ratio = divide(position.margin.maintenance, balance) if balance > 0 else D(100)
            assert (ratio < 1) is (share == "0.999")
            tried += 1
    assert tried
