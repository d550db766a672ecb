"""Protocol: uvicorn's HTTP and WebSocket, with bounds on what a client may make the process hold, and for how long.

h11 reads HTTP, not httptools, which is faster and in uvicorn has no bound on the head of a request: what a client sends
as headers is kept until its last line comes.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.transports import BaseTransport
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypedDict

import h11
from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request

from account_monitor.api.asgi import Reply, with_always
from account_monitor.api.problems import BAD_REQUEST, HEAD_TOO_LARGE, Refused
from account_monitor.api.turnstile import Turnstile

REQUEST_SECONDS = 10.0
"""How long a whole request, head and body, may take to arrive from its first byte, or from the connection, on."""

TAKE_SECONDS = 30.0
"""How long a client may leave an answer lying that no longer fits into the buffers."""

IDLE_SECONDS = 30
"""How long a connection is kept between two requests."""

SEND_BUFFER_BYTES = 131_072
"""What the kernel holds for one client; left to itself it goes up to 4 MB, which a slow client would lag behind."""

MAX_PIECES = 64
"""Frames that one message of a WebSocket client may come in."""

LINE = "account_monitor.line"
"""The extension of the scope that holds a `Line`."""


class Line(TypedDict):
    """What the application may do with its connection, beyond ASGI."""

    send: Callable[[list[str]], Awaitable[None]]
    """Send messages in one write, which costs as much as one message. Raises: OSError when the client is gone."""
    abort: Callable[[], None]
    """Cut the connection at once: closing it waits for buffers that may never drain."""


class Connections(ServerState):
    """What the connections of one server share: who else is connected."""

    def __init__(self, turnstile: Turnstile) -> None:
        super().__init__()
        self.turnstile = turnstile


class HttpProtocol(H11Protocol):
    """Cuts who is one too many, who sends a request too slowly, and who does not take the answer.

    A client that takes nothing costs the kernel's `SEND_BUFFER_BYTES`, 64 KiB of ours and one answer: the next request
    is answered only once there is room.
    """

    server_state: Connections  # type: ignore[mutable-override]  # the servers here make nothing else

    def __init__(
        self, config: Config, server_state: Connections, app_state: dict[str, Any], *, place: Hashable | None = None
    ) -> None:
        """`place` is what the client is counted as so far, None where it is not."""
        super().__init__(config, server_state, app_state)
        self._place = place

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Admit the client, or say that there are too many."""
        self._arriving: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        turnstile = self.server_state.turnstile
        turnstile.leave(self._place)
        try:
            turnstile.enter(transport, self.client[0] if self.client else "")
        except Refused as refusal:
            self._refuse(refusal)
        else:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self.server_state.turnstile.leave(self.transport)
        self._stop_waiting()
        if self._taking is not None:
            self._taking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request that they begin has to be whole in time, however often some of it comes."""
        if self.transport.is_closing():
            return  # what comes after a refusal
        self._await_request()
        super().data_received(data)
        if self._is_whole():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Go on with what was sent meanwhile; the beginning of a request has to become a whole one, too."""
        super().on_response_complete()
        if self.transport.get_protocol() is not self:
            return  # what was sent meanwhile was an upgrade
        has_begun = self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]
        if has_begun and not self._is_whole() and not self.transport.is_closing():
            self._await_request()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over; it keeps its place, and has to take what it asked for before in the time it has."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)
        successor = self.transport.get_protocol()
        if self._taking is not None and isinstance(successor, StreamProtocol):
            successor.wait_for_room(self._taking)
            self._taking = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request of HTTP as everything else is refused."""
        error = sys.exc_info()[1]
        said = str(error) if isinstance(error, h11.RemoteProtocolError) else msg
        kind = HEAD_TOO_LARGE if getattr(error, "error_status_hint", 400) == HEAD_TOO_LARGE.status else BAD_REQUEST
        self._refuse(Refused(kind, said))

    def pause_writing(self) -> None:
        """Give the client a while to take what waits for it."""
        super().pause_writing()
        self._taking = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes something."""
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one that has not even taken the last answer would never close."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _is_whole(self) -> bool:
        """Whether nothing more is to come of the request that came last."""
        return self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)

    def _await_request(self) -> None:
        if self._arriving is None:
            self._arriving = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _refuse(self, refusal: Refused) -> None:
        """Say why, once, and close; where an answer is under way there is nobody to say it to."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        reply: Reply = refusal.reply("")
        headers = with_always([*reply.fields(), *self.server_state.default_headers, (b"connection", b"close")])
        response = h11.Response(status_code=reply.status, headers=headers)
        for event in (response, h11.Data(data=reply.body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()


class StreamProtocol(WebSocketsSansIOProtocol):
    """Gives the application a `Line`."""

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._turnstile = server_state.turnstile
        self._taking: asyncio.TimerHandle | None = None
        """Cuts the client that does not take the answer before the upgrade."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound the kernel's buffer."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back that it had as a connection of HTTP."""
        self._turnstile.leave(self.transport)
        self._stop_taking()
        super().connection_lost(exc)

    def wait_for_room(self, taking: asyncio.TimerHandle) -> None:
        """Send nothing before the client took an answer of HTTP, which `taking` ends: the transport told only that
        protocol that it is full.
        """
        self._taking = taking
        self.pause_writing()

    def resume_writing(self) -> None:
        """The client takes something."""
        self._stop_taking()
        super().resume_writing()

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def handle_connect(self, event: Request) -> None:
        """Offer the extension; the application starts after this."""
        super().handle_connect(event)
        if not self.handshake_complete:  # else it was refused
            line = Line(send=self.send_texts, abort=self.transport.abort)
            self.scope["extensions"][LINE] = line  # type: ignore[assignment]  # ASGI says: any dict

    async def send(self, message: ASGISendEvent) -> None:
        """Send what ASGI sends; a refusal that is sent whole ends the handshake.

        uvicorn (0.54) forgets to note that, and would log an error for every request that is refused.
        """
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    async def send_texts(self, texts: list[str]) -> None:
        """Send messages in one write, once the client takes something. Raises: OSError when it is gone."""
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        try:
            for text in texts:
                self.conn.send_text(text.encode())
        except InvalidState as error:  # one side has said goodbye
            raise ClientDisconnected from error
        self.transport.write(b"".join(self.conn.data_to_send()))

    def handle_cont(self, event: Frame) -> None:
        """Take a piece of a message; pieces may be empty, so their size alone bounds nothing."""
        if len(self.frames) < MAX_PIECES:
            super().handle_cont(event)
        else:
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Cut a client that answers no ping: it would not read a goodbye either."""
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer a ping, but pile up no answers for a client that does not read them."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
