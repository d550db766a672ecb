"""The consumer engine: what the server says of a message, and the first sign that one is missing."""

from __future__ import annotations

import pytest

from account_monitor.feeds.connection import Connection, Received
from account_monitor.feeds.jetstream import Consumer, ConsumerLost

OLD = b"$JS.ACK.FILLS.c.1.%d.%d.1795348800000000000.%d"
NEW = b"$JS.ACK.hub.ACCHASH.FILLS.c.1.%d.%d.1795348800000000000.%d"
NEWEST = NEW + b".random"


class DeadConnection(Connection):
    """A connection over which pulls go nowhere."""

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send nothing."""


def consumer(*received: Received, durable: str | None = None) -> Consumer:
    """Return a consumer that has received this."""
    opened = Consumer(DeadConnection(), "FILLS", ["trading.fills"], durable=durable)
    for message in received:
        opened.receive(message)
    return opened


def message(layout: bytes, sequence: int, number: int, pending: int = 0) -> Received:
    """Return the message of a consumer with that number."""
    return Received(b"trading.fills", layout % (sequence, number, pending), b"", b"{}")


def status(line: bytes) -> Received:
    """Return a status of the server."""
    return Received(b"_INBOX.x", b"", b"NATS/1.0 " + line + b"\r\n\r\n", b"")


@pytest.mark.parametrize("layout", [OLD, NEW, NEWEST])
async def test_the_place_of_a_message_is_read_from_any_layout_of_the_reply(layout: bytes) -> None:
    pulled = consumer(message(layout, 41, 1, 7), message(layout, 43, 2, 6))

    batch = await pulled.batch()

    assert [(m.sequence, m.pending) for m in batch] == [(41, 7), (43, 6)]
    assert [m.stored_ms for m in batch] == [1_795_348_800_000] * 2
    assert (pulled.taken, pulled.pending) == (2, 6)


async def test_a_message_that_did_not_arrive_ends_the_consumer_before_the_next_one() -> None:
    pulled = consumer(message(OLD, 1, 1), message(OLD, 3, 3), message(OLD, 4, 4))

    assert [m.sequence for m in await pulled.batch()] == [1]
    with pytest.raises(ConsumerLost, match="message 2 of consumer"):
        await pulled.batch()


async def test_a_durable_consumer_is_sent_again_what_did_not_arrive() -> None:
    pulled = consumer(message(OLD, 1, 1), message(OLD, 3, 3), message(OLD, 2, 4), durable="account-monitor")

    assert [m.sequence for m in await pulled.batch()] == [1, 3, 2]


@pytest.mark.parametrize("line", [b"100 Idle Heartbeat", b"408 Request Timeout\r\nNats-Pending-Messages: 999"])
async def test_heartbeats_and_the_end_of_a_pull_change_nothing(line: bytes) -> None:
    pulled = consumer(status(line), message(OLD, 1, 1))

    assert [m.sequence for m in await pulled.batch()] == [1]


@pytest.mark.parametrize("line", [b"409 Consumer Deleted", b"503", b"400 Bad Request", b"409 Exceeded MaxWaiting"])
async def test_any_other_status_ends_the_consumer_after_what_has_arrived(line: bytes) -> None:
    pulled = consumer(message(OLD, 1, 1), status(line))

    assert [m.sequence for m in await pulled.batch()] == [1]
    with pytest.raises(ConsumerLost, match=line.decode()):
        await pulled.batch()


@pytest.mark.parametrize("reply", [b"$JS.ACK.x", b"$JS.ACK.a.b.c.d.e.f.g", b"$JS.ACK.FILLS.c.1.x.1.1.1"])
async def test_a_reply_that_names_no_place_ends_the_consumer(reply: bytes) -> None:
    pulled = consumer(Received(b"trading.fills", reply, b"", b"{}"))

    with pytest.raises(ConsumerLost, match="names no place"):
        await pulled.batch()
