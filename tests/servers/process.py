"""A server's processes: how are all of them killed, paused, resumed and ended, and how is its port chosen?"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.servers.guard import freeze, guard, kill, send

START_SECONDS = 30.0
"""What a server may take to answer; it takes a fraction, unless the machine is very busy."""

STOP_SECONDS = 15.0


class ServerProcess:
    """A program that runs, with all the processes that it starts; it does not outlive the tests."""

    def __init__(self, command: Sequence[str | Path], *, log: Path, user: int | None = None) -> None:
        """Start it; `user`: the number of the user and of the group to run it as."""
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C ends the tests, and these end the servers
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        self._root = psutil.Process(self._process.pid)
        guard().take("process", self._process.pid)

    def wait_until(self, answers: Callable[[], bool]) -> None:
        """Return once it answers."""
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            running = self.is_running()
            if not running or time.monotonic() > deadline:
                self.kill()
                said = self._log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"the server {'does not answer' if running else 'ended'}: {said}")
            time.sleep(0.005)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def pause(self) -> None:
        """SIGSTOP: the ports stay open, connections are accepted by the kernel, and nobody answers."""
        freeze(self._root)

    def resume(self) -> None:
        """SIGCONT, the descendants first: a parent finds them as it left them."""
        if self.is_running():
            for process in [*self._root.children(recursive=True), self._root]:
                send(process, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to all: nothing is said to anyone."""
        if self.is_running():
            kill(self._root)
        self._process.wait()
        guard().forget("process", self._process.pid)

    def end(self, how: signal.Signals) -> None:
        """Ask it to end; kill it and raise TimeoutExpired if it does not."""
        self.resume()
        send(self._root, how)
        try:
            self._process.wait(timeout=STOP_SECONDS)
        finally:
            self.kill()


def make_directory(name: str) -> Path:
    """Return a new directory that goes away with the tests at the latest; others may enter it, but not list it."""
    directory = Path(tempfile.mkdtemp(prefix=f"account-monitor-{name}-", dir=_open_folder())).resolve()
    guard().take("directory", directory)
    directory.chmod(0o711)
    return directory


def _open_folder() -> str | None:
    """Return a folder for temporary files that whoever root runs a server as may enter too; None is the usual one."""
    if os.geteuid() != 0:
        return None
    usual = tempfile.gettempdir()
    candidates = [usual, "/tmp", "/var/tmp"]  # noqa: S108 - mkdtemp makes names that nobody can guess
    for folder in candidates:
        path = Path(folder).resolve()
        if path.is_dir() and all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.parents)):
            return folder
    return usual


def remove_directory(directory: Path) -> None:
    shutil.rmtree(directory)
    guard().forget("directory", directory)


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
