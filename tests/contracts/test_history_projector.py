"""The projector: a journal is followed into a store, each entry once, whatever fails on the way."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import apsw
import pytest

from account_monitor.errors import HistoryDiffers, HistoryUnavailable
from account_monitor.ledger.account import USD_ASSETS, fold
from account_monitor.ledger.events import MarkPrice, Marks, Opening, Transfer
from account_monitor.monitor.ports import Delivery, StreamPosition
from account_monitor.stores.backup import backup, restore
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.history import projector as projectors
from account_monitor.stores.history.batch import Batch
from account_monitor.stores.history.projector import BATCH, Progress, Projector
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.history.store import CHUNK, HistoryStore
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import JournalReader, open_reader
from tests.history_samples import NOW, PostgresPlace, SqlitePlace, entries_in, record, verify
from tests.journal_samples import deliveries, delivery, fill
from tests.servers.postgres import FreshDatabase, PostgresServer

D = Decimal


class Telling:
    """What a projector tells."""

    def __init__(self) -> None:
        self.all: list[Progress] = []
        self._news = asyncio.Event()

    def __call__(self, progress: Progress) -> None:
        self.all.append(progress)
        self._news.set()

    async def until(self, is_it: Callable[[Progress], bool]) -> Progress:
        """Return the first that is as asked, of those that were told and those to come."""
        async with asyncio.timeout(20):
            looked = 0
            while True:
                for progress in self.all[looked:]:
                    if is_it(progress):
                        return progress
                looked = len(self.all)
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def following(folder: Path, store: HistoryStore, *, now_ms: int = NOW + 2_000) -> AsyncIterator[Telling]:
    """Follow the journal of account main in a folder; what is recorded at the end is written."""
    telling = Telling()
    projector = Projector(
        "main", journal_path(folder, "main"), store, usd_assets=USD_ASSETS, interval_ms=1_000, clock=lambda: now_ms,
        tell=telling,
    )  # fmt: skip
    task = asyncio.create_task(projector.run())
    try:
        await telling.until(lambda progress: True)
        yield telling
    finally:
        projector.stop()
        async with asyncio.timeout(20):
            await task


async def project(folder: Path, store: HistoryStore, **more: int) -> list[Progress]:
    """Follow a journal to its end."""
    async with following(folder, store, **more) as telling:
        pass
    return telling.all


async def is_all_of(store: HistoryStore, folder: Path) -> None:
    """Demand that the store has the journal of the folder, as it is."""
    with open_reader(journal_path(folder, "main")) as reader:
        assert [row for _, row in await entries_in(store)] == reader.rows(after=0, until=CHUNK)
        replica = await store.replica("main")
        assert replica is not None
        assert (replica.epoch, replica.seq, replica.hash) == reader.head()
    await verify(store)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteHistory]:
    store = SqlitePlace(tmp_path).store()
    yield store
    await store.close()


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


def opened() -> Delivery:
    return delivery(Opening("o", 0, (("USDT", D(1_000)),)))


async def test_what_is_recorded_is_written(store: SqliteHistory, place: SqlitePlace, tmp_path: Path) -> None:
    (await record(tmp_path, [opened(), *deliveries(1, 2)])).close()

    told = await project(tmp_path, store)

    assert told[-1] == Progress("main", 3)
    assert await place.ask("SELECT id FROM fills ORDER BY seq") == [("1",), ("2",)]
    assert await place.ask("SELECT timestamp, symbol, equity, seq FROM pnl_snapshots") == [
        (NOW, None, "1000", 1), (NOW + 2_000, None, "1000", 3), (NOW + 2_000, "BTCUSDT", None, 3),
    ]  # fmt: skip
    await is_all_of(store, tmp_path)


async def test_what_comes_while_it_follows_is_written_soon(store: SqliteHistory, tmp_path: Path) -> None:
    (await record(tmp_path, [opened()])).close()
    async with following(tmp_path, store) as telling:
        await telling.until(lambda progress: progress.seq == 1)
        (await record(tmp_path, deliveries(1))).close()
        await telling.until(lambda progress: progress.seq == 2)
        (await record(tmp_path, deliveries(2))).close()

    assert telling.all[-1].seq == 3
    await is_all_of(store, tmp_path)


async def test_the_next_one_goes_on_where_the_last_one_ended(
    store: SqliteHistory, place: SqlitePlace, tmp_path: Path
) -> None:
    (await record(tmp_path, [opened(), *deliveries(1)])).close()
    await project(tmp_path, store)
    (await record(tmp_path, deliveries(2), at_ms=NOW + 5_000)).close()

    told = await project(tmp_path, store, now_ms=NOW + 10_000)

    assert [progress.seq for progress in told] == [3]
    assert await place.ask("SELECT timestamp, seq FROM pnl_snapshots WHERE symbol IS NULL") == [
        (NOW, 1), (NOW + 2_000, 2), (NOW + 10_000, 3),
    ]  # fmt: skip


async def test_more_than_a_batch_is_written_in_several(
    store: SqliteHistory, place: SqlitePlace, tmp_path: Path
) -> None:
    (await record(tmp_path, deliveries(*range(2 * BATCH + 1)))).close()

    told = await project(tmp_path, store)

    assert [progress.seq for progress in told] == [BATCH, 2 * BATCH, 2 * BATCH + 1]
    assert await place.ask("SELECT count(*), max(seq) FROM fills") == [(2 * BATCH + 1, 2 * BATCH + 1)]
    await verify(store)


async def test_positions_and_the_newest_folded_state_are_written_at_the_end(
    store: SqliteHistory, tmp_path: Path
) -> None:
    journal = Journal.open(tmp_path, "main", clock=lambda: NOW)
    await journal.append([opened(), *deliveries(1)], [StreamPosition("nats:FILLS", "c", 7)])
    await JournalCheckpoints(journal, USD_ASSETS).save(fold([opened().event]).state)  # type: ignore[list-item]
    async with following(tmp_path, store) as telling:
        await telling.until(lambda progress: progress.seq == 2)
        await journal.append([], [StreamPosition("nats:FILLS", "c", 9)])  # others' messages
    await journal.close()

    replica = await store.replica("main")
    assert replica is not None
    assert replica.positions == [StreamPosition("nats:FILLS", "c", 9)]
    assert replica.state is not None
    assert replica.state.seq == 1


async def test_a_journal_that_is_not_there_yet_is_waited_for(store: SqliteHistory, tmp_path: Path) -> None:
    async with following(tmp_path, store) as telling:
        assert telling.all[0].problem is not None
        (await record(tmp_path, deliveries(1))).close()
        await telling.until(lambda progress: progress.seq == 1)

    assert telling.all[-1] == Progress("main", 1)


class Unsure(SqliteHistory):
    """A store that commits the first batches and breaks off before it says so; then it is away for a while."""

    commits_before = True
    failures = 2
    absences = 2

    async def write(self, batch: Batch) -> None:
        if self.failures and self.commits_before:
            await super().write(batch)
        if self.failures:
            self.failures -= 1
            raise HistoryUnavailable("the connection broke")
        await super().write(batch)

    async def open(self) -> list[str]:
        if not self.failures and self.absences:
            self.absences -= 1
            raise HistoryUnavailable("not back yet")
        return await super().open()


@pytest.mark.parametrize("commits_before", [True, False])
async def test_an_attempt_that_seemed_to_fail_is_counted_once(
    place: SqlitePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits_before: bool
) -> None:
    monkeypatch.setattr(projectors, "RETRY_SECONDS", (0.01, 0.02))
    store = Unsure(tmp_path, lambda: NOW)
    store.commits_before = commits_before
    (await record(tmp_path, [opened(), *deliveries(1)])).close()
    async with following(tmp_path, store) as telling:
        await telling.until(lambda progress: progress.seq == 2)

    assert "the connection broke" in {progress.problem for progress in telling.all}
    assert not any(progress.needs_help for progress in telling.all)
    assert await place.ask("SELECT symbol, count FROM pnl_1m") == [("", 2), ("BTCUSDT", 1)]
    assert await place.ask("SELECT count(*) FROM pnl_snapshots") == [(3,)]
    await is_all_of(store, tmp_path)
    await store.close()


async def test_how_far_the_sources_were_seen_is_written_again_where_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projectors, "RETRY_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(projectors, "POSITIONS_SECONDS", 0.0)
    store = Unsure(tmp_path, lambda: NOW)
    store.commits_before, store.failures, store.absences = False, 0, 0
    journal = Journal.open(tmp_path, "main", clock=lambda: NOW)
    await journal.append([opened()], [StreamPosition("nats:FILLS", "c", 7)])
    async with following(tmp_path, store) as telling:
        await telling.until(lambda progress: progress.seq == 1)
        store.failures = 1
        await journal.append([], [StreamPosition("nats:FILLS", "c", 9)])
        await telling.until(lambda progress: progress.problem is not None)
        await telling.until(lambda progress: telling.all[-1].problem is None)
    await journal.close()

    replica = await store.replica("main")
    assert replica is not None
    assert replica.positions == [StreamPosition("nats:FILLS", "c", 9)]
    await store.close()


async def test_a_journal_that_cannot_be_read_is_never_called_well(
    store: SqliteHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projectors, "RETRY_SECONDS", (0.01, 0.02))
    (await record(tmp_path, [opened(), *deliveries(1)])).close()
    connection = apsw.Connection(str(journal_path(tmp_path, "main")))
    connection.execute("UPDATE journal SET body = 'garbage' WHERE seq = 2")
    connection.close()

    async with following(tmp_path, store) as telling:
        await telling.until(lambda progress: len(telling.all) > 5)

    assert all("entry 2" in str(progress.problem) for progress in telling.all)


def spoil(folder: Path, seq: int) -> None:
    """Make an entry of the journal of account main one that cannot be read."""
    connection = apsw.Connection(str(journal_path(folder, "main")))
    connection.execute("UPDATE journal SET body = 'garbage' WHERE seq = ?", (seq,))
    connection.close()


async def test_what_comes_before_an_entry_that_cannot_be_read_is_written_however_slowly(
    place: SqlitePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(SqliteHistory):
        async def write(self, batch: Batch) -> None:
            await asyncio.sleep(0.3)
            await super().write(batch)

    monkeypatch.setattr(projectors, "BATCH", CHUNK)
    store = Slow(tmp_path, lambda: NOW)
    (await record(tmp_path, deliveries(*range(CHUNK + 5)))).close()
    spoil(tmp_path, CHUNK + 3)

    async with following(tmp_path, store) as telling:
        await telling.until(lambda progress: "entry 1003" in str(progress.problem))

    assert [progress.seq for progress in telling.all][:2] == [CHUNK, CHUNK]
    assert await place.ask("SELECT count(*) FROM fills") == [(CHUNK,)]
    await store.close()


async def test_a_write_that_is_refused_is_told_of_although_the_next_batch_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(SqliteHistory):
        async def write(self, batch: Batch) -> None:
            raise HistoryDiffers("somebody else writes")

    unheard: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
    monkeypatch.setattr(projectors, "BATCH", CHUNK)
    store = Refusing(tmp_path, lambda: NOW)
    (await record(tmp_path, deliveries(*range(CHUNK + 5)))).close()
    spoil(tmp_path, CHUNK + 3)

    async with following(tmp_path, store) as telling:
        told = await telling.until(lambda progress: progress.problem is not None)
    gc.collect()  # what asyncio says of a failure that nobody looked at comes when it is thrown away

    assert told == Progress("main", 0, "somebody else writes", needs_help=True)
    assert unheard == []
    await store.close()


async def test_prices_of_many_positions_are_written_some_at_a_time(
    store: SqliteHistory, place: SqlitePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second of prices is a snapshot of every position: it is these that a batch must not have too many of."""
    written: list[Batch] = []
    write = store.write

    async def noted(batch: Batch) -> None:
        written.append(batch)
        await write(batch)

    monkeypatch.setattr(store, "write", noted)
    symbols = [f"COIN{number}USDT" for number in range(100)]
    (await record(tmp_path, [opened(), *(delivery(fill("1", symbol=symbol)) for symbol in symbols)])).close()
    for second in range(1, 301):
        prices = tuple(MarkPrice(symbol, D(second), second * 1_000) for symbol in symbols)
        (await record(tmp_path, [delivery(Marks(second * 1_000, prices))], at_ms=NOW + second * 1_000)).close()

    await project(tmp_path, store, now_ms=NOW + 300_000)

    assert await place.ask("SELECT count(*) FROM pnl_snapshots WHERE symbol = 'COIN7USDT'") == [(300,)]
    assert max(len(batch.snapshots) for batch in written) <= projectors.SNAPSHOTS + projectors.PIECE * 101
    await verify(store)


