"""What a fill costs nautilus_trader's `Position.apply` after a history of fills. Runs in an environment of its own."""
# mypy: ignore-errors

import statistics
import time

from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderType
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientOrderId,
    PositionId,
    StrategyId,
    TradeId,
    TraderId,
    VenueOrderId,
)
from nautilus_trader.model.objects import Money
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.providers import TestInstrumentProvider

HISTORIES = (20, 1_000, 20_000)
SAMPLE = 50


def main() -> None:
    """Print the median cost of a fill for each length of history."""
    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    position, applied = Position(instrument, _fill(instrument, 0)), 1
    for history in HISTORIES:
        while applied < history:
            position.apply(_fill(instrument, applied))
            applied += 1
        costs = []
        for _ in range(SAMPLE):
            fill = _fill(instrument, applied)
            started = time.perf_counter()
            position.apply(fill)
            costs.append(time.perf_counter() - started)
            applied += 1
        median = statistics.median(costs) * 1e6
        print(f"nautilus_trader 1.221 Position.apply, {history:,} fills of history: {median:.1f} µs")


def _fill(instrument, number):
    return OrderFilled(
        trader_id=TraderId("TRADER-1"),
        strategy_id=StrategyId("S-1"),
        instrument_id=instrument.id,
        client_order_id=ClientOrderId(f"O-{number}"),
        venue_order_id=VenueOrderId(str(number)),
        account_id=AccountId("BINANCE-1"),
        trade_id=TradeId(str(number)),
        order_side=OrderSide.BUY if number % 3 else OrderSide.SELL,
        order_type=OrderType.MARKET,
        last_qty=instrument.make_qty(0.001 if number else 10),
        last_px=instrument.make_price(50_000 + number % 100),
        currency=instrument.quote_currency,
        commission=Money(0.02, instrument.quote_currency),
        liquidity_side=LiquiditySide.TAKER,
        position_id=PositionId("P-1"),
        event_id=UUID4(),
        ts_event=number,
        ts_init=number,
    )


if __name__ == "__main__":
    main()
