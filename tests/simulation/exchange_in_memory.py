"""The simulated exchange as a transport in memory: the feed's own requests and sockets, in virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from urllib.parse import urlsplit

from account_monitor.feeds.binance.transport import (
    ABNORMAL,
    Closed,
    Frame,
    HttpReply,
    Pong,
    Text,
    TransportError,
    count_in,
)
from exchange_simulator import exchange as venue_side
from exchange_simulator.exchange import Exchange, Reply, Request

_LATENCY_SECONDS = (0.005, 0.050)


class InMemoryTransport:
    """Carries what the feed sends to an Exchange and back, with a latency, and with the fates that faults give it."""

    def __init__(self, exchange: Exchange, *, seed: int) -> None:
        self.exchange = exchange
        self.requests: list[tuple[int, str, str, int]] = []
        """(time, method, path, status) of each."""
        self.urls: list[str] = []
        """Of every connection, as the feed asked for it."""
        self.too_early: list[str] = []
        """What left although the exchange had said, and the answer had come, that nothing may."""
        self._limited_until_ms = 0
        self.rewrite: Callable[[str], str] = lambda url: url
        """What becomes of the URLs of connections on the way, as through a proxy or a wrong setting."""
        self._chance = Random(seed)

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        parts = urlsplit(url)
        self._note_sent(parts.path)
        await self._travel()
        names = {name.lower(): value for name, value in headers.items()}
        reply = self.exchange.handle(Request(method, parts.path, parts.query, b"", names))
        self.requests.append((self.exchange.venue.now(), method, parts.path, reply.status))
        if reply.fate == "hang" or reply.delay_ms / 1000 > timeout_seconds:
            await asyncio.sleep(timeout_seconds)
            raise TransportError(f"{method} {parts.path}: no answer after {timeout_seconds} s")
        await asyncio.sleep(reply.delay_ms / 1000)
        await self._travel()
        self._note_limit(reply)
        if reply.fate != "answer":
            raise TransportError(f"{method} {parts.path}: the connection was lost")
        return HttpReply(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)

    async def connect(self, url: str, *, timeout_seconds: float) -> InMemorySocket:
        self.urls.append(url)
        parts = urlsplit(self.rewrite(url))
        self._note_sent(parts.path)
        await self._travel()
        socket = InMemorySocket()
        try:
            socket.open(self.exchange.connect(parts.path, parts.query, socket.put))
        except venue_side.Refused as refused:
            if refused.reply.fate == "hang":
                await asyncio.sleep(timeout_seconds)
                raise TransportError("no handshake") from None
            self._note_limit(refused.reply)
            retry_after_seconds = count_in(refused.reply.headers.get("Retry-After"))
            raise TransportError(
                f"handshake refused: HTTP {refused.status}",
                status=refused.status,
                retry_after_seconds=retry_after_seconds,
            ) from None
        return socket

    async def drive(self) -> None:
        """Let the exchange do what is due, until cancelled."""
        while True:
            now_ms, due_ms = self.exchange.venue.now(), self.exchange.next_due_ms()
            wait_ms = 1000 if due_ms is None else min(max(due_ms - now_ms, 1), 1000)
            await asyncio.sleep(wait_ms / 1000)
            self.exchange.advance()

    def _note_sent(self, path: str) -> None:
        if self.exchange.venue.now() < self._limited_until_ms:
            self.too_early.append(path)

    def _note_limit(self, reply: Reply) -> None:
        if reply.status in (418, 429):
            until_ms = self.exchange.venue.now() + int(reply.headers["Retry-After"]) * 1000
            self._limited_until_ms = max(self._limited_until_ms, until_ms)

    async def _travel(self) -> None:
        await asyncio.sleep(self._chance.uniform(*_LATENCY_SECONDS))


class InMemorySocket:
    """One connection, as the feed sees it."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._arrived = asyncio.Event()
        self._end: Closed | None = None
        self._connection: venue_side.Connection | None = None

    def open(self, connection: venue_side.Connection) -> None:
        self._connection = connection

    def put(self, output: venue_side.Output) -> None:
        """Take what the exchange puts on the wire."""
        match output:
            case venue_side.Text():
                self._frames.append(Text(output.payload))
            case venue_side.Binary(payload):
                self._frames.append(Text(payload))
            case venue_side.Ping(payload):
                if self._connection is not None:
                    self._connection.receive_pong(payload)
            case venue_side.Pong(payload):
                self._frames.append(Pong(payload))
            case venue_side.Close(code, reason):
                self._frames.append(Closed(code, reason))
            case venue_side.Cut():
                self._frames.append(Closed(ABNORMAL, "the connection was cut"))
        self._arrived.set()

    async def receive(self) -> Frame:
        while not self._frames:
            if self._end is not None:
                return self._end
            self._arrived.clear()
            await self._arrived.wait()
        frame = self._frames.popleft()
        if isinstance(frame, Closed):
            self._end = frame
            self._frames.clear()
        return frame

    async def send_text(self, text: str) -> None:
        self._running().receive_text(text)

    async def ping(self) -> None:
        self._running().receive_ping(b"")

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.closed()
        self._end = self._end or Closed(1000, "closed by us")
        self._arrived.set()

    def _running(self) -> venue_side.Connection:
        if self._connection is None or self._end is not None:
            raise TransportError("the connection is closed")
        return self._connection
