"""docs/deployment.md and what deploy/ tells people to type: are the files, sections and commands there?"""

from __future__ import annotations

import re

import click
import pytest

from account_monitor.cli import commands
from tests.deployed import CHART, COMPOSE_FILE, ROOT, services

PAGE = ROOT / "docs" / "deployment.md"
ABOUT_TO_BE = {"token"}
"""What the page tells of already; the name may go once the command is there."""


def typed() -> set[str]:
    """Return the commands of account-monitor that people are told to type, and those that containers run."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    texts = [*blocks, (CHART / "templates" / "NOTES.txt").read_text(), COMPOSE_FILE.read_text()]
    prefixes = r"(?:exec account-monitor |bin/|-- |\\\n\s+|exec )"
    found = {name for text in texts for name in re.findall(rf"{prefixes}account-monitor ([a-z][a-z-]+)", text)}
    return found - {"account-monitor"} | {services()["exchange"]["command"][0]}


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)\s]+)\)", PAGE.read_text(encoding="utf-8")))))
def test_every_link_leads_somewhere(target: str) -> None:
    path, _, section = target.partition("#")
    file = (PAGE.parent / path).resolve() if path else PAGE

    assert file.exists()
    if section:
        assert section in anchors(file.read_text(encoding="utf-8"))


def test_every_script_that_is_typed_is_there() -> None:
    scripts = re.findall(r"sh (deploy/\S+\.sh)", PAGE.read_text(encoding="utf-8"))

    assert scripts
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_every_command_that_is_typed_is_there() -> None:
    there = set(commands.list_commands(click.Context(commands)))

    assert {"token", "backup", "run", "check-config", "simulate"} <= typed()
    assert typed() - there <= ABOUT_TO_BE
