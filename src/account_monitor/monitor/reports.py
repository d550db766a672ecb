"""Reports: views as the JSON that every door shows, so that all of them say the same, digit for digit.

Decimals are plain fixed-point text; times are RFC 3339 in UTC with milliseconds. None: not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Adjustment, Fill
from account_monitor.ledger.explanation import Cause, Effect, Explanation
from account_monitor.ledger.liquidation import Liquidation
from account_monitor.ledger.margin import Pool, VenueMargin
from account_monitor.ledger.money import ZERO, to_text, venue_amount
from account_monitor.ledger.reconciliation import Drift, Quarantine, Reconciliation
from account_monitor.ledger.valuation import Balance, Exposure, PnL, PositionValue
from account_monitor.monitor.past import Span, of_symbol
from account_monitor.monitor.ports import JournalEntry
from account_monitor.monitor.views import Comparison, Held, View

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(at_ms: int) -> str:
    """Return a time as `2026-11-22T12:00:00.000Z`."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _text(number: Decimal | None) -> str | None:
    return None if number is None else to_text(number)


def _time(at_ms: int | None) -> str | None:
    return None if not at_ms else time_text(at_ms)


class PositionReport(msgspec.Struct, frozen=True, kw_only=True):
    """A position. Prices, P&L and maintenance margin are in the settlement asset; fees (positive when paid), funding
    and value in USD. `leverage` is the initial leverage that the exchange states.
    """

    symbol: str
    position_side: str
    state: str
    quantity: str
    entry_price: str | None
    current_price: str | None
    price_source: str | None
    realized_pnl: str
    unrealized_pnl: str | None
    total_fees: str | None
    fees: dict[str, str]
    funding: str | None
    value_usd: str | None
    leverage: str | None
    liquidation_price: str | None
    liquidation_distance_pct: str | None
    margin_type: str | None
    maintenance_margin: str | None
    settlement_asset: str
    fill_count: int
    fills_without_fee: int
    last_update: str | None


class PnLReport(msgspec.Struct, frozen=True, kw_only=True):
    """Results since the first event, in USD: total = realized + unrealized, net = total − fees + funding + other."""

    timestamp: str | None
    realized_pnl: str | None
    unrealized_pnl: str | None
    total_pnl: str | None
    total_fees: str | None
    funding: str | None
    other: str | None
    net_pnl: str | None
    win_rate: str | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    average_win: str | None
    average_loss: str | None
    profit_factor: str | None
    equity: str | None
    max_drawdown_pct: str | None


class BalanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet. `locked` = total − free, not below 0; None where the venue does not state what is free."""

    asset: str
    free: str | None
    locked: str | None
    total: str | None
    usd_value: str | None
    last_update: str | None


class PoolReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange liquidates together, in USD: the cross positions of an asset, or of the account, or an
    isolated position. It does so once `margin_ratio`, of maintenance margin to balance, reaches 1.
    """

    name: str
    margin_type: str
    maintenance_margin: str | None
    balance: str | None
    margin_ratio: str


class VenueReport(msgspec.Struct, frozen=True, kw_only=True):
    """The exchange's own figures, as it stated them last: of USDT alone, or in USD in multi-assets mode."""

    maintenance_margin: str
    margin_balance: str
    available: str
    as_of: str


class RiskReport(msgspec.Struct, frozen=True, kw_only=True):
    """How near the account is to trouble, in USD. None: not known."""

    equity: str | None
    margin_balance: str | None
    maintenance_margin: str | None
    margin_ratio: str | None
    leverage: str | None
    drawdown_pct: str | None
    return_pct: str | None
    peak_equity: str | None
    daily_loss: str | None
    liquidations: dict[str, str]
    available_margin: str | None
    pools: list[PoolReport]
    venue: VenueReport | None


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the exchange states otherwise than the ledger holds. None: the ledger did not know it."""

    kind: str
    name: str
    stated: str
    held: str | None
    difference: str
    stated_at: str
    causes: list[str]
    explained: str
    is_tolerated: bool


class FindingReport(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was booked because the exchange listed it and nobody had told of it."""

    event: str
    cause: str


class ReconciliationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison with the exchange, or a search, has found, and what was corrected."""

    id: str
    account: str
    seq: int
    timestamp: str
    trigger: str
    drifts: list[DriftReport]
    findings: list[FindingReport]
    finding_count: int
    correction: str | None
    taken_back: list[str]


class QuarantineReport(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not corrected any more until a person releases it."""

    kind: str
    name: str
    reason: str
    since: str


