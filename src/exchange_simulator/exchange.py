"""The exchange: one venue behind its REST interface and its WebSockets, with faults. No I/O, no clock of its own.

Give it requests and connections, put out what it hands to their `output`, and call `advance` at `next_due_ms`. In
memory, with a clock that jumps, months pass in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from exchange_simulator import market_data, reports
from exchange_simulator.accounts import Account
from exchange_simulator.connection import Connection, World
from exchange_simulator.faults import Faults
from exchange_simulator.keys import ListenKey, ListenKeys
from exchange_simulator.limits import Limited, Limits
from exchange_simulator.rest import Rest
from exchange_simulator.rest_faults import limited_reply
from exchange_simulator.streams import Legacy, StreamConnection, read_url
from exchange_simulator.venue import Venue
from exchange_simulator.wire import (
    Binary,
    Close,
    Cut,
    Output,
    Ping,
    Pong,
    Refused,
    Reply,
    Request,
    Text,
    error_reply,
    to_json,
)
from exchange_simulator.ws_api import ApiConnection

__all__ = [
    "Binary", "Close", "Connection", "Cut", "Exchange", "Output", "Ping", "Pong", "Refused", "Reply", "Request", "Text",
]  # fmt: skip

_SPOT_WEIGHT = 6000
_API_HANDSHAKE_WEIGHT = 5


class Exchange:
    """Everything that clients can reach. `legacy_streams` says what comes on unrouted WebSocket URLs."""

    def __init__(
        self,
        venue: Venue,
        *,
        seed: int,
        faults: Faults | None = None,
        legacy_streams: Legacy = "public-only",
        weight_a_minute: int = 2400,
    ) -> None:
        self.venue = venue
        self.faults = faults if faults is not None else Faults(seed)
        self.keys = ListenKeys(venue.now, seed)
        self.limits = Limits(venue.now, weight_a_minute=weight_a_minute)
        self.spot_limits = Limits(venue.now, weight_a_minute=_SPOT_WEIGHT)
        self.rest = Rest(
            venue, keys=self.keys, limits=self.limits, spot_limits=self.spot_limits, faults=self.faults
        )  # fmt: skip
        self._legacy = legacy_streams
        self._connections: list[StreamConnection | ApiConnection] = []
        self._slow_second = venue.now() // market_data.SLOW_MS
        self._update_id = 0
        self.defects = 0
        """Requests that ended in an error of the simulator's own; whoever serves them counts them."""
        self.refused_handshakes = 0
        self.opened = 0
        """Connections since the beginning."""
        venue.on_user_event.append(self._tell_account)
        venue.on_mark_prices.append(self._tell_mark_prices)

    # -- what comes in

    def handle(self, request: Request) -> Reply:
        """Answer an HTTP request; never raises, whatever was sent."""
        return self.rest.handle(request)

    def connect(
        self, path: str, query: str, output: Callable[[Output], None], ip: str = "127.0.0.1"
    ) -> StreamConnection | ApiConnection:
        """Open a WebSocket; `output` is called with everything that is to be put on it. Raises: Refused."""
        try:
            connection = self._open(path, query, output, ip)
        except Refused:
            self.refused_handshakes += 1
            raise
        self._connections = [known for known in self._connections if known.is_open]
        self._connections.append(connection)
        self.opened += 1
        return connection

    def _open(
        self, path: str, query: str, output: Callable[[Output], None], ip: str
    ) -> StreamConnection | ApiConnection:
        path = path.rstrip("/")
        is_spot = path == "/ws-api/v3"
        world = World(self.venue.now, self.faults, self.spot_limits if is_spot else self.limits)
        self._check_handshake(path, ip, world.limits)
        if path in ("/ws-api/v3", "/ws-fapi/v1"):
            return ApiConnection(world, output, self.rest, self.keys, ip=ip, is_spot=is_spot)
        opening = read_url(path, query, self._legacy)
        return StreamConnection(world, output, opening, ip=ip, account_of=self.keys.account_of)

    def _check_handshake(self, path: str, ip: str, limits: Limits) -> None:
        now = self.venue.now()
        if limits.is_banned(ip):
            limits.violations += 1
            raise Refused(limited_reply(limits.banned(ip)))
        if self.faults.strikes("hang_connect", now, path=path):
            raise Refused(Reply(503, {}, b"", fate="hang"))
        if ban := self.faults.strikes("ban_connect", now, path=path):
            raise Refused(limited_reply(limits.ban(ip, ban["ban_seconds"])))
        if refusal := self.faults.strikes("refuse_connect", now, path=path):
            raise Refused(error_reply(refusal["status"], -1001, "Internal error; unable to process your request."))
        if path == "/ws-fapi/v1":
            try:
                limits.take(ip, _API_HANDSHAKE_WEIGHT)
            except Limited as limited:
                raise Refused(limited_reply(limited)) from None

    # -- time

    def advance(self) -> None:
        """Do what is due: the venue's business, keys that expire, frames that waited, pings, ends of connections."""
        self.rest.settle()
        self.venue.advance()
        self.rest.countdown.advance()
        for expired in self.keys.take_expired():
            self._tell_expiry(expired)
        now = self.venue.now()
        for connection in self._connections:
            if connection.next_due_ms() <= now:
                connection.advance()
        self._connections = [known for known in self._connections if known.is_open]

    def next_due_ms(self) -> int | None:
        """Return when `advance` has something to do next."""
        times = [self.venue.next_due_ms(), self.keys.next_due_ms(), self.rest.countdown.next_due_ms()]
        times += [connection.next_due_ms() for connection in self._connections if connection.is_open]
        return min((at_ms for at_ms in times if at_ms is not None), default=None)

    # -- what happens to accounts and connections, at will

    def expire_key(self, api_key: str, *, silently: bool = False) -> bool:
        """Make the listen key of an account invalid now. Return whether it had one."""
        known = self.keys.current(api_key)
        if known is None:
            return False
        self.keys.forget(known)
        if not silently:
            self._tell_expiry(known)
        return True

    def disconnect(self, api_key: str | None = None, code: int = 1001) -> int:
        """End the connections of an account, or all; code 1006: without a close frame. Return how many."""
        chosen = [known for known in self._connections if known.is_open and api_key in (None, known.account)]
        for connection in chosen:
            connection.end(Cut() if code == 1006 else Close(code))
        return len(chosen)

    def statistics(self) -> dict[str, Any]:
        """Return what clients did so far, and how they behaved."""
        requests = [
            {"method": method, "path": path, "status": status, "count": count}
            for (method, path, status), count in sorted(self.rest.counts.items())
        ]
        return {
            "requests": requests,
            "violations": self.limits.violations + self.spot_limits.violations,
            "connections_open": sum(known.is_open for known in self._connections),
            "connections_opened": self.opened,
            "handshakes_refused": self.refused_handshakes,
            "defects": self.defects,
            "faults_struck": dict(sorted(self.faults.struck.items())),
        }

    # -- what others hear

    def _tell_account(self, account: Account, event: Mapping[str, Any]) -> None:
        api_key, now = account.api_key, self.venue.now()
        self.rest.snapshots.note_change(api_key)
        if not self._connections:
            return
        data, kind = to_json(event), str(event["e"])
        for connection in list(self._connections):
            if isinstance(connection, StreamConnection):
                connection.send_user(api_key, kind, data)
        for name, trade in market_data.trade_messages(event):
            self._publish(name, trade)
        if self.faults.strikes("key_expired", now, account=api_key):
            self.expire_key(api_key)
        if self.faults.strikes("key_dead", now, account=api_key):
            self.expire_key(api_key, silently=True)

    def _tell_expiry(self, known: ListenKey) -> None:
        data = to_json({"e": "listenKeyExpired", "E": self.venue.now(), "listenKey": known.key})
        for connection in list(self._connections):
            if isinstance(connection, StreamConnection):
                connection.send_expiry(known.key, known.api_key, data)

    def _tell_mark_prices(self, rows: list[dict[str, Any]]) -> None:
        names = {
            name for known in self._connections if isinstance(known, StreamConnection) for name in known.names()
        }  # fmt: skip
        now = self.venue.now()
        slow = now // market_data.SLOW_MS != self._slow_second
        self._slow_second = now // market_data.SLOW_MS
        if not names:
            return
        for name, data in market_data.mark_price_messages(rows, names, slow=slow):
            self._publish(name, data)
        if any(name.endswith("ookTicker") for name in names):
            self._update_id += 1
            tickers = reports.book_ticker(self.venue)
            assert isinstance(tickers, list), "one symbol was not asked for"
            for name, data in market_data.book_ticker_messages(tickers, now, self._update_id):
                self._publish(name, data)

    def _publish(self, name: str, data: str) -> None:
        for connection in list(self._connections):
            if isinstance(connection, StreamConnection) and connection.takes(name):
                connection.send_market(name, data)
