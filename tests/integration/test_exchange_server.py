"""The simulated exchange over real sockets: answers, streams, and connections that break."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from exchange_simulator.admin import Admin
from exchange_simulator.clock import Clock
from exchange_simulator.exchange import Exchange
from exchange_simulator.server import Server
from exchange_simulator.signatures import sign
from exchange_simulator.symbols import catalogue
from exchange_simulator.venue import Venue

pytestmark = pytest.mark.integration

KEY, SECRET = "demo-key", "demo-secret"
SOURCES = Path(__file__).parents[2] / "src"


class Site:
    """A server on a free port, and a client's session to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        symbols = [rules for rules in catalogue() if rules.symbol in ("BTCUSDT", "ETHUSDT")]
        self.venue = Venue(symbols, clock=self.clock, seed=1, moving=True)
        self.account = self.venue.open_account(KEY, SECRET, wallets={"USDT": "100000"})
        self.exchange = Exchange(self.venue, seed=1)
        self.server = Server(self.exchange, Admin(self.exchange, self.clock.shift))
        self.port = 0
        self.session: aiohttp.ClientSession

    async def start(self) -> None:
        self.port = await self.server.start("127.0.0.1", 0)
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))

    async def stop(self) -> None:
        await self.session.close()
        await self.server.stop()
        assert self.exchange.defects == 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url(path)) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    def signed(self, path: str, **parameters: Any) -> str:
        query = urlencode({**parameters, "timestamp": self.clock()})
        return self.url(f"{path}?{query}&signature={sign(SECRET, query)}")

    async def socket(self, path: str, **options: Any) -> aiohttp.ClientWebSocketResponse:
        opened: aiohttp.ClientWebSocketResponse = await self.session.ws_connect(
            self.url(path), max_msg_size=0, **options
        )
        return opened

    async def user_socket(self) -> aiohttp.ClientWebSocketResponse:
        async with self.session.post(self.url("/fapi/v1/listenKey"), headers={"X-MBX-APIKEY": KEY}) as reply:
            key = (await reply.json())["listenKey"]
        return await self.socket(f"/private/ws?listenKey={key}")

    def deposit(self) -> None:
        self.venue.deposit(self.account, "USDT", "1")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()


async def test_a_signed_order_moves_the_account_and_its_stream(site: Site) -> None:
    ws = await site.user_socket()
    body = f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&timestamp={site.clock()}"
    headers = {"X-MBX-APIKEY": KEY, "Content-Type": "application/x-www-form-urlencoded"}

    async with site.session.post(
        site.url("/fapi/v1/order"), data=f"{body}&signature={sign(SECRET, body)}", headers=headers
    ) as reply:
        assert reply.status == 200, await reply.text()
        assert reply.headers["X-MBX-ORDER-COUNT-10S"] == "1"
    kinds = [json.loads((await ws.receive(timeout=2)).data)["e"] for _ in range(4)]

    assert {"ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"} <= set(kinds)
    async with site.session.get(site.signed("/fapi/v3/positionRisk"), headers={"X-MBX-APIKEY": KEY}) as reply:
        assert [row["symbol"] for row in await reply.json()] == ["BTCUSDT"]
    assert await site.get(f"/admin/books?api_key={KEY}") == site.venue.books(site.account)


async def test_what_was_percent_encoded_is_signed_as_it_was_sent(site: Site) -> None:
    query = f"symbol=%E5%B8%81USDT&timestamp={site.clock()}"
    address = f"/fapi/v1/userTrades?{query}&signature={sign(SECRET, query)}"

    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET {address} HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: {KEY}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()

    assert b'"code":-1121' in answer


async def test_mark_prices_come_every_second(site: Site) -> None:
    ws = await site.socket("/market/stream?streams=!markPrice@arr@1s/btcusdt@markPrice@1s")

    messages = [(await ws.receive(timeout=3)).json() for _ in range(4)]

    assert {message["stream"] for message in messages} == {"!markPrice@arr@1s", "btcusdt@markPrice@1s"}


@pytest.mark.parametrize("compress", [0, 15])
async def test_streams_work_with_and_without_compression(site: Site, compress: int) -> None:
    ws = await site.socket("/market/ws", compress=compress)

    await ws.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": "x"})

    assert (await ws.receive(timeout=2)).json() == {"result": None, "id": "x"}


async def test_pings_are_answered_with_their_payload(site: Site) -> None:
    ws = await site.socket("/market/ws", autoping=False)

    await ws.ping(b"hello")
    message = await ws.receive(timeout=2)

    assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"hello")


async def test_the_server_pings_and_sees_the_pong(site: Site) -> None:
    ws = await site.socket("/market/ws", autoping=False)

    site.clock.shift(180_000)
    message = await ws.receive(timeout=2)
    await ws.pong(message.data)
    await asyncio.sleep(0.2)
    site.clock.shift(590_000)
    await asyncio.sleep(0.2)

    assert message.type is aiohttp.WSMsgType.PING
    assert site.exchange.statistics()["connections_open"] == 1


async def test_without_a_pong_the_server_closes(site: Site) -> None:
    ws = await site.socket("/market/ws", autoping=False)
    site.clock.shift(180_000)
    await ws.receive(timeout=2)

    site.clock.shift(600_000)
    messages = [await ws.receive(timeout=2) for _ in range(2)]

    assert aiohttp.WSMsgType.CLOSE in [message.type for message in messages]
    assert ws.close_code == 1008


