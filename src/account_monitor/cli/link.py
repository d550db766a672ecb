"""Link: the stream of a running service, which comes back by itself and goes on after the last message."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from http.client import responses
from typing import Final
from urllib.parse import urlencode

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from account_monitor.cli.answers import PASSING, advice
from account_monitor.cli.book import Book, Missing
from account_monitor.errors import CommandFailed
from account_monitor.failures import reason

INTERVAL_MS: Final = 250
"""How often prices are told."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
_LONGEST_SINCE = 10_000
"""The service takes addresses of some 16,000 characters, which hundreds of accounts would need."""
_PING_SECONDS = 5.0
"""After twice that a service that says nothing is taken for gone."""

_TOKEN_ENDED = 4401


class Link:
    """Tells a book of everything that happens. `lost_ms` is since when nothing is heard, None while something is."""

    def __init__(
        self,
        url: str,
        account: str | None,
        book: Book,
        *,
        clock: Callable[[], int],
        token: str | None,
        tls: ssl.SSLContext | None,
        changed: Callable[[str | None], None],
    ) -> None:
        """`url` is of the service, http or https; `changed` is called with the account of a snapshot, or None."""
        self._url = f"ws{url.removeprefix('http').rstrip('/')}/ws"
        self._account = account
        self._book = book
        self._clock = clock
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._tls = tls
        self._changed = changed
        self.lost_ms: int | None = clock()
        self.why = "connecting"
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    async def run(self) -> None:
        """Follow the stream until cancelled. Raises: CommandFailed where trying again would change nothing."""
        while True:
            try:
                await self._follow()
            except Missing:
                continue  # at once, from the last message on
            except InvalidStatus as refused:
                self._judge(refused)
            except ConnectionClosed as closed:
                self._lose(_said(closed))
            except (OSError, TimeoutError, InvalidHandshake, WebSocketException) as error:
                if isinstance(error, ssl.SSLCertVerificationError):
                    said = f"{self._url}: {reason(error)}; --ca names whom to trust, --client-cert what to show"
                    raise CommandFailed(said) from error
                self._lose(reason(error))
            await asyncio.sleep(self._pause_seconds * random.uniform(0.75, 1.25))  # noqa: S311  # nothing to guess
            self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _follow(self) -> None:
        """Connect and hear, until the connection ends."""
        since = self._book.since()
        if since is not None and len(since) > _LONGEST_SINCE:
            since = None  # snapshots come instead
        asked = {"account": self._account, "interval_ms": str(INTERVAL_MS), "risk": "true", "since": since}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        async with connect(
            f"{self._url}?{query}", additional_headers=self._headers, ssl=self._tls, max_size=None, compression=None,
            ping_interval=_PING_SECONDS, ping_timeout=_PING_SECONDS, close_timeout=1,
        ) as socket:  # fmt: skip
            while True:
                told = await socket.recv()
                self.lost_ms, self._pause_seconds = None, _FIRST_PAUSE_SECONDS
                self._changed(self._book.hear(told))

    def _lose(self, why: str) -> None:
        self.lost_ms = self._clock() if self.lost_ms is None else self.lost_ms
        self.why = why
        self._changed(None)

    def _judge(self, refused: InvalidStatus) -> None:
        """Note a refusal that may pass. Raises: CommandFailed for the others."""
        status, body = refused.response.status_code, refused.response.body
        said = f"{status} {_detail(bytes(body)) or responses.get(status, 'no answer that HTTP knows')}"
        if status not in PASSING:
            raise CommandFailed(f"{self._url}: {said}{advice(status)}") from refused
        self._lose(said)


class _Problem(msgspec.Struct):
    """What is read here of a refusal."""

    detail: str


def _detail(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Problem).detail
    except msgspec.MsgspecError:
        return None


def _said(closed: ConnectionClosed) -> str:
    """Return why a connection ended. Raises: CommandFailed where the token is not valid any more."""
    if closed.rcvd is None:
        return "the connection was cut"
    if closed.rcvd.code == _TOKEN_ENDED:
        raise CommandFailed("the token is not valid any more") from closed
    return closed.rcvd.reason or f"the service closed the connection ({closed.rcvd.code})"
