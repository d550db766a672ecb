"""Wire: what a message says, and with which words it is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.wire import fill_from_json, price_from_json
from account_monitor.ledger.events import Fill, MarkPrice

D = Decimal

NOON_MS = 1_795_348_800_000  # 2026-11-22T12:00:00Z

EXAMPLE = (
    b'{"id":"5612520599","account":"main","symbol":"BTCUSDT","side":"BUY","quantity":"0.001","price":"50000.00",'
    b'"fee":"0.05","fee_currency":"USDT","position_side":"BOTH","order_id":"482277363667","maker":false,'
    b'"realized_pnl":null,"timestamp":"2026-11-22T12:00:00.000Z"}'
)

NEEDED = {
    "id": "1", "symbol": "BTCUSDT", "side": "BUY", "quantity": "1", "price": "2", "timestamp": "2026-11-22T12:00:00Z",
}  # fmt: skip


def written(**changes: Any) -> bytes:
    """Return a message with only what is required, changed."""
    return json.dumps(NEEDED | changes).encode()


def with_text(key: str, text: str) -> bytes:
    """Return a message in which the value of a key is this JSON text."""
    return json.dumps(NEEDED | {key: "@"}).replace('"@"', text).encode()


def without(key: str) -> bytes:
    """Return a message without a key."""
    return json.dumps({k: v for k, v in NEEDED.items() if k != key}).encode()


def fill(payload: bytes) -> Fill:
    """Return the fill that the message states."""
    return fill_from_json(payload)[1]


def reason(payload: bytes) -> str:
    """Return why the message is refused."""
    with pytest.raises(MalformedEvent) as refused:
        fill_from_json(payload)
    return refused.value.reason


def test_the_example_of_the_contract() -> None:
    assert fill_from_json(EXAMPLE) == (
        "main",
        Fill(
            symbol="BTCUSDT", trade_id="5612520599", side="BUY", quantity=D("0.001"), price=D("50000.00"),
            at_ms=NOON_MS, position_side="BOTH", fee=D("0.05"), fee_asset="USDT", realized_pnl=None,
            order_id="482277363667", maker=False,
        ),
    )  # fmt: skip


def test_what_is_not_required_is_not_known() -> None:
    account, said = fill_from_json(written())

    assert account is None
    assert said == Fill("BTCUSDT", "1", "BUY", D(1), D(2), NOON_MS)
    assert said.fee is None
    assert said.fee_asset is None
    assert said.realized_pnl is None
    assert said.maker is None


def test_null_says_nothing() -> None:
    silent = dict.fromkeys(("account", "fee", "fee_currency", "position_side", "order_id", "maker", "realized_pnl"))

    assert fill_from_json(written(**silent)) == fill_from_json(written())


@pytest.mark.parametrize("key", ["id", "fill_id", "trade_id"])
@pytest.mark.parametrize("value", ["77", 77])
def test_the_id_has_three_names_and_may_be_a_number(key: str, value: str | int) -> None:
    payload = json.dumps({k: v for k, v in NEEDED.items() if k != "id"} | {key: value}).encode()

    assert fill(payload).trade_id == "77"


@pytest.mark.parametrize("key", ["fee_currency", "fee_asset", "feeCurrency"])
def test_the_asset_of_the_fee_has_three_names(key: str) -> None:
    assert fill(written(fee="0.1", **{key: "BNB"})).fee_asset == "BNB"


def test_two_names_may_say_the_same_but_not_two_things() -> None:
    assert fill(written(id="5", trade_id=5)).trade_id == "5"
    assert reason(written(id="5", trade_id="6")) == 'id was "5" and trade_id was "6", expected one value'
    assert (
        reason(written(fee_asset="BNB", feeCurrency="USDT"))
        == 'fee_asset was "BNB" and feeCurrency was "USDT", expected one value'
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.1", "0.1"), ("1e-8", "0.00000001"), ("1E3", "1000"), ("5", "5"), ('"0.10"', "0.10"),
        ("12345678901234567890.12345678901234567890", "12345678901234567890.12345678901234567890"),
        ("0.3000000000000000166", "0.3000000000000000166"), ('"007"', "7"),
    ],
)  # fmt: skip
def test_numbers_are_taken_exactly_from_their_text(text: str, number: str) -> None:
    assert fill(with_text("quantity", text)).quantity == D(number)
    assert fill(with_text("fee", text)).fee == D(number)


@pytest.mark.parametrize(
    "text",
    [
        '"NaN"', '"Infinity"', '"-Infinity"', '"sNaN"', '"1_000"', '"١٢"', '" 1"', '"1 "', '"1\\n"', '""', '"+1"',
        '"1."', '".5"', '"0x1"', '"1e400"', "1e400", "1e999999", '"1e-30"', "1e20", '"1,5"',
        "1234567890123456789012345678901234567890", '"0.000000000000000000001"', "true", "false", "[]", "[1]", "{}",
        '{"a":1}', '"−1"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["quantity", "price", "fee", "realized_pnl"])
def test_what_is_no_decimal_is_refused(key: str, text: str) -> None:
    assert reason(with_text(key, text)).startswith(f"{key} was ")


@pytest.mark.parametrize("text", ["0", "-1", '"-0"', '"0.000"', '"-5.5"', "-0", "0e5", "null"])
@pytest.mark.parametrize("key", ["quantity", "price"])
def test_quantity_and_price_are_positive(key: str, text: str) -> None:
    assert reason(with_text(key, text)).startswith(f"{key} ")


@pytest.mark.parametrize("key", ["fee", "realized_pnl"])
def test_a_rebate_and_a_loss_are_negative_and_minus_zero_is_zero(key: str) -> None:
    assert getattr(fill(written(**{key: "-0.05"})), key) == D("-0.05")
    assert str(getattr(fill(written(**{key: "-0.00"})), key)) == "0"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (with_text("price", '"NaN"'), 'price was "NaN", expected a positive decimal'),
        (without("price"), "price is missing, expected a positive decimal"),
        (with_text("price", "null"), "price is missing, expected a positive decimal"),
        (with_text("quantity", "-1"), "quantity was -1, expected a positive decimal"),
        (with_text("quantity", '"-1"'), 'quantity was "-1", expected a positive decimal'),
        (with_text("fee", "true"), "fee was true, expected a decimal or null"),
        (with_text("fee", "[1]"), "fee was a list, expected a decimal or null"),
        (with_text("fee", "{}"), "fee was an object, expected a decimal or null"),
        (with_text("price", "1e30"),
         "price was 1e30, expected a positive decimal with at most 20 integer and 20 fractional digits"),
        (written(side="buy"), 'side was "buy", expected BUY or SELL'),
        (written(position_side="NET"), 'position_side was "NET", expected BOTH, LONG or SHORT'),
        (written(maker="yes"), 'maker was "yes", expected true, false or null'),
        (written(maker=1), "maker was 1, expected true, false or null"),
        (written(symbol="BTC/USDT"), 'symbol was "BTC/USDT", expected 1 to 40 letters, digits, _ or -'),
        (written(id="a b"), 'id was "a b", expected 1 to 64 printable ASCII characters without spaces'),
        (written(account="a.b"), 'account was "a.b", expected 1 to 64 ASCII letters, digits, _ or -'),
        (written(timestamp="2026-11-22"),
         'timestamp was "2026-11-22", expected an RFC 3339 time with Z or an offset, 1970 to 2199'),
    ],
)  # fmt: skip
def test_a_reason_names_key_value_and_what_was_expected(payload: bytes, expected: str) -> None:
    assert reason(payload) == expected


def test_long_and_unprintable_values_are_cut_and_masked_in_reasons() -> None:
    masked = reason(written(side="a\x00\x1b\u202e\ud800b"))
    cut = reason(written(side="x" * 1_000_000))

    assert masked == 'side was "a����b", expected BUY or SELL'
    assert cut == f'side was "{"x" * 60}…", expected BUY or SELL'


@pytest.mark.parametrize("key", ["id", "symbol", "side", "quantity", "price", "timestamp"])
def test_each_required_key_is_missed(key: str) -> None:
    assert reason(without(key)).startswith(f"{key} is missing, expected ")


@pytest.mark.parametrize("symbol", ["B", "A" * 40, "币安人生USDT", "BTC-USDT_250328", "1000PEPE", "Ωmega"])
def test_symbols_may_be_of_any_script(symbol: str) -> None:
    assert fill(written(symbol=symbol)).symbol == symbol


@pytest.mark.parametrize("symbol", ["", "A" * 41, "BTC USDT", "BTC:LONG", "BTC.P", "x\x00", "١٢", "é\u0301", 5, True])
def test_symbols_have_no_other_characters(symbol: Any) -> None:
    assert reason(written(symbol=symbol)).startswith("symbol was ")


@pytest.mark.parametrize("value", ["x" * 64, "a:b/c~!", "-5", 5, 10**63, -5])
def test_ids_are_printable(value: Any) -> None:
    assert fill(written(id=value)).trade_id == str(value)
    assert fill(written(order_id=value)).order_id == str(value)


@pytest.mark.parametrize("value", ["", "x" * 65, "a b", "ü", "a\tb", "١", 1.5, 10**64, True, [], {}])
def test_ids_are_nothing_else(value: Any) -> None:
    assert reason(written(id=value)).startswith("id was ")
    assert reason(written(order_id=value)).startswith("order_id was ")


@pytest.mark.parametrize("account", ["", "a" * 65, "a b", "ü", 5, False])
def test_accounts_are_plain_names(account: Any) -> None:
    assert reason(written(account=account)).startswith("account was ")


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-11-22T12:00:00Z", NOON_MS), ("2026-11-22T12:00:00.000Z", NOON_MS), ("2026-11-22t12:00:00z", NOON_MS),
        ("2026-11-22T12:00:00.1Z", NOON_MS + 100), ("2026-11-22T12:00:00.1239999Z", NOON_MS + 123),
        ("2026-11-22T13:30:00+01:30", NOON_MS), ("2026-11-22T11:00:00.5-01:00", NOON_MS + 500),
        ("2026-11-22T12:00:00-00:00", NOON_MS), ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.001Z", 1),
        ("2199-12-31T23:59:59.999Z", 7_258_118_399_999), ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000), ("2026-11-22T12:00:00." + "9" * 500 + "Z", NOON_MS + 999),
    ],
)  # fmt: skip
def test_times_are_rfc_3339_cut_to_milliseconds(text: str, at_ms: int) -> None:
    assert fill(written(timestamp=text)).at_ms == at_ms
    assert fill(written(timestamp=text)).at_ms == at_ms  # the second is remembered by now


@pytest.mark.parametrize(
    "value",
    [
        "", "2026-11-22", "2026-11-22T12:00:00", "2026-11-22 12:00:00Z", "2026-11-22T12:00Z", "20261122T120000Z",
        "2026-02-30T12:00:00Z", "2026-13-01T12:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T12:60:00Z",
        "2026-11-22T12:00:61Z", "2026-11-22T12:00:00.Z", "2026-11-22T12:00:00,5Z", "2026-11-22T12:00:00+24:00",
        "2026-11-22T12:00:00+0100", "2026-11-22T12:00:00+01:60", "2026-11-22T12:00:00Z ", "2026-11-22T12:00:00ZZ",
        "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "1970-01-01T00:00:00+00:01", "2199-12-31T23:59:59-01:00",
        "２026-11-22T12:00:00Z", "2026-11-22T12:00:00.١٢٣Z", "2026-11-22T12:00:00.1 3Z", "-026-11-22T12:00:00Z",
        1795348800000, True, [],
    ],
)  # fmt: skip
def test_other_times_are_refused(value: Any) -> None:
    assert reason(written(timestamp=value)).startswith("timestamp was ")


def test_a_key_that_comes_twice_may_say_the_same_but_not_two_things() -> None:
    same = EXAMPLE.replace(b'"price":"50000.00"', b'"price":"50000.00","price":"50000.00"')
    other = EXAMPLE.replace(b'"price":"50000.00"', b'"price":"50000.00","price":"50000.01"')
    spaced = EXAMPLE.replace(b'"price":"50000.00"', b'"price" : "1","price":"50000.00"')
    number = EXAMPLE.replace(b'"price":"50000.00"', b'"price":"50000.00","price":50000.00')

    assert fill_from_json(same) == fill_from_json(EXAMPLE)
    assert reason(other) == 'price was given twice, "50000.00" and "50000.01", expected one value'
    assert reason(spaced) == 'price was given twice, "1" and "50000.00", expected one value'
    assert reason(number) == 'price was given twice, "50000.00" and 50000.00, expected one value'


@pytest.mark.parametrize("twice", list(json.loads(EXAMPLE)))
def test_every_key_is_watched_for_coming_twice(twice: str) -> None:
    payload = EXAMPLE[:-1] + f',"{twice}":"another"}}'.encode()

    assert reason(payload).startswith(f"{twice} was given twice, ")


@pytest.mark.parametrize("extra", ['"venue":"x"', '"a:b":":::"', '"raw":{"id":"9","price":[1,{}]}', '"x":1e999999'])
def test_unknown_keys_are_ignored(extra: str) -> None:
    assert fill_from_json(EXAMPLE[:-1] + f",{extra}}}".encode()) == fill_from_json(EXAMPLE)


def test_white_space_and_escapes_are_json() -> None:
    spaced = b' {\n "id" : "1" ,\t"symbol":"\\u0042TC", "side":"BUY","quantity":"1","price":"2",'
    assert fill(spaced + b'"timestamp":"2026-11-22T12:00:00Z" } \n').symbol == "BTC"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "the message is not JSON: Expecting value at character 0"),
        (b"not JSON", "the message is not JSON: Expecting value at character 0"),
        (b"null", "the message was null, expected one JSON object"),
        (b"[]", "the message was a list, expected one JSON object"),
        (b"17", "the message was 17, expected one JSON object"),
        (b'"x"', 'the message was "x", expected one JSON object'),
        (EXAMPLE + b"x", "the message is not JSON: Extra data at character 263"),
        (EXAMPLE + EXAMPLE, "the message is not JSON: Extra data at character 263"),
        (b"\xef\xbb\xbf" + EXAMPLE, "the message is not JSON: Unexpected UTF-8 BOM at character 0"),
        (EXAMPLE.replace(b"main", b"m\xffin"), "the message is not UTF-8: byte 31 is wrong"),
        (EXAMPLE.decode().encode("utf-16"), "the message is not UTF-8: byte 0 is wrong"),
        (b"[" * 200_000, "the message is nested too deeply, expected one flat JSON object"),
        (b'{"a":' * 200_000, "the message is nested too deeply, expected one flat JSON object"),
        (with_text("price", "NaN"), "the message is not JSON: NaN is no JSON value"),
        (with_text("venue", "Infinity"), "the message is not JSON: Infinity is no JSON value"),
        (EXAMPLE[:-1], "the message is not JSON: Expecting ',' delimiter at character 262"),
        (with_text("side", '"\\ud800"'), 'side was "�", expected BUY or SELL'),
    ],
)  # fmt: skip
def test_what_is_not_one_json_object_is_refused(payload: bytes, expected: str) -> None:
    assert reason(payload) == expected


@pytest.mark.parametrize("garbage", [b"\x00", b"9", b"[", b"{", b'"', b"\xff", b"a", b" ", b'{"id":', b"-"])
def test_a_megabyte_of_garbage_is_refused_shortly(garbage: bytes) -> None:
    payload = (garbage * 1_000_000)[:1_000_000]

    assert len(reason(payload)) < 200


def test_a_price() -> None:
    payload = b'{"symbol":"BTCUSDT","price":50000.10,"timestamp":"2026-11-22T12:00:00Z"}'

    assert price_from_json(payload) == MarkPrice("BTCUSDT", D("50000.10"), NOON_MS)


@pytest.mark.parametrize("changes", [{"price": "0"}, {"price": None}, {"symbol": ""}, {"timestamp": 5}, {"price": []}])
def test_a_price_is_judged_as_strictly(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent, match=next(iter(changes))):
        price_from_json(written(**changes))