class StandingReport(msgspec.Struct, frozen=True, kw_only=True):
    """A correction that stands and that nothing explains so far: what wallets moved by, and what positions became."""

    id: str
    since: str
    wallets: dict[str, str]
    positions: dict[str, str]
    reason: str


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the account compares with its exchange. None: not yet."""

    status: str
    compared_at: str | None
    agreed_at: str | None
    interval_in_effect: str
    drifts: list[DriftReport]
    unexplained: list[StandingReport]
    quarantined: list[QuarantineReport]


class RiskUpdateReport(msgspec.Struct, frozen=True, kw_only=True):
    """What of an account is no position, wallet or result; `reconciliation` None: there is no exchange."""

    risk: RiskReport
    reconciliation: ComparisonReport | None
    unpriced: list[str]


class AccountReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole account as of (epoch, seq)."""

    account: str
    epoch: int
    seq: int
    as_of: str | None
    pnl: PnLReport
    balances: dict[str, BalanceReport]
    positions: dict[str, PositionReport]
    risk: RiskReport
    reconciliation: ComparisonReport | None
    unpriced: list[str]
    timestamp: str


class PlaceReport(msgspec.Struct, frozen=True, kw_only=True):
    """How far a state is, as in the account report; `timestamp` is when the report was made.

    `status` is `ready`, or `recording_stopped`: then it is shown as it was.
    """

    epoch: int
    seq: int
    as_of: str | None
    timestamp: str
    status: str


class CausesReport(msgspec.Struct, frozen=True, kw_only=True):
    """What changed equity, in USD: positive is a gain. Fees and prices by the asset paid or held.

    `trading`: results of trades and of the marks of positions. `rounding`: what the exchange rounded away of them.
    `priced_later`: worth that was there before anything priced it.
    """

    trading: str
    fees: dict[str, str]
    funding: str
    transfers: str
    other: str
    prices: dict[str, str]
    rounding: str
    opening: str
    adjustments: str
    priced_later: str


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what an entry did, in USD; `name` is the position key or the asset."""

    cause: str
    name: str
    asset: str
    usd: str


class EffectReport(msgspec.Struct, frozen=True, kw_only=True):
    """A journal entry that changed equity."""

    seq: int
    event: str
    timestamp: str
    outcome: str
    usd: str
    parts: list[PartReport]


class ExplanationReport(msgspec.Struct, frozen=True, kw_only=True):
    """Why equity changed between two moments, in USD: the causes add up to it, and the residual is 0.

    With a symbol: of that symbol only, `equity_change` being the sum of its causes. None: equity is not known at one of
    the moments. Drawdown and return are the account's at the end. `entries` are the youngest of `entry_count` that
    changed anything.
    """

    from_: str | None = msgspec.field(name="from")
    to: str | None
    from_seq: int
    to_seq: int
    equity_change: str | None
    causes: CausesReport
    positions: dict[str, str]
    residual: str | None
    drawdown_pct: str | None
    return_pct: str | None
    entries: list[EffectReport]
    entry_count: int


class FillReport(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded fill: as on NATS, and where and when it was recorded."""

    id: str
    account: str
    symbol: str
    side: str
    quantity: str
    price: str
    fee: str | None
    fee_currency: str | None
    position_side: str
    order_id: str | None
    maker: bool | None
    realized_pnl: str | None
    timestamp: str
    source: str
    seq: int
    recorded_at: str


class AlertReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is, or was, wrong with an account, or with a symbol of it. `resolved_at` is None while it fires."""

    id: str
    account: str
    type: str
    severity: str
    state: str
    symbol: str | None
    message: str
    value: str | None
    threshold: str | None
    cause: str | None
    timestamp: str
    resolved_at: str | None
    acked_by: str | None
    acked_at: str | None


def position_report(position: PositionValue, liquidation: Liquidation | None) -> PositionReport:
    """Report one position, and where it is liquidated."""
    price = position.price
    is_isolated, margin = position.is_isolated, position.margin
    return PositionReport(
        symbol=position.symbol,
        position_side=position.position_side,
        state=position.state,
        quantity=to_text(position.quantity),
        entry_price=_text(position.entry_price),
        current_price=None if price is None else to_text(price.price),
        price_source=None if price is None else price.source,
        realized_pnl=to_text(position.realized_pnl),
        unrealized_pnl=_text(position.unrealized_pnl),
        total_fees=_text(position.total_fees),
        fees={asset: to_text(amount) for asset, amount in position.fees.items()},
        funding=_text(position.funding),
        value_usd=_text(position.value_usd),
        leverage=None if position.leverage is None else str(position.leverage),
        liquidation_price=None if liquidation is None else _price_text(liquidation),
        liquidation_distance_pct=None if liquidation is None else to_text(liquidation.distance_pct),
        margin_type=None if is_isolated is None else margin_type(is_isolated=is_isolated),
        maintenance_margin=None if margin is None else to_text(margin.maintenance),
        settlement_asset=position.settlement_asset,
        fill_count=position.fill_count,
        fills_without_fee=position.fills_without_fee,
        last_update=_time(position.last_update_ms),
    )


def _price_text(liquidation: Liquidation) -> str:
    """Return a liquidation price as the exchange states it, cut off at eight decimals."""
    return to_text(venue_amount(liquidation.price))


def margin_type(*, is_isolated: bool) -> str:
    """Return how a position is margined, in a word."""
    return "isolated" if is_isolated else "cross"


def positions_report(view: View) -> dict[str, PositionReport]:
    """Report all positions by key."""
    return _positions_report(view, view.liquidations())


def _positions_report(view: View, found: Mapping[str, Liquidation]) -> dict[str, PositionReport]:
    return {key: position_report(view.positions[key], found.get(key)) for key in sorted(view.positions)}


def held_report(held: Held) -> PositionReport:
    """Report one position that was taken from a view."""
    return position_report(held.position, held.liquidation())


def pnl_report(view: View) -> PnLReport:
    """Report the results of the whole account; `timestamp` is the venue time of the youngest event in it."""
    pnl: PnL = view.pnl
    statistics = pnl.statistics
    return PnLReport(
        timestamp=_time(view.as_of_ms),
        realized_pnl=_text(pnl.realized_pnl),
        unrealized_pnl=_text(pnl.unrealized_pnl),
        total_pnl=_text(pnl.total_pnl),
        total_fees=_text(pnl.total_fees),
        funding=_text(pnl.funding),
        other=_text(pnl.other),
        net_pnl=_text(pnl.net_pnl),
        win_rate=_text(statistics.win_rate),
        total_trades=statistics.total_trades,
        winning_trades=statistics.winning_trades,
        losing_trades=statistics.losing_trades,
        average_win=_text(statistics.average_win),
        average_loss=_text(statistics.average_loss),
        profit_factor=_text(statistics.profit_factor),
        equity=_text(pnl.equity),
        max_drawdown_pct=_text(view.standing.max_drawdown_pct),
    )


def balance_report(balance: Balance) -> BalanceReport:
    """Report one wallet."""
    locked = None if balance.free is None or balance.total is None else max(balance.total - balance.free, ZERO)
    return BalanceReport(
        asset=balance.asset,
        free=_text(balance.free),
        locked=_text(locked),
        total=_text(balance.total),
        usd_value=_text(balance.usd_value),
        last_update=_time(balance.last_update_ms),
    )


def balances_report(view: View, assets: Iterable[str] | None = None) -> dict[str, BalanceReport]:
    """Report wallets by asset: all, or those named."""
    chosen = sorted(view.balances) if assets is None else assets
    return {asset: balance_report(view.balances[asset]) for asset in chosen}


def risk_report(view: View) -> RiskReport:
    """Report how near the account is to trouble."""
    return _risk_report(view, view.liquidations())


def _risk_report(view: View, found: Mapping[str, Liquidation]) -> RiskReport:
    exposure: Exposure = view.exposure
    margin, standing = view.margin, view.standing
    return RiskReport(
        equity=_text(view.pnl.equity),
        margin_balance=_text(exposure.margin_balance),
        maintenance_margin=_text(margin.maintenance_margin),
        margin_ratio=_text(margin.ratio),
        leverage=_text(exposure.leverage),
        drawdown_pct=_text(standing.drawdown_pct),
        return_pct=_text(standing.return_pct),
        peak_equity=_text(standing.peak_equity),
        daily_loss=_text(standing.daily_loss),
        liquidations={key: _price_text(each) for key, each in sorted(found.items())},
        available_margin=_text(margin.available),
        pools=[pool_report(pool) for pool in view.pools()],
        venue=None if margin.venue is None else _venue_report(margin.venue),
    )


def pool_report(pool: Pool) -> PoolReport:
    """Report what the exchange liquidates together."""
    return PoolReport(
        name=pool.name,
        margin_type=margin_type(is_isolated=pool.is_isolated),
        maintenance_margin=_text(pool.maintenance_margin),
        balance=_text(pool.balance),
        margin_ratio=to_text(pool.ratio),
    )


def _venue_report(venue: VenueMargin) -> VenueReport:
    return VenueReport(
        maintenance_margin=to_text(venue.maintenance_margin),
        margin_balance=to_text(venue.margin_balance),
        available=to_text(venue.available),
        as_of=time_text(venue.at_ms),
    )


def account_report(view: View, now_ms: int) -> AccountReport:
    """Report the whole account; `timestamp` is when the report was made."""
    found = view.liquidations()
    return AccountReport(
        account=view.account,
        epoch=view.epoch,
        seq=view.seq,
        as_of=_time(view.as_of_ms),
        pnl=pnl_report(view),
        balances=balances_report(view),
        positions=_positions_report(view, found),
        risk=_risk_report(view, found),
        reconciliation=None if view.comparison is None else comparison_report(view.comparison),
        unpriced=list(view.unpriced),
        timestamp=time_text(now_ms),
    )


def standing_report(view: View) -> RiskUpdateReport:
    """Report margins, and how the account compares with its exchange, as in the report of the whole account."""
    return RiskUpdateReport(
        risk=_risk_report(view, view.liquidations()),
        reconciliation=None if view.comparison is None else comparison_report(view.comparison),
        unpriced=list(view.unpriced),
    )


def place_report(view: View, now_ms: int, *, status: str) -> PlaceReport:
    """Report how far a view is, and whether what happens is still recorded."""
    return PlaceReport(
        epoch=view.epoch, seq=view.seq, as_of=_time(view.as_of_ms), timestamp=time_text(now_ms), status=status
    )


def comparison_report(comparison: Comparison) -> ComparisonReport:
    """Report how an account compares with its exchange."""
    if comparison.quarantined:
        status = "quarantined"
    elif comparison.drifts or comparison.has_not_agreed_for_long:
        status = "differs"
    else:
        status = "agrees" if comparison.agreed_ms is not None else "waiting"
    return ComparisonReport(
        status=status,
        compared_at=_time(comparison.compared_ms),
        agreed_at=_time(comparison.agreed_ms),
        interval_in_effect=interval_text(comparison.interval_seconds),
        drifts=[_drift_report(drift) for drift in comparison.drifts],
        unexplained=[_standing_report(adjustment) for adjustment in comparison.unexplained],
        quarantined=[quarantine_report(quarantine) for quarantine in comparison.quarantined],
    )


def _standing_report(adjustment: Adjustment) -> StandingReport:
    return StandingReport(
        id=adjustment.id,
        since=time_text(adjustment.at_ms),
        wallets=_texts(dict(adjustment.wallets)),
        positions={anchor.key: to_text(anchor.quantity) for anchor in adjustment.positions},
        reason=adjustment.reason,
    )


def interval_text(seconds: float) -> str:
    """Return a duration as the configuration writes it: `5s`, `7.5s`."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def quarantine_report(quarantine: Quarantine) -> QuarantineReport:
    """Report what is not to be corrected without a person."""
    return QuarantineReport(
        kind=quarantine.kind, name=quarantine.name, reason=quarantine.reason, since=time_text(quarantine.at_ms)
    )


