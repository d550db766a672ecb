"""The book of one symbol: which orders meet, at which prices? Price first, then time; accounts before the ladder."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from exchange_simulator.accounts import Order
from exchange_simulator.market import Ladder
from exchange_simulator.symbols import SymbolRules

_MAX_FILLS = 400  # of one order
_WORN = 20_000  # the touch is quoted anew when it is further from the middle than the price divided by this


class Match(NamedTuple):
    """A planned trade. `resting` is the account's order on the other side, None for the market maker."""

    price: int
    quantity: int
    resting: Order | None
    level: int


class Plan(NamedTuple):
    """What would happen to an incoming order: its trades, resting orders that self-trade prevention expires."""

    matches: list[Match]
    filled: int
    expiring: list[Order]
    stopped: bool
    """Self-trade prevention expires what is left of the incoming order."""


class Book:
    """Resting orders of the accounts, sorted, and the market maker's ladder around them."""

    def __init__(self, rules: SymbolRules, rng: Random) -> None:
        self._rules = rules
        self._sequence = 0
        self.bids: list[tuple[int, int, Order]] = []  # (−price, sequence, order)
        self.asks: list[tuple[int, int, Order]] = []
        self.bid_ladder = Ladder(rules, -1, rng)
        self.ask_ladder = Ladder(rules, 1, rng)
        self._rng = rng
        self._places: dict[int, tuple[int, int, Order]] = {}
        self.middle = 0
        self.scripted = False

    # -- resting orders

    def add(self, order: Order) -> None:
        self._sequence += 1
        place = (-order.sign * order.price, self._sequence, order)
        self._places[order.id] = place
        insort(self.bids if order.sign > 0 else self.asks, place)

    def remove(self, order: Order) -> None:
        side = self.bids if order.sign > 0 else self.asks
        index = bisect_left(side, self._places.pop(order.id)[:2], key=lambda place: place[:2])
        assert side[index][2] is order
        del side[index]

    # -- the ladder

    def quote(self, middle: int) -> None:
        """Surround this price (1e-8) with fresh quotes, never across the accounts' orders."""
        tick = self._rules.tick
        self.middle = middle
        self.scripted = False
        half = max(tick // 2, int(middle * self._rng.random() / 100_000))
        bid = (middle - half) // tick * tick
        ask = max(-(-(middle + half) // tick) * tick, bid + tick)
        if self.bids:
            ask = max(ask, -self.bids[0][0] + tick)
        if self.asks:
            bid = min(bid, self.asks[0][0] - tick)
        self.bid_ladder.quote(bid)
        self.ask_ladder.quote(ask)

    def script(self, bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]]) -> None:
        """Quote exactly these (price, quantity), until the price moves."""
        if bids:
            self.bid_ladder.script(bids)
        if asks:
            self.ask_ladder.script(asks)
        self.scripted = True

    def freshen(self) -> None:
        """Quote anew where trading has worn the touch away."""
        if self.scripted:
            return
        worn = self.middle // _WORN + 2 * self._rules.tick
        bids, asks = self.bid_ladder.levels, self.ask_ladder.levels
        if not bids or not asks or asks[0][0] > self.middle + worn or bids[0][0] < self.middle - worn:
            self.quote(self.middle)

    def best(self, sign: int) -> int:
        """Return the best price against which an order of that sign trades now, 0 where there is none."""
        levels = (self.ask_ladder if sign > 0 else self.bid_ladder).levels
        resting = self.asks if sign > 0 else self.bids
        prices = [levels[0][0]] if levels else []
        if resting:
            prices.append(sign * resting[0][0])
        if not prices:
            return 0
        return min(prices) if sign > 0 else max(prices)

    # -- matching

    def plan(self, order: Order, quantity: int, limit: int) -> Plan:
        """Return which trades an incoming order of that quantity and limit would make. Changes no order."""
        sign = order.sign
        resting = self.asks if sign > 0 else self.bids
        ladder = self.ask_ladder if sign > 0 else self.bid_ladder
        matches: list[Match] = []
        expiring: list[Order] = []
        reserved: dict[tuple[int, str], int] = {}
        left, at, level = quantity, 0, 0
        while left > 0 and len(matches) < _MAX_FILLS:
            if level >= len(ladder.levels) and not ladder.extend() and at >= len(resting):
                break
            quoted = ladder.levels[level][0] if level < len(ladder.levels) else 0
            if at < len(resting) and (not quoted or resting[at][0] <= sign * quoted):
                other = resting[at][2]
                if sign * other.price > sign * limit:
                    break
                at += 1
                if other.account is order.account and order.stp != "NONE":
                    if order.stp in {"EXPIRE_MAKER", "EXPIRE_BOTH"}:
                        expiring.append(other)
                    if order.stp != "EXPIRE_MAKER":
                        return Plan(matches, quantity - left, expiring, stopped=True)
                    continue
                size = other.remaining
                if other.reduce_only:
                    key = (id(other.account), other.position_side)
                    size = min(size, other.reducible() - reserved.get(key, 0))
                    if size <= 0:
                        continue
                    reserved[key] = reserved.get(key, 0) + min(left, size)
                size = min(left, size)
                matches.append(Match(other.price, size, other, -1))
            else:
                if sign * quoted > sign * limit:
                    break
                size = min(left, ladder.levels[level][1])
                matches.append(Match(quoted, size, None, level))
                level += 1
            left -= size
        return Plan(matches, quantity - left, expiring, stopped=False)

    def take(self, order: Order, plan: Plan) -> None:
        """Remove from the ladder what the plan trades with it."""
        taken = [(match.level, match.quantity) for match in plan.matches if match.level >= 0]
        if taken:
            (self.ask_ladder if order.sign > 0 else self.bid_ladder).take(taken)

    def crossed(self, middle: int) -> list[Order]:
        """Return the resting orders that a market now at `middle` trades through or touches, best first."""
        bids = [place[2] for place in self.bids if -place[0] >= middle]
        asks = [place[2] for place in self.asks if place[0] <= middle]
        return bids + asks
