"""ASGI: the few words of the interface between server and application that the doors use themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

ALWAYS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What every response carries, unless it says otherwise itself."""

OVER_TLS: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
"""What every response over TLS carries, too: for a year, a browser asks this host over TLS only."""


class Reply(NamedTuple):
    """A whole response. `end` follows the body: one that many are sent stays one, and is copied for none of them."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Headers = ()
    end: bytes = b""

    async def send(self, scope: Scope, send: Send) -> None:
        """Send it, also in place of a WebSocket upgrade."""
        prefix = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        await send({"type": f"{prefix}.start", "status": self.status, "headers": self.fields()})
        if self.end:
            await send({"type": f"{prefix}.body", "body": self.body, "more_body": True})
        await send({"type": f"{prefix}.body", "body": self.end or self.body})

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the headers, those of the body included where there may be one."""
        if self.status == HTTPStatus.NOT_MODIFIED:
            return list(self.headers)
        return [
            (b"content-type", self.media_type.encode()),
            (b"content-length", str(len(self.body) + len(self.end)).encode()),
            *self.headers,
        ]


def with_always(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers with what every response carries."""
    present = {name.lower() for name, _ in headers}
    return [*headers, *(extra for extra in ALWAYS if extra[0] not in present)]


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of a lower-case name, None where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def path_of(target: str) -> str | None:
    """Return the path of what a request asks for, also where it names scheme and host, as to a proxy, and there perhaps
    a name and a password, which nothing repeats. None for what has no path.
    """
    if target.startswith("/"):
        return target
    _, is_absolute, rest = target.partition("://")
    return f"/{rest.partition('/')[2]}" if is_absolute else None
