"""Accounts: what does the venue know of each of its customers, their orders included?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from exchange_simulator.money import half_up
from exchange_simulator.positions import Income, Position, Trade
from exchange_simulator.symbols import SymbolRules

PERMISSIONS = ("READ", "TRADE", "TRANSFER", "WITHDRAW")
SIDES = {"BUY": 1, "SELL": -1}


class Holding:
    """An account's settings and positions in one symbol, and what its open orders there may add to them."""

    __slots__ = (
        "auto_add",
        "buying",
        "isolated",
        "leverage",
        "maker_rate",
        "maker_units",
        "orders",
        "positions",
        "rules",
        "selling",
        "taker_rate",
        "taker_units",
        "updated_ms",
    )  # fmt: skip

    def __init__(self, rules: SymbolRules, leverage: int, maker_rate: str, taker_rate: str) -> None:
        self.rules = rules
        self.leverage = leverage
        self.isolated = False
        self.auto_add = False
        self.positions: dict[str, Position] = {}
        self.orders: dict[int, Order] = {}
        self.buying = 0  # notional (1e-16) of open buy orders, those that only reduce left out
        self.selling = 0
        self.updated_ms = 0
        self.set_rates(maker_rate, taker_rate)

    def set_rates(self, maker_rate: str, taker_rate: str) -> None:
        self.maker_rate, self.taker_rate = float(maker_rate), float(taker_rate)
        self.maker_units, self.taker_units = round(self.maker_rate * 1e8), round(self.taker_rate * 1e8)

    def position(self, side: str) -> Position:
        position = self.positions.get(side)
        if position is None:
            position = self.positions[side] = Position(self.rules.symbol, side)
        return position

    def quantity(self, side: str) -> int:
        position = self.positions.get(side)
        return position.quantity if position else 0

    @property
    def is_flat(self) -> bool:
        return not any(position.quantity for position in self.positions.values())


class Account:
    """One customer. Wallets in 1e-8, the isolated ones included. Only the venue writes here."""

    def __init__(
        self, api_key: str, secret: str, uid: int, permissions: Iterable[str], wallets: dict[str, int], leverage: int
    ) -> None:
        self.api_key = api_key
        self.secret = secret
        self.uid = uid
        self.alias = "SgsR" + f"{uid:04d}"
        self.permissions = set(permissions)
        self.wallets = wallets
        self.opening_wallets = dict(wallets)
        self.default_leverage = leverage
        self.hedge = False
        self.multi_assets = False
        self.fee_burn = False
        self.maker_rate: str | None = None
        self.taker_rate: str | None = None
        self.holdings: dict[str, Holding] = {}
        self.client_ids: dict[tuple[str, str], Order] = {}
        """Of the open orders."""
        self.latest_by_client_id: dict[tuple[str, str], Order] = {}
        self.history: dict[str, list[Order]] = {}
        """All orders of a symbol, oldest first."""
        self.algo_orders: dict[int, AlgoOrder] = {}
        """The open conditional orders, oldest first."""
        self.algo_history: list[AlgoOrder] = []
        self.trades: dict[str, list[Trade]] = {}
        """By symbol, ascending by id and by time."""
        self.incomes: list[Income] = []
        """Ascending by time."""
        self.fees: dict[str, int] = {}
        self.funding: dict[str, int] = {}
        self.funding_by_symbol: dict[str, int] = {}
        self.transfers: dict[str, int] = {}
        self.insurance: dict[str, int] = {}
        self.exchanged: dict[str, int] = {}
        self.wallet_updated_ms: dict[str, int] = {}
        self.margin_called = False

    def __repr__(self) -> str:
        return f"Account({self.api_key!r})"

    def holding(self, rules: SymbolRules) -> Holding:
        holding = self.holdings.get(rules.symbol)
        if holding is None:
            leverage = min(self.default_leverage, rules.brackets[0].leverage)
            maker, taker = self.maker_rate or rules.maker_rate, self.taker_rate or rules.taker_rate
            holding = self.holdings[rules.symbol] = Holding(rules, leverage, maker, taker)
        return holding

    def open_positions(self) -> Iterator[tuple[Holding, Position]]:
        """Yield what is not flat."""
        for holding in self.holdings.values():
            for position in holding.positions.values():
                if position.quantity:
                    yield holding, position

    def open_orders(self) -> Iterator[Order]:
        for holding in self.holdings.values():
            yield from holding.orders.values()

    def isolated_wallets(self, asset: str) -> int:
        return sum(
            position.isolated_wallet
            for holding in self.holdings.values()
            if holding.isolated and holding.rules.margin_asset == asset
            for position in holding.positions.values()
        )

    def cross_wallet(self, asset: str) -> int:
        return self.wallets.get(asset, 0) - self.isolated_wallets(asset)


