"""The service as users run it, against the simulated exchange over real sockets: its books are the exchange's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_simulator.admin import Admin
from exchange_simulator.bots import RandomTrader
from exchange_simulator.clock import Clock
from exchange_simulator.exchange import Exchange
from exchange_simulator.faults import Faults
from exchange_simulator.server import Server
from exchange_simulator.venue import Venue
from tests.integration.service import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]

D = Decimal
API_KEY, SECRET = "a" * 64, "b" * 64
HEAL_SECONDS = 150.0


class Market:
    """An exchange on a port of its own, in this process, and a customer who may do anything."""

    def __init__(self, seed: int) -> None:
        clock = Clock()
        self.venue = Venue(clock=clock, seed=seed, funding_interval_ms=10_000, moving=True)
        self.faults = Faults(seed)
        self.exchange = Exchange(self.venue, seed=seed, faults=self.faults)
        self.account = self.venue.open_account(
            API_KEY, SECRET, wallets={"USDT": "1000000", "BNB": "10"}, hedge=seed % 2 == 1, fee_burn=True
        )
        self.server = Server(self.exchange, Admin(self.exchange, clock.shift))
        self.trader = RandomTrader(
            self.venue, [self.account], seed=seed, symbols=list(self.venue.symbols)[:20]
        )  # fmt: skip
        self.port = 0

    async def trade(self, orders: int) -> None:
        """Trade at some 800 orders a second."""
        for number in range(orders):
            self.trader.step()
            if number % 20 == 0:
                await asyncio.sleep(0.025)

    def books(self) -> dict[str, dict[str, Decimal]]:
        told = self.venue.books(self.account)
        names = ("wallets", "positions", "realized", "fees")
        return {name: {key: D(text) for key, text in told[name].items() if D(text)} for name in names}


@asynccontextmanager
async def market(seed: int) -> AsyncIterator[Market]:
    here = Market(seed)
    here.port = await here.server.start("127.0.0.1", 0)
    try:
        yield here
    finally:
        await here.server.stop()


@asynccontextmanager
async def monitored(folder: Path, here: Market, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("TEST_API_KEY", API_KEY)
    monkeypatch.setenv("TEST_SECRET_KEY", SECRET)
    account: dict[str, Any] = {
        "name": "main",
        "exchange": "binance-usdm",
        "rest_url": f"http://127.0.0.1:{here.port}",
        "websocket_url": f"ws://127.0.0.1:{here.port}",
        "api_key_env": "TEST_API_KEY",
        "secret_key_env": "TEST_SECRET_KEY",
        "websocket": {"reconnect_interval": "500ms", "ping_interval": "2s", "timeout": "5s"},
    }
    service = Service(folder, None, [account])
    await asyncio.to_thread(service.start)
    try:
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            await asyncio.to_thread(service.stop)


def books(report: dict[str, Any]) -> dict[str, dict[str, Decimal]]:
    """Return the books of an account report, without zeros."""
    fees: dict[str, Decimal] = {}
    for position in report["positions"].values():
        for asset, amount in position["fees"].items():
            fees[asset] = fees.get(asset, D(0)) + D(amount)
    figures = {
        "wallets": {asset: D(balance["total"]) for asset, balance in report["balances"].items()},
        "positions": {key: D(position["quantity"]) for key, position in report["positions"].items()},
        "realized": {key: D(position["realized_pnl"]) for key, position in report["positions"].items()},
        "fees": fees,
    }
    return {name: {key: amount for key, amount in book.items() if amount} for name, book in figures.items()}


async def equal(service: Service, here: Market, seconds: float) -> None:
    """Wait until the books are equal. Raises: AssertionError with what differs."""
    deadline = asyncio.get_running_loop().time() + seconds
    while (ours := books(await asyncio.to_thread(service.account))) != (theirs := here.books()):
        assert asyncio.get_running_loop().time() < deadline, {
            name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]
        }
        await asyncio.sleep(0.2)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2])
async def test_after_ten_thousand_orders_under_every_fault_of_the_sockets_the_books_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    async with market(seed) as here, monitored(tmp_path, here, monkeypatch) as service:
        here.faults.set("sockets")
        here.faults.clear("ban_connect")  # of two minutes; the simulation in virtual time goes through it
        await here.trade(10_000)
        here.faults.clear("all")

        await equal(service, here, HEAL_SECONDS)
        assert sum(here.faults.struck.values()) > 10


async def test_a_service_that_is_killed_amid_trades_comes_back_with_equal_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(3) as here, monitored(tmp_path, here, monkeypatch) as service:
        for _ in range(4):
            await here.trade(300)
            await asyncio.to_thread(service.kill)
            await here.trade(100)
            await asyncio.to_thread(service.start)
        await equal(service, here, 30)
        verified = await asyncio.to_thread(
            service.command, "replay", "--config", str(service.config_file), "--account", "main", "--verify"
        )
        assert verified.returncode == 0, verified.stderr


async def test_what_is_free_and_locked_is_what_the_exchange_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(2) as here, monitored(tmp_path, here, monkeypatch) as service:
        mark = here.venue.markets["BTCUSDT"].mark
        far = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}
        here.venue.place_order(here.account, {**far, "price": f"{mark // 10**8 * 0.95:.1f}"})

        def locked() -> bool:
            balance = service.account()["balances"]["USDT"]
            return D(balance["locked"]) > 1000 and D(balance["free"]) + D(balance["locked"]) == D(balance["total"])

        await asyncio.to_thread(service.wait_until, locked, "locked", 10)


async def test_no_key_is_in_anything_that_the_service_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with market(4) as here, monitored(tmp_path, here, monkeypatch) as service:
        service.document["logging"] = {"level": "debug"}
        await asyncio.to_thread(service.stop)
        await asyncio.to_thread(service.start)
        here.faults.set("revoked_key", count=20)
        here.faults.set("http_502", count=3)
        here.exchange.disconnect(API_KEY)
        await asyncio.sleep(3)
        key = here.exchange.keys.current(API_KEY)
        said = service.log_file.read_text() + str(await asyncio.to_thread(service.get, "/health"))

        assert "-2015" in said
        assert API_KEY not in said
        assert SECRET not in said
        assert key is not None
        assert key.key not in said
