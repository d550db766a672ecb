"""Execution: the service beside the monitor that places the orders, and publishes its fills to NATS as they happen.

The bot inside the simulated exchange places them in fact; from here on everything is as in a trading company: a small
client of the exchange that hears its own user stream, publishes each fill, and asks for what it did not hear.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
import nats
import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import APIError

from account_monitor.demo.exchange import SimulatedExchange
from account_monitor.monitor.reports import time_text

STREAM = "TRADING"
FILLS = "trading.fills"

ASK_SECONDS = 4.0
"""How often it asks for what it did not hear: less than the monitor waits for the other side of a fill."""

_PING_SECONDS = 3.0
_RETRY_SECONDS = 0.2
_TIMEOUT = aiohttp.ClientTimeout(total=5)
_DAY_SECONDS = 86_400
_PAGE = 1000
_UNREACHABLE = (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError)  # OSError: time-outs too

log = structlog.get_logger()


class ExecutionService:
    """Publishes the fills that happen from its start on, until cancelled."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        exchange: SimulatedExchange,
        nats_url: str,
        account: str,
        clock: Callable[[], int],
    ) -> None:
        self._session = session
        self._exchange = exchange
        self._nats_url = nats_url
        self._account = account
        self._clock = clock
        self._since_ms = clock()
        self._complete_to: dict[str, int] = {}
        """By symbol, the trade id up to which the exchange was asked and everything is published."""
        self._published: dict[str, set[int]] = {}
        """By symbol, the trade ids beyond that."""
        self._must_ask = asyncio.Event()
        self._jetstream: JetStreamContext

    async def run(self) -> None:
        """Publish until cancelled."""
        connection = await nats.connect(
            self._nats_url, max_reconnect_attempts=-1, reconnect_time_wait=_RETRY_SECONDS, error_cb=_note
        )
        try:
            self._jetstream = connection.jetstream()
            await self._make_stream()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._ask_again_and_again())
        finally:
            await connection.close()

    async def _make_stream(self) -> None:
        config = StreamConfig(name=STREAM, subjects=[FILLS, f"{FILLS}.*"], max_age=7 * _DAY_SECONDS)
        while True:
            try:
                await self._jetstream.add_stream(config)
                return
            except (nats.errors.Error, APIError, TimeoutError) as error:
                log.warning("demo_stream_not_made", error=str(error) or type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    # -- what is heard -------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hear the user stream, through every outage."""
        while True:
            try:
                await self._listen_once()
            except _UNREACHABLE as error:
                log.info("demo_execution_not_listening", error=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen_once(self) -> None:
        answer = await self._ask("POST", "/fapi/v1/listenKey", "")
        url = f"{self._exchange.websocket_url}/private/ws?listenKey={answer['listenKey']}"
        async with self._session.ws_connect(url, heartbeat=_PING_SECONDS) as socket:
            self._must_ask.set()  # whatever happened before it listened
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT and not await self._hear(json.loads(message.data)):
                    return

    async def _hear(self, event: dict[str, Any]) -> bool:
        """Take a message; return False for one after which nothing comes."""
        if event.get("e") == "ORDER_TRADE_UPDATE" and event["o"]["x"] in ("TRADE", "CALCULATED"):
            order = event["o"]
            await self._publish(
                order["s"], int(order["t"]), order["T"], side=order["S"], quantity=order["l"], price=order["L"],
                fee=order.get("n"), fee_currency=order.get("N"), position_side=order["ps"], order_id=str(order["i"]),
                maker=order["m"], realized_pnl=order["rp"],
            )  # fmt: skip
        return event.get("e") != "listenKeyExpired"

    # -- what is asked -------------------------------------------------------------------------------------------------

    async def _ask_again_and_again(self) -> None:
        while True:
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    await self._must_ask.wait()
            except TimeoutError:
                pass
            self._must_ask.clear()
            try:
                await self._ask_for_trades()
            except _UNREACHABLE as error:
                log.info("demo_execution_not_answered", error=type(error).__name__)

    async def _ask_for_trades(self) -> None:
        held = await self._get("/fapi/v3/positionRisk")
        for symbol in sorted({row["symbol"] for row in held} | self._published.keys()):
            while await self._publish_page(symbol) == _PAGE:
                pass

    async def _publish_page(self, symbol: str) -> int:
        """Publish a page of the trades that are not known to be published, and return how many it has."""
        known = self._complete_to.get(symbol)
        place = {"startTime": self._since_ms} if known is None else {"fromId": known + 1}
        rows: list[dict[str, Any]] = await self._get("/fapi/v1/userTrades", symbol=symbol, limit=_PAGE, **place)
        for row in rows:
            await self._publish(
                symbol, row["id"], row["time"], side=row["side"], quantity=row["qty"], price=row["price"],
                fee=row["commission"], fee_currency=row["commissionAsset"], position_side=row["positionSide"],
                order_id=str(row["orderId"]), maker=row["maker"], realized_pnl=row["realizedPnl"],
            )  # fmt: skip
        if rows:
            self._complete_to[symbol] = complete_to = rows[-1]["id"]
            self._published[symbol] = {number for number in self._published.get(symbol, ()) if number > complete_to}
        return len(rows)

    async def _get(self, path: str, **parameters: str | int) -> Any:
        query = urlencode({**parameters, "recvWindow": 5000, "timestamp": self._clock()})
        signature = hmac.new(self._exchange.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return await self._ask("GET", path, f"?{query}&signature={signature}")

    async def _ask(self, method: str, path: str, query: str) -> Any:
        url, headers = f"{self._exchange.rest_url}{path}{query}", {"X-MBX-APIKEY": self._exchange.api_key}
        async with self._session.request(method, url, headers=headers, timeout=_TIMEOUT) as response:
            response.raise_for_status()
            return await response.json()

    # -- what is said --------------------------------------------------------------------------------------------------

    async def _publish(self, symbol: str, trade_id: int, at_ms: int, **fields: Any) -> None:
        """Publish a fill that is not published yet, and return once NATS has it on disk."""
        published = self._published.setdefault(symbol, set())
        if at_ms < self._since_ms or trade_id in published or trade_id <= self._complete_to.get(symbol, -1):
            return
        published.add(trade_id)
        fill = {
            "id": str(trade_id),
            "account": self._account,
            "symbol": symbol,
            **fields,
            "timestamp": time_text(at_ms),
        }
        payload, headers = json.dumps(fill).encode(), {"Nats-Msg-Id": f"{symbol}:{trade_id}"}
        while True:  # a server that dies may have it already, and knows it by the id
            try:
                await self._jetstream.publish(f"{FILLS}.{self._account}", payload, headers=headers)
                return
            except (nats.errors.Error, APIError, TimeoutError) as error:
                log.warning("demo_fill_not_published", error=str(error) or type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)


async def _note(error: Exception) -> None:
    log.debug("demo_connection", error=str(error) or type(error).__name__)
