"""What is proved to be complete, and what is searched for again: in the end nothing is missing or asked in vain.

Agreement by chance, answers that lack a row, and differences that nothing explains: all of these have fooled somebody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from account_monitor.feeds.binance.refusals import VenueRefused
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.ledger.events import Fill, FundingPayment
from account_monitor.monitor.ports import Delivery, Recorded
from account_monitor.monitor.reconciler import Policy, Terms
from tests.simulation.desk_in_memory import API_KEY, BusyJournal, DeskInMemory, books
from tests.simulation.virtual_time import run_virtual

D = Decimal
HOUR_SECONDS = 3_600.0


def run(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtual(scenario)


def order(symbol: str, side: str, quantity: str) -> dict[str, str]:
    return {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity}


def trade(desk: DeskInMemory, symbol: str, side: str, quantity: str) -> Any:
    """Execute one order as one fill, and return the venue's record of it."""
    tick = desk.venue.symbols[symbol].tick
    price = f"{D(desk.venue.markets[symbol].mark // tick * tick) / 10**8:f}"
    desk.venue.set_ladder(symbol, bids=[(price, "99999")], asks=[(price, "99999")])
    desk.venue.place_order(desk.account, order(symbol, side, quantity))
    return desk.account.trades[symbol][-1]


def unheard(desk: DeskInMemory, act: Callable[[], Any]) -> None:
    """Do something of which the stream says nothing."""
    desk.faults.set("drop")
    act()
    desk.faults.clear("drop")


def told_by_nats(record: Any) -> Delivery:
    """Return what an order-execution service publishes of the venue's record."""
    price, quantity, fee, realized = (
        D(number) / 10**8 for number in (record.price, record.quantity, record.fee, record.realized)
    )
    told = Fill(record.symbol, str(record.id), record.side, quantity, price, record.at_ms, record.position_side,
                fee, record.fee_asset, realized, str(record.order_id), record.maker)  # fmt: skip
    return Delivery("nats:core", "trading.fills", b"{}", told)


def asked(desk: DeskInMemory, since: int = 0) -> Counter[str]:
    return Counter(path.rpartition("/")[2] for _, _, path, _ in desk.transport.requests[since:])


# -- what proves nothing -----------------------------------------------------------------------------------------------


def test_a_statement_that_is_stale_proves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("stale_snapshot", ms=3000, path="/nowhere")  # from now on copies are made
            trade(desk, "BTCUSDT", "BUY", "0.1")
            trade(desk, "BTCUSDT", "SELL", "0.1")
            await asyncio.sleep(61)
            unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.1"))
            await asyncio.sleep(0.2)
            desk.faults.set("stale_snapshot", ms=3000, count=1, path="/fapi/v3/account")
            trade(desk, "BTCUSDT", "BUY", "0.2")

            await desk.quiet(seconds=30)

    run(scenario())


def test_a_value_that_the_ledger_held_a_moment_ago_proves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.account.maker_rate = desk.account.taker_rate = "0"
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            trade(desk, "BTCUSDT", "SELL", "0.1")
            await asyncio.sleep(60)
            unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.1"))
            trade(desk, "BTCUSDT", "SELL", "0.1")

            await asyncio.sleep(20)
            await desk.quiet(seconds=30)

    run(scenario())


