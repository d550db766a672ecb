"""Valuation: what an account is worth at the prices of now, and which of it nobody can price.

Totals are kept by adding and subtracting what changed. Arithmetic is exact, so they equal the sum over all positions,
always, at a cost that does not grow with the number of positions or of fills.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

from account_monitor.ledger.account import Account
from account_monitor.ledger.events import MarkPrice, PositionSide
from account_monitor.ledger.margin import MarginStated, MarginTerms, MarginUse, PositionMargin
from account_monitor.ledger.margin_book import MarginBook
from account_monitor.ledger.money import ONE, ZERO, divide, total_of
from account_monitor.ledger.performance import TradeStatistics
from account_monitor.ledger.position import Leg, Tally
from account_monitor.ledger.timeline import Timeline
from account_monitor.ledger.worth import DOLLARS, Price, Prices, value_of

PositionState: TypeAlias = Literal["LONG", "SHORT", "FLAT"]


NEAR_MS = 600_000
"""How far in time a price may be from an event to be the price of its own time."""

MAX_MARKS = 20_000
"""Symbols whose marks are kept: publishers choose them, so there has to be an end."""


@dataclass(frozen=True, slots=True)
class PositionValue:
    """One position at the price of now.

    `entry_price`, `realized_pnl`, `unrealized_pnl` are in the settlement asset; `total_fees`, `funding`, `value_usd` in
    USD. Fees are positive when paid. None: not known.
    """

    key: str
    symbol: str
    position_side: PositionSide
    state: PositionState
    settlement_asset: str
    quantity: Decimal
    cost: Decimal
    entry_price: Decimal | None
    price: Price | None
    realized_pnl: Decimal
    rounding: Decimal
    unrealized_pnl: Decimal | None
    total_fees: Decimal | None
    fees: dict[str, Decimal]
    funding: Decimal | None
    value_usd: Decimal | None
    fill_count: int
    fills_without_fee: int
    last_update_ms: int
    leverage: int | None = None
    """The initial leverage that the venue states."""
    is_isolated: bool | None = None
    margin: PositionMargin | None = None
    """None when flat."""

    @property
    def usd_rate(self) -> Decimal | None:
        """USD per unit of the settlement asset, as the position was valued; None when flat, or without a price."""
        if self.value_usd is None or self.unrealized_pnl is None:
            return None
        value = self.cost + self.unrealized_pnl
        return (ONE if value == self.value_usd else divide(self.value_usd, value)) if value else None


@dataclass(frozen=True, slots=True)
class Balance:
    """What a wallet holds; None where nobody said what it held at first. `free` is what the venue states, else None."""

    asset: str
    total: Decimal | None
    free: Decimal | None
    usd_value: Decimal | None
    last_update_ms: int | None


@dataclass(frozen=True, slots=True)
class PnL:
    """Results since the first event, in USD. total = realized + unrealized; net = total − fees + funding + other."""

    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    total_fees: Decimal | None
    funding: Decimal | None
    other: Decimal | None
    statistics: TradeStatistics
    equity: Decimal | None
    """Wallets plus unrealized P&L."""

    @property
    def total_pnl(self) -> Decimal | None:
        """Realized plus unrealized, before fees and funding."""
        return total_of((self.realized_pnl, self.unrealized_pnl))

    @property
    def net_pnl(self) -> Decimal | None:
        """What is left after fees, with funding and other income."""
        fees = None if self.total_fees is None else -self.total_fees
        return total_of((self.total_pnl, fees, self.funding, self.other))


@dataclass(frozen=True, slots=True)
class Exposure:
    """How much the account carries, in USD. `leverage` = Σ|notional| / margin balance, None unless that is positive."""

    notional: Decimal | None
    margin_balance: Decimal | None
    """Wallets plus unrealized P&L."""
    leverage: Decimal | None
    wallets: Decimal | None
    """What the wallets are worth."""


@dataclass(slots=True)
class _Totals:
    """Sums over all positions. Amounts in assets that are not dollars stay in their asset until they are read."""

    realized_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    gross_win: Decimal = ZERO
    gross_loss: Decimal = ZERO
    trades: int = 0
    winning: int = 0
    losing: int = 0
    unrealized: dict[str, Decimal] = field(default_factory=dict)
    notional: dict[str, Decimal] = field(default_factory=dict)
    unvalued_realized: dict[str, Decimal] = field(default_factory=dict)
    unvalued_fees: dict[str, Decimal] = field(default_factory=dict)
    unvalued_funding: dict[str, Decimal] = field(default_factory=dict)

    def add(self, share: _Share, sign: int) -> None:
        """Add a position's share, or take it away again with sign −1."""
        self.realized_usd += sign * share.realized_usd
        self.fees_usd += sign * share.fees_usd
        self.funding_usd += sign * share.funding_usd
        self.gross_win += sign * share.gross_win
        self.gross_loss += sign * share.gross_loss
        self.trades += sign * share.trades
        self.winning += sign * share.winning
        self.losing += sign * share.losing
        _add(self.unrealized, share.asset, sign * share.unrealized)
        _add(self.notional, share.asset, sign * share.notional)
        if share.unvalued is not None:
            realized, fees, funding = share.unvalued
            _add(self.unvalued_realized, share.asset, sign * realized)
            for asset, amount in fees.items():
                _add(self.unvalued_fees, asset, sign * amount)
            for asset, amount in funding.items():
                _add(self.unvalued_funding, asset, sign * amount)


