"""The feed against the simulated exchange, in virtual time: what is heard, missed and fetched again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from exchange_simulator.errors import VenueError
from tests.simulation.desk_in_memory import DeskInMemory
from tests.simulation.virtual_time import run_virtual


def order(symbol: str, side: str, quantity: str, **more: str) -> dict[str, str]:
    return {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity, **more}


def test_an_account_is_adopted_and_its_fills_are_heard(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        desk.venue.place_order(desk.account, order("BTCUSDT", "BUY", "0.5"))
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            for side in ("BUY", "SELL", "SELL"):
                desk.venue.place_order(desk.account, order("BTCUSDT", side, "0.4"))
                await asyncio.sleep(0.3)
            await desk.quiet(seconds=2)
            assert desk.alarms.open() == []

    run_virtual(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_random_orders_under_faults(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=seed, moving=True, funding_interval_ms=120_000)
        chance = Random(seed)
        symbols = list(desk.venue.symbols)[:20]
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            desk.faults.set("sockets")
            for _ in range(500):
                try:
                    desk.venue.place_order(desk.account, order(chance.choice(symbols), chance.choice(["BUY", "SELL"]), str(chance.choice([1, 2, 5, 10]))))
                except VenueError as e:
                    pass
                await asyncio.sleep(chance.choice([0, 0, 0.01, 0.5]))
            desk.faults.clear("all")
            await desk.quiet(seconds=300)
            print(desk.alarms.raised, desk.feed.received, desk.feed.reconnects, desk.transport.requests.__len__())

    run_virtual(scenario())
