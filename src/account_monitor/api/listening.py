"""Listening: takes a host and a port, or says in one line why that cannot be."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from account_monitor.errors import ConfigurationError

BACKLOG = 512
"""Connections that may wait to be accepted."""


async def listen(host: str, port: int, section: str) -> list[socket.socket]:
    """Return listening sockets, one for each address of the host; port 0 takes a free one, the same for all.

    `section` is the part of the configuration that names host and port.
    Raises: ConfigurationError naming both, and what to change.
    """
    addresses = await _addresses(host, port, section)
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            taken = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_bind(family, (address[0], taken, *address[2:])))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise ConfigurationError(_explain(error, host, port, section)) from error
    return sockets


async def _addresses(host: str, port: int, section: str) -> list[tuple[int, tuple[str, int]]]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(
            f"{section}.host: {host!r} is not known here ({error.strerror}); expected an address of this machine"
        ) from error
    addresses = {(family, address): None for family, _, _, _, address in found if family in _usable_families()}
    return list(addresses)  # type: ignore[arg-type]  # TCP addresses begin with host and port


def _usable_families() -> tuple[int, ...]:
    return (socket.AF_INET, socket.AF_INET6) if socket.has_ipv6 else (socket.AF_INET,)


def _bind(family: int, address: tuple[str | int, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _explain(error: OSError, host: str, port: int, section: str) -> str:
    variable = f"ACCOUNT_MONITOR__{section.upper()}__PORT"
    where = f"{section}: cannot listen on {joined(host, port)}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}, it is taken; stop what listens there, or set {section}.port or {variable} to a free port"
    if error.errno == errno.EACCES:
        return f"{where}, this user may not; set {section}.port or {variable} to a port from 1024 on"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}, this machine has no such address; set {section}.host to one of its own"
    return f"{where}: {error.strerror or error}; set {section}.host and {section}.port to what is free here"


def url_of(listener: socket.socket, host: str, *, is_tls: bool = False) -> str:
    """Return where a listener is bound, as a URL: the given host, also where that is every address there is."""
    return f"{'https' if is_tls else 'http'}://{joined(host, listener.getsockname()[1])}"


def joined(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
