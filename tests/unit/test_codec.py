"""What is written in the journal, and that it is read again as it was."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import get_args

import msgspec
import pytest
from hypothesis import given

from account_monitor.errors import JournalCorrupt
from account_monitor.ledger.events import Event, Fill, FundingPayment, Opening
from account_monitor.ledger.money import to_text
from account_monitor.stores.codec import Kind, decode_event, encode_event
from tests.journal_samples import decimals, events, fill

D = Decimal


@given(events)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    kind, body = encode_event(event)

    assert decode_event(1, kind, body) == event
    assert type(decode_event(1, kind, body.decode())) is type(event)


@given(events)
def test_equal_events_have_equal_bodies(event: Event) -> None:
    kind, body = encode_event(event)

    assert encode_event(decode_event(1, kind, body)) == (kind, body)


@given(decimals)
def test_decimals_are_plain_text(number: Decimal) -> None:
    written = msgspec.json.decode(encode_event(fill()._replace(price=number))[1])["price"]

    assert written == to_text(number)
    assert re.fullmatch(r"-?\d+(\.\d*[1-9])?", written)


@given(events)
def test_every_event_type_has_its_kind(event: Event) -> None:
    assert encode_event(event)[0] == event.event_id.split(":")[0]
    assert len(get_args(Kind)) == len(get_args(Event)) + 1  # a fill that was taken back is a "void"


def test_a_fill_that_was_taken_back_is_void() -> None:
    assert encode_event(fill()._replace(quantity=D(0), revision=1))[0] == "void"


def test_a_counterpart_is_a_fill_of_its_own_name() -> None:
    counterpart = fill("7")._replace(is_counterpart=True)
    kind, body = encode_event(counterpart)

    assert (kind, counterpart.event_id) == ("fill", "counterpart:BTCUSDT:7")
    assert counterpart._replace(revision=2).event_id == "counterpart:BTCUSDT:7 r2"
    assert b'"is_counterpart":true' in body
    assert decode_event(1, kind, body) == counterpart
    assert b"counterpart" not in encode_event(fill("7"))[1]


def test_a_body_is_readable_and_says_nothing_that_is_not_known() -> None:
    event = Fill("BTCUSDT", "7", "SELL", D("0.001"), D("50000.10"), 1_763_800_000_000, fee=D("1E-8"), fee_asset="BNB")

    assert encode_event(event) == (
        "fill",
        (
            b'{"symbol":"BTCUSDT","trade_id":"7","side":"SELL","quantity":"0.001","price":"50000.1",'
            b'"at_ms":1763800000000,"fee":"0.00000001","fee_asset":"BNB"}'
        ),
    )


def test_a_leg_of_hedge_mode_is_written() -> None:
    assert b'"position_side":"SHORT"' in encode_event(fill()._replace(position_side="SHORT"))[1]


def test_an_opening_tells_unknown_wallets_from_empty_ones() -> None:
    unknown, empty = Opening("1", 0, None), Opening("1", 0, ())

    assert decode_event(1, *encode_event(unknown)) == unknown
    assert decode_event(1, *encode_event(empty)) == empty
    assert encode_event(unknown) != encode_event(empty)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("fill", b""),
        ("fill", b"null"),
        ("fill", b'{"symbol":"BTCUSDT"}'),
        ("fill", b'{"symbol":"B","trade_id":"1","side":"HOLD","quantity":"1","price":"1","at_ms":1}'),
        ("fill", b'{"symbol":"B","trade_id":"1","side":"BUY","quantity":"NaN","price":"1","at_ms":1}'),
        ("fill", b'{"symbol":"B","trade_id":"1","side":"BUY","quantity":"1","price":"Infinity","at_ms":1}'),
        ("fill", b'{"symbol":"B","trade_id":"1","side":"BUY","quantity":"one","price":"1","at_ms":1}'),
        ("fill", b'{"symbol":"B","trade_id":"1","side":"BUY","quantity":"1","price":"1","at_ms":1.5}'),
        ("fill", b'{"symbol":"\xff","trade_id":"1","side":"BUY","quantity":"1","price":"1","at_ms":1}'),
        ("fill", b'{"symbol":"B","trade_id":"1","side":"BUY","quantity":"1","price":"1","at_ms":1,"surprise":1}'),
        ("funding", b'{"id":"1","asset":"USDT","amount":"sNaN","at_ms":1}'),
        ("transfer", b'{"id":"1","asset":"USDT","amount":null,"at_ms":1}'),
        ("income", b'{"id":"1","asset":"USDT","amount":"1","at_ms":1}'),
        ("opening", b'{"id":"1","at_ms":1,"wallets":[{"asset":"USDT","amount":"NaN"}]}'),
        ("adjustment", b'{"id":"1","at_ms":1,"cause":"X","positions":[{"symbol":"B","quantity":"NaN","cost":"0"}]}'),
        ("marks", b'{"at_ms":1,"prices":[{"symbol":"B","price":"-Infinity","at_ms":1}]}'),
        ("fill", b"[" * 100_000),
        ("rumour", b"{}"),
    ],
)
def test_a_broken_body_names_its_entry(kind: str, body: bytes) -> None:
    with pytest.raises(JournalCorrupt, match="entry 981"):
        decode_event(981, kind, body)


@pytest.mark.parametrize("number", ["NaN", "-NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_could_not_be_read_is_not_written(number: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        encode_event(fill()._replace(fee=D(number)))


def test_funding_without_a_symbol_stays_without() -> None:
    payment = FundingPayment("1", "USDT", D("-0.5"), 1_000)

    assert encode_event(payment)[1] == b'{"id":"1","asset":"USDT","amount":"-0.5","at_ms":1000}'
    assert decode_event(1, *encode_event(payment)) == payment
