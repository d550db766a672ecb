"""Wire: what do the bytes of a NATS message say? A fill, a price, or the reason why neither.

Strict and total: any bytes give an event or MalformedEvent. Decimals are read from their text and never pass through
a float. The usual message takes one quick reader; what it does not take goes to the careful one, and both are judged
by the same functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import NoReturn, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from account_monitor.errors import MalformedEvent
from account_monitor.ledger.events import Fill, MarkPrice, PositionSide, Side
from account_monitor.ledger.money import MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS, ZERO, decimal_from_text

QUOTED_CHARACTERS = 60
"""Of a value, in a reason: enough to find it in the publisher's log, too little to flood ours."""

_ID_KEYS = ("id", "fill_id", "trade_id")
_FEE_ASSET_KEYS = ("fee_currency", "fee_asset", "feeCurrency")

_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_END_MS = (date(_LAST_YEAR + 1, 1, 1) - date(1970, 1, 1)).days * 86_400_000

_A_POSITIVE_DECIMAL = "a positive decimal"
_A_DECIMAL = "a decimal or null"
_LIMITS = f" with at most {MAX_INTEGER_DIGITS} integer and {MAX_FRACTION_DIGITS} fractional digits"
_AN_ID = "1 to 64 printable ASCII characters without spaces"
_A_SYMBOL = "1 to 40 letters, digits, _ or -"
_A_TIME = f"an RFC 3339 time with Z or an offset, {_FIRST_YEAR} to {_LAST_YEAR}"
_AN_ACCOUNT = "1 to 64 ASCII letters, digits, _ or -"

_is_id = re.compile(r"[!-~]{1,64}").fullmatch
_is_account = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_is_integer = re.compile(r"-?[0-9]{1,64}").fullmatch
_are_plain = re.compile(
    r"[0-9]{1,20}(?:\.[0-9]{1,20})? [0-9]{1,20}(?:\.[0-9]{1,20})?"
    r" -?[0-9]{1,20}(?:\.[0-9]{1,20})? -?[0-9]{1,20}(?:\.[0-9]{1,20})?"
).fullmatch  # quantity, price, fee and realized P&L: one look is cheaper than four
_is_like_a_number = re.compile(r"[+-]?[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?").fullmatch
_is_second = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})").fullmatch
_is_rest_of_time = re.compile(r"(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))").fullmatch

# Messages repeat symbols and seconds: what was judged once is looked up. Bounded, because publishers choose the keys.
_REMEMBERED = 4096
_symbols: set[str] = set()
_seconds: dict[str, int] = {}
_MILLISECONDS = {f".{ms:03}Z": ms for ms in range(1000)} | {"Z": 0}

_new = tuple.__new__  # a named tuple's own constructor costs twice as much


class _Number(str):
    """The text of a JSON number; every other text was a JSON string."""

    __slots__ = ()


_Value: TypeAlias = object
_Fields: TypeAlias = Mapping[str, _Value]


def fill_from_json(payload: bytes) -> tuple[str | None, Fill]:
    """Return the account that the message names, None if it names none, and the fill.

    Raises: MalformedEvent, whose reason names key, value and what was expected.
    """
    plain = _plain_fill(payload)
    if plain is not None:
        return plain
    fields = _fields(payload)
    return _account(fields.get("account")), _fill(
        _one_of(fields, _ID_KEYS),
        fields.get("symbol"),
        fields.get("side"),
        fields.get("quantity"),
        fields.get("price"),
        fields.get("timestamp"),
        fields.get("position_side"),
        fields.get("fee"),
        _one_of(fields, _FEE_ASSET_KEYS),
        fields.get("realized_pnl"),
        fields.get("order_id"),
        fields.get("maker"),
    )


def price_from_json(payload: bytes) -> MarkPrice:
    """Return the mark price that the message states. Raises: MalformedEvent, as above."""
    fields = _fields(payload)
    return MarkPrice(
        _symbol("symbol", fields.get("symbol")),
        _positive("price", fields.get("price")),
        _time_ms(fields.get("timestamp")),
    )


# -- the quick reader --------------------------------------------------------------------------------------------------


class _PlainFill(msgspec.Struct):
    """The contract's own keys with text where it writes text. Anything else is for the careful reader."""

    timestamp: str
    id: str | int
    symbol: str
    side: str
    quantity: str
    price: str
    account: str | UnsetType | None = UNSET
    position_side: str | UnsetType = UNSET
    fee: str | UnsetType | None = UNSET
    fee_currency: str | UnsetType | None = UNSET
    realized_pnl: str | UnsetType | None = UNSET
    order_id: str | int | UnsetType | None = UNSET
    maker: bool | UnsetType | None = UNSET


