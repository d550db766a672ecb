"""Codec: how an event is written in the journal, and how it is read again.

A body is a JSON object: decimals are plain fixed-point strings, times are milliseconds in fields named `at_ms`, a field
without a value is left out, and so is `position_side` where it is BOTH. Equal events have equal bodies.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from account_monitor.errors import JournalCorrupt
from account_monitor.ledger.alerts import Alert, AlertState, AlertType, Severity, Silence
from account_monitor.ledger.events import (
    Adjustment,
    Anchor,
    Charge,
    Claim,
    Deed,
    DeedKind,
    DrawdownReset,
    Event,
    Fill,
    FundingPayment,
    Horizon,
    Listing,
    MarkPrice,
    Marks,
    Opening,
    OtherIncome,
    Place,
    PositionSide,
    Reversal,
    Side,
    Transfer,
)
from account_monitor.ledger.money import to_text
from account_monitor.ledger.reconciliation import Cause, Drift, Finding, Quarantine, Reconciliation, SubjectKind

Kind: TypeAlias = Literal[
    "fill", "void", "funding", "transfer", "income", "charge", "opening", "adjustment", "reversal", "marks", "claim",
    "listing", "alert", "silence", "reconciliation", "quarantine", "horizon", "drawdown_reset", "deed",
]  # fmt: skip


class _Wire(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A body. A field that this version does not know is damage: a new field comes with a new schema version."""


class _Fill(_Wire):
    symbol: str
    trade_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    at_ms: int
    position_side: PositionSide = "BOTH"
    fee: Decimal | None = None
    fee_asset: str | None = None
    realized_pnl: Decimal | None = None
    order_id: str | None = None
    maker: bool | None = None
    fee_rate: Decimal | None = None
    settlement_rate: Decimal | None = None
    revision: int = 0
    is_counterpart: bool = False


class _Listing(_Wire):
    symbol: str
    settlement_asset: str
    at_ms: int
    base_asset: str | None = None


class _Funding(_Wire):
    id: str
    asset: str
    amount: Decimal
    at_ms: int
    symbol: str | None = None
    position_side: PositionSide = "BOTH"
    rate: Decimal | None = None


class _Transfer(_Wire):
    id: str
    asset: str
    amount: Decimal
    at_ms: int


class _Income(_Wire):
    id: str
    asset: str
    amount: Decimal
    at_ms: int
    reason: str
    rate: Decimal | None = None


class _Wallet(_Wire):
    asset: str
    amount: Decimal


class _Anchor(_Wire):
    symbol: str
    quantity: Decimal
    cost: Decimal
    position_side: PositionSide = "BOTH"
    last_trade_id: int | None = None
    at_ms: int | None = None


class _Opening(_Wire):
    id: str
    at_ms: int
    wallets: list[_Wallet] | None = None
    positions: list[_Anchor] | None = None


class _Adjustment(_Wire):
    id: str
    at_ms: int
    cause: str
    wallets: list[_Wallet] | None = None
    positions: list[_Anchor] | None = None
    by: str | None = None
    reason: str = ""


class _Reversal(_Wire):
    adjustment_id: str
    at_ms: int
    reason: str


class _Alert(_Wire):
    id: str
    type: AlertType
    severity: Severity
    state: AlertState
    message: str
    at_ms: int
    fired_ms: int
    symbol: str | None = None
    value: Decimal | None = None
    threshold: Decimal | None = None
    cause: str | None = None
    until_ms: int | None = None
    revision: int = 0
    acked_by: str | None = None
    acked_ms: int | None = None


class _Silence(_Wire):
    from_ms: int
    until_ms: int
    by: str
    reason: str
    type: AlertType | None = None
    symbol: str | None = None


class _Drift(_Wire):
    kind: SubjectKind
    name: str
    stated: Decimal
    stated_at_ms: int
    explained: Decimal
    held: Decimal | None = None
    causes: list[Cause] | None = None
    is_tolerated: bool = False


