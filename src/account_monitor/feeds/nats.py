"""NATS: fills and prices from a NATS server, through every outage.

Where a JetStream stream covers a subject it is read from there, beginning to end; else core NATS is listened to.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.connection import NATS_ERRORS, Connection, Received
from account_monitor.feeds.progress import Progress, StreamGap
from account_monitor.feeds.routing import Router
from account_monitor.feeds.session import CORE_SOURCE, Session, Subjects
from account_monitor.feeds.status import FeedStatus
from account_monitor.feeds.wire import price_from_json
from account_monitor.monitor.inbox import Inboxes
from account_monitor.monitor.ports import MALFORMED_EVENT, Clock, Delivery, PriceSink, StreamPosition

LOOK_SECONDS = 1.0
"""Between two looks at the streams: a new one is found, and progress through what is not ours noted, this often."""

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")

RecordedPositions: TypeAlias = Mapping[str, Mapping[str, StreamPosition]]
"""By account (the unrouted one under its reserved name) and source: how far its journal has seen it."""


class NatsFeed:
    """Puts the fills of a NATS server into the inboxes, and its prices into the sink, until it is cancelled."""

    def __init__(
        self,
        url: str,
        *,
        inboxes: Inboxes,
        prices: PriceSink,
        recorded: RecordedPositions,
        clock: Clock,
        fills_subject: str = "trading.fills",
        prices_subject: str = "trading.prices",
        credentials_file: str | None = None,
        ca_file: str | None = None,
        reconnect_wait_seconds: float = 2.0,
        look_seconds: float = LOOK_SECONDS,
        durable: str = "account-monitor",
        on_gap: Callable[[StreamGap], None] | None = None,
    ) -> None:
        """`url` may be several, separated by commas. `clock` is the latest that is known.

        `durable` names the consumer on streams that drop what was acknowledged: two instances need two names.
        """
        self._urls = url.split(",")
        self._inboxes = inboxes
        self._prices = prices
        self._recorded = recorded
        self._subjects = Subjects((fills_subject, f"{fills_subject}.*"), prices_subject, self._take_price)
        self._credentials_file = credentials_file
        self._ca_file = ca_file
        self._reconnect_wait_seconds = reconnect_wait_seconds
        self._look_seconds = look_seconds
        self._durable = _NOT_IN_A_NAME.sub("-", durable)
        self._router = Router(inboxes, fills_subject, clock=clock)
        self._progress: dict[str, Progress] = {}
        self._session: Session | None = None
        modes = dict.fromkeys(self._subjects.fills, "none")
        self.status = FeedStatus(modes=modes, received=self._router.received, on_gap=on_gap)

    async def run(self) -> None:
        """Feed until cancelled."""
        while True:
            connection = Connection()
            try:
                await self._open(connection)
                self._session = self._session_over(connection)
                await self._session.run()
            except NATS_ERRORS as error:
                self.status.note_error(error)
            finally:
                self._session = None
                self.status.connected = False
                await connection.shut()
            await asyncio.sleep(self._reconnect_wait_seconds)

    async def accounts_changed(self, recorded: RecordedPositions) -> None:
        """Read for accounts whose inbox was opened, from their recorded positions; leave those that were closed."""
        self._recorded = recorded
        for progress in self._progress.values():
            progress.update(recorded)
        if self._session is not None:
            self._session.restart("the accounts have changed")

    async def _open(self, connection: Connection) -> None:
        await connection.open(
            self._urls,
            credentials_file=self._credentials_file,
            ca_file=self._ca_file,
            reconnect_wait_seconds=self._reconnect_wait_seconds,
            on_disconnect=self.status.note_disconnected,
            on_reconnect=self._reconnected,
            on_error=self.status.note_error,
        )
        self.status.note_connected(again=False)

    def _session_over(self, connection: Connection) -> Session:
        return Session(
            connection,
            self._subjects,
            router=self._router,
            progress_of=self._progress_of,
            status=self.status,
            durable=self._durable,
            look_seconds=self._look_seconds,
        )

    def _reconnected(self) -> None:
        self.status.note_connected(again=True)
        if self._session is not None:
            self._session.restart("the connection was made anew")

    def _progress_of(self, stream: str) -> Progress:
        progress = self._progress.get(stream)
        if progress is None:
            progress = self._progress[stream] = Progress(stream, self._inboxes)
            progress.update(self._recorded)
        return progress

    def _take_price(self, message: Received) -> None:
        try:
            mark = price_from_json(message.payload)
        except MalformedEvent as error:
            self._park(message, error.reason)
            return
        self.status.received["price"] += 1
        self._prices.mark(mark.symbol, mark.price, mark.at_ms)

    def _park(self, message: Received, reason: str) -> None:
        self.status.received[MALFORMED_EVENT] += 1
        unrouted = self._inboxes.unrouted
        if not unrouted.is_full:  # prices do not wait for room
            subject = message.subject.decode(errors="backslashreplace")
            unrouted.put(Delivery(CORE_SOURCE, subject, message.payload, None, 0, MALFORMED_EVENT, reason))