def test_a_fill_that_nats_told_of_first_is_confirmed_although_what_came_after_it_agrees(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            lost: list[Any] = []
            unheard(desk, lambda: lost.append(trade(desk, "ETHUSDT", "BUY", "0.1")))
            desk.tell([told_by_nats(lost[0])])
            await asyncio.sleep(0.1)
            desk.tell([told_by_nats(trade(desk, "ETHUSDT", "BUY", "0.1"))])
            await asyncio.sleep(30)

            assert "UNEXPECTED_FILL" not in desk.raised
            assert not desk.open_alarms
            assert desk.difference() == {}

    run(scenario())


@pytest.mark.parametrize("answers", [1, 3])
def test_pages_of_trades_that_lack_a_row_are_asked_for_again(tmp_path: Path, answers: int) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("page_missing", count=answers, path="/fapi/v1/userTrades")
            unheard(desk, lambda: [trade(desk, "BTCUSDT", "BUY", "0.1") for _ in range(5)])

            await desk.quiet(seconds=60)

    run(scenario())


def test_a_page_of_income_that_lacks_an_old_row_is_asked_for_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running():
            async with desk.monitored():
                await desk.ready()
            for amount in ("1", "2", "3"):
                desk.venue.deposit(desk.account, "USDT", amount)
            await asyncio.sleep(2 * HOUR_SECONDS)
            desk.faults.set("page_missing", count=1, path="/fapi/v1/income")
            async with desk.monitored():
                await desk.quiet(seconds=60)

    run(scenario())


def test_dust_alarms_nobody_and_is_found_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.account.fee_burn = True
        async with desk.exchange_running(), desk.monitored():
            desk.judge._tolerances = {"wallet": D("0.00001"), "position": D("0.0001")}  # as configured by default
            await desk.ready()

            def round_trip() -> None:
                for side in ("BUY", "SELL"):
                    desk.venue.set_ladder("DOGEUSDT", bids=[("0.2", "9999")], asks=[("0.2", "9999")])
                    desk.venue.place_order(desk.account, order("DOGEUSDT", side, "30"))

            unheard(desk, round_trip)
            ours, theirs = desk.difference()["wallets"]
            assert 0 < ours["BNB"] - theirs["BNB"] < D("0.00001")
            await desk.quiet(seconds=30)
            assert not desk.raised & {"BALANCE_DRIFT", "POSITION_DRIFT"}

    run(scenario())


# -- what nothing explains ---------------------------------------------------------------------------------------------


def test_what_nothing_explains_alarms_and_is_not_searched_for_again_and_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.terms = Terms("observe")
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            await desk.quiet()
            desk.account.wallets["USDT"] += 5 * 10**8  # and no record says why
            await asyncio.sleep(120)
            assert "BALANCE_DRIFT" in desk.open_alarms

            before = len(desk.transport.requests)
            for number in range(60):
                trade(desk, "BTCUSDT", "SELL" if number % 2 else "BUY", "0.1")
                await asyncio.sleep(10)
            assert asked(desk, before)["income"] <= 4  # after 1, 2, 4 and 8 minutes: its cause may come late
            assert "BALANCE_DRIFT" in desk.open_alarms

            before = len(desk.transport.requests)
            unheard(desk, lambda: trade(desk, "ETHUSDT", "BUY", "1"))
            await asyncio.sleep(30)
            ours, theirs = desk.difference()["wallets"]
            assert theirs["USDT"] - ours["USDT"] == 5
            assert desk.monitor.view.positions["ETHUSDT"].quantity == 1
            rows = [entry for entry in desk.monitor.journal.entries() if entry.source == "exchange:income"]
            assert rows == []

    run(scenario())


@pytest.mark.parametrize("late_seconds", [40, 300, 1_500])
@pytest.mark.parametrize("what", ["a deposit", "a trade"])
@pytest.mark.parametrize("policy", ["observe", "adjust"])
def test_what_the_exchange_lists_late_is_booked_when_it_does(
    tmp_path: Path, what: str, late_seconds: int, policy: Policy
) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.terms = Terms(policy)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            await desk.quiet()
            desk.faults.set("late_rows", ms=late_seconds * 1000)
            if what == "a deposit":
                unheard(desk, lambda: desk.venue.deposit(desk.account, "USDT", "100"))
            else:
                unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.2"))
            await asyncio.sleep(30)
            assert desk.raised & {"BALANCE_DRIFT", "POSITION_DRIFT"}
            assert bool(desk.monitor.adjustments) is (policy == "adjust")

            # Ten minutes lie between two late searches at the most.
            await desk.until(lambda: not (desk.difference() or desk.monitor.adjustments), seconds=late_seconds + 650)
            await asyncio.sleep(60)
            assert not desk.open_alarms & {"BALANCE_DRIFT", "POSITION_DRIFT"}
            assert desk.difference() == {}

    run(scenario())


def test_a_symbol_that_is_refused_for_good_keeps_nothing_else_from_being_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AccountRequests.trades_from

    async def refused(self: AccountRequests, symbol: str, *rest: Any, **more: Any) -> tuple[Fill, ...]:
        if symbol == "SOLUSDT":
            raise VenueRefused(-4108, "Symbol is on delivering or delivered or settling or closed.", 400)
        return await real(self, symbol, *rest, **more)

    monkeypatch.setattr(AccountRequests, "trades_from", refused)

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "SOLUSDT", "BUY", "5")
            trade(desk, "BTCUSDT", "BUY", "0.1")
            await asyncio.sleep(10)
            unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.2"))

            await desk.quiet(seconds=30)

    run(scenario())