async def test_a_file_that_is_removed_is_written_anew(store: SqliteHistory, place: SqlitePlace, tmp_path: Path) -> None:
    (await record(tmp_path, [opened(), *deliveries(1)])).close()
    async with following(tmp_path, store) as telling:
        await telling.until(lambda progress: progress.seq == 2)
        store.path.unlink()
        (await record(tmp_path, deliveries(2))).close()
        await telling.until(lambda progress: progress.seq == 3)

    assert await place.ask("SELECT id FROM fills ORDER BY seq") == [("1",), ("2",)]
    await is_all_of(store, tmp_path)


def put_back(folder: Path, archive: Path, *, at_ms: int) -> None:
    for path in folder.glob("main.journal*"):
        path.unlink()
    restore(archive, folder, clock=lambda: at_ms)


async def test_a_journal_that_was_put_back_is_written_anew_as_often_as_that_happens(
    store: SqliteHistory, place: SqlitePlace, tmp_path: Path
) -> None:
    with await record(tmp_path, [opened(), *deliveries(1)]) as reader:
        backup({"main": reader.path}, tmp_path / "backup.tar", clock=lambda: NOW)
    (await record(tmp_path, deliveries(2, 3))).close()
    await project(tmp_path, store)
    for attempt in (1, 2):
        put_back(tmp_path, tmp_path / "backup.tar", at_ms=NOW + attempt)
        (await record(tmp_path, deliveries(10 * attempt))).close()

        told = await project(tmp_path, store, now_ms=NOW + attempt * 5_000)

        assert told[-1] == Progress("main", 3)
        assert await place.ask("SELECT id FROM fills ORDER BY seq") == [("1",), (str(10 * attempt),)]
        await is_all_of(store, tmp_path)


