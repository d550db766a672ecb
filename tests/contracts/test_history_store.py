"""What a history is, whichever database keeps it: batches, the copy of a journal, and the tables others read."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from account_monitor.errors import HistoryDiffers, HistoryUnavailable
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Event, FundingPayment
from account_monitor.ledger.money import to_text
from account_monitor.ledger.reconciliation import Drift, Finding, Reconciliation
from account_monitor.monitor.ports import StreamPosition
from account_monitor.stores.backup import backup, restore
from account_monitor.stores.history.batch import BEGINNING, Batch, Cursor, KeptState
from account_monitor.stores.history.restoring import restore_journal
from account_monitor.stores.history.store import CHUNK, HistoryStore, Span
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import JournalReader
from tests.history_samples import (
    NOW,
    Place,
    batch_of,
    entries_in,
    random_number,
    record,
    snapshot,
    snapshots_batch,
    verify,
    write_entries,
    write_snapshots,
)
from tests.journal_samples import deliveries, delivery, events, fill

pytestmark = pytest.mark.integration

D = Decimal


# -- batches -----------------------------------------------------------------------------------------------------------


async def test_an_account_that_was_never_written_is_at_the_beginning(store: HistoryStore) -> None:
    assert await store.cursor("main") == BEGINNING
    assert await store.replica("main") is None
    assert await entries_in(store) == []


async def test_the_cursor_moves_with_the_rows(store: HistoryStore, place: Place, tmp_path: Path) -> None:
    with await record(tmp_path, deliveries(1, 2, 3)) as reader:
        first = batch_of(reader, until=2)
        await store.write(first)
        between = await store.cursor("main")
        await write_entries(store, reader)

        assert between == first.after == Cursor(1, 2, reader.rows(after=1, until=2)[0].hash, 0)
        assert (await store.cursor("main")).seq == 3
        assert await store.cursor("alt") == BEGINNING
        assert await place.ask("SELECT id FROM fills ORDER BY seq") == [("1",), ("2",), ("3",)]


async def test_a_batch_that_is_there_already_is_refused_whole(
    store: HistoryStore, place: Place, tmp_path: Path
) -> None:
    with await record(tmp_path, deliveries(1, 2)) as reader:
        batch = batch_of(reader)._replace(snapshots=[snapshot(NOW, "100")])
        batch = batch._replace(after=batch.after._replace(snapshot_ms=NOW))
        await store.write(batch)

        with pytest.raises(HistoryDiffers, match="somebody else"):
            await store.write(batch)

        assert await store.cursor("main") == batch.after  # so asks who does not know whether it was written
        assert await place.ask("SELECT count(*) FROM journal") == [(2,)]
        assert await place.ask("SELECT count FROM pnl_1d") == [(1,)]


async def test_snapshots_without_entries_are_counted_once_too(store: HistoryStore, place: Place) -> None:
    batch = snapshots_batch(await store.cursor("main"), [snapshot(NOW, "100")])
    await store.write(batch)

    with pytest.raises(HistoryDiffers):
        await store.write(batch)

    assert await place.ask("SELECT count FROM pnl_1m") == [(1,)]


async def test_entries_out_of_order_are_refused(store: HistoryStore, place: Place, tmp_path: Path) -> None:
    with await record(tmp_path, deliveries(1, 2, 3)) as reader:
        first = batch_of(reader, until=1)
        third = batch_of(reader, batch_of(reader, until=2).after)

        with pytest.raises(HistoryDiffers):
            await store.write(third)
        await store.write(first)
        with pytest.raises(HistoryDiffers):
            await store.write(third)

    assert await place.ask("SELECT seq FROM journal") == [(1,)]


async def test_the_past_of_another_journal_is_refused(store: HistoryStore, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        await record(tmp_path, deliveries(1, 2)) as mine,
        await record(tmp_path / "other", deliveries(3, 4, 5)) as other,
    ):
        await write_entries(store, mine)

        with pytest.raises(HistoryDiffers):
            await store.write(batch_of(other, batch_of(other, until=2).after))


async def test_only_one_of_two_who_write_at_once_moves_the_cursor(place: Place, tmp_path: Path) -> None:
    one, other = place.store(), place.store()
    await one.open()
    await other.open()
    with await record(tmp_path, deliveries(1, 2)) as reader:
        await write_entries(one, reader, until=1)
        with pytest.raises(HistoryDiffers):
            await other.write(batch_of(reader))
        await write_entries(other, reader)

    assert [row.seq for _, row in await entries_in(one)] == [1, 2]
    await one.close()
    await other.close()


async def test_a_store_that_is_closed_can_be_opened_again(store: HistoryStore) -> None:
    await write_snapshots(store, snapshot(NOW, "100"))
    await store.close()
    with pytest.raises(HistoryUnavailable):
        await store.cursor("main")

    await store.open()

    assert (await store.cursor("main")).snapshot_ms == NOW


# -- the copy of a journal ---------------------------------------------------------------------------------------------


async def test_the_copy_of_a_journal_is_the_journal(store: HistoryStore, tmp_path: Path) -> None:
    positions = [StreamPosition("nats:FILLS", "2026-11-22", 7), StreamPosition("venue", "", 2**62)]
    state = KeptState(2, "v1", bytes(range(256)))
    with await record(tmp_path, [*deliveries(1, 2), delivery(FundingPayment("f", "USDT", D("-0.10"), 5))]) as reader:
        await store.write(batch_of(reader)._replace(positions=positions, state=state))
        replica = await store.replica("main")

        assert replica is not None
        assert (replica.epoch, replica.seq, replica.hash) == reader.head()
        assert (replica.epochs, replica.state) == (reader.epochs(), state)
        assert sorted(replica.positions) == positions
        assert [row for _, row in await entries_in(store)] == reader.rows(after=0, until=9)
        assert (await verify(store)).seq == 3


async def test_what_was_seen_and_folded_later_replaces_what_was_known(store: HistoryStore, tmp_path: Path) -> None:
    with await record(tmp_path, deliveries(1)) as reader:
        batch = batch_of(reader)._replace(
            positions=[StreamPosition("a", "x", 1), StreamPosition("b", "x", 1)], state=KeptState(1, "v1", b"old")
        )
        await store.write(batch)
        later = Batch("main", batch.after, batch.after, positions=[StreamPosition("a", "y", 2)],
                      state=KeptState(1, "v2", b"new"))  # fmt: skip
        await store.write(later)
        await store.write(later)  # nothing in it counts twice

    replica = await store.replica("main")
    assert replica is not None
    assert sorted(replica.positions) == [StreamPosition("a", "y", 2), StreamPosition("b", "x", 1)]
    assert replica.state == KeptState(1, "v2", b"new")


async def test_entries_come_in_chunks_between_two_sequences(store: HistoryStore, tmp_path: Path) -> None:
    with await record(tmp_path, deliveries(*range(CHUNK + 20))) as reader:
        await write_entries(store, reader)
        await write_entries(store, reader)
        chunks = [chunk async for chunk in store.entries("main", after=5, until=CHUNK + 10)]

        assert [len(chunk) for chunk in chunks] == [CHUNK, 5]
        assert [row for chunk in chunks for _, row in chunk][:3] == reader.rows(after=5, until=8)
        assert await entries_in(store, after=CHUNK + 20) == []


@pytest.mark.parametrize("is_known", [False, True])
async def test_texts_are_kept_whatever_they_hold(
    store: HistoryStore, place: Place, tmp_path: Path, is_known: bool
) -> None:
    """Also where entries are copied in bulk, in lines of tabs and backslashes, and where they were there before."""
    text = 'a\tb\nc\rd\\e "f" \\N \\. é €'
    told = fill(text, at_ms=-5)._replace(order_id="\\N", fee_asset=None, maker=True, realized_pnl=D("-1E-7"))
    empty = fill("", at_ms=10**15)._replace(order_id="", quantity=D("1E+3"), fee=D("0.50"), fee_asset="\t")
    with await record(tmp_path, [delivery(told, source=text), delivery(empty, source="")]) as reader:
        batch = batch_of(reader)
        await store.write(batch)
        if is_known:
            await store.forget("main")
            await store.write(batch._replace(before=await store.cursor("main")))

        assert [row for _, row in await entries_in(store)] == reader.rows(after=0, until=2)
        assert await place.ask(
            "SELECT id, order_id, fee_currency, maker, realized_pnl, quantity, source FROM fills ORDER BY seq"
        ) == [
            (text, "\\N", None, 1, "-0.0000001", to_text(told.quantity), text),
            ("", "", "\t", None, None, "1000", ""),
        ]  # fmt: skip
    await verify(store)


@pytest.mark.parametrize("at_ms", [-62_135_596_800_001, -1, 0, 253_402_300_800_000, NOW + 86_399_999])
async def test_when_an_entry_was_recorded_is_kept_whatever_the_clock_said(
    store: HistoryStore, tmp_path: Path, at_ms: int
) -> None:
    with await record(tmp_path, deliveries(1, 2), at_ms=at_ms) as reader:
        await write_entries(store, reader)

        assert [row for _, row in await entries_in(store)] == reader.rows(after=0, until=2)
    await verify(store)


async def test_a_fill_that_is_completed_replaces_its_record(store: HistoryStore, place: Place, tmp_path: Path) -> None:
    """Whether both are written at once, or one after the other."""
    bot = [delivery(fill(trade_id)) for trade_id in ("1", "2")]
    completed = delivery(fill("1")._replace(fee=D("0.5"), fee_asset="USDT", order_id="7"))
    with await record(tmp_path, bot) as reader:
        await write_entries(store, reader, until=1)
    with await record(tmp_path, [completed, completed, *deliveries(3)]) as reader:
        await write_entries(store, reader)
        later = await entries_in(store)
        await store.forget("main")
        await write_entries(store, reader)

        assert await entries_in(store) == later
    assert await place.ask("SELECT id, order_id, fee, seq FROM fills ORDER BY id") == [
        ("1", "7", "0.5", 3), ("2", None, None, 2), ("3", None, None, 4),
    ]  # fmt: skip


def put_back(folder: Path, archive: Path) -> JournalReader:
    """Restore a backup over the journal of account main."""
    for path in folder.glob("main.journal*"):
        path.unlink()
    restore(archive, folder, clock=lambda: NOW)
    return JournalReader(journal_path(folder, "main"))


async def test_a_journal_that_was_put_back_is_written_anew(store: HistoryStore, place: Place, tmp_path: Path) -> None:
    alarm = Alert("stale", "STREAM_STALE", None, "WARNING", "FIRING", "silent", 5, 5)
    with await record(tmp_path, deliveries(1, 2)) as reader:
        backup({"main": reader.path}, tmp_path / "backup.tar", clock=lambda: NOW)
    with await record(tmp_path, [*deliveries(3, 4, 5), delivery(alarm)]) as reader:
        await store.write(batch_of(reader)._replace(positions=[StreamPosition("a", "x", 1)]))
    await write_snapshots(store, snapshot(NOW, "100"))
    with put_back(tmp_path, tmp_path / "backup.tar"):
        pass
    with await record(tmp_path, deliveries(3, 6)) as reader:
        await store.forget("main")
        forgotten = await store.cursor("main")
        await store.write(batch_of(reader, forgotten))

        assert forgotten == BEGINNING._replace(snapshot_ms=NOW)
        assert await place.ask("SELECT id FROM fills ORDER BY seq") == [("1",), ("2",), ("3",), ("6",)]
        assert await place.ask("SELECT id FROM alerts") == []
        assert await place.ask("SELECT timestamp FROM pnl_snapshots") == [(NOW,)]
        assert [row for _, row in await entries_in(store)] == reader.rows(after=0, until=9)
        replica = await store.replica("main")
        assert replica is not None
        assert (replica.epochs, replica.positions) == (reader.epochs(), [])
        assert (await verify(store)).seq == 4


async def test_a_journal_that_was_put_back_often_is_still_one_chain(store: HistoryStore, tmp_path: Path) -> None:
    """Its epochs are numbered on from those of the backup: a younger one may have a lower number, or the same."""
    archives = [tmp_path / f"{name}.tar" for name in ("first", "second")]

    async def goes_on(*ids: int) -> None:
        with await record(tmp_path, deliveries(*ids)) as reader:
            await store.forget("main")
            await write_entries(store, reader)
            assert [row for _, row in await entries_in(store)] == reader.rows(after=0, until=99)
            assert (await verify(store)).seq == reader.last_seq

    await goes_on(1, 2)
    backup({"main": journal_path(tmp_path, "main")}, archives[0], clock=lambda: NOW)
    await goes_on(3)
    put_back(tmp_path, archives[0]).close()  # epoch 2 begins with entry 3
    await goes_on(4, 5)
    backup({"main": journal_path(tmp_path, "main")}, archives[1], clock=lambda: NOW)
    put_back(tmp_path, archives[1]).close()  # epoch 3 begins with entry 5
    await goes_on(6, 7)
    put_back(tmp_path, archives[0]).close()  # epoch 2 begins with entry 3, once more
    await goes_on(8)
    await goes_on(9, 10, 11)


async def test_a_journal_is_restored_from_the_copy(store: HistoryStore, tmp_path: Path) -> None:
    positions = [StreamPosition("nats:FILLS", "c", 7)]
    state = KeptState(1, "v1", b"{}")
    with await record(tmp_path, deliveries(1, 2)) as reader:
        await store.write(batch_of(reader)._replace(positions=positions, state=state))
        replica = await restore_journal(
            store, tmp_path / "new", "main", clock=lambda: NOW, progress=lambda done, whole: None
        )

        assert replica is not None
        with JournalReader(journal_path(tmp_path / "new", "main")) as restored:
            assert restored.rows(after=0, until=9) == reader.rows(after=0, until=9)
            assert restored.verify() == reader.verify()
            assert list(restored.positions().values()) == positions
            assert restored.epoch > 1
            assert restored.newest_state(2) == state


async def test_forgetting_one_account_leaves_the_others(store: HistoryStore, place: Place, tmp_path: Path) -> None:
    with await record(tmp_path, deliveries(1)) as reader:
        for account in ("main", "alt"):
            await store.cursor(account)
            await store.write(batch_of(reader)._replace(account=account))

    await store.forget("main")

    assert await place.ask("SELECT account FROM fills") == [("alt",)]
    assert (await store.cursor("alt")).seq == 1


@settings(
    max_examples=10, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(some=st.lists(events, max_size=30))
async def test_whatever_a_journal_holds_can_be_written_and_comes_back(
    store: HistoryStore, tmp_path_factory: pytest.TempPathFactory, some: list[Event]
) -> None:
    # A report writes its times as dates, and its times here are of any millennium.
    some = [fill(), *(event for event in some if not isinstance(event, Reconciliation))]
    with await record(tmp_path_factory.mktemp("journal"), [delivery(event) for event in some]) as reader:
        await store.forget("main")
        await write_entries(store, reader)

        assert [row for _, row in await entries_in(store)] == reader.rows(after=0, until=99)


# -- the tables --------------------------------------------------------------------------------------------------------


async def test_a_fill_is_a_row_as_it_stands(store: HistoryStore, place: Place, tmp_path: Path) -> None:
    known = fill("77", symbol="1000SHIBUSDT", price="0.00001234", at_ms=1_000)._replace(
        quantity=D("98765432109876543210.00000001"), side="SELL", position_side="SHORT"
    )
    complete = known._replace(
        fee=D("-0.00000001"), fee_asset="BNB", realized_pnl=D("12.50"), order_id="o-1", maker=True
    )
    with await record(tmp_path, [delivery(known), delivery(fill("x")), delivery(complete, source="venue")]) as reader:
        await write_entries(store, reader, until=1)
        await write_entries(store, reader)

    columns = (
        "account, symbol, id, side, quantity, price, fee, fee_currency, position_side, order_id, maker, realized_pnl, "
        "timestamp, source, seq, recorded_at, is_counterpart, trade_number"
    )
    assert await place.ask(f"SELECT {columns} FROM fills ORDER BY symbol") == [
        ("main", "1000SHIBUSDT", "77", "SELL", "98765432109876543210.00000001", "0.00001234", "-0.00000001", "BNB",
         "SHORT", "o-1", 1, "12.5", 1_000, "venue", 3, NOW, 0, 77),
        ("main", "BTCUSDT", "x", "BUY", "1", "100", None, None, "BOTH", None, None, None, 1_000, "nats:FILLS", 2, NOW,
         0, -1),
    ]  # fmt: skip


async def test_an_alert_is_one_row_that_resolves(store: HistoryStore, place: Place, tmp_path: Path) -> None:
    firing = Alert("id-1", "BALANCE_DRIFT", "USDT", "CRITICAL", "FIRING", "off by 0.10", 5_000, 5_000, D("0.10"),
                   D("1E-5"), "UNEXPLAINED")  # fmt: skip
    resolved = firing._replace(state="RESOLVED", message="even", value=D(0), at_ms=9_000, revision=1)
    with await record(tmp_path, [delivery(firing), delivery(resolved)]) as reader:
        await write_entries(store, reader, until=1)
        before = await place.ask("SELECT state, message, value, timestamp, resolved_at FROM alerts")
        await write_entries(store, reader)

    assert before == [("FIRING", "off by 0.10", "0.1", 5_000, None)]
    assert await place.ask(
        "SELECT account, id, type, severity, state, symbol, message, value, threshold, cause, timestamp, resolved_at,"
        " seq FROM alerts"
    ) == [("main", "id-1", "BALANCE_DRIFT", "CRITICAL", "RESOLVED", "USDT", "even", "0", "0.00001", "UNEXPLAINED",
           5_000, 9_000, 2)]  # fmt: skip


async def test_a_report_is_a_row_with_what_was_found(store: HistoryStore, place: Place, tmp_path: Path) -> None:
    drift = Drift("wallet", "USDT", D("100.0"), D("99.9"), 4_000, ("FUNDING",), D("0.1"), False)
    report = Reconciliation("r-1", 5_000, "round", (drift,), (Finding("funding:1", "FUNDING"),), 1, None, ("adj-0",))
    with await record(tmp_path, [delivery(report)]) as reader:
        await write_entries(store, reader)

    drifts = (
        '[{"kind":"wallet","name":"USDT","stated":"100","held":"99.9","difference":"0.1",'
        '"stated_at":"1970-01-01T00:00:04.000Z","causes":["FUNDING"],"explained":"0.1","is_tolerated":false}]'
    )
    assert await place.ask(
        "SELECT account, id, timestamp, trigger, drifts, findings, finding_count, correction, taken_back, seq"
        " FROM reconciliations"
    ) == [("main", "r-1", 5_000, "round", drifts, '[{"event":"funding:1","cause":"FUNDING"}]', 1, None, '["adj-0"]',
           1)]  # fmt: skip


async def test_sums_of_many_fills_are_exact_to_the_last_digit(
    store: HistoryStore, place: Place, tmp_path: Path
) -> None:
    rng = random.Random(7)
    fills = [
        fill(str(i))._replace(
            quantity=abs(random_number(rng)) + D("1E-8"), price=D(rng.choice(["0.00000001", "99999999999.99999999"]))
        )
        for i in range(500)
    ]
    with await record(tmp_path, [delivery(each) for each in fills]) as reader:
        await write_entries(store, reader)

    rows = await place.ask("SELECT quantity, price FROM fills ORDER BY trade_number")
    assert [(D(quantity), D(price)) for quantity, price in rows] == [(each.quantity, each.price) for each in fills]
    turnover = sum((each.quantity * each.price for each in fills), D(0))
    assert len(turnover.as_tuple().digits) > 50
    assert sum((D(quantity) * D(price) for quantity, price in rows), D(0)) == turnover
    if place.computes:
        [(summed,)] = await place.ask("SELECT sum(quantity * price) FROM fills")
        assert D(summed) == turnover


async def test_a_snapshot_is_a_row(store: HistoryStore, place: Place) -> None:
    whole = snapshot(NOW + 1, "100.50", "-0.00000001")._replace(win_rate=D("66.6"), total_trades=3, seq=9)
    await write_snapshots(store, whole, snapshot(NOW + 1, None, "1E-8", "BTCUSDT:LONG"))

    columns = (
        "timestamp, account, symbol, equity, realized_pnl, unrealized_pnl, total_pnl, total_fees, funding, other, "
        "net_pnl, win_rate, total_trades, seq"
    )
    loss, gain = "-0.00000001", "0.00000001"
    assert await place.ask(f"SELECT {columns} FROM pnl_snapshots ORDER BY id") == [
        (NOW + 1, "main", None, "100.5", loss, "0", loss, "0", "0", "0", loss, "66.6", 3, 9),
        (NOW + 1, "main", "BTCUSDT:LONG", None, gain, "0", gain, "0", "0", "0", gain, None, 0, 1),
    ]
    ids = await place.ask("SELECT id FROM pnl_snapshots ORDER BY id")
    assert len(set(ids)) == 2


# -- what is exported --------------------------------------------------------------------------------------------------


async def test_snapshots_come_in_the_order_of_time_and_in_chunks(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{type(store).__module__}.MANY", 2)
    given = [snapshot(NOW + at_ms, str(at_ms)) for at_ms in (0, 5, 5, 5, 7)]
    await write_snapshots(store, *given, snapshot(NOW + 5, "9", symbol="BTCUSDT"))
    await write_snapshots(store, early := snapshot(NOW + 1, "1.10", "1E-8")._replace(win_rate=D("66.6"), seq=9))

    chunks = [chunk async for chunk in store.snapshots(Span("main", None, NOW, NOW + 7))]

    assert chunks == [[given[0], early], given[1:3], [given[3]]]
    [[position]] = [chunk async for chunk in store.snapshots(Span("main", "BTCUSDT", 0, 2**42))]
    assert (position.symbol, position.figures.equity) == ("BTCUSDT", D(9))
    assert [chunk async for chunk in store.snapshots(Span("alt", None, 0, 2**42))] == []


async def test_alerts_come_in_the_order_in_which_they_fired_and_in_chunks(
    store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{type(store).__module__}.MANY", 2)
    fired = [
        Alert(f"id-{number}", "BALANCE_DRIFT", symbol, "WARNING", "FIRING", "off", at_ms, at_ms, D("0.10"), D("1E-8"))
        for number, (symbol, at_ms) in enumerate([("USDT", 9_000), ("USDT", 5_000), (None, 5_000)])
    ]
    with await record(tmp_path, [delivery(alert) for alert in fired]) as reader:
        batch = batch_of(reader)
        await store.write(batch)

    last, first, second = batch.alerts
    assert [chunk async for chunk in store.alerts(Span("main", None, 0, 2**42))] == [[first, second], [last]]
    assert [chunk async for chunk in store.alerts(Span("main", "USDT", 5_000, 9_000))] == [[first]]


async def test_accounts_are_those_of_which_there_is_anything(store: HistoryStore) -> None:
    await store.cursor("alt")

    assert await store.accounts() == ["alt", "main"]


async def test_no_two_restored_journals_have_one_epoch(store: HistoryStore, tmp_path: Path) -> None:
    """Also where the first never came to say in the history that it had begun: clients and Redis saw it."""
    for name in ("before", "first", "second"):
        (tmp_path / name).mkdir()
    with await record(tmp_path / "before", deliveries(1, 2, 3)) as reader:
        await write_entries(store, reader)

    epochs = []
    for number, name in enumerate(("first", "second"), start=1):
        now_ms = NOW + number * 1_000
        await restore_journal(store, tmp_path / name, "main", clock=lambda: now_ms, progress=lambda *done: None)  # noqa: B023
        with JournalReader(journal_path(tmp_path / name, "main")) as restored:
            epochs.append(restored.epoch)

    assert 1 < epochs[0] < epochs[1]
