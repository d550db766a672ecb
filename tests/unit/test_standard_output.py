"""The standard output of `status` and `report`: what it cannot take, and where there is none."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.text import Text

from account_monitor.cli import run, status
from account_monitor.stores.journal import Journal
from tests.journal_samples import deliveries


def latin(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Return what is written to a standard output of Latin-1, which has no dash."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    return written


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory with the journal of an account."""
    journal = Journal.open(tmp_path, "main", clock=lambda: 1_764_028_800_000)
    await journal.append(deliveries(1))
    await journal.close()
    return tmp_path


def test_a_report_is_utf_8_whatever_the_terminal_takes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = latin(monkeypatch)

    assert run(["report", "--data-dir", str(data)]) == 0
    assert "—" in written.getvalue().decode()


def test_a_status_shows_what_the_terminal_does_not_take_as_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    written = latin(monkeypatch)
    monkeypatch.setattr(status, "account_screens", lambda *_: status.Screens(Text("equity —"), is_any_here=True))

    assert run(["status", "--url", "http://127.0.0.1:9"]) == 0
    sys.stdout.flush()
    assert written.getvalue().rstrip() == b"equity \\u2014"


def test_a_standard_output_that_is_closed_is_said(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)

    for command in (["status", "--url", "http://127.0.0.1:9"], ["report", "--data-dir", str(data)]):
        assert run(command) == 1
        assert capsys.readouterr().err.startswith("account-monitor: the standard output is closed")
