"""Documents: YAML text as a tree in which every scalar is text, bounded in size, depth and aliases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from account_monitor.config.nodes import Node, joined, text_node
from account_monitor.config.secrets import escaped, shown
from account_monitor.errors import ConfigurationError

MAX_BYTES: Final = 1024 * 1024
"""A thousand accounts with every key written out take a third of it."""
MAX_DEPTH: Final = 20
"""The settings are six deep."""
MAX_NODES: Final = 50_000
"""Aliases count each time they are used, so a few lines cannot stand for a billion."""


class Document(NamedTuple):
    """The tree, and what was wrong with the text beside it: keys that are given twice, of which the first counts."""

    root: Node
    problems: list[str]


def read_document(path: Path) -> Document:
    """Return what the file says.

    Raises: ConfigurationError where it cannot be read, or is no YAML within the bounds above.
    """
    return parse_document(_content(path), escaped(str(path)))


def parse_document(content: bytes, source: str) -> Document:
    """Return the one document in `content`; `source` is named in errors, with the line.

    Raises: ConfigurationError.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{source}:{line}: not UTF-8 text: byte {content[error.start]:#04x}") from None
    return _Builder(source).build(text)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{escaped(str(path))}: no such file") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{escaped(str(path))}: a directory, expected a YAML file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationError(f"{escaped(str(path))}: cannot be read: {reason}") from None
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{escaped(str(path))}: larger than {MAX_BYTES} bytes, which no configuration needs")
    return content


class _Builder:
    """Builds the tree from the parser's events, so that nothing is expanded before its bound is checked."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._count = 0
        self._anchors: dict[str, Node] = {}
        self._problems: list[str] = []

    def build(self, text: str) -> Document:
        try:
            return Document(self._document(yaml.parse(text, Loader=yaml.SafeLoader)), self._problems)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            reason = error.problem or error.context or "the text has no structure"
            raise self._error(f"not YAML: {reason}", None if mark is None else mark.line + 1) from None
        except yaml.YAMLError as error:
            raise self._error(f"not YAML: {str(error).splitlines()[0]}") from None
        except (ValueError, OverflowError) as error:  # escapes and directives with absurd numbers
            raise self._error(f"not YAML: {error}") from None

    def _document(self, events: Iterator[yaml.Event]) -> Node:
        next(events)  # the stream starts
        if isinstance(next(events), yaml.StreamEndEvent):
            return Node(None, self._source)
        root = self._node(next(events), events, "", 0)
        next(events)  # the document ends
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error("a second document, expected one", _line(after))
        return root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: str, depth: int) -> Node:
        self._check_bounds(event, depth)
        if isinstance(event, yaml.AliasEvent):
            return self._repeated(event, depth)
        if isinstance(event, yaml.ScalarEvent):
            is_plain = event.style is None
            node = text_node(event.value, self._where(event)) if is_plain else Node(event.value, self._where(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Node(self._items(events, path, depth), self._where(event))
        else:
            node = Node(self._keys(events, path, depth), self._where(event))
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _items(self, events: Iterator[yaml.Event], path: str, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, f"{path}[{len(items)}]", depth + 1))
        return items

    def _keys(self, events: Iterator[yaml.Event], path: str, depth: int) -> dict[str, Node]:
        keys: dict[str, Node] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error("a key that is not text", _line(event))
            self._check_bounds(event, depth)
            key = event.value
            value = self._node(next(events), events, joined(path, key), depth + 1)
            if key in keys:
                problem = f"{joined(path, key)} is given twice, first in line {lines[key]}"
                self._problems.append(f"{self._where(event)}: {problem}")
            else:
                keys[key], lines[key] = value, _line(event)
        return keys

    def _repeated(self, event: yaml.AliasEvent, depth: int) -> Node:
        if event.anchor not in self._anchors:
            raise self._error(f"the alias *{event.anchor} names no anchor above it", _line(event))
        return self._copied(self._anchors[event.anchor], event, depth)

    def _copied(self, node: Node, event: yaml.Event, depth: int) -> Node:
        self._check_bounds(event, depth)
        where = self._where(event)
        match node.value:
            case list():
                return Node([self._copied(item, event, depth + 1) for item in node.value], where)
            case dict():
                return Node({key: self._copied(item, event, depth + 1) for key, item in node.value.items()}, where)
            case _:
                return Node(node.value, where)

    def _check_bounds(self, event: yaml.Event, depth: int) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise self._error(f"more than {MAX_NODES} values, an alias counted each time it is used", _line(event))
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", _line(event))
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            raise self._error(f"the tag {shown(tag)} is not allowed, every value is read as text", _line(event))

    def _where(self, event: yaml.Event) -> str:
        return f"{self._source}:{_line(event)}"

    def _error(self, message: str, line: int | None = None) -> ConfigurationError:
        place = self._source if line is None else f"{self._source}:{line}"
        return ConfigurationError(f"{place}: {escaped(message)}")


def _line(event: yaml.Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.line + 1
