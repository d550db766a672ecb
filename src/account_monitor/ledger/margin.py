"""Margin: how much of an account the venue wants to see, and at which prices would it liquidate what?

A *pool* is what the venue liquidates by: the cross positions of one margin asset, in multi-assets mode those of the
whole account, and each isolated position on its own. It is liquidated once its maintenance margin reaches its balance.

Sources: the venue's pages on leverage and margin, multi-assets mode and liquidation prices.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from account_monitor.ledger.money import ONE, ZERO, divide, venue_amount

Rates: TypeAlias = Callable[[str], Decimal | None]
"""Returns USD per unit of an asset, None where nothing prices it."""

HUNDRED = Decimal(100)

MAX_RATIO = HUNDRED
"""The highest margin ratio that is told: a balance that is used up has no finite one."""

WHOLE_ACCOUNT = "USD"
"""The name of the one cross pool of multi-assets mode."""

# -- what the venue says -----------------------------------------------------------------------------------------------


class Bracket(NamedTuple):
    """Terms of the notionals up to `cap`: maintenance margin = |notional| × ratio − cum."""

    cap: Decimal
    ratio: Decimal
    cum: Decimal


class AssetRate(NamedTuple):
    """USD per unit of an asset in multi-assets mode: by the index, and with the buffers, of what is owned and owed."""

    mid: Decimal
    bid: Decimal
    ask: Decimal

    def worth(self, amount: Decimal) -> Decimal:
        """Return what a balance counts for, in USD."""
        return venue_amount(amount * (self.bid if amount >= ZERO else self.ask))


AT_PAR = AssetRate(ONE, ONE, ONE)


@dataclass(frozen=True, slots=True)
class MarginTerms:
    """The rules by which the venue judges an account. A symbol that is absent is one whose terms are not known."""

    brackets: Mapping[str, tuple[Bracket, ...]]
    """By symbol, ascending."""
    leverages: Mapping[str, int] = field(default_factory=dict)
    """By symbol, the initial leverage."""
    isolated: frozenset[str] = frozenset()
    """The symbols whose positions stand each on its own."""
    is_multi_assets: bool = False
    rates: Mapping[str, AssetRate] = field(default_factory=dict)
    """By asset, in multi-assets mode; what is absent does not count as margin."""


class VenueMargin(NamedTuple):
    """What the venue itself states of an account; in USDT in single-asset mode, in USD in multi-assets mode."""

    maintenance_margin: Decimal
    margin_balance: Decimal
    available: Decimal
    at_ms: int


class MarginStated(NamedTuple):
    """What changes more often than the terms. None: nothing was said of it."""

    isolated_wallets: Mapping[str, Decimal]
    """By position key."""
    is_complete: bool = False
    """Whether positions that are not named have no isolated wallet."""
    order_margins: Mapping[str, Decimal] | None = None
    """By asset, what open orders bind."""
    venue: VenueMargin | None = None


# -- one position ------------------------------------------------------------------------------------------------------


class PositionMargin(NamedTuple):
    """What an open position asks of its pool, in the settlement asset, each amount as the venue counts it."""

    unrealized: Decimal
    maintenance: Decimal
    initial: Decimal
    isolated_wallet: Decimal | None
    """None for a cross position."""
    reach: Decimal
    """The most that the pool may lose while the price moves by its whole self: what closeness is estimated by."""
    sure_reach: Decimal
    """The least that it loses while the price moves against the position by so much, where that is the only leg."""


def bracket_of(brackets: tuple[Bracket, ...], notional: Decimal) -> int:
    """Return which bracket a positive notional is in; beyond the last cap, the last."""
    return min(bisect_left(brackets, notional, key=_cap), len(brackets) - 1)


def _cap(bracket: Bracket) -> Decimal:
    return bracket.cap


def maintenance_margin(brackets: tuple[Bracket, ...], notional: Decimal) -> Decimal:
    """Return the maintenance margin of a positive notional."""
    _, ratio, cum = brackets[bracket_of(brackets, notional)]
    return venue_amount(notional * ratio - cum)


def initial_margin(value: Decimal, leverage: int) -> Decimal:
    """Return the initial margin of a positive value."""
    return venue_amount(divide(value, Decimal(leverage)))


def position_margin(
    brackets: tuple[Bracket, ...],
    leverage: int,
    *,
    value: Decimal,
    unrealized: Decimal,
    isolated_wallet: Decimal | None,
) -> PositionMargin:
    """Return what a position of this value, positive long, asks of its pool."""
    size = abs(value)
    notional = venue_amount(size)
    growing = brackets[bracket_of(brackets, 2 * notional)].ratio
    return PositionMargin(
        venue_amount(unrealized),
        maintenance_margin(brackets, notional),
        initial_margin(size, leverage),
        isolated_wallet,
        notional * (ONE + growing),
        notional * (ONE - growing),
    )


def margin_ratio(maintenance: Decimal, balance: Decimal) -> Decimal:
    """Return maintenance margin / balance; 1 and more is liquidated. At most MAX_RATIO, where nothing is left."""
    if not maintenance:
        return ZERO
    if balance * MAX_RATIO <= maintenance:
        return MAX_RATIO
    return divide(maintenance, balance)


# -- the whole account -------------------------------------------------------------------------------------------------


class AssetMargin(NamedTuple):
    """The cross positions of one margin asset, and the wallet behind them, in that asset."""

    wallet: Decimal
    unrealized: Decimal = ZERO
    maintenance: Decimal = ZERO
    initial: Decimal = ZERO
    order_initial: Decimal = ZERO
    reach: Decimal = ZERO
    """The largest of a position."""
    has_positions: bool = False

    @property
    def balance(self) -> Decimal:
        """Wallet and unrealized results of the cross positions."""
        return self.wallet + self.unrealized

    @property
    def available(self) -> Decimal:
        """What may still be bound. The venue does not publish the exact expression."""
        return max(ZERO, self.balance - self.initial - self.order_initial)


@dataclass(frozen=True, slots=True)
class Pool:
    """What the venue liquidates together, in USD. None: it has no price.

    `name` is the margin asset, WHOLE_ACCOUNT in multi-assets mode, or the key of an isolated position.
    """

    name: str
    is_isolated: bool
    maintenance_margin: Decimal | None
    balance: Decimal | None
    ratio: Decimal


@dataclass(frozen=True, slots=True)
class MarginUse:
    """How near an account is to liquidation, in USD. None: not known, wholly or of one of its positions."""

    maintenance_margin: Decimal | None = None
    ratio: Decimal | None = None
    """The highest of the pools."""
    pools: tuple[Pool, ...] = ()
    """The cross pools, and of the isolated positions the one with the highest ratio."""
    available: Decimal | None = None
    """What may still be bound by orders and positions."""
    closest_pct: Decimal | None = None
    """No open position is nearer to its liquidation price than this many percent of its mark; at most 100."""
    venue: VenueMargin | None = None
    """What the venue stated last."""
    terms: MarginTerms | None = None
    assets: Mapping[str, AssetMargin] = field(default_factory=dict)
    """By margin asset; empty where something is not known."""

    @property
    def is_known(self) -> bool:
        """Whether all that the pools hold is known."""
        return self.ratio is not None


NOT_KNOWN = MarginUse()


def distance_pct(cushion: Decimal, reach: Decimal) -> Decimal:
    """Return how many percent a price may move at least before a pool has lost its cushion to a position of this reach.

    At most 100: of a price that doubles, the reach says nothing.
    """
    if cushion <= ZERO:
        return ZERO
    # A position that is worth less than the venue counts reaches nothing.
    return min(HUNDRED, divide(cushion * HUNDRED, reach)) if reach else HUNDRED


class PoolCushion(NamedTuple):
    """What a pool has above its maintenance margin, and what a unit of an asset's reach weighs in it."""

    amount: Decimal
    weight: Decimal


