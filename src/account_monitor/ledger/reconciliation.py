"""Reconciliation: what does the exchange state, and where does the ledger differ? Judges, never edits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

SubjectKind: TypeAlias = Literal["wallet", "position"]


class Subject(NamedTuple):
    """One thing that both sides know: the wallet of an asset, or the quantity of a position key."""

    kind: SubjectKind
    name: str


class Statement(NamedTuple):
    """What the exchange says the account holds, at one moment of its own clock.

    `wallets` by asset exclude unrealized P&L; `quantities` by position key are positive when long. In a complete
    statement a position that is not named is flat; an asset that is not named is unknown, always.
    """

    at_ms: int
    wallets: Mapping[str, Decimal]
    quantities: Mapping[str, Decimal]
    is_complete: bool