class _Finding(_Wire):
    event_id: str
    cause: Cause


class _Reconciliation(_Wire):
    id: str
    at_ms: int
    trigger: str
    drifts: list[_Drift] | None = None
    findings: list[_Finding] | None = None
    finding_count: int = 0
    adjustment_id: str | None = None
    taken_back: list[str] | None = None


class _Quarantine(_Wire):
    kind: SubjectKind
    name: str
    at_ms: int
    is_over: bool
    reason: str
    by: str | None = None


class _DrawdownReset(_Wire):
    id: str
    at_ms: int
    reason: str
    by: str


class _Deed(_Wire):
    id: str
    at_ms: int
    kind: DeedKind
    by: str | None = None
    address: str | None = None
    attempts: int = 1
    detail: str = ""


class _MarkPrice(_Wire):
    symbol: str
    price: Decimal
    at_ms: int


class _Marks(_Wire):
    at_ms: int
    prices: list[_MarkPrice]


class _Place(_Wire):
    symbol: str
    at_ms: int
    fill_count: int
    payment_count: int
    position_side: PositionSide = "BOTH"
    trade_id: str | None = None
    is_by_time: bool = False


class _Horizon(_Wire):
    at_ms: int
    before_ms: int
    places: list[_Place] | None = None


_encode = msgspec.json.Encoder().encode


def encode_event(event: Event) -> tuple[Kind, bytes]:
    """Return the kind of an event and its body."""
    match event:
        case Fill():
            return "void" if event.revision and not event.quantity else "fill", _encode(_fill(event))
        case Claim(fill):
            return "claim", _encode(_fill(fill))
        case Listing(symbol, settlement_asset, base_asset, at_ms):
            return "listing", _encode(_Listing(symbol, settlement_asset, at_ms, base_asset))
        case FundingPayment():
            return "funding", _encode(_funding(event))
        case Transfer(id, asset, amount, at_ms):
            return "transfer", _encode(_Transfer(id, asset, _text(amount), at_ms))
        case OtherIncome(id, asset, amount, at_ms, reason, rate):
            return "income", _encode(_Income(id, asset, _text(amount), at_ms, reason, _optional(rate)))
        case Charge(id, asset, amount, at_ms, reason, rate):
            return "charge", _encode(_Income(id, asset, _text(amount), at_ms, reason, _optional(rate)))
        case Opening(id, at_ms, wallets, positions):
            return "opening", _encode(_Opening(id, at_ms, _wallets(wallets), _anchors(positions)))
        case Adjustment(id, at_ms, cause, wallets, positions, by, reason):
            written = _Adjustment(id, at_ms, cause, _wallets(wallets) or None, _anchors(positions), by, reason)
            return "adjustment", _encode(written)
        case Reversal(adjustment_id, at_ms, reason):
            return "reversal", _encode(_Reversal(adjustment_id, at_ms, reason))
        case Alert():
            return "alert", _encode(_alert(event))
        case Silence(from_ms, until_ms, type_, symbol, by, reason):
            return "silence", _encode(_Silence(from_ms, until_ms, by, reason, type_, symbol))
        case Reconciliation():
            return "reconciliation", _encode(_report(event))
        case Quarantine():
            return "quarantine", _encode(_Quarantine(*event))
        case DrawdownReset():
            return "drawdown_reset", _encode(_DrawdownReset(*event))
        case Deed():
            return "deed", _encode(_Deed(*event))
        case Horizon(at_ms, before_ms, places):
            return "horizon", _encode(_Horizon(at_ms, before_ms, [_place(each) for each in places] or None))
        case Marks(at_ms, prices):
            return "marks", _encode(_Marks(at_ms, [_MarkPrice(p.symbol, _text(p.price), p.at_ms) for p in prices]))
        case _:
            assert_never(event)


