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
from account_monitor.ledger.money import ONE, ZERO, rounded_text, to_text

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


class Words(NamedTuple):
    """What people read of a figure: `{}` is the figure, and the threshold, in the unit that people think in."""

    figure: str
    limit: str
    used_up: str = ""
    """Instead of the figure, where a margin balance is used up."""
    scale: Decimal = ONE
    """What both are multiplied by."""

    def firing(self, figure: Decimal, limits: Band) -> str:
        """Return what is wrong; amid the band, also where it is over."""
        if self.used_up and figure in (MAX_RATIO, ENDLESS):
            return self.used_up
        text, limit = self._told(figure, limits.limit), to_text(limits.limit * self.scale)
        if limits.holds(figure, is_firing=False):
            return (
                f"{text}, {'less' if limits.is_floor == (self.scale > 0) else 'more'} than {self.limit.format(limit)}"
            )
        clear = self.limit.format(to_text(limits.clear * self.scale))
        return f"{text}; the threshold is {self.limit.format(limit)}, and the alert is over at {clear}"

    def over(self, figure: Decimal, limits: Band) -> str:
        """Return how it ended."""
        clear = self.limit.format(to_text(limits.clear * self.scale))
        return f"{self._told(figure, limits.limit)}, back inside {clear}"

    def _told(self, figure: Decimal, limit: Decimal) -> str:
        """Return the figure with as many decimals as it takes to tell it from its threshold, and at least two."""
        figure, limit = figure * self.scale, limit * self.scale
        wanted = (places for places in range(2, 12) if rounded_text(figure, places) != rounded_text(limit, places))
        return self.figure.format(rounded_text(figure, next(wanted, 12)))


class AlertRule(NamedTuple):
    """A figure of the whole account that has a threshold."""

    type: RiskType
    severity: Severity
    threshold: Callable[[Thresholds], Decimal | None]
    is_floor: bool
    words: Words
    critical_from: Decimal | None = None
    """The figure from which on it is CRITICAL."""

    def band(self, thresholds: Thresholds) -> Band | None:
        """Return where it fires, None where it never does."""
        limit = self.threshold(thresholds)
        return None if limit is None else band(limit, thresholds.hysteresis_pct, is_floor=self.is_floor)

    def severity_of(self, figure: Decimal) -> Severity:
        """Return how severe a figure beyond its threshold is."""
        if self.critical_from is None:
            return self.severity
        is_critical = figure <= self.critical_from if self.is_floor else figure >= self.critical_from
        return "CRITICAL" if is_critical else self.severity


LOW_BALANCE = AlertRule(
    "LOW_BALANCE", "WARNING", lambda limits: limits.min_balance, True, Words("the wallets are worth {} USD", "{}"), ZERO
)
HIGH_DRAWDOWN = AlertRule(
    "HIGH_DRAWDOWN", "WARNING", lambda limits: limits.max_drawdown_pct, True,
    Words("equity is {} % below its peak", "{} %", scale=-ONE), -HUNDRED,
)  # fmt: skip
HIGH_MARGIN_RATIO = AlertRule(
    "HIGH_MARGIN_RATIO", "CRITICAL", lambda limits: limits.max_margin_ratio, False,
    Words("the maintenance margin is {} % of the margin balance, at 100 % the exchange liquidates", "{} %",
          "the margin balance is used up: the exchange liquidates", HUNDRED),
)  # fmt: skip
HIGH_LEVERAGE = AlertRule(
    "HIGH_LEVERAGE", "WARNING", lambda limits: limits.max_leverage, False,
    Words("the positions are worth {} times the margin balance", "{}",
          "positions are open, and the margin balance is used up"),
    ENDLESS,
)  # fmt: skip
DAILY_LOSS = AlertRule(
    "DAILY_LOSS", "CRITICAL", lambda limits: limits.max_daily_loss, False,
    Words("{} USD were lost since the day began", "{}"),
)  # fmt: skip

RULES: tuple[AlertRule, ...] = (LOW_BALANCE, HIGH_DRAWDOWN, HIGH_MARGIN_RATIO, HIGH_LEVERAGE, DAILY_LOSS)


def liquidation_words(key: str, price: Decimal) -> Words:
    """Return what people read of a position near its liquidation price."""
    return Words(f"{key} is {{}} % from its liquidation price {rounded_text(price, 8)}", "{} %")
