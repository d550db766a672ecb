"""`doctor` and the history: whether the database can be used, what it lacks, and how far behind the journals it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import asyncpg
import pytest

from account_monitor.stores.backup import backup, restore
from account_monitor.stores.journal_file import journal_path
from tests.integration.history_desk import HistoryDesk, any_desk
from tests.journal_samples import fill
from tests.servers.postgres import FreshDatabase

pytestmark = pytest.mark.integration


@pytest.fixture(params=["sqlite", "postgres", "timescale"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> HistoryDesk:
    return alone(any_desk(request, tmp_path))


def alone(desk: HistoryDesk) -> HistoryDesk:
    """Let it have no exchange and no NATS, which other tests look at."""
    desk.document["accounts"] = [{"name": "main", "exchange": "none"}]
    desk.document["pubsub"] = {"nats": {"url": None}}
    return desk


async def findings(desk: HistoryDesk) -> list[tuple[str | None, str, str, str | None]]:
    """Return (account, outcome, found, advice) of what is about the history."""
    checks = json.loads((await desk.ask("doctor", "--json")).stdout)["checks"]
    return [(c["account"], c["outcome"], c["found"], c["advice"]) for c in checks if c["check"] == "history"]


async def test_it_says_what_the_database_is_and_how_far_behind(desk: HistoryDesk) -> None:
    await desk.record(fill("1"))
    ((_, before, no_tables, _),) = await findings(desk)
    await desk.follow()
    await desk.record(fill("2"), fill("3"))
    (_, after, tables, _), (account, outcome, found, _) = await findings(desk)

    assert (before, after, account, outcome) == ("ok", "ok", "main", "ok")
    assert "schema none" in no_tables
    assert "its tables are made at the first start" in no_tables
    assert "MiB" in tables
    assert found == "1 of 3 entries, 2 behind the journal"
    parts = {"sqlite": "sqlite 1", "plain": "postgres 1, plain 1", "timescale": "postgres 1, timescale 1"}
    uses_timescale = "with TimescaleDB" in tables
    schema = parts["sqlite" if desk.url == "sqlite" else "timescale" if uses_timescale else "plain"]
    assert f"schema {schema}, " in tables
    assert ("P&L is summed up by the service" in tables) == (schema == parts["plain"])


async def test_another_journal_and_a_service_that_does_not_write_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = alone(HistoryDesk(tmp_path))
    await desk.record(*(fill(str(number)) for number in range(3)))
    await desk.follow()
    await desk.meddle("UPDATE projections SET hash = zeroblob(32)")
    _, (_, differs, other, _) = await findings(desk)
    await desk.meddle("DELETE FROM projections")
    monkeypatch.setattr("account_monitor.cli.history_checks.FAR_BEHIND", 2)
    _, (_, outcome, found, _) = await findings(desk)

    assert (differs, other) == ("FAILED", "it holds another journal of this account, up to entry 3")
    assert (outcome, found) == ("warning", "0 of 3 entries, 3 behind the journal")


def sharing(folder: Path, database: FreshDatabase) -> HistoryDesk:
    """Return the desk of one of several replicas."""
    desk = alone(HistoryDesk(folder, database.url))
    desk.document["cluster"] = {"lease": "postgres"}
    return desk


async def test_a_journal_behind_its_copy_is_no_fault_where_replicas_share_accounts(
    tmp_path: Path, postgres_database: FreshDatabase
) -> None:
    holder, follower = (sharing(tmp_path / name, postgres_database) for name in ("holder", "follower"))
    await holder.record(fill("1"), fill("2"))
    shutil.copytree(holder.data_dir, follower.data_dir)
    await holder.record(fill("3"))
    await holder.follow()

    _, (_, outcome, found, advice) = await findings(follower)
    follower.document["cluster"]["lease"] = "none"
    _, (_, alone_outcome, alone_found, alone_advice) = await findings(follower)

    assert (outcome, advice) == ("ok", None)
    assert found == (
        "the journal here has 2 of 3 entries, 1 behind the copy: another replica has recorded on, which is no fault"
        " where replicas share accounts"
    )
    assert (alone_outcome, alone_found) == ("FAILED", "it holds 3 entries, and the journal ends at entry 2")
    assert alone_advice is not None
    assert alone_advice.startswith("move this journal away, and the next start restores it from the copy")


@pytest.mark.parametrize("others", [0, 2])
async def test_a_journal_that_parted_from_its_copy_failed_although_replicas_share_accounts(
    tmp_path: Path, postgres_database: FreshDatabase, others: int
) -> None:
    """Whether the copy goes on or not: where the shorter one ends they differ."""
    holder, parted = (sharing(tmp_path / name, postgres_database) for name in ("holder", "parted"))
    await holder.record(fill("1"))
    shutil.copytree(holder.data_dir, parted.data_dir)
    await holder.record(fill("2"), *(fill(str(3 + number)) for number in range(others)))
    await holder.follow()
    await parted.record(fill("9"))

    _, (_, outcome, found, _) = await findings(parted)

    assert outcome == "FAILED"
    assert found == f"it holds another journal of this account, up to entry {2 + others}"


async def test_a_journal_that_was_put_back_is_no_failure(tmp_path: Path) -> None:
    desk = alone(HistoryDesk(tmp_path))
    await desk.record(fill("1"))
    journal = journal_path(desk.data_dir, "main")
    backup({"main": journal}, tmp_path / "backup.tar", clock=lambda: desk.now_ms)
    await desk.record(fill("2"))
    await desk.follow()
    for path in desk.data_dir.glob("main.journal*"):
        path.unlink()
    restore(tmp_path / "backup.tar", desk.data_dir, clock=lambda: desk.now_ms + 1_000)

    _, (_, outcome, found, _) = await findings(desk)

    assert (outcome, "the journal was put back since" in found) == ("ok", True)


async def test_a_history_that_ends_before_the_journal_begins_failed(tmp_path: Path) -> None:
    desk = alone(HistoryDesk(tmp_path))
    await desk.record(*(fill(str(number)) for number in range(3)))
    await desk.follow()
    await desk.forget(until=2)
    *_, (_, before, _, _) = await findings(desk)
    await desk.meddle("UPDATE projections SET seq = 1")  # as a database of last month
    *_, (_, outcome, found, advice) = await findings(desk)
    await desk.meddle("DELETE FROM projections")  # as an empty one
    *_, (_, empty, nothing, _) = await findings(desk)

    assert (before, outcome, empty) == ("ok", "FAILED", "FAILED")
    assert found == "it ends at entry 1, and the journal begins after entry 2"
    assert nothing == "it ends at entry 0, and the journal begins after entry 2"
    assert advice == "put back the database that holds the entries between"


async def test_a_column_that_was_dropped_by_hand_failed_and_is_named(desk: HistoryDesk) -> None:
    await desk.record(fill("1"))
    await desk.follow()
    await desk.meddle("ALTER TABLE alerts DROP COLUMN cause")

    ((_, outcome, found, advice),) = await findings(desk)

    assert outcome == "FAILED"
    assert found.endswith("; removed by hand: column cause of alerts")
    assert advice is not None
    assert "begin with an empty database" in advice


async def test_a_database_that_does_not_answer_failed_and_is_named(tmp_path: Path) -> None:
    desk = alone(HistoryDesk(tmp_path, "postgresql://monitor:hunter2@127.0.0.1:1/trading"))

    ((_, outcome, found, advice),) = await findings(desk)

    assert outcome == "FAILED"
    assert found == "127.0.0.1:1/trading: connection refused"
    assert advice is not None


async def test_a_role_without_rights_is_told_what_it_lacks(tmp_path: Path, postgres_database: FreshDatabase) -> None:
    if postgres_database.role is None:
        pytest.skip("no roles can be made on this server")
    desk = alone(HistoryDesk(tmp_path, postgres_database.url))
    admin = await asyncpg.connect(postgres_database.admin_url)
    try:
        await admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner")
        ((_, outcome, _, advice),) = await findings(desk)
        assert (outcome, advice) == ("FAILED", "it needs to make tables in schema public")

        await admin.execute(f"GRANT CREATE ON SCHEMA public TO {postgres_database.role}")
        await desk.ask("migrate")
        await admin.execute("ALTER TABLE fills OWNER TO CURRENT_USER; ALTER TABLE alerts OWNER TO CURRENT_USER")
        await admin.execute(f"GRANT SELECT ON fills TO {postgres_database.role}")
        (_, outcome, _, advice), _ = await findings(desk)
        assert (outcome, advice) == ("FAILED", "it needs to read and write alerts, fills")

        await admin.execute("UPDATE schema_versions SET version = 0 WHERE part = 'plain'")
        ((_, _, _, advice),) = await findings(desk)
        assert advice == "it needs to own alerts, fills"
    finally:
        await admin.close()
