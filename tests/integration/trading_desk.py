"""A desk with real journals and open doors, for the tests that knock on them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from account_monitor.api.server import Doors
from account_monitor.historian.reading import HistoryReader
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.ledger.events import Event, Fill, MarkPrice, Opening, Side
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import Delivery
from account_monitor.monitor.roll import Roll, RollAccount
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.history.projector import Projector
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path

OPENED_MS = 1_700_000_000_000


def clock() -> int:
    """Return the time of the machine."""
    return time.time_ns() // 1_000_000


class OtherHolders:
    """Processes that hold accounts, by account (name, address), and read what is copied for them, or not in time."""

    def __init__(self, *, is_copied: bool, held: dict[str, tuple[str, str]] | None = None) -> None:
        self.is_copied = is_copied
        self._held = {
            account: RollAccount(account, 1, member, address, is_here=False)
            for account, (member, address) in (held or {}).items()
        }
        self.asked: list[tuple[str, int, float]] = []

    def roll(self) -> Roll:
        return Roll("a store", 5.0, is_suspended=False, problem=None, members=[], accounts=[*self._held.values()])

    def elsewhere(self, account: str) -> RollAccount | None:
        return self._held.get(account)

    async def is_replicated(self, account: str, seq: int, seconds: float) -> bool:
        self.asked.append((account, seq, seconds))
        return self.is_copied


class TradingDesk:
    """Accounts on real journals, and doors on free ports."""

    def __init__(self, data_dir: Path, **doors: Any) -> None:
        self.data_dir = data_dir
        self.desk = Desk(clock, "9.9.9")
        self.doors = Doors(self.desk, http_port=0, metrics_port=0, **doors)
        self.reader: HistoryReader | None = None
        self._running: dict[str, tuple[asyncio.Task[None], Journal]] = {}
        self._trades = 0
        self._changed = asyncio.Event()
        self.desk.observe(lambda view, change: self._changed.set())

    async def open(
        self, account: str = "main", *, wallet: str | None = "10000", snapshot_seconds: float = 3600.0
    ) -> Monitor:
        """Fold and show an account; configure it, too, if it was not. Marks are journaled where an event needs them."""
        if account not in self.desk.accounts:
            self.desk.configure([*self.desk.accounts, account])
        journal = await asyncio.to_thread(Journal.open, self.data_dir, account, clock=clock)
        opening = None if wallet is None else Opening("1", OPENED_MS, (("USDT", Decimal(wallet)),))
        monitor = Monitor(
            account,
            journal,
            JournalCheckpoints(journal, USD_ASSETS),
            Inbox(),
            clock=clock,
            monotonic=time.monotonic,
            usd_assets=USD_ASSETS,
            opening=opening,
            snapshot_seconds=snapshot_seconds,
        )
        await monitor.start()
        self.desk.add(monitor)
        self._running[account] = (asyncio.create_task(monitor.run()), journal)
        return monitor

    async def close(self, account: str) -> None:
        """Remove an account, its journal complete."""
        monitor = self.monitor(account)
        task, journal = self._running.pop(account)
        monitor.stop()
        await task
        self.desk.remove(account)
        await journal.close()

    def monitor(self, account: str = "main") -> Monitor:
        """Return the monitor of an account."""
        monitor = self.desk.monitor(account)
        assert monitor is not None
        return monitor

    def fill(
        self, side: Side = "BUY", quantity: str = "1", at: str = "100", symbol: str = "BTCUSDT", **more: Any
    ) -> Fill:
        """Make the next fill of the venue."""
        self._trades += 1
        usual = {"at_ms": clock(), "fee": Decimal("0.05"), "fee_asset": "USDT"}
        return Fill(symbol, str(self._trades), side, Decimal(quantity), Decimal(at), **{**usual, **more})

    def put(self, *events: Event, account: str = "main") -> None:
        """Deliver events, as a feed does."""
        for event in events:
            self.monitor(account).inbox.put(Delivery("nats:fills", "trading.fills", b"{}", event))

    async def trade(self, *events: Event, account: str = "main") -> int:
        """Deliver events one commit after the other; return the sequence of the last."""
        for event in events:
            before = self.monitor(account).view.seq
            self.put(event, account=account)
            await self.reach(before + 1, account)
        return self.monitor(account).view.seq

    async def reach(self, seq: int, account: str = "main") -> None:
        """Return when a view includes a sequence."""
        while self.monitor(account).view.seq < seq:
            self._changed.clear()
            await self._changed.wait()

    async def remember(self, account: str = "main", *, store: HistoryStore | None = None) -> None:
        """Write what is recorded into a history, and let the desk be asked about the usual one."""
        store, begun = store or SqliteHistory(self.data_dir, clock), asyncio.Event()
        projector = Projector(
            account,
            journal_path(self.data_dir, account),
            store,
            usd_assets=USD_ASSETS,
            interval_ms=1,
            clock=clock,
            tell=lambda progress: begun.set(),
        )
        projecting = asyncio.create_task(projector.run())
        await begun.wait()
        projector.stop()
        await projecting
        await store.close()
        if self.reader is None:
            self.desk.history = self.reader = HistoryReader(SqliteHistory(self.data_dir, clock))

    async def mark(self, price: str, symbol: str = "BTCUSDT", account: str = "main") -> None:
        """Let a mark price be taken."""
        self.monitor(account).mark(MarkPrice(symbol, Decimal(price), clock()))
        await asyncio.sleep(0.12)


@asynccontextmanager
async def trading_desk(data_dir: Path, **doors: Any) -> AsyncIterator[TradingDesk]:
    """Open the doors of an empty desk, and close everything at the end."""
    desk = TradingDesk(data_dir, **doors)
    await desk.doors.start()
    try:
        await desk.doors.complete()
        yield desk
    finally:
        await desk.doors.stop()
        if desk.reader is not None:
            await desk.reader.close()
        for account in list(desk._running):
            await desk.close(account)


async def get(url: str, *, status: int = 200, **options: Any) -> Any:
    """Return the JSON of a page, whose status must be as expected."""
    async with aiohttp.ClientSession() as session, session.get(url, **options) as response:
        body = await response.json(content_type=None)
        assert response.status == status, body
        return body


class Mirror:
    """A client that keeps what the stream tells, and checks that it tells everything: no hole, no step back."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.seqs: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        self.state: dict[str, dict[str, Any]] = {}
        self.fills: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.health: dict[str, Any] | None = None

    def take(self, text: str) -> dict[str, Any]:
        """Take one message and return it."""
        message: dict[str, Any] = json.loads(text)
        assert list(message) == ["type", "account", "epoch", "seq", "prev", "timestamp", "data"]
        self.messages.append(message)
        if message["type"] == "health":
            self.health = message["data"]
        elif message["type"] == "snapshot":
            self._start(message)
        else:
            self._follow(message)
        return message

    def _start(self, message: dict[str, Any]) -> None:
        account = message["account"]
        assert message["prev"] is None
        assert (message["data"]["epoch"], message["data"]["seq"]) == (message["epoch"], message["seq"])
        self.state[account] = {name: message["data"][name] for name in ("positions", "balances", "pnl")}
        self.seqs[account] = message["seq"]
        self.epochs[account] = message["epoch"]

    def _follow(self, message: dict[str, Any]) -> None:
        account, data = message["account"], message["data"]
        assert message["prev"] == self.seqs[account], message
        assert message["seq"] >= message["prev"]
        assert message["epoch"] == self.epochs[account]
        self.seqs[account] = message["seq"]
        match message["type"]:
            case "fill":
                assert data["seq"] == message["seq"]
                self.fills.append(data)
            case "alert":
                self.alerts.append(data)
            case "reconciliation":
                assert data["seq"] == message["seq"]
                self.reports.append(data)
            case "position_update":
                self.state[account]["positions"][data.pop("key")] = data
            case "balance_update":
                self.state[account]["balances"][data["asset"]] = data
            case "pnl_update":
                self.state[account]["pnl"] = data
            case "risk_update":
                assert list(data) == ["risk", "reconciliation", "unpriced"]
            case other:
                raise AssertionError(f"a message of type {other}")

    def place(self, account: str = "main") -> str:
        """Return `since` for one account."""
        return f"{self.epochs[account]}:{self.seqs[account]}"


