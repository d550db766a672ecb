"""Whoever takes an account over goes on where its copy ends, and nothing that was recorded is deleted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from account_monitor.errors import JournalError, JournalInUse
from account_monitor.monitor.ports import Delivery, StreamPosition
from account_monitor.stores.history import succession
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.history.succession import Outcome, Succession, succeed
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path, transaction
from account_monitor.stores.journal_reader import open_reader
from tests.contracts.test_history_projector import project
from tests.journal_samples import deliveries

NOW = 1_800_000_000_000


@pytest.fixture
async def copies(tmp_path: Path) -> AsyncIterator[HistoryStore]:
    """Where journals are copied to."""
    (tmp_path / "copies").mkdir()
    store = SqliteHistory(tmp_path / "copies", lambda: NOW)
    await store.open()
    yield store
    await store.close()


async def record(folder: Path, more: Sequence[Delivery], *, epoch: int | None = None, seen: int = 0) -> None:
    journal = opened(folder)
    if epoch is not None:
        await journal.begin_epoch(epoch)
    await journal.append(more, [StreamPosition("nats:FILLS", "then", seen)] if seen else [])
    await journal.close()


def opened(folder: Path) -> Journal:
    return Journal.open(folder, "main", clock=lambda: NOW)


async def take_over(store: HistoryStore, folder: Path) -> Succession:
    replica = await store.replica("main")
    return await succeed(store, folder, "main", replica, clock=lambda: NOW, progress=lambda *_: None)


def end_of(folder: Path) -> tuple[int, list[int]]:
    """Return where a journal ends, whose whole chain holds, and its epochs."""
    with open_reader(journal_path(folder, "main")) as reader:
        assert reader.verify()[0] == reader.last_seq
        return reader.last_seq, [epoch for epoch, _, _ in reader.epochs()]


async def test_an_account_that_nobody_knows_begins(tmp_path: Path, copies: HistoryStore) -> None:
    assert await take_over(copies, tmp_path) == Succession(Outcome.NEW)


async def test_without_a_journal_it_is_made_from_the_copy_and_begins_no_epoch_of_its_own(
    tmp_path: Path, copies: HistoryStore
) -> None:
    await record(tmp_path / "a", deliveries(1, 2, 3), seen=7)
    await project(tmp_path / "a", copies)

    assert await take_over(copies, tmp_path / "b") == Succession(Outcome.RESTORED, 3)
    assert end_of(tmp_path / "b") == (3, [1])


async def test_a_tail_that_nobody_else_has_is_kept_where_nobody_else_spoke(
    tmp_path: Path, copies: HistoryStore
) -> None:
    await record(tmp_path / "a", deliveries(1, 2))
    await project(tmp_path / "a", copies)
    await record(tmp_path / "a", deliveries(3))

    assert await take_over(copies, tmp_path / "a") == Succession(Outcome.KEPT)
    assert end_of(tmp_path / "a") == (3, [1])


async def test_what_others_recorded_is_appended_with_their_epochs_and_places(
    tmp_path: Path, copies: HistoryStore
) -> None:
    await record(tmp_path / "a", deliveries(1, 2), seen=2)
    await project(tmp_path / "a", copies)
    await take_over(copies, tmp_path / "b")
    await record(tmp_path / "b", deliveries(3, 4), epoch=50, seen=9)
    await project(tmp_path / "b", copies)

    assert await take_over(copies, tmp_path / "a") == Succession(Outcome.EXTENDED, 2)
    assert end_of(tmp_path / "a") == (4, [1, 50])
    journal = opened(tmp_path / "a")
    assert journal.positions["nats:FILLS"].sequence == 9
    await journal.begin_epoch(51)
    recorded = await journal.append(deliveries(4, 5))
    await journal.close()
    assert [entry.seq for entry in recorded.entries] == [5], "4 was recorded by another"
    await project(tmp_path / "a", copies)
    assert end_of(tmp_path / "a") == (5, [1, 50, 51])


@pytest.fixture
async def behind(tmp_path: Path, copies: HistoryStore) -> Path:
    """Return the folder of a journal that lacks two of the four entries of its copy."""
    await record(tmp_path / "a", deliveries(1, 2))
    await project(tmp_path / "a", copies)
    await take_over(copies, tmp_path / "b")
    await record(tmp_path / "b", deliveries(3, 4), epoch=50)
    await project(tmp_path / "b", copies)
    return tmp_path / "a"


async def test_nothing_is_written_on_the_event_loop_while_a_journal_is_extended(
    behind: Path, copies: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    @contextmanager
    def noted(connection: apsw.Connection) -> Iterator[None]:
        begun.append(threading.get_ident())
        with transaction(connection):
            yield

    monkeypatch.setattr(succession, "transaction", noted)
    await take_over(copies, behind)

    assert len(begun) == 2, "the entries, and what is known beside them"
    assert threading.get_ident() not in begun


@pytest.mark.parametrize("during", ["append_copies", "end_like"])
async def test_who_is_cancelled_while_it_writes_lets_go_of_the_journal_after_that(
    behind: Path, copies: HistoryStore, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    writes, goes_on = threading.Event(), threading.Event()
    write = getattr(succession, during)

    def slowly(*arguments: object) -> None:
        writes.set()
        assert goes_on.wait(10)
        write(*arguments)

    monkeypatch.setattr(succession, during, slowly)
    taking_over = asyncio.create_task(take_over(copies, behind))
    assert await asyncio.to_thread(writes.wait, 10)

    taking_over.cancel()
    await asyncio.sleep(0.05)
    with pytest.raises(JournalInUse):
        opened(behind)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await taking_over
    assert end_of(behind) == (4, [1, 50])
    await opened(behind).close()


@pytest.mark.parametrize("tail", [(8,), (8, 9), (7, 8, 9)])
async def test_a_journal_that_parted_from_the_copy_is_set_aside_whole(
    tmp_path: Path, copies: HistoryStore, tail: tuple[int, ...]
) -> None:
    await record(tmp_path / "a", deliveries(1, 2))
    await project(tmp_path / "a", copies)
    await take_over(copies, tmp_path / "b")
    await record(tmp_path / "a", deliveries(*tail))  # of which nobody heard
    await record(tmp_path / "b", deliveries(3, 4), epoch=50)
    await project(tmp_path / "b", copies)

    done = await take_over(copies, tmp_path / "a")

    assert (done.outcome, done.entries) == (Outcome.SET_ASIDE, 4)
    assert end_of(tmp_path / "a") == (4, [1, 50])
    assert done.set_aside is not None
    with open_reader(done.set_aside) as reader:
        assert reader.verify()[0] == reader.last_seq == 2 + len(tail)


async def test_an_epoch_that_is_not_above_those_of_the_journal_is_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    await journal.begin_epoch(50)
    with pytest.raises(JournalError, match="is under epoch 50, and cannot go on under epoch 50"):
        await journal.begin_epoch(50)
    assert journal.epoch == 50
    await journal.close()
