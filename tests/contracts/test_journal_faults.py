"""A write or flush that fails stops the recording for good, says so, and leaves reading alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from account_monitor.errors import RecordingStopped
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.monitor.ports import Delivery, FillQuery, StreamPosition
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_reader import open_reader
from account_monitor.stores.recorder import Recorder
from tests.journal_samples import deliveries, delivery, fill, garbage

use_exact_arithmetic()


class FaultyDisk(apsw.VFS):
    """The system's files, until `faults` says which error an operation on which kind of file meets."""

    def __init__(self) -> None:
        self.faults: dict[tuple[str, str], int] = {}
        self.writes = 0
        self.flushes: list[str] = []
        super().__init__("faulty", base="unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # SQLite's
        return FaultyFile(name, flags, self)


class FaultyFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], disk: FaultyDisk) -> None:
        super().__init__("unix", name, flags)
        self.disk = disk
        self.kind = "wal" if flags[0] & apsw.SQLITE_OPEN_WAL else "journal"

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._meet("write")
        self.disk.writes += 1
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._meet("sync")
        super().xSync(flags)
        self.disk.flushes.append(self.kind)

    def _meet(self, operation: str) -> None:
        if code := self.disk.faults.get((self.kind, operation)):
            raise apsw.exception_for(code)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


