"""Which fills are unexpected: those of which only one of the two has told, in time and while both were there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from account_monitor.ledger.events import Fill, Opening
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.crosscheck import GRACE_SECONDS, CrossCheck
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import VENUE_STREAM, VENUE_TRADES
from tests.monitor_by_hand import NOW_MS, Clock, fill, heard, opened

D = Decimal


class Desk:
    """A monitor of an account with an exchange, its cross-check and its clock."""

    def __init__(self, monitor: Monitor, clock: Clock) -> None:
        self.monitor = monitor
        self.clock = clock
        self.both_connected = True
        self.alarms = AlarmBoard(clock)
        self.check = CrossCheck("main", self.alarms, clock.seconds, both_connected=lambda: self.both_connected)
        monitor.observers.append(self.check.note)

    async def told(self, *fills: Fill, by: str = "FILLS") -> None:
        for each in fills:
            self.monitor.inbox.put(heard(each, source=by))
        await self.monitor.step()

    def wait(self, seconds: float) -> list[str]:
        """Let time pass and return what is alarming then."""
        self.check.look()
        self.clock.ms += int(seconds * 1000)
        self.check.look()
        return [alarm.alert.message for alarm in self.alarms.open()]


@asynccontextmanager
async def desk_at(folder: Path) -> AsyncIterator[Desk]:
    clock = Clock()
    async with opened(folder, clock, Opening("adopted", NOW_MS - 1, ()), has_venue=True) as monitor:
        yield Desk(monitor, clock)


async def test_a_fill_of_which_both_have_told_is_expected_whoever_was_first(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("1"))
        await desk.told(fill("1"), fill("2"), by=VENUE_STREAM)
        await desk.told(fill("2"))

        assert desk.wait(2 * GRACE_SECONDS) == []


async def test_a_fill_that_only_nats_told_of_is_booked_and_alarming_until_the_exchange_confirms_it(
    tmp_path: Path,
) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("1"))
        assert desk.wait(GRACE_SECONDS - 0.1) == []
        (text,) = desk.wait(0.2)
        assert "the exchange has not confirmed it" in text
        assert desk.monitor.view.positions["BTCUSDT"].quantity == D(1)

        await desk.told(fill("1"), by=VENUE_TRADES)
        assert desk.wait(0) == []


async def test_an_order_by_hand_is_unexpected_once_nats_has_told_of_anything(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("1"), by=VENUE_STREAM)
        assert desk.wait(2 * GRACE_SECONDS) == []

        await desk.told(fill("2"))
        await desk.told(fill("2"), fill("3"), by=VENUE_STREAM)
        (text,) = desk.wait(GRACE_SECONDS + 0.1)
        assert "nobody told of it on NATS" in text
        assert "id 3" in text


async def test_time_during_which_one_of_them_is_away_does_not_count(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("1"))
        desk.both_connected = False
        assert desk.wait(3600) == []

        desk.both_connected = True
        assert desk.wait(GRACE_SECONDS - 0.1) == []
        assert len(desk.wait(0.2)) == 1


async def test_a_claim_moves_nothing_and_is_matched_with_its_fill_whoever_was_first(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("bot-1", order_id="7"))
        assert "BTCUSDT" not in desk.monitor.view.positions

        await desk.told(fill("1", order_id="7"), fill("2", order_id="8"), by=VENUE_STREAM)
        await desk.told(fill("bot-2", order_id="8"))

        assert desk.monitor.view.positions["BTCUSDT"].quantity == D(2)
        assert desk.wait(2 * GRACE_SECONDS) == []


async def test_a_claim_is_of_its_own_order(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("bot-1", order_id="7"))
        await desk.told(fill("1", order_id="8"), by=VENUE_STREAM)

        (text,) = desk.wait(GRACE_SECONDS + 0.1)
        assert "nobody told of it on NATS" in text
        assert desk.check.unexpected_count == 2
        assert desk.monitor.view.positions["BTCUSDT"].quantity == D(1)


async def test_identical_fills_need_as_many_claims(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("bot-1"), fill("bot-2"))
        await desk.told(fill("1"), fill("2"), fill("3"), by=VENUE_STREAM)

        (text,) = desk.wait(GRACE_SECONDS + 0.1)
        assert desk.check.unexpected_count == 1
        assert "id 3" in text


async def test_a_claim_without_an_order_is_matched_by_its_content(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("bot-1"))
        await desk.told(fill("1", order_id="8"), by=VENUE_STREAM)
        await desk.told(fill("2", order_id="9"), by=VENUE_STREAM)
        await desk.told(fill("bot-2"))

        assert desk.wait(2 * GRACE_SECONDS) == []


async def test_a_fill_from_before_the_adoption_is_not_waited_for(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("1")._replace(at_ms=NOW_MS - 2), fill("2"))
        await desk.told(fill("2"), by=VENUE_STREAM)

        assert desk.wait(2 * GRACE_SECONDS) == []


async def test_a_fill_that_the_other_side_tells_of_in_other_words_is_expected(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        await desk.told(fill("1"))
        await desk.told(fill("1"), fill("2", fee=D("0.04001234")), by=VENUE_STREAM)
        await desk.told(fill("2", fee=D("0.04")))  # parked as a conflict, which says so by itself

        assert desk.wait(2 * GRACE_SECONDS) == []
