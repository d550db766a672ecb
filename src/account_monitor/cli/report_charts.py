"""Charts of a report: SVG for the eye alone. Every figure in them stands in a table or beside them as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from account_monitor.cli.markup import Html, element, joined
from account_monitor.ledger.money import to_text

_WIDTH, _HEIGHT = 1_000, 150


Written: TypeAlias = Callable[[Decimal], str]
"""Writes an amount beside a chart."""


class Bar(NamedTuple):
    """One bar: what it is of, how high it is, and what is said of it."""

    name: str
    amount: Decimal
    told: str


def line_chart(points: Sequence[tuple[int, Decimal]], span_ms: tuple[int, int], label: str, written: Written) -> Html:
    """Draw how something went, as steps: it stays what it was until it is observed anew."""
    scale = _Scale([amount for _, amount in points])
    path = " ".join(_steps(points, span_ms, scale))
    return scale.beside(_svg(label, element("path", class_="curve", d=path)), written)


def depth_chart(points: Sequence[tuple[int, Decimal]], span_ms: tuple[int, int], label: str, written: Written) -> Html:
    """Draw how far something was below zero."""
    scale = _Scale([Decimal(0), *(amount for _, amount in points)])
    steps = list(_steps(points, span_ms, scale))
    first = f"M{_across(points[0][0], span_ms):.1f} {scale.down(Decimal(0)):.1f}"
    path = f"{first} L{steps[0][1:]} {' '.join(steps[1:])} V{scale.down(Decimal(0)):.1f} Z"
    return scale.beside(_svg(label, element("path", class_="depth", d=path)), written)


def bar_chart(bars: Sequence[Bar], label: str, written: Written) -> Html:
    """Draw one bar beside the other, up for a gain and down for a loss."""
    scale = _Scale([Decimal(0), *(bar.amount for bar in bars)])
    zero, pitch = scale.down(Decimal(0)), _WIDTH / len(bars)
    width = min(pitch * 0.8, 60)
    drawn: list[Html] = []
    for place, bar in enumerate(bars):
        end = scale.down(bar.amount)
        drawn.append(
            element(
                "rect", element("title", f"{bar.name}: {bar.told}"),
                class_="loss" if bar.amount < 0 else "gain", x=f"{pitch * place + (pitch - width) / 2:.1f}",
                y=f"{min(zero, end):.1f}", width=f"{width:.1f}", height=f"{abs(zero - end):.1f}",
            )
        )  # fmt: skip
    axis = element("line", class_="axis", x1="0", x2=str(_WIDTH), y1=f"{zero:.1f}", y2=f"{zero:.1f}")
    return scale.beside(_svg(label, *drawn, axis), written)


class _Scale:
    """Places amounts between the top and the bottom of a chart."""

    def __init__(self, amounts: Sequence[Decimal]) -> None:
        self._most, self._least = max(amounts), min(amounts)
        self._range = self._most - self._least

    def down(self, amount: Decimal) -> float:
        """Return how far from the top an amount is."""
        if not self._range:
            return _HEIGHT / 2
        return 2 + (_HEIGHT - 4) * (_number(self._most - amount) / _number(self._range))

    def beside(self, chart: Html, written: Written) -> Html:
        """Return a chart with what its top and its bottom stand for, or its middle where they are the same."""
        ends = [self._most, self._least] if self._range else [self._most]
        figures = element("div", *(element("span", written(end)) for end in ends), class_="scale")
        return element("div", figures, chart, class_="scaled")


def _number(amount: Decimal) -> float:
    return float(to_text(amount))  # a pixel needs no more digits


def _across(at_ms: int, span_ms: tuple[int, int]) -> float:
    start, end = span_ms
    return _WIDTH * (at_ms - start) / max(1, end - start)


def _steps(points: Sequence[tuple[int, Decimal]], span_ms: tuple[int, int], scale: _Scale) -> list[str]:
    """Return the commands of a path through the points, to the end of the span."""
    at_ms, amount = points[0]
    steps = [f"M{_across(at_ms, span_ms):.1f} {scale.down(amount):.1f}"]
    for at_ms, amount in points[1:]:
        steps += [f"H{_across(at_ms, span_ms):.1f}", f"V{scale.down(amount):.1f}"]
    return [*steps, f"H{_WIDTH}"]


def _svg(label: str, *drawn: Html) -> Html:
    return element(
        "svg", joined(*drawn), view_box=f"0 0 {_WIDTH} {_HEIGHT}", preserve_aspect_ratio="none", role="img",
        aria_label=label,
    )  # fmt: skip
