"""Marks: at which prices does the exchange value what the accounts hold? One socket, whatever their number.

It hears every symbol (`!markPrice@arr@1s`), not those that are held: some 150 KB and a quarter of a millisecond of work
a second buy that nothing has to be subscribed, confirmed and repeated when an account trades a new symbol: its price is
there within a second. Only the prices that somebody wants are made into decimals.

These prices come every second, so here silence does mean that something is wrong, whatever pongs say: an address that
is not routed any more connects, answers, and delivers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple, TypeAlias

import structlog

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.messages import mark_prices
from account_monitor.feeds.binance.pace import BANNED, STABLE_SECONDS, Pace
from account_monitor.feeds.binance.transport import Closed, Pong, Socket, Text, Transport, TransportError
from account_monitor.ledger.events import MarkPrice

SILENCE_SECONDS: Final = 10.0

ROTATE_AFTER_SECONDS: Final = (22 * 3600.0, 23 * 3600.0)
"""The exchange closes a connection after 24 hours: a new one takes over before."""

TakePrice: TypeAlias = Callable[[str, Decimal, int], None]
"""Takes symbol, mark price and the exchange's time in milliseconds."""

_CONNECT_SECONDS = 10.0
_WATCH_SECONDS = 1.0
_MOST_APART = 100  # rows of a malformed message that are read one by one
_STATES_PRICES = b"markPriceUpdate"

_log = structlog.get_logger(__name__)


class _Subscriber(NamedTuple):
    take: TakePrice
    symbols: Callable[[], AbstractSet[str]]


class _Line:
    """One connection. `has_prices` is set with the first; `is_banned` when the exchange wants to be left alone."""

    def __init__(self) -> None:
        self.has_prices = asyncio.Event()
        self.is_banned = False


