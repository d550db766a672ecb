"""Nodes: the tree of a configuration before it means anything. Every scalar is text."""

from __future__ import annotations

from typing import TypeAlias

from account_monitor.config.secrets import escaped, shown

_NULLS = ("", "~", "null", "Null", "NULL")


class Node:
    """A value and the place it was written at: text, null, a list, or keys with their values."""

    __slots__ = ("value", "where")

    def __init__(self, value: NodeValue, where: str) -> None:
        self.value = value
        self.where = where

    def described(self) -> str:
        """Return the value for a line about it."""
        match self.value:
            case None:
                return "null"
            case str():
                return shown(self.value)
            case list():
                return "a list"
            case dict():
                return "a section"


NodeValue: TypeAlias = str | list[Node] | dict[str, Node] | None


def text_node(text: str, where: str) -> Node:
    """Return an unquoted scalar: text, or null where YAML says so."""
    return Node(None if text in _NULLS else text, where)


def joined(path: str, key: str) -> str:
    """Return the path of a key below `path`."""
    key = escaped(key[:80])
    return f"{path}.{key}" if path else key
