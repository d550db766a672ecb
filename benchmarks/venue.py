"""How many orders a second does the simulated venue take, and does the forty-thousandth cost what the first did?

Beside it, in the same run and turn about: the same orders while a client listens, so that every event is put into text
on a connection. That is what a fill costs whoever uses the simulator.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from typing import Any

from exchange_simulator.accounts import Account
from exchange_simulator.exchange import Exchange
from exchange_simulator.venue import Venue

ORDERS = 40_000
STEP = 10_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
START_MS = 1_790_000_000_000
PRICES = ("100", "100.1", "100.2")
SIZE = 2  # contracts at each price, so that an order of 1 to 6 has 1 to 3 fills


def main() -> None:
    """Print the figures."""
    alone, heard = _Trial(is_heard=False), _Trial(is_heard=True)
    for _ in range(ORDERS // STEP):
        for trial in (alone, heard):
            trial.run(STEP)
    for name, trial in (("the venue alone", alone), ("with a client that listens", heard)):
        first, last = trial.rates[0], trial.rates[-1]
        print(
            f"{name}: {ORDERS:,} orders, {trial.events['TRADE'] / ORDERS:.2f} fills each, "
            f"first {STEP:,} at {first:,.0f}/s, last at {last:,.0f}/s, growth × {first / last:.2f}"
        )
    print(f"listening / alone: × {sum(alone.rates) / sum(heard.rates):.2f} of the time; {heard.messages:,} messages")


class _Trial:
    """A venue, an account that buys and sells in turn, and how fast it may."""

    def __init__(self, *, is_heard: bool) -> None:
        self.rates: list[float] = []
        self.messages = 0
        self.events = {"TRADE": 0}
        self._now_ms = START_MS
        self._venue = Venue(clock=lambda: self._now_ms, seed=1)
        self._account = self._venue.open_account("key", "secret", wallets={"USDT": "10000000"})
        self._exchange = Exchange(self._venue, seed=1)
        self._venue.on_user_event.append(self._count)
        self._orders = _orders()
        for symbol in SYMBOLS:
            self._venue.set_price(symbol, "100")
        if is_heard:
            key = self._exchange.keys.start("key")
            self._exchange.connect("/private/ws", f"listenKey={key}", self._take)

    def run(self, count: int) -> None:
        """Place so many orders; note how many a second that were."""
        place, account, quote = self._venue.place_order, self._account, self._quote
        seconds = 0.0
        for _ in range(count):
            order = next(self._orders)
            quote(order["symbol"], order["side"])
            self._now_ms += 1
            started = time.perf_counter()
            place(account, order)
            seconds += time.perf_counter() - started
        self.rates.append(count / seconds)

    def _quote(self, symbol: str, side: str) -> None:
        """Quote three prices: how many fills an order has is known then."""
        levels = [(price, str(SIZE)) for price in PRICES]
        if side == "BUY":
            self._venue.set_ladder(symbol, asks=levels)
        else:
            self._venue.set_ladder(symbol, bids=levels[::-1])

    def _count(self, account: Account, event: dict[str, Any]) -> None:
        if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE":
            self.events["TRADE"] += 1

    def _take(self, output: object) -> None:
        self.messages += 1


def _orders() -> Iterator[dict[str, str]]:
    chance = Random(2)
    number = 0
    while True:
        quantity = str(chance.randint(1, 3 * SIZE))
        symbol = SYMBOLS[number % len(SYMBOLS)]
        for side in ("BUY", "SELL"):
            yield {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity}
        number += 1
