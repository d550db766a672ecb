"""Answers: what do the bodies of REST answers say?

Strict and total like the messages of the streams, and all or nothing: one row that is wrong refuses the whole answer,
because half an answer reads as a smaller account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol, TypeVar

import structlog
from msgspec import Struct, field

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.fields import (
    Figure,
    Id,
    TimeMs,
    exact_value_of,
    figure,
    number,
    optional_number,
    position_side_of,
    positive,
    refuse,
    side_of,
    symbol_of,
    typed,
    value_of,
)
from account_monitor.ledger.events import Fill, PositionSide
from account_monitor.ledger.flows import Flow, FlowKind
from account_monitor.ledger.margin import AssetRate, Bracket
from account_monitor.ledger.money import ONE, ZERO, to_text

T = TypeVar("T")

MAX_LEVERAGE = 1_000

ROUGHLY = Decimal("0.01")
"""By how much the exchange's own rounding may spoil the amounts of brackets, as a part of them."""

log = structlog.get_logger(__name__)


class _OfSymbol(Protocol):
    """A row about one symbol."""

    symbol: str


R = TypeVar("R", bound=_OfSymbol)


class IncomePage(NamedTuple):
    """A page of the income statement: `rows` as many as there were, of which some are flows and some tell of trades.

    `traded`: the symbols of those, whose fills have to be fetched.
    """

    rows: int
    flows: tuple[Flow, ...]
    traded: frozenset[str]


class AssetStatement(NamedTuple):
    """What the exchange says of one asset: amounts in the asset; the wallet excludes unrealized results."""

    asset: str
    wallet: Decimal
    available: Decimal
    order_margin: Decimal | None = None
    """What open orders bind; None: not said."""


class PositionStatement(NamedTuple):
    """What the exchange says of one position: quantity positive long."""

    symbol: str
    position_side: PositionSide
    quantity: Decimal
    isolated_wallet: Decimal | None = None
    """0 for a cross position; None: not said."""


class MarginTotals(NamedTuple):
    """What the exchange sums up: in USDT in single-asset mode, in USD in multi-assets mode."""

    maintenance_margin: Decimal
    margin_balance: Decimal
    available: Decimal


class AccountStatement(NamedTuple):
    """One answer of `/fapi/v3/account`: everything at one moment. Positions that are flat may be absent."""

    assets: tuple[AssetStatement, ...]
    positions: tuple[PositionStatement, ...]
    totals: MarginTotals | None = None
    """None: not all of them were said."""


class SymbolConfig(NamedTuple):
    """How an account is set up for one symbol."""

    leverage: int
    is_isolated: bool


class PositionRisk(NamedTuple):
    """A row of `/fapi/v3/positionRisk`, amounts in the settlement asset."""

    symbol: str
    position_side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized: Decimal


class Contract(NamedTuple):
    """A contract that the exchange lists. `kind` is PERPETUAL, CURRENT_QUARTER or another word of the exchange."""

    symbol: str
    status: str
    kind: str
    base_asset: str
    quote_asset: str
    margin_asset: str


class OrderAnswer(NamedTuple):
    """An order as `/fapi/v1/order` tells of it: `client_order_id` shows who placed it."""

    symbol: str
    order_id: str
    client_order_id: str


class ExchangeInfo(NamedTuple):
    """What may be traded, and how much may be asked: weight per minute, None where it is not said."""

    weight_per_minute: int | None
    contracts: Mapping[str, Contract]


class AccountConfig(NamedTuple):
    """How the account is set up."""

    can_trade: bool
    can_withdraw: bool
    is_hedge_mode: bool
    is_multi_assets: bool


class KeyPermissions(NamedTuple):
    """What an API key may do; a monitor needs to read and nothing else. None where the exchange does not say."""

    is_bound_to_addresses: bool
    may_read: bool
    may_withdraw: bool
    may_transfer: bool
    may_trade_futures: bool | None
    may_trade_spot: bool | None


