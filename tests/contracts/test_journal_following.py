"""A journal that another process writes is kept up from its copy, so that whoever takes it over reads next to none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from account_monitor.errors import HistoryUnavailable, JournalInUse
from account_monitor.ledger.account import USD_ASSETS, fold
from account_monitor.monitor.ports import Delivery, StreamPosition
from account_monitor.stores.checkpoints import Folding, JournalCheckpoints, encode_state, load_state
from account_monitor.stores.history import following as followings
from account_monitor.stores.history.batch import EntryRow
from account_monitor.stores.history.following import Following, Heritage
from account_monitor.stores.history.store import NEWS, HistoryStore
from account_monitor.stores.history.succession import Outcome, Succession, succeed
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader
from tests.contracts.test_history_projector import project
from tests.history_samples import NOW
from tests.journal_samples import deliveries

FOLDING = Folding(USD_ASSETS)


def numbered(first: int, last: int) -> list[Delivery]:
    return deliveries(*range(first, last + 1))


class Holder:
    """Who writes the journal of account main in a folder, and copies it."""

    def __init__(self, folder: Path, store: HistoryStore) -> None:
        self.folder = folder
        self._store = store

    async def records(self, more: list[Delivery], *, epoch: int | None = None, seen: int = 0) -> None:
        """Record, and copy."""
        await self.records_alone(more, epoch=epoch, seen=seen)
        await project(self.folder, self._store)

    async def records_alone(self, more: list[Delivery], *, epoch: int | None = None, seen: int = 0) -> None:
        journal = Journal.open(self.folder, "main", clock=lambda: NOW)
        if epoch is not None:
            await journal.begin_epoch(epoch)
        await journal.append(more, [StreamPosition("nats:FILLS", "then", seen)] if seen else [])
        await journal.close()

    async def takes_over(self) -> Succession:
        replica = await self._store.replica("main")
        return await succeed(self._store, self.folder, "main", replica, clock=lambda: NOW, progress=lambda *_: None)


@asynccontextmanager
async def following(store: HistoryStore, folder: Path) -> AsyncIterator[Following]:
    """Follow account main in a folder."""
    subject = Following(store, folder, FOLDING, clock=lambda: NOW)
    await subject.follow(["main"])
    running = asyncio.create_task(subject.run())
    try:
        yield subject
    finally:
        await subject.close()
        running.cancel()
        await asyncio.wait([running])


async def hand_over(subject: Following, store: HistoryStore) -> Heritage:
    replica = await store.replica("main")
    assert replica is not None
    return await subject.hand_over("main", replica)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # a file tells nobody
            await asyncio.sleep(0.01)


def end_of(folder: Path) -> tuple[int, list[int]]:
    """Return where a journal ends, whose whole chain holds, and its epochs."""
    with open_reader(journal_path(folder, "main")) as reader:
        assert reader.verify()[0] == reader.last_seq
        return reader.last_seq, [epoch for epoch, _, _ in reader.epochs()]


def is_at(folder: Path, seq: int) -> bool:
    path = journal_path(folder, "main")
    if not path.exists():
        return False  # it was set aside, and is being made anew
    with open_reader(path) as reader:
        return reader.last_seq == seq


@pytest.fixture
def holder(tmp_path: Path, store: HistoryStore) -> Holder:
    return Holder(tmp_path / "holder", store)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followings, "LOOK_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(followings, "AGAIN_SECONDS", 0.1)


async def test_it_is_made_from_the_copy_and_then_kept_up_through_every_epoch(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 3))
    async with following(store, tmp_path / "b") as subject:
        await until(lambda: "main" in subject.warm)
        assert end_of(tmp_path / "b") == (3, [1])

        await holder.records(numbered(4, 5))
        await until(lambda: is_at(tmp_path / "b", 5))
        await holder.records(numbered(6, 6), epoch=50)
        await until(lambda: is_at(tmp_path / "b", 6))

    assert end_of(tmp_path / "b") == (6, [1, 50])


async def test_an_account_begins_to_be_followed_once_there_is_anything_of_it(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    async with following(store, tmp_path / "b") as subject:
        await asyncio.sleep(0.1)
        assert subject.warm == frozenset()

        await holder.records(numbered(1, 1))
        await until(lambda: "main" in subject.warm)


async def test_who_takes_it_over_has_it_folded_and_reads_what_is_missing_alone(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 5), seen=5)
    async with following(store, tmp_path / "b") as subject:
        await until(lambda: "main" in subject.warm)
        await holder.records(numbered(6, 7), seen=7)
        await until(lambda: is_at(tmp_path / "b", 7))

        await subject.follow([], but=["main"])
        await holder.records(numbered(8, 8), epoch=50, seen=9)
        heritage = await hand_over(subject, store)

    assert heritage.done is not None
    assert heritage.done.outcome is Outcome.EXTENDED
    assert heritage.state is not None
    events = [delivery.event for delivery in numbered(1, 8) if delivery.event is not None]
    assert encode_state(heritage.state) == encode_state(fold(events).state)
    assert end_of(tmp_path / "b") == (8, [1, 50])
    journal = Journal.open(tmp_path / "b", "main", clock=lambda: NOW)
    kept = JournalCheckpoints(journal, USD_ASSETS, folded=heritage.state)
    assert journal.positions["nats:FILLS"].sequence == 9
    assert kept.load() is heritage.state
    assert kept.load() is None, "whoever has it goes on with it"
    await journal.close()


async def test_how_far_the_sources_were_seen_comes_with_a_copy_that_has_nothing_new(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 2), seen=2)
    async with following(store, tmp_path / "b") as subject:
        await until(lambda: "main" in subject.warm)
        await holder.records([], seen=900)  # of others' messages
        heritage = await hand_over(subject, store)

    assert heritage.done == Succession(Outcome.EXTENDED, 0)
    journal = Journal.open(tmp_path / "b", "main", clock=lambda: NOW)
    assert journal.positions["nats:FILLS"].sequence == 900
    await journal.close()


async def test_a_place_that_the_journal_saw_later_than_its_copy_stays(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 2), seen=2)
    await holder.records_alone(numbered(3, 3), seen=30)

    assert (await holder.takes_over()).outcome is Outcome.KEPT
    journal = Journal.open(holder.folder, "main", clock=lambda: NOW)
    assert journal.positions["nats:FILLS"].sequence == 30
    await journal.close()


async def test_a_tail_that_was_copied_nowhere_is_set_aside_whole_once_others_went_on_without_it(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 2))
    heir = Holder(tmp_path / "heir", store)
    await heir.takes_over()
    await holder.records_alone(numbered(8, 9))  # of which nobody heard
    async with following(store, holder.folder) as subject:
        await until(lambda: "main" in subject.warm)
        assert end_of(holder.folder)[0] == 4, "nobody spoke meanwhile"

        await heir.records(numbered(3, 6), epoch=50)
        await until(lambda: is_at(holder.folder, 6))
        await until(lambda: "main" in subject.warm)
        heritage = await hand_over(subject, store)

    assert end_of(holder.folder) == (6, [1, 50])
    assert heritage.aside is not None
    assert heritage.aside.set_aside is not None
    with open_reader(heritage.aside.set_aside) as reader:
        assert reader.verify()[0] == reader.last_seq == 4


async def test_a_tail_that_was_copied_nowhere_is_left_to_succession_at_a_takeover(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 2))
    await holder.records_alone(numbered(3, 3))
    async with following(store, holder.folder) as subject:
        await until(lambda: "main" in subject.warm)
        heritage = await hand_over(subject, store)

    assert heritage.done is None
    assert heritage.state is not None
    assert heritage.state.seq == 3
    assert (await holder.takes_over()).outcome is Outcome.KEPT


async def test_what_parted_in_the_last_moment_is_left_to_succession_without_what_was_folded_of_it(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 2))
    heir = Holder(tmp_path / "heir", store)
    await heir.takes_over()
    await holder.records_alone(numbered(8, 8))
    async with following(store, holder.folder) as subject:
        await until(lambda: "main" in subject.warm)
        await subject.follow([], but=["main"])
        await heir.records(numbered(3, 3), epoch=50)
        heritage = await hand_over(subject, store)

    assert heritage == Heritage()
    assert (await holder.takes_over()).outcome is Outcome.SET_ASIDE


async def test_nothing_of_a_takeover_is_lost_while_the_board_has_it_elsewhere(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 2))
    async with following(store, tmp_path / "b") as subject:
        await until(lambda: "main" in subject.warm)
        await subject.follow([], but=["main"])
        assert "main" in subject.warm
        assert (await hand_over(subject, store)).state is not None
        assert subject.warm == frozenset()


async def test_while_it_is_followed_nobody_else_writes_it_and_afterwards_anybody_may(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 2))
    async with following(store, tmp_path / "b") as subject:
        await until(lambda: "main" in subject.warm)
        with pytest.raises(JournalInUse):
            Journal.open(tmp_path / "b", "main", clock=lambda: NOW)
        await subject.follow([])
        assert subject.warm == frozenset()
        await Journal.open(tmp_path / "b", "main", clock=lambda: NOW).close()


async def test_a_file_that_is_in_use_is_tried_again(tmp_path: Path, store: HistoryStore, holder: Holder) -> None:
    await holder.records(numbered(1, 2))
    await Holder(tmp_path / "b", store).takes_over()
    journal = Journal.open(tmp_path / "b", "main", clock=lambda: NOW)
    async with following(store, tmp_path / "b") as subject:
        await asyncio.sleep(0.3)
        assert subject.warm == frozenset()
        await journal.close()
        await until(lambda: "main" in subject.warm)


async def test_a_store_that_is_away_is_asked_again_and_costs_nothing_that_is_followed(
    tmp_path: Path, store: HistoryStore, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await holder.records(numbered(1, 2))
    async with following(store, tmp_path / "b") as subject:
        await until(lambda: "main" in subject.warm)
        asked = asyncio.Event()

        async def is_away(ends: object) -> dict[str, list[EntryRow]]:
            asked.set()
            raise HistoryUnavailable("away")

        with monkeypatch.context() as patch:
            patch.setattr(store, "news", is_away)
            await asyncio.wait_for(asked.wait(), 5)
            await holder.records(numbered(3, 3))
            assert "main" in subject.warm
        await until(lambda: is_at(tmp_path / "b", 3))


async def test_now_and_then_a_state_is_kept_for_who_folds_the_file(
    tmp_path: Path, store: HistoryStore, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followings, "STATE_EVERY", 10)
    await holder.records(numbered(1, 25))
    async with following(store, tmp_path / "b") as subject:
        await until(lambda: "main" in subject.warm)
        await holder.records(numbered(26, 40))
        await until(lambda: is_at(tmp_path / "b", 40))

    with open_reader(journal_path(tmp_path / "b", "main")) as reader:
        first, last = load_state(reader, USD_ASSETS, until=39), load_state(reader, USD_ASSETS)
    assert first is not None
    assert last is not None
    assert (first.seq, last.seq) == (25, 40)


# -- one question for all ----------------------------------------------------------------------------------------------


async def test_one_question_finds_what_is_new_of_many(tmp_path: Path, store: HistoryStore, holder: Holder) -> None:
    await holder.records(numbered(1, 3))

    found = await store.news({"main": 1, "unknown": 0})

    assert {account: [row.seq for _, row in rows] for account, rows in found.items()} == {"main": [2, 3]}
    assert await store.news({"main": 3}) == {}
    assert await store.news({"main": 9}) == {}
    assert await store.news({}) == {}


async def test_of_many_accounts_a_few_entries_of_each_are_read_at_once(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 3))

    found = await store.news({"main": 0} | {f"other-{number}": 0 for number in range(NEWS)})

    assert [row.seq for _, row in found["main"]] == [1]


async def test_what_is_new_are_the_entries_of_the_line_that_counts(
    tmp_path: Path, store: HistoryStore, holder: Holder
) -> None:
    await holder.records(numbered(1, 2))
    await holder.records(numbered(3, 4), epoch=50)

    found = await store.news({"main": 0})

    assert [(epoch, row.seq) for epoch, row in found["main"]] == [(1, 1), (1, 2), (50, 3), (50, 4)]
    assert found["main"] == [row async for rows in store.entries("main", after=0, until=9) for row in rows]


async def test_a_stop_does_not_wait_for_a_long_history_to_be_folded(
    tmp_path: Path, store: HistoryStore, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await holder.records(numbered(1, 3))
    subject = Following(store, tmp_path / "b", FOLDING, clock=lambda: NOW)
    await subject.follow(["main"])
    closing: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    def load_and_close(*_: object, **__: object) -> None:
        asyncio.run_coroutine_threadsafe(begin_to_close(), loop).result()

    async def begin_to_close() -> None:
        closing.append(asyncio.create_task(subject.close()))
        await asyncio.sleep(0)

    monkeypatch.setattr(followings, "load_state", load_and_close)
    running = asyncio.create_task(subject.run())
    await until(lambda: bool(closing))
    await asyncio.wait_for(closing[0], 20)

    assert subject.warm == frozenset()
    await Journal.open(tmp_path / "b", "main", clock=lambda: NOW).close()
    running.cancel()
    await asyncio.wait([running])
