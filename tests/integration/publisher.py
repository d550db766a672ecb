"""Publishers: who feeds a service with fills while a test does something to it, and what has to come of them?"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from abc import ABC, abstractmethod
from decimal import Decimal
from fractions import Fraction
from typing import Any

import nats
from nats.js.api import StorageType, StreamConfig

from account_monitor.ledger.events import Fill
from account_monitor.ledger.money import to_text
from account_monitor.monitor.reports import time_text
from tests.naive_ledger import naive_position

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def message(fill: Fill) -> bytes:
    """Return a fill as it is published."""
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


class Publisher(ABC, threading.Thread):
    """Publishes from a thread of its own, until it is to finish."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.fills: list[Fill] = []
        """What was published, or is about to be; `finish` returns when it is."""
        self._finish_asked = threading.Event()
        self._failure: BaseException | None = None

    @property
    def is_to_finish(self) -> bool:
        return self._finish_asked.is_set()

    @abstractmethod
    async def publish(self) -> None:
        """Publish until `is_to_finish`, and return when all of `fills` is with the server."""

    def run(self) -> None:
        try:
            asyncio.run(self.publish())
        except BaseException as failure:  # noqa: BLE001  # the test looks at it
            self._failure = failure

    def finish(self) -> None:
        """Publish what is left and end; what broke meanwhile fails the test."""
        self._finish_asked.set()
        self.join(60)
        assert not self.is_alive()
        assert self._failure is None, self._failure


class SteadyPublisher(Publisher):
    """Publishes every fill three times, in random order, at a steady pace, to a server that may come and go."""

    def __init__(self, url: str, seed: int, per_second: int = 600) -> None:
        super().__init__(url)
        self._generator = random.Random(seed)
        self._per_second = per_second

    async def publish(self) -> None:
        connection = await nats.connect(self.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
        stream = connection.jetstream(timeout=2)
        await stream.add_stream(StreamConfig(name="FILLS", subjects=["trading.fills"], storage=StorageType.FILE))
        waiting: list[bytes] = []
        while not self.is_to_finish or waiting:
            if not self.is_to_finish:
                fresh = [random_fill(self._generator, len(self.fills) + i) for i in range(self._per_second // 60)]
                self.fills += fresh
                waiting += [message(fill) for fill in fresh] * 3
            self._generator.shuffle(waiting)
            count = len(waiting) if self.is_to_finish else self._per_second // 20
            now, waiting = waiting[:count], waiting[count:]
            for payload in now:
                await _acknowledged(stream, payload)
            await asyncio.sleep(0.05)
        await connection.close()


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


async def _acknowledged(stream: Any, payload: bytes) -> None:
    """Publish until the server says that it has it: a server that was killed may have it twice, never not at all."""
    while True:
        try:
            await stream.publish("trading.fills", payload)
            return
        except Exception:  # noqa: BLE001  # every failure of a server that is being killed means: again
            await asyncio.sleep(0.05)


def assert_equal_to(fills: list[Fill], account: dict[str, Any]) -> None:
    """Hold the report of an account against what fractions, without the ledger, make of the fills."""
    for symbol in SYMBOLS:
        mine = [fill for fill in fills if fill.symbol == symbol]
        naive = naive_position(mine, symbol)
        position = account["positions"][symbol]
        assert position["fill_count"] == len(mine)
        assert Fraction(position["quantity"]) == naive.quantity
        assert Fraction(position["total_fees"]) == sum(Fraction(fill.fee or 0) for fill in mine)
        assert abs(Fraction(position["realized_pnl"]) - naive.realized) < Fraction(1, 10**20)
        if naive.quantity:
            assert abs(Fraction(position["entry_price"]) - naive.cost / naive.quantity) < Fraction(1, 10**20)
        else:
            assert position["entry_price"] is None
