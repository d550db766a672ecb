"""Transport: how do bytes get to the exchange and back? The only file of this feed that does I/O.

What went wrong is said without query string, headers or listen key: a query holds the signature of a request.
"""

from __future__ import annotations

import asyncio
import os
import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple, NoReturn, Protocol, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientTimeout, ClientWSTimeout, WSMsgType
from aiohttp.http_websocket import WebSocketError
from yarl import URL

MAX_BODY_BYTES = 16 << 20
"""Of one answer after unpacking, and of one message: exchangeInfo, the largest, has a tenth of it."""

ABNORMAL = 1006
"""The code of a connection that ended without a closing frame."""

_NORMAL = 1000
_SEND_SECONDS = 10.0  # a frame that the kernel does not take for so long goes into a dead connection
_CLOSE_SECONDS = 2.0  # the exchange's closing frame is a courtesy
_UNPACK_ANY = 32 + zlib.MAX_WBITS  # zlib or gzip, whichever the header says
_FAILURES = (aiohttp.ClientError, OSError, EOFError, ValueError, zlib.error, WebSocketError)  # OSError: time-outs too

_is_count = re.compile(r" *([0-9]{1,9}) *").fullmatch
_is_opaque = re.compile(r"[A-Za-z0-9]{32,}").fullmatch


class HttpReply(NamedTuple):
    """What the exchange answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TransportError(Exception):
    """No answer, no connection, or a broken one; whether a request took effect is unknown.

    `status` is the HTTP status with which a WebSocket handshake was refused, None for everything else, and
    `retry_after_seconds` how long to wait before another, where the exchange said so.
    """

    def __init__(self, text: str, *, status: int | None = None, retry_after_seconds: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Text(NamedTuple):
    """A message; binary ones too. The bytes are as they came: not checked for UTF-8."""

    payload: bytes


class Pong(NamedTuple):
    """The exchange's answer to a ping of ours, or an unsolicited one."""

    payload: bytes = b""


class Closed(NamedTuple):
    """The end: 1000 and others from a closing frame, 1006 for a connection that just ended, 1002 for a broken frame,
    1009 for a message that is too large."""

    code: int
    reason: str


Frame: TypeAlias = Text | Pong | Closed


class Socket(Protocol):
    """A WebSocket connection. The exchange's pings are answered inside `receive`."""

    async def receive(self) -> Frame:
        """Return the next frame; after Closed always Closed. Only one task may wait here; it may be cancelled."""

    async def send_text(self, text: str) -> None:
        """Send a message. Raises: TransportError."""

    async def ping(self) -> None:
        """Send a ping, which is answered with a Pong. Raises: TransportError."""

    async def close(self) -> None:
        """Close the connection, from any task. Never raises."""


class Transport(Protocol):
    """Requests and WebSocket connections: over the network, or in memory in tests."""

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        """Return the whole answer, whatever its status; redirects are not followed. Raises: TransportError."""

    async def connect(self, url: str, *, timeout_seconds: float) -> Socket:
        """Return an open connection. Raises: TransportError."""