class Client:
    """A mirror on a socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, mirror: Mirror) -> None:
        self.socket = socket
        self.mirror = mirror

    async def next(self, kind: str | None = None, *, timeout_seconds: float = 5.0) -> dict[str, Any]:
        """Return the next message, of this kind."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                message = self.mirror.take(await self.socket.receive_str())
                if kind is None or message["type"] == kind:
                    return message

    async def until(self, is_true: Callable[[Mirror], bool], *, timeout_seconds: float = 10.0) -> None:
        """Take messages until the mirror is as wanted."""
        async with asyncio.timeout(timeout_seconds):
            while not is_true(self.mirror):
                self.mirror.take(await self.socket.receive_str())

    async def quiet(self, seconds: float = 0.3) -> list[dict[str, Any]]:
        """Take messages until none comes for a while; return them."""
        taken: list[dict[str, Any]] = []
        while True:
            try:
                async with asyncio.timeout(seconds):
                    text = await self.socket.receive_str()
            except TimeoutError:
                return taken
            taken.append(self.mirror.take(text))


@asynccontextmanager
async def listening(
    desk: TradingDesk, query: str = "interval_ms=50", mirror: Mirror | None = None
) -> AsyncIterator[Client]:
    """Connect to the stream."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{desk.doors.http_url}/ws?{query}", max_msg_size=0) as socket,
    ):
        yield Client(socket, mirror if mirror is not None else Mirror())


async def eventually(is_true: Callable[[], bool], *, timeout_seconds: float = 2.0) -> None:
    """Return when something is so that nobody tells."""
    async with asyncio.timeout(timeout_seconds):
        while not is_true():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
