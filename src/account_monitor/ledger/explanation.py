"""Explanation: why is the account worth more or less than before? Every change of equity, by cause and entry.

What an entry moved is valued at the prices of the moment before it, and what the prices moved at what is held after it:
so the parts add up to the change of equity, exactly, and nothing is left for a rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

from account_monitor.ledger.account import Account, Entry, moved
from account_monitor.ledger.events import Adjustment, Event, Marks, Opening, Reversal
from account_monitor.ledger.money import ZERO
from account_monitor.ledger.valuation import Valuation

Cause: TypeAlias = Literal[
    "trading", "rounding", "fees", "funding", "transfers", "other", "prices", "opening", "adjustments", "priced_later",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = (
    "trading", "rounding", "fees", "funding", "transfers", "other", "prices", "opening", "adjustments", "priced_later",
)  # fmt: skip
"""`trading`: results of trades and of the marks of positions, exact. `rounding`: what the venue rounded away of them.
`prices`: other prices of the assets held. `priced_later`: worth that was there before anything priced it.
"""

_OF_BOOK: dict[str, tuple[Cause, int]] = {
    "realized": ("trading", -1),
    "fees": ("fees", -1),
    "funding": ("funding", -1),
    "transfers": ("transfers", -1),
    "other": ("other", -1),
}
"""What a posting to a book means for equity: money in is a negative posting."""


class Part(NamedTuple):
    """A part of a change of equity. `name`: the position key, else the asset. `usd`: positive is a gain."""

    cause: Cause
    name: str
    asset: str
    usd: Decimal


class Effect(NamedTuple):
    """What one entry did to the account's equity."""

    entry: Entry
    parts: tuple[Part, ...]
    realized: tuple[Part, ...] = ()
    """Of `trading` and `rounding`, what moved the wallets; the rest is what positions are worth more or less."""

    @property
    def usd(self) -> Decimal:
        """All of it."""
        return sum((part.usd for part in self.parts), ZERO)


