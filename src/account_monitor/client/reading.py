"""Reading: turns messages into facts. The one place where texts become numbers, and timestamps times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.message import Message

T = TypeVar("T")

_Read: TypeAlias = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fact_of(kind: type[T], message: Message) -> T:
    """Return a message as a fact of a kind."""
    of_kind: Any = kind
    made: T = _reader(of_kind)(message)
    return made


def moment_of(timestamp: Any) -> datetime:
    """Return a google.protobuf.Timestamp as a time in UTC."""
    return _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)


@cache
def _reader(kind: Any) -> _Read:
    """Return what reads messages of a kind."""
    hints = get_type_hints(kind)
    known: list[tuple[str, str, _Read]] = []
    optional: list[tuple[str, str, _Read]] = []
    for field in fields(kind):
        of_value, may_be_none = _value_reader(hints[field.name])
        (optional if may_be_none else known).append((field.name, field.name.rstrip("_"), of_value))

    def read(message: Message) -> Any:
        values = {name: of_value(getattr(message, wire_name)) for name, wire_name, of_value in known}
        for name, wire_name, of_value in optional:
            values[name] = of_value(getattr(message, wire_name)) if message.HasField(wire_name) else None
        return kind(**values)

    return read


def _value_reader(hint: Any) -> tuple[_Read, bool]:
    """Return what reads a value of this type, and whether it may be None."""
    if isinstance(hint, UnionType):
        (inner,) = (each for each in get_args(hint) if each is not type(None))
        return _value_reader(inner)[0], True
    if get_origin(hint) is Mapping:
        of_item = _value_reader(get_args(hint)[1])[0]
        return lambda items: MappingProxyType({key: of_item(items[key]) for key in items}), False
    if get_origin(hint) is tuple:
        of_item = _value_reader(get_args(hint)[0])[0]
        return lambda items: tuple(of_item(item) for item in items), False
    if hint is datetime:
        return moment_of, False
    return (hint if hint in (str, int, bool, Decimal) else _reader(hint)), False
