"""The file of a journal: who may write it, what it refuses to open, and that an edit of it is found."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from account_monitor.errors import JournalCorrupt, JournalError, JournalInUse, JournalTooNew, JournalTooOld
from account_monitor.ledger.events import Deed, FundingPayment
from account_monitor.ledger.money import ONE, use_exact_arithmetic
from account_monitor.stores.chain import START, Row, link
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import MIGRATIONS, SQL, is_out_of_room
from account_monitor.stores.journal_reader import open_reader
from account_monitor.stores.sql import load_migrations, load_queries
from tests.journal_samples import deliveries, delivery, fill

use_exact_arithmetic()


def open_main(folder: Path) -> Journal:
    return Journal.open(folder, "main", clock=lambda: 7)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = open_main(tmp_path)
    yield journal
    await journal.close()


async def test_nobody_else_on_the_machine_reads_a_new_journal(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    journal = open_main(folder)
    try:
        await journal.append([delivery(fill("1"))])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    finally:
        await journal.close()

    assert modes.pop("data") == 0o700
    assert {"main.journal", "main.journal-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed journal of eight entries."""

    async def fill_it() -> None:
        journal = open_main(tmp_path)
        await journal.append([*deliveries(1, 2, 3), delivery(FundingPayment("f", "USDT", ONE, 5, "BTCUSDT"))])
        await journal.append(deliveries(4, 5, 6, 7))
        await journal.close()

    asyncio.run(fill_it())
    return tmp_path / "main.journal"


