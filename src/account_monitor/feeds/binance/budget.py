"""Budget: may another request leave now? The exchange counts by address, so all accounts here share one.

What the exchange reports is what was used, also by other programs behind the same address; what is on its way is
counted here. As others do not know of that, no more is on its way than a part of what is left: several programs that
begin a minute together, or one that was killed and starts again, would else be banned before they heard of each other.
A ban is the exchange's last word: until it ends, nothing leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, NamedTuple, TypeAlias, get_args

from account_monitor.feeds.binance.refusals import VenueLimited

WEIGHT_PER_MINUTE = 2400
"""What USD-M futures allow an address, unless exchangeInfo says otherwise."""

Urgency: TypeAlias = Literal["urgent", "regular", "spare"]
"""`spare` may wait: it gets what the others leave of a minute."""

_LIGHT = "light"  # a kind of its own beside the urgencies: urgent, and of weight 1
_SMALLEST_LIMIT = 100  # the heaviest request that we make is 40
_MINUTE_MS = 60_000
_AFTER_THE_MINUTE_MS = 200  # our idea of when the exchange's minute begins may be that wrong
_FIRST_PENALTY_MS = {418: 120_000}  # a ban lasts two minutes at least
_PENALTY_MS = 60_000
_LONGEST_MS = 3 * 24 * 3_600_000  # the longest ban there is; more is a misreading
_MAX_DOUBLINGS = 10
_UNDER_WAY_SHARE = 6  # of what is left of a minute, this part may be on its way at once: four programs fit
_SPARE_AGAIN_SECONDS = 1.0  # the shorter the rest of a minute is, the less is kept of it


class Permit(NamedTuple):
    """The right to send one request: `weight` is reserved since `minute` of the exchange's clock."""

    weight: int
    minute: int


