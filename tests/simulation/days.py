"""Days: an account that trades all day on an exchange at which nothing goes wrong. Then nothing may be called wrong."""

from __future__ import annotations

import asyncio
import tempfile
from decimal import Decimal
from pathlib import Path
from random import Random

from account_monitor.ledger.events import MarkPrice
from account_monitor.ledger.explanation import residuals
from account_monitor.ledger.reconciliation import Reconciliation
from account_monitor.stores.journal_reader import open_reader
from exchange_simulator.bots import RandomTrader
from exchange_simulator.errors import VenueError
from tests.simulation.desk_in_memory import DeskInMemory
from tests.simulation.virtual_time import run_virtual

FILLS_A_SECOND = 5


def check_day(seed: int, hours: float) -> int:
    """Live through so many hours at five fills a second; return how many fills there were.

    Raises: AssertionError, for anything that was called wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        return run_virtual(_live(seed, hours, Path(folder)))


async def _live(seed: int, hours: float, folder: Path) -> int:
    desk = DeskInMemory(folder, seed=seed, wallets={"USDT": "100000000", "BNB": "10000", "USDC": "100000000"},
                        moving=True)  # fmt: skip
    chance = Random(seed)
    desk.account.hedge, desk.account.fee_burn = seed % 2 == 1, seed % 3 == 1
    trader = RandomTrader(desk.venue, [desk.account], seed=seed, symbols=list(desk.venue.symbols)[:5])
    async with desk.exchange_running(), desk.monitored():
        await desk.ready()
        began = desk.loop.time()
        while desk.loop.time() < began + hours * 3600:
            trader.step()
            if chance.random() < 0.0005:
                _transfer(desk, chance)
            mark = Decimal(desk.venue.markets["BNBUSDT"].mark) / 10**8
            desk.monitor.mark(MarkPrice("BNBUSDT", mark, desk.loop.clock_ms()))
            ahead = began + _fill_count(desk) / FILLS_A_SECOND - desk.loop.time()
            await asyncio.sleep(max(ahead, 0.02) * chance.uniform(0.5, 1.5))
        await desk.quiet(seconds=5)
        await asyncio.sleep(60)
        assert not desk.raised - {"LIQUIDATION", "MARGIN_CALL"}, f"raised: {desk.raised}"
        assert residuals(desk.monitor._account) == {}
    with open_reader(folder / "main.journal") as reader:
        reports = [entry.event for entry in reader.entries() if isinstance(entry.event, Reconciliation)]
    assert not [report for report in reports if report.drifts], f"false drifts: {reports[:3]}"
    return _fill_count(desk)


def _fill_count(desk: DeskInMemory) -> int:
    return sum(len(trades) for trades in desk.account.trades.values())


def _transfer(desk: DeskInMemory, chance: Random) -> None:
    move = desk.venue.deposit if chance.random() < 0.5 else desk.venue.withdraw
    try:
        move(desk.account, chance.choice(("USDT", "BNB")), "10")
    except VenueError:
        pass  # there is too little
