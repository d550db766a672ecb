"""The page about the simulated exchange: does its table say what the catalogue says?"""

from __future__ import annotations

from pathlib import Path

from exchange_simulator.catalogue import KINDS, Kind

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_the_table_of_faults_is_the_catalogue() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    header = lines.index("| fault | strikes | what happens | rate | settings |")
    rows = lines[header + 2 : lines.index("", header)]

    assert rows == [row(name, kind) for name, kind in KINDS.items()]


def row(name: str, kind: Kind) -> str:
    settings = " · ".join(f"`{setting}` {number(value)}" for setting, value in kind.defaults.items())
    return f"| `{name}` | {kind.place} | {kind.text} | {kind.rate:g} | {settings + ' ' if settings else ''}|"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10_000 else f"{value:g}"