async def test_another_journal_of_the_same_name_touches_nothing(
    store: SqliteHistory, place: SqlitePlace, tmp_path: Path
) -> None:
    (await record(tmp_path, [opened(), *deliveries(1)])).close()
    await project(tmp_path, store)
    other = tmp_path / "other"
    other.mkdir()
    (await record(other, [delivery(Transfer("t", "USDT", D(5), 1))], at_ms=NOW + 9_000)).close()

    told = await project(other, store)

    assert told[-1].needs_help
    assert "the history holds another journal of account main, up to entry 2" in str(told[-1].problem)
    await is_all_of(store, tmp_path)
    assert await place.ask("SELECT id FROM fills") == [("1",)]


async def test_another_journal_that_was_put_back_touches_nothing_either(store: SqliteHistory, tmp_path: Path) -> None:
    (await record(tmp_path, [opened(), *deliveries(1)])).close()
    await project(tmp_path, store)
    other = tmp_path / "other"
    other.mkdir()
    with await record(other, deliveries(7, 8)) as reader:
        backup({"main": reader.path}, other / "backup.tar", clock=lambda: NOW)
    put_back(other, other / "backup.tar", at_ms=NOW + 1)

    told = await project(other, store)

    assert told[-1].needs_help
    await is_all_of(store, tmp_path)


