"""Client: what account-monitor knows, for other programs, over gRPC.

    from account_monitor.client import Client

    with Client("127.0.0.1:50051") as monitor:
        print(monitor.position("BTCUSDT").quantity)

Answers are frozen, numbers are `Decimal` to the last digit, times are aware `datetime`s in UTC. None is not known,
never zero. `AsyncClient` has the same methods for asyncio. Nothing of the service itself is imported.
"""

from account_monitor.client.asynchronous import AsyncClient
from account_monitor.client.changes import Change, Disconnected, Place
from account_monitor.client.errors import (
    CallFailed,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from account_monitor.client.facts import (
    AccountState,
    Alert,
    Balance,
    Bucket,
    Check,
    Comparison,
    Drift,
    Extremes,
    Figures,
    Fill,
    Finding,
    Health,
    PnL,
    PnLHistory,
    Pool,
    Position,
    PositionUpdate,
    Quarantine,
    Reconciliation,
    Risk,
    StandingCorrection,
    VenueMargin,
)
from account_monitor.client.line import Tls
from account_monitor.client.synchronous import Client

__all__ = [
    "AccountState",
    "Alert",
    "AsyncClient",
    "Balance",
    "Bucket",
    "CallFailed",
    "Change",
    "Check",
    "Client",
    "Comparison",
    "Disconnected",
    "Drift",
    "Extremes",
    "Figures",
    "Fill",
    "Finding",
    "Health",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "Place",
    "PnL",
    "PnLHistory",
    "Pool",
    "Position",
    "PositionUpdate",
    "Quarantine",
    "Reconciliation",
    "ResourceExhausted",
    "Risk",
    "StandingCorrection",
    "TimedOut",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "VenueMargin",
]
