"""The reader of a NATS connection: whole messages to their receivers, however the bytes are cut."""

from __future__ import annotations

import asyncio

import pytest
from nats.errors import ProtocolError

from account_monitor.feeds.connection import Connection, Received

STREAM = (
    b"MSG trading.fills.main 1 2\r\nhi\r\n"
    b"MSG other 7 3\r\nno!\r\n"
    b"MSG trading.fills.main 1 $JS.ACK.S.C.1.2.3.4.5 4\r\n\r\n\r\n\r\n"
    b"+OK\r\n"
    b"HMSG a.\xff 1 14 16\r\nNATS/1.0 \xff\r\n\r\nhi\r\n"
    b"HMSG b\x0bc 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n"
    b"MSG d 1 0\r\n\r\n"
)
EXPECTED = [
    Received(b"trading.fills.main", b"", b"", b"hi"),
    Received(b"trading.fills.main", b"$JS.ACK.S.C.1.2.3.4.5", b"", b"\r\n\r\n"),
    Received(b"a.\xff", b"", b"NATS/1.0 \xff\r\n\r\n", b"hi"),
    Received(b"b\x0bc", b"r", b"NATS/1.0\r\n\r\n", b""),
    Received(b"d", b"", b"", b""),
]


def connection_with_receiver() -> tuple[Connection, list[Received]]:
    """Return a connection, not opened, whose subscription 1 is remembered."""
    connection = Connection()
    received: list[Received] = []
    connection.messages.receivers[1] = received.append
    return connection, received


async def parse(*chunks: bytes) -> list[Received]:
    """Return what a receiver gets from these bytes."""
    connection, received = connection_with_receiver()
    for chunk in chunks:
        await connection.messages.parse(chunk)
    return received


async def test_messages_come_whole_wherever_the_bytes_are_cut() -> None:
    assert await parse(STREAM) == EXPECTED
    assert await parse(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == EXPECTED
    for cut in range(len(STREAM)):
        assert await parse(STREAM[:cut], STREAM[cut:]) == EXPECTED


async def test_a_long_message_is_put_together_from_many_parts() -> None:
    payload = bytes(range(256)) * 4096
    data = b"MSG a 1 %d\r\n%b\r\nMSG b 1 1\r\nx\r\n" % (len(payload), payload)

    received = await parse(*(data[i : i + 1000] for i in range(0, len(data), 1000)))

    assert [message.payload for message in received] == [payload, b"x"]


async def test_what_is_no_protocol_is_an_error() -> None:
    for data in (b"MSG a x 5\r\n", b"MSG a\r\n", b"NONSENSE\r\n", b"x" * 100_000):
        with pytest.raises(ProtocolError):
            await parse(data)


async def test_what_was_left_of_a_broken_connection_is_forgotten() -> None:
    connection, received = connection_with_receiver()

    await connection.messages.parse(b"MSG a 1 100\r\nonly a part of it")
    connection.messages.reset()
    await connection.messages.parse(b"MSG b 1 2\r\nhi\r\n")

    assert [message.subject for message in received] == [b"b"]


async def test_a_pong_that_nobody_waits_for_any_more_is_no_error() -> None:
    connection, received = connection_with_receiver()
    abandoned = asyncio.get_running_loop().create_future()
    abandoned.cancel()
    connection._pongs = [abandoned]

    await connection.messages.parse(b"PONG\r\nMSG a 1 2\r\nhi\r\n")

    assert len(received) == 1
    assert connection._pongs == []