@pytest.mark.integration
async def test_of_two_that_begin_from_one_state_the_second_takes_nothing_over_while_the_first_is_followed(
    postgres_schema: FreshDatabase, tmp_path: Path
) -> None:
    store = PostgresPlace(postgres_schema).store()
    (await record(tmp_path, [opened(), *deliveries(1)])).close()
    with JournalReader(journal_path(tmp_path, "main")) as reader:
        backup({"main": reader.path}, tmp_path / "backup.tar", clock=lambda: NOW)
    await project(tmp_path, store)
    twins = [tmp_path / "first", tmp_path / "second"]
    for number, folder in enumerate(twins, start=1):
        restore(tmp_path / "backup.tar", folder, clock=lambda: NOW + number * 1_000)  # noqa: B023  # called at once
        (await record(folder, deliveries(10 * number))).close()
    await project(twins[0], store)

    told = await project(twins[1], store)

    assert "may still be running" in str(told[-1].problem)
    await is_all_of(store, twins[0])
    await store.close()


@pytest.mark.integration
async def test_a_server_that_dies_and_comes_back_has_everything_once(
    breakable_postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projectors, "RETRY_SECONDS", (0.05, 0.1))
    place = PostgresPlace(await breakable_postgres.create_database())
    store = place.store()
    journal = Journal.open(tmp_path, "main", clock=lambda: NOW)
    await journal.append([opened()])
    async with following(tmp_path, store) as telling:
        await telling.until(lambda progress: progress.seq == 1)
        breakable_postgres.kill()
        await journal.append(deliveries(1))
        await telling.until(lambda progress: progress.problem is not None)
        await journal.append(deliveries(2))
        breakable_postgres.start()
        await telling.until(lambda progress: progress.seq == 3)
    await journal.close()

    assert telling.all[-1].problem is None
    assert await place.ask("SELECT id FROM fills ORDER BY seq") == [("1",), ("2",)]
    await is_all_of(store, tmp_path)
    await store.close()


async def test_what_somebody_waits_for_is_looked_for_at_once(
    tmp_path: Path, store: SqliteHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projectors, "LOOK_SECONDS", 3_600.0)
    monkeypatch.setattr(projectors, "IDLE_SECONDS", 3_600.0)
    telling = Telling()
    journal = Journal.open(tmp_path, "main", clock=lambda: NOW)
    projector = Projector(
        "main", journal.path, store, usd_assets=USD_ASSETS, interval_ms=1_000, clock=lambda: NOW, tell=telling
    )
    task = asyncio.create_task(projector.run())
    await telling.until(lambda progress: progress.seq == 0)
    await journal.append(deliveries(1))

    projector.hurry()

    await telling.until(lambda progress: progress.seq == 1)
    projector.stop()
    await asyncio.wait_for(task, 20)
    await journal.close()
