"""Bans: a restart does not forget until when an exchange wants to be left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from account_monitor.exchanges import respect_bans
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.transport import AiohttpTransport
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.stores.bans import FILE_NAME, Bans


class Clock:
    ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def venue_at(clock: Clock, bans: Bans, url: str = "https://a.example") -> BinanceVenue:
    """Return what a process knows of the exchange when it starts."""
    server_time = ServerTime(wall_ms=clock, monotonic=lambda: clock.ms / 1000)
    venue = BinanceVenue(url, "wss://a.example", AiohttpTransport(), server_time)
    respect_bans(venue, bans)
    return venue


def test_a_ban_is_remembered_by_the_next_process_for_this_address_until_it_ends(tmp_path: Path, clock: Clock) -> None:
    bans = Bans(tmp_path, clock)
    venue_at(clock, bans).budget.refused(418, retry_after_seconds=300, banned_for_ms=None)
    clock.ms += 100_000

    assert venue_at(clock, Bans(tmp_path, clock)).budget.limited_until_ms == clock.ms + 200_000
    assert venue_at(clock, bans, "https://b.example").budget.limited_until_ms is None
    clock.ms += 200_000
    assert venue_at(clock, bans).budget.limited_until_ms is None


def test_a_shorter_ban_does_not_end_a_longer_one(tmp_path: Path, clock: Clock) -> None:
    bans = Bans(tmp_path, clock)
    bans.note("a", 10_000)
    bans.note("a", 1_000)
    bans.note("b", 1_000)

    assert (bans.remaining_ms("a"), bans.remaining_ms("b"), bans.remaining_ms("c")) == (10_000, 1_000, 0)


def test_a_ban_that_was_noted_by_a_clock_that_was_ahead_lasts_no_longer_than_it_was_to(
    tmp_path: Path, clock: Clock
) -> None:
    bans = Bans(tmp_path, clock)
    clock.ms += 10**12
    bans.note("a", 60_000)
    clock.ms -= 10**12

    assert bans.remaining_ms("a") == 60_000


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "b"}', b"\xff"])
def test_a_file_that_cannot_be_read_bans_nothing_and_is_written_anew(
    tmp_path: Path, clock: Clock, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    bans = Bans(tmp_path, clock)

    assert bans.remaining_ms("a") == 0
    assert "bans_not_read" in capsys.readouterr().out
    bans.note("a", 5_000)
    assert bans.remaining_ms("a") == 5_000


def test_where_nothing_can_be_written_the_ban_holds_all_the_same(tmp_path: Path, clock: Clock) -> None:
    venue = venue_at(clock, Bans(tmp_path / "missing", clock))

    venue.budget.refused(429, retry_after_seconds=30, banned_for_ms=None)

    assert venue.budget.limited_until_ms == clock.ms + 30_000
