"""The feed against the simulated exchange, in virtual time: whatever is lost on the way, the books end up equal.

Equal means to the last digit: quantities, wallets by asset, realized P&L by position, fees and funding by asset, and
insurance, by the venue's own accounting, which shares no code with ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from account_monitor.ledger.events import FundingPayment, Opening
from account_monitor.monitor.ports import VENUE_TRADES
from account_monitor.stores.journal_reader import open_reader
from exchange_simulator.bots import RandomTrader
from tests.simulation.desk_in_memory import API_KEY, SECRET, SETTINGS, DeskInMemory
from tests.simulation.virtual_time import run_virtual

NOTICED_SECONDS = 20.0
"""Statements every 5 s, another 5 s for the stream to deliver after all, and the way there and back."""

WALLETS = {"USDT": "1000000", "BNB": "10", "USDC": "100000"}


def order(symbol: str, side: str, quantity: str, **more: str) -> dict[str, str]:
    return {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity, **more}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtual(scenario)


def desk_at(folder: Path, seed: int, **venue: Any) -> DeskInMemory:
    """Return a desk with an account of the kind that the seed says: one-way or hedge, fees in BNB or not."""
    desk = DeskInMemory(folder, seed=seed, wallets=WALLETS, moving=True, funding_interval_ms=120_000, **venue)
    desk.account.hedge = seed % 2 == 1
    desk.account.fee_burn = seed % 3 == 1
    return desk


async def trade(desk: DeskInMemory, orders: int) -> None:
    """Do anything that a customer may do, on 20 symbols."""
    trader = RandomTrader(desk.venue, [desk.account], seed=desk.seed, symbols=list(desk.venue.symbols)[:20])
    chance = Random(desk.seed)
    for _ in range(orders):
        trader.step()
        await asyncio.sleep(chance.choice((0, 0, 0.01, 0.5)))


# -- nothing goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_without_faults_the_books_are_equal_at_once_and_nothing_alarms(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        desk = desk_at(tmp_path, seed)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            await trade(desk, 500)
            await desk.quiet(seconds=2)
            await asyncio.sleep(70)

            assert desk.difference() == {}
            assert desk.raised == set()
            assert desk.transport.too_early == []
            assert desk.feed.reconnects == 0

    run(scenario())


@pytest.mark.parametrize("seed", range(4))
def test_what_an_account_holds_is_adopted_once_and_counts_as_nobodys_result(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        desk = desk_at(tmp_path, seed)
        await trade(desk, 300)
        async with desk.exchange_running():
            async with desk.monitored():
                await desk.ready()
                assert not desk.difference()
                assert desk.monitor.view.pnl.realized_pnl == 0
                held = {key: value.entry_price for key, value in desk.monitor.view.positions.items()}
                told = desk.venue.books(desk.account)["entry_prices"]
                assert held.keys() == told.keys()
                assert all(abs(price - type(price)(told[key])) < price / 10**6 for key, price in held.items() if price)
                await trade(desk, 100)
                await desk.quiet()
            async with desk.monitored():
                await desk.ready()
                await desk.quiet()
                openings = [e for e in desk.monitor.journal.entries() if isinstance(e.event, Opening)]
                assert len(openings) == 1

    run(scenario())


# -- everything goes wrong: a few seeds of each; `make sim` draws from all of this as many worlds as one likes ---------


@pytest.mark.parametrize("seed", range(16))
def test_the_books_are_equal_after_every_fault_of_the_sockets(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        desk = desk_at(tmp_path, seed, calculated_liquidations=seed % 5 == 0, legacy_funding_events=seed % 7 == 0)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("sockets")
            await trade(desk, 150)
            desk.faults.clear("all")
            await desk.quiet(seconds=400)

            assert desk.transport.too_early == []

    run(scenario())


@pytest.mark.slow
def test_the_books_are_equal_after_ten_thousand_orders_and_every_fault_of_the_sockets(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = desk_at(tmp_path, seed=2)  # one-way; over real sockets it is an account in hedge mode
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("sockets")
            await trade(desk, 10_000)
            desk.faults.clear("all")
            await desk.quiet(seconds=600)

            assert desk.transport.too_early == []

    run(scenario())


@pytest.mark.parametrize("seed", range(8))
def test_the_books_are_equal_after_every_fault_there_is(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        desk = desk_at(tmp_path, seed)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("all")
            await trade(desk, 300)
            desk.faults.clear("all")
            await desk.quiet(seconds=1_800)

            assert desk.transport.too_early == []

    run(scenario())


@pytest.mark.parametrize("seed", range(4))
def test_a_monitor_that_is_killed_amid_faults_comes_back_and_counts_nothing_twice(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        desk = desk_at(tmp_path, seed)
        async with desk.exchange_running():
            desk.faults.set("sockets")
            for life in range(4):
                async with desk.monitored():
                    if life == 0:
                        await desk.ready()
                    await trade(desk, 60)
                await asyncio.sleep(1)
                await trade(desk, 20)
            desk.faults.clear("all")
            async with desk.monitored():
                await desk.quiet(seconds=400)

    run(scenario())


# -- a stream that is deaf ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["silent", "half_open", "key_dead", "key_expired", "tcp_cut", "close_1006", "close_1008", "cut_json"]
)
def test_a_deaf_stream_is_noticed_alarmed_and_healed_without_losing_a_fill(tmp_path: Path, fault: str) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set(fault, count=1)
            for _ in range(5):
                desk.venue.place_order(desk.account, order("BTCUSDT", "BUY", "0.1"))
                await asyncio.sleep(0.2)
            await desk.quiet(seconds=NOTICED_SECONDS)
            heard = desk.feed.received["ORDER_TRADE_UPDATE"]
            await asyncio.sleep(NOTICED_SECONDS)

            if fault in ("silent", "half_open", "key_dead"):
                assert "STREAM_STALE" in desk.raised
            if fault == "cut_json":
                assert "MALFORMED_EVENT" in desk.raised
            assert not desk.open_alarms & {"STREAM_STALE", "POSITION_DRIFT", "BALANCE_DRIFT"}
            desk.venue.place_order(desk.account, order("BTCUSDT", "SELL", "0.1"))
            await desk.quiet(seconds=1)
            assert desk.feed.received["ORDER_TRADE_UPDATE"] > heard

    run(scenario())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("listenKey=", "listenKey=bogus"), ("/private/ws?listenKey=", "/ws?listenKey=")],
    ids=["a bogus key", "an unrouted URL"],
)
def test_a_stream_that_never_delivers_is_noticed_although_it_is_connected(
    tmp_path: Path, right: str, wrong: str
) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.transport.rewrite = lambda url: url.replace(right, wrong)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.venue.place_order(desk.account, order("BTCUSDT", "BUY", "0.1"))
            await desk.quiet(seconds=NOTICED_SECONDS)
            await desk.until(lambda: "STREAM_STALE" in desk.open_alarms, seconds=NOTICED_SECONDS)

            desk.transport.rewrite = lambda url: url
            desk.venue.place_order(desk.account, order("BTCUSDT", "BUY", "0.2"))
            await desk.until(lambda: desk.feed.received["ORDER_TRADE_UPDATE"] > 0 or not desk.open_alarms, seconds=90)
            await desk.quiet(seconds=NOTICED_SECONDS)

    run(scenario())


def test_a_stream_that_is_ten_minutes_late_is_no_reason_to_count_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("backlog", ms=600_000)
            for side in ("BUY", "BUY", "SELL"):
                desk.venue.place_order(desk.account, order("ETHUSDT", side, "1"))
            await desk.quiet(seconds=NOTICED_SECONDS)
            desk.faults.clear("all")
            for _ in range(15):
                await asyncio.sleep(60)
                assert desk.difference() == {}

    run(scenario())


def test_an_order_while_nothing_was_connected_is_fetched_with_the_funding_of_the_night(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=3, funding_interval_ms=3_600_000)
        async with desk.exchange_running():
            async with desk.monitored():
                await desk.ready()
                desk.venue.place_order(desk.account, order("BTCUSDT", "BUY", "0.1"))
                await desk.quiet()
            desk.venue.place_order(desk.account, order("SOLUSDT", "BUY", "5"))
            await asyncio.sleep(9 * 3600)
            desk.venue.deposit(desk.account, "USDT", "50")
            async with desk.monitored():
                await desk.ready()
                await desk.quiet()
                payments = [e for e in desk.monitor.journal.entries() if isinstance(e.event, FundingPayment)]
                assert len(payments) >= 16

    run(scenario())


# -- etiquette ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["http_429", "http_418", "http_403", "ban_connect"])
def test_no_request_leaves_before_the_time_is_up(tmp_path: Path, fault: str) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            if fault == "ban_connect":
                desk.faults.set(fault, count=1, ban_seconds=600)
                desk.exchange.disconnect(API_KEY, 1006)
            else:
                desk.faults.set(fault, count=1, **({"retry_after": 45} if fault == "http_429" else {}))
            await asyncio.sleep(7)
            struck = len(desk.transport.requests)
            on_their_way = desk.exchange.statistics()["violations"]  # when the ban was told
            desk.venue.place_order(desk.account, order("BTCUSDT", "BUY", "0.1"))
            await asyncio.sleep(30)
            assert len(desk.transport.requests) == struck
            assert desk.exchange.statistics()["violations"] == on_their_way <= 2
            assert "RATE_LIMITED" in desk.open_alarms

            await desk.until(lambda: "RATE_LIMITED" not in desk.open_alarms, seconds=700)
            await desk.quiet(seconds=60)
            assert desk.transport.too_early == []

    run(scenario())


def test_a_clock_that_was_set_is_healed_within_two_requests(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("clock_skew", ms=3_600_000)
            before = len(desk.transport.requests)
            await asyncio.sleep(20)

            asked = [(path, status) for _, _, path, status in desk.transport.requests[before:]]
            refused = [number for number, (_, status) in enumerate(asked) if status == 400]
            assert len(refused) == 1
            signed = [status for path, status in asked[refused[0] + 1 :] if path != "/fapi/v1/time"]
            assert signed[0] == 200

    run(scenario())


def test_an_idle_account_costs_two_weights_a_second_at_most(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            before = len(desk.transport.requests)
            await asyncio.sleep(600)

            assert len(desk.transport.requests) - before <= 125

    run(scenario())


def test_no_key_is_in_any_log_line_alarm_dead_letter_or_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    keys = [API_KEY, SECRET]

    async def scenario() -> None:
        desk = desk_at(tmp_path, 1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("all")
            desk.faults.set("revoked_key", count=3)
            await trade(desk, 400)
            keys.extend(url.partition("listenKey=")[2] for url in desk.transport.urls if "listenKey=" in url)
            said.extend(alarm.alert.message for alarm in desk.alarms.open())
            desk.faults.clear("all")
            desk.faults.set("revoked_key")
            await asyncio.sleep(200)
            said.extend([str(desk.feed.problem), str(desk.feed.unready), repr(desk.feed.__dict__)])

    run(scenario())

    with open_reader(tmp_path / "main.journal") as reader:
        said.extend(letter.payload.decode(errors="replace") + letter.reason for letter in reader.dead_letters())
    printed = capsys.readouterr()
    everything = "".join([printed.out, printed.err, *said])
    assert "-2015" in everything
    assert len(keys) >= 3
    assert len(everything) > 10_000
    assert [key for key in keys if key in everything] == []


def test_what_came_by_request_alone_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored(settings=SETTINGS):
            await desk.ready()
            desk.faults.set("drop")
            desk.venue.place_order(desk.account, order("BTCUSDT", "BUY", "0.1"))
            desk.faults.clear("all")
            await desk.quiet(seconds=NOTICED_SECONDS)

            sources = {
                entry.source for entry in desk.monitor.journal.entries() if entry.event.event_id.startswith("fill")
            }
            assert sources == {VENUE_TRADES}

    run(scenario())
