"""A compacted journal: what it forgot it does not count again, and what it holds is as good as before."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from account_monitor.errors import JournalCompacted
from account_monitor.historian.restoration import _is_cut_off
from account_monitor.ledger.account import Account, AccountState, EventList
from account_monitor.ledger.events import Claim, Event, Fill, Horizon, Marks, Place, Transfer
from account_monitor.ledger.explanation import residuals
from account_monitor.ledger.instruments import linear_instrument
from account_monitor.ledger.money import ONE
from account_monitor.ledger.timeline import Floor, Timeline
from account_monitor.monitor.horizon import horizon
from account_monitor.monitor.ports import CONFLICTING_FILL, VENUE_TRADES, Recorded
from account_monitor.stores import checkpoints, journal_file, recorder
from account_monitor.stores.backup import backup, restore
from account_monitor.stores.checkpoints import JournalCheckpoints, decode_state, encode_state
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_reader import open_reader
from tests.journal_samples import deliveries, delivery, fill
from tests.properties.test_ledger_inputs import facts, fills, incomes, payments, transfers

USDT = frozenset({"USDT"})


def opened(folder: Path) -> Journal:
    return Journal.open(folder, "main", clock=lambda: 7)


async def compacted(journal: Journal, until: int) -> None:
    journal.compact(until)
    async with asyncio.timeout(10):
        while journal.base_seq < until:  # noqa: ASYNC110  # another thread does it
            await asyncio.sleep(0.001)


def final(trade_id: str, at_ms: int) -> Horizon:
    """Fills of BTCUSDT up to this one are final."""
    return Horizon(10_000 + int(trade_id), at_ms, (Place("BTCUSDT", "BOTH", trade_id, at_ms, int(trade_id), 0),))


async def taken(journal: Journal, number: int) -> None:
    """The ledger took the horizon for which this fill of BTCUSDT is the last."""
    line = Timeline("BTCUSDT", linear_instrument("BTCUSDT"), floor=Floor(last_number=number))
    state = AccountState(journal.last_seq, {"BTCUSDT": line})
    await journal.save_checkpoint(journal.last_seq, "a ledger", encode_state(state))


def count(journal: Journal, table: str) -> int:
    with journal.reader._connection() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # type: ignore[index]


async def old(folder: Path, *more: Event) -> Journal:
    """A journal that forgot fills 1 to 10, and what else there is, and holds fills 11 to 20."""
    journal = opened(folder)
    await journal.append([*deliveries(*range(1, 11)), *map(delivery, more)])
    await journal.append([*deliveries(*range(11, 21)), delivery(final("10", 1_010))])
    await taken(journal, 10)
    await compacted(journal, 10 + len(more))
    return journal


async def test_what_was_forgotten_is_a_duplicate_when_it_comes_again(tmp_path: Path) -> None:
    transfer, text = Transfer("t", "USDT", ONE, 5), fill("text", at_ms=500)
    journal = await old(tmp_path, transfer, text)
    again = [*deliveries(*range(1, 21)), delivery(transfer), delivery(text), delivery(text._replace(at_ms=9_000))]

    recorded = await journal.append(again)

    assert recorded == Recorded([], again, [], [])
    assert count(journal, "spent") == 2  # a fill with a number needs none
    await journal.close()


async def test_both_sides_of_a_trade_with_itself_and_what_bots_claim_are_known_when_they_are_forgotten(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    bought = fill("1", at_ms=1_001)._replace(order_id="7", maker=False)
    sold = bought._replace(side="SELL", order_id="8", maker=True)
    claimed = Claim(fill("a bot's own", at_ms=1_002))
    unnumbered = [each._replace(trade_id="x") for each in (bought, sold)]
    events: list[Event] = [bought, sold, claimed, *unnumbered]
    told = [*map(delivery, events), *deliveries(2)]
    await journal.append([*told, delivery(final("1", 1_001))])
    await taken(journal, 1)
    await compacted(journal, 5)

    recorded = await journal.append([*told, *reversed(told)])

    assert (recorded.entries, recorded.parked, recorded.conflicts) == ([], [], [])
    assert len(recorded.duplicates) == 2 * len(told)
    await journal.close()


async def test_what_was_forgotten_is_not_unknown(tmp_path: Path) -> None:
    transfer, text = Transfer("t", "USDT", ONE, 5), fill("text", at_ms=500)
    journal = await old(tmp_path, transfer, text)

    other = Transfer("u", "USDT", ONE, 5)
    asked: list[Event] = [*(fill(str(n), at_ms=1_000 + n) for n in (3, 11, 21)), text, transfer, other]
    assert journal.unknown(asked) == {fill("21").identity, "transfer:u"}
    await journal.close()


async def test_what_was_forgotten_is_known_after_a_start_too(tmp_path: Path) -> None:
    await (await old(tmp_path, Transfer("t", "USDT", ONE, 5))).close()
    journal = opened(tmp_path)

    recorded = await journal.append([*deliveries(3, 21), delivery(Transfer("t", "USDT", ONE, 5))])

    assert [entry.event for entry in recorded.entries] == [fill("21", at_ms=1_021)]
    assert journal.base_seq == 11
    await journal.close()


async def test_a_final_number_at_a_later_time_is_parked(tmp_path: Path) -> None:
    journal = await old(tmp_path)

    recorded = await journal.append([delivery(fill("3", at_ms=100_000)), delivery(fill("4", at_ms=1_500))])

    assert (recorded.entries, len(recorded.duplicates)) == ([], 1)
    assert [parked.rejection for parked in recorded.parked] == [CONFLICTING_FILL]
    (letter,) = journal.reader.dead_letters()
    assert letter.reason == (
        "fill:BTCUSDT:3 is final: trades up to 10 happened up to 1010, this one at 100000"
    )  # fmt: skip
    await journal.close()


async def test_a_number_that_is_final_for_another_position_is_parked(tmp_path: Path) -> None:
    journal = await old(tmp_path)

    recorded = await journal.append([delivery(fill("3", at_ms=1_003)._replace(position_side="LONG"))])

    assert (recorded.entries, len(recorded.parked)) == ([], 1)
    await journal.close()


async def test_a_number_that_no_ledger_took_for_final_is_recorded(tmp_path: Path) -> None:
    journal = await old(tmp_path)
    await journal.append([*deliveries(22, 25), delivery(final("25", 1_025)), delivery(Transfer("t", "USDT", ONE, 5))])
    await taken(journal, 10)  # 22 came while it was under way: the counts did not fit
    await compacted(journal, 24)

    recorded = await journal.append(deliveries(22, 23, 24, 25))

    assert [entry.event for entry in recorded.entries] == [fill("23", at_ms=1_023), fill("24", at_ms=1_024)]
    assert len(recorded.duplicates) == 2
    await journal.close()


async def test_new_fills_of_one_leg_count_whatever_the_numbers_of_the_other_are(tmp_path: Path) -> None:
    journal = await old(tmp_path)
    short = fill("3", at_ms=90_000)._replace(position_side="SHORT")

    recorded = await journal.append([delivery(short), delivery(short._replace(trade_id="4", at_ms=1_004))])

    assert [entry.event for entry in recorded.entries] == [short]
    assert [parked.event for parked in recorded.parked] == [short._replace(trade_id="4", at_ms=1_004)]
    await journal.close()


@pytest.mark.parametrize("told", [fill("1", at_ms=1_001)._replace(position_side="LONG"), fill("1", price="99")])
async def test_what_is_final_is_not_revised_any_more(tmp_path: Path, told: Fill) -> None:
    journal = opened(tmp_path)
    await journal.append([*deliveries(1, 2), delivery(final("2", 1_002))])

    recorded = await journal.append([delivery(told, source=VENUE_TRADES)])

    assert (recorded.entries, len(recorded.conflicts)) == ([], 1)
    assert [letter.rejection for letter in journal.reader.dead_letters()] == [CONFLICTING_FILL]
    await journal.close()


async def test_what_is_final_is_not_completed_and_told_no_other_time(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    place = Place("BTCUSDT", "BOTH", "b", 20, 2, 0, is_by_time=True)
    await journal.append([*(delivery(fill(name, at_ms=at)) for name, at in (("a", 10), ("b", 20), ("c", 20)))])
    await journal.append([delivery(Horizon(100, 20, (place,)))])
    again = [delivery(fill(name, at_ms=21)._replace(fee=ONE), source=VENUE_TRADES) for name in "abc"]

    recorded = await journal.append(again)

    assert recorded.duplicates == again[:2]
    assert [entry.event.event_id for entry in recorded.entries] == ["fill:BTCUSDT:c r1"]
    await journal.close()


async def test_nothing_is_moved_into_what_is_final(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    long = fill("1", at_ms=1_001)._replace(position_side="LONG")
    await journal.append([delivery(long), *deliveries(2), delivery(final("2", 1_002))])

    recorded = await journal.append([delivery(long._replace(position_side="BOTH"), source=VENUE_TRADES)])

    assert (recorded.entries, len(recorded.conflicts)) == ([], 1)
    await journal.close()


async def test_a_final_number_that_was_never_recorded_is_recorded_until_something_is_forgotten(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    await journal.append([*deliveries(1, 3), delivery(final("3", 1_003))])
    await taken(journal, 3)

    recorded = await journal.append(deliveries(2))

    assert [entry.event for entry in recorded.entries] == [fill("2", at_ms=1_002)]
    await journal.close()


async def test_a_fill_that_no_horizon_covers_is_remembered_by_its_id(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    await journal.append([*deliveries(5, 30, 6)])
    await compacted(journal, 2)

    recorded = await journal.append(deliveries(5, 30, 7))

    assert [entry.event for entry in recorded.entries] == [fill("7", at_ms=1_007)]
    await journal.close()


async def test_a_number_of_one_leg_is_unknown_whatever_the_numbers_of_the_other_are(tmp_path: Path) -> None:
    journal = await old(tmp_path)
    short = fill("3", at_ms=90_000)._replace(position_side="SHORT")

    assert journal.unknown([short]) == {short.identity}
    assert journal.unknown([short._replace(at_ms=1_003)]) == set()  # it may be recorded as the other's
    await journal.close()


async def test_places_of_horizons_are_remembered_only_until_the_ledger_takes_them(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    drawn = journal._writer._recorder._spent._drawn
    for number in range(1, 41):
        by_time = Place("ETHUSDT", "BOTH", f"x{number:02}", 1_000 + number, number, 0, is_by_time=True)
        horizon = final(str(number), 1_000 + number)
        await journal.append([*deliveries(number), delivery(horizon._replace(places=(*horizon.places, by_time)))])
        await taken(journal, number)

    assert {key: len(places) for key, places in drawn.items()} == {"BTCUSDT": 0, "ETHUSDT": 1}
    first = fill("x01", at_ms=1_001)._replace(symbol="ETHUSDT")
    assert journal._writer._recorder._spent.is_final(first)
    assert journal._writer._recorder._spent.is_final(fill("40", at_ms=1_040))
    assert not journal._writer._recorder._spent.is_final(fill("41", at_ms=1_041))
    await journal.close()


async def test_a_record_that_follows_a_forgotten_one_is_still_known(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    told = fill("1", at_ms=1)
    await journal.append([delivery(told)])
    await journal.append([delivery(told._replace(fee=ONE), source=VENUE_TRADES), delivery(fill("2"))])
    await compacted(journal, 1)

    recorded = await journal.append([delivery(told._replace(realized_pnl=ONE), source=VENUE_TRADES)])

    (entry,) = recorded.entries
    assert isinstance(entry.event, Fill)
    assert (entry.event.revision, entry.event.fee) == (2, ONE)
    await journal.close()


async def test_to_read_what_was_forgotten_is_an_error_and_never_a_shorter_answer(tmp_path: Path) -> None:
    journal = await old(tmp_path)
    reader = journal.reader

    for read in (
        lambda: list(journal.entries()),
        lambda: list(journal.entries(after=9)),
        lambda: list(journal.entries(after=5, happened_by_ms=1_000_000)),
        lambda: list(journal.history("BTCUSDT", after=9, until=20)),
        lambda: reader.rows(after=9, until=20),
        lambda: reader.hash_at(9),
        lambda: journal.seq_at(6),
    ):
        with pytest.raises(JournalCompacted, match="the entries up to 10 are in the history only"):
            read()
    assert [entry.seq for entry in journal.entries(after=10)] == list(range(11, 22))
    assert len(list(journal.history("BTCUSDT", after=10, until=99))) == 10
    assert reader.hash_at(10) == reader.base().hash
    assert journal.seq_at(7) == 21
    await journal.close()


async def test_what_is_left_is_verified_from_the_hash_of_what_is_gone(tmp_path: Path) -> None:
    journal = await old(tmp_path)
    assert journal.reader.verify()[0] == 21
    await journal.close()
    with open_reader(tmp_path / "main.journal") as reader:
        assert reader.verify()[0] == 21


async def test_a_compacted_journal_is_backed_up_and_restored(tmp_path: Path) -> None:
    journal = await old(tmp_path / "a")
    backup({"main": journal.path}, tmp_path / "backup.tar", clock=lambda: 8)
    await journal.close()

    restore(tmp_path / "backup.tar", tmp_path / "b", clock=lambda: 9)

    journal = opened(tmp_path / "b")
    assert (journal.base_seq, journal.last_seq, journal.epoch) == (10, 21, 2)
    assert (await journal.append(deliveries(3))).entries == []
    await journal.close()


async def test_a_state_that_needs_what_was_forgotten_is_not_loaded(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    await journal.append(deliveries(*range(1, 21)))
    kept = JournalCheckpoints(journal, USDT)
    account = Account(journal, usd_assets=USDT)
    account.apply_all([(entry.seq, entry.event) for entry in journal.entries()])
    await kept.save(account.state)
    assert kept.load() is not None

    await compacted(journal, 10)

    assert kept.load() is None
    await journal.close()


async def test_a_journal_of_an_older_schema_is_seen_to_lack_what_another_ledger_has_to_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await old(tmp_path)).close()
    monkeypatch.setattr(checkpoints, "_fingerprint", lambda *_: "another")
    monkeypatch.setattr(journal_file, "MIGRATIONS", [*journal_file.MIGRATIONS, "CREATE TABLE more (x INTEGER) STRICT"])

    assert _is_cut_off(tmp_path / "main.journal", USDT)
    assert not _is_cut_off(tmp_path / "none.journal", USDT)
    assert not (tmp_path / "none.journal").exists()


async def test_a_journal_is_asked_what_it_lacks_without_being_opened_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await old(tmp_path)
    monkeypatch.setattr(checkpoints, "_fingerprint", lambda *_: "another")

    assert _is_cut_off(journal.path, USDT)  # although it is being written
    await journal.close()


@pytest.mark.parametrize("numbers", [(500, 100, 900), (100, 900, 500), (1, 2, 9, 3)])
async def test_numbers_that_do_not_follow_time_are_seen(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    journal = opened(tmp_path)
    await journal.append([delivery(fill(str(n), at_ms=index * 60_000)) for index, n in enumerate(numbers)])
    place = Place("BTCUSDT", "BOTH", str(numbers[0]), 0, 1, 0)

    assert not journal.follows_time(place)
    assert journal.follows_time(place._replace(position_side="LONG"))
    assert journal.follows_time(place._replace(is_by_time=True))
    await journal.close()


async def test_numbers_follow_time_where_only_the_clocks_of_two_bots_or_a_record_set_right_differ(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    wrong, right = fill("3", at_ms=1), fill("3", at_ms=60_001)
    await journal.append([*deliveries(1, 2), delivery(fill("4", at_ms=60_000)), delivery(wrong)])
    place = Place("BTCUSDT", "BOTH", "1", 1_001, 1, 0)
    assert not journal.follows_time(place)

    await journal.append([delivery(right._replace(fee=ONE), source=VENUE_TRADES)])

    assert journal.follows_time(place)
    await journal.close()


async def test_the_newest_entry_stays(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    await journal.append(deliveries(1, 2, 3))

    await compacted(journal, 2)
    journal.compact(99)
    await asyncio.sleep(0.05)

    assert [entry.seq for entry in journal.entries(after=2)] == [3]
    await journal.close()


async def test_a_journal_that_is_killed_between_two_pieces_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "FORGOTTEN_AT_ONCE", 3)
    journal = opened(tmp_path)
    await journal.append([*deliveries(*range(1, 41)), delivery(final("30", 1_030))])
    await taken(journal, 30)
    seen: set[int] = set()
    journal.compact(30)
    while journal.base_seq < 30:
        copy = tmp_path / f"copy{len(seen)}"
        if journal.base_seq not in seen:
            seen.add(journal.base_seq)
            copy.mkdir()
            for suffix in ("", "-wal"):
                shutil.copy(f"{journal.path}{suffix}", copy)
        await asyncio.sleep(0.001)
    await journal.close()

    assert len(seen) > 3
    for number in range(len(seen)):
        journal = opened(tmp_path / f"copy{number}")
        assert journal.reader.verify()[0] == 41
        assert (await journal.append(deliveries(*range(1, 41)))).entries == []
        await compacted(journal, 30)
        assert len((await journal.append(deliveries(41))).entries) == 1
        await journal.close()


async def test_the_file_does_not_grow_with_the_history(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    sizes, rows = [], []
    for n in range(10, 22):
        numbers = range(1 + 1_000 * n, 1_001 + 1_000 * n)
        await journal.append(deliveries(*numbers))
        await journal.append([delivery(final(str(max(numbers[0] - 1, 1)), 10**6))])
        await taken(journal, numbers[0] - 1)
        if n > 10:
            await compacted(journal, journal.last_seq - 1_002)
        with journal.reader._connection() as connection:
            sizes.append(int(connection.pragma("page_count")))
        rows.append(count(journal, "journal"))

    assert rows[-1] == rows[3] == 1_002
    assert sizes[-1] <= 1.1 * sizes[3]
    assert count(journal, "spent") < 20
    await journal.close()


async def test_the_file_gives_back_what_was_needed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "SPARE_PAGES", 20)
    monkeypatch.setattr(recorder, "PAGES_AT_ONCE", 10)
    journal = opened(tmp_path)
    for start in range(1, 10_001, 1_000):
        await journal.append(deliveries(*range(start, start + 1_000)))
    await journal.close()
    size = journal.path.stat().st_size
    journal = opened(tmp_path)
    await compacted(journal, 9_900)
    await given_back(journal)

    assert journal.reader.verify()[0] == 10_000
    assert (await journal.append(deliveries(*range(1, 10_001)))).entries == []
    await journal.close()
    assert journal.path.stat().st_size < size / 5


async def given_back(journal: Journal) -> None:
    """Return once the journal gives no more pages back."""
    before, now = -1, 0
    while before != now:
        await asyncio.sleep(0.1)
        with journal.reader._connection() as connection:
            before, now = now, int(connection.pragma("page_count"))


# -- with a ledger -----------------------------------------------------------------------------------------------------

_drawn = st.integers(0, 40)
_any = st.lists(
    st.one_of(fills(symbol=st.sampled_from(["BTCUSDT", "ETHBTC"])), fills(), payments, transfers, incomes, _drawn),
    max_size=40, unique_by=lambda e: e if isinstance(e, int) else e.event_id,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(_any)
def test_nothing_old_counts_again_and_all_is_as_in_the_whole_journal(happened: list[Event | int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(_compare(Path(name), happened))


async def _compare(folder: Path, happened: Sequence[Event | int]) -> None:
    journal = opened(folder)
    account = Account(journal, usd_assets=USDT)
    whole: list[Event] = []
    for number, each in enumerate(happened):
        if isinstance(each, int):
            each = horizon(account.state, 100 + number, each)
        elif isinstance(each, Fill):
            each = each._replace(is_counterpart=False)
        recorded = await journal.append([delivery(each)])
        account.apply_all([(entry.seq, entry.event) for entry in recorded.entries])
        whole += [entry.event for entry in recorded.entries]
        if isinstance(each, Horizon):
            await JournalCheckpoints(journal, USDT).save(account.state)
            await compacted(journal, min(account.state.needed_after, journal.last_seq - 1))
            state = decode_state(encode_state(account.state))
            account = Account(journal, usd_assets=USDT, state=state)
    gone = [event for event in whole[: journal.base_seq] if not isinstance(event, Marks)]
    again = await journal.append([delivery(event) for event in gone if getattr(event, "revision", 0) == 0])
    assert again.entries == []
    assert journal.reader.verify()[0] == journal.last_seq
    await journal.close()

    known = EventList()
    expected = Account(known, usd_assets=USDT)
    for seq, event in enumerate(whole, start=1):
        known.add(seq, event)
        expected.apply(seq, event)
    assert facts(account) == facts(expected)
    assert residuals(account) == residuals(expected)
