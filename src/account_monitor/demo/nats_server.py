"""An embedded NATS server: the real one, as a child process that ends with us."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from pathlib import Path

import structlog

from account_monitor.demo.children import start_child, stop_child
from account_monitor.errors import CommandFailed

START_SECONDS = 10.0
RESTART_SECONDS = 0.5
CONFIG_FILE = "nats-server.conf"

log = structlog.get_logger()


class EmbeddedNatsServer:
    """A `nats-server` on loopback with JetStream, which flushes every message to disk before it acknowledges."""

    def __init__(self, store_dir: Path, port: int = 0) -> None:
        self._store_dir = store_dir
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        """Start the server and return once it listens. The caller owns the store directory. Raises: CommandFailed."""
        self._store_dir.mkdir(parents=True, exist_ok=True)
        for old in self._store_dir.glob("*.ports"):
            old.unlink()
        config = self._store_dir / CONFIG_FILE
        config.write_text(_configuration(self._store_dir, self._port))
        self._process = await start_child([_executable(), "--config", str(config)])
        try:
            async with asyncio.timeout(START_SECONDS):
                self.url = await self._listening_url(self._process)
        except TimeoutError:
            await self.stop()
            raise CommandFailed(f"nats-server did not listen within {START_SECONDS:.0f} s; see {self._log}") from None
        self._port = int(self.url.rpartition(":")[2])  # the same one, should it have to be started again

    async def keep_running(self) -> None:
        """Start the server again whenever it dies, until cancelled. Raises: CommandFailed."""
        while self._process is not None:
            code = await self._process.wait()
            log.warning("nats_server_died", code=code)
            await asyncio.sleep(RESTART_SECONDS)
            await self.start()

    async def stop(self) -> None:
        """Ask the server to end, and end it if it does not."""
        await stop_child(self._process)

    @property
    def _log(self) -> Path:
        return self._store_dir / "nats-server.log"

    async def _listening_url(self, process: asyncio.subprocess.Process) -> str:
        """Wait for the file in which the server writes where it listens."""
        while True:
            if process.returncode is not None:
                raise CommandFailed(f"nats-server ended with code {process.returncode}; see {self._log}")
            for ports in self._store_dir.glob("*.ports"):
                with contextlib.suppress(ValueError, KeyError, IndexError):  # still being written
                    return str(json.loads(ports.read_text())["nats"][0])
            await asyncio.sleep(0.02)


def _executable() -> str:
    beside_python = Path(sys.executable).with_name("nats-server")
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if found is None:
        raise CommandFailed("nats-server was not found; install account-monitor[embedded], or put it on the PATH")
    return found


def _configuration(store_dir: Path, port: int) -> str:
    quoted = json.dumps(str(store_dir))
    return f"""\
listen: "127.0.0.1:{port or -1}"
ports_file_dir: {quoted}
log_file: {json.dumps(str(store_dir / "nats-server.log"))}
logfile_size_limit: 1MB
logfile_max_num: 2
jetstream {{
  store_dir: {quoted}
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: 2GB
}}
"""
