"""Changes: what a client that watches is told, and where it resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from account_monitor.client.facts import (
    AccountState,
    Alert,
    Balance,
    Fill,
    Health,
    PnL,
    PositionUpdate,
    Reconciliation,
)
from account_monitor.client.reading import fact_of, moment_of
from account_monitor.v1 import account_monitor_pb2 as v1

Kind: TypeAlias = Literal[
    "snapshot", "position_update", "balance_update", "fill", "alert", "reconciliation", "pnl_update", "health",
    "disconnected",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The stream ended, and what was told before may be old. Whatever comes after this says that it goes on."""

    since: datetime
    """When the last message came, by the clock of this machine."""
    reason: str
    """As CallFailed says it."""


Data: TypeAlias = AccountState | PositionUpdate | Balance | Fill | Alert | Reconciliation | PnL | Health | Disconnected

_KINDS: Mapping[str, type[Data]] = {
    "snapshot": AccountState,
    "position_update": PositionUpdate,
    "balance_update": Balance,
    "fill": Fill,
    "alert": Alert,
    "reconciliation": Reconciliation,
    "pnl_update": PnL,
    "health": Health,
}


class Place(NamedTuple):
    """How far an account was told: which run of its journal, and which sequence."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One message. `match change.data:` by its class, or look at `kind`."""

    kind: Kind
    account: str | None
    """None for health, which is of the whole process."""
    place: Place | None
    """What to resume from after this message; None for health."""
    prev: int | None
    """The sequence of the message before; None in a snapshot."""
    timestamp: datetime
    """When it was told, by the clock of the service; of a disconnection by that of this machine."""
    data: Data


def place_of(message: v1.WatchAccountResponse) -> Place | None:
    """Return what to resume from after a message, of whatever kind; None for one that is of no account."""
    return Place(message.epoch, message.seq) if message.HasField("seq") else None


def prev_of(message: v1.WatchAccountResponse) -> int | None:
    """Return the sequence of the message before; None where any may have been."""
    return message.prev if message.HasField("prev") else None


def change_of(message: v1.WatchAccountResponse) -> Change | None:
    """Return a message as a change; None for a kind that is younger than this client."""
    kind = message.WhichOneof("data")
    if kind is None:
        return None
    return Change(
        kind=kind,
        account=message.account if message.HasField("account") else None,
        place=place_of(message),
        prev=prev_of(message),
        timestamp=moment_of(message.timestamp),
        data=fact_of(_KINDS[kind], getattr(message, kind)),
    )
