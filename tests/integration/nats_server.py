"""A real nats-server for one test: its own directory and port, on the loopback only."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext

_START_SECONDS = 10.0


def nats_server_path() -> str | None:
    """Return the program, from the environment that runs the tests or from the PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NatsServer:
    """A server that can be killed and started again on the same port, with what it stored.

    As a context manager it runs for the length of the block.
    """

    def __init__(self, directory: Path, *, jetstream: bool = True, flushes: bool = True, extra: str = "") -> None:
        """`flushes`: whether a message is on the disk before it is acknowledged."""
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._directory = directory
        self._jetstream = jetstream
        self._flushes = flushes
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and return once it listens."""
        assert self._process is None
        program = nats_server_path()
        assert program is not None
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "nats.conf"
        sync = "sync_interval: always" if self._flushes else ""
        store = f'jetstream {{ store_dir: "{self._directory / "store"}", {sync} }}'
        config.write_text(f'listen: "127.0.0.1:{self.port}"\n{store if self._jetstream else ""}\n{self._extra}\n')
        self._process = subprocess.Popen([program, "-c", str(config), "-l", str(self._directory / "nats.log")])
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            assert time.monotonic() < deadline, (self._directory / "nats.log").read_text()
            time.sleep(0.01)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9: nothing is said to anyone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=10)
            self._process = None

    async def connect(self) -> Client:
        """Return a client of nats-py, which the caller closes."""
        return await nats.connect(self.url, max_reconnect_attempts=-1, reconnect_time_wait=0)


async def add_stream(js: JetStreamContext, name: str = "FILLS", *subjects: str, **settings: Any) -> None:
    """Make a stream; without subjects it holds all fills."""
    await js.add_stream(name=name, subjects=list(subjects or ("trading.fills", "trading.fills.*")), **settings)


async def publish(
    client: Client,
    payloads: Iterable[bytes],
    subject: str = "trading.fills.main",
    headers: Mapping[str, str] | None = None,
) -> None:
    """Publish without waiting for each; return when the server has them all."""
    for i, payload in enumerate(payloads):
        await client.publish(subject, payload, headers=dict(headers) if headers else None)
        if i % 1000 == 999:
            await client.flush()
    await client.flush()


async def stored(js: JetStreamContext, last_sequence: int, name: str = "FILLS") -> None:
    """Return once the stream has stored this many: a server takes a message before its stream does."""
    while (await js.stream_info(name)).state.last_seq < last_sequence:
        pass
