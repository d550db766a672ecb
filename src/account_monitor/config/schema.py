"""Schema: how a settings class says which keys it takes, how each is read, and what it is when left out.

Named tuples rather than dataclasses: making the twenty classes of the configuration takes a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

T = TypeVar("T")
Read: TypeAlias = Callable[[str], Any]
"""Text to value. Raises ValueError, saying what was expected; an empty text is always refused."""


class Scalar(NamedTuple):
    """One text; `is_optional` takes null too, and means by it that there is none."""

    read: Read
    is_optional: bool = False


class Listing(NamedTuple):
    """A list; `collect` makes the value of it."""

    item: Kind
    collect: Callable[[list[Any]], Any] = tuple


class Table(NamedTuple):
    """Keys that the operator chooses, each with the same kind of value; becomes pairs sorted by key.

    Null, and a table that is left out, mean that nobody said.
    """

    read_key: Read
    item: Kind


class Section(NamedTuple):
    """The keys of a settings class; `is_optional` makes null mean none instead of every default."""

    type: type
    is_optional: bool = False


Kind: TypeAlias = Scalar | Listing | Table | Section


class Inherited(Enum):
    """What stands where a key was left out whose value another section has."""

    INHERITED = "inherited"


INHERITED: Final = Inherited.INHERITED


class Key(NamedTuple):
    """A key as the file names it, and the field that holds its value."""

    name: str
    field: str
    kind: Kind
    is_required: bool


class _Declared(NamedTuple):
    """What stands in a class until `settings` has taken it apart."""

    kind: Kind | None
    default: object
    key: str | None = None
    is_required: bool = False


_keys: dict[type, Mapping[str, Key]] = {}


def settings(section_type: type[T]) -> type[T]:
    """Take what a class of settings declares: real defaults become its defaults, and the rest its schema."""
    tuple_type: Any = section_type
    declared: dict[str, _Declared] = tuple_type._field_defaults
    _keys[section_type] = {
        name: Key(name, field, kind, is_required)
        for field, (kind, _, key, is_required) in declared.items()
        if kind is not None
        for name in (key or field,)
    }
    defaults = {field: declaration.default for field, declaration in declared.items() if not declaration.is_required}
    tuple_type._field_defaults = defaults
    tuple_type.__new__.__defaults__ = tuple(defaults.values())
    return section_type


def keys_of(section_type: type) -> Mapping[str, Key]:
    """Return the keys of a settings class by their names in the file, in the order of the class."""
    return _keys[section_type]


def scalar(read: Callable[[str], T], default: T, *, key: str | None = None) -> T:
    """Declare a key with a value; `key` is its name in the file where the field is called something else."""
    return cast("T", _Declared(Scalar(read), default, key))


def required(read: Callable[[str], T]) -> T:
    """Declare a key that has no default. Such keys come first in their class."""
    return cast("T", _Declared(Scalar(read), None, is_required=True))


def optional(read: Callable[[str], T], default: T | None = None, *, key: str | None = None) -> T | None:
    """Declare a key that null switches off."""
    return cast("T | None", _Declared(Scalar(read, is_optional=True), default, key))


def overriding(read: Callable[[str], T]) -> T | Inherited | None:
    """Declare a key that goes before that of another section; null switches off what is on there."""
    return cast("T | Inherited | None", _Declared(Scalar(read, is_optional=True), INHERITED))


def texts(read: Callable[[str], T]) -> tuple[T, ...]:
    """Declare a list of texts, empty by default."""
    return cast("tuple[T, ...]", _Declared(Listing(Scalar(read)), ()))


def text_set(read: Callable[[str], T], default: frozenset[T]) -> frozenset[T]:
    """Declare a list whose order says nothing."""
    return cast("frozenset[T]", _Declared(Listing(Scalar(read), frozenset), default))


def section(section_type: type[T]) -> T:
    """Declare a section; left out, or null, it is made of its defaults."""
    return cast("T", _Declared(Section(section_type), section_type()))


def optional_section(section_type: type[T]) -> T | None:
    """Declare a section that is None when left out or null."""
    return cast("T | None", _Declared(Section(section_type, is_optional=True), None))


def sections(section_type: type[T]) -> tuple[T, ...]:
    """Declare a list of sections, empty by default."""
    return cast("tuple[T, ...]", _Declared(Listing(Section(section_type)), ()))


def table(read_key: Callable[[str], str], read: Callable[[str], T]) -> tuple[tuple[str, T], ...] | None:
    """Declare texts by keys that the operator chooses."""
    return cast("tuple[tuple[str, T], ...] | None", _Declared(Table(read_key, Scalar(read)), None))


def section_table(read_key: Callable[[str], str], section_type: type[T]) -> tuple[tuple[str, T], ...] | None:
    """Declare sections by keys that the operator chooses."""
    return cast("tuple[tuple[str, T], ...] | None", _Declared(Table(read_key, Section(section_type)), None))


def resolved() -> Any:
    """Declare a field that is no key: it is filled in from what another key names."""
    return _Declared(None, None)
