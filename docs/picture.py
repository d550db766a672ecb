"""Draw docs/demo.svg and docs/watch.svg from the running demo.

`make demo` here, `.venv/bin/python docs/picture.py` in another shell.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from account_monitor.cli.questions import Questions
from account_monitor.cli.status import account_screens
from account_monitor.cli.watch_screen import Frame, Shown, frame_lines
from account_monitor.clock import now_ms

WIDTH, HEIGHT = 118, 40


def main(url: str) -> None:
    """Draw what `account-monitor status` shows now, and with `--watch`."""
    draw("demo.svg", "account-monitor demo", [account_screens(url, None, WIDTH)])
    draw("watch.svg", "account-monitor status --watch", [Text.from_ansi(line) for line in frame(url)])


def frame(url: str) -> list[str]:
    """Return the lines of a frame."""
    asked = Questions(url, None)
    shown = []
    for name in asked.accounts():
        account = asked.account(name)
        fills = sorted(asked.last_fills(name, account.timestamp), key=lambda fill: fill.seq, reverse=True)
        shown.append(Shown(account, asked.firing(name), fills))
    warnings = asked.warnings({each.report.account for each in shown if each.alerts})
    return frame_lines(Frame(url, now_ms(), None, "", warnings, shown), WIDTH, HEIGHT)


def draw(name: str, title: str, shown: list[RenderableType]) -> None:
    """Draw a terminal into a file of this folder."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="256")
        for each in shown:
            console.print(each)
    drawing = console.export_svg(title=title)
    # A picture that loads nothing from anywhere.
    drawing = re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL)
    Path(__file__).with_name(name).write_text(drawing)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
