"""Any bytes are a fill or a reason, both readers agree, and no fill can make exact arithmetic fail."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.errors import MalformedEvent
from account_monitor.feeds import wire
from account_monitor.feeds.wire import fill_from_json, price_from_json
from account_monitor.ledger.account import Account
from account_monitor.ledger.events import Fill
from account_monitor.ledger.money import to_text

D = Decimal

EXAMPLE = (
    b'{"id":"5612520599","account":"main","symbol":"BTCUSDT","side":"BUY","quantity":"0.001","price":"50000.00",'
    b'"fee":"0.05","fee_currency":"USDT","position_side":"BOTH","order_id":"482277363667","maker":false,'
    b'"realized_pnl":null,"timestamp":"2026-11-22T12:00:00.000Z"}'
)
KEYS = [*json.loads(EXAMPLE), "fill_id", "trade_id", "fee_asset", "feeCurrency", "venue"]

nasty_texts = st.sampled_from(
    [
        "", " ", "NaN", "-0", "1_000", "١٢", "1e400", "9" * 40, "0." + "0" * 19 + "1", "9" * 20, "BUY", "SELL", "LONG",
        "BOTH", "main", "2026-11-22T12:00:00.000Z", "2199-12-31T23:59:59+00:00", "\x00", "\ud800", ":", '"', "{", "1",
    ]
)  # fmt: skip
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), nasty_texts)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2)
)
objects = st.dictionaries(st.sampled_from(KEYS), values)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good message with a few bytes taken out, changed, doubled or put in."""
    payload = bytearray(EXAMPLE)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(payload)))
        end = min(len(payload), start + draw(st.integers(0, 8)))
        kept = bytes(payload[start:end]) * 2
        payload[start:end] = draw(st.one_of(st.just(b""), st.just(kept), st.binary(max_size=3), digits))
    return bytes(payload)


digits = st.text("0123456789.eE+-_", max_size=30).map(str.encode)


@st.composite
def joined_members(draw: st.DrawFn) -> bytes:
    """An object whose keys may come twice, with any white space."""
    members = draw(st.lists(st.tuples(st.sampled_from(KEYS), values), max_size=16))
    colon = draw(st.sampled_from([":", " : ", ":\n"]))
    return ("{" + ",".join(f"{json.dumps(k)}{colon}{json.dumps(v)}" for k, v in members) + "}").encode()


payloads = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    objects.map(lambda members: json.dumps(members).encode()),
    objects.map(
        lambda members: json.dumps(json.loads(EXAMPLE) | members, ensure_ascii=False).encode("utf-8", "replace")
    ),
    damaged(),
    joined_members(),
)


@given(payloads)
def test_any_bytes_are_a_fill_or_a_short_reason(payload: bytes) -> None:
    outcome = _outcome(payload, quick=True)

    if isinstance(outcome, str):
        assert outcome.isprintable()
        assert 0 < len(outcome) < 400
    else:
        assert_is_sound(outcome[1])


def assert_is_sound(fill: Fill) -> None:
    """Fail unless everything in the fill is of its kind and within its limits."""
    assert type(fill) is Fill
    for number in (fill.quantity, fill.price, fill.fee, fill.realized_pnl):
        assert number is None or (type(number) is Decimal and abs(number) < 10**20 and number % D("1e-20") == 0)
    assert fill.quantity > 0
    assert fill.price > 0
    assert fill.side in ("BUY", "SELL")
    assert fill.position_side in ("BOTH", "LONG", "SHORT")
    assert 0 <= fill.at_ms < 7_258_118_400_000
    for text in (fill.symbol, fill.trade_id, fill.fee_asset, fill.order_id):
        assert text is None or (type(text) is str and text.isprintable() and " " not in text and 0 < len(text) <= 64)
    assert fill.maker in (None, True, False)


@given(payloads)
def test_any_bytes_are_a_price_or_a_reason(payload: bytes) -> None:
    try:
        mark = price_from_json(payload)
    except MalformedEvent:
        return
    assert mark.price > 0


@given(payloads)
def test_what_the_quick_reader_takes_the_careful_one_reads_alike(payload: bytes) -> None:
    both = (_outcome(payload, quick=True), _outcome(payload, quick=False))

    assert both[0] == both[1]


def _outcome(payload: bytes, *, quick: bool) -> tuple[str | None, Fill] | str:
    with pytest.MonkeyPatch.context() as patch:
        if not quick:
            patch.setattr(wire, "_plain_fill", lambda payload: None)
        try:
            return fill_from_json(payload)
        except MalformedEvent as error:
            return error.reason


numbers = st.decimals(min_value=D("1e-20"), max_value=D(10) ** 20 - 1, allow_nan=False, places=20)
fills = st.builds(
    lambda i, side, quantity, price, fee, pnl: {
        "id": i, "symbol": "BTCUSDT", "side": side, "quantity": to_text(quantity), "price": to_text(price),
        "fee": to_text(fee), "fee_currency": "BNB", "realized_pnl": to_text(-pnl), "timestamp": "2026-11-22T12:00:00Z",
    },
    st.integers(1, 10**18), st.sampled_from(["BUY", "SELL"]), numbers, numbers, numbers, numbers,
)  # fmt: skip


class NoHistory:
    """A journal without entries."""

    def history(self, key: str, *, after: int, until: int) -> list[Any]:
        """Return nothing."""
        return []


@given(st.lists(fills, max_size=6, unique_by=lambda said: said["id"]))
def test_no_fill_that_was_let_in_makes_exact_arithmetic_fail(said: list[dict[str, Any]]) -> None:
    events = sorted((fill_from_json(json.dumps(each).encode())[1] for each in said), key=lambda f: int(f.trade_id))
    account = Account(NoHistory(), usd_assets=frozenset({"USDT"}))

    entries = account.apply_all(list(enumerate(events, start=1)))

    assert len(entries) == len(events)
