"""Nearness: which positions are nearer to their liquidation price than a threshold allows? Exactly, at every event.

No price is computed for it. A position is nearer than so many percent if its pool would not survive the mark that lies
so far away. What the pool loses on the way there, the *need* of the position, depends on that position alone, so it
changes only with its own quantity and mark. All others move by what the pool has to spare, its *cushion*: a number that
is compared with the largest need that it covers, and with the smallest that it does not. So an event costs what it
changes, and each crossing a logarithm, however many positions there are and however many of them are near.

In multi-assets mode the balance of an asset counts less where it is owned and more where it is owed. The lower of these
two lines holds, so a position is near by either of them, and each has cushion and needs of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from account_monitor.ledger.margin import (
    AT_PAR,
    AssetRate,
    Bracket,
    MarginTerms,
    MarginUse,
    PositionMargin,
    bracket_of,
    isolated_balance,
)
from account_monitor.ledger.margin_book import Lowest
from account_monitor.ledger.money import ONE, ZERO, venue_amount
from account_monitor.ledger.rules import Band
from account_monitor.ledger.valuation import PositionValue

Positions: TypeAlias = Mapping[str, PositionValue]

_HUNDREDTH = Decimal("0.01")
_HALF: Final = Decimal("0.5")
_ENDLESS: Final = Decimal("Infinity")

_ROUNDINGS: Final = Decimal("1e-7")
"""More than what the venue cuts off at eight decimals adds up to for the legs of a symbol, in their asset."""


_ROOM: Final = Decimal("0.01")
"""How much the reach of a position may change before its place is looked at again: most fills and marks are small."""


class Crossings(NamedTuple):
    """Which positions came near, and which are so no more."""

    came: Sequence[str]
    left: Sequence[str]


_NONE: Final = Crossings((), ())


class _Line:
    """One of the lines along which a pool's cushion runs, at one rate of an asset, and what it covers.

    Nothing is to be done while the cushion is at least `most`, what the needs that it covers are at the most, and below
    `least`, what those are at the least that it does not.
    """

    def __init__(self, rate: Decimal) -> None:
        self.rate = rate
        self.most = -_ENDLESS
        self.least = _ENDLESS
        self._covered = Lowest()
        """Negated, so that the lowest is the largest."""
        self._uncovered = Lowest()

    def cover(self, key: str, need: Decimal) -> None:
        """Let a position be covered; it needs no more than this."""
        self._covered.lower(key, -need)
        if need > self.most:
            self.most = need

    def uncover(self, key: str, need: Decimal) -> None:
        """Let a position be near by this line; it needs no less than this."""
        self._uncovered.lower(key, need)
        if need < self.least:
            self.least = need

    def forget(self, key: str) -> None:
        """Let a position be neither."""
        self._covered.put(key, None)
        self._uncovered.put(key, None)

    def doubtful(self, cushion: Decimal) -> str | None:
        """Return a position whose place is in doubt with this cushion, None where there is none."""
        first = self._covered.first()
        self.most = -_ENDLESS if first is None else -first[0]
        if first is not None and self.most > cushion:
            return first[1]
        first = self._uncovered.first()
        self.least = _ENDLESS if first is None else first[0]
        return first[1] if first is not None and self.least <= cushion else None


class Nearness:
    """The positions that are near: closer than `limits.limit`, and those that are held until beyond `limits.clear`."""

    def __init__(self, limits: Band, positions: Positions, held: Iterable[str] = ()) -> None:
        self.limits = limits
        self._limit = limits.limit * _HUNDREDTH
        self._clear = limits.clear * _HUNDREDTH
        self._quiet_pct = max(limits.clear, limits.limit * (ONE + _HUNDREDTH))
        """Nothing can come near while no position is known to be nearer than this; roundings are less than it adds."""
        self._near: dict[str, _Line | None] = dict.fromkeys(held)
        """By key, a line that does not cover its need; None: of an isolated position, or not looked for yet."""
        self._held = set(self._near)
        self._bounded: dict[str, Decimal] = {}
        """By key of an only leg, up to which reach its place is right; if it is near, down to which sure reach."""
        self._stale = set(positions)
        """The keys of positions that have changed since their needs were computed."""
        self._legs: dict[str, list[str]] = {}
        """By symbol, the keys of its positions."""
        self._lines: dict[str, tuple[_Line, ...]] = {}
        """By margin asset with cross positions."""
        self._terms: MarginTerms | None = None
        self._positions = positions
        self._came: list[str] = []
        self._left: list[str] = []

    # -- what changes ------------------------------------------------------------------------------------------------

    def note(self, keys: Iterable[str]) -> None:
        """Take note of positions that are new or have changed, in quantity, mark or margin."""
        self._stale.update(keys)

    def hold(self, key: str) -> None:
        """Let a position that is near be so until it is beyond where the band is over."""
        self._held.add(key)

    def let_go(self, key: str) -> None:
        """Look at a position as if it had never been near."""
        self._leave(key)
        self._stale.add(key)

    # -- what is read ------------------------------------------------------------------------------------------------

    def crossings(self, positions: Positions, use: MarginUse) -> Crossings:
        """Return what has crossed the band since the last time; nothing where margins are not known."""
        closest_pct, terms = use.closest_pct, use.terms
        if closest_pct is None or terms is None or (not self._near and closest_pct >= self._quiet_pct):
            return _NONE
        self._positions = positions
        if terms is not self._terms:
            self._begin(terms)
        if self._stale:
            for key in self._stale:
                self._revise(key)
            self._stale.clear()
        for name, lines in self._lines.items():
            cushions = _cushions(name, lines, use)
            # Most of the time there is one line, and nothing to be done.
            if not lines[0].most <= cushions[0] < lines[0].least or len(lines) > 1:
                self._compare(lines, cushions)
        return self._taken() if self._came or self._left else _NONE

    def _begin(self, terms: MarginTerms) -> None:
        self._terms = terms
        self._lines = {}
        self._near = dict.fromkeys(self._near)
        self._bounded.clear()
        self._stale.update(self._positions)

    def _taken(self) -> Crossings:
        found = Crossings(self._came, self._left)
        self._came, self._left = [], []
        return found

    # -- one position ------------------------------------------------------------------------------------------------

    def _revise(self, key: str) -> None:
        """Give a position the place that it has after it changed."""
        position = self._positions[key]
        margin, bounded = position.margin, self._bounded.get(key)
        if margin is None:
            self._remove(key, position.settlement_asset)
        elif bounded is not None:
            if margin.sure_reach < bounded if key in self._near else margin.reach > bounded:
                self._place(key, position, margin)
            return
        elif margin.isolated_wallet is not None:
            self._judge_isolated(key, position, margin)
            return
        else:
            self._know(key, position.symbol)
            self._place(key, position, margin)
        for other in self._legs.get(position.symbol, ()):  # in a cross pool, what one of them needs depends on all
            other_margin = self._positions[other].margin
            if other != key and other_margin is not None and other_margin.isolated_wallet is None:
                self._place(other, self._positions[other], other_margin)

    def _know(self, key: str, symbol: str) -> None:
        legs = self._legs.setdefault(symbol, [])
        if key not in legs:
            legs.append(key)
            for leg in legs:
                self._bounded.pop(leg, None)

    def _remove(self, key: str, asset: str) -> None:
        self._bounded.pop(key, None)
        for line in self._lines.get(asset, ()):
            line.forget(key)
        if key in self._near:
            self._leave(key)
            self._left.append(key)

    def _leave(self, key: str) -> None:
        line = self._near.pop(key, None)
        if line is not None:
            line.forget(key)
        self._held.discard(key)
        self._bounded.pop(key, None)

    def _judge_isolated(self, key: str, position: PositionValue, margin: PositionMargin) -> None:
        cushion = isolated_balance(margin) - margin.maintenance
        is_near = key in self._near
        if not is_near and margin.reach * self._limit + _ROUNDINGS <= cushion:
            return
        (need,) = self._needs(key, position, [position], (ONE,), AT_PAR)
        if need > cushion:
            if not is_near:
                self._near[key] = None
                self._came.append(key)
        elif is_near:
            self._leave(key)
            self._left.append(key)

    def _place(self, key: str, position: PositionValue, margin: PositionMargin) -> None:
        """Put a cross position where a bound of its need says, until it matters what the need is exactly."""
        assert self._terms is not None
        asset, terms = position.settlement_asset, self._terms
        lines = self._lines.get(asset)
        if lines is None:
            lines = self._lines[asset] = _lines_of(asset, terms)
        legs = self._legs[position.symbol]
        if key in self._near:
            line = self._near[key]
            if line is None:
                line = self._near[key] = lines[0]
            mid = terms.rates[asset].mid if terms.is_multi_assets else ONE
            is_bounded = terms.brackets[position.symbol][-1].ratio <= _HALF and mid * _HALF <= line.rate
            if len(legs) == 1 and is_bounded:
                line.uncover(key, self._least_need(key, margin.sure_reach, line.rate, mid))
            else:
                line.uncover(key, self._needs_of(key)[lines.index(line)])
            return
        if len(legs) == 1:
            reach = self._bounded[key] = margin.reach + margin.reach * _ROOM
        else:
            margins = [self._positions[leg].margin for leg in legs]
            reach = sum([each.reach for each in margins if each is not None], ZERO)
        bound = reach * self._limit + _ROUNDINGS
        if terms.is_multi_assets:
            rate = terms.rates[asset]
            bound *= max(rate.mid, rate.ask)
        for line in lines:
            line.cover(key, bound)

    def _least_need(self, key: str, sure_reach: Decimal, rate: Decimal, mid: Decimal) -> Decimal:
        """Return a bound of what the only leg of a symbol needs that is near, and remember how far it holds."""
        reach = self._bounded[key] = sure_reach - sure_reach * _ROOM
        # Where the band is wider than the whole mark, a mark of zero is as far as it may fall.
        share = min(self._clear, ONE) if key in self._held else self._limit
        # What is demanded counts at `mid`: more than the value where that is owned, and it is at most half as much.
        weight = min(rate, 2 * rate - mid)
        return reach * share * weight - _ROUNDINGS * max(rate, mid)

    # -- needs and cushions ------------------------------------------------------------------------------------------

    def _compare(self, lines: tuple[_Line, ...], cushions: tuple[Decimal, ...]) -> None:
        for line, cushion in zip(lines, cushions, strict=True):
            while not line.most <= cushion < line.least and (key := line.doubtful(cushion)) is not None:
                self._decide(key, lines, cushions)

    def _decide(self, key: str, lines: tuple[_Line, ...], cushions: tuple[Decimal, ...]) -> None:
        """Give a position the place that its exact need demands."""
        needs = self._needs_of(key)
        self._bounded.pop(key, None)
        for line in lines:
            line.forget(key)
        for line, need, cushion in zip(lines, needs, cushions, strict=True):
            if need > cushion:
                if key not in self._near:
                    self._came.append(key)
                self._near[key] = line
                line.uncover(key, need)
                return
        if key in self._near:
            self._leave(key)
            self._left.append(key)
        for line, need in zip(lines, needs, strict=True):
            line.cover(key, need)

    def _needs_of(self, key: str) -> tuple[Decimal, ...]:
        """Return what a cross position needs by each line of its asset."""
        assert self._terms is not None
        position = self._positions[key]
        asset = position.settlement_asset
        legs = [leg for name in self._legs[position.symbol] if (leg := self._positions[name]).quantity]
        rate = self._terms.rates[asset] if self._terms.is_multi_assets else AT_PAR
        return self._needs(key, position, legs, tuple([line.rate for line in self._lines[asset]]), rate)

    def _needs(
        self, key: str, position: PositionValue, legs: list[PositionValue], rates: tuple[Decimal, ...], rate: AssetRate
    ) -> tuple[Decimal, ...]:
        assert self._terms is not None
        assert position.price is not None  # it has a margin
        share = self._clear if key in self._held else self._limit
        brackets = self._terms.brackets[position.symbol]
        price = position.price.price
        losses = [_loss(legs, brackets, there) for there in _far_marks(price, share, legs, brackets[-1].ratio, rate)]
        return tuple([max([value * each + margin * rate.mid for value, margin in losses]) for each in rates])


def _lines_of(asset: str, terms: MarginTerms) -> tuple[_Line, ...]:
    rate = terms.rates[asset] if terms.is_multi_assets else AT_PAR
    return tuple([_Line(each) for each in sorted({rate.bid, rate.ask})])


def _far_marks(
    price: Decimal, share: Decimal, legs: list[PositionValue], ratio: Decimal, rate: AssetRate
) -> tuple[Decimal, ...]:
    """Return the marks at which the pool is the worst, as far as the mark may move by its share."""
    if len(legs) == 1 and ratio * rate.mid < rate.bid:  # what is demanded never moves faster than what is held
        return (max(ZERO, price - price * share) if legs[0].quantity > ZERO else price + price * share,)
    return max(ZERO, price - price * share), price, price + price * share


class _Loss(NamedTuple):
    """What a pool loses until a mark, in the settlement asset: in value, and by more maintenance margin."""

    value: Decimal
    margin: Decimal


def _loss(legs: list[PositionValue], brackets: tuple[Bracket, ...], mark: Decimal) -> _Loss:
    value = margin = ZERO
    for leg in legs:
        quantity, counted = leg.quantity, leg.margin
        notional = abs(quantity) * mark
        _, ratio, cum = brackets[bracket_of(brackets, notional)]
        value += leg.cost - quantity * mark
        margin += notional * ratio - cum
        if counted is not None:
            value += counted.unrealized
            margin -= counted.maintenance
    return _Loss(value, margin)


def _cushions(name: str, lines: tuple[_Line, ...], use: MarginUse) -> tuple[Decimal, ...]:
    """Return what the pool of an asset has to spare, by each of its lines."""
    assert use.terms is not None
    asset = use.assets[name]
    if not use.terms.is_multi_assets:
        return (asset.wallet + asset.unrealized - asset.maintenance,)
    if not asset.has_positions:
        return (ZERO,) * len(lines)
    rate, pool = use.terms.rates[name], use.pools[0]
    assert pool.balance is not None  # the whole account is in USD
    assert pool.maintenance_margin is not None
    demanded = asset.maintenance * rate.mid
    others = pool.balance - rate.worth(asset.balance) - pool.maintenance_margin + venue_amount(demanded) - demanded
    return tuple([others + line.rate * asset.balance for line in lines])
