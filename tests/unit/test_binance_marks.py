"""Mark prices over a scripted exchange in memory, in virtual time."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from itertools import pairwise

import pytest

from account_monitor.feeds.binance.marks import SILENCE_SECONDS, MarkPrices
from account_monitor.feeds.binance.pace import SLOW_SECONDS
from account_monitor.feeds.binance.transport import ABNORMAL, Closed, Frame, HttpReply, Pong, Text, TransportError
from tests.simulation.virtual_time import clock_ms, run_virtual

HOUR = 3600.0
D = Decimal


def row(symbol: str, price: object = "100.50000000", **fields: object) -> dict[str, object]:
    """Return one price as the exchange sends it."""
    return {
        "e": "markPriceUpdate", "E": clock_ms(), "s": symbol, "p": price, "ap": "100.1", "P": "100.2", "i": "100.3",
        "r": "0.00010000", "T": 1_790_000_000_000, "st": 1, **fields,
    }  # fmt: skip


def message(*rows: object) -> bytes:
    """Return an array of prices."""
    return json.dumps(rows, separators=(",", ":")).encode()


class FakeSocket:
    """A connection in memory. Pings are answered even where nothing else comes."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.is_silent = False
        self.is_closed = False

    async def receive(self) -> Frame:
        """Return the next frame."""
        return await self.frames.get()

    async def send_text(self, text: str) -> None:
        """Nothing is ever sent."""
        raise AssertionError(text)

    async def ping(self) -> None:
        """Answer."""
        self.frames.put_nowait(Pong())

    async def close(self) -> None:
        """Close."""
        self.is_closed = True


class FakeVenue:
    """An exchange that sends prices every second."""

    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []
        self.urls: list[str] = []
        self.errors: list[TransportError] = []
        self.is_silent = False
        self.next: Callable[[], bytes] = lambda: message(row("BTCUSDT"), row("ETHUSDT", "2000.1"))
        self.most_open = 0
        self.every_seconds = 1.0

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        """No requests."""
        raise AssertionError(url)

    async def connect(self, url: str, *, timeout_seconds: float) -> FakeSocket:
        """Accept."""
        self.urls.append(url)
        await asyncio.sleep(0.05)
        if self.errors:
            raise self.errors.pop(0)
        self.sockets.append(FakeSocket())
        self.most_open = max(self.most_open, len(self.open))
        return self.sockets[-1]

    @property
    def open(self) -> list[FakeSocket]:
        """Connections that were not closed."""
        return [socket for socket in self.sockets if not socket.is_closed]

    async def run(self) -> None:
        """Send prices."""
        while True:
            await asyncio.sleep(self.every_seconds)
            payload = self.next()
            for socket in self.open:
                if not (self.is_silent or socket.is_silent):
                    socket.frames.put_nowait(Text(payload))


class Rig:
    """Mark prices that run, and what they said."""

    def __init__(self) -> None:
        self.venue = FakeVenue()
        self.said: list[str] = []
        self.prices: list[tuple[str, Decimal, int]] = []
        self.symbols: set[str] = {"BTCUSDT"}
        self.marks = MarkPrices(
            self.venue,
            websocket_url="wss://venue.example",
            on_alarm=self.said.append,
            on_clear=lambda: self.said.append("clear"),
            chance=random.Random(3),
        )
        self.marks.subscribe(self.take, lambda: self.symbols)

    def take(self, symbol: str, price: Decimal, at_ms: int) -> None:
        """Remember a price."""
        self.prices.append((symbol, price, at_ms))