_decode_plain: Callable[[bytes], _PlainFill] = msgspec.json.Decoder(_PlainFill).decode


def _plain_fill(payload: bytes) -> tuple[str | None, Fill] | None:
    """Return what a usual message says, None for any other: it says less, more, or something wrong."""
    if b"\\" in payload:  # an escape may hide a colon, and with it a key that comes twice
        return None
    try:
        said = astuple(_decode_plain(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    absent = said.count(UNSET)
    # Every key brings a colon. More of them than keys and time explain means a key twice, an unknown one, or a colon
    # inside a text: the careful reader finds out which.
    if payload.count(b":") != len(said) - absent + said[0].count(":"):
        return None
    if absent:
        said = tuple(None if value is UNSET else value for value in said)
    timestamp, trade_id, symbol, side, quantity, price, account, leg, fee, fee_asset, pnl, order_id, maker = said
    if not _are_plain(f"{quantity} {price} {'0' if fee is None else fee} {'0' if pnl is None else pnl}"):
        return None
    number, cost = Decimal(quantity), Decimal(price)
    if not (number and cost):
        return None
    return _account(account), _new(Fill, (
        _symbol("symbol", symbol),
        _id("id", trade_id),
        _side(side),
        number,
        cost,
        _time_ms(timestamp),
        "BOTH" if leg is None or leg == "BOTH" else _position_side(leg),
        None if fee is None else Decimal(fee) or ZERO,
        None if fee_asset is None else _symbol("fee_currency", fee_asset),
        None if pnl is None else Decimal(pnl) or ZERO,
        None if order_id is None else _id("order_id", order_id),
        maker,
        None,
        None,
        0,
        False,
    ))  # fmt: skip


# -- the careful reader ------------------------------------------------------------------------------------------------


def _fields(payload: bytes) -> _Fields:
    """Return the keys and values of the one JSON object that the payload is, numbers as their text."""
    try:
        value = json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=_Pairs,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise MalformedEvent(f"the message is not UTF-8: byte {error.start} is wrong") from None
    except RecursionError:
        raise MalformedEvent("the message is nested too deeply, expected one flat JSON object") from None
    except json.JSONDecodeError as error:
        what = error.msg.partition("(")[0].strip()
        raise MalformedEvent(f"the message is not JSON: {what} at character {error.pos}") from None
    if not isinstance(value, _Pairs):
        raise MalformedEvent(f"the message was {_quoted(value)}, expected one JSON object")
    return _without_duplicates(value)


class _Pairs(list[tuple[str, _Value]]):
    """The members of a JSON object as they came, duplicates included."""


def _without_duplicates(pairs: _Pairs) -> _Fields:
    fields: dict[str, _Value] = {}
    for key, value in pairs:
        if key in fields and not _is_same(fields[key], value):
            first = _quoted(fields[key])
            raise MalformedEvent(f"{_shown(key)} was given twice, {first} and {_quoted(value)}, expected one value")
        fields[key] = value
    return fields


def _one_of(fields: _Fields, keys: tuple[str, ...]) -> _Value:
    """Return the value that is known under any of these names."""
    found: _Value = None
    found_key = ""
    for key in keys:
        value = fields.get(key)
        if value is None:
            continue
        if found is not None and not _is_same_text(found, value):
            both = f"{found_key} was {_quoted(found)} and {key} was {_quoted(value)}"
            raise MalformedEvent(f"{both}, expected one value")
        found, found_key = value, key
    return found


def _is_same(one: _Value, other: _Value) -> bool:
    return type(one) is type(other) and one == other


def _is_same_text(one: _Value, other: _Value) -> bool:
    return isinstance(one, str) and isinstance(other, str) and str(one) == str(other)


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedEvent(f"the message is not JSON: {name} is no JSON value")


# -- the judges --------------------------------------------------------------------------------------------------------


def _fill(
    trade_id: _Value,
    symbol: _Value,
    side: _Value,
    quantity: _Value,
    price: _Value,
    timestamp: _Value,
    position_side: _Value,
    fee: _Value,
    fee_asset: _Value,
    realized_pnl: _Value,
    order_id: _Value,
    maker: _Value,
) -> Fill:
    return _new(Fill, (
        _symbol("symbol", symbol),
        _id("id", trade_id),
        _side(side),
        _positive("quantity", quantity),
        _positive("price", price),
        _time_ms(timestamp),
        "BOTH" if position_side is None or position_side == "BOTH" else _position_side(position_side),
        None if fee is None else _number("fee", fee, _A_DECIMAL),
        None if fee_asset is None else _symbol("fee_currency", fee_asset),
        None if realized_pnl is None else _number("realized_pnl", realized_pnl, _A_DECIMAL),
        None if order_id is None else _id("order_id", order_id),
        None if maker is None else _flag("maker", maker),
        None,
        None,
        0,
        False,
    ))  # fmt: skip


def _account(value: _Value) -> str | None:
    if value is None or (type(value) is str and (_is_short_word(value) or _is_account(value))):
        return value
    raise _refusal("account", value, _AN_ACCOUNT)


def _id(key: str, value: _Value) -> str:
    if type(value) is str and (_is_short_word(value) or _is_id(value)):
        return value
    if (type(value) is int or (isinstance(value, _Number) and _is_integer(value))) and _is_id(text := str(int(value))):
        return text
    raise _refusal(key, value, _AN_ID)


def _is_short_word(text: str) -> bool:
    return text.isalnum() and text.isascii() and len(text) <= 64


def _symbol(key: str, value: _Value) -> str:
    if type(value) is str:
        if value in _symbols:
            return value
        if 0 < len(value) <= 40 and all(c.isalpha() or c in "0123456789_-" for c in value):
            if len(_symbols) >= _REMEMBERED:
                _symbols.clear()
            _symbols.add(value)
            return value
    raise _refusal(key, value, _A_SYMBOL)


def _side(value: _Value) -> Side:
    if value == "BUY":
        return "BUY"
    if value == "SELL":
        return "SELL"
    raise _refusal("side", value, "BUY or SELL")


def _position_side(value: _Value) -> PositionSide:
    if value == "LONG":
        return "LONG"
    if value == "SHORT":
        return "SHORT"
    raise _refusal("position_side", value, "BOTH, LONG or SHORT")


def _flag(key: str, value: _Value) -> bool:
    if value is True or value is False:
        return value
    raise _refusal(key, value, "true, false or null")


def _positive(key: str, value: _Value) -> Decimal:
    number = _number(key, value, _A_POSITIVE_DECIMAL)
    if number > ZERO:
        return number
    raise _refusal(key, value, _A_POSITIVE_DECIMAL)


def _number(key: str, value: _Value, expected: str) -> Decimal:
    try:
        return decimal_from_text(value)  # type: ignore[arg-type]  # what is no text raises TypeError
    except (ValueError, TypeError):
        is_too_long = isinstance(value, str) and _is_like_a_number(value)
        raise _refusal(key, value, expected + _LIMITS if is_too_long else expected) from None


def _time_ms(value: _Value) -> int:
    """Return an RFC 3339 time in milliseconds since 1970; finer fractions are cut off."""
    if type(value) is str:
        second, rest = value[:19], value[19:]
        second_ms = _seconds.get(second)
        if second_ms is None:
            second_ms = _second_ms(second)
        ms = _MILLISECONDS.get(rest)
        if second_ms is not None and (ms is not None or (ms := _shift_ms(second_ms, rest)) is not None):
            return second_ms + ms
    raise _refusal("timestamp", value, _A_TIME)


def _second_ms(text: str) -> int | None:
    match = _is_second(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    if not (_FIRST_YEAR <= year <= _LAST_YEAR and hour < 24 and minute < 60 and second <= 60):  # 60: a leap second
        return None
    try:
        days = (date(year, month, day) - date(1970, 1, 1)).days
    except ValueError:  # such as 30 February
        return None
    if len(_seconds) >= _REMEMBERED:
        _seconds.clear()
    _seconds[text] = at_ms = ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000
    return at_ms


def _shift_ms(second_ms: int, rest: str) -> int | None:
    """Return what fraction and offset add to a second, None for what is neither or leads out of the years allowed."""
    match = _is_rest_of_time(rest)
    if match is None:
        return None
    fraction, sign, hours, minutes = match.groups()
    shift_ms = int((fraction or "0")[:3].ljust(3, "0"))
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            return None
        offset_ms = (int(hours) * 60 + int(minutes)) * 60_000
        shift_ms += offset_ms if sign == "-" else -offset_ms
    return shift_ms if 0 <= second_ms + shift_ms < _END_MS else None


# -- reasons -----------------------------------------------------------------------------------------------------------


def _refusal(key: str, value: _Value, expected: str) -> MalformedEvent:
    said = "is missing" if value is None else f"was {_quoted(value)}"
    return MalformedEvent(f"{key} {said}, expected {expected}")


def _quoted(value: _Value) -> str:
    """Return a value as a short text without control characters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Pairs):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = _shown(str(value))
    return f'"{text}"' if type(value) is str else text


def _shown(text: str) -> str:
    cut = text[:QUOTED_CHARACTERS]
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)
    return shown if len(text) <= QUOTED_CHARACTERS else f"{shown}…"
