import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetAccountStateRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class GetPositionRequest(_message.Message):
    __slots__ = ("account", "symbol")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    account: str
    symbol: str
    def __init__(self, account: _Optional[str] = ..., symbol: _Optional[str] = ...) -> None: ...

class GetAllPositionsRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class GetAllPositionsResponse(_message.Message):
    __slots__ = ("positions",)
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Position
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.MessageMap[str, Position]
    def __init__(self, positions: _Optional[_Mapping[str, Position]] = ...) -> None: ...

class GetPnLRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class GetBalanceRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class GetBalanceResponse(_message.Message):
    __slots__ = ("balances",)
    class BalancesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Balance
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Balance, _Mapping]] = ...) -> None: ...
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    balances: _containers.MessageMap[str, Balance]
    def __init__(self, balances: _Optional[_Mapping[str, Balance]] = ...) -> None: ...

class GetPnLHistoryRequest(_message.Message):
    __slots__ = ("account", "symbol", "to", "interval")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    account: str
    symbol: str
    to: _timestamp_pb2.Timestamp
    interval: str
    def __init__(self, account: _Optional[str] = ..., symbol: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., interval: _Optional[str] = ..., **kwargs) -> None: ...

class WatchAccountRequest(_message.Message):
    __slots__ = ("account", "since", "interval_ms")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    account: str
    since: Place
    interval_ms: int
    def __init__(self, account: _Optional[str] = ..., since: _Optional[_Union[Place, _Mapping]] = ..., interval_ms: _Optional[int] = ...) -> None: ...

