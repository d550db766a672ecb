"""The user stream over a scripted exchange in memory, in virtual time: what is heard, what is missed, what is said."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from account_monitor.feeds.binance.pace import SLOW_SECONDS
from account_monitor.feeds.binance.refusals import NO_SUCH_LISTEN_KEY, VenueLimited, VenueRefused, VenueUnavailable
from account_monitor.feeds.binance.session import KEY_SECONDS, STREAM_STALE, StreamSettings
from account_monitor.feeds.binance.stream import UserStream
from account_monitor.feeds.binance.transport import ABNORMAL, Closed, Frame, HttpReply, Pong, Text, TransportError
from tests.simulation.virtual_time import clock_ms, run_virtual

HOUR = 3600.0
START_MS = 1_790_000_000_000


class FakeSocket:
    """A connection in memory. A mute one takes pings and delivers nothing; a deaf one answers pings all the same."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.is_mute = False
        self.is_deaf = False
        self.is_closed = False
        self.end: Closed | None = None

    async def receive(self) -> Frame:
        """Return the next frame."""
        if self.end is not None:
            return self.end
        frame = await self.frames.get()
        if isinstance(frame, Closed):
            self.end = frame
        return frame

    async def send_text(self, text: str) -> None:
        """Nothing is ever sent."""
        raise AssertionError(text)

    async def ping(self) -> None:
        """Answer, unless the connection is dead."""
        if self.end is not None:
            raise TransportError("it is closed")
        if not self.is_mute:
            self.frames.put_nowait(Pong())

    async def close(self) -> None:
        """Close; the goodbye takes a moment."""
        self.is_closed = True
        await asyncio.sleep(0.1)

    def deliver(self, payload: bytes) -> None:
        """Let a message arrive, if the connection is what it seems to be."""
        if not (self.is_mute or self.is_deaf or self.is_closed or self.end):
            self.frames.put_nowait(Text(payload))

    def end_with(self, code: int, reason: str = "") -> None:
        """End the connection from the other side."""
        self.frames.put_nowait(Closed(code, reason))


class FakeVenue:
    """An exchange in memory: one account, one listen key at a time, and any number of sockets."""

    def __init__(self) -> None:
        self.keys = 0
        self.key = ""
        self.valid_until = 0.0
        self.sockets: list[FakeSocket] = []
        self.urls: list[str] = []
        self.obtained_at: list[float] = []
        self.extended_at: list[float] = []
        self.connect_errors: list[TransportError] = []
        self.obtain_errors: list[Exception] = []
        self.extend_errors: list[Exception] = []
        self.most_open = 0

    # What the monitor asks.

    async def request(self, method: str, url: str, *, headers: Mapping[str, str], timeout_seconds: float) -> HttpReply:
        """No requests: `obtain` and `keep_alive` stand for them."""
        raise AssertionError(url)

    async def connect(self, url: str, *, timeout_seconds: float) -> FakeSocket:
        """Accept any key, as the exchange does."""
        self.urls.append(url)
        await asyncio.sleep(0.05)
        if self.connect_errors:
            raise self.connect_errors.pop(0)
        socket = FakeSocket(parse_qs(urlsplit(url).query)["listenKey"][0])
        self.sockets.append(socket)
        self.most_open = max(self.most_open, len(self.open))
        return socket

    async def obtain(self) -> str:
        """Return the active key, extended, or a new one."""
        await asyncio.sleep(0.05)
        self.obtained_at.append(now())
        if self.obtain_errors:
            raise self.obtain_errors.pop(0)
        if not self.key or now() >= self.valid_until:
            self.renew_key()
        self.valid_until = now() + KEY_SECONDS
        return self.key

    async def keep_alive(self, key: str) -> str | None:
        """Extend the active key, whatever key the client thinks of."""
        await asyncio.sleep(0.05)
        self.extended_at.append(now())
        if self.extend_errors:
            raise self.extend_errors.pop(0)
        if not self.key or now() >= self.valid_until:
            raise VenueRefused(NO_SUCH_LISTEN_KEY, "This listenKey does not exist.", 400)
        self.valid_until = now() + KEY_SECONDS
        return self.key

    # What happens there.

    @property
    def open(self) -> list[FakeSocket]:
        """Connections that neither side has closed."""
        return [socket for socket in self.sockets if not socket.is_closed and socket.end is None]

    def renew_key(self) -> None:
        """Replace the key: sockets on the old one go silent and stay open."""
        self.keys += 1
        self.key = f"SECRETKEY{self.keys}"

    def expire_key(self, times: int = 1) -> None:
        """End the key and say so, as often as asked."""
        text = f'{{"e":"listenKeyExpired","E":1736996475556,"listenKey":"{self.key}"}}'.encode()
        key, self.key = self.key, ""
        for socket in self.open:
            for _ in range(times if socket.key == key else 0):
                socket.deliver(text)

    def say(self, payload: bytes) -> None:
        """Tell every socket on the active key."""
        for socket in self.open:
            if self.key and socket.key == self.key and now() < self.valid_until:
                socket.deliver(payload)


