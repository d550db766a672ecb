"""Flows: money that moved without a trade, as one source tells it, before it is known which event it is."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

FlowKind: TypeAlias = Literal["funding", "transfer", "income"]


class Flow(NamedTuple):
    """Money in (positive) or out, as a stream or an income statement tells it; two sources tell of the same one.

    `reason` is the venue's word: `FUNDING_FEE`, `DEPOSIT`, `INSURANCE_CLEAR`. `symbol` and `transaction_id` are None
    where the source does not say; a transaction id is unique within one reason.
    """

    kind: FlowKind
    reason: str
    asset: str
    amount: Decimal
    at_ms: int
    symbol: str | None
    transaction_id: str | None
