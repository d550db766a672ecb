"""Stream: the user stream of one account, over a transport. What is to be done is the session's matter; this does it.

During a rotation two sockets are read, so messages come twice, and whoever takes them is used to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Protocol
from urllib.parse import quote

import structlog

from account_monitor.clock import now_ms
from account_monitor.errors import AccountMonitorError, MalformedEvent
from account_monitor.feeds.binance.messages import ListenKeyExpired, user_event
from account_monitor.feeds.binance.pace import BANNED
from account_monitor.feeds.binance.refusals import NO_SUCH_LISTEN_KEY, VenueRefused
from account_monitor.feeds.binance.session import (
    Action,
    Alarm,
    Backfill,
    Clear,
    Close,
    Connect,
    KeepKeyAlive,
    ObtainKey,
    Ping,
    StreamSettings,
    UserStreamSession,
)
from account_monitor.feeds.binance.transport import Closed, Pong, Socket, Text, Transport, TransportError

_log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 10.0
_SHORTEST_WAIT_SECONDS = 0.001  # a timer may fire a little early: then it would be set again and again
_AT_ONCE = 100  # messages handed over before others get their turn
_EXPIRED = b"listenKeyExpired"


class Keys(Protocol):
    """The requests about an account's listen key. What goes wrong is an AccountMonitorError or a TransportError."""

    async def obtain(self) -> str:
        """Return the account's listen key: the active one, which is extended, or else a new one (POST)."""

    async def keep_alive(self, key: str) -> str | None:
        """Extend the key (PUT); return the one that the exchange says it extended, None where it does not say.

        Raises: VenueRefused with code −1125 when there is no such key.
        """


class StreamConsumer(Protocol):
    """Whoever hears the stream. An exception from here is a bug, and ends the stream."""

    async def wait_for_room(self) -> None:
        """Return once another message may be handed over; nothing is read from the exchange meanwhile."""

    def on_message(self, payload: bytes, received_at_ms: int) -> None:
        """Take a message, which may have come before on another socket."""

    def on_backfill(self, reason: str) -> None:
        """Fetch everything since the last known id, and call `backfilled` when that is done.

        When this is called again meanwhile, what counts is a fetch that began after the last call.
        """

    def on_alarm(self, kind: str, text: str) -> None:
        """Tell people; once until `on_clear`."""

    def on_clear(self, kind: str) -> None:
        """The alarm is over."""


