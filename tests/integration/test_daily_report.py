"""The daily report: once for each day and channel, also when nobody was there at its end."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from account_monitor.notifiers.daily_report import ACCOUNTS_IN_ONE, DAY_MS
from tests.integration.people_rig import Rig, firing, telling
from tests.integration.trading_desk import TradingDesk, clock
from tests.integration.webhook import Webhook, webhook

pytestmark = pytest.mark.integration

MINUTE_MS = 60_000


class Day:
    """A day that began an hour ago, and a clock that is put to where it is needed."""

    def __init__(self, desk: TradingDesk) -> None:
        self.begin_ms = clock() // MINUTE_MS * MINUTE_MS - 60 * MINUTE_MS
        self.end_ms = self.begin_ms + DAY_MS
        self.starts_at_minutes = self.begin_ms % DAY_MS // MINUTE_MS
        self.desk = desk
        self.put(self.begin_ms + 3_000)

    def telling(self, hook: Webhook, *urls: str) -> AbstractAsyncContextManager[Rig]:
        """Tell people, and remind them of nothing: the clock jumps."""
        return telling(self.desk, hook.url, *urls, repeat_seconds=1e6, day_starts_at_minutes=self.starts_at_minutes)

    def put(self, at_ms: int) -> None:
        self.desk.desk.clock = lambda: at_ms


async def live_through(desk: TradingDesk, hook: Webhook, day: Day) -> None:
    """Let a channel begin, and earn nine dollars and ninety cents."""
    await desk.open()
    async with day.telling(hook):
        await asyncio.sleep(1.5)  # it was noted that this channel begins with this day
        await desk.trade(desk.fill("BUY", "1", "100"), desk.fill("SELL", "1", "110"))
        await desk.trade(desk.fill("BUY", "2", "50", symbol="ETHUSDT"), firing("a"))
        await hook.until(1)
        await asyncio.sleep(1.5)


async def test_a_day_is_reported_when_it_is_over_and_once(desk: TradingDesk, hook: Webhook) -> None:
    day = Day(desk)
    await live_through(desk, hook, day)
    day.put(day.end_ms + 1_000)
    async with day.telling(hook):
        await asyncio.sleep(1.5)
        assert len(hook.posts) == 1
        day.put(day.end_ms + 3_000)
        await hook.until(2)
        await asyncio.sleep(1.5)
    await desk.close("main")
    await desk.open()
    async with day.telling(hook):
        await asyncio.sleep(1.5)

    assert len(hook.posts) == 2, hook.titles
    report = hook.posts[1]
    assert report.title.startswith("Daily report of main: ")
    assert report.type == "info"
    lines = report.message.splitlines()
    assert lines[0] == "main: equity 10,009.85 USD (?)"  # nobody knew the account when the day began
    assert lines[1].strip() == ("net +9.85 = realized +10.00, unrealized +0.00, fees -0.15, funding +0.00, other +0.00")
    assert [line.strip() for line in lines[2:]] == [
        "drawdown 0.00 % (worst so far 0.00 %)",
        "positions: 1",
        "ETHUSDT 2 at 50, unrealized +0.00",
        "alerts: 1 fired, 0 resolved; firing at its end: STREAM_STALE a",
    ]


async def test_the_view_of_the_beginning_counts_where_somebody_was_there(desk: TradingDesk, hook: Webhook) -> None:
    day = Day(desk)
    await desk.open()
    async with day.telling(hook):
        await asyncio.sleep(1.5)
        await desk.trade(desk.fill("BUY", "1", "100"), desk.fill("SELL", "1", "110"))
        day.put(day.end_ms + 3_000)
        (report,) = await hook.until(1)

    assert report.message.splitlines()[0] == "main: equity 10,009.90 USD (+9.90)"


async def test_a_day_that_ended_while_nobody_was_there_is_reported_later(desk: TradingDesk, hook: Webhook) -> None:
    day = Day(desk)
    await live_through(desk, hook, day)
    await desk.close("main")
    day.put(day.end_ms + 3 * 3_600_000)
    await desk.open()
    async with day.telling(hook):
        await hook.until(2)

    assert "main: equity 10,009.85 USD" in hook.posts[1].message


async def test_no_alert_waits_for_a_report_that_is_being_made(desk: TradingDesk, hook: Webhook) -> None:
    day = Day(desk)
    await desk.open()
    async with webhook() as pager, day.telling(hook, f"critical={pager.url}"):
        await asyncio.sleep(1.5)
        async with desk.desk.looking_back:  # somebody folds the past for long
            day.put(day.end_ms + 3 * 3_600_000)
            await asyncio.sleep(1.5)
            await desk.trade(firing("a", severity="CRITICAL"))
            await hook.until(1, timeout_seconds=2)
            await pager.until(1, timeout_seconds=2)
        await hook.until(2)

    assert hook.titles[0].startswith("CRITICAL main")
    assert hook.titles[1].startswith("Daily report of main")


async def test_many_accounts_come_in_few_letters(desk: TradingDesk, hook: Webhook) -> None:
    day = Day(desk)
    for number in range(ACCOUNTS_IN_ONE + 2):
        await desk.open(f"account{number}")
    async with day.telling(hook):
        await asyncio.sleep(1.5)
        day.put(day.end_ms + 3_000)
        await hook.until(2)
        await asyncio.sleep(1.5)

    assert [post.message.count("equity") for post in hook.posts] == [ACCOUNTS_IN_ONE, 2]