class Order:
    """An order at the matching engine. Prices and quantities in 1e-8; `sign` +1 buys."""

    __slots__ = (
        "account",
        "algo",
        "avg_decimals",
        "client_id",
        "close_position",
        "created_ms",
        "expiry_reason",
        "filled",
        "good_till_ms",
        "holding",
        "id",
        "opens",
        "orig_type",
        "position_side",
        "price",
        "price_match",
        "quantity",
        "quote",
        "reduce_only",
        "side",
        "sign",
        "status",
        "stp",
        "tif",
        "type",
        "updated_ms",
        "working_type",
    )  # fmt: skip

    def __init__(self, order_id: int, account: Account, holding: Holding, request: OrderRequest, now: int) -> None:
        self.id = order_id
        self.account = account
        self.holding = holding
        self.client_id = request.client_id
        self.side = request.side
        self.sign = SIDES[request.side]
        self.type = self.orig_type = request.type
        self.tif = request.tif
        self.position_side = request.position_side
        self.quantity = request.quantity
        self.price = request.price
        self.reduce_only = request.reduce_only
        self.close_position = request.close_position
        self.stp = request.stp
        self.price_match = request.price_match
        self.good_till_ms = request.good_till_ms
        self.working_type = "CONTRACT_PRICE"
        self.status = "NEW"
        self.filled = 0
        self.quote = 0  # in 1e-16
        self.created_ms = self.updated_ms = now
        self.expiry_reason = 0
        self.avg_decimals = max(5, holding.rules.price_precision)
        self.algo: AlgoOrder | None = None
        self.opens = request.opens

    @property
    def rules(self) -> SymbolRules:
        return self.holding.rules

    @property
    def remaining(self) -> int:
        return self.quantity - self.filled

    @property
    def is_open(self) -> bool:
        return self.status in {"NEW", "PARTIALLY_FILLED"}

    def average_price(self) -> int:
        """Return the average price of what was filled, at the decimals that are displayed, in 1e-8."""
        if not self.filled:
            return 0
        unit: int = 10 ** (8 - self.avg_decimals)
        return half_up(self.quote, self.filled * unit) * unit

    def reducible(self) -> int:
        """Return how much of its position the order can still close (1e-8)."""
        quantity = self.holding.quantity(self.position_side)
        return max(0, -quantity if self.sign > 0 else quantity)


@dataclass(slots=True)
class OrderRequest:
    """A request whose own terms are sound; whether the account may trade so is not known yet."""

    symbol: str
    side: str
    type: str
    tif: str
    position_side: str
    quantity: int
    price: int
    reduce_only: bool
    close_position: bool
    client_id: str
    stp: str
    price_match: str
    good_till_ms: int
    full_answer: bool
    opens: bool = True


class AlgoOrder:
    """A conditional order: waits for its trigger outside the matching engine."""

    __slots__ = (
        "account", "activate_price", "activated", "callback", "created_ms", "extreme", "holding", "id", "order",
        "price_protect", "reject_reason", "request", "rising", "status", "trigger_price", "triggered_ms", "type",
        "updated_ms", "working_type",
    )  # fmt: skip

    def __init__(self, algo_id: int, account: Account, holding: Holding, request: OrderRequest, now: int) -> None:
        self.id = algo_id
        self.account = account
        self.holding = holding
        self.request = request
        self.type = request.type
        self.status = "NEW"
        self.trigger_price = 0
        self.working_type = "CONTRACT_PRICE"
        self.price_protect = False
        self.rising = False  # triggers when the price is at or above the trigger price
        self.callback = 0  # trailing: in percent, 1e-8
        self.activate_price = 0
        self.activated = False
        self.extreme = 0
        self.created_ms = self.updated_ms = now
        self.triggered_ms = 0
        self.order: Order | None = None
        self.reject_reason = ""
