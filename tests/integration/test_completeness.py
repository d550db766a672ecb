"""Commands that read a journal say how far it goes, and where another replica has recorded on, that it has."""

from __future__ import annotations

import re
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from account_monitor.ledger.events import Opening
from account_monitor.stores.journal import Journal
from tests.integration.history_desk import HistoryDesk
from tests.journal_samples import delivery, fill
from tests.servers.postgres import FreshDatabase

pytestmark = pytest.mark.integration

LAST = "2023-11-14T22:13:22.000Z"
"""When a desk that recorded two events recorded the second."""


def desk_of(folder: Path, url: str = "sqlite", *, lease: str = "none") -> HistoryDesk:
    desk = HistoryDesk(folder, url)
    desk.document["accounts"] = [{"name": name, "exchange": "none"} for name in ("main", "other")]
    desk.document["pubsub"] = {"nats": {"url": None}}
    desk.document["cluster"] = {"lease": lease}
    desk.now_ms = 1_700_000_000_000
    return desk


async def begun(desk: HistoryDesk) -> None:
    """Record two events."""
    await desk.record(Opening("o", 0, (("USDT", Decimal(1000)),)), fill("1"))


async def test_a_report_ends_with_the_last_entry_and_names_accounts_without_a_journal(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    await begun(desk)

    page = await desk.ask("report")
    later = await desk.ask("report", "--from", "2023-11-15", "--output", "page.html")

    assert page.code == 0
    assert "to 2023-11-14 22:13:22 UTC, when the last entry was recorded, days of UTC" in page.stdout
    assert "Last entry recorded 2023-11-14 22:13:22 UTC" in page.stdout
    absent = f"account other: is configured, and has no journal in {desk.data_dir}"
    assert f"Left out: {absent}" in page.stdout
    assert page.stderr == f"account-monitor: left out: {absent}\n"
    nothing = f"2023-11-15T00:00:00.000Z to now; nothing was recorded after {LAST}"
    assert (later.code, later.stdout) == (0, f"page.html: main, {nothing}\n")


async def test_an_explanation_ends_with_the_last_entry_where_nothing_came_after_it(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    await begun(desk)

    def told(*span: str) -> str:
        answer = desk.run("explain", *span)
        assert (answer.code, answer.stderr) == (0, "")
        return answer.stdout.splitlines()[0]

    assert told().endswith(f"from the beginning to {LAST}, when the last entry was recorded")
    assert told("--to", "2023-11-16").endswith(f"to {LAST}, when the last entry was recorded")
    assert told("--to", "2023-11-14T22:13:21Z").endswith("to 2023-11-14T22:13:21.000Z")
    after = told("--from", "2023-11-14", "--timezone", "America/New_York", "--to", "2023-11-16T00:00:00Z")
    assert after.endswith(f"from 2023-11-14T05:00:00.000Z to {LAST}, when the last entry was recorded")
    assert told("--from", "2023-11-16").endswith(f"to now; nothing was recorded after {LAST}")


COMMANDS = {
    "report": ("report", "--account", "main"),
    "explain": ("explain", "--account", "main"),
    "replay": ("replay", "--account", "main"),
    "export fills": ("export", "fills", "--account", "main"),
    "backup": ("backup", "--force", "backup.tar"),
}
"""What reads the journals that are here, by its name."""


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_file_that_another_replica_has_left_behind_is_warned_of(
    tmp_path: Path, postgres_database: FreshDatabase, command: str
) -> None:
    desk = desk_of(tmp_path, postgres_database.url, lease="postgres")
    await begun(desk)
    await desk.follow()
    old = tmp_path / "old"
    shutil.copytree(desk.data_dir, old)
    even = await desk.ask(*COMMANDS[command])
    await desk.record(fill("2"), fill("3"))
    await desk.follow()

    behind = await desk.ask(*COMMANDS[command], "--data-dir", str(old))
    holder = await desk.ask(*COMMANDS[command])

    said = (
        f"account main: the journal here ends at entry 2, recorded at {LAST}; another replica has recorded on, to entry"
        " 4: what follows is not here. Ask the replica that holds the account"
    )
    assert (even.code, even.stderr, holder.code, holder.stderr) == (0, "", 0, "")
    assert (behind.code, behind.stderr) == (0, f"account-monitor: warning: {said}\n")
    assert (said in re.sub(r"\s+", " ", behind.stdout)) == (command == "report")


async def test_an_account_of_another_replica_and_a_parted_file_are_warned_of(
    tmp_path: Path, postgres_database: FreshDatabase
) -> None:
    desk = desk_of(tmp_path, postgres_database.url, lease="postgres")
    await begun(desk)
    old = tmp_path / "old"
    shutil.copytree(desk.data_dir, old)
    await desk.record(fill("2"))
    await desk.follow()
    parted = desk_of(tmp_path / "parted", postgres_database.url, lease="postgres")
    shutil.copytree(old, parted.data_dir)
    await parted.record(fill("8"), fill("9"))
    elsewhere = desk_of(tmp_path / "elsewhere", postgres_database.url, lease="postgres")
    journal = Journal.open(elsewhere.data_dir, "other", clock=lambda: desk.now_ms)
    await journal.append([delivery(fill("1"))])
    await journal.close()

    said = (await parted.ask("report")).stderr
    backed_up = await elsewhere.ask("backup", "backup.tar")
    await desk.record(fill("3"), fill("4"))
    await desk.follow()
    shorter = (await parted.ask("report")).stderr
    left_out = await elsewhere.ask("report")

    assert "warning: account main: entry 3 of the journal here is another one than that which a replica has" in said
    assert "warning: account main: entry 4 of the journal here is another one than that which a replica" in shorter
    told = "account main: another replica has recorded 5 entries of it, and here is no journal"
    assert (backed_up.code, backed_up.stdout) == (0, "backup.tar: other\n")
    assert backed_up.stderr == f"account-monitor: warning: {told.replace('5 entries', '3 entries')}\n"
    assert f"warning: {told}" in left_out.stderr
    assert told in left_out.stdout


@pytest.mark.parametrize("command", COMMANDS)
async def test_it_is_said_where_nobody_knows_whether_another_replica_has_more(tmp_path: Path, command: str) -> None:
    desk = desk_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none", lease="postgres")
    await begun(desk)

    answer = await desk.ask(*COMMANDS[command])

    assert answer.code == 0
    of = "main, other" if command == "backup" else "main"
    begins = f"account-monitor: warning: cluster.lease is postgres: whether another replica has recorded more of {of}"
    assert answer.stderr.startswith(f"{begins} cannot be said: ")
    assert len(answer.stderr.splitlines()) == 1


async def test_a_process_that_holds_all_accounts_asks_nobody(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    await begun(desk)

    answers = [await desk.ask(*arguments) for arguments in COMMANDS.values()]

    assert [answer.code for answer in answers] == [0] * len(COMMANDS)
    assert not any("warning" in answer.stderr for answer in answers)


async def test_a_password_that_is_not_there_is_such_a_line_and_no_failure(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none", lease="postgres")
    desk.document["database"]["password_env"] = "UNSET_PASSWORD"
    await begun(desk)

    answer = await desk.ask("explain", "--account", "main")

    assert answer.code == 0
    assert "UNSET_PASSWORD" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
