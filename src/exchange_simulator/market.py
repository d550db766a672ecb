"""The market: where do prices go, and who stands ready to trade there? Synthetic, seeded, believable.

Prices walk together (one common factor), in calm and wild regimes, with jumps and a pull back to a slow anchor. The
market maker's ladder surrounds the mark price: several orders at a price, thin at the touch, deeper outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from exchange_simulator.money import UNIT
from exchange_simulator.symbols import SymbolRules

_DAY_SECONDS = 86_400.0
_COMMON = 0.75  # correlation with the common factor
_CALM_SECONDS, _WILD_SECONDS = 5400.0, 600.0  # mean length of a regime
_WILD = 3.5  # times the calm volatility
_JUMPS_PER_DAY = 4.0
_PULL_SECONDS = 6 * 3600.0  # time scale of the pull back to the anchor
_ANCHOR_SECONDS = 5 * _DAY_SECONDS


class PricePaths:
    """Mark prices of all symbols, moved together."""

    def __init__(self, symbols: Sequence[SymbolRules], rng: Random, *, volatility: float = 1.0) -> None:
        """`volatility`: how many times as far as usual prices move."""
        self._rng = rng
        self._symbols = {rules.symbol: rules for rules in symbols}
        self._logs = {rules.symbol: math.log(rules.first_price) for rules in symbols}
        self._anchors = dict(self._logs)
        self._wild = False
        self._volatility = volatility

    def place(self, symbol: str, price: int) -> None:
        """Go on from this price."""
        self._logs[symbol] = self._anchors[symbol] = math.log(price)

    def move(self, seconds: float) -> dict[str, int]:
        """Return the new prices (1e-8) after `seconds`."""
        rng = self._rng
        length = _WILD_SECONDS if self._wild else _CALM_SECONDS
        if rng.random() < 1.0 - math.exp(-seconds / length):
            self._wild = not self._wild
        share = math.sqrt(seconds / _DAY_SECONDS) * (_WILD if self._wild else 1.0)
        common = rng.gauss(0.0, 1.0)
        jump = 0.0
        if rng.random() < 1.0 - math.exp(-seconds * _JUMPS_PER_DAY / _DAY_SECONDS):
            jump = rng.choice((-1.0, 1.0)) * rng.expovariate(1.0)
        pull = 1.0 - math.exp(-seconds / _PULL_SECONDS)
        drift = 1.0 - math.exp(-seconds / _ANCHOR_SECONDS)
        prices = {}
        for symbol, rules in self._symbols.items():
            own = rng.gauss(0.0, 1.0)
            noise = _COMMON * common + math.sqrt(1.0 - _COMMON**2) * own
            value = self._logs[symbol]
            volatility = self._volatility * rules.volatility
            value += volatility * (share * noise + 0.25 * jump) + pull * (self._anchors[symbol] - value)
            self._anchors[symbol] += drift * (value - self._anchors[symbol])
            self._logs[symbol] = value
            prices[symbol] = max(rules.min_price, round(math.exp(value)))
        return prices


class Ladder:
    """One side of the market maker's quotes, best first: [price, quantity], several orders at one price."""

    __slots__ = ("_distance", "_rng", "_rules", "_sign", "levels")

    def __init__(self, rules: SymbolRules, sign: int, rng: Random) -> None:
        self._rules = rules
        self._sign = sign  # +1: asks, going up; −1: bids, going down
        self._rng = rng
        self._distance = 1
        self.levels: list[list[int]] = []

    def quote(self, best: int) -> None:
        """Start anew at the best price."""
        rules = self._rules
        best = max(rules.tick, best)
        self._distance = max(1, best // 50_000 // rules.tick)  # ticks between prices: about 0.2 bp at least
        self.levels = [[best, self._size(best, 0)]]

    def script(self, levels: Sequence[tuple[int, int]]) -> None:
        """Quote exactly these."""
        self.levels = [[price, quantity] for price, quantity in levels]

    def extend(self) -> bool:
        """Add an order behind the last one; return whether there is room for one."""
        if not self.levels:
            return False
        price = self.levels[-1][0]
        if self._rng.random() < 0.6:
            price += self._sign * self._rules.tick * self._distance * (1 + int(self._rng.random() * 3))
        if price <= 0:
            return False
        self.levels.append([price, self._size(price, len(self.levels))])
        return True

    def _size(self, price: int, depth: int) -> int:
        rules = self._rules
        worth = math.exp(7.3 + 1.2 * self._rng.gauss(0.0, 1.0)) * (1.0 + depth / 4)  # USD; median 1,480 at the touch
        return max(1, round(worth * UNIT / price * UNIT / rules.step)) * rules.step

    def take(self, quantities: Sequence[tuple[int, int]]) -> None:
        """Remove what was traded: (position in the ladder, quantity), front first."""
        used = 0
        for index, quantity in quantities:
            self.levels[index][1] -= quantity
            if not self.levels[index][1]:
                used = index + 1
        if used:
            del self.levels[:used]
