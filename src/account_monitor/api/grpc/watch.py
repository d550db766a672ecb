"""Watch: tells one client everything that happens to an account: the messages of `/ws`, as messages of gRPC."""

from __future__ import annotations

import asyncio

import msgspec

from account_monitor.api.access import Caller
from account_monitor.api.grpc.calls import Asker, Calls, Context, monitor_asked_for, parsed
from account_monitor.api.grpc.messages import message_of, timestamp_of
from account_monitor.api.grpc.statuses import STOPPING, TOO_SLOW
from account_monitor.api.problems import UNKNOWN_ACCOUNT, Refused, bad_parameter
from account_monitor.api.publisher import Publisher, Subscriber
from account_monitor.api.stream import Message, Notice
from account_monitor.api.websocket import LEAST_INTERVAL_MS, LONGEST_INTERVAL_MS, USUAL_INTERVAL_MS
from account_monitor.monitor.desk import Desk
from account_monitor.v1 import account_monitor_pb2 as v1

LOOK_SECONDS = 0.25
"""How often it is looked whether a client is to be sent away."""

_KINDS = {
    "snapshot": v1.AccountState,
    "balance_update": v1.Balance,
    "fill": v1.Fill,
    "alert": v1.Alert,
    "reconciliation": v1.Reconciliation,
    "pnl_update": v1.PnL,
    "health": v1.Health,
}


class Watching:
    """Serves the clients that watch."""

    def __init__(self, desk: Desk, publisher: Publisher, calls: Calls) -> None:
        self._desk = desk
        self._publisher = publisher
        self._calls = calls
        self.is_stopping = False
        """Set when all clients are to be sent away."""

    async def watch(self, asker: Asker, body: bytes, context: Context) -> None:
        """Tell one client until it leaves. Raises: Refused when it has to."""
        watcher = self._watcher(asker, parsed(v1.WatchAccountRequest, body), context)
        self._publisher.subscribe(watcher.subscriber)
        telling = asyncio.create_task(watcher.subscriber.run(), name="watcher")
        try:
            while not (await asyncio.wait([telling], timeout=LOOK_SECONDS))[0]:
                self._check(asker, watcher)
            telling.result()  # it ends by failing only
        finally:
            self._publisher.unsubscribe(watcher.subscriber)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    def _watcher(self, asker: Asker, request: v1.WatchAccountRequest, context: Context) -> _Watcher:
        account = monitor_asked_for(
            self._desk, asker.caller, request.account if request.HasField("account") else None
        ).name
        interval_ms = request.interval_ms if request.HasField("interval_ms") else USUAL_INTERVAL_MS
        if not LEAST_INTERVAL_MS <= interval_ms <= LONGEST_INTERVAL_MS:
            allowed = f"milliseconds from {LEAST_INTERVAL_MS} to {LONGEST_INTERVAL_MS}"
            raise bad_parameter("interval_ms", f"was {interval_ms}, expected {allowed}")
        since = {account: (request.since.epoch, request.since.seq)} if request.HasField("since") else {}
        return _Watcher(self._publisher, context, asker.caller, account, since, interval_ms / 1000)

    def _check(self, asker: Asker, watcher: _Watcher) -> None:
        """Raises: Refused where a client may not go on."""
        if self.is_stopping:
            raise Refused(STOPPING, "the service stops; watch again with `since` of the last message")
        if watcher.is_cut:
            raise Refused(TOO_SLOW, "nothing was taken for too long; watch again with `since` of the last message")
        if watcher.account not in self._desk.accounts:
            raise Refused(UNKNOWN_ACCOUNT, f"account: {watcher.account!r} is not configured any more")
        self._calls.check_again(asker)


class _Watcher:
    """One client: what it watches, and whether it was cut off."""

    def __init__(
        self,
        publisher: Publisher,
        context: Context,
        caller: Caller,
        account: str,
        since: dict[str, tuple[int, int]],
        interval_seconds: float,
    ) -> None:
        self.account = account
        self.is_cut = False
        self._write = context.write
        self.subscriber = Subscriber(
            publisher,
            send=self._send,
            abort=self._cut,
            account=account,
            since=since,
            interval_seconds=interval_seconds,
            caller=caller,
        )

    async def _send(self, notices: list[Notice]) -> None:
        for notice in notices:
            await self._write(wire(notice))  # one at a time: the next is written once the client took this one
            self.subscriber.took()

    def _cut(self) -> None:
        self.is_cut = True


def wire(notice: Notice) -> bytes:
    """Return a serialized WatchAccountResponse. What all clients are told is made once; messages put together merge."""
    channel, message = notice.channel, notice.message
    if message.wire is None:
        message.wire = _shared_part(message)
    if channel is None:
        return message.wire
    own = v1.WatchAccountResponse(
        account=channel.account, epoch=channel.epoch, seq=message.seq, prev=notice.prev
    ).SerializeToString()
    return own + message.wire


def _shared_part(message: Message) -> bytes:
    """Return what a message says, from the JSON that the WebSocket tells, so that the two cannot differ."""
    told = msgspec.json.decode(f"{{{message.tail[1:]}")
    data = told["data"]
    if message.kind == "position_update":
        key = data.pop("key")
        content: object = v1.PositionUpdate(key=key, position=message_of(v1.Position, data))
    else:
        content = message_of(_KINDS[message.kind], data)
    response = v1.WatchAccountResponse(timestamp=timestamp_of(told["timestamp"]), **{message.kind: content})  # type: ignore[arg-type]
    return response.SerializeToString()
