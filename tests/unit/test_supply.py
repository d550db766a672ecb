"""Supply: what the lock file holds is told whole, and only what may be used is in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploy.supply import LOCK, PAGE_LOCK, ROOT, STATED, bill, is_allowed, licence, locked, shipped

TEXT = """\
apple==1.0 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via
    #   account-monitor (pyproject.toml)
    #   pear
pear==2.1 ; sys_platform == 'win32' \\
    --hash=sha256:{c}
    # via account-monitor (pyproject.toml)
""".format(a="a" * 64, b="b" * 64, c="c" * 64)


def test_a_lock_is_read_with_digests_and_who_needs_what() -> None:
    apple, pear = locked(TEXT)

    assert (apple.name, apple.version, len(apple.sha256)) == ("apple", "1.0", 2)
    assert apple.needed_by == ("account-monitor", "pear")
    assert (pear.name, pear.version, pear.needed_by) == ("pear", "2.1", ("account-monitor",))


def test_the_bill_names_everything_that_is_locked_and_is_the_same_again() -> None:
    text = LOCK.read_text("utf-8")
    page = PAGE_LOCK.read_text("utf-8")
    made = bill(text, page)

    names = {component["name"] for component in made["components"]}
    assert names == {package.name for package in locked(text)} | {part.name for part in shipped(page)}
    assert {"aiohttp", "litestar", "uvicorn"} <= names
    assert json.dumps(made) == json.dumps(bill(text, page))
    references = {component["bom-ref"] for component in made["components"]}
    needed = {each for dependency in made["dependencies"] for each in dependency["dependsOn"]}
    assert needed == references, "each is needed by something"


def test_another_lock_is_another_bill() -> None:
    page = PAGE_LOCK.read_text("utf-8")
    other_page = page.replace(next(shipped(page)).version, "99.0.0")

    assert len({bill(*locks)["serialNumber"] for locks in ((TEXT, page), (TEXT, other_page), (TEXT + "#", page))}) == 3


def test_every_locked_package_has_a_licence_that_is_allowed() -> None:
    found = {package.name: licence(package.name) for package in locked(LOCK.read_text("utf-8"))}

    assert {name: text for name, text in found.items() if not is_allowed(name, text)} == {}
    assert set(STATED) <= set(found), "what is no longer locked needs no statement"


@pytest.mark.parametrize(
    ("name", "expression", "is_fine"),
    [
        ("x", "MIT", True),
        ("x", "Apache-2.0 AND MIT", True),
        ("x", "GPL-3.0-only OR MIT", True),
        ("x", "GPL-3.0-only AND MIT", False),
        ("x", "AGPL-3.0-or-later", False),
        ("x", "MPL-2.0", False),
        ("certifi", "MPL-2.0", True),
        ("x", "unknown: it says nothing", False),
    ],
)
def test_what_is_allowed(name: str, expression: str, *, is_fine: bool) -> None:
    assert is_allowed(name, expression) is is_fine


def test_what_the_page_ships_is_told_and_what_builds_it_is_not() -> None:
    parts = {part.name: part for part in shipped(PAGE_LOCK.read_text("utf-8"))}

    assert parts.keys() == {"preact", "@preact/signals", "@preact/signals-core", "lightweight-charts", "fancy-canvas"}
    assert all(is_allowed(part.name, part.licence) for part in parts.values())
    assert {len(part.sha512) for part in parts.values()} == {128}


@pytest.mark.parametrize(
    ("said", "status", "expected", "last"),
    [
        ("No known vulnerabilities found", 0, 0, "audit: no known weakness in what is locked"),
        ("Found 2 known vulnerabilities in 1 package", 1, 1, "Found 2 known vulnerabilities in 1 package"),
        ("Max retries exceeded with url: /pypi", 1, 0, "audit: NOT DONE, the database of weaknesses cannot be reached"),
        ("hashes do not match for aiohttp", 1, 1, "audit: FAILED, pip-audit ended with status 1"),
        (None, None, 1, "audit: FAILED, pip-audit ended with status 127"),
    ],
)
def test_an_audit_that_failed_is_excused_by_the_network_alone(
    tmp_path: Path, said: str | None, status: int | None, expected: int, last: str
) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "audit.sh"
    script.write_text((ROOT / "deploy" / "audit.sh").read_text("utf-8"), "utf-8")
    if said is not None:
        program = tmp_path / ".venv-audit" / "bin" / "pip-audit"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n", "utf-8")
        program.chmod(0o755)

    ended = subprocess.run(
        ["bash", str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=30
    )

    assert ended.returncode == expected, ended.stdout
    assert ended.stdout.splitlines()[-1].startswith(last)


def test_a_field_that_says_unknown_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quince-1.0.dist-info").mkdir()
    (tmp_path / "quince-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: quince\nVersion: 1.0\nLicense: UNKNOWN\n"
        "Classifier: License :: OSI Approved :: MIT License\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert licence("quince") == "MIT"