class Ears:
    """Whoever hears the stream, and remembers."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.heard_at_ms: list[int] = []
        self.backfills: list[tuple[float, str]] = []
        self.alarms: list[tuple[float, str]] = []
        self.cleared: list[float] = []
        self.room = asyncio.Event()
        self.room.set()
        self.on_hearing: Callable[[bytes], None] | None = None
        self.backfilled: Callable[[], None] = lambda: None
        self.fetch_seconds = 0.5

    async def wait_for_room(self) -> None:
        """Return while there is room."""
        await self.room.wait()

    def on_message(self, payload: bytes, received_at_ms: int) -> None:
        """Remember it."""
        self.heard.append(payload)
        self.heard_at_ms.append(received_at_ms)
        if self.on_hearing is not None:
            self.on_hearing(payload)

    def on_backfill(self, reason: str) -> None:
        """Pretend to fetch."""
        self.backfills.append((now(), reason))
        asyncio.get_running_loop().call_later(self.fetch_seconds, self.backfilled)

    def on_alarm(self, kind: str, text: str) -> None:
        """Remember it."""
        assert kind == STREAM_STALE
        self.alarms.append((now(), text))

    def on_clear(self, kind: str) -> None:
        """Remember it."""
        assert kind == STREAM_STALE
        self.cleared.append(now())


class Rig:
    """A stream that runs."""

    def __init__(self, venue: FakeVenue, ears: Ears, stream: UserStream) -> None:
        self.venue = venue
        self.ears = ears
        self.stream = stream


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(is_so: Callable[[], bool]) -> None:
    """Look every half second, for a day at most."""
    for _ in range(2 * 24 * 3600):
        if is_so():
            return
        await asyncio.sleep(0.5)
    raise AssertionError("it never was so")


def stream_of(venue: FakeVenue, ears: Ears, seed: int = 1, **settings: float) -> UserStream:
    stream = UserStream(
        "main", venue, venue, ears, websocket_url="wss://venue.example/", settings=StreamSettings(**settings),
        clock_ms=clock_ms, chance=random.Random(seed),
    )  # fmt: skip
    ears.backfilled = stream.backfilled
    return stream


@asynccontextmanager
async def running(seed: int = 1) -> Any:
    venue, ears = FakeVenue(), Ears()
    stream = stream_of(venue, ears, seed)
    task = asyncio.create_task(stream.run())
    await asyncio.sleep(2)
    try:
        yield Rig(venue, ears, stream)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def virtual(test: Callable[[Rig], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in virtual time, with a stream that has been live for two seconds."""

    async def main() -> None:
        async with running() as rig:
            await test(rig)

    def run() -> None:
        run_virtual(main(), start_ms=START_MS)

    run.__name__ = getattr(test, "__name__", "test")
    return run


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """Keep the log, which must never show a key."""
    with capture_logs() as entries:
        yield entries
    assert "SECRETKEY" not in repr(entries)


# -- hearing -----------------------------------------------------------------------------------------------------------


@virtual
async def test_it_hears_at_the_private_address_and_asks_for_what_was_before(rig: Rig) -> None:
    rig.venue.say(b'{"e":"TRADE_LITE"}')
    await asyncio.sleep(1)

    assert rig.venue.urls == ["wss://venue.example/private/ws?listenKey=SECRETKEY1"]
    assert [reason for _, reason in rig.ears.backfills] == ["start"]
    assert rig.ears.heard == [b'{"e":"TRADE_LITE"}']
    assert rig.ears.heard_at_ms == [START_MS + 2000]
    assert rig.stream.is_whole
    assert rig.stream.reconnects == 0


