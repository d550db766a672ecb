"""A market of one's own: the simulated exchange on a port of this process, and the service that monitors an account."""

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
from exchange_simulator.positions import Trade
from exchange_simulator.server import Server
from exchange_simulator.venue import Venue
from tests.integration.service import Service

D = Decimal
API_KEY, SECRET = "a" * 64, "b" * 64


class Market:
    """An exchange on a port of its own, in this process, and a customer who may do anything."""

    def __init__(self, seed: int, *, funding_interval_ms: int = 10_000) -> None:
        self.clock = Clock()
        self.venue = Venue(clock=self.clock, seed=seed, funding_interval_ms=funding_interval_ms, moving=True)
        self.faults = Faults(seed)
        self.exchange = Exchange(self.venue, seed=seed, faults=self.faults)
        self.account = self.venue.open_account(
            API_KEY, SECRET, wallets={"USDT": "1000000", "BNB": "10"}, hedge=seed % 2 == 1, fee_burn=True
        )
        self.server = Server(self.exchange, Admin(self.exchange, self.clock.shift))
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

    def order(self, symbol: str, side: str, quantity: str) -> None:
        """Trade at the market."""
        order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity}
        self.venue.place_order(self.account, order)

    @property
    def trades(self) -> list[Trade]:
        """What was executed, in the order of the trade ids of each symbol."""
        return [trade for trades in self.account.trades.values() for trade in trades]

    def books(self) -> dict[str, dict[str, Decimal]]:
        told = self.venue.books(self.account)
        names = ("wallets", "positions", "realized", "fees")
        return {name: {key: D(text) for key, text in told[name].items() if D(text)} for name in names}


@asynccontextmanager
async def open_for_business(here: Market) -> AsyncIterator[Market]:
    """Let the exchange serve for the length of the block."""
    here.port = await here.server.start("127.0.0.1", 0)
    try:
        yield here
    finally:
        await here.server.stop()


@asynccontextmanager
async def market(seed: int) -> AsyncIterator[Market]:
    """Open an exchange for the length of the block."""
    async with open_for_business(Market(seed)) as here:
        yield here


@asynccontextmanager
async def monitored(
    folder: Path, here: Market, monkeypatch: pytest.MonkeyPatch, *, nats_url: str | None = None, **sections: Any
) -> AsyncIterator[Service]:
    """Monitor the account for the length of the block; it is ready at its beginning. `sections` are configuration."""
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
    service = Service(folder, nats_url, [account])
    service.document |= sections
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
