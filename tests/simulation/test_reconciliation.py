"""What goes missing is found, named with its true cause and booked as what it is; what nothing explains is corrected,
and taken back once something does. What merely comes at another moment is no drift.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from account_monitor.ledger.events import Adjustment, Fill, FundingPayment, MarkPrice, Reversal, Transfer
from account_monitor.ledger.explanation import residuals
from account_monitor.ledger.reconciliation import Cause, Quarantine, Reconciliation, Subject
from account_monitor.monitor.ports import Delivery
from account_monitor.monitor.reconciler import MAX_CORRECTIONS, Terms
from account_monitor.stores.journal_reader import open_reader
from tests.simulation.desk_in_memory import API_KEY, DeskInMemory
from tests.simulation.test_feed_completeness import asked, order, told_by_nats, trade, unheard
from tests.simulation.virtual_time import run_virtual

D = Decimal
FOUND_SECONDS = 5.0 + 1.0 + 1.0
"""One interval, the confirming second, and what asking takes."""


def run(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtual(scenario)


def reports(desk: DeskInMemory) -> list[Reconciliation]:
    return entries_of(desk, Reconciliation)


def entries_of(desk: DeskInMemory, kind: type[Any]) -> list[Any]:
    with open_reader(desk.folder / "main.journal") as reader:
        return [entry.event for entry in reader.entries() if isinstance(entry.event, kind)]


def causes(desk: DeskInMemory) -> dict[Subject, tuple[Cause, ...]]:
    """Return by subject the causes of its last drift."""
    return {drift.subject: drift.causes for report in reports(desk) for drift in report.drifts}


def found(desk: DeskInMemory) -> list[Cause]:
    return [finding.cause for report in reports(desk) for finding in report.findings]


async def injected(tmp_path: Path, act: Callable[[DeskInMemory], Any], *, seed: int = 1) -> DeskInMemory:
    """Let something happen to a quiet account that holds a position, and return what became of it in time."""
    desk = DeskInMemory(tmp_path, seed=seed)
    async with desk.exchange_running(), desk.monitored():
        await desk.ready()
        desk.monitor.mark(MarkPrice("BNBUSDT", D(600), desk.loop.clock_ms()))
        trade(desk, "BTCUSDT", "BUY", "0.1")
        await asyncio.sleep(12)
        assert reports(desk) == []
        act(desk)
        await asyncio.sleep(FOUND_SECONDS)
        assert desk.difference() == {}
        await asyncio.sleep(30)
        assert desk.difference() == {}
        assert residuals(desk.monitor._account) == {}
        assert not desk.open_alarms & {"BALANCE_DRIFT", "POSITION_DRIFT", "QUARANTINED"}
        assert desk.monitor.adjustments == []
        span = await asyncio.to_thread(desk.monitor.past.explain, None, None)
        assert span.explanation.residual == 0
    return desk


USDT, BTC = Subject("wallet", "USDT"), Subject("position", "BTCUSDT")


# -- what is lost is found, and named ----------------------------------------------------------------------------------


def test_a_fill_that_the_stream_never_delivered(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = await injected(tmp_path, lambda desk: unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.2")))
        assert causes(desk) == {USDT: ("MISSED_FILL",), BTC: ("MISSED_FILL",)}
        assert found(desk) == ["MISSED_FILL"]
        assert desk.raised == {"BALANCE_DRIFT", "POSITION_DRIFT", "STREAM_STALE"}
        (report,) = reports(desk)
        assert all(drift.explained == drift.difference for drift in report.drifts)

    run(scenario())


def test_a_fill_that_is_delivered_twice_is_counted_once_and_no_drift(tmp_path: Path) -> None:
    def act(desk: DeskInMemory) -> None:
        desk.faults.set("duplicate", copies=2)
        trade(desk, "BTCUSDT", "BUY", "0.2")
        desk.faults.clear("duplicate")

    async def scenario() -> None:
        desk = await injected(tmp_path, act)
        assert reports(desk) == []
        assert not desk.raised

    run(scenario())


@pytest.mark.parametrize("client_id", ["web_Xy12", "android_Wr7", "ios_9"])
def test_an_order_by_hand_of_which_the_stream_did_not_tell(tmp_path: Path, client_id: str) -> None:
    def act(desk: DeskInMemory) -> None:
        by_hand = {**order("BTCUSDT", "BUY", "0.2"), "newClientOrderId": client_id}
        unheard(desk, lambda: desk.venue.place_order(desk.account, by_hand))

    async def scenario() -> None:
        desk = await injected(tmp_path, act)
        assert causes(desk) == {USDT: ("FOREIGN_ORDER",), BTC: ("FOREIGN_ORDER",)}
        assert set(found(desk)) == {"FOREIGN_ORDER"}

    run(scenario())


def test_a_liquidation_of_which_the_stream_did_not_tell(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = await injected(tmp_path, lambda desk: unheard(
            desk, lambda: desk.venue.liquidate(desk.account, "BTCUSDT", "BOTH")))  # fmt: skip
        assert causes(desk)[BTC] == ("LIQUIDATION",)
        assert ("main", "LIQUIDATION", "CRITICAL") in desk.alarms.raised
        assert "INSURANCE" in causes(desk)[USDT]

    run(scenario())


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda desk: desk.venue.withdraw(desk.account, "USDT", "70"), Transfer),
        (lambda desk: desk.venue.deposit(desk.account, "USDT", "70"), Transfer),
    ],
)
def test_a_transfer_of_which_the_stream_did_not_tell(tmp_path: Path, act: Callable[[Any], Any], kind: type) -> None:
    async def scenario() -> None:
        desk = await injected(tmp_path, lambda desk: unheard(desk, lambda: act(desk)))
        assert causes(desk) == {USDT: ("TRANSFER",)}
        assert len(entries_of(desk, kind)) == 1

    run(scenario())


def test_funding_of_which_the_stream_did_not_tell(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = await injected(tmp_path, lambda desk: unheard(desk, desk.venue.fund_now))
        assert causes(desk) == {USDT: ("FUNDING",)}
        assert len(entries_of(desk, FundingPayment)) == 1

    run(scenario())


def test_what_happened_while_nothing_was_connected_is_reported_and_no_drift(tmp_path: Path) -> None:
    def act(desk: DeskInMemory) -> None:
        desk.exchange.disconnect(API_KEY, 1006)
        desk.venue.fund_now()
        trade(desk, "BTCUSDT", "SELL", "0.05")

    async def scenario() -> None:
        desk = await injected(tmp_path, act)
        assert sorted(found(desk)) == ["FUNDING", "MISSED_FILL"]
        assert not desk.raised & {"BALANCE_DRIFT", "POSITION_DRIFT"}

    run(scenario())


def test_a_fee_in_another_asset_of_a_fill_of_which_the_stream_did_not_tell(tmp_path: Path) -> None:
    def act(desk: DeskInMemory) -> None:
        desk.account.fee_burn = True
        unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.2"))

    async def scenario() -> None:
        desk = await injected(tmp_path, act)
        assert causes(desk) == {Subject("wallet", "BNB"): ("FEE",), BTC: ("MISSED_FILL",)}
        (fill,) = [event for event in entries_of(desk, Fill) if event.fee_asset == "BNB"]
        assert fill.fee

    run(scenario())


@pytest.mark.parametrize("times", [1, 2])
def test_a_wallet_that_the_exchange_misstates_is_not_corrected(tmp_path: Path, times: int) -> None:
    async def scenario() -> None:
        desk = await injected(tmp_path, lambda desk: desk.faults.set("misstated", count=times))
        ((subject, named),) = causes(desk).items()
        assert (subject.kind, named) == ("wallet", ("VENUE_INCONSISTENCY",))
        assert entries_of(desk, Adjustment) == []
        assert ("BALANCE_DRIFT" in desk.raised) is (times > 1)

    run(scenario())


def test_an_exchange_that_contradicts_itself_all_the_time_is_told_of_once_and_costs_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            await asyncio.sleep(6)
            desk.faults.set("misstated")  # every statement from now on; the stream is right
            before = len(desk.transport.requests)
            chance = Random(1)
            for _ in range(120):
                trade(desk, "BTCUSDT", chance.choice(("BUY", "SELL")), f"0.{chance.randint(10, 99):03d}")
                await asyncio.sleep(chance.uniform(0.1, 0.9))
            assert asked(desk, before)["account"] <= 66  # orders that come and go ask once a second anyway
            assert asked(desk, before)["income"] <= 6
            assert set(causes(desk).values()) == {("VENUE_INCONSISTENCY",)}
            assert len(reports(desk)) <= 3
            assert entries_of(desk, Adjustment) == []

    run(scenario())


def test_what_the_stream_tells_late_is_no_loss(tmp_path: Path) -> None:
    def act(desk: DeskInMemory) -> None:
        desk.faults.set("late_rows", ms=60_000)
        desk.faults.set("late", ms=9_000, count=4)
        trade(desk, "BTCUSDT", "BUY", "0.2")

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            await asyncio.sleep(6)
            act(desk)
            await asyncio.sleep(30)
            assert desk.difference() == {}
            assert set(causes(desk).values()) == {("LATE_EVENT",)}
            assert entries_of(desk, Adjustment) == []

    run(scenario())


# -- what nothing explains ---------------------------------------------------------------------------------------------


def mystery(desk: DeskInMemory, amount: str = "5") -> None:
    desk.account.wallets["USDT"] += int(D(amount) * 10**8)  # and no record says why


def test_what_nothing_explains_is_corrected_with_its_evidence(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1, wallets={"USDT": "100000"})
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            mystery(desk)
            await asyncio.sleep(40)
            (adjustment,) = entries_of(desk, Adjustment)
            assert (adjustment.cause, adjustment.wallets, adjustment.by) == ("UNEXPLAINED", (("USDT", D(5)),), None)
            assert "the exchange states 100005, the ledger holds 100000" in adjustment.reason
            (report,) = [each for each in reports(desk) if each.adjustment_id == adjustment.id]
            assert report.drifts[0].causes == ("UNEXPLAINED",)
            assert ("main", "BALANCE_DRIFT", "CRITICAL") in desk.alarms.raised
            assert "BALANCE_DRIFT" not in desk.open_alarms
            assert desk.difference() == {}
            span = await asyncio.to_thread(desk.monitor.past.explain, None, None)
            assert (span.explanation.total("adjustments"), span.explanation.residual) == (D(5), D(0))

    run(scenario())


def test_nothing_is_corrected_while_the_funding_of_the_hour_may_be_under_way(tmp_path: Path) -> None:
    hour_ms = 1_790_002_800_000

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1, wallets={"USDT": "100000"})
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            mystery(desk)
            await asyncio.sleep((hour_ms + 29_000 - desk.loop.clock_ms()) / 1000)
            assert desk.reconciler.to_correct == [USDT]
            assert entries_of(desk, Adjustment) == []
            await asyncio.sleep(5)
            assert [event.wallets for event in entries_of(desk, Adjustment)] == [(("USDT", D(5)),)]

    run_virtual(scenario(), start_ms=hour_ms - 10_000)


def test_what_only_is_to_be_observed_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.terms = Terms("observe")
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            mystery(desk)
            unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.1"))
            await asyncio.sleep(60)
            assert entries_of(desk, Adjustment) == []
            assert causes(desk)[BTC] == ("MISSED_FILL",)  # what the exchange lists is no correction
            assert "UNEXPLAINED" in causes(desk)[USDT]
            assert desk.open_alarms == {"BALANCE_DRIFT"}

    run(scenario())


def test_what_may_not_be_compared_is_not_told_of(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.terms = Terms("off")
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            mystery(desk)
            await asyncio.sleep(60)
            assert reports(desk) == []
            assert entries_of(desk, Adjustment) == []
            assert not desk.raised

    run(scenario())


def test_a_position_that_nothing_explains_becomes_what_is_stated_with_its_cost(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            await asyncio.sleep(6)
            desk.faults.set("late_rows", ms=600_000)
            unheard(desk, lambda: trade(desk, "BTCUSDT", "SELL", "0.3"))
            await asyncio.sleep(40)
            (adjustment,) = entries_of(desk, Adjustment)
            (anchor,) = adjustment.positions
            assert (anchor.key, anchor.quantity) == ("BTCUSDT", D("-0.2"))
            assert "wallets" not in desk.difference()
            assert "positions" not in desk.difference()
            truth = desk.monitor.view.positions["BTCUSDT"]
            stated = D(desk.venue.books(desk.account)["entry_prices"]["BTCUSDT"])
            assert truth.entry_price is not None
            assert abs(truth.entry_price - stated) < D("0.001")

            trade(desk, "BTCUSDT", "BUY", "0.05")  # the account goes on
            await asyncio.sleep(5)
            assert "positions" not in desk.difference()
            await asyncio.sleep(1_300)
            assert desk.difference() == {}  # it was listed, and the correction is taken back
            assert [each.adjustment_id for each in entries_of(desk, Reversal)] == [adjustment.id]
            assert residuals(desk.monitor._account) == {}
            assert found(desk) == ["MISSED_FILL"]

    run(scenario())


@pytest.mark.parametrize("restarts", [False, True])
def test_a_correction_is_taken_back_when_its_cause_is_listed_after_all(tmp_path: Path, *, restarts: bool) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running():
            async with desk.monitored():
                await desk.ready()
                desk.faults.set("late_rows", ms=300_000)
                unheard(desk, lambda: desk.venue.deposit(desk.account, "USDT", "100"))
                await asyncio.sleep(40)
                assert len(desk.monitor.adjustments) == 1
                assert desk.difference() == {}
                if not restarts:
                    await asyncio.sleep(900)
                    assert_taken_back(desk)
            if restarts:
                async with desk.monitored():
                    await asyncio.sleep(900)
                    assert_taken_back(desk)

    run(scenario())


def assert_taken_back(desk: DeskInMemory) -> None:
    assert desk.monitor.adjustments == []
    assert [event.amount for event in entries_of(desk, Transfer)] == [100]
    assert found(desk) == ["TRANSFER"]
    assert reports(desk)[-1].taken_back == tuple(each.adjustment_id for each in entries_of(desk, Reversal))
    assert desk.difference() == {}
    entries = list(desk.monitor.journal.entries())
    reversed_at = next(entry.recorded_at_ms for entry in entries if isinstance(entry.event, Reversal))
    booked_at = next(entry.recorded_at_ms for entry in entries if isinstance(entry.event, Transfer))
    assert reversed_at == booked_at  # in one commit: nobody ever sees the money twice, or not at all


def test_after_three_corrections_that_did_not_help_a_person_has_to_look(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running():
            async with desk.monitored():
                await desk.ready()
                for _ in range(MAX_CORRECTIONS + 1):
                    mystery(desk)
                    await asyncio.sleep(60)
                assert len(entries_of(desk, Adjustment)) == MAX_CORRECTIONS
                assert [each.name for each in desk.monitor.quarantined] == ["USDT"]
                assert desk.open_alarms == {"BALANCE_DRIFT", "QUARANTINED"}
                unheard(desk, lambda: trade(desk, "ETHUSDT", "BUY", "1"))
                await asyncio.sleep(10)
                assert desk.monitor.view.positions["ETHUSDT"].quantity == 1  # causes are booked all the same
            async with desk.monitored():
                await asyncio.sleep(120)
                assert len(entries_of(desk, Adjustment)) == MAX_CORRECTIONS
                released = Quarantine("wallet", "USDT", desk.loop.clock_ms(), is_over=True, reason="seen", by="ann")
                desk.monitor.inbox.put(Delivery("operator", "quarantine", b"", released))
                await asyncio.sleep(60)
                assert len(entries_of(desk, Adjustment)) == MAX_CORRECTIONS + 1
                assert desk.monitor.quarantined == []
                assert desk.difference() == {}
                assert not desk.open_alarms

    run(scenario())


def test_what_an_operator_corrected_is_not_taken_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            now_ms = desk.loop.clock_ms()
            ordered = Adjustment("1", now_ms, "OPERATOR", (("USDT", D(7)),), (), "ann", "a gift")
            desk.monitor.inbox.put(Delivery("operator", "correction", b"", ordered))
            await asyncio.sleep(2)
            assert desk.monitor.view.balances["USDT"].total == 100_007
            await asyncio.sleep(40)
            assert (
                desk.monitor.adjustments[0] == ordered
            )  # the exchange disagrees, and says so with an entry of its own
            assert desk.difference() == {}

    run(scenario())


# -- what is no drift --------------------------------------------------------------------------------------------------


def test_an_account_that_trades_five_times_a_second_in_one_asset_is_compared_every_interval(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1, wallets={"USDT": "10000000"})
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            chance = Random(1)
            for _ in range(5 * 60):
                trade(desk, "BTCUSDT", chance.choice(("BUY", "SELL")), f"0.{chance.randint(10, 99):03d}")
                await asyncio.sleep(0.2)
            compared = desk.monitor.view.comparison
            assert compared is not None
            assert compared.agreed_ms is not None
            assert desk.venue.now() - compared.agreed_ms < 11_000
            assert reports(desk) == []
            assert not desk.raised

            unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.01"))
            for _ in range(5 * 12):
                trade(desk, "BTCUSDT", chance.choice(("BUY", "SELL")), f"0.{chance.randint(10, 99):03d}")
                await asyncio.sleep(0.2)
            assert found(desk) == ["MISSED_FILL"]
            assert desk.difference() == {}

    run(scenario())


def test_a_lost_fill_does_not_hide_among_others_that_are_like_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1, wallets={"USDT": "10000000"})
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            chance = Random(1)
            for number in range(5 * 30):
                if number == 50:
                    unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.01"))
                trade(desk, "BTCUSDT", chance.choice(("BUY", "SELL")), "0.01")
                await asyncio.sleep(0.2)
            assert desk.difference() == {}
            assert found(desk) == ["MISSED_FILL"]

    run(scenario())


@pytest.mark.parametrize("lag_ms", [0, 150, 400, 1_500])
@pytest.mark.parametrize("pause_seconds", [0.2, 1.0])
def test_an_account_that_trades_all_the_time_is_corrected_rightly_or_not_at_all(
    tmp_path: Path, lag_ms: int, pause_seconds: float
) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1, wallets={"USDT": "10000000"})
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            chance = Random(lag_ms)
            if lag_ms:
                desk.faults.set("delay", ms=lag_ms)
            await asyncio.sleep(3)
            mystery(desk, "1234.5")
            for number in range(int(90 / pause_seconds)):
                trade(desk, "BTCUSDT", "SELL" if number % 2 else "BUY", "0.01")
                await asyncio.sleep(pause_seconds * chance.uniform(0.5, 1.5))
            corrected = [adjustment.wallets for adjustment in entries_of(desk, Adjustment)]
            assert corrected in ([], [(("USDT", D("1234.5")),)])
            assert ("main", "BALANCE_DRIFT", "CRITICAL") in desk.alarms.raised or not corrected
            desk.faults.clear("all")
            await asyncio.sleep(60)  # three statements at rest are enough
            assert [each.wallets for each in entries_of(desk, Adjustment)] == [(("USDT", D("1234.5")),)]
            assert entries_of(desk, Reversal) == []
            assert desk.difference() == {}

    run(scenario())


def test_a_difference_that_settles_while_it_is_about_to_be_corrected_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            mystery(desk)
            await desk.until(lambda: bool(desk.reconciler.to_correct), seconds=60)
            await asyncio.sleep(0.05)
            mystery(desk, "-5")
            desk.venue.deposit(desk.account, "USDT", "1")
            await asyncio.sleep(60)
            assert desk.feed.unready is None
            assert desk.difference() == {}
            assert not desk.open_alarms

    run(scenario())


def test_what_differs_while_another_difference_waits_is_searched_for_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("http_502", path="/fapi/v3/positionRisk")  # nothing can be corrected
            mystery(desk)
            await asyncio.sleep(25)
            unheard(desk, lambda: trade(desk, "ETHUSDT", "BUY", "1"))
            await asyncio.sleep(30)
            desk.faults.clear("all")
            await desk.until(lambda: entries_of(desk, Adjustment), seconds=180, what="corrected")
            assert found(desk) == ["MISSED_FILL"]
            (adjustment,) = entries_of(desk, Adjustment)
            assert (adjustment.wallets, adjustment.positions) == ((("USDT", D(5)),), ())
            assert desk.difference() == {}

    run(scenario())


def test_a_correction_whose_cause_nats_told_first_is_taken_back_when_the_exchange_lists_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            await asyncio.sleep(6)
            desk.faults.set("late_rows", ms=200_000)
            lost: list[Any] = []
            unheard(desk, lambda: lost.append(trade(desk, "BTCUSDT", "BUY", "0.2")))
            await asyncio.sleep(40)
            assert len(desk.monitor.adjustments) == 1
            desk.tell([told_by_nats(lost[0])])
            await asyncio.sleep(900)
            assert desk.monitor.adjustments == []
            assert desk.difference() == {}

    run(scenario())


def test_what_a_person_settles_is_called_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.terms = Terms("observe")
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            mystery(desk)
            await asyncio.sleep(40)
            before = len(reports(desk))
            ordered = Adjustment("1", desk.loop.clock_ms(), "OPERATOR", (("USDT", D(5)),), (), "ann", "found out")
            await desk.monitor.record(ordered, source="operator")
            await asyncio.sleep(20)
            assert len(reports(desk)) == before
            assert not desk.open_alarms

    run(scenario())


def test_nothing_is_kept_or_asked_for_reports_that_nobody_wants(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.terms = Terms("off")
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            for _ in range(3):
                unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.2"))
                await asyncio.sleep(20)
            assert desk.difference() == {}
            assert desk.reconciler._findings.count == 0
            assert asked(desk)["order"] == 0

    run(scenario())


def test_comparisons_that_are_ordered_again_and_again_cost_no_more_than_one_a_second(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            before = len(desk.transport.requests)
            end = desk.loop.time() + 30
            while desk.loop.time() < end:
                compared = await desk.feed.compare()
                assert compared.agreed_ms is not None
            assert asked(desk, before)["account"] <= 31

            desk.faults.set("http_502", count=2, path="/fapi/v3/account")
            several = [asyncio.create_task(desk.feed.compare()) for _ in range(3)]
            await asyncio.sleep(0.3)
            several += [asyncio.create_task(desk.feed.compare())]
            await asyncio.wait_for(asyncio.gather(*several), timeout=30)

    run(scenario())


def test_a_wallet_that_only_the_stream_tells_of_is_not_asked_for_every_second(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            said = {"B": [{"a": "XYZ", "wb": "7", "cw": "7", "bc": "0"}], "P": [], "m": "ORDER"}
            update = {"e": "ACCOUNT_UPDATE", "E": desk.venue.now(), "T": desk.venue.now(), "a": said}
            desk.feed.on_message(json.dumps(update).encode(), desk.loop.clock_ms())
            await asyncio.sleep(20)
            before = len(desk.transport.requests)
            await asyncio.sleep(60)
            assert asked(desk, before)["account"] <= 16

    run(scenario())


def test_an_idle_account_is_never_called_stale_and_writes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            seq = desk.monitor.view.seq
            await asyncio.sleep(
                2 * 3600
            )  # its key is extended every half hour at the latest, and what is asked every hour, twice
            assert not desk.raised
            assert desk.monitor.view.seq == seq

    run(scenario())


def test_a_hedge_leg_whose_close_arrives_before_its_open_is_no_drift(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.account.hedge = True
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("reorder", within=5, hold_ms=900)
            for _ in range(10):
                for side in ("BUY", "SELL"):
                    desk.venue.set_ladder("BTCUSDT", bids=[("60000", "9")], asks=[("60000", "9")])
                    desk.venue.place_order(
                        desk.account, {**order("BTCUSDT", side, "0.1"), "positionSide": "LONG"}
                    )  # fmt: skip
                await asyncio.sleep(4)
            await desk.quiet(seconds=10)
            assert reports(desk) == []
            assert not desk.raised

    run(scenario())


def test_a_cause_that_nats_told_of_first_is_no_drift(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            for _ in range(20):
                desk.tell([told_by_nats(trade(desk, "BTCUSDT", "BUY", "0.01"))])
                await asyncio.sleep(1)
            assert reports(desk) == []
            assert not desk.raised

    run(scenario())


def test_a_clock_that_is_wrong_is_told_of_until_it_is_right(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("clock_skew", ms=-90_000)
            await asyncio.sleep(30)
            (alarm,) = [each.alert for each in desk.alarms.open() if each.alert.type == "CLOCK_SKEW"]
            assert "90.0 s ahead of the exchange's" in alarm.message
            assert alarm.value is not None
            assert abs(alarm.value - 90) < D("0.1")

            desk.faults.clear("all")
            await asyncio.sleep(900)
            assert "CLOCK_SKEW" not in desk.open_alarms

    run(scenario())
