"""A market that never ends: seeded prices, and a bot that trades them the way bots do.

Pure: the same seed gives the same trades. Positions open, grow, shrink, flip and close.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from account_monitor.ledger.money import ZERO, to_text


class Contract(NamedTuple):
    """What is traded: where the price starts, and the steps of price and quantity."""

    symbol: str
    price: Decimal
    tick: Decimal
    lot: Decimal
    size: int
    """A usual trade, in lots."""


CONTRACTS = (
    Contract("BTCUSDT", Decimal("91250.0"), Decimal("0.1"), Decimal("0.001"), 40),
    Contract("ETHUSDT", Decimal("3105.50"), Decimal("0.01"), Decimal("0.001"), 900),
    Contract("SOLUSDT", Decimal("142.340"), Decimal("0.001"), Decimal("0.01"), 1500),
    Contract("DOGEUSDT", Decimal("0.15820"), Decimal("0.00001"), Decimal(1), 14000),
    Contract("1000PEPEUSDT", Decimal("0.0046210"), Decimal("0.0000001"), Decimal(1), 300000),
)

TAKER_FEE = Decimal("0.0005")
MAKER_FEE = Decimal("0.0002")
_VOLATILITY_TICKS = Decimal("0.00025")
_FEE_STEP = Decimal("0.00000001")


class Trade(NamedTuple):
    """A trade of the bot; amounts are text as they go on the wire."""

    symbol: str
    side: str
    quantity: str
    price: str
    fee: str
    maker: bool


class Market:
    """Prices that walk, and what the bot makes of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # a market, not a secret
        self._prices = {contract.symbol: contract.price for contract in CONTRACTS}
        self._held = dict.fromkeys(self._prices, ZERO)

    def step(self) -> dict[str, str]:
        """Move every price by a little and return them as text."""
        for contract in CONTRACTS:
            price = self._prices[contract.symbol]
            spread = int(price * _VOLATILITY_TICKS / contract.tick) if contract.tick else 1
            move = self._random.randint(-spread - 1, spread + 1) * contract.tick
            drift = (contract.price - price) // (contract.tick * 400) * contract.tick  # home is where it started
            self._prices[contract.symbol] = max(contract.tick, price + move + drift)
        return {symbol: to_text(price) for symbol, price in self._prices.items()}

    def trades(self) -> Iterator[Trade]:
        """Yield what the bot does now: nothing, an order in one to four fills, or a change of mind."""
        if self._random.random() < 0.35:
            return
        contract = self._random.choice(CONTRACTS)
        held = self._held[contract.symbol]
        lots = max(1, int(contract.size * self._random.uniform(0.2, 1.4)))
        quantity = lots * contract.lot
        mood = self._random.random()
        if held and mood < 0.30:  # close
            side, quantity = ("SELL" if held > 0 else "BUY"), abs(held)
        elif held and mood < 0.40:  # flip
            side, quantity = ("SELL" if held > 0 else "BUY"), abs(held) + quantity
        elif held and mood < 0.70:  # grow
            side = "BUY" if held > 0 else "SELL"
        else:
            side = self._random.choice(("BUY", "SELL"))
        yield from self._fills(contract, side, quantity)

    def _fills(self, contract: Contract, side: str, quantity: Decimal) -> Iterator[Trade]:
        maker = self._random.random() < 0.4
        sign = 1 if side == "BUY" else -1
        self._held[contract.symbol] += sign * quantity
        parts = self._random.randint(1, 4)
        for part in range(parts):
            rest = parts - part
            lots = quantity // contract.lot
            size = quantity if lots < rest else lots // rest * contract.lot
            quantity -= size
            price = self._prices[contract.symbol] + (0 if maker else sign * part * contract.tick)
            fee = (size * price * (MAKER_FEE if maker else TAKER_FEE)) // _FEE_STEP * _FEE_STEP
            yield Trade(contract.symbol, side, to_text(size), to_text(price), to_text(fee), maker)
            if not quantity:
                return
