"""Feeder: plays recorded real fills, then the endless market, to NATS at a human pace."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from account_monitor.demo.market import Market
from account_monitor.monitor.reports import time_text

STREAM = "TRADING"
FILLS = "trading.fills"
PRICES = "trading.prices"
ACCOUNT = "demo"

RECORDED_PAUSE_SECONDS = 0.25
MARKET_PAUSE_SECONDS = 0.5
RETRY_SECONDS = 0.2
_DAY_SECONDS = 86_400

log = structlog.get_logger()


class RecordedFill(NamedTuple):
    """A real fill and the profit that the exchange gave for it."""

    symbol: str
    trade_id: int
    fields: dict[str, Any]
    realized_pnl: Decimal


def recorded_sequences() -> list[dict[str, Any]]:
    """Return the recorded sequences of fills; their source is named in each."""
    text = (importlib.resources.files(__package__) / "data" / "usdm_fills.json").read_text()
    sequences: list[dict[str, Any]] = json.loads(text)
    return sequences


def recorded_positions() -> dict[str, dict[str, str]]:
    """Return what the recorded accounts held before their first fills, as an opening's `positions`."""
    return {s["symbol"]: s["start"] for s in recorded_sequences() if s["start"] is not None}


def recorded_fills() -> list[RecordedFill]:
    """Return every recorded fill, numbered per symbol in the order of the recordings."""
    numbers: dict[str, int] = {}
    fills = []
    for sequence in recorded_sequences():
        symbol = sequence["symbol"]
        for fill in sequence["fills"]:
            numbers[symbol] = number = numbers.get(symbol, 0) + 1
            fields = {
                "symbol": symbol,
                "side": fill["side"],
                "quantity": fill["qty"],
                "price": fill["price"],
                "fee": fill["commission"],
                "fee_currency": fill["commissionAsset"],
                "position_side": sequence["positionSide"],
                "maker": fill["maker"],
            }
            fills.append(RecordedFill(symbol, number, fields, Decimal(fill["realizedPnl"])))
    return fills


async def _note(error: Exception) -> None:
    log.debug("demo_connection", error=str(error) or type(error).__name__)


class Feeder:
    """Publishes fills and prices until cancelled; what it published survives a restart, and is not published twice."""

    def __init__(self, url: str, seed: int, clock: Callable[[], int]) -> None:
        self._url = url
        self._market = Market(seed)
        self._clock = clock
        self._last_id = 0

    async def run(self) -> None:
        """Publish the recording if the stream does not hold it yet, then the market."""
        connection = await nats.connect(
            self._url, max_reconnect_attempts=-1, reconnect_time_wait=RETRY_SECONDS, error_cb=_note
        )
        try:
            jetstream = connection.jetstream()
            await jetstream.add_stream(
                StreamConfig(name=STREAM, subjects=[FILLS, f"{FILLS}.*"], max_age=7 * _DAY_SECONDS)
            )
            info = await jetstream.stream_info(STREAM)
            prices = {symbol: start["entry_price"] for symbol, start in recorded_positions().items()}
            for number, fill in enumerate(recorded_fills(), start=1):
                prices[fill.symbol] = fill.fields["price"]
                if number > info.state.last_seq:
                    await self._publish(jetstream, str(fill.trade_id), fill.fields)
                    await self._publish_marks(connection, prices)
                    await asyncio.sleep(RECORDED_PAUSE_SECONDS)
            while True:
                await self._publish_marks(connection, {**prices, **self._market.step()})
                for trade in self._market.trades():
                    self._last_id = max(self._last_id + 1, self._clock() * 1000)  # grows across restarts
                    fields = {**trade._asdict(), "fee_currency": "USDT", "position_side": "BOTH"}
                    await self._publish(jetstream, str(self._last_id), fields)
                await asyncio.sleep(MARKET_PAUSE_SECONDS)
        finally:
            await connection.close()

    async def _publish_marks(self, connection: Client, prices: dict[str, str]) -> None:
        for symbol, price in prices.items():
            mark = {"symbol": symbol, "price": price, "timestamp": time_text(self._clock())}
            await connection.publish(PRICES, json.dumps(mark).encode())

    async def _publish(self, jetstream: JetStreamContext, trade_id: str, fields: dict[str, Any]) -> None:
        message = {"id": trade_id, "account": ACCOUNT, **fields, "timestamp": time_text(self._clock())}
        message_id = f"{message['symbol']}:{trade_id}"
        payload = json.dumps(message).encode()
        while True:  # a server that dies may have it already, and knows it by the id
            try:
                await jetstream.publish(f"{FILLS}.{ACCOUNT}", payload, headers={"Nats-Msg-Id": message_id})
                return
            except (nats.errors.Error, TimeoutError) as error:
                log.warning("demo_fill_not_published", error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