def reconciliation_report(account: str, entry: JournalEntry) -> ReconciliationReport:
    """Report what a comparison or a search has found."""
    found = entry.event
    assert isinstance(found, Reconciliation)  # callers ask for these
    return ReconciliationReport(
        id=found.id,
        account=account,
        seq=entry.seq,
        timestamp=time_text(found.at_ms),
        trigger=found.trigger,
        drifts=[_drift_report(drift) for drift in found.drifts],
        findings=[FindingReport(event=finding.event_id, cause=finding.cause) for finding in found.findings],
        finding_count=found.finding_count,
        correction=found.adjustment_id,
        taken_back=list(found.taken_back),
    )


def _drift_report(drift: Drift) -> DriftReport:
    return DriftReport(
        kind=drift.kind,
        name=drift.name,
        stated=to_text(drift.stated),
        held=_text(drift.held),
        difference=to_text(drift.difference),
        stated_at=time_text(drift.stated_at_ms),
        causes=list(drift.causes),
        explained=to_text(drift.explained),
        is_tolerated=drift.is_tolerated,
    )


def explanation_report(
    span: Span, *, from_ms: int | None, to_ms: int | None, symbol: str | None = None
) -> ExplanationReport:
    """Report why equity changed; `from_ms` and `to_ms` are what was asked for."""
    whole = span.explanation
    explanation = whole if symbol is None else of_symbol(whole, symbol)
    return ExplanationReport(
        from_=None if from_ms is None else time_text(from_ms),
        to=None if to_ms is None else time_text(to_ms),
        from_seq=span.from_seq,
        to_seq=span.to_seq,
        equity_change=_text(whole.change if symbol is None else explanation.total()),
        causes=_causes_report(explanation),
        positions=_texts(_by_position(explanation)),
        residual=_text(whole.residual),
        drawdown_pct=_text(span.standing.drawdown_pct),
        return_pct=_text(span.standing.return_pct),
        entries=[_effect_report(effect) for effect in span.effects],
        entry_count=span.effect_count,
    )


