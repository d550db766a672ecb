"""A NATS feed with in-memory journals behind it: what it puts into the inboxes is recorded, as a monitor would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from account_monitor.clock import now_ms
from account_monitor.feeds.nats import NatsFeed
from account_monitor.ledger.events import Fill
from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.ports import UNROUTED, Delivery, StreamPosition

PATIENCE_SECONDS = 30.0


def fill_json(trade_id: int, account: str | None = None, **changes: str) -> bytes:
    """Return a fill as a publisher writes it."""
    named = f'"account":"{account}",' if account else ""
    fields = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.001", "price": "50000.00"} | changes
    text = ",".join(f'"{key}":"{value}"' for key, value in fields.items())
    return f'{{"id":"{trade_id}",{named}{text},"timestamp":"2026-11-22T12:00:00.000Z"}}'.encode()


class Recorder:
    """Takes what an inbox holds and remembers it, with the positions, until it is paused."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.deliveries: list[Delivery] = []
        self.positions: dict[str, StreamPosition] = {}
        self.can_record = asyncio.Event()
        self.can_record.set()

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            await self.inbox.wait(0.02)
            await self.can_record.wait()
            self.record()
            await asyncio.sleep(0)

    def record(self) -> None:
        """Record what is there now."""
        deliveries, seen = self.inbox.take(1000)
        self.deliveries += deliveries
        self.positions |= {position.source: position for position in seen}
        for delivery in deliveries:
            if delivery.acknowledge is not None:
                delivery.acknowledge()

    def seen(self, source: str = "nats:FILLS") -> int:
        """The recorded place in a source, -1 for none."""
        return self.positions[source].sequence if source in self.positions else -1

    @property
    def trade_ids(self) -> list[int]:
        """The fills, in the order in which they came, repetitions included."""
        return [int(d.event.trade_id) for d in self.deliveries if isinstance(d.event, Fill)]

    @property
    def rejections(self) -> list[tuple[str | None, str]]:
        """The rejection and reason of what was no event."""
        return [(d.rejection, d.reason) for d in self.deliveries if d.rejection is not None]

    @property
    def sequences(self) -> list[int]:
        """The places of all deliveries."""
        return [delivery.sequence for delivery in self.deliveries]


class Prices:
    """Remembers the marks."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, Decimal, int]] = []

    def mark(self, symbol: str, price: Decimal, at_ms: int) -> None:
        """Take a mark."""
        self.marks.append((symbol, price, at_ms))


class Rig:
    """A feed and a recorder for every account; as a context manager it runs for the length of the block."""

    def __init__(self, url: str, *accounts: str, after: Rig | None = None, **settings: Any) -> None:
        """`after` is a rig that has ended: this one starts from what it recorded, as a process that restarts."""
        self.inboxes = Inboxes()
        self.prices = Prices()
        self.recorders: dict[str, Recorder] = {}
        for account in accounts or ("main",):
            self.inboxes.add(account, Inbox())
        for account, inbox in self.inboxes.all():
            self.recorders[account] = Recorder(inbox)
            if after is not None and account in after.recorders:
                self.recorders[account].positions = dict(after.recorders[account].positions)
        usual: dict[str, Any] = {"clock": now_ms, "look_seconds": 0.1, "reconnect_wait_seconds": 0.05}
        self.feed = NatsFeed(
            url,
            inboxes=self.inboxes,
            prices=self.prices,
            recorded=self.positions(),
            **(usual | settings),
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Rig:
        work = [self.feed.run(), *(recorder.run() for recorder in self.recorders.values())]
        self._tasks = [asyncio.create_task(each) for each in work]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def positions(self) -> dict[str, dict[str, StreamPosition]]:
        """What the journals have recorded."""
        return {account: dict(recorder.positions) for account, recorder in self.recorders.items()}

    async def add_account(self, account: str) -> None:
        """Configure one more account while the feed runs."""
        self.inboxes.add(account, Inbox())
        inbox = self.inboxes.get(account)
        assert inbox is not None
        self.recorders[account] = Recorder(inbox)
        self._tasks.append(asyncio.create_task(self.recorders[account].run()))
        await self.feed.accounts_changed(self.positions())

    @property
    def main(self) -> Recorder:
        """The recorder of the account `main`."""
        return self.recorders["main"]

    @property
    def unrouted(self) -> Recorder:
        """The recorder of what is nobody's."""
        return self.recorders[UNROUTED]

    @property
    def gaps(self) -> list[str]:
        """The texts of the STREAM_GAP alarms."""
        return [gap.text for gap in self.feed.status.gaps]

    async def has(self, trade_ids: Iterable[int], account: str = "main") -> None:
        """Return once all these fills are recorded."""
        wanted = set(trade_ids)
        recorder = self.recorders[account]
        await until(lambda: len(recorder.deliveries) >= len(wanted) and wanted <= set(recorder.trade_ids))

    async def reaches_end(self) -> None:
        """Return once the feed says that it has put all that there was."""
        await until(lambda: self.feed.status.has_reached_end)


async def until(condition: Callable[[], bool], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Return once the condition holds; fail when patience runs out."""
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience_seconds:g} s"
        await asyncio.sleep(0.01)