@pytest.fixture
async def journal(disk: FaultyDisk, tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(tmp_path, "main", clock=lambda: 7)
    await journal.append(deliveries(1, 2), [StreamPosition("nats:FILLS", "x", 2)])
    yield journal
    disk.faults.clear()
    await journal.close()


FAULTS = pytest.mark.parametrize(
    ("operation", "code", "words"),
    [
        ("write", apsw.SQLITE_FULL, r"disk is full \(SQLITE_FULL\)"),
        ("write", apsw.SQLITE_IOERR_WRITE, r"input or output failed \(SQLITE_IOERR_WRITE\)"),
        ("sync", apsw.SQLITE_IOERR_FSYNC, r"input or output failed \(SQLITE_IOERR_FSYNC\)"),
        ("write", apsw.SQLITE_READONLY, r"file is read-only \(SQLITE_READONLY\)"),
        ("write", apsw.SQLITE_CORRUPT, r"file is damaged \(SQLITE_CORRUPT\)"),
    ],
)


@FAULTS
async def test_a_failed_write_stops_the_recording(
    journal: Journal, disk: FaultyDisk, operation: str, code: int, words: str
) -> None:
    disk.faults[("wal", operation)] = code

    with pytest.raises(RecordingStopped, match=f"after entry 2: the {words}|after entry 2: {words}"):
        await journal.append(deliveries(3), [StreamPosition("nats:FILLS", "x", 3)])

    assert journal.failure is not None
    assert (journal.last_seq, journal.positions["nats:FILLS"].sequence) == (2, 2)


@FAULTS
async def test_after_a_failure_nothing_is_tried_on_that_handle(
    journal: Journal, disk: FaultyDisk, operation: str, code: int, words: str
) -> None:
    disk.faults[("wal", operation)] = code
    with pytest.raises(RecordingStopped):
        await journal.append(deliveries(3))
    disk.faults.clear()  # the disk works again, but what it lost stays lost
    writes = disk.writes

    with pytest.raises(RecordingStopped, match=words):
        await journal.append(deliveries(4))
    with pytest.raises(RecordingStopped, match=words):
        await journal.save_checkpoint(1, "v1", b"")
    await journal.close()

    assert disk.writes == writes


@pytest.mark.parametrize(
    ("operation", "code", "may_pass"),
    [
        ("write", apsw.SQLITE_FULL, True),
        ("write", apsw.SQLITE_IOERR_WRITE, True),
        ("write", apsw.SQLITE_READONLY, True),
        ("sync", apsw.SQLITE_IOERR_FSYNC, False),  # what the system dropped is gone, and the next flush says nothing
        ("write", apsw.SQLITE_CORRUPT, False),
    ],
)
async def test_what_may_pass_is_told_from_what_somebody_has_to_look_at(
    journal: Journal, disk: FaultyDisk, operation: str, code: int, may_pass: bool
) -> None:
    assert not journal.may_be_opened_anew
    disk.faults[("wal", operation)] = code
    with pytest.raises(RecordingStopped):
        await journal.append(deliveries(3))

    assert journal.may_be_opened_anew is may_pass


async def test_a_journal_that_was_given_up_is_opened_anew_while_the_old_one_is_read(
    journal: Journal, disk: FaultyDisk, tmp_path: Path
) -> None:
    disk.faults[("wal", "write")] = apsw.SQLITE_FULL
    with pytest.raises(RecordingStopped):
        await journal.append(deliveries(3))
    disk.faults.clear()
    await journal.give_up_writing()

    again = Journal.open(tmp_path, "main", clock=lambda: 7)
    await again.append(deliveries(4), [StreamPosition("nats:FILLS", "x", 4)])

    assert [entry.seq for entry in journal.entries()] == [entry.seq for entry in again.entries()] == [1, 2, 3]
    assert again.reader.verify()[0] == 3
    await journal.close()
    await again.append(deliveries(5))
    await again.close()


@FAULTS
async def test_reads_go_on_after_a_failure(
    journal: Journal, disk: FaultyDisk, operation: str, code: int, words: str
) -> None:
    disk.faults[("wal", operation)] = code
    with pytest.raises(RecordingStopped):
        await journal.append(deliveries(3))

    assert [entry.seq for entry in journal.entries()] == [1, 2]
    assert [entry.seq for entry in journal.fills(FillQuery()).entries] == [1, 2]
    assert journal.reader.verify()[0] == 2


@FAULTS
async def test_a_restart_finds_what_was_acknowledged(
    journal: Journal, disk: FaultyDisk, tmp_path: Path, operation: str, code: int, words: str
) -> None:
    disk.faults[("wal", operation)] = code
    with pytest.raises(RecordingStopped):
        await journal.append(deliveries(3), [StreamPosition("nats:FILLS", "x", 3)])
    disk.faults.clear()
    await journal.close()

    reopened = Journal.open(tmp_path, "main", clock=lambda: 7)
    # A failed flush leaves open whether the batch is found; its position is found with it or not at all.
    assert (reopened.last_seq, reopened.positions["nats:FILLS"].sequence) in [(2, 2), (3, 3)]
    recorded = await reopened.append(deliveries(1, 2, 3))
    assert len(recorded.entries) + len(recorded.duplicates) == 3
    assert reopened.reader.verify()[0] == reopened.last_seq == 3
    await reopened.close()


async def test_every_append_is_flushed_once_before_it_returns(journal: Journal, disk: FaultyDisk) -> None:
    appends = [(deliveries(3), ()), ([], [StreamPosition("nats:FILLS", "x", 9)]), ([garbage()], ())]
    for batch, positions in appends:
        disk.flushes.clear()
        await journal.append(batch, positions)
        assert disk.flushes == ["wal"]


async def test_everyone_who_waits_is_told(journal: Journal, disk: FaultyDisk) -> None:
    disk.faults[("wal", "sync")] = apsw.SQLITE_IOERR_FSYNC

    answers = await asyncio.gather(*(journal.append(deliveries(n)) for n in range(3, 200)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {RecordingStopped}


async def test_a_failed_checkpoint_stops_the_recording(journal: Journal, disk: FaultyDisk) -> None:
    disk.faults[("journal", "sync")] = apsw.SQLITE_IOERR_FSYNC

    async def append_much() -> None:
        for n in range(200):
            await journal.append(deliveries(*range(n * 200, n * 200 + 200)))

    with pytest.raises(RecordingStopped, match="SQLITE_IOERR_FSYNC"):
        await append_much()

    acknowledged = journal.last_seq
    assert acknowledged > 1_000
    assert sum(1 for _ in journal.entries()) == acknowledged


async def test_closing_with_a_broken_disk_neither_hangs_nor_loses(
    journal: Journal, disk: FaultyDisk, tmp_path: Path
) -> None:
    disk.faults[("journal", "sync")] = apsw.SQLITE_IOERR_FSYNC
    await journal.close()
    assert "SQLITE_IOERR_FSYNC" in str(journal.failure)
    disk.faults.clear()

    with open_reader(tmp_path / "main.journal") as reader:
        assert reader.verify()[0] == 2


@pytest.mark.parametrize("in_company", [True, False])
async def test_a_bug_in_the_writer_fails_those_who_wait_and_stops(journal: Journal, in_company: bool) -> None:
    unwritable = delivery(fill("3", price="NaN"))
    batches: list[list[Delivery]] = [[unwritable], deliveries(4)] if in_company else [[unwritable]]

    answers = await asyncio.gather(*(journal.append(batch) for batch in batches), return_exceptions=True)

    assert {type(answer) for answer in answers} == {RecordingStopped}
    assert "after entry 2" in str(journal.failure)
    assert isinstance(answers[0], RecordingStopped)
    assert answers[0].__cause__ is not None
    assert journal.last_seq == 2


async def test_an_interrupt_in_the_writer_hangs_nobody(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "append", interrupt)

    with pytest.raises(RecordingStopped, match="KeyboardInterrupt"):
        await journal.append(deliveries(3))
    with pytest.raises(RecordingStopped, match="KeyboardInterrupt"):
        await journal.append(deliveries(4))


async def test_a_disk_that_is_full_when_the_journal_is_made_is_named(tmp_path: Path, disk: FaultyDisk) -> None:
    disk.faults[("journal", "write")] = apsw.SQLITE_FULL
    disk.faults[("wal", "write")] = apsw.SQLITE_FULL

    with pytest.raises(Exception, match="disk is full"):
        Journal.open(tmp_path, "main", clock=lambda: 7)
    disk.faults.clear()

    journal = Journal.open(tmp_path, "main", clock=lambda: 7)
    await journal.append(deliveries(1))
    await journal.close()