@virtual
async def test_three_quiet_days_lose_nothing_and_alarm_nobody(rig: Rig) -> None:
    for number in range(3 * 24 * 60):
        rig.venue.say(b"%d" % number)
        await asyncio.sleep(60)

    assert {int(payload) for payload in rig.ears.heard} == set(range(3 * 24 * 60))
    assert len(rig.ears.backfills) == 1, "only that of the start: rotations overlap"
    assert rig.ears.alarms == []
    assert rig.stream.reconnects == 3
    assert rig.venue.most_open == 2
    assert len(rig.venue.open) == 1
    assert 3 * 48 <= len(rig.venue.extended_at) <= 3 * 72
    assert len(rig.venue.obtained_at) == 1


@virtual
async def test_both_sockets_are_heard_while_they_overlap(rig: Rig) -> None:
    await until(lambda: len(rig.venue.open) == 2)
    await asyncio.sleep(1)

    rig.venue.say(b"twice")
    await asyncio.sleep(1)

    assert rig.ears.heard == [b"twice", b"twice"]


@virtual
async def test_nothing_is_read_without_room_and_nobody_is_blamed_for_the_silence(rig: Rig) -> None:
    rig.ears.room.clear()
    for number in range(50):
        rig.venue.say(b"%d" % number)
    await asyncio.sleep(600)
    assert len(rig.ears.heard) <= 1, "one was being waited for"

    rig.ears.room.set()
    await asyncio.sleep(1)

    assert rig.ears.heard == [b"%d" % number for number in range(50)]
    assert rig.stream.reconnects == 0
    assert rig.ears.alarms == []


# -- connections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, ABNORMAL, 1008, 1011])
def test_whatever_it_is_closed_with_it_connects_again_and_fetches(code: int) -> None:
    async def test(rig: Rig) -> None:
        rig.venue.sockets[0].end_with(code, "SECRETKEY1 was here")
        await asyncio.sleep(3)

        assert rig.stream.is_whole
        assert len(rig.venue.sockets) == 2
        assert [reason for _, reason in rig.ears.backfills][
            1
        ] == f"the connection ended with code {code} (*** was here)"
        assert rig.ears.alarms == [], "it took less than a second"
        assert len(rig.venue.obtained_at) == 2, "the key is asked about"

    virtual(test)()


@virtual
async def test_a_half_open_connection_is_found_within_a_minute(rig: Rig) -> None:
    rig.venue.sockets[0].is_mute = True
    began = now()
    await until(lambda: bool(rig.ears.alarms))

    assert now() - began <= 62
    await asyncio.sleep(2)
    assert rig.venue.sockets[0].is_closed
    assert rig.stream.is_whole
    assert len(rig.ears.backfills) == 2
    assert len(rig.ears.cleared) == 1


@virtual
async def test_an_hour_without_network_is_survived_and_alarmed_once(rig: Rig) -> None:
    rig.venue.connect_errors = [TransportError("no route to host") for _ in range(10_000)]
    rig.venue.sockets[0].end_with(ABNORMAL)
    await asyncio.sleep(HOUR)
    attempts = len(rig.venue.urls)
    assert 60 < attempts < 400
    assert len(rig.ears.alarms) == 1
    assert not rig.stream.is_live

    rig.venue.connect_errors = []
    await asyncio.sleep(62)

    assert rig.stream.is_whole
    assert len(rig.ears.cleared) == 1
    assert len(rig.ears.backfills) == 2


@virtual
async def test_a_ban_at_the_handshake_slows_it_down(rig: Rig) -> None:
    rig.venue.connect_errors = [TransportError("the handshake was answered with HTTP 418", status=418)] * 3
    rig.venue.sockets[0].end_with(1008)
    await asyncio.sleep(1)
    assert [text for _, text in rig.ears.alarms] == ["the handshake was answered with HTTP 418"]

    await asyncio.sleep(SLOW_SECONDS / 2 - 2)
    assert len(rig.venue.urls) == 2
    await asyncio.sleep(3 * SLOW_SECONDS)
    assert rig.stream.is_whole


@virtual
async def test_a_deaf_stream_is_replaced_when_somebody_notices(rig: Rig) -> None:
    await asyncio.sleep(60)
    rig.venue.sockets[0].is_deaf = True
    rig.venue.say(b"unheard")

    rig.stream.stale("the wallet moved")
    await asyncio.sleep(2)
    rig.venue.say(b"heard")
    await asyncio.sleep(1)

    assert rig.venue.sockets[0].is_closed
    assert rig.ears.heard == [b"heard"]
    assert [reason for _, reason in rig.ears.backfills] == ["start", "the wallet moved"]
    assert (len(rig.ears.alarms), len(rig.ears.cleared)) == (1, 1)


