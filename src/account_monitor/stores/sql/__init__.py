"""SQL: the statements and migrations of each store, kept as SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_FOLDER = Path(__file__).parent
_is_migration = re.compile(r"([0-9]{4})_\w+\.sql").fullmatch


def load_queries(store: str) -> Mapping[str, str]:
    """Return the statements of `<store>/queries.sql` by the name that `-- name:` gives above each."""
    text = (_FOLDER / store / "queries.sql").read_text(encoding="utf-8")
    _, *parts = re.split(r"^-- name: *(\w+) *$", text, flags=re.MULTILINE)
    return MappingProxyType({name: sql.strip().rstrip(";") for name, sql in zip(parts[::2], parts[1::2], strict=True)})


def load_migrations(store: str) -> tuple[str, ...]:
    """Return the migrations `<store>/NNNN_name.sql` in order: the first brings an empty database to version 1."""
    found = sorted(path for path in (_FOLDER / store).iterdir() if _is_migration(path.name))
    numbers = [int(path.name[:4]) for path in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations of {store} were numbered {numbers}, expected 1, 2, 3 …")
    return tuple(path.read_text(encoding="utf-8") for path in found)
