"""A takeover: how long is an account silent of which this process followed the journal, and of which it did not?

A short and a long history lie in a PostgreSQL that flushes. The short and the long one are taken over in turns, by a
folder that was followed (warm) and by one that has nothing (cold), and each as often: the machine is noisy. Beside it,
what following costs: the one question for many accounts, and entries that come.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from account_monitor.clock import now_ms
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import Delivery
from account_monitor.stores.checkpoints import Folding, JournalCheckpoints
from account_monitor.stores.history.following import Following, Heritage
from account_monitor.stores.history.postgres import PostgresHistory
from account_monitor.stores.history.projector import Progress, Projector
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.history.succession import succeed
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_file import journal_path
from benchmarks.fills import fills
from tests.servers.postgres import PostgresServer

SHORT, LONG = 1_000, 200_000
LAST = 20
"""Entries that came since the followers looked last: a tenth of a second of a busy account."""

ROUNDS, COLD_ROUNDS = 6, 2
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "XRPUSDT")
MANY = 500
BATCH = 1_000


class Holder:
    """Who writes an account, under one epoch after another, and copies it."""

    def __init__(self, folder: Path, account: str, count: int, store: HistoryStore) -> None:
        self.folder = folder
        self.account = account
        self._fills = fills(count + LAST * ROUNDS, symbols=SYMBOLS)
        self._end = 0
        self._copied = asyncio.Event()
        self._projector = Projector(
            account, journal_path(folder, account), store, usd_assets=USD_ASSETS, interval_ms=60_000, clock=now_ms,
            tell=self._note,
        )  # fmt: skip
        self._projecting: asyncio.Task[None] | None = None

    def _note(self, told: Progress) -> None:
        if told.seq == self._end:
            self._copied.set()

    async def stop(self) -> None:
        """Copy no more."""
        self._projector.stop()
        if self._projecting is not None:
            await self._projecting

    async def record(self, count: int) -> None:
        """Record more, and copy it."""
        journal = Journal.open(self.folder, self.account, clock=now_ms)
        for start in range(0, count, BATCH):
            some = [next(self._fills) for _ in range(min(BATCH, count - start))]
            await journal.append([Delivery("FILLS", "trading.fills", b"", fill) for fill in some])
        self._end = journal.last_seq
        await journal.close()
        self._copied.clear()
        if self._projecting is None:
            self._projecting = asyncio.create_task(self._projector.run())
        self._projector.hurry()
        await self._copied.wait()


async def take_over(store: HistoryStore, folder: Path, account: str, followed: Following | None = None) -> float:
    """Do what a takeover does between its lease and the first view; return how many seconds that took."""
    began = time.perf_counter()
    replica = await store.replica(account)
    assert replica is not None
    heritage = Heritage() if followed is None else await followed.hand_over(account, replica)
    if heritage.done is None:
        await succeed(store, folder, account, replica, clock=now_ms, progress=lambda done, whole: None)
    journal = await asyncio.to_thread(Journal.open, folder, account, clock=now_ms)
    await journal.begin_epoch(max(journal.epoch + 1, now_ms() // 1000))
    monitor = Monitor(
        account, journal, JournalCheckpoints(journal, USD_ASSETS, folded=heritage.state), Inbox(), clock=now_ms,
        monotonic=time.monotonic, usd_assets=USD_ASSETS, opening=None, snapshot_seconds=60.0,
    )  # fmt: skip
    await monitor.start()
    took = time.perf_counter() - began
    await journal.close()
    return took


@asynccontextmanager
async def following(store: HistoryStore, folder: Path, accounts: list[str]) -> AsyncIterator[Following]:
    """Follow accounts until each is where its copy ends, and no further."""
    followed = Following(store, folder, Folding(USD_ASSETS), clock=now_ms)
    await followed.follow(accounts)
    running = asyncio.create_task(followed.run())
    while followed.warm != frozenset(accounts):  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.wait([running])
    yield followed
    await followed.close()


async def compare(store: HistoryStore, data_dir: Path) -> None:
    """Take both over in turns."""
    holders = [Holder(data_dir / "holder", f"of-{count}", count, store) for count in (SHORT, LONG)]
    for holder, count in zip(holders, (SHORT, LONG), strict=True):
        began = time.perf_counter()
        await holder.record(count)
        print(f"{holder.account}: {count:,} entries recorded and copied in {time.perf_counter() - began:.1f} s")
    warm: dict[str, list[float]] = {holder.account: [] for holder in holders}
    for number in range(ROUNDS):
        for holder in holders:
            folder = data_dir / "warm"
            async with following(store, folder, [holder.account]) as followed:
                await holder.record(LAST)
                warm[holder.account].append(await take_over(store, folder, holder.account, followed))
            journal_path(folder, holder.account).unlink()  # its epoch was copied nowhere
            if number + 1 < ROUNDS:
                await restore_from(data_dir / "holder", folder, holder.account)
    for account, seconds in warm.items():
        print(f"warm, {account}, {LAST} entries to read: {_in_ms(seconds)}")
    for holder in holders:
        cold = [await take_over(store, data_dir / f"cold-{number}", holder.account) for number in range(COLD_ROUNDS)]
        print(f"cold, {holder.account}: {_in_ms(cold)}")
        await holder.stop()


async def restore_from(source: Path, folder: Path, account: str) -> None:
    """Put a journal back to where its holder's is: as a member has it that followed it all the time."""
    journal = Journal.open(source, account, clock=now_ms)  # reads back what a crash left
    await journal.close()
    with journal_path(folder, account).open("wb") as file:
        file.write(journal_path(source, account).read_bytes())
        os.fsync(file.fileno())  # else the takeover flushes all of it


async def cost(store: HistoryStore, data_dir: Path) -> None:
    """Time what following asks and takes."""
    ends = {f"other-{number}": LONG for number in range(MANY - 1)} | {f"of-{LONG}": LONG + LAST * ROUNDS}
    asked = []
    for _ in range(200):
        began = time.perf_counter()
        news = await store.news(ends)
        asked.append(time.perf_counter() - began)
        assert not news
    print(f"one question for {MANY} accounts with nothing new: {_in_ms(asked)}")
    folder = data_dir / "later"
    began, processor = time.perf_counter(), time.process_time()
    async with following(store, folder, [f"of-{LONG}"]):
        took, spent = time.perf_counter() - began, time.process_time() - processor
    print(f"{LONG:,} entries followed from nothing in {took:.1f} s, {spent / LONG * 1e6:.0f} µs of processor time each")


def _in_ms(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1000:.1f} ms, longest {max(seconds) * 1000:.0f} ms of {len(seconds)}"


async def run(url: str) -> None:
    """Do all of it with one database."""
    store = PostgresHistory(url)
    await store.open()
    with tempfile.TemporaryDirectory() as folder:
        await compare(store, Path(folder))
        await cost(store, Path(folder))
    await store.close()


def main() -> None:
    """Print the figures."""
    with PostgresServer(flushes=True) as server:
        asyncio.run(run(server.url))
