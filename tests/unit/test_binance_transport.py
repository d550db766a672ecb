"""The network transport: what comes back whole, what is an error, and that no error tells a secret."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from account_monitor.feeds.binance import transport as transport_module
from account_monitor.feeds.binance.transport import (
    AiohttpTransport,
    Closed,
    HttpReply,
    Pong,
    Socket,
    Text,
    TransportError,
    shown_url,
)

KEY = "KEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKEYK"
QUERY = "timestamp=1&signature=5161ed"

Handler = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Run a server that answers each connection's first request by `handler`; yield its host and port."""
    writers = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await handler(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()


def answering(payload: bytes) -> Handler:
    """Send these bytes and end the connection."""

    async def handler(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(payload)
        await writer.drain()

    return handler


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def opened() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    try:
        yield transport
    finally:
        await transport.close()


async def asked(handler: Handler, *, timeout_seconds: float = 5) -> HttpReply:
    async with serving(handler) as host, opened() as transport:
        url = f"http://{host}/fapi/v3/account?{QUERY}"
        headers = {"X-MBX-APIKEY": KEY}
        return await transport.request("GET", url, headers=headers, timeout_seconds=timeout_seconds)


async def failed(handler: Handler, *, timeout_seconds: float = 5) -> str:
    """Return how a request fails, having looked for what the text must not hold."""
    with pytest.raises(TransportError) as error:
        await asked(handler, timeout_seconds=timeout_seconds)
    text = f"{error.value!s} {error.value!r}"
    for secret in (KEY, "signature", "5161ed", "timestamp"):
        assert secret not in text
    assert error.value.__suppress_context__
    return str(error.value)


# -- requests ----------------------------------------------------------------------------------------------------------


async def test_an_answer_comes_with_status_lower_case_headers_and_body() -> None:
    reply = await asked(answering(answer(b'{"a":1}', "X-MBX-Used-Weight-1M: 12", status="418 I'm a teapot")))

    assert (reply.status, reply.headers["x-mbx-used-weight-1m"], reply.body) == (418, "12", b'{"a":1}')


async def test_what_was_signed_is_sent_unchanged() -> None:
    seen: list[bytes] = []

    async def handler(head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(head)
        writer.write(answer(b"{}"))

    async with serving(handler) as host, opened() as transport:
        url = f"http://{host}/a?symbol=%E5%B8%81USDT&b=%2B+%7e&signature=x%3D"
        await transport.request("GET", url, headers={"X-MBX-APIKEY": KEY}, timeout_seconds=5)

    assert seen[0].startswith(b"GET /a?symbol=%E5%B8%81USDT&b=%2B+%7e&signature=x%3D HTTP/1.1\r\n")
    assert f"X-MBX-APIKEY: {KEY}".encode() in seen[0]


async def test_a_redirect_is_an_answer() -> None:
    reply = await asked(answering(answer(b"", "Location: http://127.0.0.1:1/", status="302 Found")))

    assert reply.status == 302


async def test_a_packed_body_is_unpacked() -> None:
    body = b'{"a":1}' * 1000

    assert (await asked(answering(answer(gzip.compress(body), "Content-Encoding: gzip")))).body == body
    assert (await asked(answering(answer(zlib.compress(body), "Content-Encoding: deflate")))).body == body


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "ServerDisconnectedError"),
        (answer(b'{"a":', length=7), "ClientPayloadError"),
        (b"HTTP/9\r\n\r\n", "the answer is no HTTP"),
        (answer(gzip.compress(b"{}" * 99)[:-9], "Content-Encoding: gzip"), "the packed body is cut or broken"),
        (answer(b"not gzip", "Content-Encoding: gzip"), "the packed body is cut or broken"),
        (answer(b"x", "Content-Encoding: br"), "the body is packed in a way that nobody asked for"),
    ],
    ids=["reset", "cut", "no HTTP", "gzip cut", "no gzip", "unknown"],
)
async def test_an_answer_that_is_not_whole_is_an_error(payload: bytes, said: str) -> None:
    assert said in await failed(answering(payload))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
