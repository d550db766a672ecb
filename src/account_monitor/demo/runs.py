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
    """Make the folder of a run that starts now, point `latest` at it, and remove the oldest runs."""
    stem = f"{at:%Y%m%d-%H%M%S}"
    same = [number for known, number, _ in _runs(data_dir) if known == stem] if data_dir.exists() else []
    run = data_dir / (f"{stem}-{max(same) + 1}" if same else stem)
    run.mkdir(parents=True)
    for *_, old in _runs(data_dir)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    latest = data_dir / LATEST
    latest.unlink(missing_ok=True)
    latest.symlink_to(run.name)
    return run


def _runs(data_dir: Path) -> list[tuple[str, int, Path]]:
    """Return start, number and folder of each run, the oldest first; whatever else lies there is not ours."""
    return sorted((match[1], int(match[2] or 1), path) for path in data_dir.iterdir() if (match := _is_run(path.name)))
