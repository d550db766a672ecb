"""Who ends the servers when the tests themselves are killed?

A process of its own, in a session of its own, that is told what the tests have started. When its stdin ends, the tests
have, in whichever way: it kills what still runs, paused processes included, unmounts, and removes what was left. The
death signal of Linux (PR_SET_PDEATHSIG) does less: it reaches one process, and comes when a thread ends.

It runs as a script, without this repository on its path: only psutil and the standard library are imported here.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import psutil

GONE_SECONDS = 10.0
"""How long a killed process may take to be gone; it takes milliseconds."""

Kind = Literal["process", "mount", "directory"]


class Guard:
    """The test's end of it."""

    def __init__(self) -> None:
        # Ctrl-C in a terminal goes to all of a session: this one has to outlive the tests by a moment.
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def take(self, kind: Kind, name: int | Path) -> None:
        """Remember something to end: a process with all its descendants, a mount, a directory."""
        self._tell("take", kind, name)

    def forget(self, kind: Kind, name: int | Path) -> None:
        """It has ended."""
        self._tell("forget", kind, name)

    def release(self) -> None:
        """The tests are over: let it end what they left, in a moment, and go."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, verb: str, kind: Kind, name: int | Path) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, kind, str(name)]) + "\n")
        self._process.stdin.flush()


@functools.cache
def guard() -> Guard:
    """Return the guard of this process, started when it is first needed."""
    started = Guard()
    atexit.register(started.release)
    return started


def freeze(root: psutil.Process) -> list[psutil.Process]:
    """Stop a process and all its descendants; return them, the eldest first."""
    frozen: list[psutil.Process] = []
    while True:
        try:
            new = [each for each in [root, *root.children(recursive=True)] if each not in frozen]
        except psutil.NoSuchProcess:
            new = []
        if not new:
            return frozen
        for process in new:  # whoever is stopped starts no further ones: the next look finds those that came between
            send(process, signal.SIGSTOP)
        frozen += new


def kill(root: psutil.Process) -> None:
    """Kill a process and all its descendants; return when none is left to hold a port, a lock or shared memory."""
    members = freeze(root)
    for process in members:
        send(process, signal.SIGKILL)
    deadline = time.monotonic() + GONE_SECONDS
    while not all(map(is_gone, members)):
        assert time.monotonic() < deadline, f"not gone {GONE_SECONDS} s after SIGKILL: {members}"
        time.sleep(0.002)


def send(process: psutil.Process, how: signal.Signals) -> None:
    """Signal a process, if it is still there; psutil sees to it that it is the same one."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(how)


def is_gone(process: psutil.Process) -> bool:
    """A zombie is gone too: it holds nothing, and whose child it was decides how long it is listed."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def main() -> None:
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(how, signal.SIG_IGN)
    processes: dict[str, psutil.Process] = {}
    mounts: list[str] = []
    directories: list[str] = []
    for line in sys.stdin:
        verb, kind, name = json.loads(line)
        if kind == "process":
            if verb == "forget":
                processes.pop(name, None)
            elif psutil.pid_exists(int(name)):
                processes[name] = psutil.Process(int(name))
        else:
            listed = mounts if kind == "mount" else directories
            (listed.append if verb == "take" else listed.remove)(name)
    for process in processes.values():
        kill(process)
    for mount in mounts:
        subprocess.run(["umount", mount], check=False, stderr=subprocess.DEVNULL)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    os.chdir("/")
    main()