def cross_cushions(
    terms: MarginTerms, assets: Mapping[str, AssetMargin], pools: tuple[Pool, ...]
) -> dict[str, PoolCushion]:
    """Return the cushion behind the cross positions of each asset that has any; every asset has its rate."""
    cushions = {}
    for name, asset in assets.items():
        if not asset.has_positions:
            continue
        amount, weight = asset.balance - asset.maintenance, ONE
        if terms.is_multi_assets:
            rate, pool = terms.rates[name], next(each for each in pools if not each.is_isolated)
            assert pool.balance is not None  # the whole account is in USD
            assert pool.maintenance_margin is not None
            amount, weight = pool.balance - pool.maintenance_margin, max(rate.mid, rate.ask)
        cushions[name] = PoolCushion(amount, weight)
    return cushions


def asset_rate(terms: MarginTerms, asset: str) -> AssetRate | None:
    """Return at what an asset counts in its pool: in USD in multi-assets mode, else as itself."""
    return terms.rates.get(asset) if terms.is_multi_assets else AT_PAR


def cross_pools(terms: MarginTerms, assets: Mapping[str, AssetMargin], usd: Rates) -> tuple[Pool, ...]:
    """Return the cross pools that hold positions."""
    if terms.is_multi_assets:
        return (account_pool(terms, assets),) if any(asset.has_positions for asset in assets.values()) else ()
    return tuple([_asset_pool(name, asset, usd(name)) for name, asset in assets.items() if asset.has_positions])