def edit(path: Path, *statements: str) -> None:
    with apsw.Connection(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def verify(path: Path, progress: Callable[[int], None] | None = None) -> tuple[int, bytes]:
    with open_reader(path) as reader:
        return reader.verify(progress)


def size(path: Path, suffix: str = "") -> int:
    return Path(f"{path}{suffix}").stat().st_size


def test_closing_leaves_one_file_and_the_lock(path: Path) -> None:
    assert sorted(found.name for found in path.parent.iterdir()) == ["main.journal", "main.journal.lock"]


async def test_the_log_is_copied_into_the_file_as_it_grows(journal: Journal) -> None:
    for start in range(0, 30_000, 1_000):
        await journal.append(deliveries(*range(start, start + 1_000)))

    assert size(journal.path, "-wal") < 12_000_000  # 2,000 pages, and the batch that passed them
    assert size(journal.path) > 6_000_000


async def test_a_second_writer_is_refused_and_told_who_writes(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(JournalInUse, match=f"process {os.getpid()}"):
        open_main(tmp_path)

    await journal.append(deliveries(1))
    await journal.close()
    await open_main(tmp_path).close()


async def test_another_account_may_be_written_beside_it(journal: Journal, tmp_path: Path) -> None:
    other = Journal.open(tmp_path, "other", clock=lambda: 7)
    await other.append(deliveries(1))
    await other.close()

    assert journal.last_seq == 0


def test_the_journal_of_another_account_is_refused(path: Path) -> None:
    path.rename(path.with_name("other.journal"))

    with pytest.raises(JournalError, match="'main', expected 'other'"):
        Journal.open(path.parent, "other", clock=lambda: 7)


def test_a_younger_schema_is_refused_and_left_alone(path: Path) -> None:
    edit(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()

    with pytest.raises(JournalTooNew, match="schema version"):
        open_main(path.parent)
    with pytest.raises(JournalTooNew, match="schema version"):
        open_reader(path)
    assert path.read_bytes() == before


def test_a_reader_says_what_brings_an_older_schema_up_to_date(path: Path) -> None:
    edit(path, f"PRAGMA user_version = {len(MIGRATIONS) - 1}")

    with pytest.raises(JournalTooOld, match="start the service once with this version, which brings it up to date"):
        open_reader(path)


def test_an_empty_file_is_no_journal_to_read(tmp_path: Path) -> None:
    (tmp_path / "main.journal").touch()

    with pytest.raises(JournalTooOld, match=r"main\.journal is no journal"):
        open_reader(tmp_path / "main.journal")


def test_a_refused_journal_is_not_left_locked(path: Path) -> None:
    edit(path, "PRAGMA user_version = 99")
    with pytest.raises(JournalTooNew):
        open_main(path.parent)
    edit(path, f"PRAGMA user_version = {len(MIGRATIONS)}")

    asyncio.run(open_main(path.parent).close())


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "main.journal"
    edit(path, "CREATE TABLE something (else_ TEXT)")
    with pytest.raises(JournalError, match="no journal"):
        open_main(tmp_path)
    edit(path, "PRAGMA user_version = 1")
    with pytest.raises(JournalError, match="no journal"):
        open_reader(path)

    path.write_bytes(b"this is no database at all " * 100)
    with pytest.raises(JournalCorrupt, match="SQLITE_NOTADB"):
        open_main(tmp_path)


def test_a_journal_that_is_not_there_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal at"):
        open_reader(tmp_path / "main.journal")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_creation_is_resumed(path: Path) -> None:
    edit(path, "DELETE FROM meta", "DELETE FROM epochs", "DELETE FROM journal")  # as after the migration alone

    asyncio.run(open_main(path.parent).close())

    assert verify(path) == (0, START)


def test_the_schema_is_the_sum_of_the_migrations(path: Path) -> None:
    def schema(connection: apsw.Connection) -> list[tuple[object, ...]]:
        return list(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"))

    fresh = apsw.Connection(":memory:")
    for migration in load_migrations("journal"):
        fresh.execute(migration)

    connection = apsw.Connection(str(path))
    assert schema(connection) == schema(fresh)
    assert connection.pragma("user_version") == len(MIGRATIONS)
    connection.close()


def parameters(sql: str) -> int:
    numbered = re.findall(r"\?(\d)", sql)
    return max(map(int, numbered)) if numbered else sql.count("?")


def test_every_query_fits_the_schema(path: Path) -> None:
    connection = apsw.Connection(str(path))
    for name, sql in load_queries("journal").items():
        assert connection.execute(f"EXPLAIN {sql}", (None,) * parameters(sql)).fetchall(), name
    connection.close()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("fills", "fills_in_venue_order ((at_ms,trade_number)>(?,?) AND at_ms<?)"),
        ("fills_of_symbol", "fills_of_symbol (symbol=? AND (at_ms,trade_number)>(?,?) AND at_ms<?)"),
        ("history", "journal_by_position (position_key=? AND rowid>? AND rowid<?)"),
        ("flows", "flows (at_ms>?)"),
        ("entries", "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ],
)
def test_reads_cost_what_they_return(path: Path, query: str, index: str) -> None:
    connection = apsw.Connection(str(path))
    sql = SQL[query]
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (1,) * parameters(sql))]
    connection.close()

    assert plan[0] == f"SEARCH journal USING {'' if 'PRIMARY' in index else 'INDEX '}{index}"
    assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan)


def test_what_is_recorded_is_found_through_the_index_of_ids(path: Path) -> None:
    connection = apsw.Connection(str(path))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {SQL['find_recorded']}", ("[]",))]
    connection.close()

    assert sum("sqlite_autoindex_journal_1 (event_id" in step for step in plan) == 2
    assert not any("SCAN journal" in step for step in plan)


def test_an_untouched_journal_verifies(path: Path) -> None:
    seen: list[int] = []

    entries, last_hash = verify(path, seen.append)

    assert entries == 8
    assert len(last_hash) == 32
    assert seen == [8]


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ('UPDATE journal SET body = replace(body, \'"price":"100"\', \'"price":"999"\') WHERE seq = 5', 5),
        ("UPDATE journal SET at_ms = at_ms + 1 WHERE seq = 2", 2),
        ("UPDATE journal SET source = 'elsewhere' WHERE seq = 3", 3),
        ("UPDATE journal SET recorded_at_ms = 8 WHERE seq = 1", 1),
        ("UPDATE journal SET kind = 'funding' WHERE seq = 7", 7),
        ("UPDATE journal SET event_id = 'fill:BTCUSDT:77' WHERE seq = 6", 6),
        ("UPDATE journal SET hash = zeroblob(32) WHERE seq = 6", 6),
        ("UPDATE journal SET position_key = 'ETHUSDT' WHERE seq = 5", 5),
        ("UPDATE journal SET trade_number = 9 WHERE seq = 5", 5),
        ("UPDATE journal SET symbol = NULL WHERE seq = 4", 4),
        ("DELETE FROM journal WHERE seq = 3", 3),
        ("DELETE FROM journal WHERE seq = 1", 1),
        ("UPDATE epochs SET epoch = 2", 1),
        ("UPDATE epochs SET first_seq = 3", 1),
    ],
)
def test_an_edit_is_found_and_named(path: Path, change: str, first: int) -> None:
    edit(path, change)

    with pytest.raises(JournalCorrupt, match=rf"entry {first}\b"):
        verify(path)


