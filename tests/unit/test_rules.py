"""Rules: where alerts begin, where they end, and what is said of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.margin import MAX_RATIO
from account_monitor.ledger.rules import (
    DAILY_LOSS,
    ENDLESS,
    HIGH_DRAWDOWN,
    HIGH_LEVERAGE,
    HIGH_MARGIN_RATIO,
    LOW_BALANCE,
    RULES,
    AlertRule,
    Band,
    Thresholds,
    band,
)

D = Decimal
LIMITS = Thresholds(
    min_balance=D(1000), max_drawdown_pct=D(-5), max_margin_ratio=D("0.8"), max_leverage=D(10), max_daily_loss=D(500)
)


def band_of(rule: AlertRule) -> Band:
    limits = rule.band(LIMITS)
    assert limits is not None
    return limits


@pytest.mark.parametrize(
    ("rule", "inside", "limit", "beyond", "clear"),
    [
        (LOW_BALANCE, "1000.01", "1000", "999.99", "1050"),
        (HIGH_DRAWDOWN, "-4.99", "-5", "-5.01", "-4.75"),
        (HIGH_MARGIN_RATIO, "0.79", "0.8", "0.81", "0.76"),
        (HIGH_LEVERAGE, "9.99", "10", "10.01", "9.5"),
        (DAILY_LOSS, "499.99", "500", "500.01", "475"),
    ],
)
def test_an_alert_begins_beyond_its_threshold_and_ends_a_twentieth_back_inside(
    rule: AlertRule, inside: str, limit: str, beyond: str, clear: str
) -> None:
    limits = band_of(rule)

    assert [limits.holds(D(figure), is_firing=False) for figure in (inside, limit, beyond)] == [False, False, True]
    assert [limits.holds(D(figure), is_firing=True) for figure in (beyond, limit, inside)] == [True, True, True]
    assert not limits.holds(D(clear), is_firing=True)


def test_a_threshold_that_is_switched_off_has_no_band() -> None:
    assert [rule.band(Thresholds()) for rule in RULES] == [None] * len(RULES)


@pytest.mark.parametrize(("rule", "figure"), [(HIGH_MARGIN_RATIO, MAX_RATIO), (HIGH_LEVERAGE, ENDLESS)])
def test_a_margin_balance_that_is_used_up_is_beyond_every_threshold(rule: AlertRule, figure: Decimal) -> None:
    limits = band_of(rule)

    assert limits.holds(figure, is_firing=False)
    assert "used up" in rule.words.firing(figure, limits)


@pytest.mark.parametrize(
    ("rule", "figure", "text"),
    [
        (LOW_BALANCE, "812.405", "the wallets are worth 812.4 USD, less than 1000"),
        (HIGH_DRAWDOWN, "-5.3149", "equity is 5.31 % below its peak, more than 5 %"),
        (
            HIGH_MARGIN_RATIO,
            "0.83123",
            "the maintenance margin is 83.12 % of the margin balance, at 100 % the exchange liquidates, more than 80 %",
        ),
        (HIGH_LEVERAGE, "12.44444", "the positions are worth 12.44 times the margin balance, more than 10"),
        (HIGH_LEVERAGE, "10.00003", "the positions are worth 10.00003 times the margin balance, more than 10"),
        (DAILY_LOSS, "612", "612 USD were lost since the day began, more than 500"),
    ],
)
def test_people_read_the_figure_and_the_threshold(rule: AlertRule, figure: str, text: str) -> None:
    assert rule.words.firing(D(figure), band_of(rule)) == text


def test_what_fires_still_says_where_it_is_over() -> None:
    text = HIGH_DRAWDOWN.words.firing(D("-4.9"), band_of(HIGH_DRAWDOWN))

    assert text == "equity is 4.9 % below its peak; the threshold is 5 %, and the alert is over at 4.75 %"


def test_what_is_over_says_by_which_figure() -> None:
    assert HIGH_DRAWDOWN.words.over(D("-2.5"), band_of(HIGH_DRAWDOWN)) == (
        "equity is 2.5 % below its peak, back inside 4.75 %"
    )
    assert LOW_BALANCE.words.over(D(1060), band_of(LOW_BALANCE)) == "the wallets are worth 1060 USD, back inside 1050"


@pytest.mark.parametrize(
    ("rule", "warning", "critical"),
    [(HIGH_DRAWDOWN, "-99", "-100"), (HIGH_LEVERAGE, "1000", "Infinity"), (LOW_BALANCE, "1", "-1")],
)
def test_an_account_that_has_lost_everything_is_critical(rule: AlertRule, warning: str, critical: str) -> None:
    assert (rule.severity_of(D(warning)), rule.severity_of(D(critical))) == ("WARNING", "CRITICAL")


amounts = st.decimals(-1000, 1000, places=2)


@given(limit=amounts, hysteresis_pct=st.integers(0, 50), is_floor=st.booleans(), figures=st.lists(amounts, max_size=30))
def test_what_fires_has_been_beyond_the_threshold_and_not_back_inside_since(
    limit: Decimal, hysteresis_pct: int, is_floor: bool, figures: list[Decimal]
) -> None:
    limits = band(limit, D(hysteresis_pct), is_floor=is_floor)
    sign = -1 if is_floor else 1
    width = abs(limit) * hysteresis_pct / 100
    is_firing = False
    for figure in figures:
        before, is_firing = is_firing, limits.holds(figure, is_firing=is_firing)
        excess = sign * (figure - limit)
        if is_firing and not before:
            assert excess > 0
        elif before and not is_firing:
            assert excess <= -width
