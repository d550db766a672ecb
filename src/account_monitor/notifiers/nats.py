"""The P&L of every account on NATS, when it changed and at most once a second each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import msgspec
import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error

from account_monitor.monitor.desk import Desk
from account_monitor.monitor.reports import PnLReport, pnl_report
from account_monitor.monitor.views import Change, View

INTERVAL_SECONDS = 1.0
CONNECT_SECONDS = 2

log = structlog.get_logger()


class PnLNotifier:
    """Publishes the newest P&L report of each account that changed.

    A report is state: what could not be sent while NATS was away is not sent later, the newest one is.
    """

    def __init__(
        self,
        desk: Desk,
        urls: Sequence[str],
        subject: str,
        *,
        credentials_file: Path | None = None,
        ca_file: Path | None = None,
        reconnect_wait_seconds: float = 2.0,
    ) -> None:
        self._desk = desk
        self._urls = list(urls)
        self._subject = subject
        self._credentials_file = credentials_file
        self._ca_file = ca_file
        self._reconnect_wait_seconds = reconnect_wait_seconds
        self._changed: dict[str, View] = {}
        self._told: dict[str, PnLReport] = {}
        """By account, the last report without its time."""
        desk.observe(self._note)

    def _note(self, view: View, _change: Change) -> None:
        self._changed[view.account] = view

    async def run(self) -> None:
        """Publish until cancelled, through every outage."""
        while True:
            try:
                connection = await self._connect()
            except (Error, OSError, TimeoutError) as error:
                log.debug("pnl_not_connected", error=str(error))  # the feed says it aloud
                await asyncio.sleep(self._reconnect_wait_seconds)
                continue
            try:
                await self._publish_while_open(connection)
            finally:
                await connection.close()

    async def _publish_while_open(self, connection: Client) -> None:
        while not connection.is_closed:
            await asyncio.sleep(INTERVAL_SECONDS)
            if connection.is_connected:
                await self._publish(connection)

    async def _publish(self, connection: Client) -> None:
        changed, self._changed = self._changed, {}
        for account in changed.keys() & set(self._desk.accounts):
            view = changed[account]
            report = pnl_report(view)
            figures = msgspec.structs.replace(report, timestamp=None)
            if self._told.get(account) == figures:
                continue
            payload = msgspec.json.encode({"account": account, **msgspec.structs.asdict(report)})
            message_id = f"pnl:{account}:{view.epoch}:{view.seq}:{self._desk.clock()}"
            try:
                await connection.publish(self._subject, payload, headers={"Nats-Msg-Id": message_id})
                self._told[account] = figures
            except (Error, OSError) as error:
                log.warning("pnl_not_published", account=account, error=str(error) or type(error).__name__)
                self._changed.setdefault(account, view)

    async def _connect(self) -> Client:
        return await nats.connect(
            self._urls,
            connect_timeout=CONNECT_SECONDS,
            max_reconnect_attempts=-1,
            reconnect_time_wait=self._reconnect_wait_seconds,
            user_credentials=None if self._credentials_file is None else str(self._credentials_file),
            tls=None if self._ca_file is None else ssl.create_default_context(cafile=str(self._ca_file)),
            error_cb=_ignore,
        )


async def _ignore(error: Exception) -> None:
    """The feed's connection to the same server says it aloud."""
    log.debug("pnl_connection", error=str(error) or type(error).__name__)
