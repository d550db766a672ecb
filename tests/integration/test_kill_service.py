"""Killed with -9 at any moment, restarted on the same data: no fill of the stream is missing, none counts twice."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import StorageType, StreamConfig

from account_monitor.ledger.events import Fill
from account_monitor.ledger.money import to_text
from account_monitor.monitor.reports import time_text
from tests.integration.nats_server import NatsServer
from tests.integration.service import Service
from tests.naive_ledger import naive_position

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
KILLS = 50


def random_fill(generator: random.Random, number: int) -> Fill:
    return Fill(
        symbol=generator.choice(SYMBOLS),
        trade_id=str(1_000 + number),
        side="BUY" if generator.random() < 0.5 else "SELL",
        quantity=Decimal(generator.randint(1, 900)).scaleb(-3),
        price=Decimal(generator.randint(10_000, 20_000)).scaleb(-2),
        at_ms=1_790_000_000_000 + number // 3,  # several in one millisecond
        fee=Decimal(generator.randint(-20, 90)).scaleb(-4),
        fee_asset="USDT",
    )


def message(fill: Fill) -> bytes:
    fields = {
        "id": fill.trade_id,
        "symbol": fill.symbol,
        "side": fill.side,
        "quantity": to_text(fill.quantity),
        "price": to_text(fill.price),
        "fee": to_text(fill.fee or Decimal(0)),
        "fee_currency": fill.fee_asset,
        "timestamp": time_text(fill.at_ms),
    }
    return json.dumps(fields).encode()


class Publisher(threading.Thread):
    """Publishes every fill three times, in random order, at a steady pace, to a server that may come and go."""

    def __init__(self, url: str, seed: int, per_second: int = 600) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._generator = random.Random(seed)
        self._per_second = per_second
        self._stop_asked = threading.Event()
        self.fills: list[Fill] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._publish())
        except BaseException as failure:  # noqa: BLE001  # the test looks at it
            self.failure = failure

    def finish(self) -> None:
        self._stop_asked.set()
        self.join(60)
        assert not self.is_alive()
        assert self.failure is None, self.failure

    async def _publish(self) -> None:
        connection = await nats.connect(self._url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
        stream = connection.jetstream(timeout=2)
        await stream.add_stream(StreamConfig(name="FILLS", subjects=["trading.fills"], storage=StorageType.FILE))
        waiting: list[bytes] = []
        while not self._stop_asked.is_set() or waiting:
            if not self._stop_asked.is_set():
                fresh = [random_fill(self._generator, len(self.fills) + i) for i in range(self._per_second // 60)]
                self.fills += fresh
                waiting += [message(fill) for fill in fresh] * 3
            self._generator.shuffle(waiting)
            count = len(waiting) if self._stop_asked.is_set() else self._per_second // 20
            now, waiting = waiting[:count], waiting[count:]
            for payload in now:
                await _acknowledged(stream, payload)
            await asyncio.sleep(0.05)
        await connection.close()


async def _acknowledged(stream: Any, payload: bytes) -> None:
    """Publish until the server says that it has it: a server that was killed may have it twice, never not at all."""
    while True:
        try:
            await stream.publish("trading.fills", payload)
            return
        except Exception:  # noqa: BLE001  # every failure of a server that is being killed means: again
            await asyncio.sleep(0.05)


def expected(fills: list[Fill]) -> dict[str, tuple[Fraction, Fraction, Fraction, Fraction, int]]:
    """Return quantity, cost, realized P&L, fees and count by symbol, computed without the ledger."""
    facts = {}
    for symbol in SYMBOLS:
        mine = [fill for fill in fills if fill.symbol == symbol]
        naive = naive_position(mine, symbol)
        fees = sum((Fraction(fill.fee or 0) for fill in mine), Fraction(0))
        facts[symbol] = (naive.quantity, naive.cost, naive.realized, fees, len(mine))
    return facts


def assert_equal_to(fills: list[Fill], account: dict[str, Any]) -> None:
    for symbol, (quantity, cost, realized, fees, count) in expected(fills).items():
        position = account["positions"][symbol]
        assert position["fill_count"] == count
        assert Fraction(position["quantity"]) == quantity
        assert Fraction(position["total_fees"]) == fees
        assert abs(Fraction(position["realized_pnl"]) - realized) < Fraction(1, 10**20)
        if quantity:
            assert abs(Fraction(position["entry_price"]) - cost / quantity) < Fraction(1, 10**20)
        else:
            assert position["entry_price"] is None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as started:
        yield started


@pytest.mark.timeout(400)
def test_killed_at_random_moments_under_load_nothing_is_missing_and_nothing_counts_twice(
    tmp_path: Path, server: NatsServer
) -> None:
    generator = random.Random(20261122)
    publisher = Publisher(server.url, seed=1)
    publisher.start()
    service = Service(tmp_path, server.url)
    for _ in range(KILLS):
        service.start(wait=False)
        time.sleep(generator.uniform(0.3, 1.6))  # while it imports, folds, connects, reads, commits
        service.kill()
    service.start()
    publisher.finish()
    service.wait_until(lambda: service.fill_count() == len(publisher.fills), "complete")
    account = service.account()
    assert_equal_to(publisher.fills, account)
    assert service.stop() == 0

    replayed = service.command("replay", "--verify", "--config", str(service.config_file))

    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["positions"] == account["positions"]


@pytest.mark.timeout(240)
def test_a_nats_server_that_is_killed_and_restarted_costs_nothing(tmp_path: Path, server: NatsServer) -> None:
    publisher = Publisher(server.url, seed=2)
    publisher.start()
    service = Service(tmp_path, server.url)
    service.start()
    for _ in range(5):
        time.sleep(1.0)
        server.kill()
        time.sleep(0.2)
        server.start()
    publisher.finish()

    service.wait_until(lambda: service.fill_count() == len(publisher.fills), "complete")

    assert_equal_to(publisher.fills, service.account())
    assert service.stop() == 0