def _causes_report(explanation: Explanation) -> CausesReport:
    def total(cause: Cause) -> str:
        return to_text(explanation.total(cause))

    return CausesReport(
        trading=total("trading"),
        fees=_texts(explanation.by_asset("fees")),
        funding=total("funding"),
        transfers=total("transfers"),
        other=total("other"),
        prices=_texts(explanation.by_asset("prices")),
        rounding=total("rounding"),
        opening=total("opening"),
        adjustments=total("adjustments"),
        priced_later=total("priced_later"),
    )


def _by_position(explanation: Explanation) -> dict[str, Decimal]:
    """Return by position key what trading, fees and funding made of it."""
    made: dict[str, Decimal] = {}
    for (cause, name, asset), usd in explanation.parts.items():
        is_of_position = cause in ("trading", "rounding") or (cause in ("fees", "funding") and name not in ("", asset))
        if is_of_position:
            made[name] = made.get(name, ZERO) + usd
    return made


def _effect_report(effect: Effect) -> EffectReport:
    event = effect.entry.event
    return EffectReport(
        seq=effect.entry.seq,
        event=event.event_id,
        timestamp=time_text(event.at_ms),
        outcome=effect.entry.outcome,
        usd=to_text(effect.usd),
        parts=[
            PartReport(cause=part.cause, name=part.name, asset=part.asset, usd=to_text(part.usd))
            for part in effect.parts
        ],
    )


def _texts(amounts: dict[str, Decimal]) -> dict[str, str]:
    return {name: to_text(amount) for name, amount in sorted(amounts.items())}


def fill_report(account: str, entry: JournalEntry) -> FillReport:
    """Report a recorded fill."""
    fill = entry.event
    assert isinstance(fill, Fill)  # callers ask for fills
    return FillReport(
        id=fill.trade_id,
        account=account,
        symbol=fill.symbol,
        side=fill.side,
        quantity=to_text(fill.quantity),
        price=to_text(fill.price),
        fee=_text(fill.fee),
        fee_currency=fill.fee_asset,
        position_side=fill.position_side,
        order_id=fill.order_id,
        maker=fill.maker,
        realized_pnl=_text(fill.realized_pnl),
        timestamp=time_text(fill.at_ms),
        source=entry.source,
        seq=entry.seq,
        recorded_at=time_text(entry.recorded_at_ms),
    )


def alert_report(account: str, alert: Alert) -> AlertReport:
    """Report an alert as of one transition."""
    return AlertReport(
        id=alert.id,
        account=account,
        type=alert.type,
        severity=alert.severity,
        state=alert.state,
        symbol=alert.symbol,
        message=alert.message,
        value=_text(alert.value),
        threshold=_text(alert.threshold),
        cause=alert.cause,
        timestamp=time_text(alert.fired_ms),
        resolved_at=None if alert.resolved_ms is None else time_text(alert.resolved_ms),
        acked_by=alert.acked_by,
        acked_at=None if alert.acked_ms is None else time_text(alert.acked_ms),
    )
