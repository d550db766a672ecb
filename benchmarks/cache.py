"""How long until a view is in Redis, what does that cost, and does a fill reach a WebSocket client later for it?

A real server in a process of its own; one account with 1,000 views a second, and a hundred with ten each, 50 positions
in every one. Each view is of a fill: one position, one wallet and the P&L change. The cost is the time of the process,
less what it uses while the same views are made and nobody writes them. Beside it, in the same run: the same values, one
pipeline of SETs for each view, by redis-py alone.

Then `benchmarks.latency`, without and with Redis, turn about.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from account_monitor.cli.service import run_loop
from account_monitor.clock import now_ms
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.ledger.events import Anchor, Opening
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.reports import balance_report, held_report, place_report, pnl_report
from account_monitor.monitor.views import Change, View
from account_monitor.stores.cache import CurrentState
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from account_monitor.stores.redis_connection import RedisConnection
from benchmarks.histogram import shares
from benchmarks.latency import latencies
from tests.servers.valkey import RedisServer

HELD = 50
VIEWS_PER_SECOND = 1_000
SECONDS = 8.0
ACCOUNTS = (1, 100)
LONE_VIEWS = 100
BARE_VIEWS = 3_000
TURNS = 2


def main() -> None:
    """Print the figures."""
    for count in ACCOUNTS:
        with tempfile.TemporaryDirectory() as folder, RedisServer() as server:
            run_loop(_measure(Path(folder), server, count))
    for _ in range(TURNS):
        print(f"fill → WebSocket, without Redis: {shares(latencies({}))}")
        with tempfile.TemporaryDirectory() as folder, RedisServer() as server:
            print(f"fill → WebSocket, with Redis:    {shares(latencies({'redis_url': server.address}))}")


async def _measure(folder: Path, server: RedisServer, count: int) -> None:
    desk = Desk(now_ms, "")
    monitors = [await _monitor(folder, f"account{number}") for number in range(count)]
    for monitor in monitors:
        desk.add(monitor)
    quiet = await _share(monitors)
    state = CurrentState(desk, AlarmBoard(now_ms), RedisConnection(server.address, None))
    running = asyncio.create_task(state.run())
    await asyncio.sleep(1.0)

    print(f"{count} × {HELD} positions")
    with Watch(server, monitors[0]) as watch:
        publish = _next(monitors[0])
        for _ in range(LONE_VIEWS):
            publish()
            await asyncio.sleep(0.06)
    print(f"  a view after a quiet time → Redis: {shares(watch.latencies)}")
    rounds = state.rounds
    with Watch(server, monitors[0]) as watch:
        used = await _share(monitors)
        rounds = state.rounds - rounds
        await asyncio.sleep(1.0)
    print(f"  at {VIEWS_PER_SECOND:,} views/s → Redis: {shares(watch.latencies)}")
    assert all(lag == 0 for _, lag in state.lags()), "Redis is behind"
    state.stop()
    await running
    bare = await _bare(server, monitors) * VIEWS_PER_SECOND
    print(
        f"  {rounds / SECONDS:.1f} rounds/s, {used - quiet:.1%} of a core; "
        f"redis-py, a pipeline of 4 SETs for each view: {bare:.1%}, × {bare / (used - quiet):.1f}"
    )
    for monitor in monitors:
        await monitor.journal.close()


class Watch:
    """Sees from another process when each view of one account is in Redis."""

    def __init__(self, server: RedisServer, monitor: Monitor) -> None:
        self.latencies: list[float] = []
        """In milliseconds, the shortest first."""
        self._made: dict[int, float] = {}
        self._monitor = monitor
        self._ours, theirs = multiprocessing.Pipe()
        arguments = (theirs, server.port, f"account-monitor:{monitor.name}:seq")
        self._process = multiprocessing.get_context("spawn").Process(target=_look, args=arguments)

    def __enter__(self) -> Watch:
        self._process.start()
        self._ours.recv()
        self._monitor.observers.append(self._note)
        return self

    def _note(self, view: View, _change: Change) -> None:
        self._made[view.seq] = time.monotonic()

    def __exit__(self, *_error: object) -> None:
        self._monitor.observers.remove(self._note)
        self._ours.send(None)
        seen = dict(self._ours.recv())
        self._process.join()
        at = 0.0
        for seq in sorted(self._made, reverse=True):  # what was replaced by a younger view came with that
            at = seen.get(seq, at)
            self.latencies.append((at - self._made[seq]) * 1000)
        self.latencies.sort()


def _look(pipe: Connection, port: int, key: str) -> None:
    """Send when each sequence was first seen."""
    seen: dict[int, float] = {}
    with Redis(port=port) as redis:
        redis.ping()
        pipe.send(None)
        while not pipe.poll(0.0002):
            text = redis.get(key)
            if text is not None:
                seen.setdefault(msgspec.json.decode(text)["seq"], time.monotonic())
    pipe.send(seen)


async def _monitor(folder: Path, name: str) -> Monitor:
    journal = Journal.open(folder, name, clock=now_ms)
    anchors = tuple(Anchor(f"S{n}USDT", "BOTH", Decimal(10), Decimal(100), None, now_ms()) for n in range(HELD))
    monitor = Monitor(
        name, journal, JournalCheckpoints(journal, USD_ASSETS), Inbox(), clock=now_ms, monotonic=time.monotonic,
        usd_assets=USD_ASSETS, opening=Opening("config", now_ms(), (("USDT", Decimal(100_000)),), anchors),
        snapshot_seconds=1.0,
    )  # fmt: skip
    await monitor.start()
    return monitor


async def _share(monitors: list[Monitor]) -> float:
    """Publish views for a while; return how much of a core the process used meanwhile."""
    turns = itertools.cycle([_next(monitor) for monitor in monitors])
    cpu, started, made = time.process_time(), time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < SECONDS:
        while made < passed * VIEWS_PER_SECOND:
            next(turns)()
            made += 1
        await asyncio.sleep(0.001)
    return (time.process_time() - cpu) / passed


def _next(monitor: Monitor) -> Callable[[], None]:
    """Return what replaces the view by one after a fill, as cheaply as can be: the ledger is not what is measured."""
    names = itertools.cycle(list(monitor.view.positions))

    def publish() -> None:
        view, name = monitor.view, next(names)
        position = view.positions[name]
        grown = dataclasses.replace(position, quantity=position.quantity + 1, fill_count=position.fill_count + 1)
        wallet = view.balances["USDT"]
        after = dataclasses.replace(
            view,
            seq=view.seq + 1,
            as_of_ms=now_ms(),
            positions={**view.positions, name: grown},
            balances={**view.balances, "USDT": dataclasses.replace(wallet, total=(wallet.total or Decimal(0)) - 1)},
            pnl=dataclasses.replace(view.pnl, total_fees=Decimal(view.seq)),
        )
        monitor._builder.view = after
        for observer in monitor.observers:
            observer(after, Change([], (name,), ("USDT",), None))

    return publish


async def _bare(server: RedisServer, monitors: list[Monitor]) -> float:
    """Return the processor time of writing one view by a pipeline of its own, in seconds."""
    names, views = itertools.cycle(monitors[0].view.positions), itertools.cycle(monitor.view for monitor in monitors)
    async with AsyncRedis(port=server.port) as client:
        cpu = time.process_time()
        for view in itertools.islice(views, BARE_VIEWS):
            await _set(client, view, next(names))
        return (time.process_time() - cpu) / BARE_VIEWS


async def _set(client: AsyncRedis, view: View, name: str) -> None:
    reports = {
        f"position:{name}": held_report(view.held(name)),
        "balance:USDT": balance_report(view.balances["USDT"]),
        "pnl": pnl_report(view),
        "seq": place_report(view, now_ms(), status="ready"),
    }
    pipeline = client.pipeline(transaction=False)
    for key, report in reports.items():
        pipeline.execute_command("SET", f"bare:{view.account}:{key}", msgspec.json.encode(report))
    await pipeline.execute()
