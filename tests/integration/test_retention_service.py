"""A service whose journal forgets, in days that last seconds: it is killed, and nothing counts twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats
import pytest
from nats.js.api import StorageType, StreamConfig

from account_monitor.ledger.events import Fill
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader
from tests.integration.nats_server import NatsServer
from tests.integration.publisher import Publisher, message
from tests.integration.service import Service
from tests.naive_ledger import naive_position
from tests.servers.postgres import PostgresServer

SPEED = 20_000
"""A day, for which the journal keeps its entries, takes four seconds."""

BEGINNING_MS = 1_790_000_000_000
KILLS = 4

FAST = """
import time

import account_monitor.clock
import account_monitor.historian.retention

began_ms = {began_ms}
account_monitor.clock.now_ms = lambda: {beginning_ms} + {speed} * (time.time_ns() // 1_000_000 - began_ms)
account_monitor.historian.retention.LOOK_SECONDS = 0.25
"""
"""What Python runs first in every process of the service."""


class Days:
    """A clock that is fast, for those who publish and for the service."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._began_ms = time.time_ns() // 1_000_000
        folder.mkdir()
        text = FAST.format(began_ms=self._began_ms, beginning_ms=BEGINNING_MS, speed=SPEED)
        (folder / "sitecustomize.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(folder))

    def now_ms(self) -> int:
        return BEGINNING_MS + SPEED * (time.time_ns() // 1_000_000 - self._began_ms)


class Bot(Publisher):
    """Trades all day long; what it tells of within a tenth of a second comes in any order, some of it twice."""

    def __init__(self, url: str, days: Days) -> None:
        super().__init__(url)
        self._days = days
        self._chance = random.Random(3)

    async def publish(self) -> None:
        while not self.is_to_finish:
            fresh = [self.fill() for _ in range(30)]
            told = [*fresh, *self._chance.sample(fresh, 3), *self._chance.sample(self.fills, 3)]
            self._chance.shuffle(told)
            await publish(self.url, told)
            await asyncio.sleep(0.1)

    def fill(self) -> Fill:
        number = len(self.fills) + 1
        symbol = self._chance.choice(["BTCUSDT", "ETHUSDT", "SOLUSDT"])
        filled = Fill(
            symbol, f"s-{number:07}" if symbol == "SOLUSDT" else str(number), self._chance.choice(["BUY", "SELL"]),
            Decimal(self._chance.randint(1, 900)).scaleb(-3), Decimal(self._chance.randint(10_000, 20_000)).scaleb(-2),
            self._days.now_ms(), fee=Decimal(self._chance.randint(-20, 90)).scaleb(-4), fee_asset="USDT",
        )  # fmt: skip
        self.fills.append(filled)
        return filled


async def publish(url: str, fills: list[Fill], *, anew: bool = False) -> None:
    """Publish fills, each acknowledged; `anew`: into a stream that is made again."""
    connection = await nats.connect(url)
    stream = connection.jetstream(timeout=5)
    if anew:
        await stream.delete_stream("FILLS")
    await stream.add_stream(StreamConfig(name="FILLS", subjects=["trading.fills"], storage=StorageType.FILE))
    for start in range(0, len(fills), 200):
        await asyncio.gather(*[stream.publish("trading.fills", message(fill)) for fill in fills[start : start + 200]])
    await connection.close()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Callable[[str, str], Service]]:
    """Services by name, which are killed at the latest when the test is over."""
    known: dict[str, Service] = {}

    def service(name: str, nats_url: str) -> Service:
        folder = tmp_path / name
        folder.mkdir()
        known[name] = Service(folder, nats_url)
        return known[name]

    yield service
    for each in known.values():
        if each.process is not None:
            each.kill()


def positions(service: Service) -> dict[str, Any]:
    """Return what is the same however the fills came."""
    names = ("quantity", "entry_price", "realized_pnl", "total_fees", "fill_count", "last_price")
    told = service.account()["positions"]
    return {key: {name: position.get(name) for name in names} for key, position in told.items()}


def check(service: Service, fills: list[Fill]) -> None:
    """Hold the positions against fractions that are folded from nothing."""
    service.wait_until(lambda: service.fill_count() >= len(fills), "fed", 60)
    for key, position in positions(service).items():
        naive = naive_position(fills, key)
        assert position["fill_count"] == sum(fill.symbol == key for fill in fills)
        assert Fraction(position["quantity"]) == naive.quantity
        assert abs(Fraction(position["realized_pnl"]) - naive.realized) < Fraction(1, 10**20)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_journal_that_forgets_under_load_and_kills_counts_nothing_twice(
    tmp_path: Path,
    services: Callable[[str, str], Service],
    breakable_postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = urlsplit(asyncio.run(breakable_postgres.create_database()).url)
    monkeypatch.setenv("TEST_DATABASE_PASSWORD", parts.password or "")
    days, chance = Days(tmp_path / "fast", monkeypatch), random.Random(5)
    with NatsServer(tmp_path / "nats", flushes=False) as server:
        service, twin = services("forgets", server.url), services("keeps", server.url)
        service.document["history"] = {"journal_retention": "1d"}
        service.document["database"] = {
            "url": parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl(),
            "password_env": "TEST_DATABASE_PASSWORD",
        }
        bot = Bot(server.url, days)
        bot.start()
        service.start()
        for _ in range(KILLS):
            wait_compacted(service)
            time.sleep(chance.uniform(0, 0.6))  # a horizon is drawn every half second, and followed at once
            service.kill()
            service.start()
        bot.finish()
        check(service, bot.fills)
        service.wait_until(lambda: held(service) < len(bot.fills) // 2, "compacted", 60)

        old, newest = bot.fills[: len(bot.fills) // 2], bot.fill()
        asyncio.run(publish(server.url, old))
        asyncio.run(publish(server.url, [newest]))
        check(service, bot.fills)
        everything, newest = list(bot.fills), bot.fill()
        asyncio.run(publish(server.url, everything, anew=True))
        asyncio.run(publish(server.url, [newest]))
        check(service, bot.fills)

        monkeypatch.delenv("PYTHONPATH")
        twin.start()
        check(twin, bot.fills)
        assert positions(service) == positions(twin)
        assert service.get("/api/account")[1]["balances"] == twin.get("/api/account")[1]["balances"]
        verified = service.command("replay", "--verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert service.stop() == 0
    said = service.log_file.read_text()
    assert "Traceback" not in said
    assert "history_not_written" not in said
    with open_reader(journal_path(service.folder / "data", "main")) as reader:
        assert reader.dead_letter_counts().parked == 0


def wait_compacted(service: Service) -> None:
    """Return once the journal forgot something more."""
    before = base_seq(service)
    service.wait_until(lambda: base_seq(service) > before, "compacted", 60)


def base_seq(service: Service) -> int:
    """Return up to which entry the journal forgot."""
    with open_reader(journal_path(service.folder / "data", "main")) as reader:
        return reader.base_seq


def held(service: Service) -> int:
    """Return how many entries the journal holds."""
    with open_reader(journal_path(service.folder / "data", "main")) as reader:
        return reader.last_seq - reader.base_seq
