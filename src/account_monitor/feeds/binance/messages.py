"""Messages: what do the bytes of the user stream and of the mark price stream say?

Strict and total: any bytes give one of the types below or MalformedEvent. Fields that nobody knows are ignored, and
so are kinds of events: exchanges add both without asking.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct, field

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.fields import (
    Id,
    Json,
    TimeMs,
    masked,
    number,
    optional_number,
    position_side_of,
    positive,
    quoted,
    refuse,
    shown,
    side_of,
    symbol_of,
    typed,
    value_of,
)
from account_monitor.ledger.events import Fill, MarkPrice, PositionSide
from account_monitor.ledger.flows import Flow, FlowKind
from account_monitor.ledger.money import ZERO

_new = tuple.__new__  # a named tuple's own constructor costs twice as much


class OrderTrade(NamedTuple):
    """ORDER_TRADE_UPDATE: what became of an order, and the fill where it was one.

    `execution` is what happened (NEW, TRADE, CALCULATED for a liquidation, CANCELED, EXPIRED, AMENDMENT), `status` what
    the order is now. `at_ms` is the transaction's time, `event_ms` the message's.
    """

    at_ms: int
    event_ms: int
    symbol: str
    order_id: str
    execution: str
    status: str
    is_liquidation: bool
    fill: Fill | None


class BalanceUpdate(NamedTuple):
    """A wallet as it is now. `change` is money that moved for other reasons than trades and their fees."""

    asset: str
    wallet: Decimal
    cross_wallet: Decimal
    change: Decimal


class PositionUpdate(NamedTuple):
    """A position as it is now: `quantity` positive long; `realized` since ever, before fees, never reset."""

    symbol: str
    position_side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    realized: Decimal
    unrealized: Decimal
    isolated_wallet: Decimal
    is_isolated: bool


class AccountUpdate(NamedTuple):
    """ACCOUNT_UPDATE: the wallets and positions that changed, and why. `symbol` is that of a funding payment."""

    at_ms: int
    event_ms: int
    reason: str
    symbol: str | None
    balances: tuple[BalanceUpdate, ...]
    positions: tuple[PositionUpdate, ...]


class ListenKeyExpired(NamedTuple):
    """The stream stays open and says nothing more. `key` is a secret, None where the message does not name it."""

    key: str | None
    at_ms: int

    def __repr__(self) -> str:
        return f"ListenKeyExpired(key={self.key and masked(self.key)!r}, at_ms={self.at_ms})"


class ConfigUpdate(NamedTuple):
    """ACCOUNT_CONFIG_UPDATE: leverage of a symbol, or the multi-assets mode of the account."""

    at_ms: int
    symbol: str | None
    leverage: int | None
    is_multi_assets: bool | None


class MarginCall(NamedTuple):
    """MARGIN_CALL: a hint that positions (symbols) come close to liquidation."""

    at_ms: int
    symbols: tuple[str, ...]


class TradeLite(NamedTuple):
    """TRADE_LITE: an early hint of a fill, never booked: the fill comes with the same trade id."""

    symbol: str
    trade_id: str
    order_id: str
    at_ms: int


class AlgoUpdate(NamedTuple):
    """ALGO_UPDATE: a conditional order."""

    at_ms: int
    symbol: str | None
    status: str | None


class Unknown(NamedTuple):
    """An event of a kind that is not known here; counted by `type`."""

    type: str


class Reply(NamedTuple):
    """The answer to a request that was sent over the socket. `code` and `message` are None for success."""

    id: str | None
    code: int | None
    message: str | None


UserEvent: TypeAlias = (
    OrderTrade | AccountUpdate | ListenKeyExpired | ConfigUpdate | MarginCall | TradeLite | AlgoUpdate | Unknown | Reply
)


def user_event(payload: bytes) -> UserEvent:
    """Return what a message of the user stream says, raw or in the wrapper of combined streams.

    Raises: MalformedEvent, whose reason names field, value and what was expected.
    """
    value = value_of(payload)
    if type(value) is dict and "stream" in value and "data" in value:
        value = value["data"]
    if type(value) is not dict:
        raise MalformedEvent(f"the message was {quoted(value)}, expected an object")
    kind = value.get("e")
    if type(kind) is str:
        reader = _READERS.get(kind)
        return Unknown(shown(kind)) if reader is None else reader(value)
    if kind is None and not value.keys().isdisjoint(_REPLY_KEYS):
        return _reply(value)
    raise MalformedEvent(f"e was {quoted(kind)}, expected the kind of the event")


# -- orders and trades -------------------------------------------------------------------------------------------------


class _Order(Struct):
    symbol: str = field(name="s")
    side: str = field(name="S")
    client_order_id: str = field(name="c")
    type: str = field(name="o")
    execution: str = field(name="x")
    status: str = field(name="X")
    order_id: Id = field(name="i")
    last_quantity: str = field(name="l")
    last_price: str = field(name="L")
    trade_id: Id = field(name="t")
    maker: bool = field(name="m")
    position_side: str = field(name="ps")
    at_ms: TimeMs | None = field(name="T", default=None)
    fee: str | None = field(name="n", default=None)
    fee_asset: str | None = field(name="N", default=None)
    realized_pnl: str | None = field(name="rp", default=None)


class _OrderTradeUpdate(Struct):
    event_ms: TimeMs = field(name="E")
    at_ms: TimeMs = field(name="T")
    order: _Order = field(name="o")


_EXECUTIONS = ("TRADE", "CALCULATED")
_FORCED_IDS = ("autoclose-", "adl_autoclose", "settlement_autoclose-")


def _order_trade(value: Json) -> OrderTrade:
    said = typed(value, _OrderTradeUpdate)
    order = said.order
    at_ms = said.at_ms if order.at_ms is None else order.at_ms
    symbol = symbol_of("o.s", order.symbol)
    is_liquidation = (
        order.execution == "CALCULATED" or order.type == "LIQUIDATION" or order.client_order_id.startswith(_FORCED_IDS)
    )
    fill = None
    if order.execution in _EXECUTIONS and (quantity := number("o.l", order.last_quantity)):
        fill = _fill(order, symbol, quantity, at_ms, is_liquidation)
    return OrderTrade(
        at_ms, said.event_ms, symbol, str(order.order_id), order.execution, order.status, is_liquidation, fill
    )


def _fill(order: _Order, symbol: str, quantity: Decimal, at_ms: int, is_liquidation: bool) -> Fill:
    if not order.trade_id:
        refuse("o.t", order.trade_id, "the id of the trade")
    if quantity < ZERO:
        refuse("o.l", order.last_quantity, "a positive decimal")
    fee = optional_number("o.n", order.fee)
    if fee and order.fee_asset is None:
        raise MalformedEvent(f"o.N is missing, expected the asset of the fee of {order.fee}")
    return Fill(
        symbol,
        str(order.trade_id),
        side_of("o.S", order.side),
        quantity,
        positive("o.L", order.last_price),
        at_ms,
        position_side_of("o.ps", order.position_side),
        ZERO if fee is None and is_liquidation else fee,  # a liquidation's fee follows as INSURANCE_CLEAR
        None if order.fee_asset is None else symbol_of("o.N", order.fee_asset),
        optional_number("o.rp", order.realized_pnl),
        str(order.order_id),
        order.maker,
    )


class _TradeLite(Struct):
    symbol: str = field(name="s")
    trade_id: Id = field(name="t")
    order_id: Id = field(name="i")
    at_ms: TimeMs = field(name="T")


def _trade_lite(value: Json) -> TradeLite:
    said = typed(value, _TradeLite)
    return TradeLite(symbol_of("s", said.symbol), str(said.trade_id), str(said.order_id), said.at_ms)


# -- the account -------------------------------------------------------------------------------------------------------


class _Balance(Struct):
    asset: str = field(name="a")
    wallet: str = field(name="wb")
    cross_wallet: str = field(name="cw")
    change: str = field(name="bc")


class _Position(Struct):
    symbol: str = field(name="s")
    position_side: str = field(name="ps")
    quantity: str = field(name="pa")
    entry_price: str = field(name="ep")
    realized: str = field(name="cr")
    unrealized: str = field(name="up")
    margin_type: str = field(name="mt")
    isolated_wallet: str = field(name="iw")


class _Changes(Struct):
    reason: str = field(name="m")
    balances: list[_Balance] | None = field(name="B", default=None)
    positions: list[_Position] | None = field(name="P", default=None)
    symbol: str | None = field(name="S", default=None)


class _AccountUpdate(Struct):
    event_ms: TimeMs = field(name="E")
    at_ms: TimeMs = field(name="T")
    changes: _Changes = field(name="a")


def _account_update(value: Json) -> AccountUpdate:
    said = typed(value, _AccountUpdate)
    changes = said.changes
    if changes.balances is None and changes.reason != "MARGIN_TYPE_CHANGE":
        raise MalformedEvent("a.B is missing, expected the wallets that changed")
    if changes.positions is None and changes.reason in ("ORDER", "MARGIN_TYPE_CHANGE"):
        raise MalformedEvent("a.P is missing, expected the positions that changed")
    return AccountUpdate(
        said.at_ms,
        said.event_ms,
        changes.reason,
        symbol_of("a.S", changes.symbol) if changes.symbol else None,
        tuple([_balance(balance) for balance in changes.balances or ()]),
        tuple([_position(position) for position in changes.positions or ()]),
    )


def _balance(said: _Balance) -> BalanceUpdate:
    return BalanceUpdate(
        symbol_of("a.B.a", said.asset),
        number("a.B.wb", said.wallet),
        number("a.B.cw", said.cross_wallet),
        number("a.B.bc", said.change),
    )


def _position(said: _Position) -> PositionUpdate:
    return PositionUpdate(
        symbol_of("a.P.s", said.symbol),
        position_side_of("a.P.ps", said.position_side),
        number("a.P.pa", said.quantity),
        number("a.P.ep", said.entry_price),
        number("a.P.cr", said.realized),
        number("a.P.up", said.unrealized),
        number("a.P.iw", said.isolated_wallet),
        said.margin_type.upper() == "ISOLATED",
    )


_TRANSFERS = frozenset({
    "DEPOSIT", "WITHDRAW", "WITHDRAW_REJECT", "ADMIN_DEPOSIT", "ADMIN_WITHDRAW", "MARGIN_TRANSFER", "ASSET_TRANSFER",
    "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW",
})  # fmt: skip


def flows(update: AccountUpdate) -> tuple[Flow, ...]:
    """Return the money that moved without a trade, by asset."""
    reason = update.reason
    kind: FlowKind = "funding" if reason == "FUNDING_FEE" else "transfer" if reason in _TRANSFERS else "income"
    symbol = update.symbol
    if symbol is None and kind == "funding" and len(update.positions) == 1:
        symbol = update.positions[0].symbol  # an isolated position is named by what it became
    return tuple(
        Flow(kind, reason, balance.asset, balance.change, update.at_ms, symbol, None)
        for balance in update.balances
        if balance.change
    )


# -- the rest ----------------------------------------------------------------------------------------------------------


class _ListenKeyExpired(Struct):
    at_ms: TimeMs | str = field(name="E")  # it was documented as text before 2026
    key: str | None = field(name="listenKey", default=None)


def _listen_key_expired(value: Json) -> ListenKeyExpired:
    said = typed(value, _ListenKeyExpired)
    if isinstance(said.at_ms, int):
        return ListenKeyExpired(said.key, said.at_ms)
    if not (said.at_ms.isascii() and said.at_ms.isdecimal() and len(said.at_ms) <= 13):
        refuse("E", said.at_ms, "milliseconds since 1970")
    return ListenKeyExpired(said.key, int(said.at_ms))


class _Leverage(Struct):
    symbol: str = field(name="s")
    leverage: int = field(name="l")


class _AssetsMode(Struct):
    is_multi_assets: bool = field(name="j")


class _ConfigUpdate(Struct):
    at_ms: TimeMs = field(name="T")
    leverage: _Leverage | None = field(name="ac", default=None)
    assets_mode: _AssetsMode | None = field(name="ai", default=None)


def _config_update(value: Json) -> ConfigUpdate:
    said = typed(value, _ConfigUpdate)
    return ConfigUpdate(
        said.at_ms,
        None if said.leverage is None else symbol_of("ac.s", said.leverage.symbol),
        None if said.leverage is None else said.leverage.leverage,
        None if said.assets_mode is None else said.assets_mode.is_multi_assets,
    )


class _Endangered(Struct):
    symbol: str = field(name="s")


class _MarginCall(Struct):
    at_ms: TimeMs = field(name="E")
    positions: list[_Endangered] = field(name="p")


def _margin_call(value: Json) -> MarginCall:
    said = typed(value, _MarginCall)
    return MarginCall(said.at_ms, tuple([symbol_of("p.s", position.symbol) for position in said.positions]))


class _AlgoOrder(Struct):
    symbol: str | None = field(name="s", default=None)
    status: str | None = field(name="X", default=None)


class _AlgoUpdate(Struct):
    at_ms: TimeMs = field(name="E")
    order: _AlgoOrder = field(name="o")


def _algo_update(value: Json) -> AlgoUpdate:
    said = typed(value, _AlgoUpdate)
    symbol = said.order.symbol
    return AlgoUpdate(said.at_ms, None if symbol is None else symbol_of("o.s", symbol), said.order.status)


_READERS: dict[str, Callable[[Json], UserEvent]] = {
    "ORDER_TRADE_UPDATE": _order_trade,
    "ACCOUNT_UPDATE": _account_update,
    "TRADE_LITE": _trade_lite,
    "listenKeyExpired": _listen_key_expired,
    "ACCOUNT_CONFIG_UPDATE": _config_update,
    "MARGIN_CALL": _margin_call,
    "ALGO_UPDATE": _algo_update,
}

_REPLY_KEYS = frozenset({"result", "error", "code"})


class _Refusal(Struct):
    code: int | None = None
    message: str | None = field(name="msg", default=None)


class _Reply(_Refusal):
    id: str | int | None = None
    error: _Refusal | None = None


def _reply(value: Json) -> Reply:
    said = typed(value, _Reply)
    refusal = said.error or said
    id_ = None if said.id is None else shown(str(said.id))
    return Reply(id_, refusal.code, None if refusal.message is None else shown(refusal.message))


# -- mark prices -------------------------------------------------------------------------------------------------------


class _Row(Struct):
    """One mark price. Only those of symbols that somebody wants are judged: a row of another may say anything."""

    symbol: str | None = field(name="s", default=None)
    kind: Any = field(name="e", default=None)
    price: Any = field(name="p", default=None)
    event_ms: Any = field(name="E", default=None)
    market: Any = field(name="st", default=None)


class _Message(_Row):
    data: msgspec.Raw = msgspec.Raw()
    code: Any = None
    message: Any = field(name="msg", default=None)


_decode_marks = msgspec.json.Decoder(list[_Row] | _Message).decode

_USD_M = (None, 1)  # a row without a market is from before the markets were merged
_LAST_MS = 7_258_118_400_000


def mark_prices(payload: bytes, symbols: AbstractSet[str] | None = None) -> tuple[MarkPrice, ...]:
    """Return the USD-M mark prices that a message states: all, or those of `symbols`.

    A single price, an array, or either in the wrapper of combined streams; answers to requests and other events state
    none, nor does a price of zero, which the exchange gives for contracts that have ended. Raises: MalformedEvent.
    """
    try:
        said = _decode_marks(payload)
        if isinstance(said, _Message) and said.data:
            said = _decode_marks(said.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        text = str(error).replace("`", "")
        raise MalformedEvent(f"the message is not JSON with mark prices: {shown(text)}") from None
    if isinstance(said, _Message):
        if said.code is not None:
            raise MalformedEvent(f"the exchange refused: code {quoted(said.code)}, {quoted(said.message)}")
        said = [said]
    prices = [
        price
        for row in said
        if (symbols is None or row.symbol in symbols) and row.kind == "markPriceUpdate" and row.market in _USD_M
        if (price := _mark_price(row)) is not None
    ]
    return tuple(prices)


def _mark_price(row: _Row) -> MarkPrice | None:
    symbol, text, at_ms = row.symbol, row.price, row.event_ms
    if symbol is None:
        refuse("s", symbol, "a symbol")
    if type(text) is not str:
        refuse(f"p of {shown(symbol)}", text, "a decimal as text")
    price = number(f"p of {symbol}", text)
    if price < ZERO:
        refuse(f"p of {shown(symbol)}", text, "a positive decimal")
    if type(at_ms) is not int or not 0 < at_ms < _LAST_MS:
        refuse(f"E of {shown(symbol)}", at_ms, "milliseconds since 1970")
    return _new(MarkPrice, (symbol_of("s", symbol), price, at_ms)) if price else None
