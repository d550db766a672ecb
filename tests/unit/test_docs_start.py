"""docs/start.md, docs/commands.md and the README: is what a newcomer types there, and is it taken?"""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from account_monitor import __version__
from account_monitor.api.renderer import Renderer
from account_monitor.api.rendering import Renderings
from account_monitor.api.rest import openapi_document
from account_monitor.cli import commands
from account_monitor.config import load_settings
from account_monitor.monitor.desk import Desk
from tests.deployed import ROOT

PAGES = [ROOT / "README.md", ROOT / "docs" / "start.md"]
KEYS = {"BINANCE_API_KEY": "key", "BINANCE_SECRET_KEY": "secret"}

_block = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_command = re.compile(r"account-monitor ([a-z][a-z-]+)")
_address = re.compile(r"(?:localhost|127\.0\.0\.1):8080(/[a-z/]*)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in _block.findall(page.read_text(encoding="utf-8")) if found == language]


@pytest.mark.parametrize("text", [text for page in PAGES for text in blocks(page, "yaml")])
def test_every_configuration_is_taken_as_it_stands(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")

    (account,) = load_settings(file, KEYS).accounts

    assert account.name in text


def test_every_command_that_is_typed_is_there() -> None:
    there = set(commands.list_commands(click.Context(commands)))
    typed = {name for page in PAGES for text in blocks(page, "") for name in _command.findall(text)}

    assert {"doctor", "run", "status"} <= typed <= there


def test_every_command_has_its_row() -> None:
    rows = re.findall(r"^\| (`.*?) \| ", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)", row)}

    assert set(commands.list_commands(click.Context(commands))) <= named


def test_every_address_is_answered() -> None:
    described = openapi_document(Desk(lambda: 0, __version__), Renderings(0, Renderer()))["paths"]
    asked = {path for page in PAGES for path in _address.findall(page.read_text(encoding="utf-8"))}

    assert asked
    assert asked <= {*described, "/", "/docs"}
