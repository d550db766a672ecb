"""Draw docs/demo.svg from the running demo: `make demo` here, `.venv/bin/python docs/picture.py` in another shell."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console

from account_monitor.cli.status import account_screens

WIDTH = 118


def main(url: str) -> None:
    """Draw what `account-monitor status` shows now."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(account_screens(url, None, WIDTH))
    drawing = console.export_svg(title="account-monitor demo")
    drawing = re.sub(
        r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL
    )  # a picture that loads nothing from anywhere
    Path(__file__).with_name("demo.svg").write_text(drawing)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
