"""Doors: what begins at once begins one after the other; what only waits keeps nobody."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from account_monitor.errors import ChannelFailed
from account_monitor.notifiers.doors import BEGIN_SECONDS, Door


class Attempts:
    """Attempts that note when they begin, in order."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.answer = asyncio.Event()

    async def hang(self, name: str) -> None:
        self.begun.append(name)
        await self.answer.wait()

    async def succeed(self, name: str) -> None:
        self.begun.append(name)


async def test_attempts_that_come_at_once_begin_one_after_the_other() -> None:
    door, attempts = Door(), Attempts()
    sending = [asyncio.create_task(door.send(partial(attempts.hang, name))) for name in "abc"]

    await asyncio.sleep(BEGIN_SECONDS / 2)
    assert attempts.begun == ["a"]
    attempts.answer.set()
    await asyncio.gather(*sending)
    assert attempts.begun == ["a", "b", "c"]


async def test_an_attempt_that_hangs_has_the_door_for_a_moment_only() -> None:
    door, attempts = Door(), Attempts()
    hanging = asyncio.create_task(door.send(partial(attempts.hang, "hangs")))
    await asyncio.sleep(0)

    async with asyncio.timeout(100 * BEGIN_SECONDS):
        await door.send(partial(attempts.succeed, "well"))

    assert not hanging.done()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert attempts.begun == ["hangs", "well"]


@pytest.mark.parametrize("passes_seconds", [0.0, 3 * BEGIN_SECONDS])
async def test_who_fails_or_gives_up_leaves_the_door_open(passes_seconds: float) -> None:
    door, attempts = Door(), Attempts()

    async def fail() -> None:
        raise ChannelFailed("no")

    with pytest.raises(ChannelFailed):
        await door.send(fail)
    given_up = [asyncio.create_task(door.send(partial(attempts.hang, name))) for name in "ab"]
    await asyncio.sleep(passes_seconds)
    for task in given_up:
        task.cancel()
    ended = await asyncio.gather(*given_up, return_exceptions=True)

    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    async with asyncio.timeout(1):
        await door.send(partial(attempts.succeed, "next"))
    assert attempts.begun[-1] == "next"