# -- clock and keys ----------------------------------------------------------------------------------------------------


class _Time(Struct, rename="camel"):
    server_time: TimeMs


def server_time_of(body: bytes) -> int:
    """Return the exchange's clock from `/fapi/v1/time`. Raises: MalformedEvent, like all of these."""
    return _answer(body, _Time).server_time


class _ListenKey(Struct, rename="camel"):
    listen_key: str


def listen_key_of(body: bytes) -> str:
    """Return the listen key, which is a secret: it opens the account's stream to anyone."""
    try:
        key = _answer(body, _ListenKey).listen_key
    except MalformedEvent:
        raise MalformedEvent("listenKey is missing or no text, expected the key of a user stream") from None
    if not (0 < len(key) <= 256 and key.isascii() and key.isalnum()):
        raise MalformedEvent("listenKey was something else than 1 to 256 letters and digits")
    return key


# -- trades and income -------------------------------------------------------------------------------------------------


class _Trade(Struct, rename="camel"):
    symbol: str
    id: Id
    order_id: Id
    side: str
    price: str
    qty: str
    realized_pnl: str
    commission: str
    commission_asset: str
    time: TimeMs
    position_side: str
    maker: bool


def fills_of(body: bytes) -> tuple[Fill, ...]:
    """Return the fills of `/fapi/v1/userTrades`, each as the stream would have told it."""
    return tuple([_fill(trade) for trade in _answer(body, list[_Trade])])


def _fill(trade: _Trade) -> Fill:
    if not trade.id:
        refuse("id", trade.id, "the id of a trade")
    return Fill(
        symbol_of("symbol", trade.symbol),
        str(trade.id),
        side_of("side", trade.side),
        positive("qty", trade.qty),
        positive("price", trade.price),
        trade.time,
        position_side_of("positionSide", trade.position_side),
        number("commission", trade.commission),
        symbol_of("commissionAsset", trade.commission_asset),
        number("realizedPnl", trade.realized_pnl),
        str(trade.order_id),
        trade.maker,
    )


_HINTS = frozenset({"COMMISSION", "REALIZED_PNL"})
_TRANSFERS = frozenset({
    "TRANSFER", "INTERNAL_TRANSFER", "CROSS_COLLATERAL_TRANSFER", "STRATEGY_UMFUTURES_TRANSFER", "COIN_SWAP_DEPOSIT",
    "COIN_SWAP_WITHDRAW",
})  # fmt: skip


class _Income(Struct, rename="camel"):
    income_type: str
    income: str
    asset: str
    time: TimeMs
    tran_id: int | str
    symbol: str | None = None
    trade_id: int | str | None = None


def income_of(body: bytes) -> IncomePage:
    """Return a page of `/fapi/v1/income`. Fees and results of trades are no flows: they come with the fills."""
    rows = _answer(body, list[_Income])
    flows: list[Flow] = []
    traded: set[str] = set()
    for row in rows:
        symbol = symbol_of("symbol", row.symbol) if row.symbol else None
        amount = number("income", row.income)
        asset = symbol_of("asset", row.asset)
        if row.income_type not in _HINTS:
            kind = _kind_of(row.income_type)
            flows.append(Flow(kind, row.income_type, asset, amount, row.time, symbol, _id_of("tranId", row.tran_id)))
        elif symbol is not None and row.trade_id:
            traded.add(symbol)
    return IncomePage(len(rows), tuple(flows), frozenset(traded))


def _kind_of(income_type: str) -> FlowKind:
    if income_type == "FUNDING_FEE":
        return "funding"
    return "transfer" if income_type in _TRANSFERS else "income"


def _id_of(name: str, value: int | str) -> str:
    text = str(value)
    return text if text.isascii() and text.isalnum() and len(text) <= 64 else refuse(name, value, "an id")


# -- statements --------------------------------------------------------------------------------------------------------


class _Asset(Struct, rename="camel"):
    asset: str
    wallet_balance: str
    available_balance: str
    open_order_initial_margin: str | None = None


