"""Pictures: what a reader sees is the real thing, a demo that runs, in a browser and in a terminal.

python -m docs.pictures [FOLDER]    by default docs/assets: dashboard-<size>-<scheme>.webp and watch.svg

Needs the Chromium of the system. Takes some four minutes: equity has to have a history, and a fault has to be healed.
"""

from __future__ import annotations

import base64
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

from account_monitor.cli.questions import Questions
from account_monitor.cli.watch_screen import Frame, Shown, draw
from account_monitor.clock import now_ms

FOLDER = Path(__file__).resolve().parent / "assets"
SIZES = {"phone": (390, 844), "laptop": (1280, 800), "wall": (2560, 1440)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

READY_SECONDS = 60
LIVED_SECONDS = 180
"""How old the demo is in the pictures: three mishaps, and equity that has moved."""
DRAWN_SECONDS = 6
"""What a page has to read its history and to have heard some changes."""

MOST_BYTES = 250_000
"""Of one picture: a README that loads slowly is closed."""
QUALITY = 82
COLUMNS, LINES = 118, 40
"""Of the terminal, as wide as a README shows it without making it smaller."""


def main(folder: Path) -> None:
    """Make all of them. Raises: SystemExit where there is no browser, no demo comes up, or a picture is too large."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"pictures need Chromium: none of {', '.join(BROWSERS)} is installed (apt-get install chromium)")
    folder.mkdir(parents=True, exist_ok=True)
    with demo() as url:
        time.sleep(LIVED_SECONDS)
        (folder / "watch.svg").write_text(terminal(url), encoding="utf-8")
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
            for name, picture in dashboards(started, url):
                (folder / f"dashboard-{name}.webp").write_bytes(picture)
                print(f"dashboard-{name}.webp: {len(picture):,} bytes", flush=True)
                if len(picture) > MOST_BYTES:
                    sys.exit(f"dashboard-{name}.webp has {len(picture):,} bytes, expected at most {MOST_BYTES:,}")
            started.close()


@contextmanager
def demo() -> Iterator[str]:
    """Run a demo for the length of the block; yield its address once it is ready. Raises: SystemExit if it never is."""
    ports = free_ports(3)
    options = [f"--{door}-port={port}" for door, port in zip(("http", "grpc", "metrics"), ports, strict=True)]
    with tempfile.TemporaryDirectory() as data, (Path(data) / "log").open("w+") as log:
        program = str(Path(sys.executable).with_name("account-monitor"))
        command = [program, "demo", f"--data-dir={data}/runs", *options]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - no word of it is given
        try:
            url = f"http://127.0.0.1:{ports[0]}"
            if not is_ready(url):
                log.seek(0)
                sys.exit(f"the demo was not ready within {READY_SECONDS} s: {log.read()[-2000:]}")
            yield url
        finally:
            process.terminate()
            process.wait(20)


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def is_ready(url: str) -> bool:
    """Whether a service becomes ready in time."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{url}/ready", timeout=5).close()  # noqa: S310 - an address of this machine
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
        else:
            return True
    return False


def dashboards(browser: Browser, url: str) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the picture of the page in each size, light and dark, as WebP."""
    for size, (width, height) in SIZES.items():
        for scheme in SCHEMES:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(url)
            page.wait_for_timeout(DRAWN_SECONDS * 1000)
            taken = page.context.new_cdp_session(page).send(
                "Page.captureScreenshot", {"format": "webp", "quality": QUALITY}
            )
            yield f"{size}-{scheme}", base64.b64decode(taken["data"])
            page.close()


def terminal(url: str) -> str:
    """Return what `account-monitor status --watch` shows, as a drawing that loads nothing from anywhere."""
    asked, shown = Questions(url, None), []
    for name in asked.accounts().here:
        account = asked.account(name)
        fills = sorted(asked.last_fills(name, account.timestamp), key=lambda fill: fill.seq, reverse=True)
        shown.append(Shown(account, asked.firing(name), fills))
    warnings = asked.warnings({each.report.account for each in shown if each.alerts})
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="256")
        for line in draw(Frame(url, now_ms(), None, "", warnings, shown), COLUMNS, LINES).lines:
            console.print(Text.from_ansi(line))
    drawing = console.export_svg(title="account-monitor status --watch")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python -m docs.pictures [FOLDER]")
    main(Path(sys.argv[1]) if len(sys.argv) == 2 else FOLDER)
