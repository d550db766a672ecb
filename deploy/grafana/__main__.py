"""`python -m deploy.grafana` writes the dashboard; with `--check` it says whether the file is what the code makes."""

from __future__ import annotations

import sys

from deploy.grafana.dashboard import FILE, text


def main(arguments: list[str]) -> int:
    """Write the file, or compare it. Returns the exit code."""
    if arguments == ["--check"]:
        if FILE.exists() and FILE.read_text(encoding="utf-8") == text():
            return 0
        print(f"{FILE}: is not what the code makes; run python -m deploy.grafana", file=sys.stderr)
        return 1
    if arguments:
        print(f"deploy.grafana: was given {' '.join(arguments)!r}, expected nothing or --check", file=sys.stderr)
        return 2
    FILE.write_text(text(), encoding="utf-8")
    return 0


sys.exit(main(sys.argv[1:]))
