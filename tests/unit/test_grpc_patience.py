"""Waits end when their time is over, and only then."""

from __future__ import annotations

import asyncio

import pytest

from account_monitor.api.grpc.patience import Patience


async def test_what_comes_in_time_is_returned() -> None:
    patience = Patience(0.05)

    async def answer() -> str:
        await asyncio.sleep(0.01)
        return "here"

    assert await asyncio.gather(*(patience.wait_for(answer()) for _ in range(3))) == ["here"] * 3
    await asyncio.sleep(0.1)
    assert await patience.wait_for(answer()) == "here", "a timer that found nobody is set again"


async def test_each_wait_ends_by_its_own_time() -> None:
    patience, loop = Patience(0.1), asyncio.get_running_loop()

    async def give_up_after() -> float:
        began = loop.time()
        with pytest.raises(TimeoutError):
            await patience.wait_for(loop.create_future())
        return loop.time() - began

    first = asyncio.create_task(give_up_after())
    await asyncio.sleep(0.06)
    second = asyncio.create_task(give_up_after())
    assert await first >= 0.1
    assert await second >= 0.1
    assert not patience._began
    assert not patience._overdue


async def test_who_is_cancelled_is_not_told_that_time_is_over() -> None:
    patience = Patience(10)
    waiting = asyncio.create_task(patience.wait_for(asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()


async def test_a_task_goes_on_after_its_time_was_over() -> None:
    patience = Patience(0.01)

    async def twice() -> int:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await patience.wait_for(asyncio.get_running_loop().create_future())
        await asyncio.sleep(0)  # would raise where the cancellation were still asked for
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert await asyncio.create_task(twice()) == 0