class AiohttpTransport:
    """The network. One session, opened with the first request."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        """Return the whole answer, whatever its status; redirects are not followed. Raises: TransportError."""
        try:
            async with self._opened().request(
                method,
                URL(url, encoded=True),  # what was signed is what is sent
                headers={"Accept-Encoding": "gzip", **headers},
                timeout=ClientTimeout(total=timeout_seconds),
                allow_redirects=False,
            ) as response:
                body = await _whole_body(response)
                return HttpReply(response.status, {k.lower(): v for k, v in response.headers.items()}, body)
        except _FAILURES as error:
            _fail(f"{method} {shown_url(url)}", error, timeout_seconds)

    async def connect(self, url: str, *, timeout_seconds: float) -> Socket:
        """Return an open connection. Raises: TransportError."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return AiohttpSocket(
                    await self._opened().ws_connect(
                        URL(url, encoded=True),
                        timeout=ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                        autoping=False,  # pongs would not be seen
                        max_msg_size=MAX_BODY_BYTES,
                        decode_text=False,
                    )
                )
        except _FAILURES as error:
            _fail(f"WebSocket {shown_url(url)}", error, timeout_seconds)

    async def close(self) -> None:
        """Close every connection; nothing can be asked afterwards."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise TransportError("the connections to the exchange were closed here")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Sockets keep their connection: with the usual hundred, the hundredth account would wait for ever.
                # How many there are is up to the accounts: two sockets and a few requests each.
                connector=aiohttp.TCPConnector(limit=0),
                headers={"User-Agent": "account-monitor"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # it takes a cut gzip body for a whole one
                trust_env=False,
            )
        return self._session


class AiohttpSocket:
    """A WebSocket connection over the network."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._connection = connection
        self._end: Closed | None = None

    async def receive(self) -> Frame:
        """Return the next frame; after Closed always Closed. Only one task may wait here; it may be cancelled."""
        while self._end is None:
            message = await self._connection.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    return Text(bytes(message.data))  # decode_text is off
                case WSMsgType.PONG:
                    return Pong(bytes(message.data))  # it may be a bytearray
                case WSMsgType.PING:
                    await self._answer(bytes(message.data))
                case WSMsgType.CLOSE:
                    code = message.data
                    self._ended(code if isinstance(code, int) and code else ABNORMAL, message.extra or "")
                case WSMsgType.ERROR if isinstance(message.data, WebSocketError):
                    self._ended(message.data.code, "the frame was broken or too large")
                case WSMsgType.ERROR:
                    self._ended(ABNORMAL, _cause(message.data))
                case _:  # the end of the stream without a closing frame
                    self._ended(ABNORMAL, "the connection ended")
        return self._end

    async def send_text(self, text: str) -> None:
        """Send a message. Raises: TransportError."""
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._connection.send_str(text)
        except _FAILURES as error:
            _fail("WebSocket message", error, _SEND_SECONDS)

    async def ping(self) -> None:
        """Send a ping, which is answered with a Pong. Raises: TransportError."""
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._connection.ping()
        except _FAILURES as error:
            _fail("WebSocket ping", error, _SEND_SECONDS)

    async def close(self) -> None:
        """Close the connection, from any task. Never raises."""
        self._ended(_NORMAL, "closed here")
        try:
            await self._connection.close()
        except _FAILURES:
            pass  # it is as closed as it can be

    async def _answer(self, payload: bytes) -> None:
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._connection.pong(payload)
        except _FAILURES:
            pass  # a connection that takes no frames has a next frame: its end

    def _ended(self, code: int, reason: str) -> None:
        if self._end is None:
            self._end = Closed(code, reason)


async def _whole_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, unpacked. Raises: EOFError for one that is cut, ValueError for one that is too large."""
    packed = bytearray()
    async for chunk in response.content.iter_any():
        packed += chunk
        if len(packed) > MAX_BODY_BYTES:
            raise _TooLarge
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity" or not packed:
        return bytes(packed)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise _UnknownEncoding
    unpacker = zlib.decompressobj(_UNPACK_ANY)
    body = unpacker.decompress(bytes(packed), MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise _TooLarge
    if not unpacker.eof:
        raise EOFError
    return body


class _TooLarge(ValueError):
    pass


class _UnknownEncoding(ValueError):
    pass


def shown_url(url: str) -> str:
    """Return the URL without what may be secret: user, query, and a listen key in the path."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    path = "/".join(f"{word[:6]}…" if _is_opaque(word) else word for word in parts.path.split("/"))
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{path}"


def _fail(what: str, error: BaseException, timeout_seconds: float) -> NoReturn:
    """Raise the failure in words of our own: those of libraries quote the URL."""
    if isinstance(error, TimeoutError):
        raise TransportError(f"{what}: no answer within {timeout_seconds:g} s") from None
    if not isinstance(error, aiohttp.WSServerHandshakeError):
        raise TransportError(f"{what}: {_cause(error)}") from None
    retry_after_seconds = count_in(None if error.headers is None else error.headers.get("Retry-After"))
    raise TransportError(
        f"{what}: {_cause(error)}", status=error.status, retry_after_seconds=retry_after_seconds
    ) from None


def count_in(text: str | None) -> int | None:
    """Return the whole number that a header holds, None where it holds none."""
    found = _is_count(text or "")
    return int(found[1]) if found else None


def _cause(error: object) -> str:
    match error:
        case aiohttp.WSServerHandshakeError():
            return f"the handshake was answered with HTTP {error.status}"
        case aiohttp.ClientConnectorDNSError():
            return "the name of the host is not known"
        case aiohttp.ClientConnectorError() | OSError() if error.errno is not None:
            return os.strerror(error.errno).lower()
        case aiohttp.ClientResponseError():
            return "the answer is no HTTP"
        case _TooLarge():
            return f"the body is larger than {MAX_BODY_BYTES:,} bytes"
        case _UnknownEncoding():
            return "the body is packed in a way that nobody asked for"
        case EOFError() | zlib.error():
            return "the packed body is cut or broken"
        case _:
            return type(error).__name__
