"""ASGI: the few words of the interface between server and application that the doors use themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

ALWAYS: Headers = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""What every response carries."""


class Reply(NamedTuple):
    """A whole response."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Headers = ()

    async def send(self, scope: Scope, send: Send) -> None:
        """Send it, also in place of a WebSocket upgrade."""
        prefix = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
            *self.headers,
        ]
        await send({"type": f"{prefix}.start", "status": self.status, "headers": headers})
        await send({"type": f"{prefix}.body", "body": self.body})


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of a lower-case name, None where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
