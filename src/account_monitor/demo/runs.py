"""Runs: a folder for each demonstration, since the simulated exchange begins anew each time. The last few are kept."""

from __future__ import annotations

import re
import shutil
from datetime import datetime
from pathlib import Path

KEPT = 3
LATEST = "latest"
"""A link to the folder of the youngest run."""

_is_run = re.compile(r"([0-9]{8}-[0-9]{6})(?:-([0-9]+))?").fullmatch


def new_run(data_dir: Path, at: datetime) -> Path:
    """Make the folder of a run that starts now, and remove what is left of starts that failed."""
    stem = f"{at:%Y%m%d-%H%M%S}"
    same = [number for known, number, _ in _runs(data_dir) if known == stem] if data_dir.exists() else []
    for *_, old in _runs(data_dir) if data_dir.exists() else ():
        if not _has_begun(old):
            shutil.rmtree(old, ignore_errors=True)
    run = data_dir / (f"{stem}-{max(same) + 1}" if same else stem)
    run.mkdir(parents=True)
    return run


def keep(run: Path) -> None:
    """Point `latest` at a run that has begun, and remove the oldest: a start that fails costs no good run."""
    for *_, old in _runs(run.parent)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    latest = run.parent / LATEST
    latest.unlink(missing_ok=True)
    latest.symlink_to(run.name)


def _has_begun(run: Path) -> bool:
    return any(run.glob("*.journal"))


def _runs(data_dir: Path) -> list[tuple[str, int, Path]]:
    """Return start, number and folder of each run, the oldest first; whatever else lies there is not ours."""
    return sorted((match[1], int(match[2] or 1), path) for path in data_dir.iterdir() if (match := _is_run(path.name)))
