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

_CALM_SECONDS: Final = 30.0
"""After so long without a message that is missing, the next one is taken for the first."""

_TOKEN_ENDED = 4401


class Link:
    """Tells a book of everything that happens."""

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
        self._is_connected = False
        self._heard_ms = self._lost_ms = clock()
        self.why = "connecting"
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._misses, self._missed_at = 0, 0.0

    @property
    def lost_ms(self) -> int | None:
        """Since when nothing is heard of any account; None while something is, or while there is nothing to be told.

        That a service answers does not make older figures those of now: it may be reading the journal still.
        """
        is_heard = self._is_connected and (self._book.told or not self._book.pages)
        return None if is_heard else self._lost_ms

    async def run(self) -> None:
        """Follow the stream until cancelled. Raises: CommandFailed where trying again would change nothing."""
        while True:
            try:
                await self._follow()
            except Missing:
                await self._go_back()
                continue
            except InvalidStatus as refused:
                self._judge(refused)
            except ConnectionClosed as closed:
                if closed.rcvd is not None or closed.sent is None:  # else a ping was not answered
                    self._heard_ms = self._clock()
                self._lose(_said(closed))
            except (OSError, TimeoutError, InvalidHandshake, WebSocketException) as error:
                if isinstance(error, ssl.SSLCertVerificationError):
                    said = f"{self._url}: {reason(error)}; --ca names whom to trust, --client-cert what to show"
                    raise CommandFailed(said) from error
                self._lose(reason(error))
            await _pause(self._pause_seconds)
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
            told = await socket.recv()
            self._begin_anew()
            while True:
                self._heard_ms, self._pause_seconds = self._clock(), _FIRST_PAUSE_SECONDS
                self._changed(self._book.hear(told))
                told = await socket.recv()

    def _begin_anew(self) -> None:
        """Begin with the first message of a connection."""
        self._lose("it answers, and has not told of an account yet")
        self._book.begin_anew()
        self._is_connected = True

    async def _go_back(self) -> None:
        """Go on from the last message: at once the first time, and no more so if messages are missing again soon."""
        now = asyncio.get_running_loop().time()
        self._misses = self._misses + 1 if now - self._missed_at < _CALM_SECONDS else 1
        self._missed_at = now
        if self._misses > 1:
            self._lose("the stream leaves out messages, again and again")
            await _pause(min(_FIRST_PAUSE_SECONDS * 2 ** (self._misses - 2), _LONGEST_PAUSE_SECONDS))

    def _lose(self, why: str) -> None:
        """Take what is known for old: of when something was heard last, not of when that was noticed."""
        self._lost_ms = self._heard_ms if self.lost_ms is None else self._lost_ms
        self._is_connected = False
        self.why = why
        self._changed(None)

    def _judge(self, refused: InvalidStatus) -> None:
        """Note a refusal that may pass. Raises: CommandFailed for the others."""
        status, body = refused.response.status_code, refused.response.body
        said = f"{status} {_detail(bytes(body)) or responses.get(status, 'no answer that HTTP knows')}"
        if status not in PASSING:
            raise CommandFailed(f"{self._url}: {said}{advice(status)}") from refused
        self._lose(said)


async def _pause(seconds: float) -> None:
    """Wait about so long: not all at the same time."""
    await asyncio.sleep(seconds * random.uniform(0.75, 1.25))  # noqa: S311  # nothing to guess


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
