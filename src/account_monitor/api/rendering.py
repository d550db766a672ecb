"""Rendering: what a view looks like as JSON, made once for each view however many ask.

The plain questions about the present are answered here, before the framework: it costs several times what they do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from account_monitor.api.accounts import monitor_meant
from account_monitor.api.asgi import Application, Receive, Reply, Scope, Send, header
from account_monitor.api.credentials import caller_of
from account_monitor.api.renderer import Renderer
from account_monitor.api.sight import desk_seen_by
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.reports import account_report, balances_report, pnl_report, positions_report, time_text
from account_monitor.monitor.views import View

MANY_POSITIONS = 200
"""So many take about 4 ms to report: too long for others to wait."""

_HELD_OPEN = len(f'"{time_text(0)}"}}')
"""The end of an account report: the time at which it is asked for, which is the answer's and not the view's."""

PLAIN = {
    "/api/account": "account",
    "/api/balance": "balance",
    "/api/pnl": "pnl",
    "/api/positions": "positions",
}
"""What is rendered, by address."""

_ACCOUNT = b"account="

_numbers = itertools.count(1)


class Rendered(NamedTuple):
    """A view as JSON, of an account without its end; `tag` tells it from every other of this process."""

    body: bytes
    tag: str


def _account(view: View) -> bytes:
    return msgspec.json.encode(account_report(view, 0))[:-_HELD_OPEN]


_BODIES: dict[str, Callable[[View], bytes]] = {
    "account": _account,
    "balance": lambda view: msgspec.json.encode(balances_report(view)),
    "pnl": lambda view: msgspec.json.encode(pnl_report(view)),
    "positions": lambda view: msgspec.json.encode(positions_report(view)),
}


class Renderings:
    """What the present is as JSON, by monitor and kind, whichever way it is asked for."""

    def __init__(self, started_ms: int, renderer: Renderer) -> None:
        """`started_ms` tells the tags of one process from those of the one before."""
        self._started_ms = started_ms
        self._renderer = renderer
        self._makers = {kind: partial(self._render, kind) for kind in _BODIES}

    async def of(self, monitor: Monitor, kind: str) -> Rendered:
        """Return a view that is not older than the question as JSON, made once for all who wait for it."""
        return await self._renderer.of(monitor, self._makers[kind], many=MANY_POSITIONS)

    def _render(self, kind: str, view: View) -> Rendered:
        # Weak: of an account, the time at which it is asked for may differ.
        return Rendered(_BODIES[kind](view), f'W/"{self._started_ms:x}-{next(_numbers):x}"')


def whole(rendered: Rendered, kind: str, now_ms: int) -> bytes:
    """Return the body of an answer that is given now."""
    return rendered.body + _end(kind, now_ms)


def _end(kind: str, now_ms: int) -> bytes:
    """Return what follows a rendering in an answer that is given now."""
    return f'"{time_text(now_ms)}"}}'.encode() if kind == "account" else b""


class Present:
    """Answers what the present view says; everything else is the framework's."""

    def __init__(self, desk: Desk, framework: Application, renderings: Renderings) -> None:
        self._desk = desk
        self.framework = framework
        """Knows every address, also those that are answered before it."""
        self._renderings = renderings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises: Refused for an account that cannot be shown."""
        kind, query = PLAIN.get(scope["path"]), scope["query_string"]
        if kind is None or scope["method"] != "GET" or not _names_at_most_an_account(query):
            await self.framework(scope, receive, send)
            return
        seen = desk_seen_by(caller_of(scope), self._desk)
        monitor = monitor_meant(seen, query[len(_ACCOUNT) :].decode("ascii") if query else None)
        rendered = await self._renderings.of(monitor, kind)
        await self._reply(scope, rendered, kind).send(scope, send)

    def _reply(self, scope: Scope, rendered: Rendered, kind: str) -> Reply:
        tag = ((b"etag", rendered.tag.encode()),)
        if _knows(header(scope, b"if-none-match"), rendered.tag):
            return Reply(HTTPStatus.NOT_MODIFIED, b"", headers=tag)
        return Reply(HTTPStatus.OK, rendered.body, headers=tag, end=_end(kind, self._desk.clock()))


def _names_at_most_an_account(query: bytes) -> bool:
    """Whether a query is empty, or names an account by a name as accounts have it."""
    if not query:
        return True
    name = query[len(_ACCOUNT) :]
    return query.startswith(_ACCOUNT) and name.isascii() and name.replace(b"-", b"").replace(b"_", b"").isalnum()


def _knows(stated: str | None, tag: str) -> bool:
    """Whether a client says that it knows the answer with this tag."""
    return stated is not None and tag in (each.strip() for each in stated.split(","))
