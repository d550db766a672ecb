"""`replay --verify`: the copy in the history is the journal, or the first thing that differs is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from account_monitor.ledger.events import Opening
from account_monitor.ledger.money import ZERO
from account_monitor.stores.backup import backup, restore
from tests.integration.history_desk import HistoryDesk, any_desk
from tests.journal_samples import fill
from tests.servers.postgres import FreshDatabase

pytestmark = pytest.mark.integration

EVENTS = (Opening("opening", 0, (("USDT", ZERO),)), fill("1"), fill("2"), fill("3"))


@pytest.fixture(params=["sqlite", "postgres"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> HistoryDesk:
    return any_desk(request, tmp_path)


def sharing(folder: Path, database: FreshDatabase) -> HistoryDesk:
    """Return the desk of one of several replicas."""
    desk = HistoryDesk(folder, database.url)
    desk.document["cluster"] = {"lease": "postgres"}
    return desk


async def test_a_copy_agrees_as_far_as_it_goes(desk: HistoryDesk) -> None:
    await desk.record(*EVENTS)
    before = await desk.ask("replay", "--verify")
    await desk.follow()
    level = await desk.ask("replay", "--verify")
    await desk.record(fill("4"))
    behind = await desk.ask("replay", "--verify")

    assert [answer.code for answer in (before, level, behind)] == [0, 0, 0], behind.stderr
    assert before.stderr.endswith("): there is no copy of this journal yet\n")
    assert level.stderr.endswith("): the first 4 entries verified, each the one of the journal\n")
    assert behind.stderr.endswith("each the one of the journal; the 1 after them are not there yet\n")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE journal SET source = 'bot' WHERE seq = 2", "entry 2 (fill:BTCUSDT:1) does not match its hash"),
        ("DELETE FROM journal WHERE seq = 2", "entry 2 is missing"),
        ("DELETE FROM journal WHERE seq = 4", "entry 4 is missing"),
        ("UPDATE epochs SET first_seq = 2", "epoch 1 of the history, from entry 2 on, is none of the journal"),
        ("DELETE FROM epochs", "the history lacks epoch 1 of the journal, from entry 1 on"),
        ("UPDATE projections SET epoch = 7", "the history ends in epoch 7, and entry 4 is of 1"),
        ("UPDATE projections SET seq = 3", "the history ends with entry 3, and names it by another hash"),
        ("UPDATE projections SET seq = 5", "the history has 5 entries of a journal that has 4"),
    ],
)
async def test_what_differs_is_named(tmp_path: Path, change: str, named: str) -> None:
    desk = HistoryDesk(tmp_path)
    await desk.record(*EVENTS)
    await desk.follow()
    await desk.meddle(change)

    answer = await desk.ask("replay", "--verify")
    local = await desk.ask("replay", "--verify", "--local")

    assert answer.code == 1
    assert named in answer.stderr
    assert answer.stdout == ""
    assert local.code == 0


async def test_another_journal_is_not_taken_for_this_one(tmp_path: Path) -> None:
    desk, other = HistoryDesk(tmp_path), HistoryDesk(tmp_path / "other")
    await desk.record(*EVENTS)
    await desk.follow()
    await other.record(*EVENTS[:2], fill("2", price="101"), fill("3"))
    (other.data_dir / "main.journal").replace(desk.data_dir / "main.journal")

    answer = await desk.ask("replay", "--verify")

    assert answer.code == 1
    assert "entry 3 of the history (fill:BTCUSDT:2) is another one in the journal (fill:BTCUSDT:2)" in answer.stderr


async def test_what_another_replica_recorded_on_is_no_difference_and_a_parted_journal_is_one(
    tmp_path: Path, postgres_database: FreshDatabase
) -> None:
    holder, follower, parted = (
        sharing(tmp_path / name, postgres_database) for name in ("holder", "follower", "parted")
    )
    await holder.record(*EVENTS[:3])
    for desk in (follower, parted):
        shutil.copytree(holder.data_dir, desk.data_dir)
    await holder.record(EVENTS[3], fill("4"), fill("5"))
    await holder.follow()
    await parted.record(fill("9"))

    behind, differs = await follower.ask("replay", "--verify"), await parted.ask("replay", "--verify")
    follower.document["cluster"]["lease"] = "none"
    alone = await follower.ask("replay", "--verify")

    assert (behind.code, differs.code, alone.code) == (0, 1, 1), behind.stderr
    assert behind.stderr.endswith(
        "): the first 3 entries verified, each the one of the journal; the 3 after them are another replica's, no fault"
        " where replicas share accounts\n"
    )
    assert "entry 4 of the history (fill:BTCUSDT:3) is another one in the journal (fill:BTCUSDT:9)" in differs.stderr
    assert "the history has 6 entries of a journal that has 3" in alone.stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE journal SET source = 'bot' WHERE seq = 4", "entry 4 (fill:BTCUSDT:3) does not match its hash"),
        ("UPDATE epochs SET first_seq = 2", "epoch 1 of the history, from entry 2 on, is none of the journal"),
    ],
)
async def test_a_damaged_copy_is_named_where_the_journal_lacks_entries_of_it(
    tmp_path: Path, postgres_database: FreshDatabase, change: str, named: str
) -> None:
    """Also beyond the end of the journal: a takeover would need it."""
    holder, follower = (sharing(tmp_path / name, postgres_database) for name in ("holder", "follower"))
    await holder.record(*EVENTS[:3])
    shutil.copytree(holder.data_dir, follower.data_dir)
    await holder.record(EVENTS[3])
    await holder.follow()
    await holder.meddle(change)

    answer = await follower.ask("replay", "--verify")

    assert answer.code == 1
    assert named in answer.stderr


async def test_an_epoch_that_another_replica_began_is_no_difference(
    tmp_path: Path, postgres_database: FreshDatabase
) -> None:
    holder, follower = (sharing(tmp_path / name, postgres_database) for name in ("holder", "follower"))
    await holder.record(*EVENTS[:3])
    shutil.copytree(holder.data_dir, follower.data_dir)
    backup({"main": holder.data_dir / "main.journal"}, tmp_path / "backup.tar", clock=lambda: holder.now_ms)
    for path in holder.data_dir.glob("main.journal*"):
        path.unlink()
    restore(tmp_path / "backup.tar", holder.data_dir, clock=lambda: holder.now_ms + 1_000)
    await holder.record(EVENTS[3])
    await holder.follow()

    answer = await follower.ask("replay", "--verify")

    assert answer.code == 0, answer.stderr
    assert "the first 3 entries verified, each the one of the journal; the 1 after them are another" in answer.stderr


async def test_a_database_that_does_not_answer_can_be_left_out(tmp_path: Path) -> None:
    desk = HistoryDesk(tmp_path, "postgresql://monitor:hunter2@127.0.0.1:1/trading")
    await desk.record(*EVENTS)

    answer, local = await desk.ask("replay", "--verify"), await desk.ask("replay", "--verify", "--local")
    alone = await desk.ask("replay", "--local")

    assert (answer.code, local.code, alone.code) == (1, 0, 2)
    assert answer.stderr.splitlines()[-1].endswith("127.0.0.1:1/trading: connection refused; --local leaves it out")
