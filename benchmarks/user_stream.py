"""How long from a user-stream message that arrives in the process to the view that contains its fill, at 500 a second?

The exchange trades in a process of its own and speaks over real sockets: TRADE_LITE, orders, fills and account updates
of six symbols, several fills to some orders. The journal is on the disk, the loop is the service's, everything is wired
as `exchanges` wires it, statements included.

Beside it, in the same run: one bare commit of SQLite with synchronous=FULL on this disk, which is the floor, and the
same without a flush, with the journal in memory (/dev/shm): that is ours.
"""

from __future__ import annotations

import asyncio
import gc
import re
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from account_monitor.cli.service import run_loop
from account_monitor.clock import now_ms
from account_monitor.config import ReconciliationSettings, ThresholdSettings
from account_monitor.exchanges import Exchanges
from account_monitor.feeds.binance.transport import AiohttpTransport, Frame, Socket, Text
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.ledger.events import Fill
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import VENUE_STREAM, Recorded
from account_monitor.monitor.views import Change, View
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from benchmarks.exchange import ExchangeProcess, Report

PER_SECOND = 500
SECONDS = 20
COMMITS = 500
PAUSE_SECONDS = 0.008  # between the fills of this benchmark: a disk that rests takes longer than one that is kept busy
ROW = bytes(430)  # what an entry takes
READY_SECONDS = 30.0
MEMORY = Path("/dev/shm")  # noqa: S108  # a RAM disk, wherever there is one

_trade = re.compile(rb'"s":"([A-Z0-9]+)".*"x":"TRADE".*"t":([0-9]+)').search


class _Fill(NamedTuple):
    """The way of one fill. Times are `time.monotonic`."""

    sent: float
    heard: float
    commit: float
    """When the commit that holds it began."""
    durable: float
    view: float
    observed: float


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        commits = _commits(Path(folder))
        print(f"one bare commit of SQLite with synchronous=FULL, {1 / PAUSE_SECONDS:.0f} a second: {_spread(commits)}")
        on_disk = _run(Path(folder))
    _print("journal on the disk", on_disk)
    print(f"  heard → view / bare commit: median × {_at(_hop(on_disk, 1, 4), 0.5) / _at(commits, 0.5):.1f}")
    if not MEMORY.is_dir():
        print("journal in memory: not measured, there is no /dev/shm")
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        _print("journal in memory", _run(Path(folder)))


def _run(folder: Path) -> list[_Fill]:
    found: list[_Fill] = []
    with ExchangeProcess(messages=PER_SECOND) as exchange:
        run_loop(_measure(folder, exchange, found.extend))
    return found


async def _measure(folder: Path, exchange: ExchangeProcess, take: Callable[[list[_Fill]], None]) -> None:
    tasks: dict[str, asyncio.Task[None]] = {}

    def spawn(name: str, work: Coroutine[Any, Any, None]) -> None:
        tasks[name] = asyncio.create_task(work)

    async def cancel(name: str) -> None:
        tasks[name].cancel()
        await asyncio.wait([tasks[name]])

    account = exchange.account()
    journal = _TimedJournal.open(folder, account.name, clock=now_ms)
    monitor = Monitor(
        account.name, journal, JournalCheckpoints(journal, USD_ASSETS), Inbox(), clock=now_ms, monotonic=time.monotonic,
        usd_assets=USD_ASSETS, opening=None, snapshot_seconds=1.0, has_venue=True,
    )  # fmt: skip
    await monitor.start()
    desk, alarms, transport, views = Desk(now_ms, ""), AlarmBoard(now_ms), _TimedTransport(), _Views(journal)
    exchanges = Exchanges(desk, alarms, spawn=spawn, cancel=cancel, nats_connected=lambda: False, transport=transport)
    monitor.observers.append(views.first)
    alarms.attach(monitor)
    exchanges.open(monitor, account, ReconciliationSettings(), ThresholdSettings())
    monitor.observers.append(views.last)
    spawn("monitor", monitor.run())
    spawn("watch", _watch(exchanges))
    try:
        await _until_ready(desk, tasks)
        gc.collect()
        gc.freeze()  # as the service does
        exchange.trade()
        await asyncio.sleep(SECONDS)
        exchange.stop()
        await asyncio.sleep(0.5)
        report = await asyncio.to_thread(exchange.report)
        take(_joined(report, transport, views))
        wallet = monitor.view.balances["USDT"].total
        assert wallet is not None
        assert f"{wallet:f}".rstrip("0").rstrip(".") == report.wallets["USDT"], "the books differ"
        print(f"  {report.messages:,} messages in {SECONDS} s; alarms: {dict(alarms.raised) or 'none'}")
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        await transport.close()
        await journal.close()
        gc.unfreeze()


