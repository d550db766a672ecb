"""P&L over time as a client asks for it: intervals that say what happened in them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from account_monitor.historian.reading import HistoryReader
from account_monitor.monitor.ports import Figures, FillPage, FillQuery, PnLBucket, PnLHistory, PnLQuery
from account_monitor.monitor.reports import time_text
from account_monitor.stores.history.buckets import bucket_of
from account_monitor.stores.history.sqlite import SqliteHistory
from tests.integration.trading_desk import TradingDesk, clock, get

pytestmark = pytest.mark.integration

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@pytest.fixture
async def desk(desk: TradingDesk) -> TradingDesk:
    await desk.open("main")
    return desk


async def history(desk: TradingDesk, query: str = "", *, status: int = 200) -> Any:
    """Ask for the history of the account."""
    return await get(f"{desk.doors.http_url}/api/pnl/history?account=main{query}", status=status)


async def test_an_interval_tells_what_it_began_and_ended_with_and_what_it_brought(desk: TradingDesk) -> None:
    await desk.trade(desk.fill("BUY", "1", at="100"), desk.fill("SELL", "1", at="120"))
    await desk.remember()

    answer = await history(desk)
    now_ms = clock()

    assert (answer["account"], answer["symbol"], answer["interval"]) == ("main", None, "1h")
    assert answer["to"] == time_text(now_ms - now_ms % HOUR_MS + HOUR_MS)
    bucket = answer["buckets"][-1]
    assert bucket["timestamp"] == time_text(now_ms - now_ms % HOUR_MS)
    last = bucket["last"]
    assert (last["equity"], last["realized_pnl"], last["unrealized_pnl"], last["total_fees"]) == (
        "10019.9", "20", "0", "0.1",
    )  # fmt: skip
    assert (last["total_pnl"], last["net_pnl"], last["funding"], last["other"]) == ("20", "19.9", "0", "0")
    assert (bucket["change"]["realized_pnl"], bucket["change"]["net_pnl"]) == ("20", "19.9")
    assert bucket["max"]["net_pnl"] == "19.9"
    assert Decimal(bucket["min"]["equity"]) <= Decimal(10000)


async def test_a_symbol_has_a_history_of_its_own(desk: TradingDesk) -> None:
    await desk.trade(
        desk.fill("BUY", "1", at="100"), desk.fill("SELL", "1", at="120"), desk.fill(symbol="ETHUSDT", at="50")
    )
    await desk.remember()

    of_bitcoin = (await history(desk, "&symbol=BTCUSDT"))["buckets"][-1]
    of_ether = (await history(desk, "&symbol=ETHUSDT"))["buckets"][-1]

    assert (of_bitcoin["last"]["realized_pnl"], of_ether["last"]["realized_pnl"]) == ("20", "0")
    assert of_bitcoin["last"]["equity"] is None


async def test_an_interval_in_which_nobody_was_watching_is_left_out(desk: TradingDesk) -> None:
    await desk.trade(desk.fill())
    await desk.remember()

    now_ms = clock()
    answer = await history(desk, f"&interval=1m&from={time_text(now_ms - 3 * HOUR_MS)}&to={time_text(now_ms)}")

    assert 1 <= len(answer["buckets"]) <= 2  # a minute may have passed meanwhile
    assert answer["from"] == time_text(now_ms - 3 * HOUR_MS - now_ms % MINUTE_MS)


async def test_a_time_before_the_account_has_no_intervals(desk: TradingDesk) -> None:
    await desk.trade(desk.fill())
    await desk.remember()

    answer = await history(desk, "&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z")

    assert answer["buckets"] == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("&interval=7m", "was '7m', expected one that divides the next unit"),
        ("&interval=0m", "was '0m', expected one"),
        ("&interval=25h", "was '25h', expected one"),
        ("&interval=1w", "was '1w', expected one"),
        ("&interval=", "was '', expected one"),
        ("&interval=99999d", "was '99999d', expected one"),
        ("&from=yesterday", "'yesterday'"),
        ("&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "expected a time after `from`"),
        ("&interval=1s&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", "would make 86,400 of the time"),
        ("&interval=1m&from=1970-01-01T00:00:00Z", "would make"),
        ("&from=0001-01-01T00:00:00Z", "expected a time of the years 1970 to 2199"),
        ("&to=0001-01-01T00:00:00Z", "expected a time of the years 1970 to 2199"),
        ("&to=9999-12-31T23:59:59.999Z", "expected a time of the years 1970 to 2199"),
    ],
)
async def test_what_cannot_be_answered_is_refused_by_name(desk: TradingDesk, query: str, says: str) -> None:
    await desk.trade(desk.fill())
    await desk.remember()

    answer = await history(desk, query, status=400)

    assert says in answer["detail"]


@pytest.mark.parametrize("interval", ["1s", "12h", "1d", "366d"])
@pytest.mark.parametrize("end", ["to=1970-01-01T00:00:00Z", "to=2199-12-31T23:59:59.999Z"])
async def test_the_ends_of_what_may_be_asked_about_are_answered(desk: TradingDesk, end: str, interval: str) -> None:
    await desk.trade(desk.fill())
    await desk.remember()

    assert await history(desk, f"&{end}&interval={interval}")


async def test_a_symbol_that_was_never_held_is_unknown(desk: TradingDesk) -> None:
    await desk.trade(desk.fill())
    await desk.remember()

    assert "never held 'DOGEUSDT'" in (await history(desk, "&symbol=DOGEUSDT", status=404))["detail"]


async def test_at_most_five_thousand_intervals_are_told(desk: TradingDesk) -> None:
    await desk.trade(desk.fill())
    await desk.remember()
    now_ms = clock()
    to_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS

    await history(desk, f"&interval=1m&from={time_text(to_ms - 5_000 * MINUTE_MS)}&to={time_text(to_ms)}")
    more = f"&interval=1m&from={time_text(to_ms - 5_001 * MINUTE_MS)}&to={time_text(to_ms)}"
    await history(desk, more, status=400)


class Remembered:
    """A history of one snapshot in every interval, which notes the thread that goes through them."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    async def pnl(self, query: PnLQuery) -> PnLHistory:
        figures = Figures(*[Decimal(1)] * 8)
        times = range(query.from_ms, query.to_ms, query.interval_ms)
        return PnLHistory(None, Noted([bucket_of(at_ms, figures) for at_ms in times], self.threads))

    async def fills(self, account: str, query: FillQuery, *, until: int) -> FillPage:
        return FillPage([], None)


