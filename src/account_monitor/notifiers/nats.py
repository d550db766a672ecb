"""What the desk's other services hear on NATS: the P&L of every account when it changed, and every alert."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec
import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error, NoRespondersError
from nats.js.errors import NotFoundError, ServiceUnavailableError

from account_monitor.errors import JournalError
from account_monitor.ledger.alerts import Alert
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import StreamPosition
from account_monitor.monitor.reports import PnLReport, alert_report, pnl_report
from account_monitor.monitor.views import Change, View
from account_monitor.notifiers.complaints import Complaints

INTERVAL_SECONDS = 1.0
"""Between two reports of one account."""

LOOK_SECONDS = 1.0
"""How often accounts are looked for that are new."""

ALERTS_PUBLISHED = "out:nats:alerts"
"""The source under which a journal records how far its alerts were published."""

CONNECT_SECONDS = 2
CHECK_SECONDS = 0.02
"""How often it is asked whether an account is still held here while the server has not confirmed its report."""

ANSWER_SECONDS = 2
"""How long the server may take to confirm: after a connection that broke unnoticed, people should not wait longer."""

log = structlog.get_logger()


class Server(NamedTuple):
    """Where a NATS server is, and how it is reached."""

    urls: tuple[str, ...]
    credentials_file: Path | None = None
    ca_file: Path | None = None
    reconnect_wait_seconds: float = 2.0

    async def serve(self, use: Callable[[Client], Awaitable[None]]) -> None:
        """Let a connection be used until it is closed, then the next, until cancelled."""
        while True:
            try:
                connection = await self._connect()
            except (Error, OSError, TimeoutError) as error:
                log.debug("notifier_not_connected", error=str(error))  # the feed says it aloud
            else:
                try:
                    await use(connection)
                finally:
                    await connection.close()
            await asyncio.sleep(self.reconnect_wait_seconds)

    async def _connect(self) -> Client:
        return await nats.connect(
            list(self.urls),
            connect_timeout=CONNECT_SECONDS,
            allow_reconnect=False,  # it would send what waited, of which nobody knows whether it was sent before
            user_credentials=None if self.credentials_file is None else str(self.credentials_file),
            tls=None if self.ca_file is None else ssl.create_default_context(cafile=str(self.ca_file)),
            error_cb=_ignore,
        )


def cut(connection: Client) -> None:
    """End a connection so that nothing arrives any more that the server has not taken yet.

    A plain close lets the kernel go on repeating it, for minutes: it would come after what a successor says.
    """
    writer = getattr(connection._transport, "_io_writer", None)
    if writer is None:
        return  # it was never made
    connection._pending, connection._pending_data_size = [], 0  # else `close` sends it
    if (wire := writer.get_extra_info("socket")) is not None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # discard, and reset
    writer.transport.abort()


async def _ignore(error: Exception) -> None:
    """The feed's connection to the same server says it aloud."""
    log.debug("notifier_connection", error=str(error) or type(error).__name__)


