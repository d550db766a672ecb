"""One host alone does not keep others out of gRPC: what it may hold of connections and of calls, and for how long."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from account_monitor.api.access import TokenAccess
from account_monitor.api.grpc import calls
from account_monitor.api.grpc.crowd import MAX_PER_ADDRESS, Crowd
from account_monitor.api.grpc.room import Room
from account_monitor.api.grpc.server import HEALTH_CALLS
from account_monitor.api.grpc.tally import Tally
from account_monitor.api.problems import Refused
from account_monitor.tokens import TokenSet
from tests.integration.grpc_rig import SERVICE, ask, calling
from tests.integration.trading_desk import TradingDesk, clock, eventually, trading_desk

pytestmark = pytest.mark.integration

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">I", 0)[1:] + b"\x04\x00" + struct.pack(">I", 0)


@pytest.fixture
def own_address() -> str:
    """The address of this machine in its network: what comes from there comes from no loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network, and so no address that is not loopback")
        address: str = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no address that is not loopback")
    return address


@pytest.fixture
async def open_desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, grpc_host="0.0.0.0", grpc_port=0) as opened:  # noqa: S104  # its own address too
        await opened.open()
        yield opened


def has_ended(connection: socket.socket) -> bool:
    """Whether a connection that is still read from has come to its end."""
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


async def test_one_address_cannot_hold_all_connections(open_desk: TradingDesk, own_address: str) -> None:
    port = int(open_desk.doors.grpc_address.rpartition(":")[2])
    with ExitStack() as held:
        connections = []
        for _ in range(300):
            connection = held.enter_context(socket.create_connection((own_address, port)))
            connection.sendall(PREFACE)
            connections.append(connection)

        await eventually(lambda: sum(map(has_ended, connections)) >= 300 - MAX_PER_ADDRESS)

        async with calling(open_desk) as channel:
            assert (await ask(channel, "GetAccountState")).account == "main"
        assert sum(map(has_ended, connections)) == 300 - MAX_PER_ADDRESS


def pair() -> tuple[socket.socket, socket.socket, int]:
    """Return both ends of a connection over loopback, and the port that it was taken on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        return ours, theirs, server.getsockname()[1]


def test_connections_of_this_machine_and_of_other_ports_are_let_be() -> None:
    ours, theirs, port = pair()
    with ours, theirs:
        tally = Tally()

        Crowd(frozenset({port}), tally, most_per_address=0).look()
        Crowd(frozenset({port + 1}), tally, most_per_address=0).look()

        theirs.sendall(b"still here")
        assert ours.recv(100) == b"still here"
        assert tally.refused_connections == 0


def test_the_youngest_are_those_that_are_too_many(own_address: str) -> None:
    tally = Tally()
    with ExitStack() as held:
        server = held.enter_context(socket.create_server((own_address, 0)))
        crowd = Crowd(frozenset({server.getsockname()[1]}), tally, most_per_address=1)
        clients = []
        for _ in range(3):
            clients.append(held.enter_context(socket.create_connection(server.getsockname())))
            held.enter_context(server.accept()[0])
            crowd.look()

        assert [has_ended(each) for each in clients] == [False, True, True]
        assert tally.refused_connections >= 2


async def test_a_request_that_does_not_come_ends_its_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "REQUEST_SECONDS", 0.1)
    async with trading_desk(tmp_path, grpc_port=0) as desk:
        await desk.open()
        async with calling(desk) as channel:
            method: Any = channel.stream_unary(SERVICE + "GetPnL")
            call = method()

            assert (await call.code()) is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "did not come within 0.1 s" in await call.details()
            assert (await ask(channel, "GetAccountState")).account == "main"


async def test_a_call_without_a_request_is_refused(open_desk: TradingDesk) -> None:
    async with calling(open_desk) as channel:
        method: Any = channel.stream_unary(SERVICE + "GetPnL")
        call = method()
        await call.done_writing()

        assert (await call.code()) is grpc.StatusCode.INVALID_ARGUMENT


def health(channel: grpc.aio.Channel, name: str) -> Any:
    make: Any = channel.unary_stream if name == "Watch" else channel.unary_unary
    method = make(f"/grpc.health.v1.Health/{name}", response_deserializer=HealthCheckResponse.FromString)
    return method(HealthCheckRequest().SerializeToString(), timeout=10)


async def test_who_watches_health_takes_no_room_from_who_checks_it(open_desk: TradingDesk) -> None:
    async with calling(open_desk) as channel:
        watching = [health(channel, "Watch") for _ in range(HEALTH_CALLS)]
        for each in watching:
            await each.read()

        assert (await health(channel, "Check")).status == HealthCheckResponse.NOT_SERVING
        assert (await health(channel, "Watch").code()) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_one_address_has_so_many_places_and_gives_them_back() -> None:
    room = Room(3, most_per_address=1)
    full = partial(pytest.raises, Refused, match=r"^3 calls are being answered")

    for _ in range(2):
        with room.place_for("203.0.113.7"), room.place_for("127.0.0.1"), room.place_for("127.0.0.1"), full():
            room.place_for("203.0.113.8").__enter__()
        with room.place_for("2001:db8::1"), pytest.raises(Refused, match=r"^1 calls from 2001:db8::/64 are "):
            room.place_for("2001:db8::2").__enter__()


def guard() -> TokenAccess:
    return TokenAccess(TokenSet(()), clock=clock)


async def test_who_has_no_valid_token_is_refused_before_their_request_is_waited_for(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, grpc_port=0, access=guard()) as opened, calling(opened) as channel:
        for name in ("GetPnL", "WatchAccount"):
            method: Any = channel.stream_stream(SERVICE + name)

            assert (await asyncio.wait_for(method().code(), 5)) is grpc.StatusCode.UNAUTHENTICATED
