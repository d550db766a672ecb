"""Screen: what a terminal shows is what the report says, cut but never rounded."""

from __future__ import annotations

import pytest

from account_monitor.cli.screen import MISSING, shown


@pytest.mark.parametrize(
    ("amount", "places", "text"),
    [
        (None, 8, MISSING),
        ("0", 8, "0"),
        ("1234567.5", 8, "1,234,567.5"),
        ("-1234.5", 8, "-1,234.5"),
        ("0.123456789", 8, "0.12345678…"),
        ("-0.999", 2, "-0.99…"),
        ("99999999999999999999.12345678", 8, "99,999,999,999,999,999,999.12345678"),
    ],
)
def test_amounts_are_grouped_and_cut_visibly_but_never_rounded(amount: str | None, places: int, text: str) -> None:
    assert shown(amount, places) == text
