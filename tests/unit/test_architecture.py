"""The rules of the tree that no compiler checks: what the ledger may know, and what is pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEDGER = sorted((ROOT / "src/account_monitor/ledger").glob("*.py"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

ALLOWED = {
    "__future__", "bisect", "collections", "collections.abc", "dataclasses", "decimal", "enum", "functools", "hashlib",
    "heapq", "itertools", "operator", "re", "typing",
}  # fmt: skip
"""The standard library as far as the ledger needs it: no clock, no chance, no I/O, no threads."""

each_file = pytest.mark.parametrize("path", LEDGER, ids=lambda path: path.name)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module or ""


def test_there_is_a_ledger_to_look_at() -> None:
    assert {"account.py", "money.py", "position.py", "timeline.py", "valuation.py"} <= {path.name for path in LEDGER}


@each_file
def test_the_ledger_imports_only_what_is_pure(path: Path) -> None:
    ours = ("account_monitor.ledger", "account_monitor.errors")
    foreign = [name for name in imported(path) if name not in ALLOWED and not name.startswith(ours)]

    assert foreign == []
    assert {*sys.stdlib_module_names, "collections.abc"} >= ALLOWED


@each_file
def test_the_ledger_has_no_floats(path: Path) -> None:
    floats = [
        node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Constant) and isinstance(node.value, float)
    ]
    named = [
        node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Name) and node.id in ("float", "complex")
    ]

    assert floats + named == []


@each_file
def test_the_ledger_has_no_clock_no_output_and_no_back_door(path: Path) -> None:
    forbidden = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint", "hash", "id"}
    called = {
        node.func.id for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    attributes = {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}

    assert called & forbidden == set()
    assert attributes & {"now", "utcnow", "today", "fromtimestamp", "localcontext", "setcontext"} == set()


@each_file
def test_the_ledger_divides_only_in_money(path: Path) -> None:
    divisions = [
        node.lineno for node in ast.walk(tree(path))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod | ast.Pow)
    ]  # fmt: skip

    assert divisions == []


def test_every_dependency_is_pinned_with_its_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    pinned = {
        _normal(match[1]) for match in re.finditer(r"^([A-Za-z0-9._-]+)==\S+.*\\\n +--hash=sha256:", lock, re.MULTILINE)
    }

    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["embedded"], *extras["notify"]]
    names = {_normal(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in needed}  # type: ignore[index]  # PEP 508

    assert names - pinned == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_download_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")

    assert re.findall(r"https?://|--index-url|--extra-index-url|--find-links|--trusted-host|file:", text) == []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
