"""What the page computes by itself, run by Node.js as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.servers.timescale import node_program

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"


def test_the_sources_of_the_page_pass_their_own_tests() -> None:
    node = node_program()
    assert node is not None
    tests = sorted(str(path) for path in (DASHBOARD / "tests").glob("*.test.ts"))
    assert tests
    told = subprocess.run([node, "--test", *tests], cwd=DASHBOARD, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-4000:]
