"""Networks of their own for processes: how is one of them cut off from all others, as by a cable that was pulled?

As root on Linux each process gets a network namespace, and a virtual cable to the servers. A cable that is down loses
what is sent, and tells nobody; what TCP repeats arrives once it is up again. Elsewhere the connections go through
relays that stop handing on, which to both ends looks the same, except that new connections are accepted and hang, and
that old ones do not outlive it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_PREFIX = "account-monitor-"


class Network(Protocol):
    """What one process sees of the others."""

    @property
    def command(self) -> Sequence[str]:
        """What a program is started with so that it lives in this network."""

    def port(self, server: str) -> tuple[str, int]:
        """Return where the process reaches a server, by the name that it was announced under."""

    def connect(self, port: int) -> socket.socket:
        """Return a socket, not connected yet, from which the ports of the process on 127.0.0.1 are reached, always."""

    def cut(self) -> None:
        """Lose all that passes between the process and the servers, in both directions, and tell nobody."""

    def mend(self) -> None:
        """Let it pass again."""


@functools.cache
def namespaces_missing() -> str | None:
    """Return why no network namespace can be made here, or None if one can: it is tried."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces need Linux, and root"
    if shutil.which("ip") is None:
        return "there is no program ip"
    name = f"{_PREFIX}{os.getpid()}-tried"
    try:
        _ip("netns", "add", name)
        try:
            _ip("link", "add", f"amt{os.getpid()}", "netns", name, "type", "veth", "peer", "name", "amtried")
        finally:
            _ip("netns", "delete", name)
    except subprocess.CalledProcessError as error:
        return f"a network namespace cannot be made: {error.stderr.strip()}"
    return None


@asynccontextmanager
async def networks(
    count: int, servers: dict[str, int], *, telling_apart: Collection[str] = ()
) -> AsyncIterator[list[Network]]:
    """Make so many networks, from which servers on ports of 127.0.0.1 are reached, for the length of the block.

    Those named in `telling_apart` see each network by an address of its own, where there are namespaces.
    """
    async with contextlib.AsyncExitStack() as stack:
        if namespaces_missing() is not None:
            yield [
                _RelayedNetwork(await stack.enter_async_context(_relays("127.0.0.1", servers, telling_apart)))
                for _ in range(count)
            ]
            return
        _remove_forgotten()
        hub = f"198.{18 + (os.getpid() >> 8) % 2}.{os.getpid() % 256}"  # of a range that is kept for benchmarks
        _ip("address", "replace", f"{hub}.1/32", "dev", "lo")
        stack.callback(_ip, "address", "delete", f"{hub}.1/32", "dev", "lo")
        relays = await stack.enter_async_context(_relays(f"{hub}.1", servers, telling_apart))
        ports = {name: relay.port for name, relay in relays.items()}
        yield [stack.enter_context(_namespace(hub, number, ports)) for number in range(1, count + 1)]


# -- namespaces --------------------------------------------------------------------------------------------------------


class _Namespace:
    """Implements Network by a network namespace, and a cable to it."""

    def __init__(self, name: str, cable: str, hub: str, ports: dict[str, int]) -> None:
        self.command: Sequence[str] = ("ip", "netns", "exec", name)
        self._name = name
        self._cable = cable
        self._hub = hub
        self._ports = ports

    def port(self, server: str) -> tuple[str, int]:
        return f"{self._hub}.1", self._ports[server]

    def connect(self, port: int) -> socket.socket:
        """A socket belongs to the namespace in which it was made, whoever uses it."""
        with (_NAMESPACES / self._name).open() as theirs, Path("/proc/thread-self/ns/net").open() as ours:
            _enter(theirs.fileno())
            try:
                return socket.socket()
            finally:
                _enter(ours.fileno())

    def cut(self) -> None:
        _ip("link", "set", self._cable, "down")

    def mend(self) -> None:
        _ip("link", "set", self._cable, "up")


@contextlib.contextmanager
def _namespace(hub: str, number: int, ports: dict[str, int]) -> Iterator[_Namespace]:
    """Make a namespace, and the cable to it."""
    name, cable = f"{_PREFIX}{os.getpid()}-{number}", f"am{os.getpid()}n{number}"
    net, ours, theirs = (f"{hub}.{4 * number + offset}" for offset in range(3))
    _ip("netns", "add", name)
    try:
        _ip("link", "add", cable, "type", "veth", "peer", "name", "cable", "netns", name)
        _ip("address", "add", f"{ours}/30", "dev", cable)
        _ip("link", "set", cable, "up")
        _ip("route", "add", "blackhole", f"{net}/30", "metric", "9999")  # where the cable is down, not elsewhere
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "address", "add", f"{theirs}/30", "dev", "cable")
        _ip("-n", name, "link", "set", "cable", "up")
        _ip("-n", name, "route", "add", "default", "via", ours)
        yield _Namespace(name, cable, hub, ports)
    finally:
        # The kernel ends a namespace in its own time, and the cable and its addresses with it: another one needs them.
        for words in (("link", "delete", cable), ("route", "delete", "blackhole", f"{net}/30", "metric", "9999")):
            with contextlib.suppress(subprocess.CalledProcessError):  # it was not made
                _ip(*words)
        _ip("netns", "delete", name)