@asynccontextmanager
async def running() -> AsyncIterator[Rig]:
    rig = Rig()
    tasks = [asyncio.create_task(rig.venue.run()), asyncio.create_task(rig.marks.run())]
    await asyncio.sleep(2.5)
    try:
        yield rig
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def virtual(test: Callable[[Rig], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in virtual time, with prices that have come twice."""

    async def main() -> None:
        async with running() as rig:
            await test(rig)

    def run() -> None:
        run_virtual(main(), start_ms=1_790_000_000_000)

    run.__name__ = getattr(test, "__name__", "test")
    return run


@virtual
async def test_the_prices_that_are_wanted_are_handed_over(rig: Rig) -> None:
    assert rig.venue.urls == ["wss://venue.example/market/ws/!markPrice@arr@1s"]
    assert rig.prices == [("BTCUSDT", D("100.5"), 1_790_000_001_000), ("BTCUSDT", D("100.5"), 1_790_000_002_000)]
    assert rig.marks.is_live
    assert rig.said == []


@virtual
async def test_a_symbol_that_is_wanted_later_has_a_price_within_a_second(rig: Rig) -> None:
    rig.symbols.add("ETHUSDT")
    await asyncio.sleep(1)

    assert rig.prices[-1] == ("ETHUSDT", D("2000.1"), 1_790_000_003_000)
    assert len(rig.venue.sockets) == 1


@virtual
async def test_every_subscriber_gets_what_it_wants_and_no_more(rig: Rig) -> None:
    others: list[str] = []
    end = rig.marks.subscribe(lambda symbol, price, at_ms: others.append(symbol), lambda: {"ETHUSDT"})
    rig.prices.clear()
    await asyncio.sleep(1)
    end()
    await asyncio.sleep(1)

    assert others == ["ETHUSDT"]
    assert {symbol for symbol, _, _ in rig.prices} == {"BTCUSDT"}


@virtual
async def test_prices_that_nobody_wants_are_a_sign_of_life_all_the_same(rig: Rig) -> None:
    rig.symbols.clear()
    await asyncio.sleep(100)

    assert rig.said == []
    assert len(rig.venue.sockets) == 1


@virtual
async def test_the_coin_market_is_left_out(rig: Rig) -> None:
    rig.venue.next = lambda: message(row("BTCUSDT", "7", st=2))
    rig.prices.clear()
    await asyncio.sleep(3)

    assert rig.prices == []


@virtual
async def test_silence_is_alarmed_and_a_new_connection_made_although_pongs_come(rig: Rig) -> None:
    rig.venue.is_silent = True
    await asyncio.sleep(SILENCE_SECONDS + 1)
    assert rig.said == ["no mark prices for 10 s"]
    assert not rig.marks.is_live
    await asyncio.sleep(300)
    assert rig.said == ["no mark prices for 10 s"]
    assert len(rig.venue.open) <= 1
    assert 5 < len(rig.venue.urls) < 35

    rig.venue.is_silent = False
    await asyncio.sleep(70)

    assert rig.said == ["no mark prices for 10 s", "clear"]
    assert rig.marks.is_live


@virtual
async def test_a_connection_that_only_looks_alive_is_replaced(rig: Rig) -> None:
    rig.venue.sockets[0].is_silent = True
    await asyncio.sleep(SILENCE_SECONDS + 3)

    assert rig.venue.sockets[0].is_closed
    assert len(rig.venue.open) == 1
    assert rig.marks.is_live
    assert rig.marks.reconnects == 1


@virtual
async def test_a_closed_connection_is_replaced_before_anybody_is_told(rig: Rig) -> None:
    rig.venue.sockets[0].frames.put_nowait(Closed(ABNORMAL, ""))
    await asyncio.sleep(5)

    assert len(rig.venue.sockets) == 2
    assert rig.said == []


async def pass_quickly(rig: Rig, seconds: float) -> None:
    """Let time pass with a price every nine seconds, which is less to do and not silent yet."""
    rig.venue.every_seconds = 9.0
    await asyncio.sleep(seconds)


def assert_no_gap(rig: Rig) -> None:
    moments = sorted({at_ms for _, _, at_ms in rig.prices})
    assert max(later - earlier for earlier, later in pairwise(moments)) == 9000


@virtual
async def test_three_days_pass_without_a_gap(rig: Rig) -> None:
    await pass_quickly(rig, 3 * 24 * HOUR)

    assert_no_gap(rig)
    assert rig.marks.reconnects == 3
    assert rig.venue.most_open == 2
    assert len(rig.venue.open) == 1
    assert rig.said == []


@virtual
async def test_a_rotation_that_fails_keeps_the_old_connection(rig: Rig) -> None:
    await pass_quickly(rig, 21 * HOUR)
    rig.venue.errors = [TransportError("no")] * 10
    await pass_quickly(rig, 2.5 * HOUR)

    assert rig.venue.errors == []
    assert rig.marks.reconnects == 1
    assert_no_gap(rig)


@virtual
async def test_it_tries_for_ever(rig: Rig) -> None:
    rig.venue.errors = [TransportError("no")] * 1000
    rig.venue.sockets[0].frames.put_nowait(Closed(1001, "going away"))
    await asyncio.sleep(2 * HOUR)
    assert 150 < len(rig.venue.urls) < 500

    rig.venue.errors = []
    await asyncio.sleep(62)

    assert rig.said == ["no mark prices for 10 s", "clear"]


@virtual
async def test_a_ban_slows_it_down(rig: Rig) -> None:
    rig.venue.errors = [TransportError("banned", status=418)] * 1000
    rig.venue.sockets[0].frames.put_nowait(Closed(1008, ""))
    await asyncio.sleep(HOUR)

    assert HOUR / SLOW_SECONDS <= len(rig.venue.urls) <= 3 + 2 * HOUR / SLOW_SECONDS


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[1", b"[{]", b"null", b'[{"e":"markPriceUpdate"}]' * 2])
def test_malformed_messages_are_counted_and_no_sign_of_life(payload: bytes) -> None:
    async def test(rig: Rig) -> None:
        rig.venue.next = lambda: payload
        await asyncio.sleep(5)
        assert rig.marks.malformed == 5
        assert rig.said == []
        await asyncio.sleep(7)
        assert rig.said == ["no mark prices for 10 s"]

    virtual(test)()


@virtual
async def test_one_bad_row_does_not_take_the_others_away(rig: Rig) -> None:
    rig.symbols |= {"ETHUSDT", "XRPUSDT"}
    rig.venue.next = lambda: message(row("BTCUSDT", "NaN"), row("ETHUSDT", 7), row("XRPUSDT", "0.5"))
    rig.prices.clear()
    await asyncio.sleep(20)

    assert {(symbol, price) for symbol, price, _ in rig.prices} == {("XRPUSDT", D("0.5"))}
    assert rig.marks.malformed == 20
    assert rig.said == []


def test_a_bug_in_a_subscriber_is_not_hidden() -> None:
    async def main() -> None:
        rig = Rig()

        def fail(symbol: str, price: Decimal, at_ms: int) -> None:
            raise ZeroDivisionError

        rig.marks.subscribe(fail, lambda: {"BTCUSDT"})
        source = asyncio.create_task(rig.venue.run())
        with pytest.raises(ExceptionGroup) as raised:
            await rig.marks.run()
        source.cancel()
        assert raised.group_contains(ZeroDivisionError)
        assert all(socket.is_closed for socket in rig.venue.sockets)

    run_virtual(main())


@pytest.mark.parametrize("moment", [0.01, 0.06, 1.5, 22.5 * HOUR])
def test_cancelling_closes_the_connection_and_leaves_no_task(moment: float) -> None:
    async def main() -> None:
        rig = Rig()
        source = asyncio.create_task(rig.venue.run())
        task = asyncio.create_task(rig.marks.run())
        rig.venue.every_seconds = 1.0 if moment < HOUR else 9.0
        await asyncio.sleep(moment)
        for each in (task, source):
            each.cancel()
            with pytest.raises(asyncio.CancelledError):
                await each
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert rig.venue.open == []

    run_virtual(main())


def test_a_thousand_symbols_a_second_take_less_than_a_tenth_of_a_core() -> None:
    """A fast machine takes a hundredth of a core."""

    async def main() -> float:
        rig = Rig()
        payload = message(*(row(f"S{number}USDT", "12345.67890123") for number in range(1000)))
        rig.symbols = {f"S{number}USDT" for number in range(0, 1000, 25)}
        began = time.perf_counter()
        for _ in range(20):
            rig.marks._take(payload)
        assert len(rig.prices) == 20 * 40
        return (time.perf_counter() - began) / 20

    assert run_virtual(main()) < 0.1