class _Position(Struct, rename="camel"):
    symbol: str
    position_side: str
    position_amt: str
    isolated_wallet: str | None = None


class _Account(Struct, rename="camel"):
    assets: list[_Asset]
    positions: list[_Position]
    total_maint_margin: str | None = None
    total_margin_balance: str | None = None
    available_balance: str | None = None


def account_of(body: bytes) -> AccountStatement:
    """Return the statement of `/fapi/v3/account`. An asset or a position that is named twice refuses it."""
    said = _answer(body, _Account)
    assets = tuple([_asset(asset) for asset in said.assets])
    positions = tuple([_position(position) for position in said.positions])
    _refuse_repeated("assets", [asset.asset for asset in assets])
    _refuse_repeated("positions", [f"{position.symbol} {position.position_side}" for position in positions])
    return AccountStatement(assets, positions, _totals(said))


def _totals(said: _Account) -> MarginTotals | None:
    maintenance = optional_number("totalMaintMargin", said.total_maint_margin)
    balance = optional_number("totalMarginBalance", said.total_margin_balance)
    available = optional_number("availableBalance", said.available_balance)
    if maintenance is None or balance is None or available is None:
        return None
    return MarginTotals(maintenance, balance, available)


def _asset(said: _Asset) -> AssetStatement:
    name = symbol_of("assets.asset", said.asset)
    return AssetStatement(
        name,
        number(f"walletBalance of {name}", said.wallet_balance),
        number(f"availableBalance of {name}", said.available_balance),
        optional_number(f"openOrderInitialMargin of {name}", said.open_order_initial_margin),
    )


def _position(said: _Position) -> PositionStatement:
    name = symbol_of("positions.symbol", said.symbol)
    return PositionStatement(
        name,
        position_side_of(f"positionSide of {name}", said.position_side),
        number(f"positionAmt of {name}", said.position_amt),
        optional_number(f"isolatedWallet of {name}", said.isolated_wallet),
    )


class _Risk(Struct, rename="camel"):
    symbol: str
    position_side: str
    position_amt: str
    entry_price: str
    mark_price: str
    unrealized_profit: str = field(name="unRealizedProfit")


class _Order(Struct, rename="camel"):
    symbol: str
    order_id: Id
    client_order_id: str


def order_of(body: bytes) -> OrderAnswer:
    """Return the order of `/fapi/v1/order`."""
    said = _answer(body, _Order)
    return OrderAnswer(symbol_of("symbol", said.symbol), str(said.order_id), said.client_order_id)


def position_risks_of(body: bytes) -> tuple[PositionRisk, ...]:
    """Return the positions of `/fapi/v3/positionRisk`."""
    risks = tuple([_risk(said) for said in _answer(body, list[_Risk])])
    _refuse_repeated("the answer", [f"{risk.symbol} {risk.position_side}" for risk in risks])
    return risks


def _risk(said: _Risk) -> PositionRisk:
    name = symbol_of("symbol", said.symbol)
    return PositionRisk(
        name,
        position_side_of(f"positionSide of {name}", said.position_side),
        number(f"positionAmt of {name}", said.position_amt),
        number(f"entryPrice of {name}", said.entry_price),
        number(f"markPrice of {name}", said.mark_price),
        number(f"unRealizedProfit of {name}", said.unrealized_profit),
    )