async def _watch(exchanges: Exchanges) -> None:
    while True:
        exchanges.watch()
        await asyncio.sleep(0.25)


async def _until_ready(desk: Desk, tasks: dict[str, asyncio.Task[None]]) -> None:
    desk.wait_for("start", None)
    deadline = time.monotonic() + READY_SECONDS
    while desk.unready:
        assert time.monotonic() < deadline, desk.unready
        for task in tasks.values():
            if task.done():
                task.result()
        await asyncio.sleep(0.1)


# -- the stop-watches --------------------------------------------------------------------------------------------------


class _TimedTransport(AiohttpTransport):
    """The network, noting when each fill was handed to the process."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[float, bytes]] = []

    async def connect(self, url: str, *, timeout_seconds: float) -> Socket:
        socket = await super().connect(url, timeout_seconds=timeout_seconds)
        receive = socket.receive

        async def timed() -> Frame:
            frame = await receive()
            if isinstance(frame, Text):
                self.heard.append((time.monotonic(), frame.payload))
            return frame

        if "/private/" in url:
            socket.receive = timed  # type: ignore[method-assign]
        return socket


class _TimedJournal(Journal):
    """The journal, noting when the last append began and ended."""

    began = ended = 0.0

    async def append(self, deliveries: Any, positions: Any = ()) -> Recorded:
        began = time.monotonic()
        recorded = await super().append(deliveries, positions)
        self.began, self.ended = began, time.monotonic()
        return recorded


class _Views:
    """Observes the monitor: when was a fill in a view, and when had everybody been told?"""

    def __init__(self, journal: _TimedJournal) -> None:
        self.seen: dict[str, tuple[float, float, float]] = {}
        self.told: dict[str, float] = {}
        self._journal = journal

    def first(self, view: View, change: Change) -> None:
        now, journal = time.monotonic(), self._journal
        for name in _fills_of(change):
            self.seen[name] = (journal.began, journal.ended, now)

    def last(self, view: View, change: Change) -> None:
        now = time.monotonic()
        for name in _fills_of(change):
            self.told[name] = now


def _fills_of(change: Change) -> list[str]:
    entries = change.recorded.entries if change.recorded is not None else []
    return [
        f"{entry.event.symbol}:{entry.event.trade_id}"
        for entry in entries
        if type(entry.event) is Fill and entry.source == VENUE_STREAM
    ]


def _joined(report: Report, transport: _TimedTransport, views: _Views) -> list[_Fill]:
    heard = {f"{found[1].decode()}:{found[2].decode()}": at for at, text in transport.heard if (found := _trade(text))}
    assert len(views.seen) == len(heard) == len(report.trades), "a fill was not heard, or not seen"
    return [_Fill(report.trades[name], heard[name], *views.seen[name], views.told[name]) for name in heard]


# -- reference and print -----------------------------------------------------------------------------------------------


def _commits(folder: Path) -> list[float]:
    """Return the milliseconds of commits of one row each, sorted."""
    connection = apsw.Connection(str(folder / "bare.db"))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "FULL")
    connection.execute("CREATE TABLE entries (row)")
    costs = []
    for _ in range(COMMITS):
        time.sleep(PAUSE_SECONDS)
        started = time.monotonic()
        connection.execute("INSERT INTO entries VALUES (?)", (ROW,))
        costs.append((time.monotonic() - started) * 1000)
    connection.close()
    return sorted(costs)


def _print(title: str, fills: list[_Fill]) -> None:
    print(f"{title}: {len(fills):,} fills")
    for name, start, end in (
        ("heard → view", 1, 4),
        ("  heard → commit begins", 1, 2),
        ("  commit", 2, 3),
        ("  durable → view", 3, 4),
        ("view → all observers told", 4, 5),
        ("sent by the exchange → view", 0, 4),
    ):
        print(f"  {name:<28} {_spread(_hop(fills, start, end))}")


def _hop(fills: list[_Fill], start: int, end: int) -> list[float]:
    """Return the milliseconds between two places of the way, sorted."""
    return sorted((fill[end] - fill[start]) * 1000 for fill in fills)


def _spread(ordered: list[float]) -> str:
    median, p90, p99 = (_at(ordered, share) for share in (0.5, 0.9, 0.99))
    return f"median {median:5.2f} ms, p90 {p90:5.2f}, p99 {p99:5.2f}, most {ordered[-1]:6.2f}"


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
