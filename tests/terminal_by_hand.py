"""A terminal as a program sees it: a pseudo-terminal whose screen is made of what was written to it, byte by byte."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_is_control = re.compile(rb"\x1b\[(\??)([0-9;]*)([A-Za-z])").match


class TerminalByHand:
    """Runs a program on a pseudo-terminal and keeps what stands on its screens."""

    def __init__(self, command: Sequence[str], *, size: tuple[int, int], env: Mapping[str, str], cwd: Path) -> None:
        """`size`: columns and lines."""
        self._master, self._slave = pty.openpty()
        self.resize(size)
        self.mode_before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            command, stdin=self._slave, stdout=self._slave, stderr=self._slave, env=dict(env), cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # nothing else runs in the child
        )  # fmt: skip
        self.written = b""
        """Everything."""
        self.frames: list[float] = []
        """When each was begun."""
        self.is_alternate = False
        self.has_cursor = True

    def resize(self, size: tuple[int, int]) -> None:
        """Become as large as that; whoever runs in it is told."""
        self.columns, self.lines = size
        self._cells = [[" "] * self.columns for _ in range(self.lines)]
        self._dim = [False] * self.lines
        self._row = self._column = 0
        self._is_dim = False
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._master, keys)

    def read(self, seconds: float) -> None:
        """Take what is written within a time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._master], [], [], left)[0]:
                return
            try:
                told = os.read(self._master, 65536)
            except OSError:
                return  # nobody has it open any more
            self._take(told)

    def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        """Take what is written until something holds. Raises: AssertionError, with the screen."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None or holds(), (self.process.returncode, self.text, self.written[-2000:])
            self.read(0.05)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join("".join(row).rstrip() for row in self._cells)

    def is_dim(self, part: str) -> bool:
        """Whether the line with this text is dim."""
        return self._dim[next(number for number, row in enumerate(self._cells) if part in "".join(row))]

    @property
    def mode(self) -> list[object]:
        """How the terminal treats what is typed."""
        return termios.tcgetattr(self._slave)

    def close(self) -> None:
        """End the program, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def _take(self, told: bytes) -> None:
        self.written += told
        rest = getattr(self, "_rest", b"") + told
        while rest:
            if rest.startswith(b"\x1b"):
                control = _is_control(rest)
                if control is None:
                    break
                self._obey(bool(control[1]), control[2].decode(), control[3].decode())
                rest = rest[control.end() :]
                continue
            length = 1 if rest[0] < 0x80 else 2 if rest[0] < 0xE0 else 3 if rest[0] < 0xF0 else 4
            if len(rest) < length:
                break
            self._put(rest[:length].decode())
            rest = rest[length:]
        self._rest = rest

    def _obey(self, is_private: bool, given: str, what: str) -> None:
        if is_private:
            if given == "2026" and what == "h":
                self.frames.append(time.monotonic())
            self.is_alternate = what == "h" if given == "1049" else self.is_alternate
            self.has_cursor = what == "h" if given == "25" else self.has_cursor
        elif what == "H":
            self._row, self._column = (int(each) - 1 for each in given.split(";"))
        elif what == "J":
            self._cells = [[" "] * self.columns for _ in range(self.lines)]
        elif what == "K":
            self._cells[self._row] = [" "] * self.columns
            self._dim[self._row] = False
        elif what == "m":
            self._is_dim = "2" in given.split(";")

    def _put(self, character: str) -> None:
        if character == "\n":
            self._row = min(self._row + 1, self.lines - 1)
        elif character == "\r":
            self._column = 0
        elif self._row < self.lines and self._column < self.columns:
            self._cells[self._row][self._column] = character
            self._dim[self._row] |= self._is_dim and character != " "
            self._column += 1
