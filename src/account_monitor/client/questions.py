"""Questions: what can be asked, as the request and the way to read its answer, for both clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from account_monitor.client.changes import Place
from account_monitor.client.facts import AccountState, Balance, PnL, PnLHistory, Position
from account_monitor.client.reading import fact_of
from account_monitor.v1 import account_monitor_pb2 as v1

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Question(NamedTuple, Generic[T]):
    """One call: `read` takes an `answer`."""

    method: str
    request: Message
    answer: type[Message]
    read: Callable[[Any], T]


def about_state(account: str | None) -> Question[AccountState]:
    """Ask for the whole account."""
    request = v1.GetAccountStateRequest(account=account)
    return Question("GetAccountState", request, v1.AccountState, lambda answer: fact_of(AccountState, answer))


def about_position(symbol: str, account: str | None) -> Question[Position]:
    """Ask for one position."""
    request = v1.GetPositionRequest(account=account, symbol=symbol)
    return Question("GetPosition", request, v1.Position, lambda answer: fact_of(Position, answer))


def about_positions(account: str | None) -> Question[Mapping[str, Position]]:
    """Ask for all positions."""

    def read(answer: v1.GetAllPositionsResponse) -> Mapping[str, Position]:
        found = answer.positions
        return MappingProxyType({key: fact_of(Position, found[key]) for key in sorted(found)})

    request = v1.GetAllPositionsRequest(account=account)
    return Question("GetAllPositions", request, v1.GetAllPositionsResponse, read)


def about_pnl(account: str | None) -> Question[PnL]:
    """Ask for the results of the account."""
    return Question("GetPnL", v1.GetPnLRequest(account=account), v1.PnL, lambda answer: fact_of(PnL, answer))


def about_balances(account: str | None) -> Question[Mapping[str, Balance]]:
    """Ask for what the wallets hold."""

    def read(answer: v1.GetBalanceResponse) -> Mapping[str, Balance]:
        found = answer.balances
        return MappingProxyType({asset: fact_of(Balance, found[asset]) for asset in sorted(found)})

    return Question("GetBalance", v1.GetBalanceRequest(account=account), v1.GetBalanceResponse, read)


def about_history(
    symbol: str | None, from_: datetime | None, to: datetime | None, interval: str | None, account: str | None
) -> Question[PnLHistory]:
    """Ask for P&L over time."""
    request = v1.GetPnLHistoryRequest(account=account, symbol=symbol, to=_timestamp("to", to), interval=interval)
    if from_ is not None:
        getattr(request, "from").CopyFrom(_timestamp("from_", from_))
    return Question("GetPnLHistory", request, v1.PnLHistory, lambda answer: fact_of(PnLHistory, answer))


def to_watch(account: str | None, since: Place | None, interval_seconds: float | None) -> v1.WatchAccountRequest:
    """Return the request of a client that watches."""
    return v1.WatchAccountRequest(
        account=account,
        since=None if since is None else v1.Place(epoch=since.epoch, seq=since.seq),
        interval_ms=None if interval_seconds is None else round(interval_seconds * 1000),
    )


def _timestamp(name: str, moment: datetime | None) -> Timestamp | None:
    """Raises: ValueError for a time that does not say where it is meant."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"{name} was {moment!r}, expected a time with a time zone, such as datetime.now(UTC)")
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)
