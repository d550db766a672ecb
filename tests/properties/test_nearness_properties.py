"""Which positions are near their liquidation is what computing every liquidation price at every event says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import pytest

from account_monitor.ledger.events import MarkPrice, Transfer
from account_monitor.ledger.liquidation import liquidations
from account_monitor.ledger.margin import AssetRate, MarginTerms
from account_monitor.ledger.nearness import Nearness
from account_monitor.ledger.rules import Band, Thresholds, band
from account_monitor.ledger.valuation import Valuation
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.risk_watch import AccountWatch
from account_monitor.monitor.views import View, ViewBuilder
from tests.properties.test_margin_properties import BRACKETS, SYMBOLS, World

D = Decimal
STEPS = 150


class Market(World):
    """A world whose marks also move a little, whose wallets come and go, and whose terms change, if rarely."""

    def step(self) -> None:
        what = self.chance.random()
        if what < 0.5 and self.marks:
            self._nudge(self.chance.choice(sorted(self.marks)))
        elif what < 0.6:
            self._transfer()
        elif what < 0.65:
            self._change_terms()
        else:
            super().step()

    def changed_by(self) -> list[str]:
        """Let one thing happen; return the positions that are new or valued anew."""
        before = dict(self.valuation.positions)
        self.step()
        return [key for key, position in self.valuation.positions.items() if position is not before.get(key)]

    def _nudge(self, symbol: str) -> None:
        cents = int(self.marks[symbol].price.scaleb(2)) * self.chance.randint(970, 1_030) // 1_000
        self.marks[symbol] = MarkPrice(symbol, D(max(cents, 1)).scaleb(-2), self.seq)
        self.valuation.mark(self.marks[symbol])

    def _transfer(self) -> None:
        asset = self.chance.choice(("USDT", "USDC"))
        event = Transfer(f"t{self.seq}", asset, D(self.chance.randint(-400, 400)), self.seq)
        self._apply(event)
        self.valuation.refresh([])

    def _change_terms(self) -> None:
        """Let the exchange state other rates, or forget a symbol for a while."""
        haircut = D(self.chance.randint(0, 20)).scaleb(-2)
        rates = {**self.terms.rates, "USDC": AssetRate(D(1), 1 - haircut, 1 + haircut)}
        known = SYMBOLS if self.chance.random() < 0.9 else SYMBOLS[1:]
        brackets = dict.fromkeys(known, BRACKETS)
        terms = MarginTerms(brackets, self.terms.leverages, self.terms.isolated, self.terms.is_multi_assets, rates)
        self.terms = terms
        self.valuation.state_terms(terms)


def naive(valuation: Valuation, limits: Band, near: set[str]) -> set[str]:
    """Return which positions are near, of which these were, by the price of every one."""
    use = valuation.margin()
    still_open = {key for key in near if valuation.positions[key].quantity}
    if not use.is_known:
        return still_open
    found = liquidations(valuation.positions, use)
    return {key for key, each in found.items() if limits.holds(each.distance_pct, is_firing=key in still_open)}


def random_band(world: World) -> Band:
    limit = D(world.chance.choice((1, 5, 20, 60, 100)))
    return band(limit, D(world.chance.choice((0, 5, 50))), is_floor=True)


@pytest.mark.parametrize("first", range(0, 150, 10))
def test_what_is_near_is_what_every_liquidation_price_says_at_every_event(first: int) -> None:
    assert sum(crossings(seed) for seed in range(first, first + 10)) > 20


def crossings(seed: int) -> int:
    """Compare at every event of a world; return how many positions came near, or were so no more."""
    world = Market(seed)
    limits = random_band(world)
    nearness, near, count = Nearness(limits, world.valuation.positions), set[str](), 0
    for number in range(STEPS):
        nearness.note(world.changed_by())
        positions, use = world.valuation.positions, world.valuation.margin()
        for key in {key for key in near if not positions[key].quantity and not use.is_known}:
            nearness.let_go(key)
            near.discard(key)
        expected = naive(world.valuation, limits, near)
        came, left = nearness.crossings(positions, use)
        assert len(came) == len(set(came))
        assert not set(came) & near
        near = (near - set(left)) | set(came)
        for key in came:
            nearness.hold(key)
        assert near == expected, f"seed {seed}, step {number}"
        count += len(came) + len(left)
    return count


@pytest.mark.parametrize("seed", range(40))
def test_what_was_held_before_is_judged_by_where_the_band_is_over(seed: int) -> None:
    world = Market(seed)
    limits = random_band(world)
    for _ in range(40):
        world.step()
    positions = world.valuation.positions
    held = {key for key in positions if positions[key].quantity and world.chance.random() < 0.5}
    nearness = Nearness(limits, positions, held)
    came, left = nearness.crossings(positions, world.valuation.margin())

    assert (held - set(left)) | set(came) == naive(world.valuation, limits, held)


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Shown:
    """A monitor, as far as the watch knows it."""

    name = "main"
    failure = None

    def __init__(self, world: Market) -> None:
        self._world = world
        self._builder = ViewBuilder("main", 1, world.account, world.valuation)
        self.view: View = self._builder.view

    def step(self, watch: AccountWatch) -> None:
        change = self._builder.after_prices(set(self._world.changed_by()), 1)
        self.view = self._builder.view
        watch.note(self.view, change)


@pytest.mark.parametrize("for_seconds", [0.0, 3.0])
@pytest.mark.parametrize("seed", range(40))
def test_an_alert_fires_exactly_while_a_position_is_near_and_has_been_for_long_enough(
    seed: int, for_seconds: float
) -> None:
    world, clock = Market(seed), Seconds()
    limits = random_band(world)
    alarms = AlarmBoard(lambda: int(clock.now * 1_000))
    shown: Any = Shown(world)
    watch = AccountWatch(cast(Monitor, shown), alarms, clock)
    hysteresis_pct = (limits.clear / limits.limit - 1) * 100
    thresholds = Thresholds(min_liquidation_distance_pct=limits.limit, hysteresis_pct=hysteresis_pct)
    watch.configure(thresholds, for_seconds=for_seconds)
    firing, since = set[str](), dict[str, float]()
    for number in range(STEPS):
        clock.now += 1
        shown.step(watch)
        watch.look()
        if world.chance.random() < 0.05:
            watch.configure(thresholds, for_seconds=for_seconds)
        near = naive(world.valuation, limits, firing)
        waiting = near - firing if world.valuation.margin().is_known else set[str]()
        since = {key: since.get(key, clock.now) for key in waiting}
        lasted = {key for key, began in since.items() if clock.now - began >= for_seconds}
        firing = (near & firing) | lasted
        since = {key: began for key, began in since.items() if key not in lasted}
        assert {alert.symbol for alert in alarms.firing("main")} - {None} == firing, f"seed {seed}, step {number}"
        shown_now = {alert.symbol: alert.value for alert in alarms.firing("main") if alert.type == "LIQUIDATION_NEAR"}
        if world.valuation.margin().is_known:
            exact = liquidations(world.valuation.positions, world.valuation.margin())
            assert shown_now == {key: exact[key].distance_pct for key in firing}, "refreshed every second"