class WeightBudget:
    """The request weight of one address at one exchange, by the exchange's minute.

    `now_ms` is the exchange's clock, which must not follow a local clock that is set.
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        limit: int = WEIGHT_PER_MINUTE,
    ) -> None:
        self._now_ms = now_ms
        self._sleep = sleep
        self._limit = limit
        self._minute = now_ms() // _MINUTE_MS
        self._used = 0
        self._own = 0
        """What of it was used here, as far as it is answered."""
        self._began_with_minute = False
        self.own_share = 1.0
        """Which part of what the last whole minute cost was used here, and not by other programs at the address."""
        self._under_way = 0
        self._is_known = False
        """Whether an answer has told what others had used."""
        self._turns = {kind: asyncio.Lock() for kind in (_LIGHT, *get_args(Urgency))}
        """By kind of request: held by who is next. The others wait behind it, in their order."""
        self._answered = asyncio.Event()
        self._limited_until_ms = 0
        self._refusals = 0
        self.on_limit: Callable[[int], None] = lambda for_ms: None
        """Called with the milliseconds for which nothing may leave from now on."""
        self.expected: Callable[[float], float] = lambda seconds: 0.0
        """The most that regular requests may cost in so many seconds."""

    @property
    def limit(self) -> int:
        """The weight of a minute."""
        return self._limit

    @limit.setter
    def limit(self, weight: int) -> None:
        self._limit = max(weight, _SMALLEST_LIMIT)

    @property
    def used_weight(self) -> int:
        """What this minute has cost so far, requests on their way included."""
        self._turn()
        return self._used + self._under_way

    @property
    def limited_until_ms(self) -> int | None:
        """Until when nothing may leave, None while all is well."""
        return self._limited_until_ms if self._limited_until_ms > self._now_ms() else None

    async def acquire(self, weight: int, urgency: Urgency = "regular") -> Permit:
        """Reserve weight for a request, waiting for the next minute where this one has none left.

        A fifth of each minute is kept for what is urgent, and 3 % for what costs 1 besides: listen keys and the clock,
        without which nothing is heard. From what is spare, that is kept too which the rest of the minute may still
        need. Where much is on its way, it waits for answers first. Nobody waits for who is less urgent. `settle` must
        follow. Raises: VenueLimited during a ban.
        """
        is_light = urgency == "urgent" and weight == 1
        async with self._turns[_LIGHT if is_light else urgency]:
            while True:
                until_ms = self.limited_until_ms
                if until_ms is not None:
                    raise VenueLimited(until_ms)
                used = self.used_weight
                ceiling: float = self._limit - self._limit // _kept_share(weight, urgency)
                left_seconds = ((self._minute + 1) * _MINUTE_MS - self._now_ms()) / 1000
                if urgency == "spare":
                    ceiling -= self.expected(left_seconds)
                if used + weight > ceiling and used:
                    soon = urgency == "spare" and left_seconds > _SPARE_AGAIN_SECONDS
                    await self._sleep(_SPARE_AGAIN_SECONDS if soon else left_seconds + _AFTER_THE_MINUTE_MS / 1000)
                elif self._may_be_on_its_way(weight, ceiling, is_light=is_light):
                    self._under_way += weight
                    return Permit(weight, self._minute)
                else:
                    await self._wait_for_answer(left_seconds)

    def _may_be_on_its_way(self, weight: int, ceiling: float, *, is_light: bool) -> bool:
        """Whether that leaves room for what other programs have on their way, of which nobody here knows."""
        if not self._under_way:
            return True  # of each program one request
        part = self._under_way + weight <= (ceiling - self._used) / _UNDER_WAY_SHARE
        return self._is_known and (is_light or part)

    async def _wait_for_answer(self, seconds: float) -> None:
        """Wait until something is answered, so long at most."""
        self._answered.clear()  # everybody who waits has looked since it was set
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._answered.wait()

    def settle(self, permit: Permit, used: int | None) -> None:
        """Book a request that is over. `used` is what the exchange said of its minute, None if it said nothing."""
        self._turn()
        self._under_way -= permit.weight
        self._own += permit.weight
        self._is_known |= used is not None
        self._answered.set()
        if used is None or permit.minute != self._minute:  # the figure may be that of the minute before
            self._used += permit.weight
        else:
            self._used = max(self._used, used)  # answers overtake each other

    def accepted(self) -> None:
        """Note that the exchange answers: the next refusal is a first one again."""
        self._refusals = 0

    def refused(self, status: int, *, retry_after_seconds: int | None, banned_for_ms: int | None) -> int:
        """Stop all requests after a 429, a 418 or the like, and return until when.

        The longer of the two times that the exchange may have given; without either, longer with every refusal.
        """
        told_ms = [] if retry_after_seconds is None else [retry_after_seconds * 1000]
        if banned_for_ms is not None and banned_for_ms > 0:  # a ban that is over does not refuse: a clock is wrong
            told_ms.append(banned_for_ms)
        doublings = min(self._refusals if self.limited_until_ms is None else self._refusals - 1, _MAX_DOUBLINGS)
        penalty_ms = _FIRST_PENALTY_MS.get(status, _PENALTY_MS) << max(doublings, 0)
        if self.limited_until_ms is None:
            self._refusals += 1  # those that were on their way together are one
        self.limit_until(self._now_ms() + max(told_ms, default=penalty_ms))
        self.on_limit(self._limited_until_ms - self._now_ms())
        return self._limited_until_ms

    def limit_until(self, until_ms: int) -> None:
        """Let nothing leave before this time; an earlier time than the one in force changes nothing."""
        self._limited_until_ms = max(self._limited_until_ms, min(until_ms, self._now_ms() + _LONGEST_MS))
        self._answered.set()  # who waits has nothing to wait for

    def _turn(self) -> None:
        """Begin a new minute when the exchange does. An estimate of its clock that is set right may step back."""
        minute = self._now_ms() // _MINUTE_MS
        if minute > self._minute or minute < self._minute - 1:  # by less than a minute: the same one again
            if self._began_with_minute:  # else a process before this one may have used the rest of it
                self.own_share = min(1.0, self._own / self._used) if self._used else 1.0
            self._began_with_minute = True
            self._minute, self._used, self._own = minute, 0, 0


def _kept_share(weight: int, urgency: Urgency) -> int:
    """Return which part of a minute a request leaves to others: a fifth, a twentieth, or a fiftieth."""
    if urgency != "urgent":
        return 5
    return 20 if weight > 1 else 50
