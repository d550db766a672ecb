"""The trading floor: what all parts of the venue share: clock, chance, markets, accounts, ids and who listens."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from exchange_simulator.accounts import Account
from exchange_simulator.book import Book
from exchange_simulator.errors import refusal
from exchange_simulator.margin import Rate
from exchange_simulator.money import UNIT
from exchange_simulator.positions import Income
from exchange_simulator.symbols import SymbolRules

Event = dict[str, Any]

DOLLARS = frozenset({"USDT", "USDC", "FDUSD", "BNFCR", "BFUSD"})
"""Assets that count as one dollar."""


class FundingRate(NamedTuple):
    at_ms: int
    rate: int
    mark: int


class ForcedOrder(NamedTuple):
    """An order that the venue itself placed: liquidation or ADL."""

    order: Any
    kind: str
    at_ms: int


class Market:
    """What moves of one symbol. Prices and rates in 1e-8."""

    __slots__ = ("book", "funding", "index", "last", "mark", "next_funding_ms", "rate", "rules", "trade_id", "trading")

    def __init__(self, rules: SymbolRules, rng: Random, next_funding_ms: int) -> None:
        self.rules = rules
        self.book = Book(rules, rng)
        self.mark = self.index = rules.first_price
        self.last = rules.first_price // rules.tick * rules.tick
        self.rate = 10_000  # 0.0001
        self.next_funding_ms = next_funding_ms
        self.trade_id = rng.randrange(100_000_000, 6_000_000_000)
        self.trading = True
        self.funding: deque[FundingRate] = deque(maxlen=1000)
        self.book.quote(self.mark)


class Floor:
    def __init__(
        self, symbols: Sequence[SymbolRules], clock: Callable[[], int], rng: Random, funding_interval_ms: int
    ) -> None:
        self._clock = clock
        self._latest_ms = clock()
        self.rng = rng
        self.funding_interval_ms = funding_interval_ms
        self.on_user_event: list[Callable[[Account, Event], None]] = []
        self.accounts: dict[str, Account] = {}
        self.symbols = {rules.symbol: rules for rules in symbols}
        next_funding = (self._latest_ms // funding_interval_ms + 1) * funding_interval_ms
        self.markets = {rules.symbol: Market(rules, rng, next_funding) for rules in symbols}
        self.forced: dict[str, list[ForcedOrder]] = {}
        """By API key."""
        self.calculated_liquidations = False
        self._order_id = rng.randrange(30_000_000_000, 500_000_000_000)
        self._algo_id = rng.randrange(1_000_000, 4_000_000)
        self._transaction_id = rng.randrange(9_000_000_000, 20_000_000_000)

    def now(self) -> int:
        """Return the clock's time, which never goes back here."""
        self._latest_ms = max(self._latest_ms, self._clock())
        return self._latest_ms

    def market(self, symbol: str | None) -> Market:
        market = self.markets.get(symbol or "")
        if market is None:
            raise refusal(-1121)
        return market

    def mark(self, symbol: str) -> int:
        return self.markets[symbol].mark

    def emit(self, account: Account, event: Event) -> None:
        for listener in self.on_user_event:
            listener(account, event)

    def order_id(self) -> int:
        self._order_id += 1 + int(self.rng.random() * 50)
        return self._order_id

    def algo_id(self) -> int:
        self._algo_id += 1 + int(self.rng.random() * 5)
        return self._algo_id

    def trade_id(self, market: Market) -> int:
        """Return the next id of the symbol: rising, now and then with gaps, for others trade too."""
        market.trade_id += 1 if self.rng.random() < 0.5 else 1 + int(self.rng.random() * 9)
        return market.trade_id

    def transaction_id(self) -> int:
        self._transaction_id += 1
        return self._transaction_id

    def dollar_rate(self, asset: str) -> Rate:
        """Return what an asset is worth, with the buffers of multi-assets mode: none for USDT, else 0.1 to 5 %."""
        if asset in DOLLARS:
            buffer = 0 if asset == "USDT" else UNIT // 1000
            return Rate(UNIT, UNIT - buffer, UNIT + buffer)
        market = self.markets.get(asset + "USDT")
        if market is None:
            return Rate(0, 0, 0)
        index, buffer = market.index, market.index // 20
        return Rate(index, index - buffer, index + buffer)

    def record(
        self, account: Account, kind: str, asset: str, amount: int, at_ms: int, transaction_id: int,
        *, symbol: str = "", info: str = "", trade_id: str = "",
    ) -> None:  # fmt: skip
        """Add an income row where its time belongs: funding is booked seconds after the time that it bears."""
        row = Income(symbol, kind, amount, asset, info, at_ms, transaction_id, trade_id)
        if account.incomes and at_ms < account.incomes[-1].at_ms:
            insort(account.incomes, row, key=lambda income: income.at_ms)
        else:
            account.incomes.append(row)

    def credit(self, account: Account, asset: str, amount: int, now: int) -> None:
        """Move a wallet by a signed amount."""
        account.wallets[asset] = account.wallets.get(asset, 0) + amount
        account.wallet_updated_ms[asset] = now


def tally(totals: dict[str, int], key: str, amount: int) -> None:
    totals[key] = totals.get(key, 0) + amount
