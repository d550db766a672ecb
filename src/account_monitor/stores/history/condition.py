"""Condition: what can be said of a database of the history without changing anything in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Condition(NamedTuple):
    """What a database is, and what it lacks."""

    description: str
    """Such as `PostgreSQL 18.1 with TimescaleDB 2.23`."""
    versions: Mapping[str, int]
    """By part of the schema, how many migrations were run; empty where there are no tables."""
    missing: Sequence[str]
    """The migrations that are still to be run."""
    lacking: Sequence[str]
    """What whoever connects is not allowed to do, and needs to be."""
    size_bytes: int
    """Of the whole database, whoever else keeps something in it."""
    remark: str | None = None
    broken: Sequence[str] = ()
    """The tables and columns that the migrations made and that are gone."""

    @property
    def schema(self) -> str:
        """Name the versions, such as `postgres 1, plain 1`."""
        parts = sorted(self.versions, key=lambda part: (part != "postgres", part))
        return ", ".join(f"{part} {self.versions[part]}" for part in parts) or "none"
