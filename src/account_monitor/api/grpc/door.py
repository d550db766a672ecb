"""Door: the port of gRPC, taken at start and answered once gRPC is imported, which takes a third of a second.

What needs grpc is imported in `open`, in a thread.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from account_monitor.api.access import Access
from account_monitor.api.descriptors import Descriptors
from account_monitor.api.grpc.tally import Tally
from account_monitor.api.listening import joined, listen
from account_monitor.api.metrics import Told
from account_monitor.api.publisher import Publisher
from account_monitor.api.renderer import Renderer
from account_monitor.monitor.desk import Desk

if TYPE_CHECKING:
    import grpc

    from account_monitor.api.grpc.server import GrpcServer


EVERY_IPV4 = "0.0.0.0"  # noqa: S104  # recognized; what is bound is configured


class GrpcDoor:
    """The gRPC server of one desk."""

    def __init__(
        self,
        desk: Desk,
        publisher: Publisher,
        renderer: Renderer,
        descriptors: Descriptors,
        *,
        host: str,
        port: int,
        max_connections: int,
        access: Access,
        credentials: Callable[[], grpc.ServerCredentials] | None = None,
    ) -> None:
        """`max_connections` is how many calls are answered at once. `credentials` None: without TLS; it is called in a
        thread.
        """
        self._desk = desk
        self._publisher = publisher
        self._renderer = renderer
        self._descriptors = descriptors
        self._place = (host, port)
        self._max_connections = max_connections
        self._access = access
        self._credentials = credentials
        self._tally = Tally()
        self._reserved: list[socket.socket] = []
        self._barred: socket.socket | None = None
        """Keeps the port from being opened on IPv6, where only IPv4 is configured."""
        self._server: GrpcServer | None = None
        self._is_closed = False
        self._changing = asyncio.Lock()
        """Held while the server starts or stops."""
        self.address = ""
        """What is bound, as `127.0.0.1:50051`."""

    async def reserve(self) -> None:
        """Take the port. Raises: ConfigurationError where it cannot be had."""
        host, port = self._place
        self._reserved = await listen(host, port, "grpc")
        taken = self._reserved[0].getsockname()[1]
        self.address = joined(host, taken)
        if host == EVERY_IPV4:
            self._barred = _barred_ipv6(taken)

    async def open(self) -> None:
        """Return when calls are answered, or the door was closed meanwhile.

        Raises: RuntimeError where somebody took the port just now.
        """
        module = await asyncio.to_thread(import_module, "account_monitor.api.grpc.server")
        credentials = None if self._credentials is None else await asyncio.to_thread(self._credentials)
        server: GrpcServer = module.GrpcServer(
            self._desk,
            self._publisher,
            self._renderer,
            self._descriptors,
            self._tally,
            access=self._access,
            max_connections=self._max_connections,
        )
        async with self._changing:
            if self._is_closed:
                return
            addresses = [joined(*reserved.getsockname()[:2]) for reserved in self._reserved]
            self._release()  # gRPC opens its sockets itself
            await server.start(addresses, credentials)
            self._server = server

    async def close(self, grace_seconds: float) -> None:
        """Take no more calls; those being answered may take so long."""
        async with self._changing:
            self._is_closed = True
            self._release()
            if self._server is not None:
                await self._server.stop(grace_seconds)
            if self._barred is not None:
                self._barred.close()

    def samples(self) -> list[Told]:
        """Return how many calls there were, and how long they took."""
        return self._tally.samples()

    def _release(self) -> None:
        for reserved in self._reserved:
            reserved.close()
        self._reserved.clear()


def _barred_ipv6(port: int) -> socket.socket | None:
    """Take a port on IPv6 without listening, None where that cannot be had: then gRPC cannot have it either.

    gRPC takes every address of both families for `0.0.0.0`, unless IPv6 is taken. Connections to a port that is bound
    and does not listen are refused. Without SO_REUSEADDR, or both could be bound.
    """
    if not socket.has_ipv6:
        return None
    try:
        barred = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        barred.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        barred.bind(("::", port))
    except OSError:
        barred.close()
        return None
    return barred
