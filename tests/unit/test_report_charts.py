"""Charts of a report: what their height stands for is written beside them."""

from __future__ import annotations

import re
from decimal import Decimal

from account_monitor.cli.report_charts import Bar, bar_chart, depth_chart, line_chart

SPAN = (0, 10)


def scale(chart: str) -> list[str]:
    """Return what stands beside a chart, from the top."""
    return re.findall(r"<span>([^<]*)</span>", chart)


def percent(number: Decimal) -> str:
    return f"{number} %"


def test_a_curve_runs_from_its_least_to_its_most() -> None:
    points = [(0, Decimal("100.5")), (4, Decimal(90)), (9, Decimal(95))]
    assert scale(line_chart(points, SPAN, "equity", str)) == ["100.5", "90"]


def test_a_curve_that_never_moved_has_one_figure() -> None:
    assert scale(line_chart([(0, Decimal(7)), (9, Decimal(7))], SPAN, "equity", str)) == ["7"]


def test_a_depth_begins_at_zero() -> None:
    assert scale(depth_chart([(0, Decimal(-1)), (5, Decimal(-3))], SPAN, "drawdown", percent)) == ["0 %", "-3 %"]


def test_bars_that_all_rise_stand_on_zero() -> None:
    bars = [Bar("mon", Decimal(2), "2"), Bar("tue", Decimal(5), "5")]
    assert scale(bar_chart(bars, "P&L", str)) == ["5", "0"]
