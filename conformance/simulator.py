"""The simulated exchange as a child process: start it, ask for its own books, move its market, trade by hand."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).resolve().parent.parent / "src"
API_KEY = "demo-key"
SECRET = "demo-secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """A running simulator, seen by one of its accounts."""

    process: subprocess.Popen[str]
    url: str
    websocket_url: str
    api_key: str = API_KEY
    secret: str = SECRET

    def books(self) -> dict[str, Any]:
        """Return what the exchange itself has booked for the account; amounts are texts."""
        return dict(self._admin("GET", f"/admin/books?api_key={self.api_key}"))

    def wallets(self) -> dict[str, Decimal]:
        """Return every wallet balance that is not zero, by asset."""
        return non_zero(decimals(self.books()["wallets"]).items())

    def positions(self) -> dict[str, Decimal]:
        """Return the signed quantity of every open position, by symbol."""
        return decimals(self.books()["positions"])

    def set_price(self, symbol: str, mark: str) -> None:
        self._admin("POST", "/admin/price", {"symbol": symbol, "mark": mark})

    def deposit(self, asset: str, amount: str) -> None:
        self._admin("POST", "/admin/deposit", {"api_key": self.api_key, "asset": asset, "amount": amount})

    def settle_funding(self, rate: str) -> None:
        """Let every open position pay or receive `rate` of its notional now."""
        for symbol in self.positions():
            self._admin("POST", "/admin/funding-rate", {"symbol": symbol, "rate": rate})
        self._admin("POST", "/admin/fund", {})

    def expire_listen_key(self) -> None:
        self._admin("POST", "/admin/expire-key", {"api_key": self.api_key})

    def open_account(self, name: str, **wallets: str) -> Simulator:
        """Return the same exchange as seen by a new account."""
        seen = replace(self, api_key=name, secret=f"{name}-secret")
        self._admin("POST", "/admin/accounts", {"api_key": name, "secret": seen.secret, "wallets": wallets})
        return seen

    def get(self, path: str, **parameters: str | int) -> Any:
        """Ask with a signature of our own, the bare protocol, for what a client's answers are compared with."""
        return self._signed("GET", path, parameters)

    def post(self, path: str, **parameters: str | int) -> Any:
        return self._signed("POST", path, parameters)

    def put(self, path: str, **parameters: str | int) -> Any:
        return self._signed("PUT", path, parameters)

    def delete(self, path: str, **parameters: str | int) -> Any:
        return self._signed("DELETE", path, parameters)

    def market_order(self, symbol: str, side: str, quantity: str, **more: str) -> int:
        """Fill at the market and return the order's id."""
        placed = self.post("/fapi/v1/order", symbol=symbol, side=side, type="MARKET", quantity=quantity, **more)
        return int(placed["orderId"])

    def _signed(self, method: str, path: str, parameters: dict[str, str | int]) -> Any:
        query = urllib.parse.urlencode({**parameters, "timestamp": time.time_ns() // 1_000_000})
        signature = hmac.new(self.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return ask(method, f"{self.url}{path}?{query}&signature={signature}", {"X-MBX-APIKEY": self.api_key})

    def _admin(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return ask(method, self.url + path, {}, None if body is None else json.dumps(body).encode())


def ask(method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - the address is the child process's own
        url,
        method=method,
        headers={"Content-Type": "application/json", **headers},
        data=body,
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            return json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        raise AssertionError(f"{method} {url}: {refusal.code} {refusal.read().decode()}") from None


def near(price: str) -> Any:
    """Return what a price equals that was set a short while ago: the market moves every second."""
    return pytest.approx(Decimal(price), rel=Decimal("0.05"))


def total_of(amounts: Iterable[str]) -> Decimal:
    return sum(map(Decimal, amounts), Decimal(0))


def non_zero(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    return {name: amount for name, amount in amounts if amount}


def decimals(amounts: dict[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in amounts.items()}


def start(*options: str) -> Simulator:
    command = [sys.executable, "-m", "exchange_simulator", "--port", "0", "--no-bot", "--seed", "7", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(SOURCES)}
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    addresses = re.search(r"(http://[\d.:]+) \(WebSocket (ws://[\d.:]+)\)", line)
    if addresses is None:
        process.kill()
        raise AssertionError(f"the simulator did not say where it listens, but: {line!r}")
    return Simulator(process=process, url=addresses[1], websocket_url=addresses[2])


def stop(simulator: Simulator) -> int:
    """End it as an operator would and return its exit status."""
    simulator.process.terminate()
    return simulator.process.wait(timeout=20)