class MarkPrices:
    """Hears mark prices until it is cancelled, through every outage.

    `on_alarm` is called with the reason when no prices come for `silence_seconds`, once until `on_clear`. An exception
    from it or from a subscriber is a bug, and ends the feed. `malformed` counts messages that could not be read,
    `reconnects` connections after the first.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        websocket_url: str,
        on_alarm: Callable[[str], None],
        on_clear: Callable[[], None],
        silence_seconds: float = SILENCE_SECONDS,
        reconnect_interval_seconds: float = 5.0,
        chance: Random | None = None,
    ) -> None:
        self.messages = 0
        self.malformed = 0
        self.reconnects = 0
        self._transport = transport
        self._url = f"{websocket_url.rstrip('/')}/market/ws/!markPrice@arr@1s"
        self._on_alarm = on_alarm
        self._on_clear = on_clear
        self._silence_seconds = silence_seconds
        self._chance = chance or Random()  # noqa: S311  # it spreads load, and keeps no secret
        self._pace = Pace(reconnect_interval_seconds, self._chance)
        self._subscribers: list[_Subscriber] = []
        self._connections = 0
        self._quiet_since = 0.0
        self._has_prices = False
        self._is_alarmed = False

    def subscribe(self, take: TakePrice, symbols: Callable[[], AbstractSet[str]]) -> Callable[[], None]:
        """Hand over the prices of `symbols`, asked with every message; return what ends it."""
        subscriber = _Subscriber(take, symbols)
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    @property
    def is_live(self) -> bool:
        """Whether prices come."""
        return self._has_prices and not self._is_alarmed

    async def run(self) -> None:
        """Hear prices until cancelled."""
        self._quiet_since = _now()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            await self._stay_connected(tasks)

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _stay_connected(self, tasks: asyncio.TaskGroup) -> None:
        """Keep one connection that delivers; before it is cut for its age, let another one take over."""
        current: asyncio.Task[None] | None = None
        while True:
            line = _Line()
            successor = tasks.create_task(self._listen(line))
            await _either(line.has_prices, successor)
            if line.has_prices.is_set():
                if current is not None:
                    current.cancel()
                current = successor
                if await self._grow_old(current):
                    continue
            await asyncio.sleep(self._pace.slow_pause() if line.is_banned else self._pace.pause())

    async def _grow_old(self, line: asyncio.Task[None]) -> bool:
        """Return True when it is time for another connection, False when this one has ended."""
        rotate_seconds = self._chance.uniform(*ROTATE_AFTER_SECONDS)
        for seconds in (STABLE_SECONDS, rotate_seconds - STABLE_SECONDS):
            await asyncio.wait({line}, timeout=seconds)
            if line.done():
                return False
            self._pace.reset()
        return True

    async def _listen(self, line: _Line) -> None:
        """Hear one connection until it ends or falls silent."""
        try:
            socket = await self._transport.connect(self._url, timeout_seconds=_CONNECT_SECONDS)
        except TransportError as error:
            line.is_banned = error.status in BANNED
            _log.warning("mark_prices_not_connected", error=str(error))
            return
        self._connections += 1
        self.reconnects = self._connections - 1
        _log.info("mark_prices_connected", reconnects=self.reconnects)
        try:
            reason = await self._hear(socket, line)
            _log.warning("mark_prices_lost", reason=reason)
        finally:
            await socket.close()

    async def _hear(self, socket: Socket, line: _Line) -> str:
        """Take what the socket delivers; return why it delivers no more."""
        deadline = _now() + self._silence_seconds
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    frame = await socket.receive()
            except TimeoutError:
                return f"no prices for {self._silence_seconds:g} s"
            match frame:
                case Text(payload):
                    if self._take(payload):
                        line.has_prices.set()
                        deadline = _now() + self._silence_seconds
                case Pong():
                    pass
                case Closed(code, reason):
                    return f"closed with code {code}" + (f" ({reason})" if reason else "")

    # -- prices --------------------------------------------------------------------------------------------------------

    def _take(self, payload: bytes) -> bool:
        """Hand over the prices of a message; return whether it was one with prices."""
        self.messages += 1
        wanted = [(subscriber.take, subscriber.symbols()) for subscriber in self._subscribers]
        try:
            prices = mark_prices(payload, frozenset().union(*(symbols for _, symbols in wanted)))
            has_prices = _STATES_PRICES in payload
        except MalformedEvent as error:
            self._note_malformed(error)
            prices = _readable(payload, {symbol for _, symbols in wanted for symbol in symbols})
            has_prices = bool(prices)
        for take, symbols in wanted:
            for symbol, price, at_ms in prices:
                if symbol in symbols:
                    take(symbol, price, at_ms)
        if has_prices:
            self._note_heard()
        return has_prices

    def _note_malformed(self, error: MalformedEvent) -> None:
        self.malformed += 1
        if self.malformed.bit_count() == 1:  # the first, second, fourth …: one a second would fill the log
            _log.warning("mark_prices_malformed", count=self.malformed, reason=error.reason)

    # -- silence -------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Alarm when no prices come, on whatever connection."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if _now() - self._quiet_since >= self._silence_seconds and not self._is_alarmed:
                self._is_alarmed = True
                _log.warning("mark_prices_stale", seconds=self._silence_seconds)
                self._on_alarm(f"no mark prices for {self._silence_seconds:g} s")

    def _note_heard(self) -> None:
        self._quiet_since = _now()
        self._has_prices = True
        if self._is_alarmed:
            self._is_alarmed = False
            _log.info("mark_prices_back")
            self._on_clear()


def _readable(payload: bytes, symbols: Iterable[str]) -> tuple[MarkPrice, ...]:
    """Return the prices of a malformed message that can be read: one bad row does not take the others' away."""
    prices: list[MarkPrice] = []
    for symbol in sorted(symbols)[:_MOST_APART]:
        try:
            prices += mark_prices(payload, {symbol})
        except MalformedEvent:
            pass  # counted already
    return tuple(prices)


async def _either(event: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Return once the event is set or the task has ended."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