@pytest.mark.parametrize(("name", "code"), [("close_1000", 1000), ("close_1008", 1008), ("close_1011", 1011)])
async def test_sockets_are_closed_with_their_code(site: Site, name: str, code: int) -> None:
    ws = await site.user_socket()
    site.exchange.faults.set(name, count=1)

    site.deposit()

    assert (await ws.receive(timeout=2)).type is aiohttp.WSMsgType.CLOSE
    assert ws.close_code == code


@pytest.mark.parametrize("name", ["tcp_cut", "close_1006"])
async def test_sockets_break(site: Site, name: str) -> None:
    ws = await site.user_socket()
    site.exchange.faults.set(name, count=1)

    site.deposit()

    message = await ws.receive(timeout=2)
    assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert ws.close_code == 1006


async def test_a_cut_frame_begins_and_does_not_end(site: Site) -> None:
    async with site.session.post(site.url("/fapi/v1/listenKey"), headers={"X-MBX-APIKEY": KEY}) as reply:
        key = (await reply.json())["listenKey"]
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        f"GET /private/ws?listenKey={key} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    site.exchange.faults.set("tcp_cut", count=1)

    site.deposit()
    try:
        received = await asyncio.wait_for(reader.read(100_000), 2)
    finally:
        writer.close()

    assert received[:2] == b"\x81\x7e"
    announced = int.from_bytes(received[2:4], "big")
    assert len(received) - 4 == announced // 2
    assert received[4:].startswith(b'{"e":"ACCOUNT_UPDATE"')


async def test_a_text_frame_may_hold_bytes_that_are_no_utf8(site: Site) -> None:
    ws = await site.user_socket()
    site.exchange.faults.set("invalid_utf8", count=1)

    site.deposit()

    message = await ws.receive(timeout=2)
    assert message.type in (aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_frame_of_ten_megabytes_arrives_whole(site: Site) -> None:
    ws = await site.user_socket()
    site.exchange.faults.set("huge_frame", count=1)

    site.deposit()
    sizes = [len((await ws.receive(timeout=5)).data) for _ in range(2)]

    assert max(sizes) == 10_000_000


async def test_half_open_is_silence_on_a_living_connection(site: Site) -> None:
    ws = await site.user_socket()
    site.exchange.faults.set("half_open", count=1)
    site.deposit()
    site.exchange.faults.clear()

    site.deposit()
    await ws.ping()

    with pytest.raises(TimeoutError):
        await ws.receive(timeout=0.3)
    assert not ws.closed
    await ws.close()


async def test_a_handshake_can_be_refused(site: Site) -> None:
    site.exchange.faults.set("refuse_connect", count=1)

    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await site.socket("/private/ws")

    assert caught.value.status == 503


async def test_an_answer_that_hangs_is_given_up_by_the_client(site: Site) -> None:
    site.exchange.faults.set("hang", count=1)

    with pytest.raises(TimeoutError):
        await site.session.get(site.url("/fapi/v1/time"), timeout=aiohttp.ClientTimeout(total=0.3))

    assert "serverTime" in await site.get("/fapi/v1/time")


@pytest.mark.parametrize("name", ["reset", "cut_body", "gzip_cut", "half_json", "empty_body"])
async def test_an_answer_breaks_off(site: Site, name: str) -> None:
    site.exchange.faults.set(name, count=2 if name == "reset" else 1)  # this client asks once more by itself

    with pytest.raises((aiohttp.ClientError, ValueError)):
        async with site.session.get(site.url("/fapi/v1/exchangeInfo")) as reply:
            json.loads(await reply.read())

    assert "serverTime" in await site.get("/fapi/v1/time")


async def test_a_slow_answer_comes_later(site: Site) -> None:
    site.exchange.faults.set("slow", count=1, ms=300)
    before = time.monotonic()

    await site.get("/fapi/v1/time")

    assert time.monotonic() - before >= 0.3


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /fapi/v1/time?%zz=%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /fapi/v1/time?\xff\xfe=\x80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /fapi/v1/order HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\n\xff\xfe=",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET http://elsewhere/fapi/v1/time HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n",
        b"PUT /admin/faults HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{",
    ],
)
async def test_hostile_bytes_get_an_answer_and_no_more(site: Site, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 3)
    writer.close()

    assert re.match(rb"HTTP/1\.[01] [24]\d\d ", answer), answer[:200]
    assert b"Traceback" not in answer


async def test_a_body_that_is_too_large_is_refused(site: Site) -> None:
    async with site.session.post(site.url("/fapi/v1/order"), data=io.BytesIO(b"a=" + b"1" * 2_000_000)) as reply:
        assert reply.status == 413
        assert (await reply.json())["code"] == -1130


async def test_messages_that_are_too_large_or_binary_end_or_are_answered(site: Site) -> None:
    ws = await site.socket("/market/ws")
    await ws.send_bytes(b"\xff\xfe")
    assert (await ws.receive(timeout=2)).json()["code"] == 3

    await ws.send_str("x" * 2_000_000)

    message = await ws.receive(timeout=2)
    assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


async def test_the_operator_works_over_http(site: Site) -> None:
    ws = await site.user_socket()

    async with site.session.post(site.url("/admin/deposit"), json={"api_key": KEY, "amount": "5"}) as reply:
        assert reply.status == 200
    async with site.session.post(site.url("/admin/faults"), json={"http_500": {"count": 1}}) as reply:
        assert "http_500" in await reply.json()

    assert (await ws.receive(timeout=2)).json()["a"]["m"] == "DEPOSIT"
    async with site.session.get(site.url("/fapi/v1/time")) as reply:
        assert reply.status == 500
    assert (await site.get("/admin/statistics"))["connections_open"] == 1
