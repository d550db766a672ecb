"""Rounds: many who tell much keep nobody else waiting for long, and all get their turn."""

from __future__ import annotations

import asyncio

from account_monitor.api.rounds import Rounds


async def test_who_comes_alone_waits_for_nobody() -> None:
    rounds = Rounds(10)

    await asyncio.wait_for(rounds.take(10), 1)
    await asyncio.sleep(0)
    await asyncio.wait_for(rounds.take(500), 1)


async def test_of_many_only_some_tell_between_two_looks_at_the_rest() -> None:
    rounds, told, most, seen = Rounds(10), 0, 0, 0

    async def tell() -> None:
        nonlocal told
        await rounds.take(5)
        told += 1

    async def look() -> None:
        nonlocal most, seen
        while told < 100:
            most, seen = max(most, told - seen), told
            await asyncio.sleep(0)

    await asyncio.gather(look(), *(tell() for _ in range(100)))

    assert told == 100
    assert most <= 4, "two in a round, and those of the round before that had been let go"


async def test_they_tell_in_the_order_in_which_they_came() -> None:
    rounds, order = Rounds(1), list[int]()

    async def tell(number: int) -> None:
        await rounds.take(1)
        order.append(number)

    await asyncio.gather(*(tell(number) for number in range(20)))

    assert order == list(range(20))


async def test_who_leaves_while_waiting_takes_nobodys_turn() -> None:
    rounds = Rounds(1)
    await rounds.take(1)
    gone, next_one = asyncio.create_task(rounds.take(1)), asyncio.create_task(rounds.take(1))
    await asyncio.sleep(0)
    gone.cancel()

    await asyncio.wait_for(next_one, 1)
