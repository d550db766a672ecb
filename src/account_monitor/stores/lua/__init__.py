"""Lua: the scripts that Redis runs, kept as Lua."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def load_script(name: str) -> str:
    """Return the script `<name>.lua`."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
