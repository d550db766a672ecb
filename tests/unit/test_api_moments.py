"""Moments in queries: RFC 3339, and nothing that only looks like it."""

from __future__ import annotations

import pytest

from account_monitor.api.moments import moment_ms

NOON = 1_795_348_800_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22T12:00:00.5Z", NOON + 500),
        ("2026-11-22T14:00:00.250+02:00", NOON + 250),
        ("2026-11-22t11:30:00-00:30", NOON),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2199-12-31T23:59:59.999Z", 7_258_118_399_999),
    ],
)
def test_a_moment_is_milliseconds(text: str, at_ms: int) -> None:
    assert moment_ms(text) == at_ms


def test_a_part_of_a_millisecond_counts_as_a_whole() -> None:
    """So `from` leaves out what came before it, and `to` keeps what came before it."""
    assert moment_ms("2026-11-22T12:00:00.000000001Z") == NOON + 1
    assert moment_ms("2026-11-22T12:00:00.001000000Z") == NOON + 1


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-11-22", "2026-11-22T12:00", "2026-11-22T12:00:00", "2026-11-22 12:00:00Z",
        "2026-11-22T12:00:00 02:00", "2026-11-31T12:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T12:00:60Z",
        "2026-11-22T12:00:00.Z", "2026-11-22T12:00:00,5Z", "2026-11-22T12:00:00+25:00", "20261122T120000Z",
        "٢٠٢٦-11-22T12:00:00Z", "1795348800", "2026-W47-7T12:00:00Z", "2026-11-22T12:00:00Z\n",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        moment_ms(text)


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59.999Z", "1970-01-01T00:59:59+01:00",
        "2199-12-31T23:59:59.9999Z", "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-23:59",
    ],
)  # fmt: skip
def test_a_time_at_which_nothing_can_have_happened_is_refused_with_those_that_are_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a time (of the years 1970 to 2199|such as)"):
        moment_ms(text)