def _text(number: Decimal) -> Any:
    # The same text as money.to_text, which is needed only where str() may differ from it. Typed Any, because the
    # structs declare what is read (Decimal), and text is what is written.
    text = str(number)
    last = text[-1]
    if "E" in text or text[0] == "-" or last > "9":
        return _unusual(number)
    return text.rstrip("0").rstrip(".") if last == "0" and "." in text else text


def _unusual(number: Decimal) -> str:
    if not number.is_finite():
        raise ValueError(f"expected a finite number, got {number}")  # what cannot be read must not be written
    return to_text(number)


def _optional(number: Decimal | None) -> Any:
    return None if number is None else _text(number)


def _fill(fill: Fill) -> _Fill:
    (
        symbol, trade_id, side, quantity, price, at_ms, leg, fee, fee_asset, pnl, order_id, maker, paid, rate,
        revision, is_counterpart,
    ) = fill  # fmt: skip
    return _Fill(
        symbol,
        trade_id,
        side,
        _text(quantity),
        _text(price),
        at_ms,
        leg,
        None if fee is None else _text(fee),
        fee_asset,
        None if pnl is None else _text(pnl),
        order_id,
        maker,
        None if paid is None else _text(paid),
        None if rate is None else _text(rate),
        revision,
        is_counterpart,
    )


def _funding(payment: FundingPayment) -> _Funding:
    payment_id, asset, amount, at_ms, symbol, leg, rate = payment
    return _Funding(payment_id, asset, _text(amount), at_ms, symbol, leg, _optional(rate))


def _alert(alert: Alert) -> _Alert:
    return _Alert(
        alert.id,
        alert.type,
        alert.severity,
        alert.state,
        alert.message,
        alert.at_ms,
        alert.fired_ms,
        alert.symbol,
        _optional(alert.value),
        _optional(alert.threshold),
        alert.cause,
        alert.until_ms,
        alert.revision,
        alert.acked_by,
        alert.acked_ms,
    )


def _report(report: Reconciliation) -> _Reconciliation:
    drifts = [
        _Drift(d.kind, d.name, _text(d.stated), d.stated_at_ms, _text(d.explained), _optional(d.held),
               list(d.causes) or None, d.is_tolerated)
        for d in report.drifts
    ]  # fmt: skip
    findings = [_Finding(*finding) for finding in report.findings]
    return _Reconciliation(
        report.id, report.at_ms, report.trigger, drifts or None, findings or None, report.finding_count,
        report.adjustment_id, list(report.taken_back) or None,
    )  # fmt: skip


def _wallets(wallets: tuple[tuple[str, Decimal], ...] | None) -> list[_Wallet] | None:
    # An opening tells "nobody said" (left out) from "nothing" (an empty list).
    return None if wallets is None else [_Wallet(asset, _text(amount)) for asset, amount in wallets]


def _anchors(positions: tuple[Anchor, ...]) -> list[_Anchor] | None:
    return [
        _Anchor(p.symbol, _text(p.quantity), _text(p.cost), p.position_side, p.last_trade_id, p.at_ms)
        for p in positions
    ] or None  # fmt: skip


def _place(place: Place) -> _Place:
    symbol, side, trade_id, at_ms, fill_count, payment_count, is_by_time = place
    return _Place(symbol, at_ms, fill_count, payment_count, side, trade_id, is_by_time)


def decode_event(seq: int, kind: str, body: str | bytes) -> Event:
    """Return the event that entry `seq` of a journal holds.

    Raises: JournalCorrupt, naming the entry, for a body that is not one of this kind.
    """
    read = _READERS.get(kind)
    if read is None:
        raise JournalCorrupt(f"entry {seq}: kind was {kind!r}, expected one of {', '.join(_READERS)}")
    try:
        return read(body)
    except (ValueError, ArithmeticError) as error:  # msgspec's errors are ValueErrors, decimal's ArithmeticErrors
        raise JournalCorrupt(f"entry {seq}: this is no {kind}: {error}") from error


