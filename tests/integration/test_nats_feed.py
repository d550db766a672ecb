"""The NATS feed on a real server with one stream: what is published arrives, whole, in order, where it belongs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from nats.aio.client import Client

from account_monitor.monitor.inbox import CAPACITY
from account_monitor.monitor.ports import MALFORMED_EVENT, UNKNOWN_ACCOUNT
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
async def stream(client: Client) -> None:
    await add_stream(client.jetstream(), "FILLS", storage="memory")


@pytest.mark.usefixtures("stream")
async def test_a_stream_of_20_000_fills_arrives_whole_and_in_order(server: NatsServer, client: Client) -> None:
    await publish(client, (fill_json(i) for i in range(20_000)))

    async with Rig(server.url) as rig:
        await rig.has(range(20_000))

        assert rig.main.trade_ids == list(range(20_000))
        assert rig.main.sequences == list(range(1, 20_001))
        assert rig.feed.status.received["fill"] == 20_000
        assert rig.gaps == []


@pytest.mark.usefixtures("stream")
async def test_a_restart_goes_on_after_the_recorded_place(server: NatsServer, client: Client) -> None:
    await publish(client, map(fill_json, range(100)))
    async with Rig(server.url) as first:
        await first.has(range(100))
        await until(lambda: first.main.seen() == 100)
    await publish(client, map(fill_json, range(100, 150)))

    async with Rig(server.url, after=first) as second:
        await second.has(range(100, 150))

        assert second.main.trade_ids == list(range(100, 150))
        assert second.gaps == []


@pytest.mark.usefixtures("stream")
async def test_it_says_when_what_was_there_at_start_has_been_put(server: NatsServer, client: Client) -> None:
    await publish(client, map(fill_json, range(5000)))

    async with Rig(server.url) as rig:
        assert not rig.feed.status.has_reached_end
        await rig.reaches_end()

        assert len(rig.main.trade_ids) + len(rig.main.inbox) == 5000
        assert rig.feed.status.connected
        assert rig.feed.status.modes == {"trading.fills": "jetstream FILLS", "trading.fills.*": "jetstream FILLS"}


@pytest.mark.usefixtures("stream")
async def test_an_empty_stream_has_no_end_to_wait_for(server: NatsServer) -> None:
    async with Rig(server.url) as rig:
        await rig.reaches_end()


@pytest.mark.usefixtures("stream")
async def test_a_message_goes_to_the_account_of_its_subject_or_else_of_its_body(
    server: NatsServer, client: Client
) -> None:
    await publish(client, [fill_json(1)], "trading.fills.main")
    await publish(client, [fill_json(2, "alt")], "trading.fills.alt")
    await publish(client, [fill_json(3, "alt")], "trading.fills")

    async with Rig(server.url, "main", "alt") as rig:
        await rig.has([2, 3], "alt")

        assert rig.main.trade_ids == [1]
        assert rig.recorders["alt"].trade_ids == [2, 3]
        assert rig.unrouted.deliveries == []


@pytest.mark.usefixtures("stream")
async def test_what_names_no_configured_account_is_parked_with_its_reason(server: NatsServer, client: Client) -> None:
    await publish(client, [fill_json(1, "ghost")], "trading.fills")
    await publish(client, [fill_json(2)], "trading.fills.ghost")
    await publish(client, [fill_json(3)], "trading.fills")
    await publish(client, [fill_json(4, "alt")], "trading.fills.main")
    await publish(client, [b"{"], "trading.fills.main")

    async with Rig(server.url, "main", "alt") as rig:
        await until(lambda: len(rig.unrouted.deliveries) == 3 and len(rig.main.deliveries) == 2)

        assert rig.unrouted.rejections == [
            (UNKNOWN_ACCOUNT, 'account was "ghost", which is not configured'),
            (UNKNOWN_ACCOUNT, 'account was "ghost", which is not configured'),
            (MALFORMED_EVENT, "account is missing, expected one: more than one account is configured"),
        ]
        assert rig.main.rejections[0] == (MALFORMED_EVENT, 'account was "alt", but the subject names "main"')
        assert rig.main.rejections[1][0] == MALFORMED_EVENT


@pytest.mark.usefixtures("stream")
async def test_with_one_account_a_message_without_one_is_its_own(server: NatsServer, client: Client) -> None:
    await publish(client, [fill_json(1), b"not JSON"], "trading.fills")

    async with Rig(server.url) as rig:
        await until(lambda: len(rig.main.deliveries) == 2)

        assert rig.main.trade_ids == [1]
        assert rig.main.deliveries[1].payload == b"not JSON"
        assert rig.unrouted.deliveries == []


@pytest.mark.usefixtures("stream")
async def test_ten_thousand_malformed_messages_do_not_hold_up_the_good_ones(server: NatsServer, client: Client) -> None:
    payloads = [fill_json(i) if i % 100 == 0 else b'{"id":"%d","price":"NaN"}' % i for i in range(10_000)]
    await publish(client, payloads)

    async with Rig(server.url) as rig:
        await until(lambda: len(rig.main.deliveries) == 10_000)

        assert rig.main.trade_ids == list(range(0, 10_000, 100))
        assert rig.feed.status.received == {"fill": 100, MALFORMED_EVENT: 9_900}


@pytest.mark.usefixtures("stream")
async def test_a_retry_names_the_dead_letter_that_it_is_another_attempt_at(server: NatsServer, client: Client) -> None:
    await publish(client, [fill_json(1)], headers={"Nats-Msg-Id": "x", "Account-Monitor-Retry": "17"})
    await publish(client, [fill_json(2)], headers={"Account-Monitor-Retry": "seventeen"})
    await publish(client, [fill_json(3)])

    async with Rig(server.url) as rig:
        await rig.has([1, 2, 3])

        assert [delivery.retry_of for delivery in rig.main.deliveries] == [17, None, None]


@pytest.mark.usefixtures("stream")
async def test_accounts_without_fills_read_nothing_again_after_a_restart(server: NatsServer, client: Client) -> None:
    accounts = ["main", *(f"idle{i}" for i in range(9))]
    await publish(client, map(fill_json, range(5000)))
    async with Rig(server.url, *accounts) as first:
        await until(lambda: all(r.seen() == 5000 for r in first.recorders.values()))

    async with Rig(server.url, *accounts, after=first) as second:
        await second.reaches_end()
        await publish(client, [fill_json(5000)])
        await second.has([5000])

        assert second.feed.status.received == {"fill": 1}


@pytest.mark.usefixtures("stream")
async def test_progress_through_messages_that_are_not_fills_is_recorded_too(server: NatsServer, client: Client) -> None:
    await client.jetstream().delete_stream("FILLS")
    await add_stream(client.jetstream(), "ALL", "trading.>", storage="memory", max_msgs=100)
    await publish(client, [fill_json(1)])
    await publish(client, [b"{}"] * 50, "trading.other")
    async with Rig(server.url) as first:
        await until(lambda: first.main.seen("nats:ALL") == 51)
        await publish(client, [b"{}"] * 500, "trading.other")
        await until(lambda: all(r.seen("nats:ALL") == 551 for r in first.recorders.values()))

        assert first.gaps == []

    async with Rig(server.url, after=first) as second:
        await publish(client, [fill_json(2)])
        await second.has([2])

        assert second.gaps == []


async def test_noting_progress_never_overtakes_a_fill_that_is_on_its_way(server: NatsServer, client: Client) -> None:
    js = client.jetstream()
    await add_stream(js, "ALL", "trading.>", storage="memory")
    async with Rig(server.url, look_seconds=0.0) as rig:  # as often as it can, while fills and others come one by one
        for i in range(500):
            await js.publish("trading.other", b"{}")
            await js.publish("trading.fills.main", fill_json(i))
        await rig.has(range(500))
        await until(lambda: rig.main.seen("nats:ALL") == 1000)

        assert rig.main.trade_ids == list(range(500))


@pytest.mark.usefixtures("stream")
async def test_a_full_inbox_stops_the_pulling_and_nothing_is_lost(server: NatsServer, client: Client) -> None:
    count = 3 * CAPACITY
    await publish(client, map(fill_json, range(count)))

    async with Rig(server.url) as rig:
        rig.main.can_record.clear()
        await until(lambda: rig.main.inbox.is_full)
        unread = await _quiet_pending(client)
        assert len(rig.main.inbox) < CAPACITY + 1000
        assert unread >= count - len(rig.main.inbox) - 4000

        rig.main.can_record.set()
        await rig.has(range(count))

        assert rig.main.trade_ids == list(range(count))


async def _quiet_pending(client: Client) -> int:
    """Return how many messages the feed's consumer has not been sent, once that number stays."""
    before = -1
    while True:
        [info] = await client.jetstream().consumers_info("FILLS")
        assert info.num_pending is not None
        if info.num_pending == before:
            return before
        before = info.num_pending
        await asyncio.sleep(0.2)


