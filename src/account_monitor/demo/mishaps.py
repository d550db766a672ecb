"""Mishaps: what goes wrong at the exchange now and then, and how long the monitor took to be whole again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import aiohttp

from account_monitor.demo.audit import Auditor
from account_monitor.demo.exchange import BackDoor
from account_monitor.ledger.events import Fill
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import VENUE_STREAM, VENUE_TRADES
from account_monitor.monitor.views import Change, View

FIRST_AFTER_SECONDS = 15.0
EVERY_SECONDS = 60.0
LOOK_SECONDS = 0.1

STRIKE_SECONDS = 15.0
"""How long a fault may wait for its occasion: most need a message that they can spoil."""

PATIENCE_SECONDS = 45.0
"""How long healing may take before the screen says that it did not happen."""


HEALING = "; healing"
"""How the news ends of what is not over yet."""


class Mishap(NamedTuple):
    """What is said of it, and what is done for it at the back door: `fault` waits there for its occasion."""

    said: str
    action: str
    settings: Mapping[str, Any]
    fault: str | None = None


def _fault(said: str, name: str, **settings: Any) -> Mishap:
    """Return a mishap of the user stream; that of mark prices goes on."""
    return Mishap(said, "faults", {name: {"streams": "user", **settings}}, name)


MISHAPS = (
    Mishap("the stream was cut", "disconnect", {"code": 1006}),
    _fault("messages were lost", "drop", rate=0.6, seconds=3),
    Mishap("the listen key expired", "expire-key", {}),
    # For so long, since it needs a message to strike at: the monitor's socket is not the only one.
    _fault("the stream fell silent on an open connection", "half_open", seconds=3),
)


def in_turn(seed: int) -> Iterator[Mishap]:
    """Yield mishaps for ever: the first as listed, then in an order that the seed shuffles."""
    yield from MISHAPS
    chance = random.Random(seed)  # noqa: S311  # a demonstration, not a secret
    while True:
        yield from chance.sample(MISHAPS, len(MISHAPS))


class _Healing:
    """How the fills since a time came: heard on the stream, or fetched.

    `heard_at` is when, by the monotonic clock, the stream was heard again after it was struck.
    """

    def __init__(self, since_ms: int) -> None:
        self.heard_at: float | None = None
        self._since_ms = since_ms
        self._struck: tuple[float, int] | None = None
        self._streamed: set[str] = set()
        self._fetched: set[str] = set()

    @property
    def missed(self) -> int:
        """How many fills the stream had not told of, and were fetched."""
        return len(self._fetched - self._streamed)

    def struck(self, over: float, struck_ms: int) -> None:
        """Note that it was struck, and when (monotonic) the cause of it is over."""
        self._struck = (over, struck_ms)

    def note(self, _view: View, change: Change) -> None:
        """Observe a monitor."""
        if change.recorded is None:
            return
        for entry in change.recorded.entries:
            self._take(entry.event, entry.source)
        for delivery in change.recorded.duplicates:
            self._take(delivery.event, delivery.source)

    def _take(self, event: object, source: str) -> None:
        if not isinstance(event, Fill) or event.at_ms < self._since_ms:
            return
        if source == VENUE_TRADES:
            self._fetched.add(event.identity)
        elif source == VENUE_STREAM:
            self._streamed.add(event.identity)
            now = time.monotonic()
            if (
                self.heard_at is None
                and self._struck is not None
                and self._struck[0] < now
                and self._struck[1] < event.at_ms
            ):
                self.heard_at = now


class Mischief:
    """Makes things go wrong now and then, until cancelled; `say` is told what, and how it ended."""

    def __init__(
        self,
        back_door: BackDoor,
        monitor: Monitor,
        auditor: Auditor,
        *,
        seed: int,
        clock: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        self._back_door = back_door
        self._monitor = monitor
        self._auditor = auditor
        self._mishaps = in_turn(seed)
        self._clock = clock
        self._say = say

    async def run(self) -> None:
        """Let something go wrong every minute."""
        await asyncio.sleep(FIRST_AFTER_SECONDS)
        for mishap in self._mishaps:
            try:
                self._say(await self.strike(mishap))
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
                self._say(f"nothing was injected: the back door of the exchange did not answer, {type(error).__name__}")
            await asyncio.sleep(EVERY_SECONDS)

    async def strike(self, mishap: Mishap) -> str:
        """Let one thing go wrong, wait until all is well again, and return what there is to say."""
        healing = _Healing(self._clock())
        self._monitor.observers.append(healing.note)
        try:
            if not await self._has_struck(mishap):
                return f"injected: nothing; there was no occasion for: {mishap.said}"
            self._say(f"injected: {mishap.said}{HEALING}")
            seconds = await self._healed(mishap, healing)
        finally:
            self._monitor.observers.remove(healing.note)
            await self._back_door.clear()
        if seconds is None:
            return f"injected: {mishap.said}; not healed after {PATIENCE_SECONDS:.0f} s"
        fetched = "no fill was missed" if not healing.missed else f"{_fills(healing.missed)} fetched again"
        return f"injected: {mishap.said}; healed after {seconds:.1f} s, {fetched}"

    async def _has_struck(self, mishap: Mishap) -> bool:
        """Do it, and return once it has happened; False: it wants for an occasion."""
        if mishap.fault is None:
            await self._back_door.do(mishap.action, mishap.settings)
            return True
        before = (await self._back_door.struck()).get(mishap.fault, 0)
        await self._back_door.do(mishap.action, mishap.settings)
        end = time.monotonic() + STRIKE_SECONDS
        while (await self._back_door.struck()).get(mishap.fault, 0) == before:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _healed(self, mishap: Mishap, healing: _Healing) -> float | None:
        """Return after how long the stream was heard again and the ledger equal to the books; None: not yet."""
        started = time.monotonic()
        over = started if mishap.fault is None else started + mishap.settings[mishap.fault].get("seconds", 0)
        healing.struck(over, self._clock())
        while (now := time.monotonic()) < started + PATIENCE_SECONDS:
            equal_at = self._auditor.equal_at
            if healing.heard_at is not None and equal_at is not None and equal_at > healing.heard_at:
                return now - started
            await asyncio.sleep(LOOK_SECONDS)
        return None


def _fills(count: int) -> str:
    return "1 fill" if count == 1 else f"{count} fills"