def _finite(*numbers: Decimal | None) -> None:
    for number in numbers:
        if number is not None and not number.is_finite():
            raise ValueError(f"expected a finite number, got {number}")


_fill_decoder = msgspec.json.Decoder(_Fill)
_listing_decoder = msgspec.json.Decoder(_Listing)
_funding_decoder = msgspec.json.Decoder(_Funding)
_transfer_decoder = msgspec.json.Decoder(_Transfer)
_income_decoder = msgspec.json.Decoder(_Income)
_opening_decoder = msgspec.json.Decoder(_Opening)
_adjustment_decoder = msgspec.json.Decoder(_Adjustment)
_reversal_decoder = msgspec.json.Decoder(_Reversal)
_alert_decoder = msgspec.json.Decoder(_Alert)
_silence_decoder = msgspec.json.Decoder(_Silence)
_report_decoder = msgspec.json.Decoder(_Reconciliation)
_quarantine_decoder = msgspec.json.Decoder(_Quarantine)
_horizon_decoder = msgspec.json.Decoder(_Horizon)
_drawdown_reset_decoder = msgspec.json.Decoder(_DrawdownReset)
_deed_decoder = msgspec.json.Decoder(_Deed)
_marks_decoder = msgspec.json.Decoder(_Marks)


def _read_fill(body: str | bytes) -> Fill:
    w = _fill_decoder.decode(body)
    _finite(w.quantity, w.price, w.fee, w.realized_pnl, w.fee_rate, w.settlement_rate)
    return Fill(
        w.symbol,
        w.trade_id,
        w.side,
        w.quantity,
        w.price,
        w.at_ms,
        w.position_side,
        w.fee,
        w.fee_asset,
        w.realized_pnl,
        w.order_id,
        w.maker,
        w.fee_rate,
        w.settlement_rate,
        w.revision,
        w.is_counterpart,
    )


def _read_claim(body: str | bytes) -> Claim:
    return Claim(_read_fill(body))


def _read_listing(body: str | bytes) -> Listing:
    w = _listing_decoder.decode(body)
    return Listing(w.symbol, w.settlement_asset, w.base_asset, w.at_ms)


def _read_funding(body: str | bytes) -> FundingPayment:
    w = _funding_decoder.decode(body)
    _finite(w.amount, w.rate)
    return FundingPayment(w.id, w.asset, w.amount, w.at_ms, w.symbol, w.position_side, w.rate)


def _read_transfer(body: str | bytes) -> Transfer:
    w = _transfer_decoder.decode(body)
    _finite(w.amount)
    return Transfer(w.id, w.asset, w.amount, w.at_ms)


def _read_income(body: str | bytes) -> OtherIncome:
    w = _income_decoder.decode(body)
    _finite(w.amount, w.rate)
    return OtherIncome(w.id, w.asset, w.amount, w.at_ms, w.reason, w.rate)


def _read_charge(body: str | bytes) -> Charge:
    w = _income_decoder.decode(body)
    _finite(w.amount, w.rate)
    return Charge(w.id, w.asset, w.amount, w.at_ms, w.reason, w.rate)


def _read_opening(body: str | bytes) -> Opening:
    w = _opening_decoder.decode(body)
    return Opening(w.id, w.at_ms, None if w.wallets is None else _read_wallets(w.wallets), _read_anchors(w.positions))


def _read_adjustment(body: str | bytes) -> Adjustment:
    w = _adjustment_decoder.decode(body)
    wallets, positions = _read_wallets(w.wallets), _read_anchors(w.positions)
    return Adjustment(w.id, w.at_ms, w.cause, wallets, positions, w.by, w.reason)


def _read_reversal(body: str | bytes) -> Reversal:
    w = _reversal_decoder.decode(body)
    return Reversal(w.adjustment_id, w.at_ms, w.reason)