@pytest.mark.usefixtures("stream")
async def test_an_account_that_is_added_while_running_gets_all_that_the_stream_holds(
    server: NatsServer, client: Client
) -> None:
    await publish(client, map(fill_json, range(1000)))
    await publish(client, map(fill_json, range(1000)), "trading.fills.late")

    async with Rig(server.url) as rig:
        await rig.has(range(1000))
        await rig.add_account("late")
        await rig.has(range(1000), "late")
        await publish(client, [fill_json(1000)])
        await rig.has([1000])

        assert rig.main.trade_ids == list(range(1001))
        assert rig.recorders["late"].trade_ids == list(range(1000))


@pytest.mark.usefixtures("stream")
async def test_prices_become_marks(server: NatsServer, client: Client) -> None:
    price = b'{"symbol":"BTCUSDT","price":50000.10,"timestamp":"2026-11-22T12:00:00Z"}'

    async with Rig(server.url) as rig:
        await rig.reaches_end()
        await publish(client, [b"no price", price], "trading.prices")
        await until(lambda: len(rig.prices.marks) == 1 and len(rig.unrouted.deliveries) == 1)

        assert rig.prices.marks == [("BTCUSDT", Decimal("50000.10"), 1_795_348_800_000)]
        assert rig.unrouted.deliveries[0].subject == "trading.prices"


