"""An account that trades with itself: two executions under one trade id, and books that are equal all the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from account_monitor.ledger.events import Fill
from account_monitor.monitor.ports import Delivery, FillQuery
from exchange_simulator.bots import RandomTrader
from exchange_simulator.positions import Trade
from tests.simulation.desk_in_memory import DeskInMemory
from tests.simulation.virtual_time import run_virtual


def run(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtual(scenario)


def place(desk: DeskInMemory, side: str, quantity: str, **more: str) -> None:
    if desk.account.hedge:
        more["positionSide"] = "LONG" if side == "BUY" else "SHORT"
    desk.venue.place_order(
        desk.account,
        {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": quantity,
         "selfTradePreventionMode": "NONE", **more},
    )  # fmt: skip


def trade_with_itself(desk: DeskInMemory, taker: str, *, quantity: str = "0.1") -> None:
    """Let an order of the account meet another one of its own, with nobody else near."""
    mark = desk.venue.markets["BTCUSDT"].mark / 10**8
    desk.venue.set_ladder("BTCUSDT", bids=[(f"{mark * 0.9:.1f}", "1")], asks=[(f"{mark * 1.1:.1f}", "1")])
    desk.venue.cancel_all_orders(desk.account, {"symbol": "BTCUSDT"})
    maker = "SELL" if taker == "BUY" else "BUY"
    place(desk, maker, quantity, type="LIMIT", price=f"{mark:.1f}", timeInForce="GTC")
    place(desk, taker, quantity)


def trades_with_itself(desk: DeskInMemory) -> list[str]:
    """Return the ids under which the venue has two executions of the account."""
    counts = Counter(trade.id for trade in desk.account.trades["BTCUSDT"])
    return sorted(str(number) for number, count in counts.items() if count == 2)


def halves(desk: DeskInMemory) -> list[tuple[str, str]]:
    """Return (trade id, side) of the fills that the monitor shows two of."""
    page = desk.monitor.journal.fills(FillQuery(limit=10_000))
    fills = [entry.event for entry in page.entries if isinstance(entry.event, Fill)]
    counts = Counter(fill.trade_id for fill in fills)
    return sorted((fill.trade_id, fill.side) for fill in fills if counts[fill.trade_id] == 2)


def told(trade: Trade) -> Delivery:
    """Return what a bot says of one of its fills on NATS; it does not know what the exchange realized."""
    fill = Fill(
        trade.symbol, str(trade.id), "BUY" if trade.side == "BUY" else "SELL",
        Decimal(trade.quantity) / 10**8, Decimal(trade.price) / 10**8, trade.at_ms + 7, order_id=str(trade.order_id),
    )  # fmt: skip
    return Delivery("nats:TRADING", "trading.fills.main", b"{}", fill)


def both_sides(numbers: list[str]) -> list[tuple[str, str]]:
    return sorted((number, side) for number in numbers for side in ("BUY", "SELL"))


@pytest.mark.parametrize("taker", ["BUY", "SELL"])
@pytest.mark.parametrize("heard", ["on the stream", "from the list of trades"])
def test_both_halves_of_a_trade_with_itself_are_booked(tmp_path: Path, heard: str, taker: str) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running():
            async with desk.monitored():
                await desk.ready()
                place(desk, "BUY", "0.3")
                if heard != "on the stream":
                    desk.faults.set("drop")
                trade_with_itself(desk, taker)
                desk.faults.clear("drop")
                await desk.quiet(seconds=120)

                assert len(trades_with_itself(desk)) == 1
                assert halves(desk) == both_sides(trades_with_itself(desk))
                assert "CONFLICTING_FILL" not in desk.raised
                theirs = desk.account.holding(desk.venue.symbols["BTCUSDT"]).position("BOTH").cost
                assert abs(int(desk.monitor._account.leg("BTCUSDT").cost * 10**32) - theirs) <= 10**24
                await asyncio.sleep(60)
                assert desk.open_alarms == set()
            async with desk.monitored():
                await desk.ready()
                await asyncio.sleep(30)
                assert desk.difference() == {}
                assert halves(desk) == both_sides(trades_with_itself(desk))

    run(scenario())


@pytest.mark.parametrize("who_first", ["NATS", "the exchange"])
def test_a_bot_may_tell_of_both_halves_too(tmp_path: Path, who_first: str) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            place(desk, "BUY", "0.3")
            await desk.quiet()
            desk.tell([told(trade) for trade in desk.account.trades["BTCUSDT"]])
            trade_with_itself(desk, "SELL")
            if who_first == "the exchange":
                await desk.quiet()
            desk.tell([told(trade) for trade in reversed(desk.account.trades["BTCUSDT"])])
            await desk.quiet()
            await asyncio.sleep(60)
            desk.crosscheck.look()

            assert halves(desk) == both_sides(trades_with_itself(desk))
            assert desk.raised == set()

    run(scenario())


@pytest.mark.parametrize("seed", range(4))
def test_whatever_an_account_trades_with_itself_the_books_are_equal(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=seed, wallets={"USDT": "1000000", "BNB": "10"}, moving=True)
        desk.account.hedge = seed % 2 == 1
        chance = Random(seed)
        trader = RandomTrader(desk.venue, [desk.account], seed=seed, symbols=["BTCUSDT"])
        async with desk.exchange_running():
            for _ in range(2):  # and once more after a restart
                async with desk.monitored():
                    await desk.ready()
                    for _ in range(300):
                        desk.faults.set("drop") if chance.random() < 0.02 else desk.faults.clear("drop")
                        if chance.random() < 0.1:
                            trade_with_itself(desk, chance.choice(("BUY", "SELL")), quantity="0.01")
                        else:
                            trader.step()
                        await asyncio.sleep(chance.choice((0, 0, 0.01, 0.5)))
                    desk.faults.clear("drop")
                    await desk.quiet()
            async with desk.monitored():
                await desk.ready()
                assert desk.difference() == {}
                assert len(trades_with_itself(desk)) > 20
                assert halves(desk) == both_sides(trades_with_itself(desk))
                assert "CONFLICTING_FILL" not in desk.raised

    run(scenario())
