"""The image without Docker: does what the Dockerfile does make a service that starts, is well, and ends in time?"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.deployed import DEPLOY, ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


def test_what_the_image_installs_runs_from_an_empty_folder() -> None:
    """As root: as the image's user, without capabilities, with a file system of which only data can be written."""
    done = subprocess.run(
        ["sh", str(DEPLOY / "docker" / "try.sh")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "UV": str(ROOT / ".venv" / "bin" / "uv"), "TMPDIR": "/tmp"},  # noqa: S108  # where every user may go
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("well", "ready"):
        assert len(re.findall(rf"^try: {word} after \d+ ms$", done.stdout, re.MULTILINE)) == 2
    assert len(re.findall(r"^try: SIGTERM: ended with 0 after \d+ ms$", done.stdout, re.MULTILINE)) == 2
    assert done.stdout.endswith("try: ok\n")


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    command = ["sh", str(DEPLOY / "docker" / "try.sh"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr == f"try.sh: {tmp_path} was not empty, expected an empty folder\n"
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
