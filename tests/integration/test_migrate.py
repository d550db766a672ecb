"""`migrate`: the tables of the history, made and brought up to date by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.history_desk import HistoryDesk, any_desk

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", "postgres"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> HistoryDesk:
    return any_desk(request, tmp_path)


def test_several_at_once_run_each_migration_once(desk: HistoryDesk) -> None:
    running = [desk.start("migrate") for _ in range(3)]
    said = [process.communicate(timeout=60)[0].decode() for process in running]

    assert [process.returncode for process in running] == [0] * 3
    assert sum(": ran sqlite 1" in text or ": ran postgres 1, plain 1" in text for text in said) == 1
    assert sum(": up to date at" in text for text in said) == 2


async def test_a_schema_of_a_younger_program_is_left_alone(desk: HistoryDesk) -> None:
    await desk.ask("migrate")
    is_sqlite = desk.url == "sqlite"
    await desk.meddle("PRAGMA user_version = 99" if is_sqlite else "UPDATE schema_versions SET version = 99")

    result = await desk.ask("migrate")

    assert result.code == 1
    assert "version 99; this program knows up to 1" in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_a_table_that_was_dropped_by_hand_is_named(desk: HistoryDesk) -> None:
    await desk.ask("migrate")
    await desk.meddle("DROP TABLE alerts")

    result = await desk.ask("migrate")

    assert (result.code, result.stdout) == (1, "")
    assert "lacks what was removed by hand: table alerts; put back a backup of the database" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    desk = HistoryDesk(tmp_path, "postgresql://monitor:hunter2@127.0.0.1:1/trading")

    result = desk.run("migrate")

    assert result.code == 1
    assert result.stderr == "account-monitor: 127.0.0.1:1/trading: connection refused\n"
    assert "hunter2" not in result.stderr


def test_a_password_that_is_not_there_is_asked_for_and_no_other_secret(tmp_path: Path) -> None:
    desk = HistoryDesk(tmp_path, "postgresql://monitor:hunter2@127.0.0.1:1/trading")
    desk.password = ""

    result = desk.run("migrate")

    assert result.code == 2
    assert "database.password_env names the environment variable TEST_DATABASE_PASSWORD" in result.stderr
    assert "UNSET_KEY" not in result.stderr


async def test_tables_of_another_program_are_refused_and_left_alone(desk: HistoryDesk) -> None:
    desk.data_dir.mkdir(exist_ok=True)
    await desk.meddle("CREATE TABLE pnl_snapshots (id integer, realized_pnl decimal(20,8))")

    result = await desk.ask("migrate")

    assert result.code == 1
    assert ("pnl_snapshots" if desk.url != "sqlite" else "history.sqlite") in result.stderr
    assert len(result.stderr.splitlines()) == 1
    await desk.meddle("INSERT INTO pnl_snapshots (id, realized_pnl) VALUES (1, 0.5)")  # it is what it was