def test_a_flood_of_unreadable_messages_costs_little(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            before = len(desk.transport.requests)
            for payload in (b'{"e":"MARGIN_CALL","E":1700000000000,"p":null}', b'{"e":"ORDER_TRADE_UPDATE","o":7}'):
                for _ in range(300):
                    desk.feed.on_message(payload, 0)
                    await asyncio.sleep(0.2)
            assert asked(desk, before)["income"] <= 7
            assert "MALFORMED_EVENT" in desk.open_alarms

    run(scenario())


# -- what is not answered ----------------------------------------------------------------------------------------------


def test_an_exchange_that_does_not_answer_is_alarmed_although_its_stream_is_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("http_502")
            await asyncio.sleep(30)
            (alarm,) = desk.alarms.open()
            assert (alarm.alert.type, alarm.alert.severity) == ("RECONCILIATION_FAILED", "WARNING")
            assert "502" in alarm.alert.message

            desk.faults.clear("all")
            await asyncio.sleep(40)
            assert not desk.open_alarms
            assert desk.feed.problem is None

    run(scenario())


def test_a_key_that_is_revoked_is_alarmed_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("revoked_key")
            await asyncio.sleep(7)
            (alarm,) = desk.alarms.open()
            assert (alarm.alert.type, alarm.alert.severity) == ("RECONCILIATION_FAILED", "CRITICAL")
            assert "-2015" in alarm.alert.message

            desk.faults.clear("all")
            await asyncio.sleep(40)
            assert not desk.open_alarms

    run(scenario())


# -- what is counted once ----------------------------------------------------------------------------------------------


def test_funding_that_is_older_than_what_is_remembered_is_counted_once_when_the_stream_breaks_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("account_monitor.feeds.binance.feed.REMEMBERED_MS", 1_800_000)

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=2, funding_interval_ms=600_000)
        async with desk.exchange_running(), desk.monitored():
            desk.feed._statement_seconds = 300.0
            await desk.ready()
            trade(desk, "BTCUSDT", "BUY", "0.1")
            await asyncio.sleep(2 * HOUR_SECONDS)
            desk.exchange.disconnect(API_KEY, 1006)
            await asyncio.sleep(60)

            assert not desk.difference()
            entries = [entry for entry in desk.monitor.journal.entries() if isinstance(entry.event, FundingPayment)]
            assert len(entries) == 12
            assert "BALANCE_DRIFT" not in desk.raised

    run(scenario())


@pytest.mark.parametrize("fault", ["silent", "key_dead"])
def test_a_silent_stream_is_noticed_although_nats_tells_everything(tmp_path: Path, fault: str) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set(fault, count=1)
            for _ in range(6):
                desk.tell([told_by_nats(trade(desk, "BTCUSDT", "BUY", "0.01"))])
                await asyncio.sleep(5)

            assert not desk.difference()
            assert "STREAM_STALE" in desk.raised
            heard = desk.feed.received["ORDER_TRADE_UPDATE"]
            desk.tell([told_by_nats(trade(desk, "BTCUSDT", "BUY", "0.01"))])
            await asyncio.sleep(1)
            assert desk.feed.received["ORDER_TRADE_UPDATE"] > heard

    run(scenario())


def test_an_ordinary_close_is_no_reason_to_call_the_stream_deaf(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            for _ in range(5):
                desk.exchange.disconnect(API_KEY, 1001)
                trade(desk, "BTCUSDT", "BUY", "0.01")
                await asyncio.sleep(120)
            assert not desk.difference()
            assert "STREAM_STALE" not in desk.raised

    run(scenario())


@pytest.mark.parametrize("is_told_first", [True, False])
def test_what_nats_tells_of_the_time_before_adoption_counts_the_same_whenever_it_comes(
    tmp_path: Path, *, is_told_first: bool
) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        trade(desk, "BTCUSDT", "BUY", "0.2")
        desk.venue.set_price("BTCUSDT", "50000")
        history = [told_by_nats(desk.account.trades["BTCUSDT"][0]), told_by_nats(trade(desk, "BTCUSDT", "SELL", "0.1"))]
        await asyncio.sleep(2)
        async with desk.exchange_running(), desk.monitored():
            if is_told_first:
                desk.tell(history)
            await desk.ready()
            if not is_told_first:
                desk.tell(history)
            await asyncio.sleep(5)

            assert not desk.difference()
            assert books(desk.monitor)["realized"] == {}
            assert desk.monitor.taken_count >= 3

    run(scenario())


@pytest.mark.parametrize("pause", [0.5, 1.0])
def test_an_account_that_trades_all_the_time_is_adopted(tmp_path: Path, pause: float) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        for symbol in list(desk.venue.symbols)[:10]:
            desk.venue.place_order(desk.account, order(symbol, "BUY", "1000" if symbol == "DOGEUSDT" else "10"))
        async with desk.exchange_running(), desk.monitored():
            number = 0
            while desk.monitor.opening is None:
                assert number * pause < 60, "not adopted within a minute"
                trade(desk, "BTCUSDT", "SELL" if number % 2 else "BUY", "0.01")
                await asyncio.sleep(pause)
                number += 1
            await asyncio.sleep(20)
            assert not desk.open_alarms
            assert desk.feed.unready is None

    run(scenario())


class SlowJournal(BusyJournal):
    """A journal on a disk that takes 30 ms to write anything."""

    async def append(self, deliveries: Any, positions: Any = ()) -> Recorded:
        recorded = await super().append(deliveries, positions)
        await asyncio.sleep(0.03)
        return recorded


def test_a_slow_disk_is_no_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.desk_in_memory.BusyJournal", SlowJournal)

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=2, wallets={"USDT": "10000000"})
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            before = len(desk.transport.requests)
            for number in range(1_000):
                trade(desk, "BTCUSDT", "SELL" if number % 3 else "BUY", "0.01")
                await asyncio.sleep(0.02)
            assert not desk.raised
            assert asked(desk, before)["income"] == 0
            await desk.quiet(seconds=2)

    run(scenario())
