"""Accepting: clients of TLS are counted before their handshake, which may never come, and costs 50 KB each."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog

from account_monitor.api.listening import BACKLOG
from account_monitor.api.problems import Refused
from account_monitor.api.turnstile import Turnstile

RETRY_SECONDS = 1.0
"""After the system had no descriptor or memory left for a client."""

log = structlog.get_logger()


class TlsListener:
    """Accepts clients of some sockets, as a server of asyncio does, and closes at once who is one too many."""

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        protocol: Callable[[socket.socket], asyncio.Protocol],
        context: ssl.SSLContext,
        turnstile: Turnstile,
        *,
        handshake_seconds: float,
    ) -> None:
        """`protocol` makes that of a client whose handshake begins: it has a place in the turnstile under its socket,
        which the protocol exchanges for one of its own once it is connected.
        """
        self._sockets = tuple(sockets)
        self._protocol = protocol
        self._context = context
        self._turnstile = turnstile
        self._handshake_seconds = handshake_seconds
        self._handshakes: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        for listener in self._sockets:
            self._listen(listener)

    def close(self) -> None:
        """Accept nobody any more, and end the handshakes under way."""
        self._is_closed = True
        for listener in self._sockets:
            self._loop.remove_reader(listener)
        for handshake in self._handshakes:
            handshake.cancel()

    async def wait_closed(self) -> None:
        """Return when no handshake is under way."""
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _listen(self, listener: socket.socket) -> None:
        if not self._is_closed:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                client, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # it stays readable, and would be tried without end
                log.error("client_not_accepted", reason=error.strerror or str(error))
                self._loop.remove_reader(listener)
                self._loop.call_later(RETRY_SECONDS, self._listen, listener)
                return
            client.setblocking(False)
            self._admit(client, address[0])

    def _admit(self, client: socket.socket, address: str) -> None:
        try:
            self._turnstile.enter(client, address)
        except Refused:
            client.close()  # without a handshake there are no words for it
            return
        handshake = self._loop.create_task(self._shake_hands(client))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, client: socket.socket) -> None:
        try:
            with suppress(OSError):  # it spoke no TLS, showed no certificate, was too slow or left: its own business
                await self._loop.connect_accepted_socket(
                    lambda: self._protocol(client),
                    client,
                    ssl=self._context,
                    ssl_handshake_timeout=self._handshake_seconds,
                )
        finally:
            self._turnstile.leave(client)
