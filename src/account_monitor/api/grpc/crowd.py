"""Crowd: how many connections may one address hold on the port of gRPC?

The library bounds connections in all only: one host that holds them all keeps everybody else out. It neither asks
before it takes a connection nor hands one over, so what this process holds open is looked at, and what is too much is
shut; the library then sees the end of that connection, as if the client had gone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from account_monitor.api.grpc.tally import Tally
from account_monitor.api.origin import is_this_machine, origin_of

MAX_PER_ADDRESS = 100
"""As many as there may be calls; several programs of a desk may stand behind one address. This machine's own are not
limited: a proxy has them all.
"""

LOOK_SECONDS = 0.25
"""How long one host may keep others out; a client that was refused meanwhile connects again later."""

_SHARE = 0.01
"""Of the time, at most so much goes into looking: with thousands of files open it is looked less often."""

_OPEN_FILES = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")

log = structlog.get_logger()


class _Connection(NamedTuple):
    """One that was taken on a port: its file, and where it comes from."""

    file: int
    peer: tuple[str, int]


class Crowd:
    """Who is connected to some ports of this process."""

    def __init__(self, ports: frozenset[int], tally: Tally, most_per_address: int = MAX_PER_ADDRESS) -> None:
        self._ports = ports
        self._tally = tally
        self._most_per_address = most_per_address
        self._known: dict[tuple[str, int], None] = {}
        """Where connections come from, the oldest first: the youngest are those that are too many."""
        self._refused: set[str] = set()
        """Who had too many when it was looked last: they are logged once."""

    async def keep(self) -> None:
        """Look for ever."""
        while True:
            began = time.perf_counter()
            try:
                await asyncio.to_thread(self.look)
            except OSError as error:  # no file is left to look with, say: later there may be
                log.warning("grpc_connections_not_counted", error=str(error))
            await asyncio.sleep(max(LOOK_SECONDS, (time.perf_counter() - began) / _SHARE))

    def look(self) -> None:
        """Shut what each address has too much of. Raises: OSError where files cannot be listed."""
        found = {each.peer: each for each in self._connections()}
        gone = self._known.keys() - found.keys()
        for peer in gone:
            del self._known[peer]
        self._known.update(dict.fromkeys(found))
        counts: Counter[str] = Counter()
        shut: Counter[str] = Counter()
        for peer in self._known:
            address = peer[0]
            if is_this_machine(address):
                continue
            origin = origin_of(address)
            counts[origin] += 1
            if counts[origin] > self._most_per_address and _shut(found[peer]):
                shut[origin] += 1
        self._tally.refused_connections += shut.total()
        for origin in shut.keys() - self._refused:
            log.warning("grpc_connections_refused", address=origin, count=shut[origin], most=self._most_per_address)
        self._refused = set(shut)

    def _connections(self) -> Iterator[_Connection]:
        for entry in _OPEN_FILES.iterdir():
            file = int(entry.name)
            peer = _peer(file, self._ports)
            if peer is not None:
                yield _Connection(file, peer)


def _peer(file: int, ports: frozenset[int]) -> tuple[str, int] | None:
    """Return where a connection to one of the ports comes from; None for any other file, or one that is closed by now.

    The file is another's: it is read without being owned.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(file).st_mode):
            return None
        seen = socket.socket(fileno=file)
    except OSError:
        return None
    try:
        if seen.family not in (socket.AF_INET, socket.AF_INET6) or seen.getsockname()[1] not in ports:
            return None
        address, port = seen.getpeername()[:2]  # a listening socket has none
        return str(address), int(port)
    except OSError:
        return None
    finally:
        seen.detach()


def _shut(connection: _Connection) -> bool:
    """End a connection, and leave its file to who owns it; return whether it was still there.

    The number may mean another file by now. A copy cannot change its meaning, so the copy is asked before it is shut.
    """
    try:
        copy = os.dup(connection.file)
    except OSError:
        return False  # it has ended
    try:
        taken = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return False  # no connection any more
    with taken:
        try:
            is_same: bool = taken.getpeername()[:2] == connection.peer
            if is_same:
                taken.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False  # it has ended
    return is_same
