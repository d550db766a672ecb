"""Events and deliveries for the tests of journals, by hand and by chance."""

from __future__ import annotations

from decimal import Decimal
from typing import get_args

from hypothesis import strategies as st

from account_monitor.ledger.alerts import Alert, Silence
from account_monitor.ledger.events import (
    Adjustment,
    Anchor,
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
    Transfer,
)
from account_monitor.ledger.reconciliation import Drift, Finding, Quarantine, Reconciliation
from account_monitor.monitor.ports import MALFORMED_EVENT, Delivery


def fill(trade_id: str = "1", *, symbol: str = "BTCUSDT", price: str = "100", at_ms: int = 1_000) -> Fill:
    """A purchase of one contract."""
    return Fill(symbol, trade_id, "BUY", Decimal(1), Decimal(price), at_ms)


def delivery(event: Event, *, source: str = "nats:FILLS", sequence: int = 0, retry_of: int | None = None) -> Delivery:
    """A message that was understood."""
    return Delivery(source, "trading.fills", b"{}", event, sequence, retry_of=retry_of)


def garbage(payload: bytes = b"garbage", *, sequence: int = 0, retry_of: int | None = None) -> Delivery:
    """A message that was not."""
    return Delivery("nats:FILLS", "trading.fills", payload, None, sequence, MALFORMED_EVENT, "no JSON", retry_of)


def deliveries(*trade_ids: int) -> list[Delivery]:
    """Fills with these trade ids, a millisecond apart."""
    return [delivery(fill(str(trade_id), at_ms=1_000 + trade_id)) for trade_id in trade_ids]


_digits = st.integers(-(10**40) + 1, 10**40 - 1)
decimals = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), _digits, st.integers(0, 30)
) | st.sampled_from(
    [Decimal("-0"), Decimal("0.00"), Decimal("1E+5"), Decimal("1E-8"), Decimal("-0E-20"), Decimal("50000.10")]
)
_texts = st.text(max_size=12)
_times = st.integers(-(2**62), 2**62)
_sides: st.SearchStrategy[PositionSide] = st.sampled_from(["BOTH", "LONG", "SHORT"])
_wallets = st.lists(st.tuples(_texts, decimals), max_size=3).map(tuple)
_anchors = st.lists(
    st.builds(Anchor, _texts, _sides, decimals, decimals, st.none() | st.integers(0, 2**64 - 1), st.none() | _times),
    max_size=3,
).map(tuple)

fills = st.builds(
    Fill,
    symbol=_texts,
    trade_id=_texts | st.integers(0, 10**21).map(str),
    side=st.sampled_from(["BUY", "SELL"]),
    quantity=decimals,
    price=decimals,
    at_ms=_times,
    position_side=_sides,
    fee=st.none() | decimals,
    fee_asset=st.none() | _texts,
    realized_pnl=st.none() | decimals,
    order_id=st.none() | _texts,
    maker=st.none() | st.booleans(),
    fee_rate=st.none() | decimals,
    settlement_rate=st.none() | decimals,
    revision=st.just(0),  # feeds deliver no other; the journal numbers them, and tells counterparts
    is_counterpart=st.just(False),
)

_kinds = st.sampled_from(["wallet", "position"])
_causes = st.sampled_from(["MISSED_FILL", "FUNDING", "UNEXPLAINED"])
_drifts = st.builds(
    Drift, _kinds, _texts, decimals, st.none() | decimals, _times, st.lists(_causes, max_size=2).map(tuple), decimals,
    st.booleans(),
)  # fmt: skip

_places = st.builds(
    Place, _texts, _sides, st.none() | _texts, _times, st.integers(0, 2**62), st.integers(0, 2**62), st.booleans()
)

events: st.SearchStrategy[Event] = st.one_of(
    fills,
    st.builds(Claim, fills),
    st.builds(Listing, _texts, _texts, st.none() | _texts, _times),
    st.builds(FundingPayment, _texts, _texts, decimals, _times, st.none() | _texts, _sides, st.none() | decimals),
    st.builds(Transfer, _texts, _texts, decimals, _times),
    st.builds(OtherIncome, _texts, _texts, decimals, _times, _texts, st.none() | decimals),
    st.builds(Opening, _texts, _times, st.none() | _wallets, _anchors),
    st.builds(Adjustment, _texts, _times, _texts, _wallets, _anchors, st.none() | _texts, _texts),
    st.builds(Reversal, _texts, _times, _texts),
    st.builds(Alert, _texts, st.sampled_from(["BALANCE_DRIFT", "STREAM_STALE"]), st.none() | _texts,
              st.sampled_from(["INFO", "WARNING", "CRITICAL"]), st.sampled_from(["FIRING", "RESOLVED"]), _texts,
              _times, _times, st.none() | decimals, st.none() | decimals, st.none() | _texts, st.none() | _times,
              st.integers(0, 2**62), st.none() | _texts, st.none() | _times),
    st.builds(Silence, _times, _times, st.sampled_from(["LOW_BALANCE", None]), st.none() | _texts, _texts, _texts),
    st.builds(Reconciliation, _texts, _times, _texts, st.lists(_drifts, max_size=2).map(tuple),
              st.lists(st.builds(Finding, _texts, _causes), max_size=2).map(tuple), st.integers(0, 2**62),
              st.none() | _texts, st.lists(_texts, max_size=2).map(tuple)),
    st.builds(Quarantine, _kinds, _texts, _times, st.booleans(), _texts, st.none() | _texts),
    st.builds(Horizon, _times, _times, st.lists(_places, max_size=3).map(tuple)),
    st.builds(DrawdownReset, _texts, _times, _texts, _texts),
    st.builds(Deed, _texts, _times, st.sampled_from(get_args(DeedKind)), st.none() | _texts, st.none() | _texts,
              st.integers(1, 2**62), _texts),
    st.builds(Marks, _times, st.lists(st.builds(MarkPrice, _texts, decimals, _times), max_size=3).map(tuple)),
)  # fmt: skip