def _refuse_repeated(where: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        repeated = next(name for name, count in Counter(names).items() if count > 1)
        raise MalformedEvent(f"{where} named {repeated} twice, expected once")


# -- the exchange and the account's settings ---------------------------------------------------------------------------


class _RateLimit(Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _Contract(Struct, rename="camel"):
    symbol: str
    status: str
    contract_type: str
    base_asset: str
    quote_asset: str
    margin_asset: str


class _ExchangeInfo(Struct, rename="camel"):
    symbols: list[_Contract]
    rate_limits: list[_RateLimit] = field(default_factory=list)


def exchange_info_of(body: bytes) -> ExchangeInfo:
    """Return what `/fapi/v1/exchangeInfo` says of contracts and request weight."""
    said = _answer(body, _ExchangeInfo)
    weights = [
        limit.limit
        for limit in said.rate_limits
        if (limit.rate_limit_type, limit.interval, limit.interval_num) == ("REQUEST_WEIGHT", "MINUTE", 1)
    ]
    contracts = [_contract(contract) for contract in said.symbols]
    return ExchangeInfo(min(weights, default=None), {contract.symbol: contract for contract in contracts})


def _contract(said: _Contract) -> Contract:
    name = symbol_of("symbols.symbol", said.symbol)
    return Contract(
        name,
        said.status,
        said.contract_type,
        symbol_of(f"baseAsset of {name}", said.base_asset),
        symbol_of(f"quoteAsset of {name}", said.quote_asset),
        symbol_of(f"marginAsset of {name}", said.margin_asset),
    )


class _AccountConfig(Struct, rename="camel"):
    can_trade: bool
    can_withdraw: bool
    dual_side_position: bool
    multi_assets_margin: bool


def account_config_of(body: bytes) -> AccountConfig:
    """Return the settings that `/fapi/v1/accountConfig` states."""
    said = _answer(body, _AccountConfig)
    return AccountConfig(said.can_trade, said.can_withdraw, said.dual_side_position, said.multi_assets_margin)


# -- margin terms ------------------------------------------------------------------------------------------------------


class _Bracket(Struct, rename="camel"):
    notional_cap: Figure
    maint_margin_ratio: Figure
    cum: Figure


class _SymbolBrackets(Struct, rename="camel"):
    symbol: str
    brackets: list[_Bracket]
    notional_coef: Figure | None = None


def brackets_of(body: bytes) -> dict[str, tuple[Bracket, ...]]:
    """Return the account's brackets by symbol from `/fapi/v1/leverageBracket`.

    `notionalCoef` says how far they are from everybody's; they are listed as they are for this account.
    """
    rows = typed(exact_value_of(body), list[_SymbolBrackets])
    _refuse_repeated("the answer", [row.symbol for row in rows])
    return _readable(rows, _brackets)


def _readable(rows: Sequence[R], read: Callable[[R], T]) -> dict[str, T]:
    """Return by symbol what the rows say, without those that cannot be read: they are of one symbol each.

    What is not known of that symbol is shown where it is held. Where no row can be read, the answer is refused.
    """
    found: dict[str, T] = {}
    first: MalformedEvent | None = None
    for row in rows:
        try:
            found[symbol_of("symbol", row.symbol)] = read(row)
        except MalformedEvent as error:
            first = first or error
            log.warning("margin_terms_not_read", symbol=row.symbol[:40], reason=error.reason)
    if first is not None and not found:
        raise first
    return found


def _brackets(said: _SymbolBrackets) -> tuple[Bracket, ...]:
    name = said.symbol
    if not said.brackets:
        raise MalformedEvent(f"brackets of {name} were an empty list, expected at least one")
    if said.notional_coef is not None and figure(f"notionalCoef of {name}", said.notional_coef) <= ZERO:
        refuse(f"notionalCoef of {name}", said.notional_coef, "a positive decimal")
    rows: list[Bracket] = []
    below = Bracket(ZERO, ZERO, ZERO)
    for row in said.brackets:
        bracket = Bracket(
            figure(f"notionalCap of {name}", row.notional_cap),
            figure(f"maintMarginRatio of {name}", row.maint_margin_ratio),
            figure(f"cum of {name}", row.cum),
        )
        if bracket.cap <= below.cap:
            refuse(f"notionalCap of {name}", row.notional_cap, f"more than the {below.cap} of the bracket below")
        if not (ZERO < bracket.ratio <= ONE and bracket.ratio >= below.ratio):
            refuse(
                f"maintMarginRatio of {name}", row.maint_margin_ratio, f"above 0, at most 1, not below {below.ratio}"
            )
        if bracket.cum < below.cum:
            refuse(f"cum of {name}", row.cum, f"at least the {below.cum} of the bracket below")
        cum = below.cap * (bracket.ratio - below.ratio) + below.cum if rows else ZERO
        # Whether the amounts of an account with terms of its own fit its caps, the documentation leaves open.
        if said.notional_coef is None and abs(bracket.cum - cum) > 1 + cum * ROUGHLY:
            refuse(f"cum of {name}", row.cum, f"about {to_text(cum)}, without a step at {to_text(below.cap)}")
        rows.append(bracket)
        below = bracket
    return tuple(rows)


class _SymbolConfig(Struct, rename="camel"):
    symbol: str
    margin_type: str
    leverage: int


def symbol_configs_of(body: bytes) -> dict[str, SymbolConfig]:
    """Return by symbol how the account is set up, from `/fapi/v1/symbolConfig`."""
    rows = typed(value_of(body), list[_SymbolConfig])
    _refuse_repeated("the answer", [row.symbol for row in rows])
    return _readable(rows, _symbol_config)


def _symbol_config(said: _SymbolConfig) -> SymbolConfig:
    if said.margin_type not in ("CROSSED", "ISOLATED"):
        refuse(f"marginType of {said.symbol}", said.margin_type, "CROSSED or ISOLATED")
    if not 1 <= said.leverage <= MAX_LEVERAGE:
        refuse(f"leverage of {said.symbol}", said.leverage, f"1 to {MAX_LEVERAGE}")
    return SymbolConfig(said.leverage, said.margin_type == "ISOLATED")


class _AssetIndex(Struct, rename="camel"):
    symbol: str
    index: str
    bid_rate: str
    ask_rate: str


def asset_rates_of(body: bytes) -> dict[str, AssetRate]:
    """Return by asset what it counts for in multi-assets mode, from `/fapi/v1/assetIndex`; its symbols end in USD."""
    rows = typed(value_of(body), list[_AssetIndex])
    _refuse_repeated("the answer", [row.symbol for row in rows])
    return {_asset_of(symbol): rate for symbol, rate in _readable(rows, _asset_rate).items()}


def _asset_of(symbol: str) -> str:
    name = symbol_of("symbol", symbol)
    return name.removesuffix("USD") or refuse("symbol", symbol, "an asset before USD")


def _asset_rate(said: _AssetIndex) -> AssetRate:
    name = said.symbol
    mid = positive(f"index of {name}", said.index)
    bid = positive(f"bidRate of {name}", said.bid_rate)
    ask = positive(f"askRate of {name}", said.ask_rate)
    if not bid <= mid:
        refuse(f"bidRate of {name}", said.bid_rate, f"at most the index of {said.index}")
    if not ask >= mid:
        refuse(f"askRate of {name}", said.ask_rate, f"at least the index of {said.index}")
    return AssetRate(mid, bid, ask)


# -- keys --------------------------------------------------------------------------------------------------------------


class _KeyPermissions(Struct, rename="camel"):
    ip_restrict: bool
    enable_reading: bool
    enable_withdrawals: bool
    enable_internal_transfer: bool = False
    permits_universal_transfer: bool = False
    enable_futures: bool | None = None
    enable_spot_and_margin_trading: bool | None = None


def key_permissions_of(body: bytes) -> KeyPermissions:
    """Return what `/sapi/v1/account/apiRestrictions`, an address of the Spot API, says of the key that asked."""
    said = _answer(body, _KeyPermissions)
    return KeyPermissions(
        said.ip_restrict,
        said.enable_reading,
        said.enable_withdrawals,
        said.enable_internal_transfer or said.permits_universal_transfer,
        said.enable_futures,
        said.enable_spot_and_margin_trading,
    )


def _answer(body: bytes, type_: type[T]) -> T:
    return typed(value_of(body), type_)
