"""Terminal: a screen of its own that shows frames, writes only the lines that changed, and leaves all as it was."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Sequence
from typing import Any, Final

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"
"""The other screen, no cursor, nothing on it."""

_LEAVE: Final = "\x1b[0m\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""Around a frame: a terminal that knows them shows it at once, others pass over them."""


class Terminal:
    """The terminal that the program was started in. `keys` is its descriptor to read keys from, None without any."""

    def __init__(self, output: int, keys: int | None) -> None:
        self._output = output
        self.keys = keys
        self._before: list[Any] | None = None
        self._shown: list[str] = []
        self._size = os.terminal_size((0, 0))

    def size(self) -> os.terminal_size:
        """Return its columns and lines now."""
        size = os.get_terminal_size(self._output)
        return os.terminal_size((max(1, size.columns), max(1, size.lines)))  # one that says 0 does not know

    def enter(self) -> None:
        """Take the screen; keys are read one by one, and not echoed. Ctrl-C stays what it is."""
        if self.keys is not None:
            self._before = termios.tcgetattr(self.keys)
            tty.setcbreak(self.keys, termios.TCSADRAIN)
        self._shown = []
        self._write(_ENTER)

    def leave(self) -> None:
        """Give everything back as it was."""
        self._write(_LEAVE)
        if self.keys is not None and self._before is not None:
            termios.tcsetattr(self.keys, termios.TCSADRAIN, self._before)
            self._before = None

    def show(self, lines: Sequence[str]) -> None:
        """Show a frame, a line for each of the terminal; one write for what differs from the last frame."""
        size = self.size()
        changed: list[str] = []
        if size != self._size:
            self._size, self._shown = size, []
            changed.append("\x1b[2J")
        frame = [*lines[: size.lines], *[""] * (size.lines - len(lines))]
        for number, line in enumerate(frame):
            if number >= len(self._shown) or self._shown[number] != line:
                # Cleared first: after a line as wide as the terminal, that would take its last character.
                changed.append(f"\x1b[{number + 1};1H\x1b[2K{line}\x1b[0m")
        self._shown = frame
        if changed:
            self._write(f"{_BEGIN}{''.join(changed)}{_END}")

    def _write(self, text: str) -> None:
        left = memoryview(text.encode())
        while left:
            left = left[os.write(self._output, left) :]
