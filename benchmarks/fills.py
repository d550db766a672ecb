"""Seeded fills for the benchmarks: random trades around a walking price, fees in the settlement asset."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal

from account_monitor.ledger.events import Fill, Side
from account_monitor.ledger.money import to_text
from account_monitor.monitor.reports import time_text

START_MS = 1_790_000_000_000


def fills(count: int, *, symbols: tuple[str, ...] = ("BTCUSDT",), seed: int = 1, first: int = 1) -> Iterator[Fill]:
    """Yield fills that open, grow, shrink, flip and close positions."""
    generator = random.Random(seed)
    sides: tuple[Side, Side] = ("BUY", "SELL")
    price = 500_000
    for number in range(first, first + count):
        price += generator.randint(-50, 50)
        yield Fill(
            symbol=symbols[number % len(symbols)],
            trade_id=str(5_000_000_000 + number),
            side=generator.choice(sides),
            quantity=Decimal(generator.randint(1, 50)).scaleb(-3),
            price=Decimal(price).scaleb(-1),
            at_ms=START_MS + number,
            fee=Decimal(generator.randint(1, 999)).scaleb(-4),
            fee_asset="USDT",
            order_id=str(480_000_000_000 + number),
            maker=False,
        )


def message(fill: Fill, account: str = "main") -> bytes:
    """Return the fill as it comes on NATS."""
    return json.dumps(
        {
            "id": fill.trade_id,
            "account": account,
            "symbol": fill.symbol,
            "side": fill.side,
            "quantity": to_text(fill.quantity),
            "price": to_text(fill.price),
            "fee": None if fill.fee is None else to_text(fill.fee),
            "fee_currency": fill.fee_asset,
            "position_side": fill.position_side,
            "order_id": fill.order_id,
            "maker": fill.maker,
            "realized_pnl": None,
            "timestamp": time_text(fill.at_ms),
        }
    ).encode()
