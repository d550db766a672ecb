"""What do the mark prices of 1,000 symbols a second cost, for one account and for twenty that hold 50 positions each?

The exchange sends them from a process of its own over a real socket. Measured are the stream, the monitors, their
journals on the disk and the views; the accounts hold what an opening says, and nothing is asked for by REST.

Beside it, in the same run: the same accounts without prices, and what the standard library takes to decode the same
messages.
"""

from __future__ import annotations

import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

from account_monitor.cli.service import run_loop
from account_monitor.clock import now_ms
from account_monitor.config import ReconciliationSettings, ThresholdSettings
from account_monitor.exchanges import Exchanges
from account_monitor.feeds.binance.transport import AiohttpTransport, Frame, Socket, Text
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.ledger.events import Anchor, Opening
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import Monitor
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from benchmarks.exchange import ExchangeProcess, api_key, contracts

SYMBOLS = 1_000
HELD = 50
ACCOUNTS = (1, 20)
SECONDS = 15.0
QUIET_SECONDS = 3.0


def main() -> None:
    """Print the figures."""
    with ExchangeProcess(accounts=max(ACCOUNTS), symbols=SYMBOLS) as exchange:
        for count in ACCOUNTS:
            with tempfile.TemporaryDirectory() as folder:
                run_loop(_measure(Path(folder), exchange, count))


async def _measure(folder: Path, exchange: ExchangeProcess, count: int) -> None:
    names = [rules.symbol for rules in contracts(SYMBOLS)]
    transport, tasks = _Listening(), _Tasks()
    exchanges = Exchanges(
        Desk(now_ms, ""), AlarmBoard(now_ms), spawn=tasks.spawn, cancel=tasks.cancel, nats_connected=lambda: False,
        transport=transport,
    )  # fmt: skip
    monitors = []
    for number in range(count):
        held = names[number * HELD % SYMBOLS :][:HELD]  # every account holds others
        monitors.append(await _monitor(folder, number, held))
        exchanges.open(monitors[-1], exchange.account(number), ReconciliationSettings(), ThresholdSettings())
    runs = [asyncio.create_task(monitor.run()) for monitor in monitors]
    gc.collect()
    gc.freeze()
    try:
        await asyncio.sleep(1.0)
        quiet = await _share(QUIET_SECONDS)
        listening = tasks.start()
        await asyncio.sleep(2.5)  # the first prices have come
        transport.payloads.clear()
        seqs = sum(monitor.view.seq for monitor in monitors)
        share = await _share(SECONDS)
        payloads = list(transport.payloads)
        journaled = sum(monitor.view.seq for monitor in monitors) - seqs
        listening.cancel()
        _print(count, share, quiet, payloads, journaled)
        assert all(not monitor.view.unpriced for monitor in monitors), "a position has no price"
    finally:
        for monitor in monitors:
            monitor.stop()
        await asyncio.wait(runs)
        await transport.close()
        for monitor in monitors:
            await monitor.journal.close()
        gc.unfreeze()


async def _monitor(folder: Path, number: int, held: list[str]) -> Monitor:
    journal = Journal.open(folder, api_key(number), clock=now_ms)
    at_ms = now_ms()
    anchors = tuple(Anchor(symbol, "BOTH", Decimal(10), Decimal(100), None, at_ms) for symbol in held)
    opening = Opening("config", at_ms, (("USDT", Decimal(100_000)),), anchors)
    monitor = Monitor(
        api_key(number), journal, JournalCheckpoints(journal, USD_ASSETS), Inbox(), clock=now_ms,
        monotonic=time.monotonic, usd_assets=USD_ASSETS, opening=opening, snapshot_seconds=1.0, has_venue=True,
    )  # fmt: skip
    await monitor.start()
    return monitor


async def _share(seconds: float) -> float:
    """Return how much of a core this process uses meanwhile, all its threads together."""
    cpu, started = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    return (time.process_time() - cpu) / (time.perf_counter() - started)


def _print(count: int, share: float, quiet: float, payloads: list[bytes], journaled: int) -> None:
    started = time.process_time()
    for payload in payloads:
        json.loads(payload)
    decoding = (time.process_time() - started) / SECONDS
    size = sum(map(len, payloads)) / len(payloads) / 1024
    print(
        f"{count} × {HELD} positions: {len(payloads)} messages of {size:.0f} KB in {SECONDS:.0f} s, "
        f"{journaled} entries of marks journaled: {share:.1%} of a core; without prices {quiet:.1%}; "
        f"json.loads of the same {decoding:.2%}, so × {share / decoding:.0f}"
    )


class _Listening(AiohttpTransport):
    """The network, keeping what came."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[bytes] = []

    async def connect(self, url: str, *, timeout_seconds: float) -> Socket:
        socket = await super().connect(url, timeout_seconds=timeout_seconds)
        receive = socket.receive

        async def kept() -> Frame:
            frame = await receive()
            if isinstance(frame, Text):
                self.payloads.append(frame.payload)
            return frame

        socket.receive = kept  # type: ignore[method-assign]
        return socket


class _Tasks:
    """Of what serves the accounts, only the stream of marks runs."""

    def __init__(self) -> None:
        self._work: dict[str, Coroutine[Any, Any, None]] = {}

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if name.startswith("marks:"):
            self._work[name] = work
        else:
            work.close()

    async def cancel(self, name: str) -> None:
        pass

    def start(self) -> asyncio.Task[None]:
        """Begin to listen."""
        (work,) = self._work.values()
        return asyncio.create_task(work)
