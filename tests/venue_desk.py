"""A desk at the simulated exchange: one venue on a clock of the test's own, and everything that it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from exchange_simulator.accounts import Account
from exchange_simulator.errors import VenueError
from exchange_simulator.symbols import SymbolRules, brackets, rules
from exchange_simulator.venue import Venue

Event = dict[str, Any]

START_MS = 1_786_032_000_000  # a funding time of eight hours

PLAIN_TIERS = brackets([(100, 10_000, "0.01"), (20, 100_000, "0.05"), (2, 1_000_000, "0.25")])


def plain_rules(symbol: str = "BTCUSDT", price: str = "100") -> SymbolRules:
    """A contract one can compute with by heart: price 100, tick 0.1, step 0.001, fees 0.02 % and 0.05 %."""
    return rules(symbol, price, tick="0.1", step="0.001", tiers=PLAIN_TIERS, liquidation_fee="0.01", price_precision=2)


PLAIN = (plain_rules(), plain_rules("ETHUSDT"), plain_rules("BNBUSDT", "500"), plain_rules("BTCUSDC"))


class Desk:
    def __init__(self, symbols: Sequence[SymbolRules] | None = PLAIN, **settings: Any) -> None:
        self.now = START_MS + 1
        self.venue = Venue(symbols, clock=lambda: self.now, **settings)
        self.said: list[tuple[Account, Event]] = []
        self.venue.on_user_event.append(lambda account, event: self.said.append((account, event)))

    def account(self, name: str = "main", wallets: Mapping[str, str] | None = None, **settings: Any) -> Account:
        return self.venue.open_account(name, "secret", wallets=wallets or {"USDT": "1000"}, **settings)

    def quote(self, symbol: str, *, bids: str = "", asks: str = "") -> None:
        """Quote exactly these, written "price x quantity, …", best first."""
        sides = [
            [(level.split("x")[0].strip(), level.split("x")[1].strip()) for level in side.split(",") if level.strip()]
            for side in (bids, asks)
        ]
        self.venue.set_ladder(symbol, bids=sides[0], asks=sides[1])

    def order(self, account: Account, side: str, quantity: str, price: str = "", **parameters: str) -> Event:
        """Place an order: at the market, or with a price."""
        terms = {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": quantity} | parameters
        if price:
            terms = {"timeInForce": "GTC"} | terms | {"type": "LIMIT", "price": price}
        return self.venue.place_order(account, terms)

    def fill(self, account: Account, side: str, quantity: str, at: str, **parameters: str) -> Event:
        """Trade at the market at exactly this price."""
        symbol = parameters.get("symbol", "BTCUSDT")
        self.quote(symbol, **{"asks" if side == "BUY" else "bids": f"{at} x {quantity}"})
        return self.order(account, side, quantity, **parameters)

    def heard(self, account: Account) -> list[Event]:
        """Return what the account heard since the last time that it was asked."""
        events = [event for listener, event in self.said if listener is account]
        self.said = [row for row in self.said if row[0] is not account]
        return events

    def wallet(self, account: Account, asset: str = "USDT") -> Decimal:
        return Decimal(self.venue.books(account)["wallets"].get(asset, "0"))


def kinds(events: list[Event]) -> list[str]:
    """Name events briefly: TRADE_LITE, NEW, ORDER (reason of an account update), TRADE …"""
    names = []
    for event in events:
        kind = event["e"]
        if kind == "ACCOUNT_UPDATE":
            names.append(event["a"]["m"])
        elif kind == "ORDER_TRADE_UPDATE":
            names.append(event["o"]["x"])
        elif kind == "ALGO_UPDATE":
            names.append(f"ALGO {event['o']['X']}")
        else:
            names.append(kind)
    return names


def trades(events: list[Event]) -> list[Event]:
    return [event["o"] for event in events if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["l"] != "0"]


def updates(events: list[Event], reason: str) -> list[Event]:
    return [event["a"] for event in events if event["e"] == "ACCOUNT_UPDATE" and event["a"]["m"] == reason]


def refused(code: int) -> Any:
    """Expect a refusal with this code."""
    return pytest.raises(VenueError, match=f"^{code}: ")
