"""History from a stream counts the same however long the exchange takes to say what a new account holds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.simulation.desk_in_memory import DeskInMemory, books
from tests.simulation.test_feed_completeness import told_by_nats, trade
from tests.simulation.virtual_time import run_virtual


@pytest.mark.parametrize("silent_seconds", [0, 20])
def test_fills_from_before_the_adoption_count_once_however_long_the_exchange_is_silent(
    tmp_path: Path, silent_seconds: int
) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        history = _history(desk)
        async with desk.exchange_running(), desk.monitored():
            desk.faults.set("http_502")
            desk.tell([told_by_nats(record) for record in history])
            await asyncio.sleep(silent_seconds)
            desk.faults.clear("all")
            await desk.ready()
            await asyncio.sleep(20)
            _counts_once(desk)

    run_virtual(scenario())


def test_fills_from_before_the_adoption_count_once_although_the_first_start_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=1)
        told = [told_by_nats(record) for record in _history(desk)]
        async with desk.exchange_running():
            async with desk.monitored():
                desk.faults.set("http_502")
                desk.tell(told)
                await asyncio.sleep(5)
                desk.monitor.stop()  # in good order, as after a wrong key
                await asyncio.sleep(1)
            desk.faults.clear("all")
            async with desk.monitored():
                desk.tell(told)
                await desk.ready()
                await asyncio.sleep(20)
                _counts_once(desk)

    run_virtual(scenario())


def _history(desk: DeskInMemory) -> list[object]:
    """Buy 0.2 dearly, sell half of it cheaply, and return the venue's records of both."""
    bought = trade(desk, "BTCUSDT", "BUY", "0.2")
    desk.venue.set_price("BTCUSDT", "50000")
    return [bought, trade(desk, "BTCUSDT", "SELL", "0.1")]


def _counts_once(desk: DeskInMemory) -> None:
    assert not desk.difference()
    assert books(desk.monitor)["realized"] == {}
    assert "UNEXPECTED_FILL" not in desk.raised
