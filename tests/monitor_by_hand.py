"""A monitor on a real journal, stepped by hand, with time as an argument."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from account_monitor.ledger.account import USD_ASSETS
from account_monitor.ledger.events import Event, Fill, Opening
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import Delivery
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal

NOW_MS = 1_790_000_000_000
D = Decimal


class Clock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms

    def seconds(self) -> float:
        return self.ms / 1000


@asynccontextmanager
async def opened(
    data_dir: Path,
    clock: Clock,
    opening: Opening | None = None,
    *,
    name: str = "main",
    has_venue: bool = False,
    snapshot_seconds: float = 1.0,
) -> AsyncIterator[Monitor]:
    journal = Journal.open(data_dir, name, clock=clock)
    try:
        monitor = Monitor(
            name,
            journal,
            JournalCheckpoints(journal, USD_ASSETS),
            Inbox(),
            clock=clock,
            monotonic=clock.seconds,
            usd_assets=USD_ASSETS,
            opening=opening,
            snapshot_seconds=snapshot_seconds,
            has_venue=has_venue,
        )
        await monitor.start()
        yield monitor
    finally:
        await journal.close()


def fill(trade_id: str, side: str = "BUY", quantity: str = "1", price: str = "100", **more: object) -> Fill:
    return Fill("BTCUSDT", trade_id, side, D(quantity), D(price), NOW_MS, **more)  # type: ignore[arg-type]


def heard(event: Event, sequence: int = 0, source: str = "FILLS") -> Delivery:
    return Delivery(source, "trading.fills", b"{}", event, sequence)
