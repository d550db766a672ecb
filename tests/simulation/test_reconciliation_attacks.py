"""What once went wrong under attack: losses that overlap, gaps that are known, causes that come late or from others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from account_monitor.ledger.events import Adjustment, Anchor, Reversal
from account_monitor.ledger.reconciliation import Cause, Quarantine
from account_monitor.monitor.ports import Delivery
from account_monitor.monitor.reconciler import Terms
from tests.simulation.desk_in_memory import API_KEY, DeskInMemory
from tests.simulation.test_feed_completeness import told_by_nats, trade, unheard
from tests.simulation.test_reconciliation import entries_of, found, mystery, reports
from tests.simulation.virtual_time import run_virtual

D = Decimal


def live(
    tmp_path: Path, act: Callable[[DeskInMemory], Awaitable[None]], *, terms: Terms | None = None, **desk: Any
) -> None:
    """Let something happen to a quiet account that holds a position."""

    async def scenario() -> None:
        here = DeskInMemory(tmp_path, seed=1, **desk)
        here.terms = terms or here.terms
        async with here.exchange_running(), here.monitored():
            await here.ready()
            trade(here, "BTCUSDT", "BUY", "0.1")
            await asyncio.sleep(12)
            await act(here)

    run_virtual(scenario())


def drifts(desk: DeskInMemory) -> list[tuple[str, tuple[Cause, ...]]]:
    return [(drift.name, drift.causes) for report in reports(desk) for drift in report.drifts]


@pytest.mark.parametrize("after_seconds", [12, 14, 16, 20])
def test_a_loss_during_the_search_for_another_is_found_and_the_other_corrected_by_its_own_amount(
    tmp_path: Path, after_seconds: float
) -> None:
    async def act(desk: DeskInMemory) -> None:
        mystery(desk)
        await asyncio.sleep(after_seconds)
        unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.2"))
        await asyncio.sleep(90)
        assert [each.wallets for each in entries_of(desk, Adjustment)] == [(("USDT", D(5)),)]
        assert not any(each.positions for each in entries_of(desk, Adjustment))
        assert found(desk) == ["MISSED_FILL"]
        assert desk.difference() == {}

    live(tmp_path, act)


def test_losses_are_found_as_soon_beside_a_difference_that_nothing_explains(tmp_path: Path) -> None:
    async def act(desk: DeskInMemory) -> None:
        mystery(desk)
        await asyncio.sleep(60)
        for number in range(1, 7):
            unheard(desk, lambda: trade(desk, "ETHUSDT", "BUY", "0.1"))
            await asyncio.sleep(7.5)
            assert desk.monitor.view.positions["ETHUSDT"].quantity == number * D("0.1")
            await asyncio.sleep(10)

    live(tmp_path, act, terms=Terms("observe"))


def test_what_was_traded_before_a_restart_is_found_and_no_drift(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running():
            async with desk.monitored():
                await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            async with desk.monitored():
                await asyncio.sleep(30)
                assert found(desk) == ["MISSED_FILL"]
                assert drifts(desk) == []

    run_virtual(scenario())


def test_what_is_traded_while_the_stream_cannot_be_heard_is_found_and_no_drift(tmp_path: Path) -> None:
    async def act(desk: DeskInMemory) -> None:
        desk.faults.set("refuse_connect", seconds=20)
        desk.exchange.disconnect(API_KEY, 1006)
        for _ in range(10):
            trade(desk, "BTCUSDT", "BUY", "0.01")
            await asyncio.sleep(2)
        await asyncio.sleep(60)
        assert desk.difference() == {}
        assert drifts(desk) == []
        assert not desk.raised & {"BALANCE_DRIFT", "POSITION_DRIFT"}

    live(tmp_path, act)


def test_payments_that_are_only_cut_anew_take_no_correction_back(tmp_path: Path) -> None:
    async def act(desk: DeskInMemory) -> None:
        trade(desk, "ETHUSDT", "BUY", "1")
        await asyncio.sleep(12)
        desk.faults.set("late_rows", ms=60_000)
        desk.venue.fund_now()
        await asyncio.sleep(1)
        mystery(desk)
        await asyncio.sleep(200)
        assert len(entries_of(desk, Adjustment)) == 1
        assert entries_of(desk, Reversal) == []

    live(tmp_path, act, legacy_funding_events=True)


def test_two_fills_that_cancel_out_and_that_nats_tells_after_the_correction_leave_nothing_standing(
    tmp_path: Path,
) -> None:
    async def act(desk: DeskInMemory) -> None:
        desk.faults.set("late_rows", ms=300_000)
        lost: list[Any] = []
        unheard(desk, lambda: lost.extend(trade(desk, "BTCUSDT", side, "0.2") for side in ("BUY", "SELL")))
        await asyncio.sleep(40)
        assert len(desk.monitor.adjustments) == 1
        desk.tell([told_by_nats(each) for each in lost])
        await asyncio.sleep(2_000)
        assert desk.monitor.adjustments == []
        assert desk.difference() == {}

    live(tmp_path, act)


def test_a_correction_and_what_explains_it_are_one_commit_also_for_a_contract_that_was_never_held(
    tmp_path: Path,
) -> None:
    async def act(desk: DeskInMemory) -> None:
        desk.faults.set("late_rows", ms=120_000)

        def lose() -> None:
            desk.account.maker_rate = desk.account.taker_rate = "0"
            trade(desk, "SOLUSDT", "BUY", "2")
            desk.venue.set_price("SOLUSDT", "500")
            trade(desk, "SOLUSDT", "SELL", "2")

        unheard(desk, lose)
        await asyncio.sleep(60)
        assert len(desk.monitor.adjustments) == 1
        seen: set[Decimal | None] = set()
        desk.monitor.observers.append(lambda view, change: seen.add(view.balances["USDT"].total))
        await asyncio.sleep(900)
        assert desk.monitor.adjustments == []
        assert desk.difference() == {}
        assert len(seen) == 1

    live(tmp_path, act)


@pytest.mark.parametrize("path", ["/fapi/v1/order", "/fapi/v1/userTrades"])
def test_one_answer_that_fails_changes_no_name(tmp_path: Path, path: str) -> None:
    async def act(desk: DeskInMemory) -> None:
        desk.faults.set("http_502", count=1, path=path)
        unheard(desk, lambda: desk.venue.adl(desk.account, "BTCUSDT"))
        await asyncio.sleep(12)
        assert "ADL" in found(desk)

    live(tmp_path, act)


def test_a_release_calls_nothing_inconsistent(tmp_path: Path) -> None:
    async def act(desk: DeskInMemory) -> None:
        for _ in range(4):
            mystery(desk)
            await asyncio.sleep(60)
        assert desk.monitor.quarantined
        over = Quarantine("wallet", "USDT", desk.loop.clock_ms(), is_over=True, reason="seen", by="ann")
        desk.monitor.inbox.put(Delivery("operator", "quarantine", b"", over))
        await asyncio.sleep(60)
        assert "VENUE_INCONSISTENCY" not in {cause for _, causes in drifts(desk) for cause in causes}
        assert desk.difference() == {}

    live(tmp_path, act)


def test_a_cause_that_is_listed_soon_is_found_within_half_a_minute(tmp_path: Path) -> None:
    async def act(desk: DeskInMemory) -> None:
        desk.faults.set("late_rows", ms=25_000)
        unheard(desk, lambda: desk.venue.deposit(desk.account, "USDT", "7"))
        await desk.until(lambda: bool(desk.monitor.adjustments))
        await desk.until(lambda: not desk.monitor.adjustments, seconds=35)

    live(tmp_path, act)


def test_a_correction_that_many_by_hand_have_buried_is_final_as_a_whole(tmp_path: Path) -> None:
    async def act(desk: DeskInMemory) -> None:
        desk.faults.set("late_rows", ms=120_000)
        unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.2"))
        await asyncio.sleep(40)
        (corrected,) = desk.monitor.adjustments
        (stated,) = corrected.positions
        for number in range(8):
            again = Anchor(stated.symbol, "BOTH", stated.quantity, stated.cost, None, stated.at_ms)
            ordered = Adjustment(f"o{number}", desk.venue.now(), "OPERATOR", (), (again,), "ann", "?")
            await desk.monitor.record(ordered, source="operator")
        await asyncio.sleep(900)
        assert entries_of(desk, Reversal) == []
        ours, theirs = desk.monitor.view.balances["USDT"].total, desk.account.wallets["USDT"]
        assert ours == D(theirs).scaleb(-8)
        assert len(entries_of(desk, Adjustment)) == 9

    live(tmp_path, act)
