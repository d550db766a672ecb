"""Clients of HTTP that are slow, many or malformed: each costs a bounded part of the process, for a bounded time."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import aiohttp
import pytest

from account_monitor.api import protocol, rendering
from account_monitor.api.descriptors import RESERVED_FILES, Descriptors
from account_monitor.api.problems import Refused
from account_monitor.api.server import MAX_HEAD_BYTES
from account_monitor.api.turnstile import Turnstile
from tests.integration.trading_desk import TradingDesk, eventually, get, trading_desk

pytestmark = pytest.mark.integration

SECONDS = 0.4
"""How long a request may take here."""

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TradingDesk]:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", SECONDS)
    monkeypatch.setattr(protocol, "TAKE_SECONDS", SECONDS)
    async with trading_desk(tmp_path, max_connections=20) as opened:
        await opened.open()
        try:
            yield opened
        finally:
            for connection in Connection.made:
                connection.writer.transport.abort()
            await asyncio.sleep(0)
            Connection.made.clear()


class Connection:
    """A client that sends what it likes."""

    made: ClassVar[list[Connection]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.made.append(self)

    @classmethod
    async def to(cls, desk: TradingDesk) -> Connection:
        port = int(desk.doors.http_url.rpartition(":")[2])
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, every_seconds: float = 0.02) -> None:
        """Send one byte after the other."""
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(every_seconds)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Return status, headers and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.rstrip().split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        return int(first.split()[1]), headers, await self.reader.readexactly(int(headers[b"content-length"]))

    async def lasts(self) -> float:
        """Return for how many seconds the server keeps the connection."""
        started = time.monotonic()
        async with asyncio.timeout(10):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass
        return time.monotonic() - started


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        HEAD + b"X-Slow: " + b"a" * 200,
        HEAD.replace(b"GET", b"POST") + b"Content-Type: application/json\r\nContent-Length: 200\r\n\r\n" + b" " * 199,
        HEAD.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 40,
    ],
    ids=["says nothing", "a slow head", "a slow body", "slow chunks"],
)
async def test_a_request_that_comes_slowly_is_cut(desk: TradingDesk, request_: bytes) -> None:
    client = await Connection.to(desk)
    dripping = asyncio.create_task(client.drip(request_))

    lasted = await client.lasts()

    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    assert SECONDS * 0.9 < lasted < SECONDS + 2


async def test_a_second_request_has_to_come_in_time_too(desk: TradingDesk) -> None:
    client = await Connection.to(desk)
    await client.send(HEAD + b"\r\n" + HEAD)  # one, and the beginning of another
    assert (await client.answer())[0] == 200

    assert await client.lasts() < SECONDS + 2


async def test_a_connection_that_is_idle_between_requests_is_kept(desk: TradingDesk) -> None:
    client = await Connection.to(desk)
    for _ in range(3):
        await client.send(HEAD + b"\r\n")
        assert (await client.answer())[0] == 200
        await asyncio.sleep(SECONDS * 1.5)

    assert protocol.IDLE_SECONDS == 30


async def test_who_does_not_take_the_answers_is_cut(desk: TradingDesk) -> None:
    client = await Connection.to(desk)
    asking = asyncio.create_task(client.send((HEAD.replace(b"health", b"openapi.json") + b"\r\n") * 2_000))
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]

    await eventually(lambda: len(turnstile(desk)) == 1)
    await eventually(lambda: len(turnstile(desk)) == 0, timeout_seconds=10)

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_too_many_connections_are_told_and_counted_until_they_leave(desk: TradingDesk) -> None:
    clients = [await Connection.to(desk) for _ in range(20)]
    await eventually(lambda: len(turnstile(desk)) == 20)

    status, headers, body = await (await Connection.to(desk)).answer()

    assert status == 503
    assert headers[b"connection"] == b"close"
    assert headers[b"retry-after"] == b"1"
    assert json.loads(body)["type"] == "/docs#too-many-connections"
    for client in clients:
        client.writer.close()
    await eventually(lambda: len(turnstile(desk)) == 0)
    assert await get(desk.doors.http_url + "/health")


async def test_a_websocket_keeps_its_place_and_gives_it_back(desk: TradingDesk) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(desk.doors.http_url + "/ws") as socket:
        await socket.receive_str()
        assert len(turnstile(desk)) == 1

    await eventually(lambda: len(turnstile(desk)) == 0)


async def asks_much_and_upgrades(desk: TradingDesk, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """Ask for more than all buffers hold, and for a WebSocket in the same breath."""
    monkeypatch.setitem(rendering._BODIES, "balance", lambda view: b'"' + b"a" * 8_000_000 + b'"')
    client = await Connection.to(desk)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    await client.send(HEAD.replace(b"/health", b"/api/balance") + b"\r\n")
    await client.send(HEAD.replace(b"/health", b"/ws") + upgrade + key + b"\r\n")
    await asyncio.sleep(SECONDS / 2)
    return client


async def test_a_websocket_behind_a_large_answer_lives_on(desk: TradingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await asks_much_and_upgrades(desk, monkeypatch)

    assert len((await client.answer())[2]) == 8_000_002
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    await asyncio.sleep(SECONDS * 2)

    assert b'"type":"snapshot"' in await client.reader.read(65_536)
    assert len(turnstile(desk)) == 1


async def test_who_upgrades_and_does_not_take_the_answer_before_is_cut(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asks_much_and_upgrades(desk, monkeypatch)
    assert len(turnstile(desk)) == 1

    await eventually(lambda: len(turnstile(desk)) == 0, timeout_seconds=5)
    await eventually(lambda: len(desk.doors.publisher) == 0)


async def test_a_message_of_endless_empty_pieces_ends_the_socket(desk: TradingDesk) -> None:
    client = await Connection.to(desk)
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    await client.send(
        HEAD.replace(b"/health", b"/ws") + b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + key + b"\r\n"
    )
    await client.reader.readuntil(b"\r\n\r\n")
    mask = b"\x80\0\0\0\0"

    await client.send(b"\x01" + mask + (b"\x00" + mask) * 1_000)

    assert await client.lasts() < 5


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        (b"nonsense\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400, "bad-request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad-request"),
        (HEAD + b"X-Large: " + b"a" * MAX_HEAD_BYTES, 431, "head-too-large"),
        (HEAD + b"Content-Length: 65537\r\n\r\n", 413, "body-too-large"),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "wrong-host"),
    ],
    ids=["no HTTP", "no host", "a length that is none", "TLS", "large head", "large body", "foreign host"],
)
async def test_what_is_no_request_is_refused_like_everything_else(
    desk: TradingDesk, request_: bytes, status: int, kind: str
) -> None:
    client = await Connection.to(desk)
    await client.send(request_)

    answered, headers, body = await client.answer()

    assert answered == status
    assert json.loads(body)["type"] == f"/docs#{kind}"
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert b"Traceback" not in body
    assert b"server" not in headers


async def test_nonsense_behind_a_request_ends_the_connection_and_nothing_else(desk: TradingDesk) -> None:
    client = await Connection.to(desk)
    await client.send(HEAD + b"\r\n" + b"nonsense\r\n\r\n")

    await client.lasts()

    assert await get(desk.doors.http_url + "/health")


@pytest.mark.parametrize("path", ["/health", "/docs", "/api/account", "/nowhere", "/ws"])
async def test_every_answer_carries_what_protects_a_browser(desk: TradingDesk, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(desk.doors.http_url + path) as response:
        headers = response.headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cross-origin-opener-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert policy.startswith("default-src 'none'" if path == "/docs" else "default-src 'self'")
    assert "strict-transport-security" not in headers


# -- who is counted ----------------------------------------------------------------------------------------------------


def turnstile(desk: TradingDesk) -> Turnstile:
    return desk.doors._servers[0].server_state.turnstile


def entered(turnstile: Turnstile, *addresses: str) -> int:
    """Return how many of some connections were let in."""
    for number, address in enumerate(addresses):
        with suppress(Refused):
            turnstile.enter(number, address)
    assert turnstile.refused == len(addresses) - len(turnstile)
    return len(turnstile)


def test_one_address_has_its_share_and_this_machine_has_all() -> None:
    assert entered(Turnstile(100, 3), *["203.0.113.7"] * 5, "203.0.113.8") == 4
    assert entered(Turnstile(100, 3), *["127.0.0.1"] * 5, *["::1"] * 5) == 10
    assert entered(Turnstile(7, 3), *["127.0.0.1"] * 9) == 7


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    assert entered(Turnstile(100, 3), *[f"2001:db8::{n:x}" for n in range(5)], "2001:db8:0:1::1") == 4


@pytest.mark.parametrize("soft", [260, 1_024, 65_536])
@pytest.mark.parametrize("with_grpc", [True, False])
def test_the_doors_share_what_descriptors_there_are(
    monkeypatch: pytest.MonkeyPatch, soft: int, with_grpc: bool
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, soft))
    given = Descriptors(with_grpc=with_grpc)

    shares = [given.of_http(), given.of_metrics(), *([given.of_grpc()] if with_grpc else [])]

    assert sum(shares) == soft - RESERVED_FILES
    assert min(shares) >= 1
    assert entered(Turnstile(100_000, 9, lambda: shares[1]), *["127.0.0.1"] * 8_200) == min(shares[1], 8_200)


def test_an_address_of_ipv4_counts_the_same_where_it_comes_as_ipv6() -> None:
    assert entered(Turnstile(100, 3), *["::ffff:203.0.113.7", "203.0.113.7"] * 3) == 3


def test_nothing_is_kept_of_who_has_left() -> None:
    turnstile = Turnstile(100, 100)
    for number in range(50):
        turnstile.enter(number, f"203.0.113.{number}")
    for number in range(50):
        turnstile.leave(number)
        turnstile.leave(number)  # and again changes nothing

    assert len(turnstile) == 0
    assert not turnstile._counts
