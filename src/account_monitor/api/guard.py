"""Guard: which requests may come in at all? Keeps other people's web pages away from a service on this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from account_monitor.api.asgi import Scope, header
from account_monitor.api.problems import BODY_TOO_LARGE, FOREIGN_ORIGIN, NO_JSON, WRONG_HOST, Refused

MAX_BODY_BYTES = 65_536
"""No request that the service knows comes near it."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that binds to this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Checks the Host header of every request, and the Origin header of those that open a socket.

    A page anywhere may point its own host name at 127.0.0.1 (DNS rebinding), but not choose the Host header: on a
    loopback address only the names of this machine, and those of the allowed origins, are served.
    """

    def __init__(self, bind_host: str, allowed_origins: Iterable[str]) -> None:
        self._origins = {_origin(origin) for origin in allowed_origins} - {None}
        self._hosts: set[str] | None = None
        if is_loopback(bind_host):
            named = (urlsplit(origin).hostname or "" for origin in allowed_origins)
            self._hosts = {*_LOOPBACK_NAMES, bind_host.lower(), *named}

    def check_request(self, scope: Scope) -> None:
        """Raises: Refused for a foreign Host, or a body that is too large."""
        host = header(scope, b"host") or ""
        if self._hosts is not None and _hostname(host) not in self._hosts:
            raise Refused(
                WRONG_HOST, f"Host: {host[:60]!r} is not served; expected one of {', '.join(sorted(self._hosts))}"
            )
        length = header(scope, b"content-length")
        if length is not None and length.isdecimal() and int(length) > MAX_BODY_BYTES:
            raise Refused(BODY_TOO_LARGE, f"Content-Length: {length}, expected at most {MAX_BODY_BYTES}")

    def check_change(self, scope: Scope) -> None:
        """Raises: Refused where a page of another origin wants to change something, or the body is not JSON.

        A page can send forms and texts anywhere without asking; for JSON its browser asks first, and is not answered.
        """
        self.check_origin(scope)
        media_type = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        has_body = (
            header(scope, b"content-length") not in (None, "0") or header(scope, b"transfer-encoding") is not None
        )
        if has_body and media_type != "application/json":
            raise Refused(NO_JSON, f"Content-Type: {media_type[:60]!r}, expected application/json")

    def check_origin(self, scope: Scope) -> None:
        """Raises: Refused where a page of another origin opens a socket. Programs send no Origin, and may."""
        stated = header(scope, b"origin")
        if stated is None:
            return
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        own = _origin(f"{scheme}://{header(scope, b'host') or ''}")
        origin = _origin(stated)
        if origin is None or (origin != own and origin not in self._origins):
            raise Refused(FOREIGN_ORIGIN, f"Origin: {stated[:60]!r} is not among http.allowed_origins")


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _origin(text: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port, None for what is no origin of the web."""
    try:
        parts = urlsplit(text)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
