"""Months of trading in seconds: the journal keeps some days of it, and the account is what all of it makes."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from account_monitor.cli.replay import replay
from account_monitor.errors import AccountMonitorError, HistoryDiffers, JournalCorrupt
from account_monitor.historian.reading import HistoryReader
from account_monitor.historian.restoration import _is_cut_off
from account_monitor.historian.retention import Retention
from account_monitor.ledger.account import USD_ASSETS, Account, AccountState, EventList
from account_monitor.ledger.events import Event, Fill, FundingPayment, Horizon, Opening, PositionSide, Transfer
from account_monitor.ledger.explanation import residuals
from account_monitor.ledger.flows import Flow
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.flows import REMEMBERED_MS, FlowBook
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.past import Past, TooOld
from account_monitor.monitor.ports import VENUE_INCOME, VENUE_STREAM, Delivery, StreamPosition
from account_monitor.monitor.reports import time_text
from account_monitor.stores import checkpoints, recorder
from account_monitor.stores.checkpoints import KeptStates
from account_monitor.stores.history import sqlite
from account_monitor.stores.history.projector import Progress, Projector
from account_monitor.stores.history.restoring import refill_journal, restore_journal
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.history.verification import verify_replica
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path, leftovers
from account_monitor.stores.journal_reader import open_reader
from account_monitor.stores.writer import Committed, Writer
from tests.monitor_by_hand import NOW_MS, Clock, heard, opened
from tests.properties.test_ledger_inputs import facts

D = Decimal
HOUR = 3_600_000
DAY = 24 * HOUR
RETENTION = 4 * DAY


class Months:
    """An account that trades all day long, and what it recorded."""

    def __init__(self, folder: Path, *, replicated_seq: int = 0, retention_ms: int = RETENTION) -> None:
        self.folder = folder
        self.retention_ms = retention_ms
        self.replicated_seq = replicated_seq
        self.clock = Clock()
        self.whole: list[Event] = []
        self.rows: list[int] = []
        self.sizes: list[int] = []
        self._chance = Random(7)  # the same for all
        self._number = 0
        self._late: list[Fill] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Monitor]:
        async with opened(self.folder, self.clock) as monitor:
            running = asyncio.create_task(monitor.run())
            monitor.observers.append(lambda view, change: self._note(change.recorded))
            yield monitor
            monitor.stop()
            await running

    def _note(self, recorded: object) -> None:
        self.whole += [entry.event for entry in getattr(recorded, "entries", ())]

    async def days(self, monitor: Monitor, count: int) -> None:
        desk = Desk(self.clock, "9")
        retention = Retention(
            desk,
            retention_ms=self.retention_ms,
            clock=self.clock,
            replicated=lambda account: self.replicated_seq,
            prove=proved,
        )
        for hour in range(24 * count):
            self.clock.ms += HOUR
            await hand(monitor, *self._hour(hour))
            if hour % 3 == 0:
                await retention.look_after(monitor)
            if hour % 24 == 23:
                await rested(monitor)
                self.rows.append(monitor.journal.last_seq - monitor.journal.base_seq)
                with journal_of(monitor).reader._connection() as connection:
                    self.sizes.append(int(connection.pragma("page_count")))

    def _hour(self, hour: int) -> list[Event]:
        fills = [self._fill("BTCUSDT") for _ in range(4)]
        if hour % 24 == 5:
            fills.append(self._fill("ETHUSDT"))  # once a day
        if hour == 30:
            fills.append(self._fill("SOLUSDT"))  # once, and never again
        self._late += [fill for fill in fills if self._chance.random() < 0.1]
        told: list[Event] = [fill for fill in fills if fill not in self._late]
        told += [self._late.pop(0) for _ in range(len(self._late) > 5)]
        if hour % 8 == 0:
            told.append(FundingPayment(f"f{self.clock.ms}", "USDT", D("-0.25"), self.clock.ms, "BTCUSDT"))
        if hour % 24 == 0:
            told.append(Transfer(f"t{self.clock.ms}", "USDT", D(10), self.clock.ms))
        return told

    def _fill(self, symbol: str) -> Fill:
        self._number += 1
        side = self._chance.choice(["BUY", "SELL"])
        price = D(self._chance.randrange(90, 110))
        return Fill(symbol, str(self._number), side, D(1), price, self.clock.ms + self._number % 1_000,  # type: ignore[arg-type]
                    fee=D("0.01"), fee_asset="USDT")  # fmt: skip

    def folded(self) -> Account:
        known = EventList()
        account = Account(known)
        for seq, event in enumerate(self.whole, start=1):
            known.add(seq, event)
            account.apply(seq, event)
        return account


async def hand(monitor: Monitor, *events: Event) -> None:
    """Let events be recorded and applied."""
    count = monitor.taken_count + len(events)
    for event in events:
        monitor.inbox.put(heard(event))
    while monitor.taken_count < count:  # noqa: ASYNC110  # another task steps
        await asyncio.sleep(0)


def journal_of(monitor: Monitor) -> Journal:
    """Return the journal with what only its file knows."""
    assert isinstance(monitor.journal, Journal)
    return monitor.journal


async def rested(monitor: Monitor) -> None:
    """Return when nothing is forgotten any more."""
    base_seq = -1
    while base_seq != monitor.journal.base_seq:
        base_seq = monitor.journal.base_seq
        await asyncio.sleep(0.03)


ALL = 10**9


def at(days: float) -> int:
    return NOW_MS + int(days * DAY)


async def test_the_journal_keeps_some_days_and_the_account_is_what_all_of_it_makes(tmp_path: Path) -> None:
    months = Months(tmp_path, replicated_seq=ALL)
    async with months.running() as monitor:
        await months.days(monitor, 8)
    async with months.running() as monitor:
        await months.days(monitor, 12)
        account = monitor._account
        old = [event for event in months.whole[: monitor.journal.base_seq] if not isinstance(event, Horizon)]

        assert facts(account) == facts(months.folded())
        assert residuals(account) == {}
        assert max(months.rows[8:]) <= 1.8 * 102 * RETENTION / DAY
        assert max(months.rows[14:]) <= 1.1 * max(months.rows[8:14])
        assert max(months.sizes[14:]) <= 1.15 * max(months.sizes[8:14])
        assert len(old) > 1_000

        recorded = len(months.whole)
        await hand(monitor, *old[::7], *old[-20:])
        assert len(months.whole) == recorded
        assert facts(account) == facts(months.folded())

        past = monitor.past
        assert past.believed(at(19.5)).positions["BTCUSDT"].fill_count > 0
        with pytest.raises(TooOld) as refused:
            past.believed(at(10))
        assert refused.value.first_ms is not None
        assert past.believed(refused.value.first_ms).seq > monitor.journal.base_seq
        assert past.explain(None, None).explanation.residual in (None, 0)
        assert past.explain(refused.value.first_ms, None).to_seq == monitor.journal.last_seq
        assert journal_of(monitor).reader.verify()[0] == len(months.whole)
    result = CliRunner().invoke(replay, ["--data-dir", str(tmp_path), "--verify", "--local"])
    assert result.exit_code == 0, result.output
    assert "equals the fold of the entries" in result.output
    early = CliRunner().invoke(replay, ["--data-dir", str(tmp_path), "--until", time_text(at(10))])
    assert isinstance(early.exception, AccountMonitorError)


async def test_killed_after_any_commit_it_goes_on_and_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = copied_now_and_then(tmp_path, monkeypatch)
    months = Months(tmp_path / "live", replicated_seq=ALL)
    async with months.running() as monitor:
        await months.days(monitor, 10)
        expected = facts(monitor._account)
    told = [event for event in months.whole if not isinstance(event, Horizon)]
    monkeypatch.undo()
    base_seqs = set()

    for copy in copies:
        again = Months(copy, replicated_seq=ALL)
        again.clock.ms = months.clock.ms
        retention = keeper(again.clock)
        async with again.running() as monitor:
            base_seqs.add(monitor.journal.base_seq)
            for start in range(0, len(told), 50):
                await hand(monitor, *told[start : start + 50])  # the stream from its first message
                if start % 500 == 0:
                    again.clock.ms += HOUR
                    await retention.look_after(monitor)
            assert facts(monitor._account) == expected
            assert journal_of(monitor).reader.verify()[0] == monitor.journal.last_seq
    assert len(base_seqs) > len(copies) // 3


def copied_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Keep what the disk holds after some commits, of entries, states, and pieces of what is forgotten."""
    copies: list[Path] = []
    chance, state = Random(4), Writer._state

    def committed(writer: Writer) -> Committed:
        if chance.random() < 0.02:
            copies.append(tmp_path / str(len(copies)))
            copies[-1].mkdir()
            for path in leftovers(Path(writer._connection.filename)):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, copies[-1])
        return state(writer)

    monkeypatch.setattr(recorder, "FORGOTTEN_AT_ONCE", 10)
    monkeypatch.setattr(Writer, "_state", committed)
    return copies


