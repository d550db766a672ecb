"""Environment: `ACCOUNT_MONITOR__HTTP__PORT=…` as a value laid over the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from account_monitor.config.nodes import Node, joined, text_node
from account_monitor.config.problems import Problem, unknown_key
from account_monitor.config.schema import Kind, Listing, Scalar, Section, Table, keys_of
from account_monitor.config.secrets import escaped
from account_monitor.errors import ConfigurationError

PREFIX = "ACCOUNT_MONITOR__"

_is_index = re.compile(r"[0-9]{1,4}").fullmatch


class _Misnamed(Exception):
    """A variable names a place that does not exist."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.line)
        self.problem = problem


class _Step(NamedTuple):
    """One segment of a name: where it leads, what is there, and whether it is an item or a key of the operator's."""

    key: str
    kind: Kind
    path: str
    is_item: bool = False
    is_free: bool = False


def overlay(root: Node, environ: Mapping[str, str], schema: type) -> list[Problem]:
    """Write the overrides in `environ` into the tree below `root`; return what is wrong with them.

    A whole section is written before a single key of it, and the items of a list in the order of their numbers.
    """
    problems: list[Problem] = []
    written: set[str] = set()
    for variable in sorted(filter(_is_override, environ), key=_order):
        where = f"environment variable {escaped(variable)}"
        if variable.upper() in written:
            problems.append(Problem((), f"{where}: set before in another case, expected one of them"))
            continue
        written.add(variable.upper())
        try:
            problems += _write(root, variable[len(PREFIX) :].split("__"), environ[variable], where, schema)
        except _Misnamed as misnamed:
            problems.append(misnamed.problem)
    return problems


def _is_override(variable: str) -> bool:
    return variable.upper().startswith(PREFIX)


def _order(variable: str) -> tuple[list[tuple[int, str]], str]:
    segments = variable[len(PREFIX) :].upper().split("__")
    return [(int(part) if _is_index(part) else -1, part) for part in segments], variable


def _write(root: Node, segments: list[str], text: str, where: str, schema: type) -> list[Problem]:
    steps = _steps(segments, where, schema)  # all of them first: a name that leads nowhere leaves nothing behind
    node, path = root, ""
    for step in steps:
        node = _item(node, step.key, path, where) if step.is_item else _child(node, step, path, where)
        path = step.path
    node.where = where
    if not steps or isinstance(steps[-1].kind, Scalar):
        node.value = text_node(text, where).value
        return []
    from account_monitor.config.document import parse_document  # here: it brings the YAML parser along

    try:
        document = parse_document(text.encode("utf-8", "backslashreplace"), where)
    except ConfigurationError as error:
        return [Problem((path,), str(error))]
    node.value = document.root.value
    return [Problem((path,), line) for line in document.problems]


def _steps(segments: list[str], where: str, schema: type) -> list[_Step]:
    kind: Kind = Section(schema)
    path = ""
    steps = []
    for segment in segments:
        step = _step(kind, path, segment, where)
        steps.append(step)
        kind, path = step.kind, step.path
    return steps


def _step(kind: Kind, path: str, segment: str, where: str) -> _Step:
    match kind:
        case Section():
            key = segment.lower()
            if key not in keys_of(kind.type):
                raise _Misnamed(unknown_key(kind.type, path, key, where))
            return _Step(key, keys_of(kind.type)[key].kind, joined(path, key))
        case Table():
            return _Step(segment, kind.item, joined(path, segment), is_free=True)
        case Listing():
            return _Step(segment, kind.item, f"{path}[{escaped(segment)}]", is_item=True)
        case Scalar():
            line = f"{where}: {path} has one value, and no key {joined('', segment)} below it"
            raise _Misnamed(Problem((path,), line))


def _child(node: Node, step: _Step, path: str, where: str) -> Node:
    if node.value is None:
        node.value, node.where = {}, where
    if not isinstance(node.value, dict):
        raise _Misnamed(
            Problem((path,), f"{where}: {path} was {node.described()} before it, expected keys with values")
        )
    key = step.key
    if step.is_free:
        key = next((name for name in node.value if name.upper() == key.upper()), key)
    return node.value.setdefault(key, Node(None, where))


def _item(node: Node, segment: str, path: str, where: str) -> Node:
    if node.value is None:
        node.value, node.where = [], where
    if not isinstance(node.value, list):
        raise _Misnamed(Problem((path,), f"{where}: {path} was {node.described()} before it, expected a list"))
    if not _is_index(segment) or int(segment) > len(node.value):
        expected = f"expected a number from 0 to {len(node.value)}, the next free one"
        line = f"{where}: {path} has no item {joined('', segment)}, {expected}"
        raise _Misnamed(Problem((f"{path}[{escaped(segment)}]",), line))
    if int(segment) == len(node.value):
        node.value.append(Node(None, where))
    return node.value[int(segment)]
