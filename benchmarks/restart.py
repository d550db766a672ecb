"""How long does a restart over a million journaled fills take, and how much memory does the service then hold?

The journal is made by the monitor itself, so it has the checkpoints that a service would have; the last 40,000 fills
are not in a checkpoint, as after a kill.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from account_monitor.clock import now_ms
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import Delivery
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from benchmarks.fills import fills

FILLS = 1_040_000
BATCH = 1_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "XRPUSDT")
RESTARTS = 3


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        started = time.perf_counter()
        asyncio.run(_fill(data_dir))
        size = (data_dir / "main.journal").stat().st_size
        print(
            f"journal of {FILLS:,} fills made in {time.perf_counter() - started:.0f} s, {size / FILLS:.0f} bytes a fill"
        )
        for _ in range(RESTARTS):
            ready, resident = _restart(data_dir)
            print(f"kill -9, restart: ready after {ready:.2f} s, resident {resident / 1e6:.0f} MB")


async def _fill(data_dir: Path) -> None:
    journal = Journal.open(data_dir, "main", clock=now_ms)
    monitor = Monitor(
        "main", journal, JournalCheckpoints(journal, USD_ASSETS), Inbox(), clock=now_ms, monotonic=time.monotonic,
        usd_assets=USD_ASSETS, opening=None, snapshot_seconds=1.0,
    )  # fmt: skip
    await monitor.start()
    stream = fills(FILLS, symbols=SYMBOLS)
    for _ in range(FILLS // BATCH):
        for _ in range(BATCH):
            monitor.inbox.put(Delivery("FILLS", "trading.fills", b"", next(stream)))
        await monitor.step()
    await journal.close()


def _restart(data_dir: Path) -> tuple[float, int]:
    config = data_dir / "config.json"
    config.write_text(
        json.dumps(
            {
                "service": {"data_dir": str(data_dir)},
                "grpc": {"port": "0"},
                "http": {"port": "0"},
                "metrics": {"port": "0"},
                "accounts": [{"name": "main", "exchange": "none"}],
                "pubsub": {"nats": {"url": None}},
            }
        )
    )
    started = time.perf_counter()
    process = subprocess.Popen(  # ourselves
        [sys.executable, "-m", "account_monitor", "run", "--config", str(config)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        listening = next(json.loads(line) for line in process.stderr if '"listening"' in line)
        while not _is_ready(listening["http"]):
            time.sleep(0.01)
        return time.perf_counter() - started, psutil.Process(process.pid).memory_info().rss
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:  # noqa: S310  # our own service
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False
