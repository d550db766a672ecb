"""The NATS feed while servers die, streams vanish, and publishers send what no client understands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error
from nats.js import JetStreamContext

from account_monitor.monitor.inbox import CAPACITY
from account_monitor.monitor.ports import MALFORMED_EVENT
from tests.integration.feed_rig import Rig, fill_json, until
from tests.integration.nats_server import NatsServer, add_stream, free_port, nats_server_path, publish, stored

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(nats_server_path() is None, reason="there is no nats-server"),
]


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[Client]:
    connected = await server.connect()
    yield connected
    await connected.close()


@pytest.fixture
def js(client: Client) -> JetStreamContext:
    return client.jetstream()


async def publish_until_acknowledged(js: JetStreamContext, trade_ids: range) -> None:
    """Publish each fill until the stream has it, however often the server dies meanwhile."""
    for trade_id in trade_ids:
        while True:
            headers = {"Nats-Msg-Id": str(trade_id)}
            try:
                await js.publish("trading.fills.main", fill_json(trade_id), timeout=0.5, headers=headers)
                break
            except Error:
                await asyncio.sleep(0.02)


async def test_a_server_that_is_killed_and_comes_back_costs_no_fill_and_doubles_none(
    server: NatsServer, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="file")
    async with Rig(server.url) as rig:
        publishing = asyncio.create_task(publish_until_acknowledged(js, range(300)))
        for seen in (50, 150):
            await until(lambda seen=seen: len(rig.main.deliveries) >= seen)  # type: ignore[misc]
            server.kill()
            server.start()
        await publishing
        await rig.has(range(300))

        # An acknowledgement that was lost makes a publisher repeat, so the stream decides what is once.
        last = (await js.stream_info("FILLS")).state.last_seq
        await until(lambda: rig.main.seen() == last)
        assert rig.main.sequences == list(range(1, last + 1))
        assert rig.feed.status.reconnects >= 2
        assert rig.gaps == []


async def test_a_server_that_is_not_there_at_start_is_waited_for(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "late")
    async with Rig(server.url) as rig:
        await until(lambda: rig.feed.status.last_error != "")
        assert not rig.feed.status.connected
        assert set(rig.feed.status.modes.values()) == {"none"}

        with server:
            client = await server.connect()
            await add_stream(client.jetstream(), "FILLS", storage="memory")
            await publish(client, [fill_json(1)])
            await rig.has([1])
            await client.close()


async def test_it_ends_at_any_moment_of_vain_attempts_to_connect() -> None:
    nowhere = f"nats://127.0.0.1:{free_port()}"
    for moments in range(200):
        async with asyncio.timeout(10), Rig(nowhere, reconnect_wait_seconds=0.0):
            for _ in range(moments):
                await asyncio.sleep(0)


async def test_a_stream_that_is_deleted_and_made_anew_while_running_is_reported_and_read_from_its_start(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory")
    await publish(client, map(fill_json, range(10)))
    async with Rig(server.url) as rig:
        await rig.has(range(10))
        await js.delete_stream("FILLS")
        await add_stream(js, "FILLS", storage="memory")
        await publish(client, map(fill_json, range(10, 13)))
        await rig.has(range(13))
        await until(lambda: rig.main.seen() == 3)

        # Between the streams core NATS was listened to: what came both ways is for the journal to count once.
        assert [d.sequence for d in rig.main.deliveries if d.source == "nats:FILLS"] == [*range(1, 11), 1, 2, 3]
        assert "made anew: seen up to 10" in rig.gaps[-1]


async def test_a_stream_that_was_made_anew_while_nobody_watched_is_reported_at_start(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory")
    await publish(client, map(fill_json, range(10)))
    async with Rig(server.url, "main", "alt") as first:
        await until(lambda: all(r.seen() == 10 for r in first.recorders.values()))
    await js.delete_stream("FILLS")
    await add_stream(js, "FILLS", storage="memory")
    await publish(client, map(fill_json, range(20, 40)))

    async with Rig(server.url, "main", "alt", after=first) as second:
        await second.has(range(20, 40))
        await until(lambda: all(r.seen() == 20 for r in second.recorders.values()))

        [gap] = second.feed.status.gaps
        assert gap.source == "nats:FILLS"
        assert gap.accounts == ("main", "alt", "_unrouted")
        assert gap.text.startswith("stream FILLS was made anew: seen up to 10 of the one created at ")
        assert gap.text.endswith("from 1 to 20")


async def test_a_purge_past_the_recorded_place_is_reported_with_the_number_of_messages(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory")
    await publish(client, map(fill_json, range(10)))
    async with Rig(server.url) as first:
        await until(lambda: all(r.seen() == 10 for r in first.recorders.values()))
    await publish(client, map(fill_json, range(10, 30)))
    await stored(js, 30)
    await js.purge_stream("FILLS", seq=26)

    async with Rig(server.url, after=first) as second:
        await second.has(range(25, 30))

        assert second.gaps == ["stream FILLS begins at 26, but was seen up to 10: 15 messages were removed unseen"]
        assert second.main.trade_ids == list(range(25, 30))


async def test_a_purge_of_what_waits_behind_a_full_inbox_is_reported(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory")
    count = 3 * CAPACITY
    await publish(client, map(fill_json, range(count)))
    await stored(js, count)
    async with Rig(server.url) as rig:
        rig.main.can_record.clear()
        await until(lambda: rig.main.inbox.is_full)
        await js.purge_stream("FILLS")
        await until(lambda: rig.gaps != [])
        rig.main.can_record.set()
        await publish(client, [fill_json(count)])
        await rig.has([count])

        [gap] = rig.gaps
        assert gap.startswith(f"stream FILLS begins at {count + 1}, but was seen up to ")
        removed = int(gap.split()[-5])
        assert len(rig.main.deliveries) + removed == count + 1


async def test_messages_that_expire_behind_a_full_inbox_are_counted(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory", max_msgs=5000)
    async with Rig(server.url) as rig:
        await rig.reaches_end()
        rig.main.can_record.clear()
        published = 0
        while not rig.main.inbox.is_full:
            await publish(client, map(fill_json, range(published, published + 1000)))
            published += 1000
            await until(lambda: len(rig.main.inbox) >= min(published, CAPACITY))  # noqa: B023  # awaited at once
        await publish(client, map(fill_json, range(published, published + 20_000)))
        published += 20_000
        await stored(js, published)
        rig.main.can_record.set()
        await publish(client, [fill_json(published)])
        await rig.has([published])

        removed = sum(int(gap.split()[-5]) for gap in rig.gaps)
        assert removed > 10_000
        assert len(rig.main.deliveries) + removed == published + 1


async def test_messages_that_expire_after_they_were_read_are_no_gap(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory", max_msgs=20)
    async with Rig(server.url) as rig:
        for start in range(0, 200, 20):
            await publish(client, map(fill_json, range(start, start + 20)))
            await rig.has(range(start, start + 20))
        await until(lambda: rig.feed.status.has_reached_end)

        assert rig.gaps == []


async def test_a_stream_that_ends_before_the_recorded_place_is_read_again_from_its_start(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory")
    await publish(client, map(fill_json, range(10)))
    async with Rig(server.url) as first:
        await until(lambda: all(r.seen() == 10 for r in first.recorders.values()))
    for recorder in first.recorders.values():  # as if the server had lost the last 90 messages that it had sent
        recorder.positions["nats:FILLS"] = recorder.positions["nats:FILLS"]._replace(sequence=100)

    async with Rig(server.url, after=first) as second:
        await second.has(range(10))
        await until(lambda: second.main.seen() == 10)

        assert second.gaps == [
            "stream FILLS ends at 10, but was seen up to 100: it lost messages, reading again from 1"
        ]


async def test_a_consumer_that_somebody_deletes_is_made_anew(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory")
    async with Rig(server.url) as rig:
        await publish(client, [fill_json(1)])
        await rig.has([1])
        [consumer] = await js.consumers_info("FILLS")
        await js.delete_consumer("FILLS", consumer.name)
        await publish(client, [fill_json(2)])
        await rig.has([1, 2])

        assert rig.main.trade_ids == [1, 2]
        assert rig.gaps == []


async def test_subjects_and_headers_that_are_not_text_do_not_blind_the_feed(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory")
    payload = fill_json(1)
    await publish_raw(server, b"trading.fills.\xff\xfe", b"", payload)
    await publish_raw(server, b"trading.fills.a\x0bb", b"", payload)
    await publish_raw(server, b"trading.fills.main", b"NATS/1.0 \xff\xff\r\n\r\n", b"not JSON")
    await publish_raw(server, b"trading.fills.main", b"NATS/1.0", b"not JSON")
    await publish(client, [fill_json(2)])

    async with Rig(server.url) as rig:
        await rig.has([2])
        await publish_raw(server, b"trading.prices", b"NATS/1.0 \xff\xff\r\n\r\n", b"not JSON")
        await until(lambda: len(rig.unrouted.deliveries) == 3)

        assert [delivery.rejection for delivery in rig.main.deliveries] == [MALFORMED_EVENT, MALFORMED_EVENT, None]
        assert [d.subject for d in rig.unrouted.deliveries] == [
            r"trading.fills.\xff\xfe",
            r"trading.fills.a\x0bb",
            "trading.prices",
        ]
        assert rig.feed.status.reconnects == 0


async def publish_raw(server: NatsServer, subject: bytes, headers: bytes, payload: bytes) -> None:
    """Publish what no well-behaved client would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    sizes = b"%d %d" % (len(headers), len(headers) + len(payload)) if headers else b"%d" % len(payload)
    writer.write((b"HPUB " if headers else b"PUB ") + subject + b" " + sizes + b"\r\n" + headers + payload + b"\r\n")
    writer.write(b"PING\r\n")
    while await reader.readline() != b"PONG\r\n":
        pass
    writer.close()
    await writer.wait_closed()