class _Share(NamedTuple):
    """What one position adds to the totals."""

    asset: str
    realized_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal
    gross_win: Decimal
    gross_loss: Decimal
    trades: int
    winning: int
    losing: int
    unrealized: Decimal
    notional: Decimal
    unvalued: tuple[Decimal, dict[str, Decimal], dict[str, Decimal]] | None


class Valuation:
    """An account at the prices of now: `refresh` after events, `mark` after prices, then read."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.positions: dict[str, PositionValue] = {}
        self.unpriced_positions: set[str] = set()
        self._marks = dict(account.state.marks)
        self._prices = Prices(self._marks, account.state.timelines, account.usd_assets)
        self._keys_by_base: dict[str, set[str]] = {}
        """By asset that is not a dollar: the positions that settle in it, or that paid in it before it had a price."""
        self._shares: dict[str, _Share] = {}
        self._totals = _Totals()
        self._free: dict[str, Decimal] = {}
        self._margins = MarginBook()
        self.refresh(account.state.timelines)

    # -- what changes ------------------------------------------------------------------------------------------------

    def refresh(self, keys: Iterable[str]) -> set[str]:
        """Value the positions again that events have moved, and those that are priced by their fills; return all."""
        timelines = self._account.state.timelines
        moved = set(keys)
        for key in moved - self.positions.keys():
            self._know(timelines[key])
        for symbol in {timelines[key].instrument.symbol for key in moved}:
            if symbol not in self._marks:
                moved.update(self._priced_by(symbol))
        for key in moved:
            self._value(timelines[key])
        return moved

    def mark(self, mark: MarkPrice) -> list[str]:
        """Take a mark price; return the positions that it prices. A price older than the known one is ignored."""
        known = self._marks.get(mark.symbol)
        if known is None and len(self._marks) >= MAX_MARKS:
            return []
        if known is not None and mark.at_ms < known.at_ms:
            return []
        self._marks[mark.symbol] = mark
        keys = self._priced_by(mark.symbol)
        for key in keys:
            self._value(self._account.state.timelines[key])
        return keys

    def state_free(self, free: Mapping[str, Decimal]) -> set[str]:
        """Take what the venue states as free, by asset; return the wallets for which that is news."""
        changed = {asset for asset, amount in free.items() if self._free.get(asset) != amount}
        self._free.update(free)
        return changed & self._account.state.wallets.keys()

    def state_terms(self, terms: MarginTerms) -> list[str]:
        """Take the rules by which the venue judges the account; return the positions, all valued by them."""
        self._margins.terms = terms
        keys = list(self.positions)
        for key in keys:
            self._value(self._account.state.timelines[key])
        return keys

    def state_margin(self, stated: MarginStated) -> set[str]:
        """Take what the venue states of margins; return the positions for which that is news."""
        changed = self._margins.state(stated) & self.positions.keys()
        for key in changed:
            self._value(self._account.state.timelines[key])
        return changed

    # -- what is read ------------------------------------------------------------------------------------------------

    def marks_in_use(self) -> list[MarkPrice]:
        """Return the marks that the account's worth depends on: of open positions, and of money in other assets."""
        symbols = {position.symbol for position in self.positions.values() if position.quantity}
        symbols.update(asset + dollar for asset in self._other_money() for dollar in DOLLARS)
        return [self._marks[symbol] for symbol in sorted(symbols) if symbol in self._marks]

    def marks_of(self, names: Iterable[str]) -> list[MarkPrice]:
        """Return the marks that there are of these symbols, and those that are rates of these assets."""
        symbols = {name + quote for name in names for quote in ("", *DOLLARS)}
        return [self._marks[symbol] for symbol in sorted(symbols & self._marks.keys())]

    def prices_money(self, symbol: str) -> bool:
        """Whether a price of this symbol is the rate of an asset that the account has money in."""
        return self._account.instrument(symbol).base_asset in self._other_money()

    def _other_money(self) -> set[str]:
        totals, state = self._totals, self._account.state
        return {
            asset
            for amounts in (
                state.wallets, state.funding.unvalued, state.other.unvalued, state.charges.unvalued, totals.unrealized,
                totals.unvalued_realized, totals.unvalued_fees, totals.unvalued_funding,
            )
            for asset, amount in amounts.items()
            if amount and asset not in self._account.usd_assets
        }  # fmt: skip

    def price(self, symbol: str) -> Price | None:
        """Return the mark, else the price of the last fill, else None."""
        return self._prices.price(symbol)

    def rate(self, asset: str, *, at_ms: int | None = None) -> Decimal | None:
        """Return USD per unit of an asset, None where nothing prices it; with `at_ms`, where nothing did near then."""
        return self._prices.rate(asset, at_ms=at_ms, near_ms=NEAR_MS)

    def balances(self) -> dict[str, Balance]:
        """Return every wallet, valued."""
        state = self._account.state
        known = state.wallets_known
        return {
            asset: Balance(
                asset,
                amount if known else None,
                self._free.get(asset),
                _times(amount, self.rate(asset)) if known else None,
                state.wallet_touched_ms.get(asset),
            )
            for asset, amount in state.wallets.items()
        }

    def pnl(self) -> PnL:
        """Return the results of the whole account."""
        totals, state = self._totals, self._account.state
        return PnL(
            realized_pnl=total_of((totals.realized_usd, self.usd_of(totals.unvalued_realized))),
            unrealized_pnl=self._unrealized(),
            total_fees=total_of((totals.fees_usd, self.usd_of(totals.unvalued_fees), self._tally(state.charges))),
            funding=total_of((totals.funding_usd, self.usd_of(totals.unvalued_funding), self._tally(state.funding))),
            other=self._tally(state.other),
            statistics=TradeStatistics(
                totals.trades, totals.winning, totals.losing, totals.gross_win, totals.gross_loss
            ),
            equity=total_of((self._wallets_usd(), self._unrealized())),
        )

    def pnl_of(self, key: str) -> PnL:
        """Return the results of one position; it has no equity."""
        share, position = self._shares[key], self.positions[key]
        unvalued = {} if share.unvalued is None else {share.asset: share.unvalued[0]}
        # Other income is of no position.
        return PnL(
            realized_pnl=total_of((share.realized_usd, self.usd_of(unvalued))),
            unrealized_pnl=None if key in self.unpriced_positions else self.usd_of({share.asset: share.unrealized}),
            total_fees=position.total_fees,
            funding=position.funding,
            other=ZERO,
            statistics=TradeStatistics(share.trades, share.winning, share.losing, share.gross_win, share.gross_loss),
            equity=None,
        )

    def exposure(self) -> Exposure:
        """Return notional and leverage of the whole account."""
        notional = None if self.unpriced_positions else self.usd_of(self._totals.notional)
        wallets = self._wallets_usd()
        margin_balance = total_of((wallets, self._unrealized()))
        is_positive = margin_balance is not None and margin_balance > 0
        leverage = divide(notional, margin_balance) if notional is not None and is_positive else None  # type: ignore[arg-type]
        return Exposure(notional, margin_balance, leverage, wallets)

    def margin(self) -> MarginUse:
        """Return how near the account is to liquidation."""
        state = self._account.state
        return self._margins.use(state.wallets if state.wallets_known else None, self.rate)

    def unpriced(self) -> tuple[str, ...]:
        """Name the open positions and the assets held or paid that have no price, sorted."""
        totals, state = self._totals, self._account.state
        assets = {
            asset
            for amounts in (
                state.wallets, state.funding.unvalued, state.other.unvalued, state.charges.unvalued, totals.unrealized,
                totals.notional,
                totals.unvalued_realized, totals.unvalued_fees, totals.unvalued_funding,
            )
            for asset, amount in amounts.items()
            if amount and self.rate(asset) is None
        }  # fmt: skip
        return tuple(sorted(assets | self.unpriced_positions))

    # -- one position ------------------------------------------------------------------------------------------------

    def _know(self, timeline: Timeline) -> None:
        instrument = timeline.instrument
        self._prices.know(timeline)
        if instrument.settlement_asset not in self._account.usd_assets:
            self._keys_by_base.setdefault(instrument.settlement_asset, set()).add(timeline.key)

    def _priced_by(self, symbol: str) -> list[str]:
        keys = self._prices.keys_by_symbol.get(symbol, [])
        base = self._account.instrument(symbol).base_asset if self._keys_by_base else None
        return [*keys, *(self._keys_by_base.get(base, set()) - set(keys))] if base else keys

    def _value(self, timeline: Timeline) -> None:
        key, leg, instrument = timeline.key, timeline.leg, timeline.instrument
        quantity = leg.quantity
        for asset in (*leg.fees.unvalued, *leg.funding.unvalued):
            self._keys_by_base.setdefault(asset, set()).add(key)
        price = self.price(instrument.symbol)
        value = value_of(leg, instrument, price)
        unrealized = None if value is None else value - leg.cost
        rate = self.rate(instrument.settlement_asset)
        side = key.partition(":")[2] or "BOTH"
        self.positions[key] = PositionValue(
            key=key,
            symbol=instrument.symbol,
            position_side=side,  # type: ignore[arg-type]  # keys are made from position sides
            state="LONG" if quantity > 0 else "SHORT" if quantity else "FLAT",
            settlement_asset=instrument.settlement_asset,
            quantity=quantity,
            cost=leg.cost,
            entry_price=instrument.price_of(quantity, leg.cost) if quantity and leg.cost else None,
            price=price,
            realized_pnl=leg.realized,
            rounding=leg.rounding,
            unrealized_pnl=unrealized,
            total_fees=self._tally(leg.fees),
            fees=leg.fees.by_asset.copy(),
            funding=self._tally(leg.funding),
            value_usd=_times(value, rate),
            fill_count=leg.fill_count,
            fills_without_fee=leg.fills_without_fee,
            last_update_ms=leg.last_at_ms,
            leverage=self._margins.leverage(instrument.symbol),
            is_isolated=self._margins.is_isolated(instrument.symbol),
            margin=self._margins.value(key, instrument, value, unrealized),
        )
        (self.unpriced_positions.add if value is None else self.unpriced_positions.discard)(key)
        self._count(key, _share(instrument.settlement_asset, leg, unrealized or ZERO, abs(value or ZERO)))

    def _count(self, key: str, share: _Share) -> None:
        before = self._shares.get(key)
        if before is not None:
            self._totals.add(before, -1)
        self._shares[key] = share
        self._totals.add(share, 1)

    # -- USD ---------------------------------------------------------------------------------------------------------

    def _unrealized(self) -> Decimal | None:
        return None if self.unpriced_positions else self.usd_of(self._totals.unrealized)

    def _wallets_usd(self) -> Decimal | None:
        state = self._account.state
        return self.usd_of(state.wallets) if state.wallets_known else None

    def usd_of(self, amounts: dict[str, Decimal]) -> Decimal | None:
        """Return what amounts by asset are worth in USD, None where one has no price."""
        total: Decimal | None = ZERO
        for asset, amount in amounts.items():
            if amount:
                total = total_of((total, _times(amount, self.rate(asset))))
        return total

    def _tally(self, tally: Tally) -> Decimal | None:
        return total_of((tally.usd, self.usd_of(tally.unvalued))) if tally.unvalued else tally.usd


def _share(asset: str, leg: Leg, unrealized: Decimal, notional: Decimal) -> _Share:
    trips, unvalued = leg.trips, None
    if leg.realized_unvalued or leg.fees.unvalued or leg.funding.unvalued:
        unvalued = (leg.realized_unvalued, leg.fees.unvalued.copy(), leg.funding.unvalued.copy())
    return _Share(
        asset, leg.realized_usd, leg.fees.usd, leg.funding.usd, trips.gross_win, trips.gross_loss, trips.trades,
        trips.winning, trips.losing, unrealized, notional, unvalued,
    )  # fmt: skip


def _add(amounts: dict[str, Decimal], asset: str, amount: Decimal) -> None:
    amounts[asset] = amounts.get(asset, ZERO) + amount


def _times(amount: Decimal | None, rate: Decimal | None) -> Decimal | None:
    return None if amount is None or rate is None else amount if rate is ONE else amount * rate
