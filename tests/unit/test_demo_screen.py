"""The screen of the demo: however low the terminal is, it says how all is, what happened last, and how to end it."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from account_monitor.cli.demo import fitted
from tests.unit.test_screen import ACCOUNT, POSITION

NOW = ("equal to the exchange's own books: wallets 3 of 3", "alerts firing: 0")
NEWS = tuple(f"injected: the stream was cut, number {number}; {'healed ' * 12}" for number in (1, 2, 3))
SIX = msgspec.structs.replace(ACCOUNT, positions={f"COIN{number}USDT": POSITION for number in range(6)})


def lines(height: int, news: tuple[str, ...] = NEWS) -> list[str]:
    """Return what stands on a terminal of 80 columns."""
    console = Console(width=80, height=height, file=io.StringIO())
    console.print(fitted(SIX, console, NOW, news))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # given above
    return text.splitlines()


def test_where_all_fits_all_is_there() -> None:
    text = "\n".join(lines(60))
    assert all(f"number {number}" in text for number in (1, 2, 3))
    assert "COIN5USDT" in text
    assert "more" not in text


def test_older_news_goes_before_positions() -> None:
    text = "\n".join(lines(24))
    assert "number 1" not in text
    assert "COIN5USDT" in text


@pytest.mark.parametrize("height", [3, 8, 12, 16, 20, 24, 30, 60])
def test_no_terminal_is_too_low_for_how_it_is_and_how_to_end_it(height: int) -> None:
    shown = lines(height)
    assert len(shown) <= height
    assert shown[-1] == "Ctrl-C stops"
    assert shown[-3:-1] == list(NOW) or height > 20


def test_positions_that_do_not_fit_are_counted() -> None:
    shown = lines(12, news=())
    assert shown[8].endswith("lines more: the terminal is too low")
    assert int(shown[8].split()[1]) + 11 == len(lines(60, news=()))
