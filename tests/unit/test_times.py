"""Times on the command line: those that the API takes, to the millisecond, and one line about any other."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import click
import pytest

from account_monitor.api.moments import EARLIEST_MS, LATEST_MS
from account_monitor.cli import run
from account_monitor.cli.times import TIME, span_ms

NOW = 1_795_700_000_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", EARLIEST_MS),
        ("2199-12-31T23:59:59.999Z", LATEST_MS),
        ("2026-11-22T12:00:00.001+02:00", 1_795_341_600_001),
        ("2026-11-22T12:00:00.0001+02:00", 1_795_341_600_001),
    ],
)
def test_a_time_is_the_millisecond_that_the_api_takes_it_for(text: str, at_ms: int) -> None:
    assert TIME.convert(text, None, None) == at_ms


@pytest.mark.parametrize(
    ("begun", "ended", "zone"),
    [
        ("0001-01-01", None, "Asia/Tokyo"),
        ("0001-01-01T00:00:00+05:00", None, "UTC"),
        (None, "9999-12-31T23:59:59-05:00", "UTC"),
        (None, "9999-12-31", "America/New_York"),
        (None, "2200-01-01T00:00:00Z", "UTC"),
        ("1969-12-31T23:59:59.999Z", None, "UTC"),
    ],
)
def test_a_time_outside_the_years_that_the_api_takes_is_refused(
    begun: str | None, ended: str | None, zone: str
) -> None:
    with pytest.raises(click.UsageError, match="is not a time of the years 1970 to 2199 in UTC"):
        span_ms(begun, ended, ZoneInfo(zone), NOW)


def test_a_span_does_not_begin_later_than_now() -> None:
    with pytest.raises(click.UsageError, match=r"--from: 2027-01-01T00:00:00\.000Z is later than now, 2026"):
        span_ms("2027-01-01", None, ZoneInfo("UTC"), NOW)


@pytest.mark.parametrize(
    "arguments",
    [["explain", "--from", "2150-01-01"], ["replay", "--until", "0001-01-01T00:00:00+05:00"]],
)
def test_commands_say_so_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
