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


SELDOM_MS = 8 * 3600_000
"""As often as in life."""


class Market:
    """An exchange on a port of its own, in this process, and a customer who may do anything.

    `funding_interval_ms` counts from `begin_funding`; before that, funding is as seldom as in life.
    """

    def __init__(self, seed: int, *, funding_interval_ms: int = 10_000) -> None:
        self.clock = Clock()
        self.venue = Venue(clock=self.clock, seed=seed, funding_interval_ms=SELDOM_MS, moving=True)
        self._funding_interval_ms = funding_interval_ms
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

    def begin_funding(self) -> None:
        """Pay funding every `funding_interval_ms` from the next multiple of it.

        Nobody may adopt the account after that: the service keeps away from the first half minute of an hour, when
        payments may be under way that lie before the opening, but it cannot keep away from one that comes every ten
        seconds.
        """
        floor, interval_ms = self.venue.floor, self._funding_interval_ms
        first_ms = (floor.now() // interval_ms + 1) * interval_ms
        floor.funding_interval_ms = interval_ms
        for quoted in floor.markets.values():
            quoted.next_funding_ms = first_ms

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
    """Monitor the account for the length of the block; it is ready at its beginning, and then funding begins.

    `sections` are configuration.
    """
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
    here.begin_funding()
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