@virtual
async def test_an_alarm_ends_only_when_what_was_missed_was_fetched(rig: Rig) -> None:
    rig.ears.fetch_seconds = 300
    rig.stream.stale("the wallet moved")
    await asyncio.sleep(200)
    assert (rig.stream.is_live, rig.stream.is_whole) == (True, False)
    assert rig.ears.cleared == []

    await asyncio.sleep(200)

    assert rig.stream.is_whole
    assert len(rig.ears.cleared) == 1


# -- the listen key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"e":"listenKeyExpired","E":1736996475556,"listenKey":"SECRETKEY1"}',
        '{"e":"listenKeyExpired","E":"1736996475556","listenKey":"SECRETKEY1"}',
        '{"e":"listenKeyExpired","E":1736996475556}',
        '{"stream":"SECRETKEY1","data":{"e":"listenKeyExpired","E":1736996475556,"listenKey":"SECRETKEY1"}}',
    ],
)
def test_an_expired_key_is_replaced_in_whatever_form_it_is_said(text: str) -> None:
    async def test(rig: Rig) -> None:
        socket = rig.venue.sockets[0]
        rig.venue.key = ""
        socket.deliver(text.encode())
        socket.deliver(text.encode())
        await asyncio.sleep(2)

        assert rig.venue.urls[1:] == ["wss://venue.example/private/ws?listenKey=SECRETKEY2"]
        assert len(rig.ears.heard) == 2, "they are handed over too, for whoever counts"
        assert len(rig.ears.backfills) == 2
        assert rig.stream.is_whole
        assert socket.is_closed
        assert len(rig.venue.open) == 1

    virtual(test)()


@pytest.mark.parametrize("payload", [b'{"c":"listenKeyExpired","e":"TRADE_LITE"}', b'"listenKeyExpired', b"\xff"])
def test_what_only_mentions_an_expired_key_changes_nothing(payload: bytes) -> None:
    async def test(rig: Rig) -> None:
        rig.venue.say(payload)
        await asyncio.sleep(2)

        assert rig.ears.heard == [payload]
        assert len(rig.venue.obtained_at) == 1

    virtual(test)()


@virtual
async def test_a_key_that_dies_silently_is_found_by_the_keep_alive(rig: Rig) -> None:
    rig.venue.key = ""
    await asyncio.sleep(1800 + 5)

    assert rig.stream.is_whole
    assert rig.venue.open[0].key == "SECRETKEY2"
    assert [reason for _, reason in rig.ears.backfills][1:] == ["the exchange does not know the listen key any more"]


@virtual
async def test_a_key_that_somebody_else_replaced_is_found_by_the_keep_alive(rig: Rig) -> None:
    rig.venue.renew_key()
    await asyncio.sleep(1800 + 5)

    assert rig.stream.is_whole
    assert [socket.key for socket in rig.venue.open] == ["SECRETKEY2"]
    assert len(rig.ears.backfills) == 2


@pytest.mark.parametrize(
    "error",
    [
        VenueUnavailable("HTTP 503"),
        VenueLimited(START_MS + 60_000),
        TransportError("connection reset"),
        VenueRefused(-1000, "unknown", 400),
    ],
)
def test_keep_alives_that_fail_for_half_an_hour_cost_nothing(error: Exception) -> None:
    async def test(rig: Rig) -> None:
        rig.venue.extend_errors = [error] * 20
        await asyncio.sleep(2 * HOUR)

        assert rig.venue.extend_errors == []
        assert len(rig.ears.backfills) == 1
        assert rig.ears.alarms == []

    virtual(test)()


def test_a_refused_api_key_is_alarmed_and_tried_for_ever_but_slowly() -> None:
    async def main() -> None:
        venue, ears = FakeVenue(), Ears()
        venue.obtain_errors = [VenueRefused(-2015, "Invalid API-key", 401) for _ in range(12)]
        task = asyncio.create_task(stream_of(venue, ears).run())
        await asyncio.sleep(1)
        assert len(ears.alarms) == 1
        await asyncio.sleep(HOUR)
        assert len(venue.obtained_at) <= 13
        await asyncio.sleep(HOUR)
        assert len(ears.cleared) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())


# -- ending ------------------------------------------------------------------------------------------------------------


