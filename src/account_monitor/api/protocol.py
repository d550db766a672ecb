"""Protocol: uvicorn's WebSocket, many messages a write, and bounds on what a client may make the process hold."""

from __future__ import annotations

import socket
from asyncio.transports import BaseTransport
from collections.abc import Awaitable, Callable
from typing import TypedDict

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

SEND_BUFFER_BYTES = 131_072
"""What the kernel holds for one client; left to itself it goes up to 4 MB, which a slow client would lag behind."""

LINE = "account_monitor.line"
"""The extension of the scope that holds a `Line`."""


class Line(TypedDict):
    """What the application may do with its connection, beyond ASGI."""

    send: Callable[[list[str]], Awaitable[None]]
    """Send messages in one write, which costs as much as one message. Raises: OSError when the client is gone."""
    abort: Callable[[], None]
    """Cut the connection at once: closing it waits for buffers that may never drain."""


class StreamProtocol(WebSocketsSansIOProtocol):
    """Gives the application a `Line`."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound the kernel's buffer."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

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

    def keepalive_timeout(self) -> None:
        """Cut a client that answers no ping: it would not read a goodbye either."""
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer a ping, but pile up no answers for a client that does not read them."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
