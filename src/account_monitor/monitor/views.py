"""Views: the immutable picture of an account that every reader gets, and what changed since the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from account_monitor.ledger.account import Account, Entry
from account_monitor.ledger.events import Adjustment, Fill
from account_monitor.ledger.liquidation import Liquidation, legs_of, liquidation_of, liquidations
from account_monitor.ledger.margin import NOT_KNOWN, MarginUse, Pool, all_pools
from account_monitor.ledger.performance import Standing
from account_monitor.ledger.reconciliation import Drift, Quarantine
from account_monitor.ledger.valuation import Balance, Exposure, PnL, PositionValue, Valuation
from account_monitor.monitor.ports import JournalEntry, Recorded


class Comparison(NamedTuple):
    """How an account compares with its exchange. Times are the exchange's; None: not yet."""

    compared_ms: int | None
    """When the last statement was that was compared."""
    agreed_ms: int | None
    """When the last one was that agreed, up to the tolerances."""
    interval_seconds: float
    """How often statements are asked for at present."""
    drifts: tuple[Drift, ...] = ()
    """What differs, and was confirmed."""
    quarantined: tuple[Quarantine, ...] = ()
    unexplained: tuple[Adjustment, ...] = ()
    """Corrections that stand, and that nothing explains so far."""

    @property
    def has_not_agreed_for_long(self) -> bool:
        """Whether several statements in a row did not agree, although they did before."""
        if self.compared_ms is None or self.agreed_ms is None:
            return False
        return self.compared_ms - self.agreed_ms > 2.5 * self.interval_seconds * 1000


class Held(NamedTuple):
    """One position, and what else of a view decides where it is liquidated: to be kept without the view."""

    position: PositionValue
    legs: Mapping[str, PositionValue]
    margin: MarginUse

    def liquidation(self) -> Liquidation | None:
        """Return where the venue liquidates it, None where no price does so, or none is known."""
        return liquidation_of(self.position.key, self.legs, self.margin)


@dataclass(frozen=True, slots=True)
class View:
    """An account as of a journal sequence and the prices of that moment.

    Views share whatever did not change. `epoch` and `seq` say what the view includes: everything journaled up to seq.
    """

    account: str
    epoch: int
    seq: int
    as_of_ms: int
    """The venue time of the youngest event or price in it; 0 before the first."""
    positions: Mapping[str, PositionValue]
    balances: Mapping[str, Balance]
    pnl: PnL
    exposure: Exposure
    unpriced: tuple[str, ...]
    standing: Standing
    comparison: Comparison | None = None
    """None: nobody compares it, or not yet."""
    margin: MarginUse = NOT_KNOWN

    def liquidations(self) -> dict[str, Liquidation]:
        """Return where the venue liquidates each open position; computed when asked for, by position."""
        return liquidations(self.positions, self.margin)

    def held(self, key: str) -> Held:
        """Return one position. Raises: KeyError where nothing was ever held."""
        position = self.positions[key]
        legs = {name: self.positions[name] for name in legs_of(position.symbol) if name in self.positions}
        return Held(position, legs, self.margin)

    def pools(self) -> tuple[Pool, ...]:
        """Return what the venue liquidates together: the cross pools, then each isolated position."""
        return all_pools(self.margin, {key: (p.margin, p.usd_rate) for key, p in self.positions.items()})


class Change(NamedTuple):
    """What made a view: the fills it adds, and the positions and wallets that are new in it."""

    fills: list[JournalEntry]
    positions: tuple[str, ...]
    assets: tuple[str, ...]
    recorded: Recorded | None
    """The commit behind it, None for a change of prices only."""
    append_seconds: float = 0.0
    """How long the commit took."""
    applied: Sequence[Entry] = ()
    """What each entry of the commit did."""


class ViewBuilder:
    """Makes views of one account, each from the one before."""

    def __init__(self, name: str, epoch: int, account: Account, valuation: Valuation) -> None:
        self._name = name
        self._epoch = epoch
        self._account = account
        self._valuation = valuation
        self._as_of_ms = account.state.latest_ms
        self._comparison: Comparison | None = None
        self.view = self._build(dict(valuation.positions))

    def after_events(self, recorded: Recorded, append_seconds: float, keys: set[str], assets: set[str]) -> Change:
        """Build the view after a commit that moved these positions and wallets."""
        priced = self._valuation.refresh(keys)
        self._as_of_ms = max(self._as_of_ms, self._account.state.latest_ms)
        self._publish(priced)
        fills = [entry for entry in recorded.entries if type(entry.event) is Fill]
        return Change(fills, tuple(sorted(priced)), tuple(sorted(assets)), recorded, append_seconds)

    def after_prices(self, keys: set[str], at_ms: int) -> Change:
        """Build the view after prices that revalued these positions."""
        self._as_of_ms = max(self._as_of_ms, at_ms)
        self._publish(keys)
        return Change([], tuple(sorted(keys)), (), None)

    def after_free(self, assets: set[str]) -> Change:
        """Build the view after the venue stated what is free of these wallets."""
        self._publish(set())
        return Change([], (), tuple(sorted(assets)), None)

    def after_margin(self, keys: set[str]) -> Change:
        """Build the view after the venue stated terms, or what is bound by these positions."""
        self._publish(keys)
        return Change([], tuple(sorted(keys)), (), None)

    def after_comparison(self, comparison: Comparison) -> Change:
        """Build the view after a statement was compared."""
        self._comparison = comparison
        self._publish(set())
        return Change([], (), (), None)

    def _publish(self, changed: set[str]) -> None:
        positions = self.view.positions
        if changed:
            positions = {**positions, **{key: self._valuation.positions[key] for key in changed}}
        self.view = self._build(positions)

    def _build(self, positions: Mapping[str, PositionValue]) -> View:
        valuation = self._valuation
        pnl = valuation.pnl()
        return View(
            account=self._name,
            epoch=self._epoch,
            seq=self._account.state.seq,
            as_of_ms=self._as_of_ms,
            positions=positions,
            balances=valuation.balances(),
            pnl=pnl,
            exposure=valuation.exposure(),
            unpriced=valuation.unpriced(),
            standing=self._account.standing(pnl.equity),
            comparison=self._comparison,
            margin=valuation.margin(),
        )
