"""Runs of the demo: a folder each, a link to the latest, the last three kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from account_monitor.demo.runs import KEPT, LATEST, keep, new_run

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.is_symlink())


def run_begun(folder: Path, at: datetime) -> Path:
    """Return the folder of a run that went well."""
    run = new_run(folder, at)
    (run / "demo.journal").touch()
    keep(run)
    return run


def test_the_last_runs_are_kept_and_the_latest_is_linked(tmp_path: Path) -> None:
    runs = [run_begun(tmp_path, START + timedelta(minutes=minutes)) for minutes in range(KEPT + 2)]

    assert names(tmp_path) == [run.name for run in runs[-KEPT:]]
    assert (tmp_path / LATEST).resolve() == runs[-1].resolve()


def test_starts_that_fail_cost_no_good_run(tmp_path: Path) -> None:
    good = [run_begun(tmp_path, START + timedelta(minutes=minutes)) for minutes in range(KEPT)]
    failed = [new_run(tmp_path, START + timedelta(hours=1, minutes=minutes)) for minutes in range(KEPT + 2)]

    assert names(tmp_path) == [run.name for run in (*good, failed[-1])]  # the log of the last failure can be read
    assert (tmp_path / LATEST).resolve() == good[-1].resolve()

    youngest = run_begun(tmp_path, START + timedelta(hours=2))

    assert names(tmp_path) == [run.name for run in (*good[1:], youngest)]


def test_runs_of_one_second_have_names_of_their_own_and_are_in_order(tmp_path: Path) -> None:
    runs = [run_begun(tmp_path, START) for _ in range(12)]

    assert runs[-1].name == "20261122-120000-12"
    assert set(names(tmp_path)) == {"20261122-120000-10", "20261122-120000-11", "20261122-120000-12"}


def test_what_else_lies_there_stays(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for minutes in range(KEPT + 1):
        run_begun(tmp_path, START + timedelta(minutes=minutes))

    assert "notes" in names(tmp_path)
