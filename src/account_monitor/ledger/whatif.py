"""What if: what would an account be worth, and what would the venue liquidate, if prices moved?

By the same functions as the present: a scenario without a shock is the account as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from account_monitor.ledger.instruments import Instrument
from account_monitor.ledger.liquidation import Liquidation, liquidations
from account_monitor.ledger.margin import (
    HUNDRED,
    WHOLE_ACCOUNT,
    AssetRate,
    MarginStated,
    MarginTerms,
    MarginUse,
    Pool,
    all_pools,
)
from account_monitor.ledger.margin_book import MarginBook
from account_monitor.ledger.money import ONE, ZERO, decimal_from_text, divide, total_of
from account_monitor.ledger.valuation import Balance, PositionValue
from account_monitor.ledger.worth import DOLLARS

LEAST_PCT = Decimal(-100)
MOST_PCT = Decimal(1_000_000)
"""Of a price that falls by all of itself, or that rises beyond all measure, there is nothing to be told."""

_HALF = Decimal("0.5")
_HALVINGS = 20
"""How often the share of a shock is halved at which a pool is used up: to a millionth of it."""


class Shock(NamedTuple):
    """A move of a price in percent of itself; without a symbol, of every price that has no shock of its own."""

    symbol: str | None
    pct: Decimal


def shock_from_text(text: str) -> Shock:
    """Return the shock that a text writes: `-10%`, `5`, `BTCUSDT:-10%`. Raises: ValueError saying what was expected."""
    symbol, colon, change = text.rpartition(":")
    expected = f"expected a percentage above {LEAST_PCT} and up to {MOST_PCT}, such as -10% or BTCUSDT:-10%"
    try:
        # In a query, a plus sign that was not encoded arrives as a space.
        pct = decimal_from_text(change.strip().removeprefix("+").removesuffix("%"))
    except ValueError:
        raise ValueError(f"was {text[:60]!r}, {expected}") from None
    if not LEAST_PCT < pct <= MOST_PCT or (colon and not symbol):
        raise ValueError(f"was {text[:60]!r}, {expected}")
    return Shock(symbol or None, pct)


@dataclass(frozen=True, slots=True)
class Shocks:
    """Moves of prices, in percent of each."""

    by_symbol: Mapping[str, Decimal]
    others: Decimal = ZERO
    """Of what `by_symbol` does not name."""

    def factor(self, symbol: str) -> Decimal:
        """Return by how much a price is multiplied."""
        return ONE + self.by_symbol.get(symbol, self.others).scaleb(-2)

    def factor_of_asset(self, asset: str) -> Decimal:
        """Return by how much the worth of a coin is multiplied: as the contract of it that has a shock, if any."""
        named = next((asset + dollar for dollar in DOLLARS if asset + dollar in self.by_symbol), asset)
        return self.factor(named)

    def share(self, part: Decimal) -> Shocks:
        """Return a part of each move."""
        return Shocks({symbol: pct * part for symbol, pct in self.by_symbol.items()}, self.others * part)


def shocks_of(given: list[Shock]) -> Shocks:
    """Return the moves together. Raises: ValueError where a symbol, or every price, is moved twice."""
    by_symbol: dict[str, Decimal] = {}
    others: list[Decimal] = []
    for symbol, pct in given:
        if symbol is None:
            others.append(pct)
        elif symbol in by_symbol:
            raise ValueError(f"{symbol} was given twice, expected one shock of each symbol")
        else:
            by_symbol[symbol] = pct
    if len(others) > 1:
        raise ValueError("two were given without a symbol, expected at most one")
    return Shocks(by_symbol, others[0] if others else ZERO)


class Holdings(NamedTuple):
    """What decides what an account is worth."""

    positions: Mapping[str, PositionValue]
    balances: Mapping[str, Balance]
    margin: MarginUse


class Scenario(NamedTuple):
    """An account at certain prices, in USD. None: not known."""

    positions: Mapping[str, PositionValue]
    equity: Decimal | None
    unrealized_pnl: Decimal | None
    leverage: Decimal | None
    margin: MarginUse

    def pools(self) -> tuple[Pool, ...]:
        """Return what the venue liquidates together."""
        return all_pools(self.margin, {key: (p.margin, p.usd_rate) for key, p in self.positions.items()})

    def liquidations(self) -> dict[str, Liquidation]:
        """Return where the venue liquidates each open position."""
        return liquidations(self.positions, self.margin)


class Liquidated(NamedTuple):
    """A pool that a shock uses up: after which share of it, and its positions, the largest loss first."""

    pool: Pool
    share: Decimal
    positions: tuple[str, ...]


def scenario(held: Holdings, shocks: Shocks) -> Scenario:
    """Return the account after these moves."""
    book, terms = _book(held, shocks)
    positions = {key: _moved(position, shocks, book) for key, position in held.positions.items()}
    wallets = _wallets(held.balances)
    rates = {asset: _rate(balance, shocks) for asset, balance in held.balances.items()}
    margin = book.use(wallets, rates.get)
    unrealized = total_of(_times(p.unrealized_pnl, p.usd_rate) for p in positions.values() if p.quantity)
    money = None if wallets is None else total_of(_times(amount, rates[asset]) for asset, amount in wallets.items())
    equity = None if unrealized is None or money is None else money + unrealized
    notional = total_of(None if p.value_usd is None else abs(p.value_usd) for p in positions.values() if p.quantity)
    leverage = divide(notional, equity) if notional is not None and equity is not None and equity > ZERO else None
    return Scenario(positions, equity, unrealized, leverage, margin if terms is not None else held.margin)


def liquidated(held: Holdings, shocks: Shocks) -> list[Liquidated]:
    """Return the pools that the venue liquidates on the way, in the order in which they are used up.

    All prices are taken to move together, each by the same share of its shock. Of a cross pool the venue may keep what
    it can afford once the worst is closed.
    """
    after = scenario(held, shocks)
    found = [
        Liquidated(pool, _share_reached(pool, held, shocks), _positions_of(pool, after.positions))
        for pool in after.pools()
        if pool.ratio >= ONE
    ]
    return sorted(found, key=lambda each: (each.share, each.pool.name))


def _share_reached(pool: Pool, held: Holdings, shocks: Shocks) -> Decimal:
    """Return the least share of the shocks, to a millionth, that uses the pool up."""
    if pool.is_isolated:  # nothing else decides
        held = held._replace(positions={pool.name: held.positions[pool.name]})
    if _ratio(pool, held, shocks.share(ZERO)) >= ONE:
        return ZERO
    safe, used_up = ZERO, ONE
    for _ in range(_HALVINGS):
        middle = (safe + used_up) * _HALF
        if _ratio(pool, held, shocks.share(middle)) >= ONE:
            used_up = middle
        else:
            safe = middle
    return used_up


def _ratio(pool: Pool, held: Holdings, shocks: Shocks) -> Decimal:
    return next((each.ratio for each in scenario(held, shocks).pools() if each.name == pool.name), ZERO)


def _positions_of(pool: Pool, positions: Mapping[str, PositionValue]) -> tuple[str, ...]:
    if pool.is_isolated:
        return (pool.name,)
    cross = [
        (position.margin.unrealized, key)
        for key, position in positions.items()
        if position.margin is not None
        and position.margin.isolated_wallet is None
        and pool.name in (WHOLE_ACCOUNT, position.settlement_asset)
    ]
    return tuple(key for _, key in sorted(cross))


# -- one account, moved ------------------------------------------------------------------------------------------------


def _book(held: Holdings, shocks: Shocks) -> tuple[MarginBook, MarginTerms | None]:
    book, margin = MarginBook(), held.margin
    if margin.terms is not None:
        rates = {asset: _shocked(rate, shocks.factor_of_asset(asset)) for asset, rate in margin.terms.rates.items()
                 if margin.terms.is_multi_assets}  # fmt: skip
        book.terms = replace(margin.terms, rates=rates)
    isolated = {
        key: position.margin.isolated_wallet
        for key, position in held.positions.items()
        if position.margin is not None and position.margin.isolated_wallet is not None
    }
    orders = {name: asset.order_initial for name, asset in margin.assets.items() if asset.order_initial}
    book.state(MarginStated(isolated, True, orders, margin.venue))
    return book, book.terms


def _shocked(rate: AssetRate, factor: Decimal) -> AssetRate:
    """Return a rate after a move; what is about a dollar stays so."""
    if abs(rate.mid - ONE) * HUNDRED <= ONE:
        return rate
    return AssetRate(rate.mid * factor, rate.bid * factor, rate.ask * factor)


def _moved(position: PositionValue, shocks: Shocks, book: MarginBook) -> PositionValue:
    price, unrealized = position.price, position.unrealized_pnl
    instrument = Instrument(position.symbol, position.settlement_asset)
    if not position.quantity or price is None or unrealized is None:
        book.value(position.key, instrument, None if position.quantity else ZERO, None)
        return position
    factor = shocks.factor(position.symbol)
    value = (position.cost + unrealized) * factor
    rate = position.usd_rate
    if rate is not None and rate != ONE:
        rate *= shocks.factor_of_asset(position.settlement_asset)
    unrealized = value - position.cost
    is_known = position.margin is not None
    return replace(
        position,
        price=price._replace(price=price.price * factor),
        unrealized_pnl=unrealized,
        value_usd=None if rate is None else value * rate,
        margin=book.value(position.key, instrument, value if is_known else None, unrealized),
    )


def _wallets(balances: Mapping[str, Balance]) -> dict[str, Decimal] | None:
    known = {asset: balance.total for asset, balance in balances.items() if balance.total is not None}
    return known if known and len(known) == len(balances) else None


def _rate(balance: Balance, shocks: Shocks) -> Decimal | None:
    """Return USD per unit of an asset after the moves; one of which nothing is held is as good as any dollar."""
    if balance.total is None or balance.usd_value is None:
        return None
    if not balance.total or balance.usd_value == balance.total:
        return ONE
    return divide(balance.usd_value, balance.total) * shocks.factor_of_asset(balance.asset)


def _times(amount: Decimal | None, rate: Decimal | None) -> Decimal | None:
    return None if amount is None or rate is None else amount * rate
