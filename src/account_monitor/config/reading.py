"""Reading: a tree of text becomes settings; everything that is wrong with it is collected."""

from __future__ import annotations

from typing import Any, Final

from account_monitor.config.nodes import Node, joined
from account_monitor.config.problems import Problem, unknown_key
from account_monitor.config.schema import Kind, Listing, Scalar, Section, Table, keys_of
from account_monitor.config.settings import Settings
from account_monitor.config.values import NotShown

_NO_VALUE: Final = object()
"""Left out, or wrong and reported: the default stands in."""


class Reading:
    """What was read: `settings` with defaults where `problems` says that a value is wrong, and where each key stood."""

    def __init__(self, root: Node) -> None:
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {"": root.where}
        read = self._section(Section(Settings), root, "")
        self.settings: Settings = Settings() if read is _NO_VALUE else read

    def place(self, path: str) -> str:
        """Return where a key stands, or the nearest section above it that was written."""
        while path not in self.places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.places[path]

    def _value(self, kind: Kind, node: Node, path: str) -> Any:
        self.places[path] = node.where
        match kind:
            case Scalar():
                return self._scalar(kind, node, path)
            case Listing():
                return self._listing(kind, node, path)
            case Table():
                return self._table(kind, node, path)
            case Section():
                return self._section(kind, node, path)

    def _scalar(self, kind: Scalar, node: Node, path: str) -> Any:
        if node.value is None and kind.is_optional:
            return None
        try:
            if isinstance(node.value, list | dict):
                kind.read("")  # raises, and says what was expected
            return kind.read(node.value if isinstance(node.value, str) else "")
        except NotShown as error:
            return self._refuse(node, path, f"was refused (value not shown), {error}")
        except ValueError as error:
            return self._refuse(node, path, f"was {node.described()}, {error}")

    def _listing(self, kind: Listing, node: Node, path: str) -> Any:
        if node.value is None:
            return _NO_VALUE
        if not isinstance(node.value, list):
            return self._refuse(node, path, f"was {node.described()}, expected a list such as [a, b]")
        items = [self._item(kind.item, item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        if isinstance(kind.item, Section):
            # A stand-in keeps the numbers of the items after it; nothing else is said about what it stands for.
            return kind.collect([kind.item.type() if item is _NO_VALUE else item for item in items])
        return kind.collect([item for item in items if item is not _NO_VALUE])

    def _table(self, kind: Table, node: Node, path: str) -> Any:
        if node.value is None:
            return None
        if not isinstance(node.value, dict):
            return self._refuse(node, path, f"was {node.described()}, expected keys with values")
        pairs = []
        for key, item in node.value.items():
            item_path = joined(path, key)
            try:
                name = kind.read_key(key)
            except ValueError as error:
                self._refuse(item, item_path, f"is not allowed as a key, {error}")
                continue
            value = self._item(kind.item, item, item_path)
            if value is not _NO_VALUE:
                pairs.append((name, value))
        return tuple(sorted(pairs, key=lambda pair: pair[0]))

    def _item(self, kind: Kind, node: Node, path: str) -> Any:
        if node.value is None and isinstance(kind, Section):
            return self._refuse(node, path, "was null, expected keys with values")
        return self._value(kind, node, path)

    def _section(self, kind: Section, node: Node, path: str) -> Any:
        if node.value is None:
            return None if kind.is_optional else _NO_VALUE
        if not isinstance(node.value, dict):
            return self._refuse(node, path, f"was {node.described()}, expected keys with values")
        keys = keys_of(kind.type)
        fields = {}
        for name, item in node.value.items():
            if name not in keys:
                self.problems.append(unknown_key(kind.type, path, name, item.where))
            elif (value := self._value(keys[name].kind, item, joined(path, name))) is not _NO_VALUE:
                fields[keys[name].field] = value
        missing = [key for key in keys.values() if key.is_required and key.field not in fields]
        for key in missing:
            if key.name not in node.value:
                self._refuse(node, joined(path, key.name), "is missing")
        return _NO_VALUE if missing else kind.type(**fields)

    def _refuse(self, node: Node, path: str, text: str) -> Any:
        self.places.setdefault(path, node.where)
        self.problems.append(Problem((path,), f"{node.where}: {path or 'the configuration'} {text}"))
        return _NO_VALUE