async def test_a_body_that_is_too_large_is_an_error(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "MAX_BODY_BYTES", 1000)
    body = b" " * 100_000
    payload = answer(gzip.compress(body), "Content-Encoding: gzip") if packed else answer(body)

    assert "the body is larger than 1,000 bytes" in await failed(answering(payload))


async def test_silence_is_an_error_after_the_time_given() -> None:
    async def silent(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    said = await failed(silent, timeout_seconds=0.05)

    assert said.startswith("GET http://127.0.0.1:")
    assert said.endswith("/fapi/v3/account: no answer within 0.05 s")


async def test_a_body_that_trickles_ends_with_the_time_given() -> None:
    async def trickling(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", length=1000))
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert "no answer within 0.1 s" in await failed(trickling, timeout_seconds=0.1)


async def test_nobody_there_is_an_error() -> None:
    async with serving(answering(b"")) as host:
        pass
    async with opened() as transport:
        with pytest.raises(TransportError, match=r"connection refused$"):
            await transport.request("GET", f"http://{host}/x?{QUERY}", headers={}, timeout_seconds=1)
        with pytest.raises(TransportError, match=r"connection refused$"):
            await transport.connect(f"ws://{host}/x?{QUERY}", timeout_seconds=1)


async def test_after_closing_nothing_is_asked() -> None:
    transport = AiohttpTransport()
    await transport.close()

    with pytest.raises(TransportError, match="closed here"):
        await transport.request("GET", "http://127.0.0.1:1/", headers={}, timeout_seconds=1)


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    assert shown_url(f"wss://user:pass@host:9443/private/ws/{KEY}?listenKey={KEY}#x") == (
        "wss://host:9443/private/ws/KEYKEY…"
    )


# -- WebSocket ---------------------------------------------------------------------------------------------------------


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a frame of a server, at most 125 bytes."""
    return bytes([0x80 | opcode, len(payload)]) + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return opcode and payload of a client's frame, at most 125 bytes."""
    first, second = await reader.readexactly(2)
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(second & 0x7F)
    return first & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def speaking(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Handler:
    """Shake hands and let `talk` go on."""

    async def handler(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        key = line.split(b":")[1].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        await talk(reader, writer)

    return handler


@asynccontextmanager
async def connected(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Socket]:
    async with serving(speaking(talk)) as host, opened() as transport:
        socket = await transport.connect(f"ws://{host}/private/ws?listenKey={KEY}", timeout_seconds=5)
        try:
            yield socket
        finally:
            await socket.close()


async def test_messages_come_as_bytes_text_and_binary_alike() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, b'{"a":"\xff"}') + frame(2, b"\x00\x01") + frame(8, b"\x03\xe8bye"))

    async with connected(talk) as socket:
        assert [await socket.receive() for _ in range(4)] == [
            Text(b'{"a":"\xff"}'), Text(b"\x00\x01"), Closed(1000, "bye"), Closed(1000, "bye"),
        ]  # fmt: skip


async def test_a_ping_of_the_exchange_is_answered_and_not_seen() -> None:
    heard: list[tuple[int, bytes]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(9, b"1736996475556"))
        heard.append(await read_frame(reader))
        writer.write(frame(1, b"{}"))
        await read_frame(reader)

    async with connected(talk) as socket:
        assert await socket.receive() == Text(b"{}")

    assert heard == [(10, b"1736996475556")]


async def test_our_ping_is_answered_by_a_pong_that_is_seen() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opcode, payload = await read_frame(reader)
        assert opcode == 9
        writer.write(frame(10, payload))
        opcode, payload = await read_frame(reader)
        writer.write(frame(opcode, payload))
        await read_frame(reader)

    async with connected(talk) as socket:
        await socket.ping()
        assert await socket.receive() == Pong()
        await socket.send_text("hello")
        assert await socket.receive() == Text(b"hello")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", 1006),
        (frame(1, b"whole")[:4], 1006),
        (frame(1, b"x" * 100)[:1], 1006),
        (b"\x8f\x00", 1002),
        (bytes([0x81, 127]) + (1 << 40).to_bytes(8, "big"), 1009),
        (frame(8, b"\x03\xf0policy"), 1008),
        (frame(8, b""), 1006),
    ],
    ids=["end", "mid-frame", "first byte", "no such frame", "too large", "policy", "no code"],
)
async def test_every_end_has_a_code(payload: bytes, code: int) -> None:
    async with connected(lambda _reader, writer: _sent(writer, payload)) as socket:
        frame_ = await asyncio.wait_for(socket.receive(), 5)

        assert isinstance(frame_, Closed)
        assert frame_.code == code
        assert await socket.receive() == frame_


