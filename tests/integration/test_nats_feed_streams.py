"""Which streams cover which subjects: the NATS feed finds them, falls back to core NATS, and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from tests.integration.feed_rig import Rig, fill_json, until
from tests.integration.nats_server import NatsServer, add_stream, nats_server_path, publish

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


async def test_without_a_stream_it_listens_on_core_nats(server: NatsServer, client: Client) -> None:
    async with Rig(server.url) as rig:
        await rig.reaches_end()
        await publish(client, map(fill_json, range(1000)))
        await rig.has(range(1000))

        assert rig.main.trade_ids == list(range(1000))
        assert {d.source for d in rig.main.deliveries} == {"nats"}
        assert rig.feed.status.modes == {"trading.fills": "core", "trading.fills.*": "core"}


async def test_without_jetstream_it_listens_on_core_nats(tmp_path: Path) -> None:
    with NatsServer(tmp_path, jetstream=False) as server:
        client = await server.connect()
        async with Rig(server.url) as rig:
            await rig.reaches_end()
            await publish(client, [fill_json(1)])
            await rig.has([1])

            assert rig.feed.status.last_error == ""
        await client.close()


async def test_a_stream_that_is_made_while_running_is_switched_to_and_read_from_its_start(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    async with Rig(server.url) as rig:
        await rig.reaches_end()
        await publish(client, map(fill_json, range(10)))
        await add_stream(js, "FILLS", storage="memory")
        await publish(client, map(fill_json, range(10, 20)))
        await until(lambda: rig.feed.status.modes["trading.fills.*"] == "jetstream FILLS")
        await publish(client, map(fill_json, range(20, 30)))
        await rig.has(range(30))

        from_stream = [int(d.payload.split(b'"')[3]) for d in rig.main.deliveries if d.source == "nats:FILLS"]
        assert from_stream == list(range(10, 30))
        assert rig.gaps == []


async def test_a_stream_that_vanishes_is_reported_and_core_nats_takes_over(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory")
    async with Rig(server.url) as rig:
        await publish(client, [fill_json(1)])
        await rig.has([1])
        await js.delete_stream("FILLS")
        await until(lambda: rig.feed.status.modes["trading.fills.*"] == "core")
        await publish(client, [fill_json(2)])
        await rig.has([1, 2])

        assert rig.gaps == ["stream FILLS is gone: what it held and was not read is lost, listening on core NATS now"]


async def test_two_streams_may_share_the_subjects(server: NatsServer, client: Client, js: JetStreamContext) -> None:
    await add_stream(js, "COMMON", "trading.fills", storage="memory")
    await add_stream(js, "EACH", "trading.fills.*", storage="memory")
    await publish(client, map(fill_json, range(10)), "trading.fills")
    await publish(client, map(fill_json, range(10, 20)), "trading.fills.main")

    async with Rig(server.url) as first:
        await first.has(range(20))
        await until(lambda: all(r.seen("nats:COMMON") == r.seen("nats:EACH") == 10 for r in first.recorders.values()))

        assert first.feed.status.modes == {"trading.fills": "jetstream COMMON", "trading.fills.*": "jetstream EACH"}

    async with Rig(server.url, after=first) as second:
        await publish(client, [fill_json(20)], "trading.fills")
        await second.has([20])

        assert second.main.trade_ids == [20]


async def test_a_stream_of_one_account_is_read_and_the_others_are_heard_on_core_nats(
    server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "MAIN", "trading.fills.main", storage="memory")
    async with Rig(server.url, "main", "alt") as rig:
        await rig.reaches_end()
        await publish(client, [fill_json(1)], "trading.fills.main")
        await publish(client, [fill_json(2)], "trading.fills.alt")
        await publish(client, [fill_json(3, "main")], "trading.fills")
        await rig.has([1, 3])
        await rig.has([2], "alt")

        assert sorted((d.source, d.subject) for d in rig.main.deliveries) == [
            ("nats", "trading.fills"),
            ("nats:MAIN", "trading.fills.main"),
        ]
        assert rig.feed.status.modes == {"trading.fills": "core", "trading.fills.*": "core + jetstream MAIN"}


@pytest.mark.parametrize("retention", ["interest", "workqueue"])
async def test_a_stream_that_drops_what_is_acknowledged_is_told_after_the_commit(
    retention: str, server: NatsServer, client: Client, js: JetStreamContext
) -> None:
    await add_stream(js, "FILLS", storage="memory", retention=retention)
    async with Rig(server.url) as first:
        await first.reaches_end()
        await publish(client, map(fill_json, range(100)))
        await first.has(range(100))
        first.main.can_record.clear()
        await publish(client, map(fill_json, range(100, 150)))
        await until(lambda: len(first.main.inbox) == 50)

        assert (await js.stream_info("FILLS")).state.messages == 50

    async with Rig(server.url, after=first) as second:  # what was put and not committed comes again
        await second.has(range(100, 150))

        assert set(second.main.trade_ids) == set(range(100, 150))
        assert second.gaps == []
        await stream_is_empty(js)


async def stream_is_empty(js: JetStreamContext) -> None:
    """Return once every message was acknowledged."""
    while (await js.stream_info("FILLS")).state.messages:
        pass
