"""The parts of the service: all end when it closes, in whatever order they forget each other."""

from __future__ import annotations

import asyncio

from account_monitor.app.tasks import Tasks


async def test_all_end_also_where_one_that_ends_lets_go_of_another() -> None:
    tasks = Tasks()
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def close_the_other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await tasks.cancel("exchange:main")

    tasks.spawn("cluster", close_the_other())
    tasks.spawn("exchange:main", wait("exchange:main"))
    tasks.spawn("account:main", wait("account:main"))
    await asyncio.sleep(0)

    await tasks.cancel_all_but("account:")

    assert ended == ["exchange:main"]
    assert tasks.failure is None
    await tasks.cancel("account:main")
