"""Server time: the exchange's clock, whatever the local one is set to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from account_monitor.feeds.binance.refusals import VenueUnavailable
from account_monitor.feeds.binance.server_time import REFRESH_SECONDS, ServerTime

NOON_MS = 1_795_348_800_000
HOUR_MS = 3_600_000


class Clocks:
    """A local clock, a monotonic one and the exchange's; each question takes the next of `travel_ms` each way."""

    def __init__(self, *, ahead_ms: int = 0, travel_ms: tuple[tuple[int, int], ...] = ((10, 10),)) -> None:
        self.passed_ms = 5_000_000.0
        self.ahead_ms = ahead_ms
        self._started_ms = self.passed_ms
        self._travel_ms = self._endless(travel_ms)
        self.questions = 0
        self.is_down = False
        self.time = ServerTime(wall_ms=self.wall_ms, monotonic=lambda: self.passed_ms / 1000)

    @staticmethod
    def _endless(travel_ms: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
        while True:
            yield from travel_ms

    def server_ms(self) -> int:
        return int(NOON_MS + self.passed_ms - self._started_ms)

    def wall_ms(self) -> int:
        return self.server_ms() + self.ahead_ms

    async def ask(self) -> int:
        self.questions += 1
        if self.is_down:
            raise VenueUnavailable("down")
        there_ms, back_ms = next(self._travel_ms)
        self.passed_ms += there_ms
        said_ms = self.server_ms()
        await asyncio.sleep(0)
        self.passed_ms += back_ms
        return said_ms


def test_until_the_exchange_was_asked_the_local_clock_is_believed() -> None:
    clocks = Clocks(ahead_ms=70)

    assert clocks.time.now_ms() == NOON_MS + 70
    assert clocks.time.is_due
    assert (clocks.time.skew_ms, clocks.time.error_ms) == (None, None)


@pytest.mark.parametrize("ahead_ms", [0, 1500, -HOUR_MS, HOUR_MS])
async def test_a_wrong_local_clock_does_not_matter(ahead_ms: int) -> None:
    clocks = Clocks(ahead_ms=ahead_ms)

    await clocks.time.refresh(clocks.ask)

    assert abs(clocks.time.now_ms() - clocks.server_ms()) <= 1
    assert clocks.time.skew_ms is not None
    assert abs(clocks.time.skew_ms - ahead_ms) <= 1
    assert clocks.questions == 3


async def test_the_shortest_of_three_round_trips_counts_and_half_of_it_is_the_error() -> None:
    clocks = Clocks(travel_ms=((500, 100), (20, 4), (300, 300)))

    await clocks.time.refresh(clocks.ask)

    assert clocks.time.error_ms == pytest.approx(12)
    assert abs(clocks.time.now_ms() - clocks.server_ms()) <= 12


@pytest.mark.parametrize("step_ms", [-HOUR_MS, HOUR_MS])
async def test_a_local_clock_that_is_set_shows_as_skew_and_moves_nothing(step_ms: int) -> None:
    clocks = Clocks()
    await clocks.time.refresh(clocks.ask)

    clocks.ahead_ms += step_ms
    clocks.passed_ms += 7

    assert abs(clocks.time.now_ms() - clocks.server_ms()) <= 1
    assert clocks.time.skew_ms is not None
    assert abs(clocks.time.skew_ms - step_ms) <= 1


async def test_the_clock_is_read_again_when_it_is_due_and_not_before() -> None:
    clocks = Clocks()
    await clocks.time.refresh(clocks.ask)

    for _ in range(100):
        await clocks.time.refresh(clocks.ask)
    assert clocks.questions == 3

    clocks.passed_ms += REFRESH_SECONDS * 1000
    await clocks.time.refresh(clocks.ask)
    assert clocks.questions == 6


async def test_many_accounts_read_it_once() -> None:
    clocks = Clocks()

    await asyncio.gather(*[clocks.time.refresh(clocks.ask) for _ in range(20)])
    seen = clocks.time.estimates
    await asyncio.gather(*[clocks.time.estimate(clocks.ask, seen=seen) for _ in range(20)])

    assert clocks.questions == 6


async def test_a_refresh_that_fails_leaves_the_estimate_and_is_tried_again_soon() -> None:
    clocks = Clocks(ahead_ms=HOUR_MS)
    await clocks.time.refresh(clocks.ask)
    clocks.passed_ms += REFRESH_SECONDS * 1000
    clocks.is_down = True

    for _ in range(10):
        await clocks.time.refresh(clocks.ask)

    assert clocks.questions == 4
    assert abs(clocks.time.now_ms() - clocks.server_ms()) <= 1
    clocks.is_down = False
    clocks.passed_ms += 5_000
    await clocks.time.refresh(clocks.ask)
    assert clocks.questions == 7


async def test_without_any_answer_the_first_reading_fails() -> None:
    clocks = Clocks()
    clocks.is_down = True

    with pytest.raises(VenueUnavailable):
        await clocks.time.refresh(clocks.ask)

    assert clocks.questions == 1
    assert clocks.time.skew_ms is None
