"""Supply: what the lock file holds is told whole, and only what may be used is in it."""

from __future__ import annotations

import json

import pytest

from deploy.supply import LOCK, STATED, bill, is_allowed, licence, locked

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
    made = bill(text)

    names = {component["name"] for component in made["components"]}
    assert names == {package.name for package in locked(text)}
    assert {"aiohttp", "litestar", "uvicorn"} <= names
    assert json.dumps(made) == json.dumps(bill(text))
    references = {component["bom-ref"] for component in made["components"]}
    needed = {each for dependency in made["dependencies"] for each in dependency["dependsOn"]}
    assert needed == references, "each is needed by something"


def test_another_lock_is_another_bill() -> None:
    assert bill(TEXT)["serialNumber"] != bill(TEXT.replace("2.1", "2.2"))["serialNumber"]


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