class Place(_message.Message):
    __slots__ = ("epoch", "seq")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seq: int
    def __init__(self, epoch: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class AccountState(_message.Message):
    __slots__ = ("account", "epoch", "seq", "as_of", "pnl", "balances", "positions", "risk", "reconciliation", "unpriced", "timestamp")
    class BalancesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Balance
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Balance, _Mapping]] = ...) -> None: ...
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Position
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    PNL_FIELD_NUMBER: _ClassVar[int]
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    RECONCILIATION_FIELD_NUMBER: _ClassVar[int]
    UNPRICED_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    account: str
    epoch: int
    seq: int
    as_of: _timestamp_pb2.Timestamp
    pnl: PnL
    balances: _containers.MessageMap[str, Balance]
    positions: _containers.MessageMap[str, Position]
    risk: Risk
    reconciliation: Comparison
    unpriced: _containers.RepeatedScalarFieldContainer[str]
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, account: _Optional[str] = ..., epoch: _Optional[int] = ..., seq: _Optional[int] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pnl: _Optional[_Union[PnL, _Mapping]] = ..., balances: _Optional[_Mapping[str, Balance]] = ..., positions: _Optional[_Mapping[str, Position]] = ..., risk: _Optional[_Union[Risk, _Mapping]] = ..., reconciliation: _Optional[_Union[Comparison, _Mapping]] = ..., unpriced: _Optional[_Iterable[str]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("symbol", "position_side", "state", "quantity", "entry_price", "current_price", "price_source", "realized_pnl", "unrealized_pnl", "total_fees", "fees", "funding", "value_usd", "leverage", "liquidation_price", "liquidation_distance_pct", "margin_type", "maintenance_margin", "settlement_asset", "fill_count", "fills_without_fee", "last_update")
    class FeesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    POSITION_SIDE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ENTRY_PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_PRICE_FIELD_NUMBER: _ClassVar[int]
    PRICE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FEES_FIELD_NUMBER: _ClassVar[int]
    FEES_FIELD_NUMBER: _ClassVar[int]
    FUNDING_FIELD_NUMBER: _ClassVar[int]
    VALUE_USD_FIELD_NUMBER: _ClassVar[int]
    LEVERAGE_FIELD_NUMBER: _ClassVar[int]
    LIQUIDATION_PRICE_FIELD_NUMBER: _ClassVar[int]
    LIQUIDATION_DISTANCE_PCT_FIELD_NUMBER: _ClassVar[int]
    MARGIN_TYPE_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_ASSET_FIELD_NUMBER: _ClassVar[int]
    FILL_COUNT_FIELD_NUMBER: _ClassVar[int]
    FILLS_WITHOUT_FEE_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    position_side: str
    state: str
    quantity: str
    entry_price: str
    current_price: str
    price_source: str
    realized_pnl: str
    unrealized_pnl: str
    total_fees: str
    fees: _containers.ScalarMap[str, str]
    funding: str
    value_usd: str
    leverage: str
    liquidation_price: str
    liquidation_distance_pct: str
    margin_type: str
    maintenance_margin: str
    settlement_asset: str
    fill_count: int
    fills_without_fee: int
    last_update: _timestamp_pb2.Timestamp
    def __init__(self, symbol: _Optional[str] = ..., position_side: _Optional[str] = ..., state: _Optional[str] = ..., quantity: _Optional[str] = ..., entry_price: _Optional[str] = ..., current_price: _Optional[str] = ..., price_source: _Optional[str] = ..., realized_pnl: _Optional[str] = ..., unrealized_pnl: _Optional[str] = ..., total_fees: _Optional[str] = ..., fees: _Optional[_Mapping[str, str]] = ..., funding: _Optional[str] = ..., value_usd: _Optional[str] = ..., leverage: _Optional[str] = ..., liquidation_price: _Optional[str] = ..., liquidation_distance_pct: _Optional[str] = ..., margin_type: _Optional[str] = ..., maintenance_margin: _Optional[str] = ..., settlement_asset: _Optional[str] = ..., fill_count: _Optional[int] = ..., fills_without_fee: _Optional[int] = ..., last_update: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PnL(_message.Message):
    __slots__ = ("timestamp", "realized_pnl", "unrealized_pnl", "total_pnl", "total_fees", "funding", "other", "net_pnl", "win_rate", "total_trades", "winning_trades", "losing_trades", "average_win", "average_loss", "profit_factor", "equity", "max_drawdown_pct")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PNL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FEES_FIELD_NUMBER: _ClassVar[int]
    FUNDING_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    NET_PNL_FIELD_NUMBER: _ClassVar[int]
    WIN_RATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TRADES_FIELD_NUMBER: _ClassVar[int]
    WINNING_TRADES_FIELD_NUMBER: _ClassVar[int]
    LOSING_TRADES_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_WIN_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_LOSS_FIELD_NUMBER: _ClassVar[int]
    PROFIT_FACTOR_FIELD_NUMBER: _ClassVar[int]
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    MAX_DRAWDOWN_PCT_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    realized_pnl: str
    unrealized_pnl: str
    total_pnl: str
    total_fees: str
    funding: str
    other: str
    net_pnl: str
    win_rate: str
    total_trades: int
    winning_trades: int
    losing_trades: int
    average_win: str
    average_loss: str
    profit_factor: str
    equity: str
    max_drawdown_pct: str
    def __init__(self, timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., realized_pnl: _Optional[str] = ..., unrealized_pnl: _Optional[str] = ..., total_pnl: _Optional[str] = ..., total_fees: _Optional[str] = ..., funding: _Optional[str] = ..., other: _Optional[str] = ..., net_pnl: _Optional[str] = ..., win_rate: _Optional[str] = ..., total_trades: _Optional[int] = ..., winning_trades: _Optional[int] = ..., losing_trades: _Optional[int] = ..., average_win: _Optional[str] = ..., average_loss: _Optional[str] = ..., profit_factor: _Optional[str] = ..., equity: _Optional[str] = ..., max_drawdown_pct: _Optional[str] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("asset", "free", "locked", "total", "usd_value", "last_update")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    LOCKED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    USD_VALUE_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATE_FIELD_NUMBER: _ClassVar[int]
    asset: str
    free: str
    locked: str
    total: str
    usd_value: str
    last_update: _timestamp_pb2.Timestamp
    def __init__(self, asset: _Optional[str] = ..., free: _Optional[str] = ..., locked: _Optional[str] = ..., total: _Optional[str] = ..., usd_value: _Optional[str] = ..., last_update: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Risk(_message.Message):
    __slots__ = ("equity", "margin_balance", "maintenance_margin", "margin_ratio", "leverage", "drawdown_pct", "return_pct", "peak_equity", "daily_loss", "liquidations", "available_margin", "pools", "venue")
    class LiquidationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    MARGIN_BALANCE_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    MARGIN_RATIO_FIELD_NUMBER: _ClassVar[int]
    LEVERAGE_FIELD_NUMBER: _ClassVar[int]
    DRAWDOWN_PCT_FIELD_NUMBER: _ClassVar[int]
    RETURN_PCT_FIELD_NUMBER: _ClassVar[int]
    PEAK_EQUITY_FIELD_NUMBER: _ClassVar[int]
    DAILY_LOSS_FIELD_NUMBER: _ClassVar[int]
    LIQUIDATIONS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    equity: str
    margin_balance: str
    maintenance_margin: str
    margin_ratio: str
    leverage: str
    drawdown_pct: str
    return_pct: str
    peak_equity: str
    daily_loss: str
    liquidations: _containers.ScalarMap[str, str]
    available_margin: str
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    venue: VenueMargin
    def __init__(self, equity: _Optional[str] = ..., margin_balance: _Optional[str] = ..., maintenance_margin: _Optional[str] = ..., margin_ratio: _Optional[str] = ..., leverage: _Optional[str] = ..., drawdown_pct: _Optional[str] = ..., return_pct: _Optional[str] = ..., peak_equity: _Optional[str] = ..., daily_loss: _Optional[str] = ..., liquidations: _Optional[_Mapping[str, str]] = ..., available_margin: _Optional[str] = ..., pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ..., venue: _Optional[_Union[VenueMargin, _Mapping]] = ...) -> None: ...

class Pool(_message.Message):
    __slots__ = ("name", "margin_type", "maintenance_margin", "balance", "margin_ratio")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MARGIN_TYPE_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_RATIO_FIELD_NUMBER: _ClassVar[int]
    name: str
    margin_type: str
    maintenance_margin: str
    balance: str
    margin_ratio: str
    def __init__(self, name: _Optional[str] = ..., margin_type: _Optional[str] = ..., maintenance_margin: _Optional[str] = ..., balance: _Optional[str] = ..., margin_ratio: _Optional[str] = ...) -> None: ...

class VenueMargin(_message.Message):
    __slots__ = ("maintenance_margin", "margin_balance", "available", "as_of")
    MAINTENANCE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    MARGIN_BALANCE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    maintenance_margin: str
    margin_balance: str
    available: str
    as_of: _timestamp_pb2.Timestamp
    def __init__(self, maintenance_margin: _Optional[str] = ..., margin_balance: _Optional[str] = ..., available: _Optional[str] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("status", "compared_at", "agreed_at", "interval_in_effect", "drifts", "unexplained", "quarantined")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    COMPARED_AT_FIELD_NUMBER: _ClassVar[int]
    AGREED_AT_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_IN_EFFECT_FIELD_NUMBER: _ClassVar[int]
    DRIFTS_FIELD_NUMBER: _ClassVar[int]
    UNEXPLAINED_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    status: str
    compared_at: _timestamp_pb2.Timestamp
    agreed_at: _timestamp_pb2.Timestamp
    interval_in_effect: str
    drifts: _containers.RepeatedCompositeFieldContainer[Drift]
    unexplained: _containers.RepeatedCompositeFieldContainer[StandingCorrection]
    quarantined: _containers.RepeatedCompositeFieldContainer[Quarantine]
    def __init__(self, status: _Optional[str] = ..., compared_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., agreed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., interval_in_effect: _Optional[str] = ..., drifts: _Optional[_Iterable[_Union[Drift, _Mapping]]] = ..., unexplained: _Optional[_Iterable[_Union[StandingCorrection, _Mapping]]] = ..., quarantined: _Optional[_Iterable[_Union[Quarantine, _Mapping]]] = ...) -> None: ...

class Drift(_message.Message):
    __slots__ = ("kind", "name", "stated", "held", "difference", "stated_at", "causes", "explained", "is_tolerated")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    STATED_AT_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    IS_TOLERATED_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    stated: str
    held: str
    difference: str
    stated_at: _timestamp_pb2.Timestamp
    causes: _containers.RepeatedScalarFieldContainer[str]
    explained: str
    is_tolerated: bool
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., stated: _Optional[str] = ..., held: _Optional[str] = ..., difference: _Optional[str] = ..., stated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., causes: _Optional[_Iterable[str]] = ..., explained: _Optional[str] = ..., is_tolerated: _Optional[bool] = ...) -> None: ...

class StandingCorrection(_message.Message):
    __slots__ = ("id", "since", "wallets", "positions", "reason")
    class WalletsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    WALLETS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    since: _timestamp_pb2.Timestamp
    wallets: _containers.ScalarMap[str, str]
    positions: _containers.ScalarMap[str, str]
    reason: str
    def __init__(self, id: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., wallets: _Optional[_Mapping[str, str]] = ..., positions: _Optional[_Mapping[str, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class Quarantine(_message.Message):
    __slots__ = ("kind", "name", "reason", "since")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    reason: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PnLHistory(_message.Message):
    __slots__ = ("account", "symbol", "interval", "to", "buckets")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    account: str
    symbol: str
    interval: str
    to: _timestamp_pb2.Timestamp
    buckets: _containers.RepeatedCompositeFieldContainer[Bucket]
    def __init__(self, account: _Optional[str] = ..., symbol: _Optional[str] = ..., interval: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., buckets: _Optional[_Iterable[_Union[Bucket, _Mapping]]] = ..., **kwargs) -> None: ...

class Bucket(_message.Message):
    __slots__ = ("timestamp", "snapshot_count", "first", "last", "min", "max", "change")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    snapshot_count: int
    first: Figures
    last: Figures
    min: Extremes
    max: Extremes
    change: Figures
    def __init__(self, timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., snapshot_count: _Optional[int] = ..., first: _Optional[_Union[Figures, _Mapping]] = ..., last: _Optional[_Union[Figures, _Mapping]] = ..., min: _Optional[_Union[Extremes, _Mapping]] = ..., max: _Optional[_Union[Extremes, _Mapping]] = ..., change: _Optional[_Union[Figures, _Mapping]] = ...) -> None: ...

class Figures(_message.Message):
    __slots__ = ("equity", "realized_pnl", "unrealized_pnl", "total_pnl", "total_fees", "funding", "other", "net_pnl")
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PNL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FEES_FIELD_NUMBER: _ClassVar[int]
    FUNDING_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    NET_PNL_FIELD_NUMBER: _ClassVar[int]
    equity: str
    realized_pnl: str
    unrealized_pnl: str
    total_pnl: str
    total_fees: str
    funding: str
    other: str
    net_pnl: str
    def __init__(self, equity: _Optional[str] = ..., realized_pnl: _Optional[str] = ..., unrealized_pnl: _Optional[str] = ..., total_pnl: _Optional[str] = ..., total_fees: _Optional[str] = ..., funding: _Optional[str] = ..., other: _Optional[str] = ..., net_pnl: _Optional[str] = ...) -> None: ...

class Extremes(_message.Message):
    __slots__ = ("equity", "realized_pnl", "unrealized_pnl", "total_pnl", "net_pnl")
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PNL_FIELD_NUMBER: _ClassVar[int]
    NET_PNL_FIELD_NUMBER: _ClassVar[int]
    equity: str
    realized_pnl: str
    unrealized_pnl: str
    total_pnl: str
    net_pnl: str
    def __init__(self, equity: _Optional[str] = ..., realized_pnl: _Optional[str] = ..., unrealized_pnl: _Optional[str] = ..., total_pnl: _Optional[str] = ..., net_pnl: _Optional[str] = ...) -> None: ...

class WatchAccountResponse(_message.Message):
    __slots__ = ("account", "epoch", "seq", "prev", "timestamp", "snapshot", "position_update", "balance_update", "fill", "alert", "reconciliation", "pnl_update", "health")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PREV_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    POSITION_UPDATE_FIELD_NUMBER: _ClassVar[int]
    BALANCE_UPDATE_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    ALERT_FIELD_NUMBER: _ClassVar[int]
    RECONCILIATION_FIELD_NUMBER: _ClassVar[int]
    PNL_UPDATE_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    account: str
    epoch: int
    seq: int
    prev: int
    timestamp: _timestamp_pb2.Timestamp
    snapshot: AccountState
    position_update: PositionUpdate
    balance_update: Balance
    fill: Fill
    alert: Alert
    reconciliation: Reconciliation
    pnl_update: PnL
    health: Health
    def __init__(self, account: _Optional[str] = ..., epoch: _Optional[int] = ..., seq: _Optional[int] = ..., prev: _Optional[int] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., snapshot: _Optional[_Union[AccountState, _Mapping]] = ..., position_update: _Optional[_Union[PositionUpdate, _Mapping]] = ..., balance_update: _Optional[_Union[Balance, _Mapping]] = ..., fill: _Optional[_Union[Fill, _Mapping]] = ..., alert: _Optional[_Union[Alert, _Mapping]] = ..., reconciliation: _Optional[_Union[Reconciliation, _Mapping]] = ..., pnl_update: _Optional[_Union[PnL, _Mapping]] = ..., health: _Optional[_Union[Health, _Mapping]] = ...) -> None: ...

class PositionUpdate(_message.Message):
    __slots__ = ("key", "position")
    KEY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    key: str
    position: Position
    def __init__(self, key: _Optional[str] = ..., position: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...

class Fill(_message.Message):
    __slots__ = ("id", "account", "symbol", "side", "quantity", "price", "fee", "fee_currency", "position_side", "order_id", "maker", "realized_pnl", "timestamp", "source", "seq", "recorded_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    FEE_FIELD_NUMBER: _ClassVar[int]
    FEE_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    POSITION_SIDE_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    MAKER_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    RECORDED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    account: str
    symbol: str
    side: str
    quantity: str
    price: str
    fee: str
    fee_currency: str
    position_side: str
    order_id: str
    maker: bool
    realized_pnl: str
    timestamp: _timestamp_pb2.Timestamp
    source: str
    seq: int
    recorded_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., account: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[str] = ..., quantity: _Optional[str] = ..., price: _Optional[str] = ..., fee: _Optional[str] = ..., fee_currency: _Optional[str] = ..., position_side: _Optional[str] = ..., order_id: _Optional[str] = ..., maker: _Optional[bool] = ..., realized_pnl: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ..., seq: _Optional[int] = ..., recorded_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Alert(_message.Message):
    __slots__ = ("id", "account", "type", "severity", "state", "symbol", "message", "value", "threshold", "cause", "timestamp", "resolved_at", "acked_by", "acked_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_AT_FIELD_NUMBER: _ClassVar[int]
    ACKED_BY_FIELD_NUMBER: _ClassVar[int]
    ACKED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    account: str
    type: str
    severity: str
    state: str
    symbol: str
    message: str
    value: str
    threshold: str
    cause: str
    timestamp: _timestamp_pb2.Timestamp
    resolved_at: _timestamp_pb2.Timestamp
    acked_by: str
    acked_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., account: _Optional[str] = ..., type: _Optional[str] = ..., severity: _Optional[str] = ..., state: _Optional[str] = ..., symbol: _Optional[str] = ..., message: _Optional[str] = ..., value: _Optional[str] = ..., threshold: _Optional[str] = ..., cause: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resolved_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., acked_by: _Optional[str] = ..., acked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Reconciliation(_message.Message):
    __slots__ = ("id", "account", "seq", "timestamp", "trigger", "drifts", "findings", "finding_count", "correction", "taken_back")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    DRIFTS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    FINDING_COUNT_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    TAKEN_BACK_FIELD_NUMBER: _ClassVar[int]
    id: str
    account: str
    seq: int
    timestamp: _timestamp_pb2.Timestamp
    trigger: str
    drifts: _containers.RepeatedCompositeFieldContainer[Drift]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    finding_count: int
    correction: str
    taken_back: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., account: _Optional[str] = ..., seq: _Optional[int] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trigger: _Optional[str] = ..., drifts: _Optional[_Iterable[_Union[Drift, _Mapping]]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., finding_count: _Optional[int] = ..., correction: _Optional[str] = ..., taken_back: _Optional[_Iterable[str]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("event", "cause")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    event: str
    cause: str
    def __init__(self, event: _Optional[str] = ..., cause: _Optional[str] = ...) -> None: ...

class Health(_message.Message):
    __slots__ = ("status", "version", "uptime", "checks")
    class ChecksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Check
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Check, _Mapping]] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    status: str
    version: str
    uptime: int
    checks: _containers.MessageMap[str, Check]
    def __init__(self, status: _Optional[str] = ..., version: _Optional[str] = ..., uptime: _Optional[int] = ..., checks: _Optional[_Mapping[str, Check]] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("status", "message", "since")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    status: str
    message: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[str] = ..., message: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