@pytest.mark.parametrize("ask", [Past.believed, Past.known, Past.explain])
async def test_what_is_forgotten_while_the_past_is_told_is_said_to_be_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., object]
) -> None:
    months = Months(tmp_path)
    async with months.running() as monitor:
        await months.days(monitor, 3)
        journal, load = journal_of(monitor), KeptStates.load

        def forget_meanwhile(states: KeptStates, **until: int) -> AccountState | None:
            state = load(states, **until)
            journal.compact(journal.last_seq - 1)
            while journal.base_seq < journal.last_seq - 1:
                time.sleep(0.001)
            return state

        monkeypatch.setattr(KeptStates, "load", forget_meanwhile)
        arguments = (at(1.5), at(2.5)) if ask is Past.explain else (at(1.5),)
        with pytest.raises(TooOld):
            await asyncio.to_thread(ask, monitor.past, *arguments)


async def test_without_a_replica_nothing_is_forgotten(tmp_path: Path) -> None:
    months = Months(tmp_path)
    async with months.running() as monitor:
        await months.days(monitor, 8)

        assert monitor.journal.base_seq == 0
        assert len(list(monitor.journal.entries())) == len(months.whole)


async def proved(account: str, until: int) -> None:
    """Believe that the database holds the entries."""


def keeper(clock: Clock, replicated_seq: int = ALL, prove: Callable[[str, int], Awaitable[None]] = proved) -> Retention:
    return Retention(
        Desk(clock, "9"), retention_ms=RETENTION, clock=clock, replicated=lambda account: replicated_seq, prove=prove
    )


