"""Does a nautilus_trader node start, reconcile and trade against the simulated exchange?

The node runs once (nautilus_node.py) and the tests look at what it noted. It listens on the unrouted addresses
(`/stream?streams=<listenKey>`), as versions before the exchange's split of its streams do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from conformance.simulator import API_KEY, SECRET, Simulator, decimals, near, non_zero

PROGRAM = Path(__file__).with_name("nautilus_node.py")
INSTRUMENTS = {"BTCUSDT-PERP.BINANCE": "BTCUSDT", "ETHUSDT-PERP.BINANCE": "ETHUSDT"}


@pytest.fixture(scope="module")
def before(exchange: Simulator) -> dict[str, Any]:
    """The exchange's books and its resting orders before the node starts."""
    return exchange.books() | {"open_orders": [str(row["orderId"]) for row in exchange.get("/fapi/v1/openOrders")]}


@pytest.fixture(scope="module")
def notes(exchange: Simulator, before: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the node noted: `reconciled` at its start, `final` at its end, and what it heard in between; its log too."""
    noted = tmp_path_factory.mktemp("nautilus") / "notes.json"
    command = [sys.executable, str(PROGRAM), exchange.url, exchange.websocket_url, API_KEY, SECRET, str(noted)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout
    return {**json.loads(noted.read_text()), "log": output.splitlines()}


def test_nautilus_logs_no_error(notes: dict[str, Any]) -> None:
    assert [line for line in notes["log"] if "[ERROR]" in line] == []
    assert "timed_out" not in notes
    assert notes["denied"] == []


def test_nautilus_reconciles_the_account(notes: dict[str, Any], before: dict[str, Any]) -> None:
    balances = decimals(notes["reconciled"]["balances"])

    assert non_zero(balances.items()) == non_zero(decimals(before["wallets"]).items())
    assert notes["reconciled"]["leverage"] == "20"


def test_nautilus_reconciles_the_positions(notes: dict[str, Any], before: dict[str, Any]) -> None:
    positions = {INSTRUMENTS[name]: position for name, position in notes["reconciled"]["positions"].items()}

    assert {symbol: Decimal(position["quantity"]) for symbol, position in positions.items()} == decimals(
        before["positions"]
    )
    assert {symbol: Decimal(position["entry_price"]) for symbol, position in positions.items()} == decimals(
        before["entry_prices"]
    )


def test_nautilus_reconciles_the_orders(notes: dict[str, Any], before: dict[str, Any], exchange: Simulator) -> None:
    filled = {
        str(row["orderId"])
        for symbol in before["trades"]
        for row in exchange.get("/fapi/v1/allOrders", symbol=symbol)
        if row["status"] == "FILLED"
    } - {fill["order"] for fill in notes["fills"]}

    assert notes["reconciled"]["open_orders"] == before["open_orders"]
    assert set(notes["reconciled"]["filled_orders"]) == filled


def test_nautilus_hears_its_own_fills(notes: dict[str, Any], exchange: Simulator) -> None:
    trades = exchange.get("/fapi/v1/userTrades", symbol="BTCUSDT", orderId=notes["fills"][0]["order"])

    assert sum(Decimal(fill["quantity"]) for fill in notes["fills"]) == Decimal("0.004")
    assert [
        (fill["trade"], Decimal(fill["quantity"]), Decimal(fill["price"]), Decimal(fill["commission"]))
        for fill in notes["fills"]
    ] == [
        (str(trade["id"]), Decimal(trade["qty"]), Decimal(trade["price"]), Decimal(trade["commission"]))
        for trade in trades
    ]


def test_nautilus_places_and_cancels_an_order(notes: dict[str, Any], exchange: Simulator) -> None:
    (order,) = notes["cancelled"]

    assert exchange.get("/fapi/v1/order", symbol="BTCUSDT", orderId=order)["status"] == "CANCELED"


def test_nautilus_ends_with_the_exchange_s_position_and_wallet(notes: dict[str, Any], exchange: Simulator) -> None:
    position = notes["final"]["positions"]["BTCUSDT-PERP.BINANCE"]

    assert Decimal(position["quantity"]) == exchange.positions()["BTCUSDT"]
    assert Decimal(notes["final"]["balances"]["USDT"]) == exchange.wallets()["USDT"]


def test_nautilus_hears_mark_prices(notes: dict[str, Any]) -> None:
    assert [Decimal(price) for price in notes["marks"]] == [near("60600")] * len(notes["marks"])