class UserStream:
    """Hears one account until it is cancelled, through every outage. `reconnects` counts connections after the first.

    `clock_ms` says when a message came. Waiting goes by the event loop's own clock, which is never set.
    """

    def __init__(
        self,
        account: str,
        transport: Transport,
        keys: Keys,
        consumer: StreamConsumer,
        *,
        websocket_url: str,
        settings: StreamSettings | None = None,
        clock_ms: Callable[[], int] = now_ms,
        chance: Random | None = None,
    ) -> None:
        self.reconnects = 0
        self._account = account
        self._transport = transport
        self._keys = keys
        self._consumer = consumer
        self._url = f"{websocket_url.rstrip('/')}/private/ws?listenKey="
        self._settings = settings or StreamSettings()
        self._clock_ms = clock_ms
        self._chance = chance or Random()  # noqa: S311  # it spreads load, and keeps no secret
        self._session: UserStreamSession | None = None
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._open: dict[int, Socket] = {}
        self._connections = 0
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup

    @property
    def is_live(self) -> bool:
        """Whether what the exchange says is heard now."""
        return self._session is not None and self._session.is_live

    @property
    def is_whole(self) -> bool:
        """Whether it is heard, and what was missed before was fetched."""
        return self._session is not None and self._session.is_whole

    @property
    def unheard(self) -> tuple[float, str] | None:
        """For how many seconds it has not been heard that was heard before, and why; None while it is."""
        seconds = None if self._session is None else self._session.unheard_seconds(_now())
        return None if self._session is None or seconds is None else (seconds, self._session.down_reason)

    @property
    def last_gap(self) -> tuple[float, str] | None:
        """For how many seconds it was not heard the last time, and why; None where it was heard since the start."""
        return None if self._session is None else self._session.last_gap

    async def run(self) -> None:
        """Hear the account until cancelled."""
        session = self._session = UserStreamSession(_now(), self._settings, self._chance)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                while True:
                    self._wake.clear()
                    actions = session.tick(_now())
                    if actions:
                        self._do(actions)
                    await self._pause(session)
        finally:
            self._session = None

    def stale(self, reason: str) -> None:
        """Connect anew: somebody knows of a change that the stream should have told, and did not."""
        if self._session is not None:
            self._do(self._session.stale(_now(), reason))

    def backfilled(self) -> None:
        """What may have been missed up to the last `on_backfill` was fetched."""
        if self._session is not None:
            self._do(self._session.backfilled(_now()))

    async def _pause(self, session: UserStreamSession) -> None:
        """Wait until something is due, or has happened."""
        now = _now()
        due = session.next_due(now)
        try:
            async with asyncio.timeout(None if due is None else max(due - now, _SHORTEST_WAIT_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            pass

    # -- doing ---------------------------------------------------------------------------------------------------------

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            self._do_one(action)
        self._wake.set()

    def _do_one(self, action: Action) -> None:
        match action:
            case ObtainKey():
                self._start(self._obtain_key())
            case KeepKeyAlive(key):
                self._start(self._keep_alive(key))
            case Connect(socket, key):
                task = self._tasks.create_task(self._serve(socket, key))
                self._serving[socket] = task
                task.add_done_callback(lambda _: self._serving.pop(socket))
            case Ping(socket):
                self._start(self._ping(socket))
            case Close(socket, reason):
                _log.info("user_stream_closed", account=self._account, socket=socket, reason=reason)
                self._serving[socket].cancel()
            case Backfill(reason):
                _log.info("user_stream_backfill", account=self._account, reason=reason)
                self._consumer.on_backfill(reason)
            case Alarm(kind, text):
                _log.warning("user_stream_stale", account=self._account, reason=text)
                self._consumer.on_alarm(kind, text)
            case Clear(kind):
                _log.info("user_stream_whole", account=self._account)
                self._consumer.on_clear(kind)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.create_task(work)  # it ends soon, and the group waits for it

    # -- the listen key ------------------------------------------------------------------------------------------------

    async def _obtain_key(self) -> None:
        session = self._running()
        try:
            key = await self._keys.obtain()
        except (AccountMonitorError, TransportError) as error:
            _log.warning("listen_key_not_obtained", account=self._account, error=str(error))
            self._do(session.key_failed(_now(), str(error), refused=_is_refusal(error)))
        else:
            self._do(session.key_obtained(_now(), key))

    async def _keep_alive(self, key: str) -> None:
        session = self._running()
        try:
            extended = await self._keys.keep_alive(key)
        except (AccountMonitorError, TransportError) as error:
            _log.warning("listen_key_not_extended", account=self._account, error=str(error))
            if isinstance(error, VenueRefused) and error.code == NO_SUCH_LISTEN_KEY:
                self._do(session.keepalive_refused(_now(), key))
                return
            self._do(session.keepalive_failed(_now(), key, str(error), refused=_is_refusal(error)))
        else:
            self._do(session.keepalive_ok(_now(), key, extended))

    # -- sockets -------------------------------------------------------------------------------------------------------

    async def _serve(self, number: int, key: str) -> None:
        """Connect, and read until the connection ends or the session wants it closed."""
        socket = await self._connect(number, key)
        if socket is None:
            return
        self._open[number] = socket
        try:
            self._do(self._running().connected(_now(), number))
            await self._read(number, key, socket)
        finally:
            del self._open[number]
            await socket.close()

    async def _connect(self, number: int, key: str) -> Socket | None:
        try:
            socket = await self._transport.connect(self._url + quote(key, safe=""), timeout_seconds=_CONNECT_SECONDS)
        except TransportError as error:
            reason = _without(key, str(error))
            _log.warning("user_stream_not_connected", account=self._account, socket=number, error=reason)
            is_banned = error.status in BANNED
            self._do(self._running().connect_failed(_now(), number, reason, is_banned=is_banned))
            return None
        self._connections += 1
        self.reconnects = self._connections - 1
        _log.info("user_stream_connected", account=self._account, socket=number)
        return socket

    async def _read(self, number: int, key: str, socket: Socket) -> None:
        session, consumer = self._running(), self._consumer
        count = 0
        while True:
            session.hold(_now(), number)
            await consumer.wait_for_room()
            session.release(_now(), number)
            frame = await socket.receive()
            match frame:
                case Text(payload):
                    self._take(number, key, payload)
                    count += 1
                    if count % _AT_ONCE == 0:
                        await asyncio.sleep(0)
                case Pong():
                    self._do(session.pong(_now(), number))
                case Closed(code, reason):
                    reason = _without(key, reason)
                    _log.warning("user_stream_lost", account=self._account, socket=number, code=code, reason=reason)
                    self._do(session.closed(_now(), number, code, reason))
                    return

    def _take(self, number: int, key: str, payload: bytes) -> None:
        session = self._running()
        self._consumer.on_message(payload, self._clock_ms())
        actions = session.heard(_now(), number)
        if actions:
            self._do(actions)
        expired = _expired_key(payload, key)
        if expired is not None:
            _log.info("listen_key_expired", account=self._account, socket=number)
            self._do(session.key_expired(_now(), expired))

    async def _ping(self, number: int) -> None:
        socket = self._open.get(number)
        if socket is None:
            return
        try:
            await socket.ping()
        except TransportError:
            pass  # whoever reads it hears of its end, or of nothing, for too long

    def _running(self) -> UserStreamSession:
        assert self._session is not None, "only run() starts what asks for it"
        return self._session


def _now() -> float:
    return asyncio.get_running_loop().time()


def _expired_key(payload: bytes, key: str) -> str | None:
    """Return the key that the message says has expired; where it names none, the one that this socket was opened on."""
    if _EXPIRED not in payload:
        return None
    try:
        event = user_event(payload)
    except MalformedEvent:
        return None  # the consumer parks it
    return (event.key or key) if isinstance(event, ListenKeyExpired) else None


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, VenueRefused) and error.is_about_the_key


def _without(key: str, text: str) -> str:
    return text.replace(key, "***") if key else text
