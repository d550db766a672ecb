"""A journal against the end of its process, a torn log and a full disk. What was acknowledged is there, once.

Run as a program, this file is the process that dies: it appends while it lives and prints what was acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pytest

from account_monitor.errors import JournalInUse, RecordingStopped
from account_monitor.ledger.events import Fill
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.monitor.ports import MALFORMED_EVENT, Delivery, StreamPosition
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_reader import open_reader

use_exact_arithmetic()

SOURCE = "nats:FILLS"
OVERLAP = 40  # deliveries that come again after each start
SEED = int(os.environ.get("JOURNAL_CRASH_SEED", "20261122"))


def message(sequence: int) -> Delivery:
    """The message at a place of the stream: every 17th is garbage."""
    if is_garbage(sequence):
        return Delivery(SOURCE, "trading.fills", b"garbage %d" % sequence, None, sequence, MALFORMED_EVENT, "no JSON")
    fill = Fill(
        ("BTCUSDT", "ETHUSDT")[sequence % 2], str(sequence), "BUY", Decimal(1), Decimal(sequence), sequence // 3
    )
    return Delivery(SOURCE, "trading.fills", b"{}", fill, sequence)


def is_garbage(sequence: int) -> bool:
    return sequence % 17 == 0


def place(sequence: int) -> StreamPosition:
    return StreamPosition(SOURCE, "x", sequence)


def open_main(folder: Path) -> Journal:
    return Journal.open(folder, "main", clock=lambda: 7)


def seen(journal: Journal) -> int:
    position = journal.positions.get(SOURCE)
    return 0 if position is None else position.sequence


def check(journal: Journal) -> int:
    """Everything up to the recorded position is there, once, and nothing else. Returns the position."""
    last = seen(journal)
    recorded = [entry.event.trade_id for entry in journal.entries() if isinstance(entry.event, Fill)]
    assert recorded == [str(sequence) for sequence in range(1, last + 1) if not is_garbage(sequence)]
    assert journal.reader.verify()[0] == len(recorded) == journal.last_seq
    assert journal.reader.dead_letter_counts().parked == sum(is_garbage(sequence) for sequence in range(1, last + 1))
    return last


# The process that dies.


async def append_until_killed(folder: Path, seed: int, batches: int) -> None:
    chance = random.Random(seed)
    journal = open_main(folder)
    next_sequence = seen(journal) + 1
    await journal.append([message(n) for n in range(max(1, next_sequence - OVERLAP), next_sequence)])
    tell(ready=os.getpid())
    for _ in range(batches):
        appends = []
        for _ in range(chance.randint(1, 3)):
            end = next_sequence + chance.choice([1, 1, 2, 50, 300])
            appends.append(append(journal, next_sequence, end))
            next_sequence = end
        await asyncio.gather(*appends)
    tell(done=True)
    await asyncio.sleep(60)


async def append(journal: Journal, start: int, end: int) -> None:
    recorded = await journal.append([message(n) for n in range(start, end)], [place(end - 1)])
    if recorded.entries:
        tell(acknowledged=end - 1)


async def append_until_the_disk_is_full(folder: Path, limit_bytes: int) -> None:
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    journal = open_main(folder)
    acknowledged = 0
    try:
        while True:
            await journal.append(
                [message(n) for n in range(acknowledged + 1, acknowledged + 51)], [place(acknowledged + 50)]
            )
            acknowledged += 50
    except RecordingStopped as error:
        readable = sum(1 for _ in journal.entries())
        tell(
            acknowledged=acknowledged, error=str(error), failure=journal.failure, readable=readable, seen=seen(journal)
        )
    await journal.close()


def tell(**facts: object) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


# The tests.


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """This file as a process of its own; it is killed at the end."""
    command = [sys.executable, __file__, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def read(output: IO[bytes] | None) -> dict[str, Any]:
    assert output is not None
    facts: dict[str, Any] = json.loads(output.readline())
    return facts


def rest(output: IO[bytes] | None) -> list[dict[str, Any]]:
    assert output is not None
    return [json.loads(line) for line in output]


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    last = 0
    for n in range(20):
        with child("append", tmp_path, SEED + n, 10**9) as process:
            read(process.stdout)
            time.sleep(chance.uniform(0, 0.06))
            process.kill()
            acknowledged = [facts["acknowledged"] for facts in rest(process.stdout)]

        journal = open_main(tmp_path)
        position = check(journal)
        asyncio.run(journal.close())

        told = f"kill {n} of JOURNAL_CRASH_SEED={SEED}"
        assert position >= max([last, *acknowledged]), told
        last = position
    assert last > 1_000, "the processes died before they had done anything"


def killed_journal(folder: Path) -> Path:
    """A journal whose process was killed, with all of its content in the WAL."""
    with child("append", folder, SEED, 12) as process:
        while "done" not in read(process.stdout):
            pass
        process.kill()
    wal = folder / "main.journal-wal"
    assert wal.stat().st_size < 2_000 * 4_096, "a checkpoint ran: a cut would then be the loss of what was flushed"
    return wal


def torn_copies(folder: Path, wal: Path, *, cut: bool) -> Iterator[tuple[int, Path]]:
    """Copies of the journal whose WAL was cut, or has a flipped bit, at random places and both ends."""
    content = wal.read_bytes()
    chance = random.Random(SEED)
    offsets = sorted([0, 1, 31, 32, len(content) - 1, *(chance.randrange(len(content)) for _ in range(40))])
    for offset in offsets:
        copy = folder / f"torn{offset}"
        copy.mkdir(exist_ok=True)
        shutil.copy(wal.with_name("main.journal"), copy)
        flipped = content[:offset] + bytes([content[offset] ^ 0x10]) + content[offset + 1 :]
        (copy / wal.name).write_bytes(content[:offset] if cut else flipped)
        yield offset, copy
        shutil.rmtree(copy)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "flipped"])
def test_a_torn_log_opens_to_a_committed_prefix(tmp_path: Path, cut: bool) -> None:
    wal = killed_journal(tmp_path / "killed")
    found = []
    for offset, copy in torn_copies(tmp_path, wal, cut=cut):
        journal = open_main(copy)
        found.append((offset, check(journal)))
        asyncio.run(journal.close())

    lengths = [length for _, length in found]
    assert lengths == sorted(lengths), found
    assert len(set(lengths)) > 5, found


def test_a_second_process_is_refused_until_the_first_has_died(tmp_path: Path) -> None:
    with child("append", tmp_path, SEED, 10**9) as process:
        pid = read(process.stdout)["ready"]
        with pytest.raises(JournalInUse, match=f"process {pid}"):
            open_main(tmp_path)
        process.kill()
        process.wait()

    asyncio.run(open_main(tmp_path).close())


def test_another_process_may_read_what_is_being_written(tmp_path: Path) -> None:
    with child("append", tmp_path, SEED, 10**9) as process:
        read(process.stdout)
        acknowledged = read(process.stdout)["acknowledged"]
        with open_reader(tmp_path / "main.journal") as reader:
            entries, _ = reader.verify()
            assert entries >= sum(not is_garbage(n) for n in range(1, acknowledged + 1))


def check_full(folder: Path, limit_bytes: int) -> str:
    """A process fills the disk: it must say so, go on reading, and have kept what it acknowledged. Returns its word."""
    with child("fill", folder, limit_bytes) as process:
        facts = read(process.stdout)
        assert rest(process.stdout) == []
        assert process.wait() == 0
    assert facts["acknowledged"] >= 100
    assert facts["seen"] == facts["acknowledged"]
    assert facts["readable"] == sum(not is_garbage(n) for n in range(1, facts["acknowledged"] + 1))
    assert facts["error"] == facts["failure"]
    with open_reader(folder / "main.journal") as reader:
        assert reader.verify()[0] >= facts["readable"]
    return str(facts["failure"])


def test_a_limit_of_the_file_size_stops_the_recording(tmp_path: Path) -> None:
    words = check_full(tmp_path, 400_000)

    assert "SQLITE_IOERR_WRITE" in words
    journal = open_main(tmp_path)  # without the limit
    check(journal)
    asyncio.run(journal.close())


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root on Linux can mount a small disk")
def test_a_full_disk_stops_the_recording(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        assert "the disk is full (SQLITE_FULL)" in check_full(tmp_path, 0)
        subprocess.run(["mount", "-o", "remount,size=20m", tmp_path], check=True)
        journal = open_main(tmp_path)
        check(journal)
        asyncio.run(journal.close())
    finally:
        subprocess.run(["umount", tmp_path], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["append", folder, seed, batches]:
            asyncio.run(append_until_killed(Path(folder), int(seed), int(batches)))
        case ["fill", folder, limit_bytes]:
            asyncio.run(append_until_the_disk_is_full(Path(folder), int(limit_bytes)))
        case _:
            sys.exit("expected: append FOLDER SEED BATCHES, or fill FOLDER LIMIT_BYTES")
