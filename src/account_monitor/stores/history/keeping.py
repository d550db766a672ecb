"""Keeping: for how long is P&L remembered second by second?"""

from __future__ import annotations

from typing import NamedTuple


class Keeping(NamedTuple):
    """How long snapshots are kept, and after what time a database that can compresses them; in milliseconds."""

    retention_ms: int
    compress_after_ms: int
