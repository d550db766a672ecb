"""Children: programs that the demo starts, and that end with it, also when it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

STOP_SECONDS = 1.0

_PR_SET_PDEATHSIG = 1

# Loaded here and not between fork and exec, where another thread's lock may be held for ever.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


async def start_child(
    command: Sequence[str], *, log: Path | None = None, heard: bool = False, orphaned: signal.Signals = signal.SIGTERM
) -> asyncio.subprocess.Process:
    """Start a program. Its errors go to `log`, its output is read here if it is `heard`, else both go nowhere.

    `orphaned` is the signal that it gets when this process dies (on Linux).
    """
    errors: int = (
        asyncio.subprocess.DEVNULL if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    )
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if heard else asyncio.subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # Ctrl-C in the terminal is ours to pass on, after the last fill is recorded
            preexec_fn=_ending_with_parent(orphaned),
        )
    finally:
        if log is not None:
            os.close(errors)


async def stop_child(process: asyncio.subprocess.Process | None) -> None:
    """Ask a program to end, and end it if it does not."""
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _ending_with_parent(orphaned: signal.Signals) -> Callable[[], None] | None:
    """Return what the child does first: ask to be ended when the process that started it is gone, kill -9 included."""
    if _libc is None:
        return None
    prctl, parent, number = _libc.prctl, os.getpid(), int(orphaned)

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died before it could be bound to
            os._exit(1)

    return bind