class PnLNotifier:
    """Publishes the newest P&L report of each account that changed, at most once a second each.

    A report is state: what could not be sent while NATS was away is not sent later, the newest one is. And what the
    server has not confirmed by the time that this process speaks for its account no more, it never gets.
    """

    def __init__(self, desk: Desk, server: Server, subject: str) -> None:
        self._desk = desk
        self._server = server
        self._subject = subject
        self._changed: dict[str, View] = {}
        self._told: dict[str, PnLReport] = {}
        """By account, the last report without its time."""
        desk.observe(self._note)

    def _note(self, view: View, _change: Change) -> None:
        self._changed[view.account] = view

    async def run(self) -> None:
        """Publish until cancelled, through every outage."""
        await self._server.serve(self._publish_while_open)

    async def _publish_while_open(self, connection: Client) -> None:
        while not connection.is_closed:
            await asyncio.sleep(INTERVAL_SECONDS)
            if connection.is_connected and (sent := await self._publish(connection)):
                await self._confirm(connection, sent)

    async def _confirm(self, connection: Client, sent: dict[Monitor, View]) -> None:
        """Wait until the server has what was sent; cut the connection where it may come too late."""
        flushing = asyncio.create_task(connection.flush(ANSWER_SECONDS))
        try:
            # Asked before the first wait: until then nothing was written, and the process may have been stopped.
            while all(monitor.speaks() for monitor in sent):
                if (await asyncio.wait([flushing], timeout=CHECK_SECONDS))[0]:
                    break
            if flushing.done():
                flushing.result()
                return
            reason = "not confirmed while the account was held here"
        except (Error, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
        finally:
            flushing.cancel()
        cut(connection)
        log.warning("pnl_not_confirmed", accounts=[monitor.name for monitor in sent], reason=reason)
        for monitor, view in sent.items():
            self._told.pop(monitor.name, None)
            self._changed.setdefault(monitor.name, view)

    async def _publish(self, connection: Client) -> dict[Monitor, View]:
        """Send what changed; return of which accounts, and as of which views."""
        changed, self._changed = self._changed, {}
        sent: dict[Monitor, View] = {}
        for account in changed.keys() & set(self._desk.accounts):
            view, monitor = changed[account], self._desk.monitor(account)
            if monitor is None:
                continue  # it was handed to another process
            if not monitor.speaks():
                self._changed.setdefault(account, view)
                continue
            report = pnl_report(view)
            figures = msgspec.structs.replace(report, timestamp=None)
            if self._told.get(account) == figures:
                continue
            payload = msgspec.json.encode({"account": account, **msgspec.structs.asdict(report)})
            message_id = f"pnl:{account}:{view.epoch}:{view.seq}:{self._desk.clock()}"
            try:
                await connection.publish(self._subject, payload, headers={"Nats-Msg-Id": message_id})
                self._told[account] = figures
                sent[monitor] = view
            except (Error, OSError) as error:
                log.warning("pnl_not_published", account=account, error=str(error) or type(error).__name__)
                self._changed.setdefault(account, view)
        return sent


class AlertNotifier:
    """Publishes every journaled transition of every alert, in the order of the journal, none left out.

    How far that is done is recorded in the journal itself, within a second. After a crash what was published since is
    published once more, under the same id. A journal that has no such record begins with its first alert. What cannot
    be journaled now, as on a full disk, is published all the same, and once more when it is, under the same id.
    """

    def __init__(
        self,
        desk: Desk,
        server: Server,
        subject: str,
        *,
        unrecorded: Callable[[str], list[Alert]] = lambda account: [],
    ) -> None:
        """`unrecorded` returns the transitions of an account that its journal cannot take now."""
        self._desk = desk
        self._unrecorded = unrecorded
        self._told_unrecorded: set[tuple[str, str]] = set()
        """(account, `told_id`) of what was published although it is not journaled, while that lasts."""
        self._server = server
        self._subject = subject
        self._published: WeakKeyDictionary[Monitor, int] = WeakKeyDictionary()
        """The sequence of the last alert of each account that was published."""
        self._news: set[str] = set()
        """Accounts whose journals may hold alerts that were not published."""
        self._wake = asyncio.Event()
        self._complaints = Complaints("alerts_not_published")
        """About accounts; about nothing: what is in no journal."""
        desk.observe(self._note)

    def _note(self, view: View, change: Change) -> None:
        if change.recorded is not None and any(type(entry.event) is Alert for entry in change.recorded.entries):
            self._news.add(view.account)
            self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled, through every outage."""
        await self._server.serve(self._publish_while_open)

    async def _publish_while_open(self, connection: Client) -> None:
        while not connection.is_closed:
            self._wake.clear()
            for monitor in self._behind():
                try:
                    is_stored = await _is_stored(connection, self._subject)  # a stream may be made at any time
                    await self._publish(connection, monitor, is_stored=is_stored)
                    self._complaints.withdraw(monitor.name)
                except JournalError as error:  # the others' alerts can be published all the same
                    self._retry(monitor, error)
                except (Error, OSError, TimeoutError) as error:
                    self._retry(monitor, error)
                    return
            await self._publish_unrecorded(connection)
            await self._wait()

    def _retry(self, monitor: Monitor, error: Exception) -> None:
        """Read the alerts of an account once more with the next look."""
        self._news.add(monitor.name)
        if self._desk.monitor(monitor.name) is monitor:  # else it was removed meanwhile
            self._complaints.say(monitor.name, str(error) or type(error).__name__, account=monitor.name)
        else:
            self._complaints.withdraw(monitor.name)

    async def _publish_unrecorded(self, connection: Client) -> None:
        """Publish what is not in a journal; whatever fails is tried again with the next look."""
        found = {
            (account, alert.told_id): alert for account in self._desk.accounts for alert in self._unrecorded(account)
        }
        self._told_unrecorded &= found.keys()
        try:
            for key, alert in found.items():
                if key not in self._told_unrecorded:
                    await self._send(connection, key[0], alert, is_stored=await _is_stored(connection, self._subject))
                    await connection.flush(ANSWER_SECONDS)
                    self._told_unrecorded.add(key)
            self._complaints.withdraw("")
        except (Error, OSError, TimeoutError) as error:
            self._complaints.say("", str(error) or type(error).__name__)

    def _behind(self) -> list[Monitor]:
        """Return the monitors of configured accounts whose journals may hold something to publish."""
        monitors = [self._desk.monitor(account) for account in self._desk.accounts]
        return [
            monitor
            for monitor in monitors
            if monitor is not None and (monitor not in self._published or monitor.name in self._news)
        ]

    async def _publish(self, connection: Client, monitor: Monitor, *, is_stored: bool) -> None:
        self._news.discard(monitor.name)
        seq = self._published.get(monitor)
        if seq is None:
            recorded = monitor.journal.positions.get(ALERTS_PUBLISHED)
            seq = self._published[monitor] = 0 if recorded is None else recorded.sequence
        while entries := await asyncio.to_thread(monitor.journal.remarks_after, "alert", seq):
            for entry in entries:
                assert isinstance(entry.event, Alert)  # the journal was asked for alerts
                await self._send(connection, monitor.name, entry.event, is_stored=is_stored)
            await connection.flush(ANSWER_SECONDS)  # the server has them all
            seq = self._published[monitor] = entries[-1].seq
            monitor.inbox.see(StreamPosition(ALERTS_PUBLISHED, "", seq))

    async def _send(self, connection: Client, account: str, alert: Alert, *, is_stored: bool) -> None:
        payload = msgspec.json.encode(alert_report(account, alert))
        headers = {"Nats-Msg-Id": alert.told_id}
        if is_stored:
            await connection.jetstream(timeout=ANSWER_SECONDS).publish(self._subject, payload, headers=headers)
        else:
            await connection.publish(self._subject, payload, headers=headers)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return  # accounts may have come


async def _is_stored(connection: Client, subject: str) -> bool:
    """Whether a stream keeps what is published there, and says so each time. Raises: Error, TimeoutError."""
    try:
        await connection.jetstream(timeout=ANSWER_SECONDS).find_stream_name_by_subject(subject)
    except (NotFoundError, NoRespondersError, ServiceUnavailableError) as error:
        log.debug("alerts_not_stored", subject=subject, reason=str(error) or type(error).__name__)
        return False  # no stream, or a server without streams
    return True
