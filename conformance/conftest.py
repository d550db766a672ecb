"""What every test starts with: an exchange of its client's own, where something has happened already."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance import simulator
from conformance.simulator import Simulator


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    """A simulated exchange of this file's own, on whose demo account there was trading, funding and a deposit."""
    running = simulator.start("--legacy-streams", "full")
    try:
        trade(running)
        yield running
    finally:
        status = simulator.stop(running)
    assert status == 0, "the simulator ended with an error"


def trade(exchange: Simulator) -> None:
    """A long of 0.030 BTC, a third of it sold higher; a short of 0.5 ETH; funding; a deposit; an order that rests."""
    exchange.set_price("BTCUSDT", "60000")
    exchange.set_price("ETHUSDT", "2500")
    exchange.market_order("BTCUSDT", "BUY", "0.030")
    exchange.market_order("ETHUSDT", "SELL", "0.500")
    exchange.set_price("BTCUSDT", "60600")
    exchange.market_order("BTCUSDT", "SELL", "0.010")
    exchange.settle_funding("0.0003")
    exchange.deposit("USDT", "123.45")
    exchange.post(
        "/fapi/v1/order", symbol="ETHUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.100", price="2400"
    )