async def _sent(writer: asyncio.StreamWriter, payload: bytes) -> None:
    writer.write(payload)
    await writer.drain()


async def test_a_reset_in_the_middle_of_a_frame_is_an_abnormal_end() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, b"whole") + frame(1, b"half")[:3])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    async with connected(talk) as socket:
        assert await socket.receive() == Text(b"whole")
        end = await socket.receive()
        assert isinstance(end, Closed)
        assert end.code == 1006


async def test_a_connection_that_is_gone_takes_nothing() -> None:
    async with connected(lambda _reader, writer: _sent(writer, b"")) as socket:
        await socket.receive()
        with pytest.raises(TransportError, match="WebSocket message: "):
            await socket.send_text("x")
        with pytest.raises(TransportError, match="WebSocket ping: "):
            await socket.ping()


async def test_closing_here_ends_a_receive_that_waits() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opcode, payload = await read_frame(reader)
        writer.write(frame(opcode, payload))

    async with connected(talk) as socket:
        waiting = asyncio.create_task(socket.receive())
        await asyncio.sleep(0.01)
        await socket.close()

        assert await waiting == Closed(1000, "closed here")
        assert await socket.receive() == Closed(1000, "closed here")


async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frame(reader)
        writer.write(frame(1, b"late"))
        await reader.read()

    async with connected(talk) as socket:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.receive(), 0.02)
        await socket.send_text("now")

        assert await socket.receive() == Text(b"late")


async def test_no_number_of_connections_keeps_a_request_waiting() -> None:
    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def handler(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (speaking(listen) if b"Upgrade" in head else answering(answer(b"{}")))(head, reader, writer)

    async with serving(handler) as host, opened() as transport:
        url = f"ws://{host}/private/ws?listenKey={KEY}"
        sockets = [await transport.connect(url, timeout_seconds=5) for _ in range(150)]
        reply = await transport.request("GET", f"http://{host}/fapi/v3/account", headers={}, timeout_seconds=5)

        assert (len(sockets), reply.body) == (150, b"{}")


async def test_a_handshake_that_is_refused_says_with_which_status_and_nothing_secret() -> None:
    reply = answer(b"", "Retry-After: 600", status="403 Forbidden")
    async with serving(answering(reply)) as host, opened() as transport:
        with pytest.raises(TransportError, match="the handshake was answered with HTTP 403") as error:
            await transport.connect(f"ws://{host}/private/ws/{KEY}?listenKey={KEY}", timeout_seconds=5)

    assert (error.value.status, error.value.retry_after_seconds) == (403, 600)
    assert KEY not in repr(error.value)


async def test_a_handshake_that_is_never_answered_ends() -> None:
    async def silent(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as host, opened() as transport:
        with pytest.raises(TransportError, match=r"no answer within 0.05 s"):
            await transport.connect(f"ws://{host}/ws?listenKey={KEY}", timeout_seconds=0.05)
