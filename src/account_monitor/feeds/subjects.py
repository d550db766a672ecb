"""Subjects: which stream holds what we want to hear, and what must be heard on core NATS?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from account_monitor.feeds.jetstream import Stream


class Coverage(NamedTuple):
    """Where each of our subjects is heard.

    `filters` are the subjects to read by stream name; `core` are the patterns that no stream covers entirely, each
    with the subjects under it that a stream does hold and that are left to it.
    """

    filters: dict[str, tuple[str, ...]]
    core: dict[str, tuple[str, ...]]


def coverage(patterns: Sequence[str], streams: Iterable[Stream]) -> Coverage:
    """Return how these patterns are covered by these streams."""
    filters: dict[str, list[str]] = {}
    core: dict[str, tuple[str, ...]] = {}
    for pattern in patterns:
        held: list[str] = []
        for stream in streams:
            shared = [both for subject in stream.subjects if (both := intersection(pattern, subject)) is not None]
            if shared:
                filters.setdefault(stream.name, []).extend(shared)
                held += shared
        if pattern not in held:
            core[pattern] = tuple(held)
    return Coverage({name: tuple(shared) for name, shared in filters.items()}, core)


def intersection(pattern: str, other: str) -> str | None:
    """Return the pattern of the subjects that match both, None if no subject does.

    `*` stands for one token, `>` at the end for one or more.
    """
    mine, theirs = pattern.split("."), other.split(".")
    shared: list[str] = []
    for i in range(max(len(mine), len(theirs))):
        if i == len(mine) or i == len(theirs):
            return None
        if mine[i] == ">":
            return ".".join([*shared, *theirs[i:]])
        if theirs[i] == ">":
            return ".".join([*shared, *mine[i:]])
        if mine[i] != theirs[i] and "*" not in (mine[i], theirs[i]):
            return None
        shared.append(theirs[i] if mine[i] == "*" else mine[i])
    return ".".join(shared)


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject without wildcards matches a pattern."""
    return intersection(pattern, subject) == subject