def _read_alert(body: str | bytes) -> Alert:
    w = _alert_decoder.decode(body)
    _finite(w.value, w.threshold)
    return Alert(
        w.id,
        w.type,
        w.symbol,
        w.severity,
        w.state,
        w.message,
        w.at_ms,
        w.fired_ms,
        w.value,
        w.threshold,
        w.cause,
        w.until_ms,
        w.revision,
        w.acked_by,
        w.acked_ms,
    )


def _read_silence(body: str | bytes) -> Silence:
    w = _silence_decoder.decode(body)
    return Silence(w.from_ms, w.until_ms, w.type, w.symbol, w.by, w.reason)


def _read_report(body: str | bytes) -> Reconciliation:
    w = _report_decoder.decode(body)
    drifts = w.drifts or ()
    _finite(*(number for d in drifts for number in (d.stated, d.held, d.explained)))
    return Reconciliation(
        w.id,
        w.at_ms,
        w.trigger,
        tuple(
            Drift(d.kind, d.name, d.stated, d.held, d.stated_at_ms, tuple(d.causes or ()), d.explained, d.is_tolerated)
            for d in drifts
        ),
        tuple(Finding(f.event_id, f.cause) for f in w.findings or ()),
        w.finding_count,
        w.adjustment_id,
        tuple(w.taken_back or ()),
    )


def _read_quarantine(body: str | bytes) -> Quarantine:
    w = _quarantine_decoder.decode(body)
    return Quarantine(w.kind, w.name, w.at_ms, w.is_over, w.reason, w.by)


def _read_horizon(body: str | bytes) -> Horizon:
    w = _horizon_decoder.decode(body)
    places = (
        Place(p.symbol, p.position_side, p.trade_id, p.at_ms, p.fill_count, p.payment_count, p.is_by_time)
        for p in w.places or ()
    )
    return Horizon(w.at_ms, w.before_ms, tuple(places))


def _read_drawdown_reset(body: str | bytes) -> DrawdownReset:
    w = _drawdown_reset_decoder.decode(body)
    return DrawdownReset(w.id, w.at_ms, w.reason, w.by)


def _read_deed(body: str | bytes) -> Deed:
    w = _deed_decoder.decode(body)
    return Deed(w.id, w.at_ms, w.kind, w.by, w.address, w.attempts, w.detail)


def _read_marks(body: str | bytes) -> Marks:
    w = _marks_decoder.decode(body)
    _finite(*(p.price for p in w.prices))
    return Marks(w.at_ms, tuple(MarkPrice(p.symbol, p.price, p.at_ms) for p in w.prices))


def _read_wallets(wallets: list[_Wallet] | None) -> tuple[tuple[str, Decimal], ...]:
    _finite(*(w.amount for w in wallets or ()))
    return tuple((w.asset, w.amount) for w in wallets or ())


def _read_anchors(anchors: list[_Anchor] | None) -> tuple[Anchor, ...]:
    _finite(*(number for a in anchors or () for number in (a.quantity, a.cost)))
    return tuple(Anchor(a.symbol, a.position_side, a.quantity, a.cost, a.last_trade_id, a.at_ms) for a in anchors or ())


_READERS: dict[str, Callable[[str | bytes], Event]] = {
    "fill": _read_fill,
    "void": _read_fill,
    "claim": _read_claim,
    "listing": _read_listing,
    "funding": _read_funding,
    "transfer": _read_transfer,
    "income": _read_income,
    "charge": _read_charge,
    "opening": _read_opening,
    "adjustment": _read_adjustment,
    "reversal": _read_reversal,
    "alert": _read_alert,
    "silence": _read_silence,
    "reconciliation": _read_report,
    "quarantine": _read_quarantine,
    "horizon": _read_horizon,
    "drawdown_reset": _read_drawdown_reset,
    "deed": _read_deed,
    "marks": _read_marks,
}
