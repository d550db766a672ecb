"""Set up `.venv`: which locked packages does this checkout need, and are they there already?

    python3 requirements/install.py {uv,run,dev}

`uv` is the installer alone, `run` is what the program needs, `dev` adds what the tests and checks need. What is there
is never reduced: `run` after `dev` stays `dev`. Every download is a wheel whose hash is locked beside this file.
It knows what is there by content, not by file times: the stamp in `.venv` names the interpreter, the place of the
checkout and a hash of the locks. The lines before the other imports run on any Python 3, so that an old one is told
what is wrong with it; hence their noqa.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - said to those who have an older one
    sys.exit("account-monitor needs Python 3.11 or newer, and %s is %d.%d" % ((sys.executable,) + sys.version_info[:2]))  # noqa: RUF005, UP031

import fcntl
import hashlib
import os
import subprocess
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
STAMP = VENV / "installed.txt"

LEVELS = ("uv", "run", "dev")
INPUTS = ("requirements/install.py", "requirements/bootstrap.txt", "requirements/run.txt", "pyproject.toml")


def main(asked: str) -> None:
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once would install into each other's half-made environment
        home, level, inputs = read_stamp()
        if home != describe_home():
            create_environment()
            level, inputs = "", ""
        wanted = max(asked, level, key=lambda name: LEVELS.index(name) if name else -1)
        if (level, inputs) != (wanted, hash_of_inputs(wanted)):
            install(wanted)


def install(level: str) -> None:
    started = time.monotonic()
    print(f"setting up .venv ({level}) with Python {sys.version.split()[0]} ...", flush=True)
    STAMP.unlink(missing_ok=True)
    if not UV.exists():
        run(*pip(), "install", "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "-qq",
            "--disable-pip-version-check", "-r", "requirements/bootstrap.txt")  # fmt: skip
    if level != "uv":
        run(UV, "pip", "sync", "--require-hashes", "--only-binary=:all:", "--quiet", "--python", PYTHON,
            f"requirements/{level}.txt")  # fmt: skip
        # The locked hatchling writes one path file and the command; nothing is downloaded.
        run(UV, "pip", "install", "--offline", "--no-deps", "--no-build-isolation", "--quiet", "--python", PYTHON,
            "--editable", ".")  # fmt: skip
    STAMP.write_text(f"{describe_home()}\n{level}\n{hash_of_inputs(level)}\n")
    print(f"set up .venv in {time.monotonic() - started:.1f} s", flush=True)


def create_environment() -> None:
    base = getattr(sys, "_base_executable", sys.executable)  # the interpreter below, if this one belongs to a venv
    run(base, "-m", "venv", "--clear", "--without-pip", VENV)


def pip() -> tuple[str | Path, ...]:
    """Return the command that runs the pip which every Python carries for `venv`.

    It runs from its wheel: installing pip first, only to install uv, takes longer than all the rest.
    """
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(sysconfig.get_path("stdlib"), "ensurepip", "_bundled")]
    wheels = [wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*.whl")]
    if not wheels:
        sys.exit(f"{sys.executable} comes without pip and venv; on Debian and Ubuntu: apt-get install python3-venv")
    return (PYTHON, wheels[0] / "pip")


def run(*command: str | Path) -> None:
    try:
        subprocess.run(command, cwd=ROOT, env=environment(), check=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"set-up failed: {' '.join(map(str, command[:4]))} ... ended with {error.returncode}")
    except KeyboardInterrupt:
        sys.exit("set-up interrupted; the next make starts it again")


def environment() -> dict[str, str]:
    # Continuous integration may run under a user without a home: uv insists on a cache, if there is to be one.
    homeless = not os.access(Path.home(), os.W_OK) and not {"UV_CACHE_DIR", "XDG_CACHE_HOME"} & os.environ.keys()
    return {**os.environ, "UV_NO_CACHE": "1"} if homeless else dict(os.environ)


def read_stamp() -> tuple[str, str, str]:
    """Return where the environment was made, its level and the hash of its inputs; empty where there is none."""
    lines = STAMP.read_text().splitlines() if STAMP.is_file() and PYTHON.exists() else []
    return (lines[0], lines[1], lines[2]) if len(lines) == 3 else ("", "", "")


def describe_home() -> str:
    """Return what an environment does not survive a change of: the interpreter and the place of the checkout."""
    return f"{sys.base_prefix} {sys.version.replace(chr(10), ' ')} {ROOT}"


def hash_of_inputs(level: str) -> str:
    names = (*INPUTS, "requirements/dev.txt") if level == "dev" else INPUTS
    return hashlib.sha256(b"\0".join((ROOT / name).read_bytes() for name in names)).hexdigest()


if __name__ == "__main__":
    if sys.argv[1:2] not in [[level] for level in LEVELS]:
        sys.exit(f"usage: install.py {{{','.join(LEVELS)}}}")
    main(sys.argv[1])
