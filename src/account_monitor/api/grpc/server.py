"""Server: the methods by name, the limits that gRPC keeps, and the port."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when grpc is imported: its own lines are not those of our log
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # what this process starts is another program at once

import grpc

from account_monitor.api.access import Access
from account_monitor.api.descriptors import Descriptors
from account_monitor.api.grpc.answers import Answers
from account_monitor.api.grpc.calls import Calls
from account_monitor.api.grpc.crowd import Crowd
from account_monitor.api.grpc.health import Readiness
from account_monitor.api.grpc.reflection import reflection_handlers
from account_monitor.api.grpc.room import Room
from account_monitor.api.grpc.tally import Tally
from account_monitor.api.grpc.watch import Watching
from account_monitor.api.publisher import Publisher
from account_monitor.api.renderer import Renderer
from account_monitor.monitor.desk import Desk
from account_monitor.v1 import account_monitor_pb2 as v1

SERVICE = v1.DESCRIPTOR.services_by_name["AccountMonitor"].full_name

MAX_REQUEST_BYTES = 65_536
"""No request that the service knows comes near it."""

HEALTH_CALLS = 100
"""Calls of health at once, beside all others: it asks for no token. `Check` has so many, and `Watch` so many more."""

HEALTH_CALLS_PER_ADDRESS = 20
"""Of these for one address; a balancer watches once, and `Check` takes less than a millisecond."""

SPARE_STREAMS = 1_000
"""Of one connection, so that calls beyond the limit come in and are refused by us, who say why."""

SPARE_CONNECTIONS = 100
"""Connections beyond one for each call, such as those of balancers that only look whether somebody is there."""

_SECOND, _MINUTE, _HOUR = 1_000, 60_000, 3_600_000
_LIMITS = {
    "grpc.so_reuseport": 0,  # else a second service would get some of the calls instead of an error
    "grpc.max_receive_message_length": MAX_REQUEST_BYTES,
    "grpc.max_send_message_length": -1,  # an account of thousands of positions is a message too
    "grpc.max_metadata_size": 16_384,
    "grpc.server_handshake_timeout_ms": 10 * _SECOND,  # for who connects and says nothing
    # Who is gone without a goodbye is noticed within 20 + 10 s.
    "grpc.keepalive_time_ms": 20 * _SECOND,
    "grpc.keepalive_timeout_ms": 10 * _SECOND,
    "grpc.http2.max_pings_without_data": 0,  # on a quiet stream too
    # A client may ping as often as each 10 s; one that does so more often is sent away (ENHANCE_YOUR_CALM).
    "grpc.http2.min_recv_ping_interval_without_data_ms": 10 * _SECOND,
    "grpc.http2.min_ping_interval_without_data_ms": 10 * _SECOND,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_ping_strikes": 2,
    "grpc.max_connection_idle_ms": 5 * _MINUTE,
    # A client that answers pings and takes nothing holds its call, and its place, until its connection ends.
    "grpc.max_connection_age_ms": _HOUR,
    "grpc.max_connection_age_grace_ms": 30 * _SECOND,
}


class GrpcServer:
    """Answers `account_monitor.v1.AccountMonitor`, reflection and health."""

    def __init__(
        self,
        desk: Desk,
        publisher: Publisher,
        renderer: Renderer,
        descriptors: Descriptors,
        tally: Tally,
        *,
        access: Access,
        max_connections: int,
    ) -> None:
        """`max_connections` is how many calls are answered at once, health apart."""
        calls = Calls(access, tally, Room(max_connections))
        self._tally = tally
        self._keeping: asyncio.Task[None] | None = None
        self._answers = Answers(desk, renderer)
        self._watching = Watching(desk, publisher, calls)
        self._readiness = Readiness(desk, SERVICE)
        most = max_connections + HEALTH_CALLS
        limits = {
            **_LIMITS,
            "grpc.max_concurrent_streams": most + SPARE_STREAMS,
            "grpc.max_allowed_incoming_connections": min(most + SPARE_CONNECTIONS, descriptors.of_grpc()),
        }
        self._server = grpc.aio.server(options=tuple(limits.items()))
        self._server.add_generic_rpc_handlers(
            (
                self._own_handler(calls),
                self._readiness.handler(_health_calls(tally), _health_calls(tally)),
                *reflection_handlers(calls, (SERVICE, "grpc.health.v1.Health")),
            )
        )

    def _own_handler(self, calls: Calls) -> grpc.GenericRpcHandler:
        answers = self._answers
        methods = {
            "GetAccountState": answers.account_state,
            "GetPosition": answers.position,
            "GetAllPositions": answers.positions,
            "GetPnL": answers.pnl,
            "GetBalance": answers.balance,
            "GetPnLHistory": answers.pnl_history,
        }
        handlers = {name: calls.unary(name, answer) for name, answer in methods.items()}
        handlers["WatchAccount"] = calls.stream("WatchAccount", self._watching.watch)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def start(self, addresses: Sequence[str], credentials: grpc.ServerCredentials | None) -> None:
        """Listen on each `host:port`. Raises: RuntimeError where one cannot be had."""
        for address in addresses:
            if credentials is None:
                self._server.add_insecure_port(address)
            else:
                self._server.add_secure_port(address, credentials)
        await self._server.start()
        ports = frozenset(int(address.rpartition(":")[2]) for address in addresses)
        self._keeping = asyncio.create_task(Crowd(ports, self._tally).keep())

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, tell those who watch, and cut off at last what is still being answered."""
        self._watching.is_stopping = self._readiness.is_stopping = True
        if self._keeping is not None:
            self._keeping.cancel()
        await self._server.stop(grace_seconds)


def _health_calls(tally: Tally) -> Calls:
    return Calls(None, tally, Room(HEALTH_CALLS, HEALTH_CALLS_PER_ADDRESS))
