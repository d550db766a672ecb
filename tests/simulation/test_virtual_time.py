"""The virtual clock: jumps over waits, stands still for threads, and says when nothing can go on."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.simulation.virtual_time import Stalled, busy, clock_ms, run_virtual, virtual_loop


def test_a_day_passes_at_once_and_exactly() -> None:
    async def day() -> tuple[int, int]:
        began = clock_ms()
        for _ in range(24 * 60):
            await asyncio.sleep(60)
        return began, clock_ms()

    began = time.monotonic()
    assert run_virtual(day(), start_ms=1_000) == (1_000, 1_000 + 24 * 3_600_000)
    assert time.monotonic() - began < 5


def test_timers_fire_in_the_order_of_their_moments() -> None:
    async def race() -> list[tuple[int, str]]:
        seen: list[tuple[int, str]] = []

        async def runner(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((clock_ms(), name))

        async with asyncio.TaskGroup() as tasks:
            for name, seconds in (("late", 3.0), ("first", 0.001), ("second", 0.002)):
                tasks.create_task(runner(name, seconds))
        return seen

    assert run_virtual(race(), start_ms=0) == [(1, "first"), (2, "second"), (3_000, "late")]


def test_a_timeout_is_virtual_too() -> None:
    async def wait() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return clock_ms()

    assert run_virtual(wait(), start_ms=0) == 3_600_000


def test_the_clock_stands_still_while_an_executor_works() -> None:
    async def work() -> int:
        timer = asyncio.create_task(asyncio.sleep(1))
        await asyncio.to_thread(time.sleep, 0.05)
        moment = clock_ms()
        assert not timer.done()
        await timer
        return moment

    assert run_virtual(work(), start_ms=0) == 0


def test_the_clock_stands_still_while_a_thread_of_ones_own_works() -> None:
    async def work() -> int:
        loop = virtual_loop()
        answer: asyncio.Future[int] = loop.create_future()
        timer = asyncio.create_task(asyncio.sleep(1))

        def thread() -> None:
            time.sleep(0.05)
            loop.call_soon_threadsafe(answer.set_result, loop.clock_ms())

        threading.Thread(target=thread).start()
        with busy():
            moment = await answer
        assert not timer.done()
        await timer
        return moment

    assert run_virtual(work(), start_ms=0) == 0


def test_waiting_for_what_never_comes_is_said_and_names_who_waits() -> None:
    async def forgotten() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled, match=r"forgotten"):
        run_virtual(forgotten())


def test_a_stalled_run_still_cleans_up() -> None:
    cleaned = []

    async def forgotten() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
            cleaned.append(clock_ms())

    with pytest.raises(Stalled):
        run_virtual(forgotten(), start_ms=0)
    assert cleaned == [5_000]


def test_far_in_the_future_the_clock_still_moves() -> None:
    async def decade() -> int:
        for _ in range(10):
            await asyncio.sleep(365 * 86_400)
        await asyncio.sleep(0.001)
        return clock_ms()

    assert run_virtual(decade(), start_ms=0) == 10 * 365 * 86_400_000 + 1


def test_outside_virtual_time_busy_holds_nothing() -> None:
    async def ordinary() -> bool:
        with busy():
            return True

    assert asyncio.run(ordinary())