@pytest.mark.usefixtures("stream")
async def test_cancelled_it_leaves_nothing_behind(server: NatsServer, client: Client) -> None:
    await publish(client, map(fill_json, range(3000)))
    before = asyncio.all_tasks()

    async with Rig(server.url) as rig:
        await until(lambda: len(rig.main.deliveries) > 0)

    await until(lambda: asyncio.all_tasks() == before)
    while await client.jetstream().consumers_info("FILLS"):
        pass  # it was asked to go, and nobody waits for the answer


@pytest.mark.usefixtures("stream")
async def test_the_clock_of_the_stream_vouches_for_fills_when_ours_is_late(server: NatsServer, client: Client) -> None:
    await publish(client, [fill_json(1)])

    async with Rig(server.url, clock=lambda: 0) as rig:
        await rig.has([1])
        assert rig.main.rejections == []


async def test_on_core_nats_a_fill_from_the_future_is_parked(server: NatsServer, client: Client) -> None:
    async with Rig(server.url, clock=lambda: 0) as rig:
        await rig.reaches_end()
        await client.publish("trading.fills", fill_json(1))
        await until(lambda: len(rig.main.deliveries) == 1)

        ((rejection, reason),) = rig.main.rejections
        assert rejection == MALFORMED_EVENT
        assert reason.startswith('timestamp was "2026-11-22T12:00:00.000Z", expected at most 1970-01-02T00:00:00.000Z')