def _remove_forgotten() -> None:
    """Remove the namespaces of tests that were killed."""
    for place in _NAMESPACES.glob(f"{_PREFIX}*"):
        if not Path(f"/proc/{place.name.removeprefix(_PREFIX).partition('-')[0]}").exists():
            _ip("netns", "delete", place.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _enter(namespace: int) -> None:
    """Let this thread be in a namespace."""
    if _libc().setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


# -- relays ------------------------------------------------------------------------------------------------------------


class _RelayedNetwork:
    """Implements Network by relays of its own."""

    command: Sequence[str] = ()

    def __init__(self, relays: dict[str, _Relay]) -> None:
        self._relays = relays

    def port(self, server: str) -> tuple[str, int]:
        return "127.0.0.1", self._relays[server].port

    def connect(self, port: int) -> socket.socket:
        return socket.socket()

    def cut(self) -> None:
        for relay in self._relays.values():
            relay.stall()

    def mend(self) -> None:
        for relay in self._relays.values():
            relay.release()


class _Relay:
    """A port that stands for another one, and can stop handing on."""

    def __init__(self, target: int, *, tells_apart: bool) -> None:
        self.target = target
        self.tells_apart = tells_apart
        """Whether the server sees who connects by an address of its own."""
        self.port = 0
        self.is_stalled = False
        self.ends = set[_End]()

    def stall(self) -> None:
        """Hand on nothing until told otherwise."""
        self.is_stalled = True
        for end in list(self.ends):
            end.heed()

    def release(self) -> None:
        """Hand on again, over new connections: what the old ones held is lost, as the sender may have given it up."""
        self.is_stalled = False
        for end in list(self.ends):
            end.abort()


class _End(asyncio.Protocol):
    """One end of a connection, and what it hands on to the other."""

    def __init__(self, relay: _Relay, other: _End | None = None) -> None:
        self._relay = relay
        self._other = other
        self._transport: asyncio.Transport
        self._waiting = bytearray()
        self._is_open = False
        self._opening: asyncio.Task[None] | None = None
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._is_open = transport, True
        self._relay.ends.add(self)
        if self._relay.is_stalled:
            transport.pause_reading()
        if self._other is None:
            self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        other = _End(self._relay, self)
        sender = self._transport.get_extra_info("peername")[0]
        # All of 127.0.0.0/8 is this machine.
        shown = (f"127.{sender.partition('.')[2]}", 0) if self._relay.tells_apart else None
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: other, "127.0.0.1", self._relay.target, local_addr=shown
            )
        except OSError:
            self._transport.abort()
            return
        self._other = other
        other.data(bytes(self._waiting))

    def data(self, data: bytes) -> None:
        if data:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._waiting += data
        else:
            self._other.data(data)

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.fill(True)

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.fill(False)

    def fill(self, is_full: bool) -> None:
        """Read no more while the other end takes nothing."""
        self._is_full = is_full
        self.heed()

    def heed(self) -> None:
        """Read or do not, as things are."""
        if not self._is_open or self._transport.is_closing():
            return
        if self._is_full or self._relay.is_stalled:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def abort(self) -> None:
        """End it, and lose what it holds."""
        self._transport.abort()

    def eof_received(self) -> bool:
        return False  # closed at both ends

    def connection_lost(self, error: Exception | None) -> None:
        self._is_open = False
        self._relay.ends.discard(self)
        if self._opening is not None:
            self._opening.cancel()
        if self._other is not None and self._other._is_open:
            self._other._transport.close()


@asynccontextmanager
async def _relays(
    host: str, servers: dict[str, int], telling_apart: Collection[str]
) -> AsyncIterator[dict[str, _Relay]]:
    """Relay to servers as long as the block runs."""
    loop = asyncio.get_running_loop()
    relays, listeners = {}, []
    for name, target in servers.items():
        relay = relays[name] = _Relay(target, tells_apart=name in telling_apart)
        listener = await loop.create_server(functools.partial(_End, relay), host, 0)
        listeners.append(listener)
        relay.port = listener.sockets[0].getsockname()[1]
    try:
        yield relays
    finally:
        for listener in listeners:
            listener.close()
        for relay in relays.values():
            for end in list(relay.ends):
                end.abort()