async def at_once(monitor: Monitor, source: str, event: Event) -> None:
    """Let a source tell of an event."""
    count = monitor.taken_count + 1
    monitor.inbox.put(Delivery(source, source, b"", event))
    while monitor.taken_count < count:  # noqa: ASYNC110  # another task steps
        await asyncio.sleep(0)


async def looked(monitor: Monitor, clock: Clock, retention: Retention, days: int) -> None:
    """Let days pass in which nothing happens."""
    for _ in range(8 * days):
        clock.ms += 3 * HOUR
        await retention.look_after(monitor)
        await asyncio.sleep(0.002)  # a state is kept
    await rested(monitor)


def traded(clock: Clock, number: int, *, symbol: str = "BTCUSDT", leg: PositionSide = "BOTH") -> Fill:
    return Fill(symbol, str(number), "BUY", D(1), D(100), clock.ms, leg, fee=D(0), fee_asset="USDT")


async def passed(monitor: Monitor, clock: Clock, retention: Retention, days: int) -> None:
    """Let days pass, in which ETHUSDT trades once an hour, by numbers that follow time."""
    for hour in range(24 * days):
        clock.ms += HOUR
        await hand(monitor, traded(clock, clock.ms // HOUR, symbol="ETHUSDT"))
        if hour % 3 == 0:
            await retention.look_after(monitor)
    await rested(monitor)


@asynccontextmanager
async def at_work(
    folder: Path, clock: Clock, opening: Opening | None = None, *, has_venue: bool = False
) -> AsyncIterator[Monitor]:
    async with opened(folder, clock, opening, has_venue=has_venue) as monitor:
        running = asyncio.create_task(monitor.run())
        yield monitor
        monitor.stop()
        await running


async def test_a_clock_that_is_ahead_for_a_moment_makes_nothing_young_final(tmp_path: Path) -> None:
    clock = Clock()
    retention = keeper(clock)
    async with at_work(tmp_path, clock) as monitor:
        await passed(monitor, clock, retention, 6)
        right = clock.ms
        clock.ms += 365 * DAY
        await retention.look_after(monitor)
        await rested(monitor)
        clock.ms = right + HOUR
        await retention.look_after(monitor)
        await rested(monitor)

        settled = monitor._account.state.settled
        oldest = next(monitor.journal.entries(after=monitor.journal.base_seq))
    assert settled is not None
    assert 0 < settled.before_ms <= clock.ms - RETENTION
    assert oldest.recorded_at_ms <= clock.ms - RETENTION


async def test_money_of_which_the_exchange_could_not_tell_counts_although_a_bot_went_on(tmp_path: Path) -> None:
    clock = Clock()
    opening = Opening("1", clock.ms - 1, (("USDT", D(10_000)),))
    async with at_work(tmp_path, clock, opening, has_venue=True) as monitor:
        retention = keeper(clock)
        await passed(monitor, clock, retention, 1)
        monitor.inbox.see(StreamPosition(VENUE_INCOME, "", clock.ms))
        missed = Transfer("paid in meanwhile", "USDT", D(5_000), clock.ms + HOUR)
        await passed(monitor, clock, retention, 10)
        assert monitor.journal.base_seq > 0

        await hand(monitor, missed)
        assert monitor._account.state.transfers.by_asset == {"USDT": 5_000}


async def test_an_event_with_a_date_still_to_come_makes_no_silence_final(tmp_path: Path) -> None:
    clock = Clock()
    retention = keeper(clock)
    async with at_work(tmp_path, clock) as monitor:
        await passed(monitor, clock, retention, 3)
        await hand(monitor, Transfer("of next year", "USDT", D(1), clock.ms + 365 * DAY))
        await passed(monitor, clock, retention, 3)
        missed = Transfer("paid in meanwhile", "USDT", D(7), clock.ms + DAY)
        clock.ms += 42 * DAY  # nobody listens
        for _ in range(3):
            await retention.look_after(monitor)

        await hand(monitor, missed)
        assert monitor._account.state.transfers.by_asset == {"USDT": 8}


def reasons(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why a journal was not compacted."""
    return [each["reason"] for each in logs if each["event"] == "journal_not_compacted"]


async def test_money_of_which_the_exchange_may_tell_again_is_not_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    opening = Opening("1", clock.ms - 1, (("USDT", D(10_000)),))
    with capture_logs() as logs:
        async with at_work(tmp_path, clock, opening, has_venue=True) as monitor:
            retention = keeper(clock)
            monitor.inbox.see(StreamPosition(VENUE_INCOME, "", proved_ms := clock.ms))
            await hand(monitor, traded(clock, 1))
            clock.ms += HOUR
            await at_once(monitor, VENUE_STREAM, Transfer("a name of the stream", "USDT", D(5), clock.ms))
            row = Flow("transfer", "TRANSFER", "USDT", D(5), clock.ms, None, "77")
            await looked(monitor, clock, retention, 20)

            after_a_restart = FlowBook(lambda symbol: None)
            after_a_restart.recall(monitor.journal.flows(since_ms=proved_ms - REMEMBERED_MS))
            assert after_a_restart.stated([row]) == []
            assert f"since {time_text(proved_ms)} the exchange" in reasons(logs)[-1]

            monitor.inbox.see(StreamPosition(VENUE_INCOME, "", clock.ms - HOUR))
            await looked(monitor, clock, retention, 10)
            assert monitor.journal.flows(since_ms=0) == []


async def test_without_a_proof_of_the_exchange_nothing_is_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    opening = Opening("1", clock.ms - 1, (("USDT", D(10_000)),))
    async with at_work(tmp_path, clock, opening, has_venue=True) as monitor:
        retention = keeper(clock)
        for number in range(10):
            await at_once(monitor, VENUE_STREAM, Transfer(f"streamed {number}", "USDT", D(5), clock.ms))
            await looked(monitor, clock, retention, 1)

        assert monitor.journal.base_seq == 0


@pytest.mark.parametrize("replicated_seq", [0, ALL])
async def test_a_position_with_random_numbers_is_left_alone(tmp_path: Path, replicated_seq: int) -> None:
    clock = Clock()
    async with at_work(tmp_path, clock) as monitor:
        for number in (500, 100, 900):
            clock.ms += HOUR
            await hand(monitor, traded(clock, number))
        await passed(monitor, clock, keeper(clock, replicated_seq), 8)

        await hand(monitor, traded(clock, 300))
        assert monitor._account.leg("BTCUSDT").quantity == 4
        assert monitor.journal.base_seq == 0


async def test_a_journal_that_is_kept_for_too_long_names_the_position_that_needs_it(tmp_path: Path) -> None:
    clock = Clock()
    with capture_logs() as logs:
        async with at_work(tmp_path, clock) as monitor:
            ahead = traded(clock, 1)._replace(at_ms=clock.ms + 365 * DAY)  # the clock of a bot was wrong
            await hand(monitor, ahead)
            await passed(monitor, clock, keeper(clock), 10)

    told = "position BTCUSDT needs entries that are more than twice as old as history.journal_retention"
    assert reasons(logs) == [told] * 2  # on two days


async def project(months: Months) -> list[Progress]:
    """Write what is recorded into a history beside the journal, and return what the projector says."""
    store, told, begun = SqliteHistory(months.folder, months.clock), list[Progress](), asyncio.Event()

    def tell(progress: Progress) -> None:
        told.append(progress)
        begun.set()

    projector = Projector("main", journal_path(months.folder, "main"), store, usd_assets=USD_ASSETS, interval_ms=HOUR,
                          clock=months.clock, tell=tell)  # fmt: skip
    task = asyncio.create_task(projector.run())
    await begun.wait()
    projector.stop()
    await task
    await store.close()
    return told


async def test_another_version_of_the_ledger_gets_the_entries_back_and_folds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHUNK", 100)
    months = Months(tmp_path)
    store, path = SqliteHistory(tmp_path, months.clock), journal_path(tmp_path, "main")
    await traded_and_written(months, 7)
    await traded_and_written(months, 3)
    with pytest.raises(InterruptedError):
        await refill_journal(store, tmp_path, "main", clock=months.clock, progress=interrupted)
    await traded_and_written(months, 1)  # the old version once more
    with open_reader(path) as reader:
        base_seq = reader.base_seq
        replica = await verify_replica(store, reader)
    assert replica is not None
    assert replica.seq > base_seq > 100
    assert not _is_cut_off(path, USD_ASSETS)

    monkeypatch.setattr(checkpoints, "_fingerprint", lambda *_: "another")
    assert _is_cut_off(path, USD_ASSETS)
    with pytest.raises(InterruptedError):
        await refill_journal(store, tmp_path, "main", clock=months.clock, progress=interrupted)
    came_back = await refill_journal(store, tmp_path, "main", clock=months.clock, progress=lambda *done: None)

    assert came_back == base_seq - 100
    with open_reader(path) as reader:
        assert [entry.event for entry in reader.entries()] == months.whole
        assert reader.verify()[0] == len(months.whole)
    await traded_and_written(months, 1)
    await traded_and_written(months, 1)
    with open_reader(path) as reader:
        assert reader.base_seq > 0


async def test_a_journal_that_is_restored_knows_what_it_had_forgotten(tmp_path: Path) -> None:
    months = Months(tmp_path)
    store = SqliteHistory(tmp_path, months.clock)
    await traded_and_written(months, 7)
    await traded_and_written(months, 3)
    with open_reader(journal_path(tmp_path, "main")) as reader:
        assert reader.base_seq > 0
    for leftover in leftovers(journal_path(tmp_path, "main")):
        leftover.unlink()
    await restore_journal(store, tmp_path, "main", clock=months.clock, progress=lambda *done: None)

    for _ in range(2):
        told = [event for event in months.whole if not isinstance(event, Horizon)]
        async with months.running() as monitor:
            await hand(monitor, *told)  # the stream from its first message
            assert [event for event in months.whole if not isinstance(event, Horizon)] == told
            await months.days(monitor, 4)
            assert facts(monitor._account) == facts(months.folded())
            assert residuals(monitor._account) == {}
    with open_reader(journal_path(tmp_path, "main")) as reader:
        assert reader.base_seq > 0
        assert reader.verify()[0] == len(months.whole)


async def test_how_long_entries_are_kept_may_change_at_any_start(tmp_path: Path) -> None:
    months = Months(tmp_path, replicated_seq=ALL)
    held = []
    for retention_ms in (4 * DAY, 8 * DAY, DAY, 30 * DAY, 2 * DAY):
        months.retention_ms = retention_ms
        async with months.running() as monitor:
            await months.days(monitor, 6)
            old = [event for event in months.whole[: monitor.journal.base_seq] if not isinstance(event, Horizon)]
            recorded = len(months.whole)
            await hand(monitor, *old)
            assert len(months.whole) == recorded
            assert facts(monitor._account) == facts(months.folded())
            held.append(monitor.journal.last_seq - monitor.journal.base_seq)
    assert held[2] < held[1] / 2
    assert held[3] > held[2] + 600  # nothing is forgotten
    assert held[4] < held[3] / 2


async def traded_and_written(months: Months, days: int) -> None:
    """Let some days pass, and the history be written when they are over."""
    async with months.running() as monitor:
        await months.days(monitor, days)
        assert facts(monitor._account) == facts(months.folded())
    assert (await project(months))[-1] == Progress("main", len(months.whole))
    months.replicated_seq = len(months.whole)


def interrupted(done: int, of: int) -> None:
    """Be killed in the middle."""
    raise InterruptedError


@pytest.mark.parametrize(
    ("meddle", "says"),
    [
        ("DELETE FROM journal", "ends at entry 0"),
        ("DELETE FROM journal WHERE seq = 5", "entry 5 is missing"),
        ("UPDATE journal SET body = body || ' ' WHERE seq = 5", "does not match its hash"),
    ],
)
async def test_what_the_database_lost_meanwhile_is_not_forgotten(tmp_path: Path, meddle: str, says: str) -> None:
    months = Months(tmp_path)
    await traded_and_written(months, 6)
    database = apsw.Connection(str(tmp_path / "history.sqlite"))
    database.execute(meddle)
    database.close()
    reader = HistoryReader(SqliteHistory(tmp_path, months.clock))
    retention = keeper(months.clock, prove=lambda account, until: reader.prove(journal_path(tmp_path, account), until))
    async with months.running() as monitor:
        with pytest.raises((HistoryDiffers, JournalCorrupt), match=says):
            await looked(monitor, months.clock, retention, 5)
        await rested(monitor)
        assert monitor.journal.base_seq == 0
    await reader.close()


async def test_what_the_database_holds_is_proved_and_forgotten(tmp_path: Path) -> None:
    months = Months(tmp_path)
    await traded_and_written(months, 6)
    reader = HistoryReader(SqliteHistory(tmp_path, months.clock))
    retention = keeper(
        months.clock,
        len(months.whole),
        prove=lambda account, until: reader.prove(journal_path(tmp_path, account), until),
    )
    async with months.running() as monitor:
        await looked(monitor, months.clock, retention, 5)
        assert monitor.journal.base_seq > 0
    await reader.close()


async def test_a_history_that_lacks_what_was_forgotten_is_refused(tmp_path: Path) -> None:
    months = Months(tmp_path, replicated_seq=ALL)
    async with months.running() as monitor:
        await months.days(monitor, 8)
        assert monitor.journal.base_seq > 0

    told = (await project(months))[0]
    with pytest.raises(JournalCorrupt, match="does not lead there"):
        await refill_journal(SqliteHistory(tmp_path, months.clock), tmp_path, "main", clock=months.clock,
                             progress=lambda *done: None)  # fmt: skip

    assert told.needs_help
    assert "put back the database that holds the entries between" in str(told.problem)
