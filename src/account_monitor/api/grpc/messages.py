"""Messages: turns what REST shows as JSON into the messages of `account_monitor.v1`. The one place that does.

A message has the fields of the JSON under the same names, and the same texts; what is null is absent. A field of the
JSON that the message does not know is an error, so that none is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeAlias, TypeVar

import msgspec
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

M = TypeVar("M", bound=Message)

_Convert: TypeAlias = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = timestamp_pb2.Timestamp.DESCRIPTOR.full_name
_to_json = msgspec.to_builtins


def message_of(kind: type[M], report: msgspec.Struct | Mapping[str, Any]) -> M:
    """Return a report, or the JSON object of one, as a message of a kind."""
    data = _to_json(report) if isinstance(report, msgspec.Struct) else report
    made: M = _converter(kind.DESCRIPTOR)(data)
    return made


def timestamp_of(text: str) -> timestamp_pb2.Timestamp:
    """Return a time as REST writes it."""
    since = datetime.fromisoformat(text) - _EPOCH
    return timestamp_pb2.Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


@cache
def _converter(descriptor: Descriptor) -> _Convert:
    """Return what makes messages of a kind from JSON objects."""
    if descriptor.full_name == _TIMESTAMP:
        return timestamp_of
    kind = GetMessageClass(descriptor)
    converters: dict[str, _Convert] = {}
    for field in descriptor.fields:
        of_field = _field_converter(field)
        if of_field is not None:
            converters[field.name] = of_field

    def convert(data: Mapping[str, Any]) -> Message:
        return kind(
            **{
                name: converters[name](value) if name in converters else value
                for name, value in data.items()
                if value is not None
            }
        )

    return convert


def _field_converter(field: FieldDescriptor) -> _Convert | None:
    """Return what converts the values of a field, None where they are the same in JSON."""
    described = field.message_type
    if described is None:
        return None
    if described.GetOptions().map_entry:
        value = described.fields_by_name["value"].message_type
        if value is None:
            return None
        of_value = _converter(value)
        return lambda items: {key: of_value(item) for key, item in items.items()}
    convert = _converter(described)
    if field.is_repeated:
        return lambda items: [convert(item) for item in items]
    return convert
