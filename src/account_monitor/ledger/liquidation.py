"""Liquidation: at which mark price does the venue liquidate a position, while nothing else moves?

What a pool has above its maintenance margin falls and rises with the mark of one contract along straight lines: each
bracket of each leg has its own, and in multi-assets mode the balance of the settlement asset has one where it is owned
and one where it is owed. The venue takes the lowest of them (margins grow ever faster with the notional, and debts
weigh more than possessions), so the prices at which the pool is safe are one interval. Its ends are found from outside:
the zero of the line there lies nearer, and so does that of the line at that zero, until the line no longer changes.
With one leg and one bracket this is the venue's own formula:

    price = (wallet − other maintenance + other unrealized + cum − quantity × entry) / (|quantity| × ratio − quantity)

Source: the venue's FAQ "How to calculate liquidation price".
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from account_monitor.ledger.margin import (
    AT_PAR,
    HUNDRED,
    AssetRate,
    Bracket,
    MarginTerms,
    MarginUse,
    account_pool,
    bracket_of,
)
from account_monitor.ledger.money import ZERO, divide, venue_amount
from account_monitor.ledger.valuation import PositionValue


class Liquidation(NamedTuple):
    """The mark price at which the venue liquidates a position while nothing else moves."""

    price: Decimal
    distance_pct: Decimal
    """How far the mark is from it, in percent of the mark; 0 once the pool is to be liquidated already."""


class Leg(NamedTuple):
    """What is held of the contract on one side, positive long."""

    quantity: Decimal
    brackets: tuple[Bracket, ...]


class _Place(NamedTuple):
    """Which lines hold: a bracket for each leg, and whether the settlement asset is owed."""

    brackets: tuple[int, ...]
    is_owed: bool


class Cushion(NamedTuple):
    """What a pool has above its maintenance margin, as the mark of one contract moves.

    `others` is the pool without the settlement asset's balance and without the maintenance margin of these legs; `rest`
    that balance without the legs' value. Both are in what the pool is counted in, and in the settlement asset.
    """

    others: Decimal
    rest: Decimal
    legs: tuple[Leg, ...]
    rate: AssetRate = AT_PAR

    def at(self, price: Decimal) -> Decimal:
        """Return what is left at a price; 0 and less is liquidated."""
        slope, level = self._line(self._place(price))
        return level + slope * price

    def liquidation(self, mark: Decimal) -> Liquidation | None:
        """Return the nearer end of the interval in which the pool is safe, None where it has none.

        A pool that no price of this contract would save is to be liquidated at the mark.
        """
        low, high = self._end(self._place_at_zero(), 1), self._end(self._place_at_infinity(), -1)
        if self.at(mark) <= ZERO:
            ends = [end for end in (low, high) if end is not None]
            return Liquidation(min(ends, key=lambda end: abs(end - mark), default=mark), ZERO)
        return min(
            (_liquidation(end, mark) for end in (low, high) if end is not None),
            key=lambda each: each.distance_pct,
            default=None,
        )

    # -- one line ----------------------------------------------------------------------------------------------------

    def _end(self, place: _Place, rising: int) -> Decimal | None:
        """Return the low end (rising 1) or the high end (−1), from a place beyond it; None where there is none."""
        price: Decimal | None = None
        for _ in range(sum(len(leg.brackets) for leg in self.legs) + 2):
            slope, level = self._line(place)
            if slope * rising <= ZERO:
                return None
            price = divide(-level, slope)
            if price <= ZERO:
                return None
            nearer = self._place(price)
            if nearer == place:
                break
            place = nearer
        return price

    def _line(self, place: _Place) -> tuple[Decimal, Decimal]:
        """Return slope and level: what is left at a price is level + slope × price."""
        rate, mid = self.rate.ask if place.is_owed else self.rate.bid, self.rate.mid
        slope, level = ZERO, self.others + rate * self.rest
        for leg, number in zip(self.legs, place.brackets, strict=True):
            _, ratio, cum = leg.brackets[number]
            slope += rate * leg.quantity - mid * abs(leg.quantity) * ratio
            level += mid * cum
        return slope, level

    def _place(self, price: Decimal) -> _Place:
        brackets = tuple([bracket_of(leg.brackets, abs(leg.quantity) * price) for leg in self.legs])
        return _Place(brackets, self._is_owed(self.rest + self._net * price, ZERO))

    def _place_at_zero(self) -> _Place:
        return _Place((0,) * len(self.legs), self._is_owed(self.rest, self._net))

    def _place_at_infinity(self) -> _Place:
        return _Place(tuple([len(leg.brackets) - 1 for leg in self.legs]), self._is_owed(self._net, self.rest))

    @property
    def _net(self) -> Decimal:
        return sum((leg.quantity for leg in self.legs), ZERO)

    def _is_owed(self, first: Decimal, second: Decimal) -> bool:
        """Whether the first is negative, or the second where that is zero; all the same where debts weigh no more."""
        return self.rate.bid != self.rate.ask and (first < ZERO or (first == ZERO and second < ZERO))


def _liquidation(price: Decimal, mark: Decimal) -> Liquidation:
    return Liquidation(price, divide(abs(price - mark) * HUNDRED, mark))


# -- positions of an account -------------------------------------------------------------------------------------------


def liquidations(positions: Mapping[str, PositionValue], use: MarginUse) -> dict[str, Liquidation]:
    """Return by key where the venue liquidates each open position; absent where no price does so, or none is known."""
    found = {key: liquidation_of(key, positions, use) for key, position in positions.items() if position.quantity}
    return {key: each for key, each in found.items() if each is not None}


def liquidation_of(key: str, positions: Mapping[str, PositionValue], use: MarginUse) -> Liquidation | None:
    """Return where the venue liquidates one position, None where no price does so, or none is known."""
    position, terms = positions[key], use.terms
    if terms is None or position.margin is None or position.price is None or not use.is_known:
        return None
    brackets = terms.brackets[position.symbol]
    if position.margin.isolated_wallet is not None:
        wallet = position.margin.isolated_wallet
        cushion = Cushion(ZERO, wallet - position.cost, (Leg(position.quantity, brackets),))
    else:
        legs = [leg for name in legs_of(position.symbol) if (leg := positions.get(name)) and leg.quantity]
        cushion = _cross_cushion(legs, brackets, terms, use)
    return cushion.liquidation(position.price.price)


def legs_of(symbol: str) -> tuple[str, str, str]:
    """Return the keys of the positions that a symbol may have."""
    return symbol, f"{symbol}:LONG", f"{symbol}:SHORT"


def _cross_cushion(
    legs: list[PositionValue], brackets: tuple[Bracket, ...], terms: MarginTerms, use: MarginUse
) -> Cushion:
    name = legs[0].settlement_asset
    asset = use.assets[name]
    margins = [leg.margin for leg in legs if leg.margin is not None]
    rest = asset.balance - sum((m.unrealized for m in margins), ZERO) - sum((leg.cost for leg in legs), ZERO)
    others = asset.maintenance - sum((m.maintenance for m in margins), ZERO)
    held = tuple([Leg(leg.quantity, brackets) for leg in legs])
    if not terms.is_multi_assets:
        return Cushion(-others, rest, held)
    rate, pool = terms.rates[name], account_pool(terms, use.assets)
    assert pool.balance is not None  # the whole account is in USD
    assert pool.maintenance_margin is not None
    elsewhere = pool.balance - rate.worth(asset.balance)
    elsewhere -= pool.maintenance_margin - venue_amount(asset.maintenance * rate.mid)
    return Cushion(elsewhere - others * rate.mid, rest, held, rate)