def test_the_hash_is_what_its_definition_says(path: Path) -> None:
    """Spelled out byte by byte, so that anyone can check a journal without this program."""
    connection = apsw.Connection(str(path))
    [(body, stored)] = connection.execute("SELECT body, hash FROM journal WHERE seq = 1")
    connection.close()
    written = (
        b"\x99"  # an array of nine
        + (b"\xc4\x20" + bytes(32))  # the hash before the first entry: 32 bytes of zero
        + b"\x01\x01"  # epoch 1, seq 1
        + (b"\xae" + b"fill:BTCUSDT:1")
        + (b"\xa4" + b"fill")
        + (b"\xcd" + (1_001).to_bytes(2, "big"))  # at_ms
        + b"\x07"  # recorded_at_ms
        + (b"\xaa" + b"nats:FILLS")
        + (b"\xc4" + bytes([len(body)]) + body.encode())
    )

    assert stored == hashlib.sha256(written).digest()


def test_an_edit_whose_hash_was_made_to_fit_breaks_the_next_entry(path: Path) -> None:
    connection = apsw.Connection(str(path))
    rows = [Row(*row) for row in connection.execute(SQL["rows_to_verify"], (0, 99, 99))]
    edited = rows[4]._replace(body=rows[4].body.replace('"price":"100"', '"price":"999"'))
    forged = link(rows[3].hash, 1, edited[:6], edited.body.encode())
    connection.execute("UPDATE journal SET body = ?, hash = ? WHERE seq = 5", (edited.body, forged))
    connection.close()

    with pytest.raises(JournalCorrupt, match="entry 6"):
        verify(path)


def test_entries_that_were_exchanged_are_found(path: Path) -> None:
    edit(
        path,
        "UPDATE journal SET seq = -2 WHERE seq = 2",
        "UPDATE journal SET seq = 2 WHERE seq = 3",
        "UPDATE journal SET seq = 3 WHERE seq = -2",
    )

    with pytest.raises(JournalCorrupt, match="entry 2"):
        verify(path)


def test_a_missing_end_is_found(path: Path) -> None:
    edit(path, "DELETE FROM journal WHERE seq > 6")

    with pytest.raises(JournalCorrupt, match="entry 7"):
        verify(path)
    with pytest.raises(JournalCorrupt, match="entry 8 was the newest"):
        open_main(path.parent)


@pytest.mark.parametrize(
    ("lost", "says"),
    [("seq = 5", "entry 5 is missing: 4 is followed by 6"), ("seq < 3", "entry 1 is missing: the start is followed")],
)
def test_a_gap_is_named_by_whoever_folds_or_copies(path: Path, lost: str, says: str) -> None:
    edit(path, f"DELETE FROM journal WHERE {lost}")

    with open_reader(path) as reader:
        with pytest.raises(JournalCorrupt, match=says):
            list(reader.entries())
        with pytest.raises(JournalCorrupt, match=says):
            reader.rows(after=0, until=8)


