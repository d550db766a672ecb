"""How fast do fills become durable? JetStream → decoded → journaled with synchronous=FULL → applied → view.

Beside it, in the same run and turn about: the same consumer pulling the same messages and throwing them away. Then a
long run: is the rate after a million fills that of the first ten thousand?
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import uvloop

from account_monitor.clock import now_ms
from account_monitor.feeds.connection import Connection
from account_monitor.feeds.jetstream import Consumer
from account_monitor.feeds.nats import NatsFeed
from account_monitor.ledger.account import USD_ASSETS
from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.views import Change, View
from account_monitor.stores.checkpoints import JournalCheckpoints
from account_monitor.stores.journal import Journal
from benchmarks.fills import fills, message
from tests.integration.nats_server import NatsServer

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "XRPUSDT")
SHORT, ROUNDS = 100_000, 3
LONG, STEP = 1_100_000, 10_000
STREAM, SUBJECT = "FILLS", "trading.fills.main"


def main() -> None:
    """Print the figures."""
    uvloop.run(_main())


async def _main() -> None:
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder) / "nats", flushes=False) as server:
        await _publish(server, LONG)
        pulled, durable = [], []
        for number in range(ROUNDS):
            pulled.append(await _discard(server, SHORT))
            durable.append((await _record(server, Path(folder) / str(number), SHORT))[-1])
            print(f"pulled and discarded {pulled[-1]:,.0f}/s   durable {durable[-1]:,.0f}/s")
        ratio = statistics.median(d / p for d, p in zip(durable, pulled, strict=True))
        print(f"durable / pulled: {ratio:.2f}")
        rates = await _record(server, Path(folder) / "long", LONG)
        first, last = statistics.median(rates[:5]), statistics.median(rates[-5:])
        print(f"{LONG:,} fills: first 10,000s {first:,.0f}/s, last {last:,.0f}/s, ratio {last / first:.2f}")


async def _publish(server: NatsServer, count: int) -> None:
    client = await server.connect()
    await client.jetstream().add_stream(name=STREAM, subjects=["trading.fills", "trading.fills.*"])
    for number, fill in enumerate(fills(count, symbols=SYMBOLS), start=1):
        await client.publish(SUBJECT, message(fill))
        if number % 5_000 == 0:
            await client.flush()
    while (await client.jetstream().stream_info(STREAM)).state.messages < count:  # noqa: ASYNC110  # it stores behind us
        await asyncio.sleep(0.05)
    await client.close()


async def _discard(server: NatsServer, count: int) -> float:
    connection = Connection()
    await connection.open(
        [server.url],
        reconnect_wait_seconds=1.0,
        on_disconnect=lambda: None,
        on_reconnect=lambda: None,
        on_error=lambda _error: None,
        credentials_file=None,
        ca_file=None,
    )
    consumer = Consumer(connection, STREAM, ["trading.fills.*"], durable=None)
    started = time.perf_counter()
    await consumer.open(1)
    taken = 0
    while taken < count:
        taken += len(await consumer.batch())
    seconds = time.perf_counter() - started
    await consumer.close()
    await connection.shut()
    return taken / seconds


async def _record(server: NatsServer, data_dir: Path, count: int) -> list[float]:
    """Return the rate of every step, and of the whole as the last one of a short run."""
    journal = Journal.open(data_dir, "main", clock=now_ms)
    unrouted = Journal.open(data_dir, "_unrouted", clock=now_ms)
    inboxes = Inboxes()
    inboxes.add("main", Inbox())
    monitor = Monitor(
        "main", journal, JournalCheckpoints(journal, USD_ASSETS), inboxes.all()[0][1], clock=now_ms,
        monotonic=time.monotonic, usd_assets=USD_ASSETS, opening=None, snapshot_seconds=1.0,
    )  # fmt: skip
    await monitor.start()
    feed = NatsFeed(server.url, inboxes=inboxes, prices=_NoPrices(), recorded={}, clock=now_ms)
    marks: list[tuple[int, float]] = [(0, time.perf_counter())]
    done = asyncio.Event()

    def note(view: View, _change: Change) -> None:
        if view.seq - marks[-1][0] >= STEP:
            marks.append((view.seq, time.perf_counter()))
        if view.seq >= count:
            done.set()

    monitor.observers.append(note)
    work = [asyncio.create_task(monitor.run()), asyncio.create_task(feed.run())]
    await done.wait()
    whole = monitor.view.seq / (time.perf_counter() - marks[0][1])
    monitor.stop()
    work[1].cancel()
    await asyncio.wait(work)
    await journal.close()
    await unrouted.close()
    steps = [(n1 - n0) / (t1 - t0) for (n0, t0), (n1, t1) in itertools.pairwise(marks)]
    return [*steps, whole] if count == SHORT else steps


class _NoPrices:
    def mark(self, symbol: str, price: Decimal, at_ms: int) -> None:
        """Take no notice."""
