"""WebSocket: the door to the stream. Reads what the client wants from the query, then only sends."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import parse_qsl

import structlog

from account_monitor.api.access import Access
from account_monitor.api.accounts import account_meant, monitor_meant
from account_monitor.api.asgi import Receive, Scope, Send
from account_monitor.api.credentials import caller_of, subprotocol_of
from account_monitor.api.problems import Refused, bad_parameter
from account_monitor.api.protocol import LINE, Line
from account_monitor.api.publisher import Publisher, Subscriber
from account_monitor.api.sight import desk_seen_by
from account_monitor.api.stream import Notice
from account_monitor.monitor.desk import Desk

MAX_HEARD = 16
"""Messages that a client may send, for nothing, before it is told that nobody listens."""

LEAST_INTERVAL_MS, USUAL_INTERVAL_MS, LONGEST_INTERVAL_MS = 50, 1_000, 3_600_000
_PARAMETERS = ("account", "since", "interval_ms", "risk")
_UNSUPPORTED_DATA = 1003
_TOKEN_ENDED = 4401
"""A code of our own, as 401 is in HTTP."""

GOODBYE_SECONDS = 0.5
"""How long a client may take to answer a close, once its token is no longer valid."""

log = structlog.get_logger()

_is_place = re.compile(r"(?:([^:,]+):)?([0-9]{1,18}):([0-9]{1,18})").fullmatch


class StreamDoor:
    """`/ws`: everything that happens to one account, or to all that the caller sees."""

    def __init__(self, desk: Desk, publisher: Publisher, access: Access) -> None:
        self._desk = desk
        self._publisher = publisher
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it leaves, or its token is no longer valid. Raises: Refused, before the upgrade."""
        subscriber = self._subscriber(scope)
        self._publisher.subscribe(subscriber)  # before anybody else can take the place
        try:
            await receive()  # the request to connect
            await send({"type": "websocket.accept", "subprotocol": subprotocol_of(scope)})
            await self._attend(subscriber, receive, send)
        finally:
            self._publisher.unsubscribe(subscriber)

    async def _attend(self, subscriber: Subscriber, receive: Receive, send: Send) -> None:
        """Serve one client that is connected."""
        listening = asyncio.create_task(_listen(receive), name="listening")
        try:
            await self._serve(subscriber, listening)
            if not listening.done():
                await _take_leave(subscriber, send, _TOKEN_ENDED, "the token is no longer valid")
                await asyncio.sleep(GOODBYE_SECONDS)
                subscriber.abort()  # of who has said goodbye, nothing is left to be cut
            elif listening.result():
                await _take_leave(subscriber, send, _UNSUPPORTED_DATA, "nothing is expected here")
        finally:
            await _cancel(listening)

    async def _serve(self, subscriber: Subscriber, listening: asyncio.Task[bool]) -> None:
        """Return when the client has left or talks too much, or when its token is no longer valid."""
        telling = asyncio.create_task(_tell(subscriber), name="subscriber")
        ending = asyncio.create_task(self._access.ended(subscriber.caller), name="ending")
        try:
            await asyncio.wait((listening, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._publisher.unsubscribe(subscriber)  # who is said goodbye to hears nothing more
            await _cancel(telling, ending)

    def _subscriber(self, scope: Scope) -> Subscriber:
        caller = caller_of(scope)
        desk = desk_seen_by(caller, self._desk)
        asked = _parameters(scope["query_string"].decode("latin-1"))
        account = asked.get("account")
        if account is not None:
            monitor_meant(desk, account)
        interval_ms = _interval_ms(asked.get("interval_ms"))
        since = _since(desk, account, asked.get("since"))
        wants_risk = _is_true("risk", asked.get("risk"))
        line: Line = scope["extensions"][LINE]

        async def send(notices: list[Notice]) -> None:
            await line["send"]([notice.text() for notice in notices])

        return Subscriber(
            self._publisher,
            send=send,
            abort=line["abort"],
            account=account,
            since=since,
            interval_seconds=interval_ms / 1000,
            wants_risk=wants_risk,
            caller=caller,
        )


def _since(desk: Desk, account: str | None, text: str | None) -> dict[str, tuple[int, int]]:
    """Return by account the epoch and the sequence that the client was told last."""
    places: dict[str, tuple[int, int]] = {}
    if text is None:
        return places
    for part in text.split(","):
        match = _is_place(part)
        if match is None:
            raise bad_parameter("since", f"was {text[:60]!r}, expected EPOCH:SEQ, or main:EPOCH:SEQ,alt:EPOCH:SEQ")
        name = match[1] or account or _only_account(desk)
        if name in places:
            raise bad_parameter("since", f"was {text[:60]!r}, expected each account once")
        places[name] = (int(match[2]), int(match[3]))
    return places


def _only_account(desk: Desk) -> str:
    try:
        return account_meant(desk, None)
    except Refused:
        raise bad_parameter("since", "names no account, and there are several") from None


def _parameters(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    asked = dict(pairs)
    for name in asked:
        if name not in _PARAMETERS:
            raise bad_parameter(name, f"unknown here; known: {', '.join(_PARAMETERS)}")
    if len(asked) < len(pairs):
        raise bad_parameter(next(n for n in asked if sum(n == m for m, _ in pairs) > 1), "was given more than once")
    return asked


def _is_true(name: str, text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise bad_parameter(name, f"was {text[:60]!r}, expected true or false")
    return text == "true"


def _interval_ms(text: str | None) -> int:
    if text is None:
        return USUAL_INTERVAL_MS
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    if not LEAST_INTERVAL_MS <= number <= LONGEST_INTERVAL_MS:
        raise bad_parameter(
            "interval_ms", f"was {text[:60]!r}, expected milliseconds from {LEAST_INTERVAL_MS} to {LONGEST_INTERVAL_MS}"
        )
    return number


async def _tell(subscriber: Subscriber) -> None:
    try:
        await subscriber.run()
    except OSError:
        return  # the client is gone, as the listening side hears too
    except Exception:
        log.exception("subscriber_failed")
        subscriber.abort()


async def _take_leave(subscriber: Subscriber, send: Send, code: int, reason: str) -> None:
    """Say goodbye, and cut off at once who would not hear it."""
    if subscriber.blocked_since is not None:
        subscriber.abort()
    else:
        await send({"type": "websocket.close", "code": code, "reason": reason})


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(receive: Receive) -> bool:
    """Return False when the client has left, True when it talks too much."""
    heard = 0
    while (await receive())["type"] != "websocket.disconnect":
        heard += 1
        if heard > MAX_HEARD:
            return True
    return False