class Noted(list[PnLBucket]):
    def __init__(self, buckets: list[PnLBucket], threads: list[threading.Thread]) -> None:
        super().__init__(buckets)
        self._threads = threads

    def __iter__(self) -> Iterator[PnLBucket]:
        self._threads.append(threading.current_thread())
        return super().__iter__()


def long(intervals: int) -> str:
    """Return the query of so many minutes."""
    now_ms = clock()
    to_ms = now_ms - now_ms % MINUTE_MS
    return f"&interval=1m&from={time_text(to_ms - intervals * MINUTE_MS)}&to={time_text(to_ms)}"


async def test_a_long_history_is_told_in_a_thread(desk: TradingDesk) -> None:
    desk.desk.history = remembered = Remembered()

    told = [len((await history(desk, long(intervals)))["buckets"]) for intervals in (5_000, 2)]

    assert told == [5_000, 2]
    assert [thread is threading.main_thread() for thread in remembered.threads] == [False, True]


async def test_long_histories_are_told_in_turn_and_refused_where_eight_wait(desk: TradingDesk) -> None:
    desk.desk.history = Remembered()

    async with desk.desk.recounting:
        waiting = [asyncio.create_task(history(desk, long(200))) for _ in range(7)]
        while desk.desk.recounting.waiting < 8:  # noqa: ASYNC110  # nothing tells it
            await asyncio.sleep(0.01)
        refused = await history(desk, long(200), status=503)
        short = await history(desk, long(199))

    assert "busy" in refused["type"]
    assert len(short["buckets"]) == 199
    assert [len(answer["buckets"]) for answer in await asyncio.gather(*waiting)] == [200] * 7


async def test_a_history_that_cannot_be_read_says_why_and_is_read_once_it_can_be(
    desk: TradingDesk, tmp_path: Path
) -> None:
    await desk.trade(desk.fill())
    broken = tmp_path / "elsewhere"
    broken.mkdir()
    (broken / "history.sqlite").write_bytes(b"not a database" * 100)
    desk.desk.history = desk.reader = HistoryReader(SqliteHistory(broken, clock))

    refused = await history(desk, status=503)
    assert "history-unavailable" in refused["type"]
    assert "history.sqlite" in refused["detail"]

    await desk.reader.close()
    desk.reader = None
    await desk.remember()
    assert (await history(desk))["buckets"]
