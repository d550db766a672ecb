"""Positions: what does a fill do to what is held, and what is remembered of it?"""

from __future__ import annotations

from typing import NamedTuple

from exchange_simulator.money import COST_TO_AMOUNT, NOTIONAL, half_up, profit, truncated


class Trade(NamedTuple):
    """A fill as the account's history keeps it. `fee` is positive when paid."""

    id: int
    order_id: int
    symbol: str
    side: str
    position_side: str
    price: int
    quantity: int
    realized: int
    fee: int
    fee_asset: str
    at_ms: int
    maker: bool


class Income(NamedTuple):
    """A row of the account's transaction history. `amount` is signed, positive is money in."""

    symbol: str
    kind: str
    amount: int
    asset: str
    info: str
    at_ms: int
    transaction_id: int
    trade_id: str


class Position:
    """What is held of one symbol on one side. `quantity` is signed, `cost` = |quantity| × entry in 1e-32."""

    __slots__ = ("cost", "isolated_wallet", "outlay", "quantity", "realized", "side", "symbol", "updated_ms")

    def __init__(self, symbol: str, side: str) -> None:
        self.symbol = symbol
        self.side = side
        self.quantity = 0
        self.cost = 0
        self.outlay = 0  # cost less what partial closes brought in, opening fees included: break-even × |quantity|
        self.realized = 0  # over the life of the account, before fees; never reset
        self.isolated_wallet = 0
        self.updated_ms = 0

    @property
    def key(self) -> str:
        return self.symbol if self.side == "BOTH" else f"{self.symbol}:{self.side}"

    def apply(self, signed: int, price: int, fee_rate: int) -> int:
        """Book a fill; return what it realized (1e-8). `fee_rate` (1e-8) enters the break-even price of what opens."""
        held = self.quantity
        if not held or (held > 0) == (signed > 0):
            self._open(signed, price, fee_rate)
            return 0
        direction = 1 if held > 0 else -1
        size, offered = abs(held), abs(signed)
        closed = min(size, offered)
        released = self.cost if closed == size else half_up(self.cost * closed, size)
        realized = profit(price, closed, released, direction)
        self.realized += realized
        self.cost -= released
        self.outlay -= price * closed * NOTIONAL
        self.quantity += closed if signed > 0 else -closed
        if not self.quantity:
            self.cost = self.outlay = 0
        if offered > closed:
            self._open(offered - closed if signed > 0 else closed - offered, price, fee_rate)
        return realized

    def _open(self, signed: int, price: int, fee_rate: int) -> None:
        cost = abs(signed) * price * NOTIONAL
        fee = abs(signed) * price * fee_rate * (NOTIONAL // 10**8)
        self.cost += cost
        self.outlay += cost + fee if signed > 0 else cost - fee
        self.quantity += signed

    def entry_price(self) -> int:
        """Return the average price, in 1e-9, half up: what the venue displays; never used for computing."""
        return half_up(self.cost, abs(self.quantity) * 10**15) if self.quantity else 0

    def break_even_price(self) -> int:
        """Return the price (1e-9) at which closing brings back what the position took, its opening fees included."""
        return half_up(max(self.outlay, 0), abs(self.quantity) * 10**15) if self.quantity else 0

    def unrealized(self, mark: int) -> int:
        """Return what closing at the mark price would realize, cut off at 1e-8."""
        if not self.quantity:
            return 0
        value = self.quantity * mark * NOTIONAL
        return truncated(value - self.cost if self.quantity > 0 else value + self.cost, COST_TO_AMOUNT)

    def notional(self, mark: int) -> int:
        """Return the signed value at the mark price, cut off at 1e-8."""
        return truncated(self.quantity * mark, 10**8)
