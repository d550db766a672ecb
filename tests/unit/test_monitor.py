"""Monitor: records, applies, publishes; on the real journal, with time and deliveries as arguments."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from account_monitor.errors import ConfigurationError, JournalClosing, RecordingStopped, StartAborted
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.ledger.alerts import Alert, Silence
from account_monitor.ledger.events import Anchor, Fill, FundingPayment, MarkPrice, Marks, Opening, Transfer
from account_monitor.monitor import monitor as monitor_module
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import OPENING_SECONDS, Monitor
from account_monitor.monitor.ports import (
    CONFLICTING_FILL,
    MALFORMED_EVENT,
    MONITOR,
    VENUE_STATEMENT,
    DeadLetter,
    Delivery,
    StreamPosition,
)
from account_monitor.monitor.views import Change, View
from account_monitor.stores import checkpoints
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_reader import open_reader
from tests.monitor_by_hand import NOW_MS, Clock, fill, heard, opened

D = Decimal
OPENING = Opening("config", 0, (("USDT", D(1000)),))
ALERT = Alert("a", "STREAM_STALE", None, "WARNING", "FIRING", "silent", NOW_MS, NOW_MS)


def parked(reason: str) -> Delivery:
    return Delivery("FILLS", "trading.fills", b"garbage", None, 1, MALFORMED_EVENT, reason)


def dead_letters(data_dir: Path) -> list[DeadLetter]:
    reader = open_reader(data_dir / "main.journal")
    try:
        return list(reader.dead_letters())
    finally:
        reader.close()


async def test_a_fill_is_in_the_view_once_it_is_in_the_journal(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.put(heard(fill("1", quantity="2", price="100")))

        await monitor.step()

        assert monitor.view.seq == monitor.journal.last_seq == 1
        assert monitor.view.positions["BTCUSDT"].quantity == D(2)


async def test_views_are_never_changed_only_replaced(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.put(heard(fill("1")))
        await monitor.step()
        before = monitor.view

        monitor.inbox.put(heard(fill("2")))
        await monitor.step()

        assert (before.seq, before.positions["BTCUSDT"].quantity) == (1, D(1))
        assert (monitor.view.seq, monitor.view.positions["BTCUSDT"].quantity) == (2, D(2))


async def test_a_view_shares_the_positions_that_did_not_change(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.put(heard(fill("1")))
        monitor.inbox.put(heard(fill("1")._replace(symbol="ETHUSDT")))
        await monitor.step()
        before = monitor.view

        monitor.inbox.put(heard(fill("2")))
        await monitor.step()

        assert monitor.view.positions["ETHUSDT"] is before.positions["ETHUSDT"]


async def test_a_restart_continues_with_the_same_numbers_and_the_next_seq(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        for number in range(1, 4):
            monitor.inbox.put(heard(fill(str(number), fee=D("0.1"))))
        await monitor.step()
        before = monitor.view

    async with opened(tmp_path, Clock()) as monitor:
        assert monitor.view == before
        monitor.inbox.put(heard(fill("4")))
        await monitor.step()
        assert monitor.view.seq == before.seq + 1


async def test_a_restart_from_a_checkpoint_equals_a_restart_from_the_beginning(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        for number in range(1, 200):
            side = "SELL" if number % 3 == 0 else "BUY"
            monitor.inbox.put(heard(fill(str(number), side, quantity=f"0.{number}", price=f"{100 + number}")))
        await monitor.step()
        monitor.stop()
        await monitor.run()  # saves a checkpoint at its end
        before = monitor.view

    async with opened(tmp_path, Clock()) as monitor:
        assert list(monitor.journal.load_checkpoints("another ledger")) == []
        assert monitor.view == before


async def test_what_is_heard_again_counts_once(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        changes: list[Change] = []
        monitor.observers.append(lambda _view, change: changes.append(change))
        for _ in range(3):
            monitor.inbox.put(heard(fill("1")))
            await monitor.step()

        assert monitor.view.positions["BTCUSDT"].quantity == D(1)
        assert [len(c.recorded.duplicates) for c in changes if c.recorded] == [0, 1, 1]


async def test_a_contradicting_fill_is_parked_and_the_first_one_stands(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        changes: list[Change] = []
        monitor.observers.append(lambda _view, change: changes.append(change))
        monitor.inbox.put(heard(fill("1", price="100")))
        monitor.inbox.put(heard(fill("1", price="101")))

        await monitor.step()

        recorded = changes[0].recorded
        assert recorded is not None
        assert [conflict.fields for conflict in recorded.conflicts] == [("price",)]
        assert monitor.view.positions["BTCUSDT"].cost == D(100)
        (letter,) = dead_letters(tmp_path)
        assert (letter.rejection, "101" in letter.reason) == (CONFLICTING_FILL, True)


async def test_malformed_messages_do_not_stop_the_good_ones_between(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.put(parked('price was "NaN"'))
        monitor.inbox.put(heard(fill("1"), 2))
        monitor.inbox.put(parked('side was "HOLD"')._replace(sequence=3))

        await monitor.step()

        assert monitor.view.positions["BTCUSDT"].quantity == D(1)
        assert len(dead_letters(tmp_path)) == 2


async def test_an_opening_is_journaled_once(tmp_path: Path) -> None:
    position = Anchor("BTCUSDT", "BOTH", D(2), D(200))
    opening = Opening("config", 0, (("USDT", D(1000)),), (position,))
    for _ in range(2):
        async with opened(tmp_path, Clock(), opening) as monitor:
            assert monitor.view.seq == 1
            assert monitor.view.balances["USDT"].total == D(1000)
            assert monitor.view.positions["BTCUSDT"].entry_price == D(100)


async def test_an_edited_opening_is_refused_naming_both(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock(), Opening("config", 0, (("USDT", D(1000)),))):
        pass

    with pytest.raises(ConfigurationError, match=r"1000 USDT.*2000 USDT"):
        async with opened(tmp_path, Clock(), Opening("config", 0, (("USDT", D(2000)),))):
            pass


async def test_an_opening_that_comes_after_fills_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.put(heard(fill("1")))
        await monitor.step()

    with pytest.raises(ConfigurationError, match="already holds 1 entries"):
        async with opened(tmp_path, Clock(), Opening("config", 0, None)):
            pass


async def test_the_place_in_the_stream_is_recorded_with_the_fills(tmp_path: Path) -> None:
    place = StreamPosition("FILLS", "then", 7)
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.put(heard(fill("1"), 7))
        monitor.inbox.see(place)
        await monitor.step()

    async with opened(tmp_path, Clock()) as monitor:
        assert monitor.journal.positions == {"FILLS": place}


async def test_an_idle_account_records_progress_once_a_second(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as monitor:
        recorded = []
        for second in range(3):
            for sequence in (1, 2):
                monitor.inbox.see(StreamPosition("FILLS", "then", 10 * second + sequence))
                await monitor.step()
                recorded.append(monitor.journal.positions["FILLS"].sequence)
            clock.ms += 1000

        assert recorded == [1, 1, 11, 11, 21, 21]


async def test_a_mark_price_revalues_and_is_journaled_once_per_interval(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as monitor:
        monitor.inbox.put(heard(fill("1", price="100")))
        await monitor.step()
        for price in ("110", "120", "130"):
            monitor.mark(MarkPrice("BTCUSDT", D(price), clock.ms))
            clock.ms += 500
            await monitor.step()
        clock.ms += 1000
        await monitor.step()

        assert monitor.view.positions["BTCUSDT"].unrealized_pnl == D(30)
        journaled = [entry.event for entry in monitor.journal.entries() if isinstance(entry.event, Marks)]
        assert [marks.prices[0].price for marks in journaled] == [D(110), D(130)]


async def test_an_account_that_does_not_change_writes_nothing(tmp_path: Path) -> None:
    """Whatever the marks of others do, and those of an asset of which there is nothing."""
    clock = Clock()
    opening = Opening("o", 0, (("USDT", D(2_000)), ("BNB", D(0))))
    async with opened(tmp_path, clock, opening) as monitor:
        monitor.mark(MarkPrice("BNBUSDT", D(600), clock.ms))
        for number in range(20):
            clock.ms += 1_000
            monitor.mark(MarkPrice("ETHUSDT", D(3_000 + number), clock.ms))
            monitor.mark(MarkPrice("BNBUSDT", D(600 + number), clock.ms))
            await monitor.step()

        assert monitor.view.pnl.equity == D(2_000)
        assert monitor.view.seq <= 2  # the opening, and what it was worth


async def test_marks_of_what_is_not_held_are_not_journaled(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as monitor:
        monitor.mark(MarkPrice("ETHUSDT", D(3000), clock.ms))
        for _ in range(3):
            clock.ms += 1000
            await monitor.step()

        assert monitor.journal.last_seq == 0


def observations(monitor: Monitor) -> list[tuple[Decimal, ...]]:
    """Return the prices of each set of marks that the journal holds."""
    marks = (entry.event for entry in monitor.journal.entries() if isinstance(entry.event, Marks))
    return [tuple(mark.price for mark in each.prices) for each in marks]


async def test_an_account_that_fills_alone_have_changed_is_observed_once_per_interval(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, OPENING) as monitor:
        for number in range(1, 9):
            monitor.inbox.put(heard(fill(str(number), price=str(100 + number))))
            await monitor.step()
            clock.ms += 250
        for _ in range(10):
            clock.ms += 1000
            await monitor.step()

        assert observations(monitor) == [(), ()]  # in two seconds of fills; nothing while nothing changes
        assert monitor.view.standing == monitor.past.believed(clock.ms).standing


async def test_before_a_transfer_the_journal_holds_the_marks_of_now(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, OPENING) as monitor:
        monitor.inbox.put(heard(fill("1", quantity="1", price="100")))
        await monitor.step()
        for price in ("110", "105"):
            monitor.mark(MarkPrice("BTCUSDT", D(price), clock.ms))
            clock.ms += 60
            await monitor.step()
        before = monitor.view.standing
        monitor.inbox.put(heard(Transfer("t", "USDT", D(500), clock.ms)))
        await monitor.step()

        assert [type(entry.event) for entry in monitor.journal.entries()][-2:] == [Marks, Transfer]
        assert observations(monitor)[-1] == (D(105),)
        assert monitor.view.standing.drawdown_pct == before.drawdown_pct
        assert monitor.view.standing.return_pct == before.return_pct


async def test_a_deposit_of_another_asset_is_priced_although_nothing_of_it_was_held(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, OPENING) as monitor:
        monitor.mark(MarkPrice("BNBUSDT", D(600), clock.ms))
        await monitor.step()
        monitor.inbox.put(heard(Transfer("t", "BNB", D(2), clock.ms)))
        await monitor.step()

        assert observations(monitor) == [(D(600),)]
        assert monitor.view.standing.return_pct == D(0)
        assert monitor.view.standing.peak_equity == D(2200)


async def test_before_an_alert_of_risk_the_journal_holds_what_it_tells_of(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, OPENING) as monitor:
        monitor.inbox.put(heard(fill("1", quantity="1", price="100")))
        await monitor.step()
        monitor.mark(MarkPrice("BTCUSDT", D(40), clock.ms))
        clock.ms += 60
        await monitor.step()
        seen = monitor.view.standing
        monitor.inbox.put(Delivery(MONITOR, "alert", b"", ALERT._replace(id="b", type="LOW_BALANCE")))
        await monitor.step()
        monitor.inbox.put(Delivery(MONITOR, "alert", b"", ALERT))
        await monitor.step()

        assert [type(entry.event) for entry in monitor.journal.entries()][-3:] == [Marks, Alert, Alert]
        assert monitor.past.believed(clock.ms).standing == seen


async def test_the_loss_of_yesterday_is_over_when_a_day_begins_although_nothing_happens(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, OPENING) as monitor:
        monitor.inbox.put(heard(fill("1", quantity="1", price="100")))
        monitor.inbox.put(heard(fill("2", "SELL", quantity="1", price="70")))
        await monitor.step()
        clock.ms += 1000
        await monitor.step()
        assert monitor.view.standing.daily_loss == D(30)

        for _ in range(3):
            clock.ms += 86_400_000
            await monitor.step()
        assert monitor.view.standing.daily_loss == D(0)
        assert observations(monitor) == [(), ()]  # of an idle day there is nothing to say


async def test_a_restart_goes_on_with_the_same_performance(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, OPENING) as monitor:
        monitor.inbox.put(heard(fill("1", quantity="1", price="100")))
        await monitor.step()
        for price in ("150", "115"):
            monitor.mark(MarkPrice("BTCUSDT", D(price), clock.ms))
            clock.ms += 1000
            await monitor.step()
            await monitor.step()
        await monitor._save_checkpoint()
        before = monitor.view.standing

    async with opened(tmp_path, clock, OPENING) as monitor:
        await monitor.step()
        assert monitor.view.standing == before
        assert before.drawdown_pct == D("-3.3333333333")


async def test_a_fee_in_another_asset_is_valued_at_its_own_time(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as monitor:
        monitor.mark(MarkPrice("BNBUSDT", D(600), clock.ms))
        await monitor.step()
        monitor.inbox.put(heard(fill("1", fee=D("0.01"), fee_asset="BNB")))
        await monitor.step()
        clock.ms += 1000
        monitor.mark(MarkPrice("BNBUSDT", D(900), clock.ms))
        await monitor.step()

        assert monitor.view.pnl.total_fees == D(6)

    async with opened(tmp_path, clock) as monitor:  # and the journal knows it, although it holds no mark of BNB
        assert monitor.view.pnl.total_fees == D(6)


async def test_a_fee_that_nobody_can_price_is_named_and_not_zero(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.put(heard(fill("1", fee=D("0.01"), fee_asset="BNB")))
        await monitor.step()

        assert monitor.view.pnl.total_fees is None
        assert monitor.view.unpriced == ("BNB",)


async def test_a_late_fill_restates_and_the_view_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        views: list[View] = []
        monitor.observers.append(lambda view, _change: views.append(view))
        for event in (fill("1", "BUY", price="100"), fill("3", "SELL", price="130"), fill("2", "BUY", price="120")):
            monitor.inbox.put(heard(event))
            await monitor.step()

        realized = [view.positions["BTCUSDT"].realized_pnl for view in views]
        assert realized == [D(0), D(30), D(20)]  # sold 1 of (1 at 100, 1 at 120): entry 110


async def test_deliveries_are_acknowledged_only_after_the_commit(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        committed: list[int] = []
        delivery = heard(fill("1"))._replace(acknowledge=lambda: committed.append(monitor.journal.last_seq))
        monitor.inbox.put(delivery)

        await monitor.step()

        assert committed == [1]


async def test_stopping_drains_the_inbox_first(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        for number in range(2_500):
            monitor.inbox.put(heard(fill(str(number + 1))))
        monitor.stop()

        await monitor.run()

        assert monitor.view.seq == 2_500


async def test_a_copy_that_states_what_the_record_lacks_completes_it(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        for event in (fill("1"), fill("1", fee=D("0.5")), fill("1")):
            monitor.inbox.put(heard(event))
        await monitor.step()

        position = monitor.view.positions["BTCUSDT"]
        assert (position.fills_without_fee, position.total_fees, position.fill_count) == (0, D("0.5"), 1)
        assert monitor.view.balances["USDT"].total is None
        assert dead_letters(tmp_path) == []


async def test_money_in_another_asset_is_valued_when_its_price_comes_and_after_a_restart(tmp_path: Path) -> None:
    opening = Opening("config", 0, (("USDT", D(1000)), ("BNB", D(10))))
    clock = Clock()
    async with opened(tmp_path, clock, opening) as monitor:
        assert (monitor.view.pnl.equity, monitor.view.unpriced) == (None, ("BNB",))
        monitor.mark(MarkPrice("BNBUSDT", D(600), clock.ms))
        for _ in range(2):
            await monitor.step()
            clock.ms += 1000
        assert monitor.view.pnl.equity == D(7000)
        before = monitor.view

    async with opened(tmp_path, clock, opening) as monitor:
        assert monitor.view == before


async def test_an_older_price_does_not_replace_a_younger_one_of_the_same_moment(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as monitor:
        monitor.inbox.put(heard(fill("1")))
        await monitor.step()
        monitor.mark(MarkPrice("BTCUSDT", D(120), clock.ms))
        monitor.mark(MarkPrice("BTCUSDT", D(110), clock.ms - 1))
        clock.ms += 1000
        await monitor.step()

        assert monitor.view.positions["BTCUSDT"].price is not None
        assert monitor.view.positions["BTCUSDT"].price.price == D(120)


async def test_an_old_fill_does_not_get_todays_rate(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as monitor:
        monitor.mark(MarkPrice("BNBUSDT", D(600), clock.ms))
        await monitor.step()
        old = fill("1", fee=D("0.01"), fee_asset="BNB")._replace(at_ms=clock.ms - 86_400_000)
        monitor.inbox.put(heard(old))
        await monitor.step()

        (entry,) = (e for e in monitor.journal.entries() if isinstance(e.event, Fill))
        assert isinstance(entry.event, Fill)
        assert entry.event.fee_rate is None


async def test_a_very_late_fill_is_restated_in_a_thread_to_the_same_numbers(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        for number in range(2, 1_000):
            monitor.inbox.put(heard(fill(str(number), "SELL" if number % 2 else "BUY", price=str(100 + number))))
        await monitor.step()
        monitor.inbox.put(heard(fill("1", "BUY", price="50")))
        await monitor.step()
        before = monitor.view

    async with opened(tmp_path, Clock()) as monitor:
        assert monitor.view == before


async def test_stopping_while_the_journal_is_folded_ends_the_start(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        for number in range(2_500):
            monitor.inbox.put(heard(fill(str(number + 1))))
        while len(monitor.inbox):
            await monitor.step()

    journal = Journal.open(tmp_path, "main", clock=Clock())
    monitor = Monitor(
        "main", journal, JournalCheckpoints(journal, USD_ASSETS), Inbox(), clock=Clock(),
        monotonic=Clock().seconds, usd_assets=USD_ASSETS, opening=None, snapshot_seconds=1.0,
    )  # fmt: skip
    monitor.stop()
    with pytest.raises(StartAborted):
        await monitor.start()
    await journal.close()


async def test_a_stop_in_good_order_records_the_prices_that_are_in_use(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as monitor:
        monitor.inbox.put(heard(fill("1", quantity="2", price="100")))
        await monitor.step()
        for price in ("110", "120"):
            monitor.mark(MarkPrice("BTCUSDT", D(price), clock.ms))
            monitor.stop()
        await monitor.run()

        assert [entry.event for entry in monitor.journal.entries()][-1] == Marks(
            clock.ms, (MarkPrice("BTCUSDT", D("120"), clock.ms),)
        )


async def test_a_stop_in_good_order_records_how_far_the_streams_were_seen(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        for sequence in (1, 2):  # within one second: progress alone is recorded once
            monitor.inbox.see(StreamPosition("FILLS", "then", sequence))
            await monitor.step()
        assert monitor.journal.positions["FILLS"].sequence == 1
        monitor.stop()
        await monitor.run()

        assert monitor.journal.positions["FILLS"].sequence == 2


async def test_a_journal_that_is_folded_from_its_beginning_keeps_checkpoints_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        for number in range(1, 200):
            monitor.inbox.put(heard(fill(str(number))))
        await monitor.step()
        before = monitor.view
        fingerprint = checkpoints._fingerprint(USD_ASSETS)
        assert list(monitor.journal.load_checkpoints(fingerprint)) == []

    monkeypatch.setattr(monitor_module, "BATCH", 20)
    monkeypatch.setattr(monitor_module, "FOLDED_CHECKPOINT_EVERY", 60)
    async with opened(tmp_path, Clock()) as monitor:
        assert next(monitor.journal.load_checkpoints(fingerprint))[0] == 180
        assert monitor.view == before


async def test_what_others_tell_of_waits_until_the_exchange_has_said_what_the_account_holds(tmp_path: Path) -> None:
    held = Anchor("BTCUSDT", "BOTH", D(3), D(300), 5, NOW_MS)
    async with opened(tmp_path, Clock(), has_venue=True) as monitor:
        monitor.inbox.put(heard(fill("5")))
        await monitor.step()
        assert monitor.view.seq == 0

        monitor.inbox.put(heard(Opening("adopted", NOW_MS, (), (held,)), source=VENUE_STATEMENT))
        await monitor.step()
        await monitor.step()
        assert monitor.taken_count == 2
        assert monitor.view.positions["BTCUSDT"].quantity == 3  # the fill was in it


async def test_what_others_tell_of_does_not_wait_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, has_venue=True) as monitor:
        monitor.inbox.put(heard(fill("5")))
        clock.ms += int(OPENING_SECONDS * 1000)
        await monitor.step()
        assert monitor.view.positions["BTCUSDT"].quantity == 1


async def test_an_alert_waits_for_no_opening_and_lets_nothing_else_past(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock(), has_venue=True) as monitor:
        monitor.inbox.put(heard(fill("5")))
        monitor.inbox.put(Delivery(MONITOR, "alert", b"", ALERT))
        await monitor.step()
        await monitor.step()

        assert monitor.alerts == [ALERT]
        assert monitor.view.positions == {}


async def test_an_opening_may_be_stated_after_an_alert(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.put(Delivery(MONITOR, "alert", b"", ALERT))
        await monitor.step()

    async with opened(tmp_path, Clock(), Opening("config", 0, (("USDT", D(5)),))) as monitor:
        assert monitor.view.balances["USDT"].total == 5


async def test_what_the_adoption_contains_does_no_harm_although_its_position_does_not_exist(tmp_path: Path) -> None:
    opening = Opening("adopted", NOW_MS, (("USDT", D(100)),))
    async with opened(tmp_path, Clock(), opening, has_venue=True) as monitor:
        payment = FundingPayment("f", "USDT", D(1), NOW_MS - 1, "BTCUSDT")
        monitor.inbox.put(heard(payment, source=VENUE_STATEMENT))
        await monitor.step()

        assert monitor.view.seq == 2
        assert monitor.view.positions == {}


async def test_a_position_that_an_opening_does_not_name_is_shown_as_flat(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, has_venue=True) as monitor:
        clock.ms += int(OPENING_SECONDS * 1000)
        monitor.inbox.put(heard(fill("5")))
        await monitor.step()
        monitor.inbox.put(heard(Opening("adopted", NOW_MS + 1, ()), source=VENUE_STATEMENT))
        await monitor.step()

        assert monitor.view.positions["BTCUSDT"].quantity == 0


ORDER = Silence(NOW_MS, NOW_MS + 1, "STREAM_GAP", None, "ann", "work")


async def test_an_order_is_refused_at_once_by_who_takes_nothing_more(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.inbox.seal()
        with pytest.raises(JournalClosing, match="account main takes nothing more here, and this is not recorded"):
            await asyncio.wait_for(monitor.record(ORDER, source="operator"), 10)

    async with opened(tmp_path, Clock()) as monitor:
        monitor.stop()
        with pytest.raises(JournalClosing):
            await asyncio.wait_for(monitor.record(ORDER, source="operator"), 10)


async def test_an_order_that_came_before_the_stop_is_recorded(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        ordered = asyncio.create_task(monitor.record(ORDER, source="operator"))
        await asyncio.sleep(0)
        monitor.stop()
        await monitor.run()

        assert (await ordered).event == ORDER


async def test_nobody_waits_for_an_order_that_was_not_taken_before_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        running = asyncio.create_task(monitor.run())
        await asyncio.sleep(0)
        ordered = asyncio.create_task(monitor.record(ORDER, source="operator"))
        await asyncio.sleep(0)
        monitor.inbox.shut()
        running.cancel()

        with pytest.raises(JournalClosing, match="look before it is ordered again"):
            await asyncio.wait_for(ordered, 10)
        assert monitor.observers == []


async def test_an_order_is_told_why_nothing_can_be_recorded(tmp_path: Path) -> None:
    async with opened(tmp_path, Clock()) as monitor:
        monitor.failure = "the disk is full"
        with pytest.raises(RecordingStopped, match="the disk is full"):
            await asyncio.wait_for(monitor.record(ORDER, source="operator"), 10)
