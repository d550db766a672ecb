"""Backups: taken while the journals are written, verified before they are put back."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path

import apsw
import pytest

from account_monitor.errors import JournalCorrupt, JournalError, JournalInUse
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.monitor.ports import StreamPosition
from account_monitor.stores.backup import backup, restore
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_reader import open_reader
from tests.journal_samples import deliveries, garbage

use_exact_arithmetic()
NOW = 1_795_348_800_123  # 2026-11-22T12:00:00.123Z


def clock() -> int:
    return NOW


@pytest.fixture
def live(tmp_path: Path) -> dict[str, Path]:
    """The closed journals of two accounts."""

    async def fill_them() -> None:
        for account, count in (("main", 3), ("alt", 1)):
            journal = Journal.open(tmp_path / "live", account, clock=clock)
            await journal.append(deliveries(*range(count)), [StreamPosition("nats:FILLS", "x", count)])
            await journal.append([garbage()])
            await journal.save_checkpoint(count, "v1", b"state")
            await journal.close()

    asyncio.run(fill_them())
    return {account: tmp_path / "live" / f"{account}.journal" for account in ("main", "alt")}


@pytest.fixture
def saved(live: dict[str, Path], tmp_path: Path) -> Path:
    target = tmp_path / "backup.tar"
    backup(live, target, clock=clock)
    return target


def repack(saved: Path, **changes: bytes) -> None:
    """Replace members of a backup; `main_journal` stands for main.journal."""
    with tarfile.open(saved) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    with tarfile.open(saved, "w") as tar:
        for name, content in (
            contents | {name.replace("_", "."): content for name, content in changes.items()}
        ).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def member(saved: Path, name: str) -> bytes:
    with tarfile.open(saved) as tar:
        content = tar.extractfile(name)
        assert content is not None
        return content.read()


def test_a_backup_is_one_file_that_says_what_it_holds(live: dict[str, Path], saved: Path) -> None:
    with open_reader(live["main"]) as reader:
        head = reader.head()

    manifest = json.loads(member(saved, "manifest.json"))

    assert manifest["version"] == 1
    assert manifest["created_at"] == "2026-11-22T12:00:00.123Z"
    assert manifest["accounts"]["main"] == {"epoch": 1, "last_seq": 3, "last_hash": head.hash.hex()}
    with tarfile.open(saved) as tar:
        assert sorted(tar.getnames()) == ["alt.journal", "main.journal", "manifest.json"]
    assert sorted(path.name for path in saved.parent.iterdir()) == ["backup.tar", "live"]


async def test_what_is_restored_is_what_was_saved_in_a_new_epoch(
    live: dict[str, Path], saved: Path, tmp_path: Path
) -> None:
    with open_reader(live["main"]) as reader:
        before = list(reader.entries())

    restore(saved, tmp_path / "new", clock=clock)

    journal = Journal.open(tmp_path / "new", "main", clock=clock)
    assert list(journal.entries()) == before
    assert journal.epoch > 1
    assert journal.positions["nats:FILLS"].sequence == 3
    assert next(journal.load_checkpoints("v1")) == (3, b"state")
    assert journal.reader.dead_letter_counts().kept == 1
    await journal.append(deliveries(2, 7))
    assert journal.reader.verify()[0] == journal.last_seq == 4
    await journal.close()


async def test_the_chain_holds_across_epochs(saved: Path, tmp_path: Path) -> None:
    source, epoch = saved, 1
    for n in range(3):
        folder = tmp_path / f"generation{n}"
        restore(source, folder, clock=clock)
        journal = Journal.open(folder, "main", clock=clock)
        if n != 1:  # an epoch may pass without an entry
            await journal.append(deliveries(100 + n))
        assert journal.epoch > epoch
        epoch = journal.epoch
        assert journal.reader.verify()[0] == journal.last_seq
        source = tmp_path / f"backup{n}.tar"
        backup({"main": journal.path}, source, clock=clock)
        await journal.close()


async def test_a_backup_of_a_journal_that_is_being_written_is_of_one_moment(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "live", "main", clock=clock)
    await journal.append(deliveries(*range(2_000)))
    stop = asyncio.Event()

    async def write() -> None:
        n = 10_000
        while not stop.is_set():
            await journal.append(deliveries(*range(n, n + 10)), [StreamPosition("nats:FILLS", "x", n + 9)])
            n += 10

    writing = asyncio.create_task(write())
    for n in range(5):
        target = tmp_path / f"{n}.tar"
        manifest = await asyncio.to_thread(backup, {"main": journal.path}, target, clock=clock)
        await asyncio.to_thread(restore, target, tmp_path / f"new{n}", clock=clock)
        with open_reader(tmp_path / f"new{n}" / "main.journal") as reader:
            assert reader.head().seq == manifest.accounts["main"].last_seq
            if position := reader.positions().get("nats:FILLS"):
                assert position.sequence - 10_000 + 1 == reader.head().seq - 2_000
    stop.set()
    await writing

    assert journal.reader.verify()[0] == journal.last_seq > 2_000
    await journal.close()


@pytest.mark.parametrize("leftover", ["main.journal", "main.journal-wal"])
def test_a_journal_that_is_there_is_not_replaced(saved: Path, tmp_path: Path, leftover: str) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / leftover).write_bytes(b"precious")

    with pytest.raises(JournalError, match=f"{leftover} exists"):
        restore(saved, folder, clock=clock)

    assert (folder / leftover).read_bytes() == b"precious"
    assert not (folder / "alt.journal").exists()


async def test_a_journal_that_is_written_is_not_replaced(saved: Path, tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "new", "alt", clock=clock)

    with pytest.raises(JournalInUse):
        restore(saved, tmp_path / "new", clock=clock)

    await journal.close()
    assert not (tmp_path / "new" / "main.journal").exists()


def test_a_copy_that_was_edited_is_not_restored(saved: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    edited.write_bytes(member(saved, "main.journal"))
    connection = apsw.Connection(str(edited))
    connection.execute('UPDATE journal SET body = replace(body, \'"price":"100"\', \'"price":"999"\') WHERE seq = 2')
    connection.close()
    repack(saved, main_journal=edited.read_bytes())

    with pytest.raises(JournalCorrupt, match="entry 2"):
        restore(saved, tmp_path / "new", clock=clock)
    assert sorted(path.suffix for path in (tmp_path / "new").iterdir()) == [".lock", ".lock"]


def test_a_copy_that_ends_elsewhere_than_the_manifest_says_is_not_restored(saved: Path, tmp_path: Path) -> None:
    manifest = json.loads(member(saved, "manifest.json"))
    manifest["accounts"]["main"]["last_seq"] = 4
    repack(saved, manifest_json=json.dumps(manifest).encode())

    with pytest.raises(JournalCorrupt, match="manifest"):
        restore(saved, tmp_path / "new", clock=clock)


def test_the_copy_of_another_account_is_not_restored(saved: Path, tmp_path: Path) -> None:
    manifest = json.loads(member(saved, "manifest.json"))
    manifest["accounts"]["alt"] = manifest["accounts"]["main"]
    repack(saved, alt_journal=member(saved, "main.journal"), manifest_json=json.dumps(manifest).encode())

    with pytest.raises(JournalCorrupt, match="'alt'"):
        restore(saved, tmp_path / "new", clock=clock)


@pytest.mark.parametrize("account", ["../main", "/etc/main", "", "main.", "ma in"])
def test_a_name_that_would_lead_elsewhere_is_refused(saved: Path, tmp_path: Path, account: str) -> None:
    manifest = {"version": 1, "created_at": "", "accounts": {account: {"epoch": 1, "last_seq": 0, "last_hash": ""}}}
    repack(saved, manifest_json=json.dumps(manifest).encode())

    with pytest.raises(JournalError, match="account was"):
        restore(saved, tmp_path / "new", clock=clock)


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"version":2,"created_at":"","accounts":{}}'])
def test_a_manifest_of_another_kind_is_refused(saved: Path, tmp_path: Path, manifest: bytes) -> None:
    repack(saved, manifest_json=manifest)

    with pytest.raises(JournalError, match=r"manifest|version"):
        restore(saved, tmp_path / "new", clock=clock)


@pytest.mark.parametrize("size", [0, 100, 5_000, 20_000])
def test_a_backup_that_was_cut_is_refused(saved: Path, tmp_path: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])

    with pytest.raises(JournalError):
        restore(saved, tmp_path / "new", clock=clock)
    assert not list((tmp_path / "new").glob("*.journal"))


def test_a_backup_that_fails_leaves_the_older_one(live: dict[str, Path], saved: Path, tmp_path: Path) -> None:
    before = saved.read_bytes()

    with pytest.raises(JournalError, match="no journal at"):
        backup(live | {"gone": tmp_path / "gone.journal"}, saved, clock=clock)

    assert saved.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "live"]


def test_a_journal_under_a_wrong_name_is_not_saved(live: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="account 'main', expected 'alt'"):
        backup({"alt": live["main"]}, tmp_path / "backup.tar", clock=clock)
