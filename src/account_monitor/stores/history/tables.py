"""Tables: which tables and columns does a history have, in every database, and which of them are missing in one?"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from account_monitor.errors import HistoryRefused
from account_monitor.monitor.ports import Extremes, Figures

_SUMMED_UP = (
    "account", "symbol", "bucket", "count",
    *(f"{end}_{name}" for end in ("first", "last") for name in Figures._fields),
    *(f"{end}_{name}" for end in ("min", "max") for name in Extremes._fields),
)  # fmt: skip

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "alerts": (
        "account", "id", "type", "severity", "state", "symbol", "message", "value", "threshold", "cause", "timestamp",
        "resolved_at", "seq",
    ),
    "checkpoints": ("account", "seq", "fingerprint", "state"),
    "epochs": ("account", "epoch", "first_seq", "started_at"),
    "fills": (
        "account", "symbol", "id", "is_counterpart", "side", "quantity", "price", "fee", "fee_currency",
        "position_side", "order_id", "maker", "realized_pnl", "timestamp", "source", "seq", "recorded_at",
        "trade_number",
    ),
    "journal": (
        "account", "epoch", "seq", "event_id", "kind", "at", "recorded_at", "source", "body", "hash",
    ),
    "pnl_1d": _SUMMED_UP,
    "pnl_1h": _SUMMED_UP,
    "pnl_1m": _SUMMED_UP,
    "pnl_snapshots": (
        "id", "account", "symbol", "timestamp", *Figures._fields, "win_rate", "total_trades", "seq",
    ),
    "projections": ("account", "epoch", "seq", "hash", "snapshot_at", "updated_at"),
    "reconciliations": (
        "account", "id", "timestamp", "trigger", "drifts", "finding_count", "findings", "correction", "taken_back",
        "seq",
    ),
    "stream_positions": ("account", "source", "created", "sequence"),
}  # fmt: skip
"""What the migrations make, beside what says how far they are."""

WHAT_TO_DO = (
    "put back a backup of the database; or begin with an empty database or schema (of SQLite: move the file away), into"
    " which the service writes everything anew that the journals hold"
)


def missing_from(found: Mapping[str, Collection[str]]) -> list[str]:
    """Return what is missing where these columns were found by table: `fills`, or `column price of fills`."""
    missing = []
    for table, columns in COLUMNS.items():
        there = found.get(table)
        if not there:
            missing.append(f"table {table}")
        else:
            missing += [f"column {column} of {table}" for column in columns if column not in there]
    return missing


def require_all(where: str, missing: list[str]) -> None:
    """Raise HistoryRefused where migrations made more than there is now."""
    if missing:
        raise HistoryRefused(f"{where} lacks what was removed by hand: {', '.join(missing)}; {WHAT_TO_DO}")
