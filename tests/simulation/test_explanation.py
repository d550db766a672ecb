"""Equity explained, on accounts that trade while everything goes wrong at the exchange: nothing is left over."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from account_monitor.ledger.events import MarkPrice
from account_monitor.monitor.past import Past
from account_monitor.monitor.period import Period, period
from exchange_simulator.bots import RandomTrader
from tests.simulation.desk_in_memory import DeskInMemory
from tests.simulation.virtual_time import run_virtual

WALLETS = {"USDT": "1000000", "BNB": "10", "USDC": "100000"}


async def price(desk: DeskInMemory) -> None:
    """Tell the monitor of mark prices every second, as their stream does."""
    while True:
        for symbol in desk.feed.wanted() & desk.venue.markets.keys():
            mark = Decimal(desk.venue.markets[symbol].mark) / 10**8
            desk.monitor.mark(MarkPrice(symbol, mark, desk.loop.clock_ms()))
        await asyncio.sleep(1)


def _summed_up(past: Past, start: int, end: int) -> Period:
    """Return what a span has brought, in days of a minute."""
    with past.walk(start, end) as walk:
        return period(walk, "main", lambda at_ms: str(at_ms // 60_000), (start, end))


@pytest.mark.parametrize("seed", range(8))
def test_between_any_two_moments_the_causes_add_up_to_the_change_of_equity(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        desk = DeskInMemory(tmp_path, seed=seed, wallets=WALLETS, moving=True, funding_interval_ms=60_000)
        desk.account.hedge = seed % 2 == 1
        desk.account.fee_burn = seed % 3 != 1
        chance = Random(seed)
        async with desk.exchange_running(), desk.monitored():
            await desk.ready()
            pricing = asyncio.create_task(price(desk))
            await asyncio.sleep(2)
            desk.faults.set("sockets")
            trader = RandomTrader(desk.venue, [desk.account], seed=seed, symbols=list(desk.venue.symbols)[:20])
            for number in range(200):
                trader.step()
                if number % 50 == 25:
                    desk.venue.deposit(desk.account, "BNB", "1")
                await asyncio.sleep(chance.choice((0, 0.01, 0.5)))
            desk.faults.clear("all")
            await desk.quiet(seconds=400)
            pricing.cancel()
            await asyncio.sleep(2)

            past, entries = desk.monitor.past, list(desk.monitor.journal.entries())
            whole = await asyncio.to_thread(past.explain, None, None)
            assert whole.explanation.residual == 0
            assert whole.explanation.after == desk.monitor.view.pnl.equity
            pnl = desk.monitor.view.pnl
            assert pnl.realized_pnl is not None
            assert pnl.unrealized_pnl is not None
            gained = whole.explanation.total("trading") + whole.explanation.total("rounding")
            assert gained == pnl.realized_pnl + pnl.unrealized_pnl
            times = sorted({entry.recorded_at_ms for entry in entries})
            for _ in range(10):
                start, end = sorted(chance.sample(times, 2))
                span = await asyncio.to_thread(past.explain, start, end)
                assert span.explanation.residual in (0, None)
                assert span.explanation.total() == sum(
                    (part.usd for effect in span.effects for part in effect.parts), Decimal(0)
                ) or span.effect_count > len(span.effects)
                made = await asyncio.to_thread(_summed_up, past, start, end)
                assert made.sums.change == span.explanation.total()
                assert (made.before, made.after, made.residual) == (
                    span.explanation.before, span.explanation.after, span.explanation.residual,
                )  # fmt: skip
                assert [day.residual for day in made.days if day.residual] == []
            middle = chance.choice(times)
            now = desk.loop.clock_ms()
            assert past.known(now) == past.believed(now)
            assert past.known(middle).pnl.equity is not None

    run_virtual(scenario())
