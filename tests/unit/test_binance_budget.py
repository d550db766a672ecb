"""Budget: how many requests may leave, and none during a ban."""

from __future__ import annotations

import asyncio
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.feeds.binance.budget import Permit, Urgency, WeightBudget
from account_monitor.feeds.binance.refusals import VenueLimited

MINUTE_MS = 60_000
START_MS = 1_795_348_800_000  # a minute begins
DAY_MS = 24 * 3_600_000
URGENCIES: st.SearchStrategy[Urgency] = st.sampled_from(get_args(Urgency))


class Rig:
    """A budget in time that passes only when somebody sleeps."""

    def __init__(self, *, limit: int = 2400) -> None:
        self.now_ms = START_MS
        self.slept: list[float] = []
        self.budget = WeightBudget(lambda: self.now_ms, sleep=self.sleep, limit=limit)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now_ms += round(seconds * 1000)

    async def spend(self, weight: int, urgency: Urgency = "regular") -> None:
        """Send one request of which the exchange reports nothing."""
        self.budget.settle(await self.budget.acquire(weight, urgency), None)


async def test_a_request_is_counted_while_it_is_on_its_way() -> None:
    rig = Rig()

    permit = await rig.budget.acquire(30)

    assert permit == Permit(30, START_MS // MINUTE_MS)
    assert rig.budget.used_weight == 30


async def test_what_the_exchange_reports_counts() -> None:
    rig = Rig()

    rig.budget.settle(await rig.budget.acquire(5), 1200)

    assert rig.budget.used_weight == 1200


async def test_answers_that_overtake_each_other_do_not_lower_the_count() -> None:
    rig = Rig()
    rig.budget.settle(await rig.budget.acquire(1), 1)
    first, second = await rig.budget.acquire(5), await rig.budget.acquire(5)

    rig.budget.settle(second, 110)
    rig.budget.settle(first, 105)

    assert rig.budget.used_weight == 110


async def test_a_request_without_an_answer_counts_with_its_weight() -> None:
    rig = Rig()

    await rig.spend(40)

    assert rig.budget.used_weight == 40


async def test_the_next_minute_is_a_new_one() -> None:
    rig = Rig()
    await rig.spend(1000)

    rig.now_ms += MINUTE_MS

    assert rig.budget.used_weight == 0


async def test_a_report_from_the_minute_before_does_not_fill_the_new_one() -> None:
    rig = Rig()
    rig.now_ms += MINUTE_MS - 1
    permit = await rig.budget.acquire(5)

    rig.now_ms += 2
    rig.budget.settle(permit, 2390)

    assert rig.budget.used_weight == 5


async def test_a_fifth_of_the_minute_is_kept_for_what_is_urgent() -> None:
    rig = Rig()
    rig.now_ms += 10_000
    rig.budget.settle(await rig.budget.acquire(5), 1920)

    await rig.spend(30, "urgent")
    assert rig.slept == []

    await rig.spend(5)
    assert rig.slept == [50.2]


async def test_urgent_requests_wait_for_the_last_twentieth() -> None:
    rig = Rig()
    rig.budget.settle(await rig.budget.acquire(5), 2280)

    await rig.spend(5, "urgent")

    assert rig.slept == [60.2]


async def test_listen_keys_and_the_clock_wait_for_the_last_fiftieth_only() -> None:
    rig = Rig()
    rig.budget.settle(await rig.budget.acquire(5), 2280)
    for _ in range(72):
        await rig.spend(1, "urgent")
    assert rig.slept == []

    await rig.spend(1, "urgent")

    assert rig.slept == [60.2]


async def test_what_is_spare_leaves_what_the_rest_of_the_minute_may_need() -> None:
    rig = Rig()
    rig.budget.expected = lambda seconds: 5 * seconds
    rig.now_ms += 20_000
    rig.budget.settle(await rig.budget.acquire(5), 1715)

    await rig.spend(5, "spare")
    assert rig.slept == []

    await rig.spend(10, "spare")  # 1,920 are for all but what is urgent, and 5 are kept for each second
    assert rig.slept == [1.0, 1.0]

    await rig.spend(190)
    await rig.spend(5, "spare")
    assert sum(rig.slept) == 40.2
    assert rig.budget.used_weight == 5


async def test_a_limit_that_is_smaller_than_a_request_does_not_stop_it_for_good() -> None:
    rig = Rig()
    rig.budget.limit = 1

    await rig.spend(1000)
    await rig.spend(1000)

    assert rig.budget.limit == 100
    assert rig.slept == [60.2]


@pytest.mark.parametrize(
    ("status", "retry_after_seconds", "banned_for_ms", "waits_ms"),
    [
        (429, 35, None, 35_000),
        (418, None, 720_000, 720_000),
        (418, 437, 720_000, 720_000),
        (418, 720, 437_000, 720_000),
        (429, None, None, 60_000),
        (418, None, None, 120_000),
        (403, None, None, 60_000),
        (429, 0, None, 0),
        (418, None, -1000, 120_000),  # over, and refused all the same: a clock is wrong
        (418, 10**9 - 1, None, 3 * DAY_MS),
        (418, None, 9_999_999_999_999, 3 * DAY_MS),
    ],
)
async def test_a_ban_ends_when_the_later_of_the_two_times_given_has_come(
    status: int, retry_after_seconds: int | None, banned_for_ms: int | None, waits_ms: int
) -> None:
    rig = Rig()

    until_ms = rig.budget.refused(status, retry_after_seconds=retry_after_seconds, banned_for_ms=banned_for_ms)

    if not waits_ms:
        assert rig.budget.limited_until_ms is None
        await rig.spend(1)
        return
    assert until_ms == rig.budget.limited_until_ms == START_MS + waits_ms
    rig.now_ms += waits_ms - 1
    for urgency in get_args(Urgency):
        with pytest.raises(VenueLimited) as limited:
            await rig.spend(1, urgency)
        assert limited.value.until_ms == until_ms
    rig.now_ms += 1
    await rig.spend(1)
    assert rig.slept == []


async def test_bans_without_a_time_grow_until_the_exchange_answers_again() -> None:
    rig = Rig()

    def penalty_ms() -> int:
        until_ms = rig.budget.refused(429, retry_after_seconds=None, banned_for_ms=None)
        waits_ms = until_ms - rig.now_ms
        rig.now_ms = until_ms
        return waits_ms

    assert [penalty_ms() for _ in range(3)] == [60_000, 120_000, 240_000]
    rig.budget.accepted()
    assert penalty_ms() == 60_000
    for _ in range(50):
        assert penalty_ms() <= 3 * DAY_MS


async def test_a_shorter_ban_does_not_end_a_longer_one() -> None:
    rig = Rig()
    rig.budget.limit_until(START_MS + 720_000)

    rig.budget.refused(429, retry_after_seconds=1, banned_for_ms=None)

    assert rig.budget.limited_until_ms == START_MS + 720_000


async def test_a_ban_that_comes_while_somebody_waits_for_weight_stops_that_one_too() -> None:
    rig = Rig()
    rig.budget.settle(await rig.budget.acquire(5), 2400)
    waiting = asyncio.create_task(rig.budget.acquire(5))
    await asyncio.sleep(0)

    rig.budget.limit_until(START_MS + 10 * MINUTE_MS)

    with pytest.raises(VenueLimited):
        await waiting


async def test_an_estimate_of_the_clock_that_was_an_hour_ahead_does_not_stop_the_minutes() -> None:
    rig = Rig()
    rig.budget.settle(await rig.budget.acquire(5), 2400)

    rig.now_ms -= 60 * MINUTE_MS
    await rig.spend(5)

    assert rig.slept == []


@given(
    st.lists(
        st.tuples(st.integers(0, 20_000), st.integers(1, 40), URGENCIES, st.none() | st.integers(0, 2400)),
        max_size=80,
    ),
    st.integers(100, 600),
)
def test_no_minute_ever_costs_more_than_its_limit(
    requests: list[tuple[int, int, Urgency, int | None]], limit: int
) -> None:
    async def run() -> None:
        rig = Rig(limit=limit)
        spent: dict[int, int] = {}
        for pause_ms, weight, urgency, reported in requests:
            rig.now_ms += pause_ms
            permit = await rig.budget.acquire(weight, urgency)
            spent[permit.minute] = spent.get(permit.minute, 0) + weight
            rig.budget.settle(permit, None if reported is None else max(spent[permit.minute], reported))
            assert spent[permit.minute] <= limit
            assert rig.budget.used_weight >= spent[permit.minute]

    asyncio.run(run())


async def test_before_the_exchange_has_answered_one_request_leaves_at_a_time() -> None:
    rig = Rig()
    first = await rig.budget.acquire(1, "urgent")
    others = [asyncio.create_task(rig.budget.acquire(5)) for _ in range(3)]
    await turns()
    assert not any(task.done() for task in others)

    rig.budget.settle(first, None)  # it was refused a connection: nobody knows what others have used
    await turns()
    assert sum(task.done() for task in others) == 1
    rig.budget.settle(others[0].result(), 1000)
    await turns()

    assert all(task.done() for task in others)


@pytest.mark.parametrize("weight", [5, 30])
@pytest.mark.parametrize("seed", range(3))
async def test_four_programs_behind_one_address_never_ask_for_more_than_there_is(weight: int, seed: int) -> None:
    chance, used, most = Random(seed), 0, 0

    async def over(_seconds: float) -> None:
        await asyncio.get_running_loop().create_future()  # the next minute does not come

    async def ask(budget: WeightBudget) -> None:
        nonlocal used, most
        permit = await budget.acquire(weight, "urgent")
        await asyncio.sleep(chance.uniform(0.001, 0.003))
        used += weight
        most, told = max(most, used), used
        await asyncio.sleep(chance.uniform(0.001, 0.003))
        budget.settle(permit, told)

    programs = [WeightBudget(lambda: START_MS, sleep=over) for _ in range(4)]
    asking = [asyncio.create_task(ask(budget)) for budget in programs for _ in range(2400 // weight)]
    async with asyncio.timeout(30):
        while most <= 0.9 * 2400:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # for what is too much
    for task in asking:
        task.cancel()

    assert most <= 2400


async def test_each_has_its_turn_and_who_is_urgent_waits_for_nobody_who_is_not() -> None:
    rig = Rig()
    rig.budget.settle(await rig.budget.acquire(1), 1000)
    first = await rig.budget.acquire(130)
    heavy, light = [asyncio.create_task(rig.budget.acquire(weight)) for weight in (40, 1)]
    await turns()
    urgent = asyncio.create_task(rig.budget.acquire(90, "urgent"))
    key = asyncio.create_task(rig.budget.acquire(1, "urgent"))
    await turns()
    assert [task.done() for task in (heavy, light, urgent, key)] == [False, False, False, True]

    rig.budget.settle(first, 1100)
    await turns()

    assert all(task.done() for task in (heavy, light, urgent))


async def test_a_request_that_is_cancelled_keeps_nobody_waiting() -> None:
    rig = Rig()
    first = await rig.budget.acquire(1)
    waiting = [asyncio.create_task(rig.budget.acquire(5)) for _ in range(30)]
    await turns()
    for task in waiting[:12]:
        task.cancel()
    await turns()
    rig.budget.settle(first, 1)
    waiting[12].cancel()  # in its turn
    await turns(60)

    assert all(task.done() for task in waiting)


async def test_a_ban_stops_all_who_wait_for_answers() -> None:
    rig = Rig()
    await rig.budget.acquire(1)
    waiting = [asyncio.create_task(rig.budget.acquire(5, urgency)) for urgency in get_args(Urgency) for _ in range(20)]
    await turns()

    rig.budget.limit_until(START_MS + DAY_MS)
    await turns(60)

    assert all(isinstance(task.exception(), VenueLimited) for task in waiting)


async def test_a_request_without_an_answer_keeps_nobody_beyond_the_minute() -> None:
    rig = Rig()
    rig.budget.settle(await rig.budget.acquire(1), 1860)
    await rig.budget.acquire(40)  # and hangs
    rig.now_ms += MINUTE_MS - 20
    waiting = [asyncio.create_task(rig.budget.acquire(5)) for _ in range(4)]
    await turns()
    assert not any(task.done() for task in waiting)

    rig.now_ms += 20
    await asyncio.wait(waiting, timeout=30)

    assert all(task.done() for task in waiting)


async def test_what_others_use_is_told_from_what_is_used_here_once_a_whole_minute_was_seen() -> None:
    rig = Rig()
    rig.budget.settle(await rig.budget.acquire(30), 1500)  # a process before this one, perhaps
    rig.now_ms += MINUTE_MS
    assert (rig.budget.used_weight, rig.budget.own_share) == (0, 1.0)

    for reported in (200, 600, 900):
        rig.budget.settle(await rig.budget.acquire(100), reported)
    rig.now_ms += MINUTE_MS
    assert rig.budget.used_weight == 0
    assert rig.budget.own_share == pytest.approx(1 / 3)

    rig.budget.settle(await rig.budget.acquire(100), None)
    rig.now_ms += MINUTE_MS
    assert (rig.budget.used_weight, rig.budget.own_share) == (0, 1.0)


async def turns(count: int = 6) -> None:
    """Let everybody who can go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_refusals_of_requests_that_were_on_their_way_together_are_one() -> None:
    rig = Rig()

    def refused() -> int:
        return rig.budget.refused(429, retry_after_seconds=None, banned_for_ms=None)

    assert {refused() for _ in range(3)} == {START_MS + 60_000}
    rig.now_ms = START_MS + 60_000
    assert refused() == START_MS + 180_000
