"""Answers: what each method answers, made once for each view however often it is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

import msgspec
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from account_monitor.api.accounts import never_held
from account_monitor.api.grpc.calls import Asker, monitor_asked_for, parsed
from account_monitor.api.grpc.messages import message_of, timestamp_of
from account_monitor.api.history import history_report
from account_monitor.api.moments import EARLIEST_MS, FIRST_YEAR, LAST_YEAR, LATEST_MS
from account_monitor.api.problems import bad_parameter
from account_monitor.api.renderer import Renderer
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.reports import (
    account_report,
    balances_report,
    held_report,
    pnl_report,
    positions_report,
    time_text,
)
from account_monitor.monitor.views import View
from account_monitor.v1 import account_monitor_pb2 as v1

MANY_POSITIONS = 100
"""So many take some 4 ms to report and convert."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Rendered:
    """What was made of one view, by what it is."""

    __slots__ = ("made", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.made: dict[str, bytes] = {}


class Answers:
    """Answers the methods that answer once."""

    def __init__(self, desk: Desk, renderer: Renderer) -> None:
        self._desk = desk
        self._renderer = renderer
        self._rendered: WeakKeyDictionary[Monitor, _Rendered] = WeakKeyDictionary()

    async def account_state(self, asker: Asker, body: bytes) -> bytes:
        """Answer the whole account. All but the time of the answer is the same while the view is."""
        request = parsed(v1.GetAccountStateRequest, body)
        monitor = self._monitor(asker, request)
        state = await self._renderer.of(monitor, _state, many=MANY_POSITIONS)
        now = v1.AccountState(timestamp=timestamp_of(time_text(self._desk.clock())))
        return state + now.SerializeToString()  # messages that are put together are merged

    async def position(self, asker: Asker, body: bytes) -> bytes:
        """Answer one position."""
        request = parsed(v1.GetPositionRequest, body)
        monitor = self._monitor(asker, request)
        key = request.symbol
        if not key:
            raise bad_parameter("symbol", "must be given; expected a position key, such as BTCUSDT or BTCUSDT:LONG")
        if key not in monitor.view.positions:
            raise never_held(monitor.name, key)
        return self._part(monitor, f"position {key}", lambda view: message_of(v1.Position, held_report(view.held(key))))

    async def positions(self, asker: Asker, body: bytes) -> bytes:
        """Answer all positions."""
        request = parsed(v1.GetAllPositionsRequest, body)
        return await self._renderer.of(self._monitor(asker, request), _positions, many=MANY_POSITIONS)

    async def pnl(self, asker: Asker, body: bytes) -> bytes:
        """Answer the results of the account."""
        request = parsed(v1.GetPnLRequest, body)
        return self._part(self._monitor(asker, request), "pnl", lambda view: message_of(v1.PnL, pnl_report(view)))

    async def balance(self, asker: Asker, body: bytes) -> bytes:
        """Answer what the wallets hold."""
        request = parsed(v1.GetBalanceRequest, body)
        return self._part(self._monitor(asker, request), "balances", _balances)

    async def pnl_history(self, asker: Asker, body: bytes) -> bytes:
        """Answer P&L over time."""
        request = parsed(v1.GetPnLHistoryRequest, body)
        report = await history_report(
            self._desk,
            self._monitor(asker, request),
            symbol=request.symbol if request.HasField("symbol") else None,
            from_=_moment("from", getattr(request, "from")) if request.HasField("from") else None,
            to=_moment("to", request.to) if request.HasField("to") else None,
            interval=request.interval if request.HasField("interval") else "1h",
        )
        if len(report.buckets) < MANY_POSITIONS:
            return _history(report)
        return await self._renderer.run(_history, report)

    def _monitor(self, asker: Asker, request: Message) -> Monitor:
        account: str | None = request.account if request.HasField("account") else None  # type: ignore[attr-defined]
        return monitor_asked_for(self._desk, asker.caller, account)

    def _of_view(self, monitor: Monitor) -> _Rendered:
        rendered = self._rendered.get(monitor)
        if rendered is None or rendered.view is not monitor.view:
            rendered = self._rendered[monitor] = _Rendered(monitor.view)
        return rendered

    def _part(self, monitor: Monitor, name: str, make: Callable[[View], Message]) -> bytes:
        """Return something small of the newest view."""
        rendered = self._of_view(monitor)
        made = rendered.made.get(name)
        if made is None:
            made = rendered.made[name] = make(rendered.view).SerializeToString()
        return made


def _state(view: View) -> bytes:
    data = msgspec.to_builtins(account_report(view, 0))
    del data["timestamp"]
    return message_of(v1.AccountState, data).SerializeToString()


def _positions(view: View) -> bytes:
    positions = msgspec.to_builtins(positions_report(view))
    return message_of(v1.GetAllPositionsResponse, {"positions": positions}).SerializeToString()


def _balances(view: View) -> Message:
    return message_of(v1.GetBalanceResponse, {"balances": msgspec.to_builtins(balances_report(view))})


def _history(report: msgspec.Struct) -> bytes:
    return message_of(v1.PnLHistory, report).SerializeToString()


def _moment(name: str, stated: Timestamp) -> str:
    """Return a time of a request as REST writes it, to the nanosecond. Raises: Refused."""
    if not (EARLIEST_MS <= stated.seconds * 1000 <= LATEST_MS and 0 <= stated.nanos < 1_000_000_000):
        was = f"was seconds {stated.seconds}, nanos {stated.nanos}"
        allowed = f"seconds of the years {FIRST_YEAR} to {LAST_YEAR} and nanos from 0 to 999999999"
        raise bad_parameter(name, f"{was}, expected {allowed}")
    moment = _EPOCH + timedelta(seconds=stated.seconds)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}.{stated.nanos:09d}Z"
