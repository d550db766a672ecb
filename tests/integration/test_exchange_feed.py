"""The service as users run it, against the simulated exchange over real sockets: its books are the exchange's own."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.market import API_KEY, SECRET, equal, market, monitored

pytestmark = [pytest.mark.integration, pytest.mark.slow]

D = Decimal
HEAL_SECONDS = 150.0


@pytest.mark.timeout(400)
async def test_after_ten_thousand_orders_under_every_fault_of_the_sockets_the_books_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(1) as here, monitored(tmp_path, here, monkeypatch) as service:
        here.faults.set("sockets")
        here.faults.clear("ban_connect")  # of two minutes; the simulation in virtual time goes through it
        await here.trade(10_000)
        here.faults.clear("all")

        await equal(service, here, HEAL_SECONDS)
        assert sum(here.faults.struck.values()) > 10


@pytest.mark.timeout(300)  # it starts five times
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
