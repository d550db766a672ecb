"""Rules: which figures of an account are beyond their thresholds? Pure; the board decides what people hear of it.

A figure that is not known says nothing: nothing begins, and what fires goes on firing. What fires is over only when its
figure is back inside by the hysteresis, so that noise around a threshold is one alert.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple

from account_monitor.ledger.alerts import RiskType, Severity
from account_monitor.ledger.margin import HUNDRED, MAX_RATIO
from account_monitor.ledger.money import rounded_text, to_text

_HUNDREDTH = Decimal("0.01")

ENDLESS: Final = Decimal("Infinity")
"""The leverage of a margin balance that is used up."""


class Thresholds(NamedTuple):
    """Where each alert begins, money in USD; None: never.

    `hysteresis_pct`: how far back inside a figure has to come, in percent of its threshold, until the alert is over.
    """

    min_balance: Decimal | None = None
    max_drawdown_pct: Decimal | None = None
    """Zero or negative: −5 is a loss of a twentieth from the peak."""
    max_margin_ratio: Decimal | None = None
    max_leverage: Decimal | None = None
    min_liquidation_distance_pct: Decimal | None = None
    max_daily_loss: Decimal | None = None
    """A loss, as an amount above zero."""
    hysteresis_pct: Decimal = Decimal(5)


class Band(NamedTuple):
    """The threshold of a figure, and where an alert about it is over again.

    A floor is not to be undercut; anything else is not to be exceeded.
    """

    limit: Decimal
    clear: Decimal
    is_floor: bool

    def holds(self, figure: Decimal, *, is_firing: bool) -> bool:
        """Whether there is reason for an alert, one that fires already or a new one."""
        edge = self.clear if is_firing else self.limit
        return figure < edge if self.is_floor else figure > edge


def band(limit: Decimal, hysteresis_pct: Decimal, *, is_floor: bool) -> Band:
    """Return the band of a threshold."""
    width = abs(limit) * hysteresis_pct * _HUNDREDTH
    return Band(limit, limit + width if is_floor else limit - width, is_floor)


class AlertRule(NamedTuple):
    """A figure of the whole account that has a threshold."""

    type: RiskType
    severity: Severity
    threshold: Callable[[Thresholds], Decimal | None]
    is_floor: bool
    words: Callable[[Decimal, Decimal], str]
    """What people read, of the figure and its threshold."""

    def band(self, thresholds: Thresholds) -> Band | None:
        """Return where it fires, None where it never does."""
        limit = self.threshold(thresholds)
        return None if limit is None else band(limit, thresholds.hysteresis_pct, is_floor=self.is_floor)


def _told(figure: Decimal, limit: Decimal) -> str:
    """Return a figure with as many decimals as it takes to tell it from its threshold, and at least two."""
    wanted = (places for places in range(2, 12) if rounded_text(figure, places) != rounded_text(limit, places))
    return rounded_text(figure, next(wanted, 12))


def _low_balance(balance: Decimal, limit: Decimal) -> str:
    return f"the wallets are worth {_told(balance, limit)} USD, less than {to_text(limit)}"


def _high_drawdown(drawdown_pct: Decimal, limit: Decimal) -> str:
    return f"equity is {_told(-drawdown_pct, -limit)} % below its peak, more than {to_text(-limit)} %"


def _high_margin_ratio(ratio: Decimal, limit: Decimal) -> str:
    if ratio >= MAX_RATIO:
        return "the margin balance is used up: the exchange liquidates"
    share, most = _told(ratio * HUNDRED, limit * HUNDRED), to_text(limit * HUNDRED)
    return f"the maintenance margin is {share} % of the margin balance, more than {most} %; at 100 % it is liquidated"


def _high_leverage(leverage: Decimal, limit: Decimal) -> str:
    if leverage == ENDLESS:
        return "positions are open, and the margin balance is used up"
    return f"the positions are worth {_told(leverage, limit)} times the margin balance, more than {to_text(limit)}"


def _daily_loss(loss: Decimal, limit: Decimal) -> str:
    return f"{_told(loss, limit)} USD were lost since the day began, more than {to_text(limit)}"


LOW_BALANCE = AlertRule("LOW_BALANCE", "WARNING", lambda limits: limits.min_balance, True, _low_balance)
HIGH_DRAWDOWN = AlertRule("HIGH_DRAWDOWN", "WARNING", lambda limits: limits.max_drawdown_pct, True, _high_drawdown)
HIGH_MARGIN_RATIO = AlertRule(
    "HIGH_MARGIN_RATIO", "CRITICAL", lambda limits: limits.max_margin_ratio, False, _high_margin_ratio
)
HIGH_LEVERAGE = AlertRule("HIGH_LEVERAGE", "WARNING", lambda limits: limits.max_leverage, False, _high_leverage)
DAILY_LOSS = AlertRule("DAILY_LOSS", "CRITICAL", lambda limits: limits.max_daily_loss, False, _daily_loss)

RULES: tuple[AlertRule, ...] = (LOW_BALANCE, HIGH_DRAWDOWN, HIGH_MARGIN_RATIO, HIGH_LEVERAGE, DAILY_LOSS)


def liquidation_words(key: str, distance_pct: Decimal, price: Decimal, limit: Decimal) -> str:
    """Return what people read of a position near its liquidation price."""
    near, where = _told(distance_pct, limit), rounded_text(price, 8)
    return f"{key} is {near} % from its liquidation price {where}, less than {to_text(limit)} %"
