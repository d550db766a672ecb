"""Margin: how much of an account is bound, how much is free, and how near is it to liquidation?

Amounts in 1e-8, every margin cut off at eight decimals as the venue does. Sources: the venue's FAQ pages on
maintenance margin, multi-assets mode and liquidation price; the exact terms of the available balance are not
published and are inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from exchange_simulator.accounts import Account, Holding
from exchange_simulator.money import UNIT, truncated
from exchange_simulator.positions import Position
from exchange_simulator.symbols import SymbolRules

Marks = Callable[[str], int]
"""Mark price of a symbol."""


class AssetMargin:
    """The sums of one margin asset."""

    __slots__ = ("cross_initial", "cross_maintenance", "cross_unrealized", "initial", "isolated_wallet",
                 "maintenance", "order_initial", "unrealized", "wallet")  # fmt: skip

    def __init__(self, wallet: int) -> None:
        self.wallet = wallet
        self.isolated_wallet = 0
        self.unrealized = self.cross_unrealized = 0
        self.maintenance = self.cross_maintenance = 0
        self.initial = self.cross_initial = self.order_initial = 0

    @property
    def cross_wallet(self) -> int:
        return self.wallet - self.isolated_wallet

    @property
    def margin_balance(self) -> int:
        return self.wallet + self.unrealized

    @property
    def available(self) -> int:
        return max(0, self.cross_wallet + self.cross_unrealized - self.cross_initial - self.order_initial)

    @property
    def withdrawable(self) -> int:
        gains = max(0, self.cross_unrealized)
        return max(0, min(self.cross_wallet, self.available - gains))


class Rate(NamedTuple):
    """USD per unit of an asset: index, and the same with the buffers of multi-assets mode. 1e-8."""

    mid: int
    bid: int
    ask: int

    def worth(self, amount: int) -> int:
        return truncated(amount * (self.bid if amount >= 0 else self.ask), UNIT)


def maintenance_margin(rules: SymbolRules, notional: int) -> int:
    """Return the maintenance margin of a positive notional."""
    bracket = rules.bracket(notional)
    return (notional * bracket.ratio - bracket.cum * UNIT) // UNIT


def initial_margin(holding: Holding, position: Position, mark: int) -> int:
    return abs(position.quantity) * mark // (holding.leverage * UNIT)


def order_margin(holding: Holding, mark: int, *, hedge: bool) -> int:
    """Return what open orders bind beyond the position: the larger of what buying or selling all would add."""
    if not (holding.buying or holding.selling):
        return 0
    if hedge:
        return (holding.buying + holding.selling) // (holding.leverage * UNIT)
    held = holding.quantity("BOTH") * mark
    size = abs(held)
    added = max(abs(held + holding.buying), abs(held - holding.selling), size) - size
    return added // (holding.leverage * UNIT)


def asset_margins(account: Account, marks: Marks) -> dict[str, AssetMargin]:
    """Return the sums of each asset that the account has a wallet of or trades with."""
    margins = {asset: AssetMargin(wallet) for asset, wallet in account.wallets.items()}
    for holding in account.holdings.values():
        asset = holding.rules.margin_asset
        mark = 0
        for position in holding.positions.values():
            if not position.quantity:
                continue
            mark = mark or marks(position.symbol)
            margin = margins.get(asset) or margins.setdefault(asset, AssetMargin(0))
            unrealized = position.unrealized(mark)
            maintenance = maintenance_margin(holding.rules, abs(position.quantity) * mark // UNIT)
            margin.unrealized += unrealized
            margin.maintenance += maintenance
            initial = initial_margin(holding, position, mark)
            margin.initial += initial
            if holding.isolated:
                margin.isolated_wallet += position.isolated_wallet
            else:
                margin.cross_unrealized += unrealized
                margin.cross_maintenance += maintenance
                margin.cross_initial += initial
        if holding.orders:
            margin = margins.get(asset) or margins.setdefault(asset, AssetMargin(0))
            margin.order_initial += order_margin(holding, mark or marks(holding.rules.symbol), hedge=account.hedge)
    return margins


class Totals(NamedTuple):
    """An account in USD (multi-assets mode), or in one asset."""

    wallet: int
    unrealized: int
    cross_wallet: int
    cross_unrealized: int
    initial: int
    order_initial: int
    maintenance: int
    cross_maintenance: int
    available: int
    withdrawable: int
    equity: int
    """What stands behind the cross positions; in multi-assets mode each asset with its buffer."""


def totals_of(margin: AssetMargin) -> Totals:
    return Totals(
        margin.wallet, margin.unrealized, margin.cross_wallet, margin.cross_unrealized, margin.initial,
        margin.order_initial, margin.maintenance, margin.cross_maintenance, margin.available, margin.withdrawable,
        margin.cross_wallet + margin.cross_unrealized,
    )  # fmt: skip


def dollar_totals(margins: Mapping[str, AssetMargin], rates: Callable[[str], Rate]) -> Totals:
    """Return the sums over all assets in USD, as multi-assets mode counts them."""
    sums = [0] * 8
    equity = 0
    for asset, margin in margins.items():
        rate = rates(asset)
        values = (margin.wallet, margin.unrealized, margin.cross_wallet, margin.cross_unrealized, margin.initial,
                  margin.order_initial, margin.maintenance, margin.cross_maintenance)  # fmt: skip
        for index, value in enumerate(values):
            sums[index] += truncated(value * rate.mid, UNIT)
        equity += rate.worth(margin.cross_wallet + margin.cross_unrealized)
    available = max(0, equity - sums[4] - sums[5])
    return Totals(
        sums[0],
        sums[1],
        sums[2],
        sums[3],
        sums[4],
        sums[5],
        sums[6],
        sums[7],
        available,
        max(0, min(sums[2], available - max(0, sums[3]))),
        equity,
    )


class LegTerms(NamedTuple):
    """One position of the contract whose liquidation price is asked for. Signed quantity, cost as in Position."""

    quantity: int
    cost: int


def liquidation_price(
    rules: SymbolRules,
    wallet: int,
    other_maintenance: int,
    other_unrealized: int,
    legs: tuple[LegTerms, ...],
    mark: int,
) -> int:
    """Return the mark price (1e-8) at which the margin ratio reaches 100 %, 0 where no price does.

    `wallet` is the cross or isolated wallet; `other_*` belong to all other cross contracts (0 for isolated).
    Source: the venue's FAQ "How to calculate liquidation price"; ratio and cum are those at the resulting notional,
    so that the formula is applied until they no longer change.
    """
    price = mark
    for _ in range(len(rules.brackets) + 1):
        rows = [rules.bracket(abs(leg.quantity) * price // UNIT) for leg in legs]
        # Everything in 1e-32: numerator and denominator × price both.
        above = (wallet - other_maintenance + other_unrealized + sum(row.cum for row in rows)) * 10**24
        below = 0
        for leg, row in zip(legs, rows, strict=True):
            direction = 1 if leg.quantity > 0 else -1
            above -= direction * leg.cost
            below += abs(leg.quantity) * (row.ratio - direction * UNIT)
        if not below:
            return 0
        if below < 0:
            above, below = -above, -below
        new = truncated(above, 10**8 * below)
        if new <= 0:
            return 0
        if [rules.bracket(abs(leg.quantity) * new // UNIT) for leg in legs] == rows:
            return new
        price = new
    return price
