"""A nautilus_trader node that trades on the simulated exchange, and writes as JSON what it believes.

    python conformance/nautilus_node.py http://127.0.0.1:PORT ws://127.0.0.1:PORT KEY SECRET NOTES.json

It is a program of its own: a node takes over the process's event loop, signals and log.
"""

from __future__ import annotations

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from nautilus_trader.adapters.binance import (
    BINANCE,
    BINANCE_VENUE,
    BinanceAccountType,
    BinanceDataClientConfig,
    BinanceExecClientConfig,
    BinanceLiveDataClientFactory,
    BinanceLiveExecClientFactory,
)
from nautilus_trader.config import InstrumentProviderConfig, LiveExecEngineConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide, OrderStatus
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

BITCOIN = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")
RESTING_PRICE = "50000.0"
PATIENCE_SECONDS = 30


class Witness(Strategy):
    """Notes what was reconciled; fills one order, cancels another; waits for mark prices."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[str, Any] = {"marks": [], "fills": [], "cancelled": [], "denied": []}
        self.is_filled = False
        self.finished = asyncio.Event()

    def on_start(self) -> None:
        self.notes["reconciled"] = self.beliefs()
        self.subscribe_mark_prices(BITCOIN)
        bitcoin = self.cache.instrument(BITCOIN)
        resting = self.order_factory.limit(
            BITCOIN, OrderSide.BUY, bitcoin.make_qty("0.010"), bitcoin.make_price(RESTING_PRICE)
        )
        self.submit_order(self.order_factory.market(BITCOIN, OrderSide.BUY, bitcoin.make_qty("0.004")))
        self.submit_order(resting)

    def on_mark_price(self, mark_price: Any) -> None:
        self.notes["marks"].append(str(mark_price.value))
        self.finish_when_complete()

    def on_order_accepted(self, event: Any) -> None:
        order = self.cache.order(event.client_order_id)
        if order.has_price:
            self.cancel_order(order)

    def on_order_filled(self, event: Any) -> None:
        self.notes["fills"].append(
            {
                "order": str(event.venue_order_id),
                "trade": str(event.trade_id),
                "quantity": str(event.last_qty),
                "price": str(event.last_px),
                "commission": str(event.commission.as_decimal()),
                "position": str(event.position_id),
            }
        )
        self.is_filled = self.cache.order(event.client_order_id).is_closed
        self.finish_when_complete()

    def on_order_canceled(self, event: Any) -> None:
        self.notes["cancelled"].append(str(event.venue_order_id))
        self.finish_when_complete()

    def on_order_rejected(self, event: Any) -> None:
        self.notes["denied"].append(event.reason)
        self.finished.set()

    def finish_when_complete(self) -> None:
        if self.notes["marks"] and self.is_filled and self.notes["cancelled"]:
            self.notes["final"] = self.beliefs()
            self.finished.set()

    def beliefs(self) -> dict[str, Any]:
        account = self.portfolio.account(BINANCE_VENUE)
        return {
            "balances": {
                str(currency): str(total.as_decimal()) for currency, total in account.balances_total().items()
            },
            "leverage": str(account.leverage(BITCOIN)),
            "positions": {
                str(position.instrument_id): {
                    "quantity": str(position.signed_decimal_qty()),
                    "entry_price": str(round(Decimal(repr(position.avg_px_open)), 9)),  # it is a double
                }
                for position in self.cache.positions_open()
            },
            "open_orders": [str(order.venue_order_id) for order in self.cache.orders_open()],
            "filled_orders": sorted(
                str(order.venue_order_id) for order in self.cache.orders() if order.status == OrderStatus.FILLED
            ),
        }


def configuration(url: str, websocket_url: str, api_key: str, secret: str) -> TradingNodeConfig:
    where: dict[str, Any] = {
        "api_key": api_key,
        "api_secret": secret,
        "account_type": BinanceAccountType.USDT_FUTURES,
        "base_url_http": url,
        "instrument_provider": InstrumentProviderConfig(load_all=True),
    }
    return TradingNodeConfig(
        trader_id="CONFORMANCE-001",
        logging=LoggingConfig(log_level="WARNING"),
        exec_engine=LiveExecEngineConfig(reconciliation=True, reconciliation_startup_delay_secs=0.1),
        data_clients={BINANCE: BinanceDataClientConfig(**where, base_url_ws=f"{websocket_url}/market")},
        exec_clients={BINANCE: BinanceExecClientConfig(**where, base_url_ws=websocket_url)},
        timeout_connection=20.0,
        timeout_reconciliation=20.0,
        timeout_portfolio=10.0,
        timeout_disconnection=5.0,
        timeout_post_stop=0.1,
    )


async def run(node: TradingNode, witness: Witness) -> None:
    running = asyncio.create_task(node.run_async())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await witness.finished.wait()
    except TimeoutError:
        witness.notes["timed_out"] = True
    await node.stop_async()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def main(url: str, websocket_url: str, api_key: str, secret: str, notes: str) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    node = TradingNode(config=configuration(url, websocket_url, api_key, secret), loop=loop)
    witness = Witness()
    node.trader.add_strategy(witness)
    node.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
    node.add_exec_client_factory(BINANCE, BinanceLiveExecClientFactory)
    node.build()
    loop.run_until_complete(run(node, witness))
    Path(notes).write_text(json.dumps(witness.notes))
    node.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