def test_cancelling_closes_every_socket_and_leaves_no_task() -> None:
    async def main() -> None:
        venue, ears = FakeVenue(), Ears()
        stream = stream_of(venue, ears)
        task = asyncio.create_task(stream.run())
        await until(lambda: len(venue.open) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert all(socket.is_closed for socket in venue.sockets)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not stream.is_live
        stream.stale("too late")
        stream.backfilled()

    run_virtual(main())


@pytest.mark.parametrize("moment", [0.01, 0.06, 0.11, 0.2])
def test_cancelling_at_any_moment_of_the_start_is_clean(moment: float) -> None:
    async def main() -> None:
        venue, ears = FakeVenue(), Ears()
        task = asyncio.create_task(stream_of(venue, ears).run())
        await asyncio.sleep(moment)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert all(socket.is_closed for socket in venue.sockets)

    run_virtual(main())


def test_a_bug_in_whoever_hears_is_not_hidden() -> None:
    async def main() -> None:
        venue, ears = FakeVenue(), Ears()

        def fail(payload: bytes) -> None:
            raise ZeroDivisionError(payload)

        ears.on_hearing = fail
        task = asyncio.create_task(stream_of(venue, ears).run())
        await asyncio.sleep(2)
        venue.say(b"boom")
        with pytest.raises(ExceptionGroup) as raised:
            await task

        assert raised.group_contains(ZeroDivisionError)
        assert all(socket.is_closed for socket in venue.sockets)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


# -- everything at once ------------------------------------------------------------------------------------------------


async def _chaos(seed: int) -> None:
    """Twelve hours of everything that can happen. What is unheard for five seconds is noticed, as statements would."""
    chance = random.Random(seed)
    async with running(seed) as rig:
        venue, ears = rig.venue, rig.ears
        said_at: dict[int, float] = {}
        number = 0

        def judge(number: int) -> None:
            if b"%d" % number not in heard:
                rig.stream.stale(f"{number} is missing")

        heard: set[bytes] = set()
        ears.on_hearing = heard.add

        def say() -> None:
            nonlocal number
            number += 1
            said_at[number] = now()
            venue.say(b"%d" % number)
            asyncio.get_running_loop().call_later(5, judge, number)

        def disturb() -> None:
            match chance.randrange(9):
                case 0:
                    venue.expire_key(times=chance.randint(1, 3))
                case 1:
                    venue.key = ""
                case 2:
                    venue.renew_key()
                case 3 | 4 if venue.open:
                    chance.choice(venue.open).end_with(chance.choice([1000, ABNORMAL, 1008]))
                case 5 if venue.open:
                    chance.choice(venue.open).is_mute = True
                case 6 if venue.open:
                    chance.choice(venue.open).is_deaf = True
                case 7:
                    venue.connect_errors = [TransportError("no")] * chance.randint(1, 5)
                case _:
                    venue.obtain_errors = [VenueUnavailable("HTTP 502")] * chance.randint(1, 3)
                    venue.extend_errors = [VenueUnavailable("HTTP 502")] * chance.randint(1, 3)

        end = now() + 12 * HOUR
        while now() < end:
            await asyncio.sleep(chance.expovariate(1 / 30))
            say()
            if chance.random() < 0.05:
                disturb()
        for _ in range(60):
            say()
            await asyncio.sleep(10)

        last_backfill = ears.backfills[-1][0]
        unfetched = [n for n, at in said_at.items() if b"%d" % n not in heard and at > last_backfill]
        assert unfetched == [], f"seed {seed}"
        assert rig.stream.is_whole
        assert len(ears.alarms) == len(ears.cleared)
        assert venue.most_open <= 3, "two, and one that is saying goodbye"
        assert len(venue.open) == 1
        assert len(venue.urls) < 2000


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_everything_is_heard_or_fetched(seed: int) -> None:
    run_virtual(_chaos(seed))


def test_the_same_seed_takes_the_same_steps() -> None:
    async def steps() -> list[Any]:
        async with running(5) as rig:
            rig.venue.connect_errors = [TransportError("no")] * 7
            rig.venue.sockets[0].end_with(1006)
            await asyncio.sleep(HOUR)
            return [rig.ears.backfills, rig.ears.alarms, rig.ears.cleared, rig.venue.obtained_at]

    def once() -> list[Any]:
        work: Coroutine[Any, Any, list[Any]] = steps()
        return run_virtual(work)

    assert once() == once()