def _asset_pool(name: str, asset: AssetMargin, rate: Decimal | None) -> Pool:
    ratio = margin_ratio(asset.maintenance, asset.balance)
    if rate is None:
        return Pool(name, False, None, None, ratio)
    return Pool(name, False, asset.maintenance * rate, asset.balance * rate, ratio)


def account_pool(terms: MarginTerms, assets: Mapping[str, AssetMargin]) -> Pool:
    """Return the pool of multi-assets mode. What has no rate counts nothing."""
    maintenance = balance = ZERO
    for name, asset in assets.items():
        rate = terms.rates.get(name)
        if rate is not None:
            maintenance += venue_amount(asset.maintenance * rate.mid)
            balance += rate.worth(asset.balance)
    return Pool(WHOLE_ACCOUNT, False, maintenance, balance, margin_ratio(maintenance, balance))


def isolated_pool(key: str, margin: PositionMargin, rate: Decimal | None) -> Pool:
    """Return the pool that an isolated position is; `rate` is USD per unit of its asset."""
    balance = isolated_balance(margin)
    ratio = margin_ratio(margin.maintenance, balance)
    if rate is None:
        return Pool(key, True, None, None, ratio)
    return Pool(key, True, margin.maintenance * rate, balance * rate, ratio)


def all_pools(
    use: MarginUse, positions: Mapping[str, tuple[PositionMargin | None, Decimal | None]]
) -> tuple[Pool, ...]:
    """Return the cross pools, then each isolated position; `positions` gives by key the margin, and USD per unit."""
    cross = [pool for pool in use.pools if not pool.is_isolated]
    isolated = [
        isolated_pool(key, margin, rate)
        for key, (margin, rate) in sorted(positions.items())
        if margin is not None and margin.isolated_wallet is not None
    ]
    return (*cross, *isolated)


def isolated_balance(margin: PositionMargin) -> Decimal:
    """Return wallet and unrealized result of an isolated position."""
    assert margin.isolated_wallet is not None  # callers have an isolated one
    return margin.isolated_wallet + margin.unrealized


def available_margin(terms: MarginTerms, assets: Mapping[str, AssetMargin], usd: Rates) -> Decimal | None:
    """Return what may still be bound, in USD: in multi-assets mode of the whole account, else of each margin asset."""
    if terms.is_multi_assets:
        return _available_of_account(terms, assets)
    total = ZERO
    for name, asset in assets.items():
        rate = usd(name)
        if rate == ONE:
            total += asset.available
        elif asset.has_positions:  # other coins are no margin unless a contract settles in them
            if rate is None:
                return None
            total += asset.available * rate
    return total


def _available_of_account(terms: MarginTerms, assets: Mapping[str, AssetMargin]) -> Decimal:
    available = account_pool(terms, assets).balance or ZERO
    for name, asset in assets.items():
        rate = terms.rates.get(name)
        if rate is not None:
            available -= venue_amount(asset.initial * rate.mid) + venue_amount(asset.order_initial * rate.mid)
    return max(ZERO, available)
