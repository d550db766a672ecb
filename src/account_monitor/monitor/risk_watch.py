"""Risk watch: is an account nearer to trouble than its owner wants? Looks at every view; the board tells people.

A fill costs the same with one position or a thousand, far from their liquidation or near it: figures are compared as
they come, and which positions are near is known without a liquidation price (`ledger.nearness`). A price is computed
where an alert begins, to say it, and once a second for a few of those that fire, to show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

from account_monitor.ledger.alerts import RISKS, AlertType, RiskType
from account_monitor.ledger.liquidation import Liquidation
from account_monitor.ledger.margin import margin_ratio
from account_monitor.ledger.money import ZERO
from account_monitor.ledger.nearness import Nearness
from account_monitor.ledger.rules import (
    ENDLESS,
    HIGH_MARGIN_RATIO,
    RULES,
    AlertRule,
    Band,
    Thresholds,
    band,
    liquidation_words,
)
from account_monitor.ledger.valuation import PositionValue
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.schedule import Every, Monotonic
from account_monitor.monitor.views import Change, View

LOOK_SECONDS = 0.05
"""Between looks at what lasts."""

REFRESH_SECONDS = 1.0
"""How old the figures may be that a firing alert shows."""

MAX_REFRESHED = 10
"""Positions whose liquidation prices are computed anew at a time, in turn: where more are near, theirs are older."""

UNKNOWN_LOOK_SECONDS = 1.0
UNKNOWN_SECONDS = 60.0
"""How long figures that have a threshold may be unknown until people hear of it."""

MAX_NAMED = 5

SWITCHED_OFF = "its threshold is switched off"
CLOSED = "the position is closed"
FAR_AWAY = "the liquidation price is far enough away"

_OFF = Thresholds()


class _Watched(NamedTuple):
    """A figure of the account that has a threshold."""

    rule: AlertRule
    band: Band
    figure: Callable[[View], Decimal | None]


class AccountWatch:
    """The thresholds of one account: `note` observes its monitor, `look` is called when time has passed."""

    def __init__(self, monitor: Monitor, alarms: AlarmBoard, monotonic: Monotonic) -> None:
        self.account = monitor.name
        self._monitor = monitor
        self._alarms = alarms
        self._monotonic = monotonic
        self._thresholds = _OFF
        self._for_seconds = 0.0
        self._watched: list[_Watched] = []
        self._raised: set[AlertType] = set()
        self._nearness: Nearness | None = None
        self._near: dict[str, None] = {}
        """Position keys for which LIQUIDATION_NEAR was raised; what was shown longest ago comes first."""
        self._since: dict[RiskType, float] = {}
        """When what has to last for a while began."""
        self._near_since: dict[str, float] = {}
        """The same of positions that are near, the first that came first."""
        self._refreshes = Every(REFRESH_SECONDS, monotonic)
        self._unknown_looks = Every(UNKNOWN_LOOK_SECONDS, monotonic)
        self._unknown_since: float | None = None
        """When it began that figures with a threshold are not known; None: they are."""

    def configure(self, thresholds: Thresholds, *, for_seconds: float = 0.0) -> None:
        """Take thresholds over: what fires without one is over. `for_seconds`: how long it must last until it fires."""
        is_changed = (thresholds, for_seconds) != (self._thresholds, self._for_seconds)
        if is_changed:
            self._since.clear()
        self._thresholds, self._for_seconds = thresholds, for_seconds
        bands = [(rule, rule.band(thresholds)) for rule in RULES]
        self._watched = [_Watched(rule, limits, _FIGURES[rule.type]) for rule, limits in bands if limits is not None]
        raised = self._alarms.raised_of(self.account)
        self._raised = {type_ for type_, _ in raised if type_ in RISKS and type_ != "LIQUIDATION_NEAR"}
        near = {key or "" for type_, key in raised if type_ == "LIQUIDATION_NEAR"}
        for type_ in self._raised - {each.rule.type for each in self._watched}:
            self._end(type_, SWITCHED_OFF)
        if is_changed or near != self._near.keys():
            self._watch_near(near)
        self._look_at(self._monitor.view)

    def _watch_near(self, raised: set[str]) -> None:
        """Look anew which positions are near; for these it was raised."""
        limit, positions = self._thresholds.min_liquidation_distance_pct, self._monitor.view.positions
        self._near = dict.fromkeys(sorted(raised))
        self._near_since.clear()
        if not limit:  # nothing is nearer than 0
            self._nearness = None
            self._end_near(raised, SWITCHED_OFF)
            return
        self._end_near({key for key in raised if not _is_open(positions, key)}, CLOSED)
        limits = band(limit, self._thresholds.hysteresis_pct, is_floor=True)
        self._nearness = Nearness(limits, positions, held=self._near)

    def note(self, view: View, change: Change) -> None:
        """Observe the monitor."""
        if self._nearness is not None and change.positions:
            self._nearness.note(change.positions)
            if self._near and view.margin.closest_pct is None:
                self._end_closed(view, change.positions, self._nearness)
        self._look_at(view)

    def look(self) -> None:
        """See what has lasted long enough, and what is due; costs nothing while all is well."""
        if self._monitor.failure is not None:
            return  # its view is of then
        if self._unknown_looks.is_due():
            self._look_for_unknown(self._monitor.view)
        view = self._monitor.view
        if self._since or self._near_since:
            self._look_at(view)
        if (self._raised or self._near) and self._refreshes.is_due():
            self._refresh(view)

    # -- figures of the account --------------------------------------------------------------------------------------

    def _look_at(self, view: View) -> None:
        for rule, limits, figure_of in self._watched:
            figure = figure_of(view)
            if figure is None:  # nobody knows: nothing begins, and nothing is over
                if self._since:
                    self._since.pop(rule.type, None)
                continue
            is_raised = rule.type in self._raised
            edge = limits.clear if is_raised else limits.limit  # `limits.holds`, without the price of a call
            if (figure < edge if limits.is_floor else figure > edge) is is_raised:
                if not is_raised and self._since:
                    self._since.pop(rule.type, None)
            elif is_raised:
                self._end(rule.type, rule.words.over(figure, limits), figure)
            elif self._has_lasted(rule.type):
                self._raised.add(rule.type)
                self._tell(rule, figure, limits)
        if self._nearness is not None:
            self._look_at_distances(view, self._nearness)

    def _tell(self, rule: AlertRule, figure: Decimal, limits: Band) -> None:
        self._alarms.fire(
            self.account, rule.type, rule.words.firing(figure, limits), severity=rule.severity_of(figure),
            value=None if figure == ENDLESS else figure, threshold=limits.limit,
        )  # fmt: skip

    def _end(self, type_: AlertType, message: str, figure: Decimal | None = None) -> None:
        self._raised.discard(type_)
        self._alarms.resolve(self.account, type_, message=message, value=figure)

    def _has_lasted(self, type_: RiskType) -> bool:
        """Whether a figure has been beyond its threshold for long enough."""
        if not self._for_seconds:
            return True
        now = self._monotonic()
        if now - self._since.setdefault(type_, now) < self._for_seconds:
            return False
        del self._since[type_]
        return True

    # -- liquidation prices ------------------------------------------------------------------------------------------

    def _look_at_distances(self, view: View, nearness: Nearness) -> None:
        if view.margin.closest_pct is None:
            self._forget_waiting(nearness)
            return
        came, left = nearness.crossings(view.positions, view.margin)
        for key in sorted(left):
            self._near_since.pop(key, None)
            if key in self._near:
                self._end_near([key], FAR_AWAY if _is_open(view.positions, key) else CLOSED)
        if came:
            self._near_since.update(dict.fromkeys(came, self._monotonic()))
        if self._near_since:
            self._begin_near(view, nearness)

    def _begin_near(self, view: View, nearness: Nearness) -> None:
        """Raise alerts of positions that have been near for long enough: first of those that came first."""
        latest = self._monotonic() - self._for_seconds
        while self._near_since:
            key, since = next(iter(self._near_since.items()))
            if since > latest:
                break
            del self._near_since[key]
            found = view.held(key).liquidation()
            if found is None or found.distance_pct >= nearness.limits.limit:  # rounded, it is at the threshold
                nearness.let_go(key)
                continue
            nearness.hold(key)
            self._near[key] = None
            self._tell_near(key, found, nearness.limits)

    def _tell_near(self, key: str, found: Liquidation, limits: Band) -> None:
        price, distance_pct = found
        self._alarms.fire(
            self.account, "LIQUIDATION_NEAR", liquidation_words(key, price).firing(distance_pct, limits), symbol=key,
            severity="CRITICAL", value=distance_pct, threshold=limits.limit,
        )  # fmt: skip

    def _end_near(self, keys: Iterable[str], message: str) -> None:
        for key in sorted(keys):
            self._near.pop(key, None)
            self._alarms.resolve(self.account, "LIQUIDATION_NEAR", symbol=key, message=message)

    def _end_closed(self, view: View, changed: tuple[str, ...], nearness: Nearness) -> None:
        """End the alerts of positions that are closed while margins are not known."""
        closed = [key for key in changed if key in self._near and not _is_open(view.positions, key)]
        for key in closed:
            nearness.let_go(key)
        self._end_near(closed, CLOSED)

    def _forget_waiting(self, nearness: Nearness) -> None:
        """Count the time anew of positions for which nothing was raised yet."""
        for key in self._near_since:
            nearness.let_go(key)
        self._near_since.clear()

    # -- what nobody knows -------------------------------------------------------------------------------------------

    def _look_for_unknown(self, view: View) -> None:
        """Tell people of thresholds that nothing is compared with."""
        reason = self._unknown(view)
        now = self._monotonic()
        if reason is None:
            self._unknown_since = None
            self._alarms.resolve(self.account, "RISK_UNKNOWN", message="every figure is known")
            return
        if self._unknown_since is None:
            self._unknown_since = now
        if now - self._unknown_since >= UNKNOWN_SECONDS:
            self._alarms.fire(self.account, "RISK_UNKNOWN", f"not every threshold can be watched: {reason}")

    def _unknown(self, view: View) -> str | None:
        """Return why a figure is not known; None where all are, or nobody ever said what the wallets hold."""
        wants_margins = self._nearness is not None or any(rule is HIGH_MARGIN_RATIO for rule, _, _ in self._watched)
        if not (self._watched or wants_margins):
            return None
        if view.unpriced:
            return f"no price for {', '.join(view.unpriced[:MAX_NAMED])}"
        if wants_margins and view.exposure.notional and view.margin.ratio is None:
            return "the exchange's margin terms of a position are not known"
        return None

    # -- what fires --------------------------------------------------------------------------------------------------

    def _refresh(self, view: View) -> None:
        """Bring the figures up to date that readers see of what fires; nobody is told again."""
        for rule, limits, figure_of in self._watched:
            if rule.type in self._raised and (figure := figure_of(view)) is not None:
                self._tell(rule, figure, limits)
        if self._nearness is None:
            return
        for key in list(islice(self._near, MAX_REFRESHED)):
            self._near[key] = self._near.pop(key)  # the last in turn
            found = view.held(key).liquidation()
            if found is not None:
                self._tell_near(key, found, self._nearness.limits)


class RiskWatch:
    """The thresholds of all accounts."""

    def __init__(self, alarms: AlarmBoard, monotonic: Monotonic) -> None:
        self._alarms = alarms
        self._monotonic = monotonic
        self._accounts: dict[str, AccountWatch] = {}

    def attach(self, monitor: Monitor, thresholds: Thresholds, *, for_seconds: float = 0.0) -> None:
        """Watch an account; its alerts have been recalled."""
        watch = self._accounts[monitor.name] = AccountWatch(monitor, self._alarms, self._monotonic)
        monitor.observers.append(watch.note)
        watch.configure(thresholds, for_seconds=for_seconds)

    def configure(self, account: str, thresholds: Thresholds, *, for_seconds: float = 0.0) -> None:
        """Take changed thresholds over."""
        if account in self._accounts:
            self._accounts[account].configure(thresholds, for_seconds=for_seconds)

    def forget(self, account: str) -> None:
        """Watch an account no longer."""
        self._accounts.pop(account, None)

    async def run(self) -> None:
        """Look at what lasts, until cancelled."""
        while True:
            for watch in self._accounts.values():
                watch.look()
            await asyncio.sleep(LOOK_SECONDS)


def _is_open(positions: Mapping[str, PositionValue], key: str) -> bool:
    position = positions.get(key)
    return position is not None and bool(position.quantity)


def _margin_ratio(view: View) -> Decimal | None:
    """Return the highest ratio of a pool; where one position's terms are not known, that of what the venue states."""
    ratio, venue = view.margin.ratio, view.margin.venue
    if ratio is not None or venue is None:
        return ratio
    return margin_ratio(venue.maintenance_margin, venue.margin_balance)


def _leverage(view: View) -> Decimal | None:
    notional, margin_balance, leverage = view.exposure.notional, view.exposure.margin_balance, view.exposure.leverage
    is_used_up = notional is not None and notional > ZERO and margin_balance is not None and margin_balance <= ZERO
    return ENDLESS if is_used_up else leverage


_FIGURES: Final[dict[RiskType, Callable[[View], Decimal | None]]] = {
    "LOW_BALANCE": lambda view: view.exposure.wallets,
    "HIGH_DRAWDOWN": lambda view: view.standing.drawdown_pct,
    "HIGH_MARGIN_RATIO": _margin_ratio,
    "HIGH_LEVERAGE": _leverage,
    "DAILY_LOSS": lambda view: view.standing.daily_loss,
}
