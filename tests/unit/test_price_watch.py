"""Price watch: who holds something hears that its prices have ended, once, and that they are back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Fill, MarkPrice
from account_monitor.monitor.alarms import OF_OTHERS, AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.price_watch import MARK_PRICES, STALE_SECONDS, SYMBOLS_NAMED, PriceWatch
from tests.monitor_by_hand import Clock, fill, heard, opened

STALE_MS = int(STALE_SECONDS * 1000)


class Life:
    """An account without an exchange from one start to the next, and who watches its prices."""

    def __init__(self, monitor: Monitor, clock: Clock) -> None:
        self.monitor = monitor
        self.clock = clock
        desk = Desk(clock, "1")
        desk.add(monitor)
        self.board = AlarmBoard(clock)
        self.board.attach(monitor)
        self.watch = PriceWatch(desk, self.board, clock=clock, monotonic=clock.seconds)
        self.watch.look_at(monitor)
        self.board.settle("main", but=OF_OTHERS)

    async def take(self, *fills: Fill) -> None:
        for each in fills:
            self.monitor.inbox.put(heard(each))
        await self.record()

    async def take_later(self, later: Fill) -> None:
        """Take a fill after the interval in which prices are journaled."""
        self.clock.ms += 1_000
        await self.take(later)

    async def mark(self, price: str = "100", symbol: str = "BTCUSDT", *, at_ms: int | None = None) -> None:
        self.monitor.mark(MarkPrice(symbol, Decimal(price), self.clock.ms if at_ms is None else at_ms))
        self.clock.ms += 100
        await self.monitor.step()

    async def look_after(self, milliseconds: int) -> list[str]:
        """Let time pass, and return what fires then."""
        self.clock.ms += milliseconds
        self.watch.look()
        await self.record()
        return [alert.message for alert in self.board.firing("main")]

    async def record(self) -> None:
        while len(self.monitor.inbox):
            await self.monitor.step()

    @property
    def journaled(self) -> list[tuple[str, str | None, str]]:
        alerts = [entry.event for entry in self.monitor.journal.remarks_after("alert", 0)]
        return [(alert.type, alert.symbol, alert.state) for alert in alerts if isinstance(alert, Alert)]


@asynccontextmanager
async def life(folder: Path, clock: Clock, *, has_venue: bool = False) -> AsyncIterator[Life]:
    async with opened(folder, clock, has_venue=has_venue) as monitor:
        yield Life(monitor, clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


FIRED = ("STREAM_STALE", MARK_PRICES, "FIRING")
ENDED = ("STREAM_STALE", MARK_PRICES, "RESOLVED")


async def test_prices_that_end_are_told_once_and_so_is_their_return(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.take(fill("1"))
        await account.mark()
        assert await account.look_after(0) == []
        assert await account.look_after(STALE_MS - 1_000) == []
        (text,) = await account.look_after(2_000)
        assert await account.look_after(60_000) == [text]
        await account.mark("100")  # the same price, published anew
        assert await account.look_after(1_000) == []

        assert account.journaled == [FIRED, ENDED]
    assert text.startswith("no price of BTCUSDT on trading.prices since 20")


async def test_prices_that_come_are_no_alert_although_they_never_change(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.take(fill("1"))
        for _ in range(20):
            await account.mark("100")
            assert await account.look_after(60_000) == []


async def test_a_publisher_whose_clock_is_behind_is_none_that_ended(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.take(fill("1"))
        for _ in range(20):
            await account.mark("100", at_ms=clock.ms - 3_600_000)
            assert await account.look_after(60_000) == []


async def test_what_never_had_a_price_but_its_fills_is_not_waited_for(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.take(fill("1"))
        await account.look_after(0)

        assert await account.look_after(10 * STALE_MS) == []


async def test_what_is_not_held_any_more_needs_no_price(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.take(fill("1"))
        await account.mark()
        await account.look_after(0)
        assert len(await account.look_after(2 * STALE_MS)) == 1
        await account.take(fill("2", "SELL"))

        assert await account.look_after(1_000) == []
        assert account.journaled == [FIRED, ENDED]


async def test_a_position_that_is_opened_with_an_old_price_waits_for_the_next(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.mark()
        await account.look_after(10 * STALE_MS)
        await account.take(fill("1"))
        assert await account.look_after(1_000) == []
        assert await account.look_after(STALE_MS - 2_000) == []
        assert len(await account.look_after(3_000)) == 1


async def test_many_symbols_are_one_alert_that_names_the_first(tmp_path: Path, clock: Clock) -> None:
    symbols = [f"A{number:02}USDT" for number in range(SYMBOLS_NAMED + 3)]
    async with life(tmp_path, clock) as account:
        for number, symbol in enumerate(symbols):
            await account.take(fill(str(number))._replace(symbol=symbol))
            await account.mark(symbol=symbol)
        await account.look_after(0)
        (text,) = await account.look_after(2 * STALE_MS)
        await account.mark(symbol=symbols[0])
        (later,) = await account.look_after(1_000)

        assert account.journaled == [FIRED]
    assert text.startswith(f"no price of {', '.join(symbols[:SYMBOLS_NAMED])} and 3 more on trading.prices since")
    assert later.startswith(f"no price of {', '.join(symbols[1 : SYMBOLS_NAMED + 1])} and 2 more on")


async def test_a_restart_repeats_nothing_while_prices_stay_away(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.take(fill("1"))
        await account.mark()
        await account.take_later(fill("2"))
        await account.look_after(0)
        assert len(await account.look_after(2 * STALE_MS)) == 1
    async with life(tmp_path, clock) as account:
        assert len(await account.look_after(1_000)) == 1
        assert len(await account.look_after(2 * STALE_MS)) == 1
        assert account.journaled == [FIRED]
        await account.mark()

        assert await account.look_after(1_000) == []
        assert account.journaled == [FIRED, ENDED]


async def test_a_restart_waits_for_prices_as_long_as_any_other_time(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.take(fill("1"))
        await account.mark()
        await account.take_later(fill("2"))
    clock.ms += 10 * STALE_MS  # the service was off, and so nobody heard
    async with life(tmp_path, clock) as account:
        assert await account.look_after(STALE_MS - 1_000) == []
        assert len(await account.look_after(2_000)) == 1


async def test_a_journal_that_is_opened_anew_with_an_older_price_ends_nothing(tmp_path: Path, clock: Clock) -> None:
    async with life(tmp_path, clock) as account:
        await account.take(fill("1"))
        await account.mark()
        await account.look_after(0)
        assert len(await account.look_after(2 * STALE_MS)) == 1
        known = account.watch._heard["main"]["BTCUSDT"]
        newer = known._replace(price=known.price._replace(at_ms=known.price.at_ms + 1))
        account.watch._heard["main"]["BTCUSDT"] = newer

        assert len(await account.look_after(1_000)) == 1


async def test_an_exchange_watches_its_own_prices(tmp_path: Path, clock: Clock) -> None:
    async with opened(tmp_path, clock, has_venue=True) as monitor:
        desk, board = Desk(clock, "1"), AlarmBoard(clock)
        desk.add(monitor)
        board.attach(monitor)
        board.fire("main", "STREAM_STALE", "silent", symbol=MARK_PRICES)
        PriceWatch(desk, board, clock=clock, monotonic=clock.seconds).look()

        assert [alert.message for alert in board.firing("main")] == ["silent"]
