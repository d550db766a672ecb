"""The margin book: all margins of an account, summed by what the venue liquidates together.

Totals are kept by adding and subtracting what changed, and the worst by heaps, so that a fill or a mark costs the same
however many positions there are, but for a logarithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heapify, heappop, heappush

from account_monitor.ledger.instruments import Instrument
from account_monitor.ledger.margin import (
    HUNDRED,
    NOT_KNOWN,
    AssetMargin,
    MarginStated,
    MarginTerms,
    MarginUse,
    Pool,
    PositionMargin,
    Rates,
    VenueMargin,
    asset_rate,
    available_margin,
    cross_cushions,
    cross_pools,
    distance_pct,
    isolated_balance,
    isolated_pool,
    margin_ratio,
    position_margin,
)
from account_monitor.ledger.money import ZERO, venue_amount

_SPARE_ENTRIES = 64
"""How many entries a heap may hold that are no longer so, beside three times as many as there are figures."""


class Lowest:
    """The lowest of figures by name that come, change and go; each change costs O(log n)."""

    def __init__(self) -> None:
        self._figures: dict[str, Decimal] = {}
        self._heap: list[tuple[Decimal, str]] = []
        """Also holds what is no longer so, until it comes to the top or there is too much of it."""

    def put(self, name: str, figure: Decimal | None) -> None:
        """Let a name have this figure from now on; None: no figure."""
        if figure is None:
            self._figures.pop(name, None)
            return
        self._figures[name] = figure
        heappush(self._heap, (figure, name))
        if len(self._heap) > _SPARE_ENTRIES + 4 * len(self._figures):
            self._heap = [(each, owner) for owner, each in self._figures.items()]
            heapify(self._heap)

    def lower(self, name: str, figure: Decimal) -> None:
        """Let a name have this figure unless it has a lower one."""
        known = self._figures.get(name)
        if known is None or figure < known:
            self.put(name, figure)

    def first(self) -> tuple[Decimal, str] | None:
        """Return the lowest figure and who has it, None where there is none."""
        while self._heap and self._figures.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0] if self._heap else None


@dataclass(slots=True)
class _CrossTotals:
    """Sums over the open cross positions of an asset."""

    unrealized: Decimal = ZERO
    maintenance: Decimal = ZERO
    initial: Decimal = ZERO
    count: int = 0
    reaches: Lowest = field(default_factory=Lowest)
    """Negated, so that the lowest is the largest."""

    def add(self, margin: PositionMargin, sign: int) -> None:
        self.unrealized += sign * margin.unrealized
        self.maintenance += sign * margin.maintenance
        self.initial += sign * margin.initial
        self.count += sign


class MarginBook:
    """The margins of all open positions, summed by pool; what changes costs the same however many there are."""

    def __init__(self) -> None:
        self.terms: MarginTerms | None = None
        self._wallets: dict[str, Decimal] = {}
        """What the venue states as isolated wallets, by position key."""
        self._order_margins: Mapping[str, Decimal] = {}
        self._venue: VenueMargin | None = None
        self._margins: dict[str, tuple[str, PositionMargin]] = {}
        """By key of an open position whose margin is known: (asset, margin)."""
        self._unknown: set[str] = set()
        self._cross: dict[str, _CrossTotals] = {}
        self._isolated_wallets: dict[str, Decimal] = {}
        self._isolated_maintenance: dict[str, Decimal] = {}
        self._isolated_ratios = Lowest()
        """Negated."""
        self._isolated_distances = Lowest()

    # -- what changes ------------------------------------------------------------------------------------------------

    def state(self, stated: MarginStated) -> set[str]:
        """Take what the venue states; return the keys of positions for whose margin that is news."""
        wallets = stated.isolated_wallets
        changed = {key for key, wallet in wallets.items() if self._wallets.get(key) != wallet}
        if stated.is_complete:
            changed.update(self._wallets.keys() - wallets.keys())
            self._wallets = dict(wallets)
        else:
            self._wallets.update(wallets)
        if stated.order_margins is not None:
            self._order_margins = stated.order_margins
        if stated.venue is not None:
            self._venue = stated.venue
        return changed

    def is_isolated(self, symbol: str) -> bool | None:
        """Whether positions of a symbol stand on their own; None: not known."""
        return None if self.terms is None else symbol in self.terms.isolated

    def leverage(self, symbol: str) -> int | None:
        """Return the initial leverage that the venue states for a symbol."""
        return None if self.terms is None else self.terms.leverages.get(symbol)

    def value(
        self, key: str, instrument: Instrument, value: Decimal | None, unrealized: Decimal | None
    ) -> PositionMargin | None:
        """Count a position as it is now, and return its margin: None where it is flat or not known.

        `value` is 0 when flat, None without a price.
        """
        if self.terms is None:
            return None
        margin = None if not value or unrealized is None else self._margin(key, instrument, value, unrealized)
        if value is None or (value and margin is None):
            self._unknown.add(key)
        else:
            self._unknown.discard(key)
        self._replace(key, instrument.settlement_asset, margin)
        return margin

    def _margin(self, key: str, instrument: Instrument, value: Decimal, unrealized: Decimal) -> PositionMargin | None:
        assert self.terms is not None
        symbol = instrument.symbol
        brackets, leverage = self.terms.brackets.get(symbol), self.terms.leverages.get(symbol)
        wallet = self._wallets.get(key) if symbol in self.terms.isolated else ZERO
        # Brackets are of the notionals of plain linear contracts.
        if not brackets or leverage is None or wallet is None or not instrument.is_plain:
            return None
        return position_margin(
            brackets,
            leverage,
            value=value,
            unrealized=unrealized,
            isolated_wallet=wallet if symbol in self.terms.isolated else None,
        )

    def _replace(self, key: str, asset: str, margin: PositionMargin | None) -> None:
        before = self._margins.pop(key, None)
        if before is not None:
            self._count(key, *before, -1)
        if margin is not None:
            self._margins[key] = (asset, margin)
            self._count(key, asset, margin, 1)

    def _count(self, key: str, asset: str, margin: PositionMargin, sign: int) -> None:
        wallet = margin.isolated_wallet
        if wallet is None:
            totals = self._cross.setdefault(asset, _CrossTotals())
            totals.add(margin, sign)
            totals.reaches.put(key, -margin.reach if sign > 0 else None)
            return
        self._isolated_wallets[asset] = self._isolated_wallets.get(asset, ZERO) + sign * wallet
        self._isolated_maintenance[asset] = self._isolated_maintenance.get(asset, ZERO) + sign * margin.maintenance
        balance = isolated_balance(margin)
        ratio = -margin_ratio(margin.maintenance, balance)
        self._isolated_ratios.put(key, ratio if sign > 0 else None)
        distance = distance_pct(balance - margin.maintenance, margin.reach)
        self._isolated_distances.put(key, distance if sign > 0 else None)

    # -- what is read ------------------------------------------------------------------------------------------------

    def use(self, wallets: Mapping[str, Decimal] | None, usd: Rates) -> MarginUse:
        """Return how an account stands that has these wallets; None: nobody knows them."""
        terms = self.terms
        if terms is None:
            return NOT_KNOWN if self._venue is None else MarginUse(venue=self._venue)
        if self._unknown or wallets is None:
            return MarginUse(venue=self._venue, terms=terms)
        assets = self._assets(wallets)
        if any(asset.has_positions and asset_rate(terms, name) is None for name, asset in assets.items()):
            return MarginUse(venue=self._venue, terms=terms)
        pools = (*cross_pools(terms, assets, usd), *self._worst_isolated(usd))
        return MarginUse(
            maintenance_margin=self._maintenance(assets, usd),
            ratio=max((pool.ratio for pool in pools), default=ZERO),
            pools=pools,
            available=available_margin(terms, assets, usd),
            closest_pct=self._closest_pct(terms, assets, pools),
            venue=self._venue,
            terms=terms,
            assets=assets,
        )

    def _worst_isolated(self, usd: Rates) -> tuple[Pool, ...]:
        worst = self._isolated_ratios.first()
        if worst is None:
            return ()
        asset, margin = self._margins[worst[1]]
        return (isolated_pool(worst[1], margin, usd(asset)),)

    def _maintenance(self, assets: Mapping[str, AssetMargin], usd: Rates) -> Decimal | None:
        assert self.terms is not None
        total = ZERO
        for name, asset in assets.items():
            amount = asset.maintenance + self._isolated_maintenance.get(name, ZERO)
            if not amount:
                continue
            rate = self.terms.rates[name].mid if self.terms.is_multi_assets else usd(name)
            if rate is None:
                return None
            total += venue_amount(amount * rate) if self.terms.is_multi_assets else amount * rate
        return total

    def _closest_pct(
        self, terms: MarginTerms, assets: Mapping[str, AssetMargin], pools: tuple[Pool, ...]
    ) -> Decimal | None:
        found = [] if (isolated := self._isolated_distances.first()) is None else [isolated[0]]
        for name, cushion in cross_cushions(terms, assets, pools).items():
            found.append(distance_pct(cushion.amount, assets[name].reach * cushion.weight))
        return min(found, default=HUNDRED)

    def _assets(self, wallets: Mapping[str, Decimal]) -> dict[str, AssetMargin]:
        names = wallets.keys() | self._cross.keys() | self._order_margins.keys()
        return {asset: self._asset(asset, wallets.get(asset, ZERO)) for asset in sorted(names)}

    def _asset(self, asset: str, wallet: Decimal) -> AssetMargin:
        cross_wallet = wallet - self._isolated_wallets.get(asset, ZERO)
        order_initial = self._order_margins.get(asset, ZERO)
        totals = self._cross.get(asset)
        if totals is None or not totals.count:
            return AssetMargin(cross_wallet, order_initial=order_initial)
        largest = totals.reaches.first()
        return AssetMargin(
            cross_wallet,
            totals.unrealized,
            totals.maintenance,
            totals.initial,
            order_initial,
            ZERO if largest is None else -largest[0],
            has_positions=True,
        )
