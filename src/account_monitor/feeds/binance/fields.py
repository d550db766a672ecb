"""Fields: what may stand in a field of the exchange's JSON, and in which words is anything else refused?

A number is text and becomes a decimal without ever being a float; ids and times are integers. Whatever the bytes are,
the answer is a value or MalformedEvent, whose reason names field, value and expectation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from account_monitor.errors import MalformedEvent
from account_monitor.ledger.events import PositionSide, Side
from account_monitor.ledger.money import MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS, ZERO, decimal_from_text

Json: TypeAlias = Any
"""What a JSON text says: dict, list, str, int, float, bool or None."""

TimeMs: TypeAlias = Annotated[int, Meta(ge=1, lt=7_258_118_400_000)]
"""Milliseconds since 1970, until the year 2199."""

Figure: TypeAlias = str | int
"""A number where the exchange writes texts in some answers and plain JSON numbers in others: see `exact_value_of`."""

Id: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""The exchange's counters; order ids have up to 19 digits."""

T = TypeVar("T")

_QUOTED_CHARACTERS = 60
_REMEMBERED = 4096
_symbols: set[str] = set()
_sides: dict[str, Side] = {"BUY": "BUY", "SELL": "SELL"}
_position_sides: dict[str, PositionSide] = {"BOTH": "BOTH", "LONG": "LONG", "SHORT": "SHORT"}

_decode: msgspec.json.Decoder[Json] = msgspec.json.Decoder()
_decode_exactly: msgspec.json.Decoder[Json] = msgspec.json.Decoder(float_hook=str)
_opaque = re.compile(r"[A-Za-z0-9]{32,}")
_steps = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]").findall


def value_of(payload: bytes) -> Json:
    """Return what a JSON text says. Raises: MalformedEvent, also for a key that is given twice."""
    return _without_duplicates(payload, json_of(payload))


def exact_value_of(payload: bytes) -> Json:
    """Return what a JSON text says, its fractions as text, so that none is ever a float. Raises: MalformedEvent."""
    return _without_duplicates(payload, json_of(payload, _decode_exactly))


def _without_duplicates(payload: bytes, value: Json) -> Json:
    # Every key brings a colon. More of them than keys that were understood means a key twice, or a colon inside a text:
    # the slower reader finds out which.
    try:
        if payload.count(b":") != _count_of_keys(value):
            json.loads(payload, object_pairs_hook=_refuse_duplicates)
    except RecursionError:
        raise MalformedEvent("the message is nested too deeply") from None
    return value


def json_of(payload: bytes, decoder: msgspec.json.Decoder[Json] = _decode) -> Json:
    """Return what a JSON text says; of a key that is given twice, the last value. Raises: MalformedEvent."""
    try:
        return decoder.decode(payload)
    except UnicodeDecodeError:
        raise MalformedEvent("the message is not UTF-8") from None
    except RecursionError:
        raise MalformedEvent("the message is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise MalformedEvent(f"the message is not JSON: {_plain(str(error))}") from None


def typed(value: Json, type_: type[T]) -> T:
    """Return the value as a structure of this type. Raises: MalformedEvent."""
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise _misfit(value, str(error)) from None


def number(name: str, text: str) -> Decimal:
    """Return the number that a field holds as text. Raises: MalformedEvent."""
    try:
        return decimal_from_text(text)
    except ValueError:
        limits = f"at most {MAX_INTEGER_DIGITS} integer and {MAX_FRACTION_DIGITS} fractional digits"
        refuse(name, text, f"a decimal with {limits}")


def figure(name: str, value: Figure) -> Decimal:
    """Return the number that a field holds as text or as a JSON number. Raises: MalformedEvent."""
    return number(name, value if isinstance(value, str) else str(value))


def optional_number(name: str, text: str | None) -> Decimal | None:
    """Return the number that a field holds as text, None where it is absent. Raises: MalformedEvent."""
    return None if text is None else number(name, text)


def positive(name: str, text: str) -> Decimal:
    """Return the positive number that a field holds as text. Raises: MalformedEvent."""
    value = number(name, text)
    return value if value > ZERO else refuse(name, text, "a positive decimal")


def symbol_of(name: str, text: str) -> str:
    """Return the name of a contract or asset: letters of any script, digits, `_` and `-`. Raises: MalformedEvent."""
    if text in _symbols:
        return text
    if not (0 < len(text) <= 40 and all(c.isalpha() or c in "0123456789_-" for c in text)):
        refuse(name, text, "1 to 40 letters, digits, _ or -")
    if len(_symbols) >= _REMEMBERED:
        _symbols.clear()
    _symbols.add(text)
    return text


def side_of(name: str, text: str) -> Side:
    """Return the side of a trade. Raises: MalformedEvent."""
    side = _sides.get(text)
    return side if side is not None else refuse(name, text, "BUY or SELL")


def position_side_of(name: str, text: str) -> PositionSide:
    """Return the leg that a field names. Raises: MalformedEvent."""
    side = _position_sides.get(text)
    return side if side is not None else refuse(name, text, "BOTH, LONG or SHORT")


def refuse(name: str, value: Json, expected: str) -> NoReturn:
    """Raise the refusal of a field's value."""
    raise MalformedEvent(f"{name} was {quoted(value)}, expected {expected}")


def quoted(value: Json) -> str:
    """Return a value as a short text without control characters."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return f'"{shown(value)}"'
        case _:
            return shown(str(value))


def shown(text: str) -> str:
    """Return a text from outside as it may be logged: cut, without control characters and what may be a key."""
    text = _opaque.sub(lambda found: f"{found[0][:6]}…", text)
    cut = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_QUOTED_CHARACTERS])
    return cut if len(text) <= _QUOTED_CHARACTERS else f"{cut}…"


def masked(secret: str) -> str:
    """Return the beginning of a secret: enough to tell two of them apart."""
    return f"{shown(secret[:6])}…"


def _count_of_keys(value: Json) -> int:
    if type(value) is dict:
        return len(value) + sum(_count_of_keys(v) for v in value.values() if type(v) is dict or type(v) is list)
    if type(value) is list:
        return sum(_count_of_keys(v) for v in value if type(v) is dict or type(v) is list)
    return 0


def _refuse_duplicates(pairs: Iterable[tuple[str, Json]]) -> Json:
    seen: dict[str, Json] = {}
    for key, value in pairs:
        if key in seen and (type(value) is not type(seen[key]) or value != seen[key]):
            both = f"{quoted(seen[key])} and {quoted(value)}"
            raise MalformedEvent(f"{shown(key)} was given twice, {both}, expected one value")
        seen[key] = value
    return seen


def _misfit(value: Json, said: str) -> MalformedEvent:
    """Return the refusal for what the type checker said: ``Expected `str`, got `int` - at `$.o.l` ``."""
    what, _, path = said.partition(" - at `$")
    path = path.rstrip("`")
    name = path.lstrip(".")
    if what.startswith("Object missing required field"):
        field = what.split("`")[1]
        return MalformedEvent(f"{f'{name}.{field}' if name else field} is missing, expected a value")
    expected = _plain(what.partition(", got ")[0]).removeprefix("Expected ").replace("str", "text")
    return MalformedEvent(f"{name or 'the message'} was {quoted(_at(value, path))}, expected {expected}")


def _at(value: Json, path: str) -> Json:
    for key, index in _steps(path):
        value = value[key] if key else value[int(index)]
    return value


def _plain(text: str) -> str:
    return shown(text.replace("`", ""))
