"""What once went wrong under attack: bans over restarts, clocks that are wrong, ids and symbols that nobody expects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from account_monitor.feeds.binance.refusals import VenueRefused
from account_monitor.feeds.binance.requests import AccountRequests
from account_monitor.ledger.events import Fill
from account_monitor.stores.journal_reader import open_reader
from tests.simulation.desk_in_memory import API_KEY, DeskInMemory
from tests.simulation.test_feed_completeness import asked, order, told_by_nats, trade, unheard
from tests.simulation.virtual_time import START_MS, run_virtual

HOUR_MS = 3_600_000


def run(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtual(scenario)


async def healed(desk: DeskInMemory, *, seconds: float = 60.0) -> None:
    """Wait until the books are equal, and hold that nothing is wrong any more."""
    await desk.quiet(seconds=seconds)
    await asyncio.sleep(20)
    assert desk.difference() == {}
    assert not desk.open_alarms - {"LIQUIDATION"}  # which is shown for a while
    assert desk.transport.too_early == []


@pytest.mark.parametrize("fault", ["http_418", "http_429"])
def test_a_ban_outlives_a_restart(tmp_path: Path, fault: str) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running():
            async with desk.monitored():
                await desk.ready()
                desk.faults.set(fault, count=1)
                await asyncio.sleep(8)
            async with desk.monitored():
                await asyncio.sleep(300)
                assert desk.transport.too_early == []
                assert desk.feed.problem is None

    run(scenario())


def test_a_silent_stream_is_noticed_after_the_clock_of_the_exchange_stepped_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("clock_skew", ms=3_600_000)
            await asyncio.sleep(20)
            desk.exchange.disconnect(API_KEY, 1006)
            await asyncio.sleep(20)
            desk.faults.clear("all")
            await asyncio.sleep(60)
            desk.faults.set("silent", count=1)
            for _ in range(6):
                trade(desk, "BTCUSDT", "BUY", "0.01")
                await asyncio.sleep(10)

            assert "STREAM_STALE" in desk.raised
            await healed(desk)

    run(scenario())


@pytest.mark.parametrize("before_ms", [100, 400, -1_000])
def test_an_account_is_not_adopted_while_the_funding_of_an_hour_may_be_under_way(
    tmp_path: Path, before_ms: int
) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            opening = desk.monitor.opening
            assert opening is not None
            assert opening.at_ms % HOUR_MS >= 30_000
            assert desk.raised == set()

    run_virtual(scenario(), start_ms=START_MS - START_MS % HOUR_MS - before_ms)


@pytest.mark.parametrize("ahead_ms", [2_000, 60_000])
def test_fills_from_before_the_adoption_count_once_although_the_clock_of_the_bot_is_ahead(
    tmp_path: Path, ahead_ms: int
) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running():
            told = [told_by_nats(trade(desk, "BTCUSDT", side, "0.2")) for side in ("BUY", "SELL")]
            await asyncio.sleep(0.5)
            async with desk.monitored():
                await desk.ready()
                for delivery in told:
                    assert isinstance(delivery.event, Fill)
                    event = delivery.event._replace(at_ms=delivery.event.at_ms + ahead_ms)
                    desk.tell([delivery._replace(event=event)])
                await asyncio.sleep(15)
                await healed(desk)

    run(scenario())


@pytest.mark.parametrize("code", [-1121, -4108])
def test_money_is_found_although_the_only_symbol_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(self: AccountRequests, symbol: str, *rest: Any, **more: Any) -> Any:
        raise VenueRefused(code, f"{symbol} is refused.", 400)

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            trade(desk, "SOLUSDT", "BUY", "5")
            await asyncio.sleep(70)
            desk.venue.delist("SOLUSDT")
            await asyncio.sleep(10)
            monkeypatch.setattr(AccountRequests, "trades_from", refuse)
            monkeypatch.setattr(AccountRequests, "trades_between", refuse)
            unheard(desk, lambda: desk.venue.deposit(desk.account, "USDT", "5"))
            await healed(desk)

    run(scenario())


def test_a_fill_of_a_contract_that_the_exchange_does_not_list_moves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            told = told_by_nats(trade(desk, "BTCUSDT", "BUY", "0.1"))
            assert isinstance(told.event, Fill)
            desk.tell([told, told._replace(event=told.event._replace(symbol="NOSUCHUSDT", at_ms=desk.loop.clock_ms()))])
            await asyncio.sleep(30)

            assert desk.open_alarms == {"UNEXPECTED_FILL"}
            assert desk.monitor.view.positions.keys() == {"BTCUSDT"}
            assert desk.difference() == {}

    run(scenario())


def test_trade_ids_of_nineteen_digits_are_fetched_like_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.venue.markets["BTCUSDT"].trade_id = 8 * 10**18
            unheard(desk, lambda: trade(desk, "BTCUSDT", "BUY", "0.1"))
            await healed(desk)

    run(scenario())


def test_a_reconnect_asks_nothing_about_symbols_that_were_heard_hours_ago(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1, wallets={"USDT": "10000000"})
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            for symbol in [symbol for symbol in desk.venue.symbols if symbol.endswith("USDT")][:20]:
                rules, market = desk.venue.symbols[symbol], desk.venue.markets[symbol]
                steps = 200 * 10**16 // market.mark // rules.step + 1  # some 200 dollars
                quantity = f"{steps * rules.step / 10**8:.8f}"
                for side in ("BUY", "SELL"):
                    desk.venue.place_order(desk.account, order(symbol, side, quantity))
                await asyncio.sleep(1)
            await asyncio.sleep(2 * 3600)
            before = len(desk.transport.requests)
            desk.exchange.disconnect(API_KEY, 1006)
            await asyncio.sleep(20)

            assert asked(desk, before)["userTrades"] <= 3

    run(scenario())


def test_names_of_events_that_nobody_knows_are_counted_together(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            for number in range(2_000):
                desk.feed.on_message(b'{"e":"NEW_%d","E":1700000000000}' % number, 0)

            assert desk.feed.received["UNKNOWN"] == 2_000
            assert len(desk.feed.received) < 20

    run(scenario())


def test_a_listen_key_is_not_in_the_reason_why_a_message_was_not_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys: list[str] = []
    said: list[str] = []

    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            key = desk.transport.urls[-1].partition("listenKey=")[2]
            keys.append(key)
            for text in (
                f'{{"e":"listenKeyExpired","E":1700000000000,"listenKey":"{key}","listenKey":"x"}}',
                f'{{"stream":"{key}","stream":"{key}2","data":{{}}}}',
                f'{{"stream":"a","data":"{key}"}}',
            ):
                desk.feed.on_message(text.encode(), 0)
            await asyncio.sleep(1)
            said.extend(alarm.alert.message for alarm in desk.alarms.open())

    run(scenario())

    with open_reader(tmp_path / "main.journal") as reader:
        letters = list(reader.dead_letters())
    said += [letter.payload.decode() + letter.reason for letter in letters]
    everything = "".join([*capsys.readouterr(), *said])
    assert len(letters) >= 2
    assert keys[0][:12] not in everything
