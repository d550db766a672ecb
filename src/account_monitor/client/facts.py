"""Facts: what the service tells, as frozen values. Each has the fields of the message of the same name.

A field that may be None is not known then, never zero. Money is in USD where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Prices, P&L and maintenance margin are in `settlement_asset`; total_fees, funding and value_usd in USD."""

    symbol: str
    position_side: str
    """BOTH, or in hedge mode LONG or SHORT."""
    state: str
    """LONG, SHORT or FLAT."""
    quantity: Decimal
    """In contracts: positive long, negative short."""
    entry_price: Decimal | None
    """None when flat."""
    current_price: Decimal | None
    price_source: str | None
    """Where current_price is from, such as the mark price or the last fill."""
    realized_pnl: Decimal
    """Before fees and funding."""
    unrealized_pnl: Decimal | None
    total_fees: Decimal | None
    """Positive when paid."""
    fees: Mapping[str, Decimal]
    """By asset, in that asset."""
    funding: Decimal | None
    value_usd: Decimal | None
    """Negative when short."""
    leverage: Decimal | None
    """The initial leverage that the exchange states."""
    liquidation_price: Decimal | None
    liquidation_distance_pct: Decimal | None
    """From current_price, in percent of it."""
    margin_type: str | None
    """cross or isolated."""
    maintenance_margin: Decimal | None
    settlement_asset: str
    fill_count: int
    fills_without_fee: int
    """Of them, those of which nobody told a fee."""
    last_update: datetime | None
    """The venue's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PnL:
    """In USD: total = realized + unrealized, net = total − fees + funding + other."""

    timestamp: datetime | None
    """The venue's time of the youngest event or price in it."""
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    total_pnl: Decimal | None
    total_fees: Decimal | None
    """Positive when paid."""
    funding: Decimal | None
    other: Decimal | None
    """Insurance, rebates, conversions."""
    net_pnl: Decimal | None
    win_rate: Decimal | None
    """Of round trips from flat to flat, in percent; None without trades."""
    total_trades: int
    winning_trades: int
    losing_trades: int
    average_win: Decimal | None
    average_loss: Decimal | None
    profit_factor: Decimal | None
    """None without losses."""
    equity: Decimal | None
    max_drawdown_pct: Decimal | None
    """Peak to trough, deposits and withdrawals apart; 0 or less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A wallet."""

    asset: str
    free: Decimal | None
    """What the exchange states as available; None where it does not."""
    locked: Decimal | None
    """total − free, not below 0."""
    total: Decimal | None
    """None where nobody said what the wallet held at first."""
    usd_value: Decimal | None
    last_update: datetime | None
    """The venue's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What the exchange liquidates together, in USD."""

    name: str
    margin_type: str
    """cross or isolated."""
    maintenance_margin: Decimal | None
    balance: Decimal | None
    margin_ratio: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueMargin:
    """As the exchange stated them last: of USDT alone, or in USD in multi-assets mode."""

    maintenance_margin: Decimal
    margin_balance: Decimal
    available: Decimal
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """In USD, percent where the name ends so."""

    equity: Decimal | None
    margin_balance: Decimal | None
    maintenance_margin: Decimal | None
    margin_ratio: Decimal | None
    """maintenance_margin / margin_balance of the pool that is nearest to its end: liquidated at 1."""
    leverage: Decimal | None
    """Sum of absolute notionals / margin_balance."""
    drawdown_pct: Decimal | None
    """From the peak, 0 or less."""
    return_pct: Decimal | None
    peak_equity: Decimal | None
    daily_loss: Decimal | None
    liquidations: Mapping[str, Decimal]
    """Prices by position key, of those that some price liquidates."""
    available_margin: Decimal | None
    pools: tuple[Pool, ...]
    venue: VenueMargin | None
    """The exchange's own figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Something that the exchange states otherwise than the ledger holds."""

    kind: str
    """Whether a wallet or a position differs."""
    name: str
    """Its asset or position key."""
    stated: Decimal
    held: Decimal | None
    """None: the ledger did not know it."""
    difference: Decimal
    """stated − held."""
    stated_at: datetime
    causes: tuple[str, ...]
    explained: Decimal
    """How much of the difference the causes make."""
    is_tolerated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingCorrection:
    """A correction that stands and that nothing explains so far."""

    id: str
    since: datetime
    wallets: Mapping[str, Decimal]
    """By asset, what was added."""
    positions: Mapping[str, Decimal]
    """By position key, the quantity that it became."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Something that is not corrected any more until a person releases it."""

    kind: str
    name: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the account compares with its exchange."""

    status: str
    """agrees, differs, quarantined or waiting."""
    compared_at: datetime | None
    """The exchange's times of the last statement that was compared, and of the last that agreed."""
    agreed_at: datetime | None
    interval_in_effect: str
    """How often statements are asked for at present, as "5s"."""
    drifts: tuple[Drift, ...]
    unexplained: tuple[StandingCorrection, ...]
    quarantined: tuple[Quarantine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """The whole account as of one place in its journal."""

    account: str
    epoch: int
    seq: int
    """Everything journaled up to here is in it."""
    as_of: datetime | None
    """The venue's time of the youngest event or price in it."""
    pnl: PnL
    balances: Mapping[str, Balance]
    """By asset."""
    positions: Mapping[str, Position]
    """By position key."""
    risk: Risk
    reconciliation: Comparison | None
    """How the account compares with its exchange; None where there is none, and before the first comparison."""
    unpriced: tuple[str, ...]
    """Position keys and assets that have no price, so that figures that need one are None."""
    timestamp: datetime
    """When this was made, by the clock of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was brought up to a moment, in USD. `equity` is of the account alone."""

    equity: Decimal | None
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    total_pnl: Decimal | None
    total_fees: Decimal | None
    funding: Decimal | None
    other: Decimal | None
    net_pnl: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extremes:
    """The lowest, or the highest, of each figure among the snapshots of an interval, in USD."""

    equity: Decimal | None
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    total_pnl: Decimal | None
    net_pnl: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One interval: its first and last snapshot, and how far the figures went."""

    timestamp: datetime
    """Its beginning."""
    snapshot_count: int
    first: Figures
    last: Figures
    min: Extremes
    max: Extremes
    change: Figures
    """What the interval itself brought: its last snapshot less the last one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PnLHistory:
    """Intervals in the order of time, aligned to UTC. One in which nobody was watching is left out."""

    account: str
    symbol: str | None
    interval: str
    from_: datetime
    to: datetime
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionUpdate:
    """A position as it became."""

    key: str
    """The position key."""
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A recorded fill."""

    id: str
    """The venue's trade id."""
    account: str
    symbol: str
    side: str
    """BUY or SELL."""
    quantity: Decimal
    """Positive; the side says which way."""
    price: Decimal
    fee: Decimal | None
    """Positive when paid, in fee_currency."""
    fee_currency: str | None
    position_side: str
    order_id: str | None
    maker: bool | None
    realized_pnl: Decimal | None
    """As the venue states it."""
    timestamp: datetime
    """The venue's time."""
    source: str
    """Who told of it, such as exchange:stream or nats:fills."""
    seq: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is, or was, wrong with an account, or with a symbol of it."""

    id: str
    account: str
    type: str
    severity: str
    """INFO, WARNING or CRITICAL."""
    state: str
    """FIRING or RESOLVED."""
    symbol: str | None
    message: str
    value: Decimal | None
    threshold: Decimal | None
    cause: str | None
    timestamp: datetime
    resolved_at: datetime | None
    """None while it fires."""
    acked_by: str | None
    acked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An event that was booked because the exchange listed it and nobody had told of it."""

    event: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What a comparison with the exchange, or a search, has found, and what was corrected."""

    id: str
    account: str
    seq: int
    timestamp: datetime
    trigger: str
    drifts: tuple[Drift, ...]
    findings: tuple[Finding, ...]
    finding_count: int
    """How many there were; `findings` may hold fewer."""
    correction: str | None
    """The id of the correction, where one was made."""
    taken_back: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    status: str
    message: str
    since: datetime
    """When it took on this status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How well the process is: the worst of its checks."""

    status: str
    """healthy, degraded or unhealthy."""
    version: str
    uptime: int
    """In whole seconds."""
    checks: Mapping[str, Check]