def test_a_body_that_is_no_event_is_named_by_reads(path: Path) -> None:
    edit(path, "UPDATE journal SET body = '{}' WHERE seq = 5")

    with open_reader(path) as reader, pytest.raises(JournalCorrupt, match="entry 5"):
        list(reader.entries())


def test_a_body_that_is_no_text_is_named(path: Path) -> None:
    edit(path, "UPDATE journal SET body = CAST(x'ff7b7d' AS TEXT) WHERE seq = 5")

    with pytest.raises(JournalCorrupt, match="entry 5"):
        verify(path)


def test_damaged_pages_are_found(tmp_path: Path) -> None:
    async def fill_it() -> None:
        journal = open_main(tmp_path)
        await journal.append(deliveries(*range(2_000)))
        await journal.close()

    asyncio.run(fill_it())
    path = tmp_path / "main.journal"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\xa5" * 64
    path.write_bytes(content)

    with pytest.raises(JournalCorrupt):
        verify(path)


async def test_verifying_while_it_is_written_judges_what_was_there(journal: Journal) -> None:
    await journal.append(deliveries(*range(2_500)))
    writes: list[asyncio.Task[object]] = []

    def write_more(done: int) -> None:
        loop.call_soon_threadsafe(
            lambda: writes.append(asyncio.ensure_future(journal.append(deliveries(10_000 + done))))
        )

    loop = asyncio.get_running_loop()
    entries, _ = await asyncio.to_thread(journal.reader.verify, write_more)
    await asyncio.gather(*writes)

    assert entries == 2_500
    assert journal.reader.verify()[0] == journal.last_seq == 2_503


async def test_a_reader_sees_what_the_service_commits(journal: Journal) -> None:
    with open_reader(journal.path) as reader:
        assert list(reader.entries()) == []
        await journal.append(deliveries(1))
        assert [entry.event for entry in reader.entries()] == [fill("1", at_ms=1_001)]
        assert reader.head().seq == 1
    assert reader.account == "main"
    with pytest.raises(JournalError, match="closed"):
        reader.head()


async def test_readers_cannot_write(journal: Journal) -> None:
    connection = journal.reader._idle[0]
    with pytest.raises(apsw.ReadOnlyError):
        connection.execute("DELETE FROM journal")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody may write into the folder: for root, permissions count only while it is someone else."""
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def archive(path: Path) -> Iterator[Path]:
    """A copy of the journal where other users can read it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, path.name).write_bytes(path.read_bytes())
        yield Path(name, path.name)


def test_a_reader_needs_no_writable_directory(archive: Path) -> None:
    with read_only(archive.parent):
        assert verify(archive)[0] == 8


def test_a_reader_does_not_ignore_a_wal_that_it_cannot_read_back(archive: Path) -> None:
    Path(f"{archive}-wal").write_bytes(b"not yet in the file")

    with read_only(archive.parent), pytest.raises(JournalError, match="SQLITE_"):
        open_reader(archive)


async def test_the_last_deeds_are_read_without_what_stands_between_them(tmp_path: Path) -> None:
    journal = open_main(tmp_path)
    deeds = [Deed(str(n), n, "token_used", "ann", "10.0.0.1") for n in range(4)]
    for n, deed in enumerate(deeds):
        await journal.append([delivery(deed), *deliveries(n)])
    await journal.close()
    edit(tmp_path / "main.journal", "UPDATE journal SET body = 'unreadable' WHERE kind = 'fill'")

    with open_reader(tmp_path / "main.journal") as reader:
        assert [entry.event for entry in reader.latest_deeds(3)] == [deeds[3], deeds[2], deeds[1]]


def test_a_folder_that_is_still_to_be_made_has_room(tmp_path: Path) -> None:
    assert not is_out_of_room(tmp_path / "data")
    assert not is_out_of_room(tmp_path)
