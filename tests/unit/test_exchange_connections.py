"""Connections: pings, pongs, the 24 hours, and how much a client may send."""

from __future__ import annotations

import pytest

from exchange_simulator.exchange import Close, Ping, Pong, Refused
from tests.exchange_rig import Rig

MINUTE_MS = 60_000


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_the_server_pings_every_three_minutes(rig: Rig) -> None:
    client = rig.client("/market/ws")

    rig.pass_time(10 * MINUTE_MS)

    assert sum(isinstance(output, Ping) for output in client.outputs) == 3
    assert client.connection.is_open


def test_ten_minutes_without_a_pong_end_the_connection(rig: Rig) -> None:
    client = rig.client("/market/ws")
    client.answers_pings = False

    rig.pass_time(13 * MINUTE_MS - 1)
    assert client.connection.is_open
    rig.pass_time(1)

    assert client.outputs[-1] == Close(1008, "Pong timeout")
    assert not client.connection.is_open


def test_a_pong_that_nobody_asked_for_is_as_good(rig: Rig) -> None:
    client = rig.client("/market/ws")
    client.answers_pings = False

    for _ in range(5):
        rig.pass_time(9 * MINUTE_MS)
        client.connection.receive_pong(b"")

    assert client.connection.is_open


def test_a_connection_ends_after_a_day(rig: Rig) -> None:
    client = rig.client("/private/ws")

    rig.pass_time(86_400_000 - 1)
    assert client.connection.is_open
    rig.pass_time(1)

    assert client.outputs[-1] == Close(1001, "24 hours")


def test_pings_of_the_client_are_answered(rig: Rig) -> None:
    client = rig.client("/market/ws")

    client.connection.receive_ping(b"abc")

    assert client.outputs == [Pong(b"abc")]


def test_spot_pings_every_twenty_seconds_and_waits_a_minute(rig: Rig) -> None:
    client = rig.client("/ws-api/v3")
    client.answers_pings = False

    rig.pass_time(79_999)
    pings = sum(isinstance(output, Ping) for output in client.outputs)
    rig.pass_time(1)

    assert pings == 3
    assert client.outputs[-1] == Close(1008, "Pong timeout")


def test_more_than_ten_messages_in_a_second_end_the_connection(rig: Rig) -> None:
    client = rig.client("/market/ws")
    for _ in range(3):
        for number in range(10):
            client.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
        rig.pass_time(1000)
    assert client.connection.is_open

    for _ in range(11):
        client.connection.receive_ping(b"")

    assert client.outputs[-1] == Close(1008, "Too many requests")


def test_an_address_that_keeps_sending_too_much_is_banned(rig: Rig) -> None:
    for _ in range(5):
        client = rig.client("/market/ws")
        for _ in range(11):
            client.connection.receive_pong(b"")

    with pytest.raises(Refused) as caught:
        rig.client("/market/ws")

    assert caught.value.status == 418


def test_nothing_is_put_on_a_connection_that_ended(rig: Rig) -> None:
    client = rig.user_client()
    client.connection.closed()

    rig.trade()
    client.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    rig.pass_time(86_400_000)

    assert client.outputs == []


def test_the_exchange_can_end_the_connections_of_one_account(rig: Rig) -> None:
    mine, market = rig.user_client(), rig.client("/market/ws")

    assert rig.exchange.disconnect("demo-key", 1000) == 1

    assert mine.outputs == [Close(1000)]
    assert market.connection.is_open


def test_the_next_moment_is_named_before_it_comes(rig: Rig) -> None:
    rig.user_client()

    due_ms = rig.exchange.next_due_ms()

    assert due_ms is not None
    assert rig.now_ms < due_ms <= rig.now_ms + 1000
