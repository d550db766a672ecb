"""Protocol: uvicorn's WebSocket, with bounds on what one client may make the process hold."""

from __future__ import annotations

import socket
from asyncio.transports import BaseTransport

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

SEND_BUFFER_BYTES = 131_072
"""What the kernel holds for one client; left to itself it goes up to 4 MB, which a slow client would lag behind."""

ABORT = "account_monitor.abort"
"""The extension of the scope that cuts a connection at once."""


class StreamProtocol(WebSocketsSansIOProtocol):
    """Tells the application how to cut a connection whose buffers never drain: closing waits for them for ever."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Bound the kernel's buffer."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def handle_connect(self, event: Request) -> None:
        """Offer the extension; the application starts after this."""
        super().handle_connect(event)
        if not self.handshake_complete:  # else it was refused
            self.scope["extensions"][ABORT] = {"abort": self.transport.abort}

    def keepalive_timeout(self) -> None:
        """Cut a client that answers no ping: it would not read a goodbye either."""
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer a ping, but pile up no answers for a client that does not read them."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
