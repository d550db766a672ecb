"""The server: puts an exchange on real sockets. HTTP and WebSocket share one port; nothing is decided here."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import struct
from collections.abc import Callable

from aiohttp import WSMsgType, web

from exchange_simulator.admin import PREFIX, Admin
from exchange_simulator.exchange import Exchange
from exchange_simulator.wire import (
    Binary,
    Close,
    Cut,
    Output,
    Ping,
    Pong,
    Refused,
    Reply,
    Request,
    Text,
    error_reply,
)

_HANG_SECONDS = 60.0
_LOOK_SECONDS = 0.1  # how often a request that hangs looks whether its client is still there
_MOST_BEHIND = 50_000  # frames that may wait for a slow reader
_LARGEST_MESSAGE = 1 << 20  # bytes a client may send at once
_CLOSE_SECONDS = 0.3  # how long a client has to answer a close frame
_IDLE_MS = 50  # the driver looks at least this often

_log = logging.getLogger(__name__)


class Server:
    """An exchange on one port. `every`: so many milliseconds, something else is done, by a bot for one."""

    def __init__(self, exchange: Exchange, admin: Admin, every: tuple[int, Callable[[], None]] | None = None) -> None:
        self._exchange = exchange
        self._admin = admin
        self._every = every
        self._runner: web.ServerRunner | None = None
        self._driver: asyncio.Task[None] | None = None
        self._transports: set[asyncio.Transport] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen, and let time pass for the exchange. Return the port. Raises: OSError."""
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, reuse_address=True)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._driver = asyncio.create_task(self._drive())
        taken: int = self._runner.addresses[0][1]
        return taken

    async def stop(self) -> None:
        """End every connection and stop listening."""
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        self._exchange.disconnect(code=1001)
        await asyncio.sleep(0.05)  # the close frames go out
        for transport in list(self._transports):
            transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    async def run_driver(self) -> None:
        """Wait for the driver, which only ends with an error."""
        assert self._driver is not None, "start first"
        await asyncio.shield(self._driver)

    async def _drive(self) -> None:
        venue = self._exchange.venue
        next_ms = venue.now()
        while True:
            if self._every is not None and venue.now() >= next_ms:
                milliseconds, act = self._every
                next_ms = venue.now() + milliseconds
                act()
            self._exchange.advance()
            due_ms = self._exchange.next_due_ms()
            wait_ms = _IDLE_MS if due_ms is None else min(_IDLE_MS, max(1, due_ms - venue.now()))
            await asyncio.sleep(wait_ms / 1000)

    # -- HTTP

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            self._transports = {known for known in self._transports if not known.is_closing()}
            self._transports.add(request.transport)
        path, _, query = request.raw_path.partition("?")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request, path, query)
        return await _put(request, await self._answer(request, path, query))

    async def _answer(self, request: web.BaseRequest, path: str, query: str) -> Reply:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return error_reply(413, -1130, "The body is too large.")
        ip = request.remote or ""
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            if path.startswith(PREFIX):
                if not _is_loopback(ip):
                    return error_reply(403, -2015, "Only from this machine.")
                return self._admin.handle(request.method, path, query, body)
            return self._exchange.handle(Request(request.method, path, query, body, headers, ip))
        except Exception:  # noqa: BLE001  # logged and counted: the other clients go on
            self._exchange.defects += 1
            _log.exception("request failed: %s %s", request.method, path)
            return error_reply(500, -1000, "An unknown error occurred while processing the request.")

    # -- WebSocket

    async def _socket(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        queue: asyncio.Queue[Output] = asyncio.Queue()
        too_slow = asyncio.Event()

        def put(output: Output) -> None:
            if queue.qsize() >= _MOST_BEHIND:
                too_slow.set()
            else:
                queue.put_nowait(output)

        ws = web.WebSocketResponse(
            autoping=False, autoclose=False, timeout=_CLOSE_SECONDS, max_msg_size=_LARGEST_MESSAGE
        )
        if not ws.can_prepare(request):
            return await _put(request, error_reply(400, -1130, "This is no WebSocket handshake."))
        try:
            connection = self._exchange.connect(path, query, put, request.remote or "")
        except Refused as refused:
            return await _put(request, refused.reply)
        await ws.prepare(request)
        writer = asyncio.create_task(_write(ws, request, queue, too_slow))
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    connection.receive_text(message.data)
                elif message.type is WSMsgType.BINARY:
                    connection.receive_text(message.data.decode("utf-8", "replace"))
                elif message.type is WSMsgType.PING:
                    connection.receive_ping(bytes(message.data))
                elif message.type is WSMsgType.PONG:
                    connection.receive_pong(bytes(message.data))
        finally:
            connection.closed()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if not ws.closed:
                await ws.close()
        return ws


async def _put(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Put an answer on the wire, as far as it shall come."""
    if reply.delay_ms:
        await _wait_while_connected(request, reply.delay_ms / 1000)
    if reply.fate == "hang":
        await _wait_while_connected(request, _HANG_SECONDS)
    if reply.fate in ("hang", "reset"):
        _abort(request)
        return web.Response(status=500)  # goes nowhere
    if reply.fate == "cut":
        response = web.StreamResponse(
            status=reply.status, headers={**reply.headers, "Content-Length": str(len(reply.body))}
        )
        await response.prepare(request)
        await response.write(reply.body[: len(reply.body) // 2])
        await _flush(request)
        _abort(request)
        return response
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


async def _write(
    ws: web.WebSocketResponse, request: web.BaseRequest, queue: asyncio.Queue[Output], too_slow: asyncio.Event
) -> None:
    """Put outputs on the wire until the connection ends."""
    try:
        while not too_slow.is_set():
            output = await queue.get()
            match output:
                case Text():
                    await ws.send_frame(output.payload, WSMsgType.TEXT)
                case Binary(payload):
                    await ws.send_frame(payload, WSMsgType.BINARY)
                case Ping(payload):
                    await ws.ping(payload)
                case Pong(payload):
                    await ws.pong(payload)
                case Close(code, reason):
                    await ws.close(code=code, message=reason.encode())
                    return
                case Cut(partial, announced):
                    await _cut(request, partial, announced)
                    return
        _abort(request)
    except (ConnectionError, RuntimeError):  # the client is gone, or going
        return


async def _cut(request: web.BaseRequest, partial: bytes, announced: int) -> None:
    """Begin a text frame, if one was announced, and end TCP in its middle."""
    transport = request.transport
    if transport is not None and announced:
        transport.write(_frame_header(announced) + partial)
        await _flush(request)
    _abort(request)


def _frame_header(length: int) -> bytes:
    text = 0x80 | 0x1  # the last frame of its message, text
    if length < 126:
        return struct.pack("!BB", text, length)
    if length < 1 << 16:
        return struct.pack("!BBH", text, 126, length)
    return struct.pack("!BBQ", text, 127, length)


async def _flush(request: web.BaseRequest) -> None:
    """Wait until what was written has left, a second at most."""
    for _ in range(100):
        transport = request.transport
        if transport is None or not transport.get_write_buffer_size():
            return
        await asyncio.sleep(0.01)


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _wait_while_connected(request: web.BaseRequest, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        if request.transport is None or request.transport.is_closing():
            return
        await asyncio.sleep(min(_LOOK_SECONDS, left))


def _is_loopback(ip: str) -> bool:
    try:
        return ipaddress.ip_address(ip).is_loopback
    except ValueError:
        return False
