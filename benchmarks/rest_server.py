"""What `rest` asks: the doors of a desk, and an empty handler of the same framework behind the same server."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from decimal import Decimal
from pathlib import Path

import uvloop
from litestar import Litestar, get

from account_monitor.api.asgi import Application
from account_monitor.api.listening import listen
from account_monitor.api.server import _Server, _settings
from account_monitor.api.turnstile import Turnstile
from account_monitor.config import LoggingSettings, LogLevel
from account_monitor.ledger.events import MarkPrice
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.logs import configure_logging
from tests.integration.trading_desk import TradingDesk, clock, trading_desk

MARK_SECONDS = 0.1


def main(positions: int, folder: Path) -> None:
    """Serve until terminated; the first line of the output names the ports."""
    use_exact_arithmetic()
    configure_logging(LoggingSettings(level=LogLevel.WARNING))
    uvloop.run(_serve(positions, folder))


async def _serve(positions: int, folder: Path) -> None:
    async with trading_desk(folder) as desk:
        await desk.open()
        symbols = [f"C{number}USDT" for number in range(positions)]
        for symbol in symbols:
            await desk.trade(desk.fill("BUY", "1.5", "101.25", symbol))
        sockets = await listen("127.0.0.1", 0, "http")
        server = _Server(_settings(_empty(), is_tls=False), Turnstile(), None)
        serving = asyncio.create_task(server.serve(sockets=sockets))
        await server.listens.wait()
        gc.collect()
        gc.freeze()
        ports = {"empty": sockets[0].getsockname()[1], "service": int(desk.doors.http_url.rpartition(":")[2])}
        print(json.dumps(ports), flush=True)
        await asyncio.gather(serving, _move(desk, symbols))


def _empty() -> Application:
    @get("/", sync_to_thread=False)
    def empty() -> None:
        """Answer nothing."""

    return Litestar([empty], openapi_config=None, logging_config=None)  # type: ignore[return-value]  # as ASGI says it


async def _move(desk: TradingDesk, symbols: list[str]) -> None:
    number = 0
    while True:
        number += 1
        price = Decimal(10_000 + number % 100).scaleb(-2)
        desk.monitor().mark(MarkPrice(symbols[number % len(symbols)], price, clock()))
        await asyncio.sleep(MARK_SECONDS)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
