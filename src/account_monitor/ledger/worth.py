"""Worth: what an account is worth at the prices that its journal holds, at the cost of what changed since it was asked.

A position's price is the mark of its symbol, else the price of its last fill. `Prices` says so for the valuation of
now, too, so that the journal and the screen never price one thing in two ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

from account_monitor.ledger.events import MarkPrice
from account_monitor.ledger.instruments import Instrument
from account_monitor.ledger.money import ONE, ZERO
from account_monitor.ledger.position import Leg
from account_monitor.ledger.timeline import Timeline

PriceSource: TypeAlias = Literal["mark", "last_fill"]

DOLLARS = ("USDT", "USDC", "FDUSD", "BUSD", "USD")
"""The quotes in which an asset's price is its rate, the usual ones first."""


class Price(NamedTuple):
    """A price of now, where it comes from, and the venue time at which it was one."""

    price: Decimal
    source: PriceSource
    at_ms: int


class Prices:
    """The price of each symbol: its mark, else that of its last fill. Marks and positions are looked up, not copied."""

    def __init__(
        self, marks: Mapping[str, MarkPrice], timelines: Mapping[str, Timeline], usd_assets: frozenset[str]
    ) -> None:
        self._marks = marks
        self._timelines = timelines
        self._usd_assets = usd_assets
        self._dollars = tuple(dollar for dollar in DOLLARS if dollar in usd_assets)
        self.keys_by_symbol: dict[str, list[str]] = {}
        """The positions of each symbol that are known."""

    def know(self, timeline: Timeline) -> None:
        """Take a new position, whose fills may price its symbol."""
        self.keys_by_symbol.setdefault(timeline.instrument.symbol, []).append(timeline.key)

    def price(self, symbol: str) -> Price | None:
        """Return the mark, else the price of the last fill, else None."""
        mark = self._marks.get(symbol)
        if mark is not None:
            return Price(mark.price, "mark", mark.at_ms)
        legs = [(key, self._timelines[key].leg) for key in self.keys_by_symbol.get(symbol, ())]
        # The key decides between legs of one millisecond: whatever the order in which they became known.
        _, last = max(legs, key=lambda named: (named[1].latest_fill_ms, named[0]), default=("", None))
        if last is None or last.last_price is None:
            return None
        return Price(last.last_price, "last_fill", last.latest_fill_ms)

    def rate(self, asset: str, *, at_ms: int | None = None, near_ms: int = 0) -> Decimal | None:
        """Return USD per unit of an asset, None where nothing prices it; with `at_ms`, nothing within `near_ms`."""
        if asset in self._usd_assets:
            return ONE
        for dollar in self._dollars:
            price = self.price(asset + dollar)
            if price is not None and (at_ms is None or abs(price.at_ms - at_ms) <= near_ms):
                return price.price
        return None


def value_of(leg: Leg, instrument: Instrument, price: Price | None) -> Decimal | None:
    """Return the signed value of a position in its settlement asset: 0 where it is flat, None without a price."""
    return ZERO if not leg.quantity else None if price is None else instrument.value(leg.quantity, price.price)


class Worth:
    """The equity of an account: `touch` what events move, `mark` what is priced, then ask.

    It is not written down with the account: what was never asked is counted when it is.
    """

    def __init__(
        self,
        wallets: Mapping[str, Decimal],
        marks: Mapping[str, MarkPrice],
        timelines: Mapping[str, Timeline],
        usd_assets: frozenset[str],
    ) -> None:
        self._wallets = wallets
        self._marks = marks
        self._timelines = timelines
        self._prices = Prices(marks, timelines, usd_assets)
        self._unrealized: dict[str, Decimal | None] = {}
        """By position, in its settlement asset; None: it is open and has no price."""
        self._totals: dict[str, Decimal] = {}
        """By asset, of all positions that are priced."""
        self._unpriced = 0
        self.touched: set[str] = set(timelines)
        """Positions that may have moved since the equity was asked for."""

    def mark(self, symbols: Iterable[str]) -> None:
        """Note that these symbols have another mark."""
        for symbol in symbols:
            self.touched.update(self._prices.keys_by_symbol.get(symbol, ()))

    def equity(self) -> Decimal | None:
        """Return wallets plus unrealized P&L in USD, None where something that is held has no price."""
        self._count_touched()
        if self._unpriced:
            return None
        total = ZERO
        for amounts in (self._wallets, self._totals):
            usd = self._usd_of(amounts)
            if usd is None:
                return None
            total += usd
        return total

    def unrealized_usd(self, key: str) -> Decimal | None:
        """Return the unrealized P&L of a position, 0 where none is known of that name; None: it has no price."""
        self._count_touched()
        unrealized = self._unrealized.get(key, ZERO)
        if not unrealized:
            return unrealized
        rate = self._prices.rate(self._timelines[key].instrument.settlement_asset)
        return None if rate is None else unrealized * rate

    def _count_touched(self) -> None:
        if not self.touched:
            return
        timelines = self._timelines
        for key in self.touched - self._unrealized.keys():
            self._prices.know(timelines[key])
            self._unrealized[key] = ZERO
        moved = set(self.touched)
        for symbol in {timelines[key].instrument.symbol for key in moved} - self._marks.keys():
            moved.update(self._prices.keys_by_symbol[symbol])  # a fill of one leg prices the others
        for key in moved:
            self._count(timelines[key])
        self.touched.clear()

    def _count(self, timeline: Timeline) -> None:
        instrument = timeline.instrument
        value = value_of(timeline.leg, instrument, self._prices.price(instrument.symbol))
        before, after = self._unrealized[timeline.key], None if value is None else value - timeline.leg.cost
        self._unrealized[timeline.key] = after
        self._unpriced += (after is None) - (before is None)
        asset = instrument.settlement_asset
        self._totals[asset] = self._totals.get(asset, ZERO) + (after or ZERO) - (before or ZERO)

    def _usd_of(self, amounts: Mapping[str, Decimal]) -> Decimal | None:
        total = ZERO
        for asset, amount in amounts.items():
            if not amount:
                continue
            rate = self._prices.rate(asset)
            if rate is None:
                return None
            total += amount if rate is ONE else amount * rate
        return total