@dataclass(slots=True)
class Explanation:
    """A change of equity between two moments. `change` is None where equity is not known at one of them.

    `residual` = change − Σ parts, None with it; anything but zero is a defect of this program.
    """

    before: Decimal | None
    after: Decimal | None
    parts: dict[tuple[Cause, str, str], Decimal] = field(default_factory=dict)
    """USD by (cause, name, asset)."""

    @property
    def change(self) -> Decimal | None:
        """Equity at the end less equity at the beginning."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def residual(self) -> Decimal | None:
        """What the causes do not explain."""
        return None if self.change is None else self.change - self.total()

    def take(self, effect: Effect) -> None:
        """Add what one entry did."""
        for cause, name, asset, usd in effect.parts:
            place = (cause, name, asset)
            self.parts[place] = self.parts.get(place, ZERO) + usd

    def total(self, cause: Cause | None = None) -> Decimal:
        """Return what all causes made together, or one."""
        return sum((usd for (each, _, _), usd in self.parts.items() if cause in (None, each)), ZERO)

    def by_asset(self, cause: Cause) -> dict[str, Decimal]:
        """Return what a cause made, by the asset that it moved."""
        return self._by(2, cause)

    def by_name(self, cause: Cause) -> dict[str, Decimal]:
        """Return what a cause made, by position key or asset."""
        return self._by(1, cause)

    def _by(self, place: int, cause: Cause) -> dict[str, Decimal]:
        made: dict[str, Decimal] = {}
        for parted, usd in self.parts.items():
            if parted[0] == cause:
                made[parted[place]] = made.get(parted[place], ZERO) + usd
        return made


class Explainer:
    """Applies events to an account and says what each did to its equity."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._valuation = Valuation(account)
        self._unrealized = {key: position.unrealized_pnl for key, position in self._valuation.positions.items()}
        self._money = dict(account.state.wallets)
        """By asset, what its rate multiplies: the wallet, and the unrealized P&L that settles in it."""
        for key, unrealized in self._unrealized.items():
            self._add(self._asset_of(key), unrealized or ZERO)
        self._rates = {asset: self._valuation.rate(asset) for asset in self._money}

    @property
    def equity(self) -> Decimal | None:
        """What the account is worth now, in USD, valued anew; nothing before its first event. None: not known."""
        return Valuation(self._account).pnl().equity if self._account.state.has_begun else ZERO

    def apply(self, seq: int, event: Event) -> Effect:
        """Apply the next event and return what it did."""
        entry = self._account.apply(seq, event)
        keys, _ = moved([entry])
        changed = self._valuation.refresh(keys) if keys else set()
        if type(event) is Marks:
            for mark in event.prices:
                changed.update(self._valuation.mark(mark))
        realized = tuple(self._realized(entry))
        parts = [*self._flows(entry), *self._revaluations(event, changed)]
        return Effect(entry, tuple(_merged([*parts, *self._price_changes(event, changed)])), realized)

    def rate(self, asset: str) -> Decimal | None:
        """Return USD per unit of an asset as of the last entry, None where nothing prices it."""
        if asset not in self._rates:
            self._rates[asset] = self._valuation.rate(asset)
        return self._rates[asset]

    # -- parts -------------------------------------------------------------------------------------------------------

    def _flows(self, entry: Entry) -> Iterator[Part]:
        """Return what the postings moved, at the rates of before."""
        stated = _stated(entry.event)
        for book, name, asset, amount in entry.postings:
            if book == "wallet":
                self._add(asset, amount)
                if stated is not None:
                    yield self._part(stated, name, asset, amount)
            elif stated is None and book == "rounding":
                yield self._part("trading", name, asset, -amount)
                yield self._part("rounding", name, asset, amount)
            elif stated is None and book in _OF_BOOK:
                cause, sign = _OF_BOOK[book]
                yield self._part(cause, name, asset, sign * amount)

    def _realized(self, entry: Entry) -> Iterator[Part]:
        """Return what trades realized, as the venue states it, at the rates of before."""
        if _stated(entry.event) is None:
            for book, name, asset, amount in entry.postings:
                if book == "realized" and amount:
                    yield self._part("trading", name, asset, -amount)

    def _revaluations(self, event: Event, keys: Iterable[str]) -> Iterator[Part]:
        """Return what the unrealized P&L of positions changed by, at the rates of before."""
        cause: Cause = _stated(event) or "trading"
        for key in sorted(keys):
            before, after = self._unrealized.get(key, ZERO), self._valuation.positions[key].unrealized_pnl
            self._unrealized[key] = after
            change = (after or ZERO) - (before or ZERO)
            if change:
                asset = self._asset_of(key)
                self._add(asset, change)
                yield self._part("priced_later" if before is None else cause, key, asset, change)

    def _price_changes(self, event: Event, keys: Iterable[str]) -> Iterator[Part]:
        """Return what other rates did to the money that is there after the event."""
        positions = (self._valuation.positions[key] for key in keys)
        if type(event) is not Marks and all(p.price is not None and p.price.source == "mark" for p in positions):
            return  # a fill beside a mark prices nothing
        for asset in sorted(self._money.keys() - self._account.usd_assets):
            before, after = self._rates.get(asset), self._valuation.rate(asset)
            self._rates[asset] = after
            change = self._money[asset] * ((after or ZERO) - (before or ZERO))
            if change:
                yield Part("priced_later" if before is None else "prices", asset, asset, change)

    def _part(self, cause: Cause, name: str, asset: str, amount: Decimal) -> Part:
        return Part(cause, name, asset, amount * (self.rate(asset) or ZERO))

    def _add(self, asset: str, amount: Decimal) -> None:
        self._money[asset] = self._money.get(asset, ZERO) + amount

    def _asset_of(self, key: str) -> str:
        return self._valuation.positions[key].settlement_asset


def residuals(account: Account) -> dict[str, Decimal]:
    """Return what the wallets hold that no cause explains, by asset; anything but nothing is a defect of this program.

    The wallets are moved entry by entry; the causes are summed up by position and kind. Both must come to the same.
    """
    state = account.state
    rest = dict(state.wallets)
    causes = [(state.opened, -1), (state.adjusted, -1), (state.transfers, -1), (state.other, -1), (state.funding, -1),
              (state.charges, 1)]  # fmt: skip
    for timeline in state.timelines.values():
        leg, asset = timeline.leg, timeline.instrument.settlement_asset
        rest[asset] = rest.get(asset, ZERO) - leg.realized
        causes += [(leg.fees, 1), (leg.funding, -1)]
    for tally, sign in causes:
        for asset, amount in tally.by_asset.items():
            rest[asset] = rest.get(asset, ZERO) + sign * amount
    return {asset: amount for asset, amount in rest.items() if amount}


def _stated(event: Event) -> Cause | None:
    """Return the cause of everything that an event does which says what is, instead of what happened."""
    if isinstance(event, Opening):
        return "opening"
    return "adjustments" if isinstance(event, Adjustment | Reversal) else None


def _merged(parts: Iterable[Part]) -> Iterator[Part]:
    """Add up what has one cause, name and asset; what is zero is left out."""
    merged: dict[tuple[Cause, str, str], Decimal] = {}
    for cause, name, asset, usd in parts:
        merged[cause, name, asset] = merged.get((cause, name, asset), ZERO) + usd
    return (Part(*place, usd) for place, usd in merged.items() if usd)
