"""Front: answers health at once, checks every request, and hands the rest on. Imports no framework."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import structlog

from account_monitor.api.access import NOBODY, Access, Caller
from account_monitor.api.asgi import Application, Message, Receive, Scope, Send, path_of, with_always
from account_monitor.api.credentials import CALLER, address_of, admitted, check_url, token_of
from account_monitor.api.guard import Guard
from account_monitor.api.health import health_reply, live_reply, ready_reply
from account_monitor.api.page import Page
from account_monitor.api.problems import (
    BAD_REQUEST,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    STARTING,
    UPGRADE_REQUIRED,
    Refused,
)
from account_monitor.monitor.desk import Desk

log = structlog.get_logger()

_OWN = {"/health": health_reply, "/live": live_reply, "/ready": ready_reply}

STATIC = frozenset({"/", "/docs", "/openapi.json"})
"""Pages that are the same everywhere: they hold nothing of an account, and a browser shows no token for them."""

_GET: tuple[tuple[bytes, bytes], ...] = ((b"allow", b"GET, HEAD"),)
_UPGRADE = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))


class Front:
    """The application of one port. `inner` is None until it is imported; `sockets` are by path."""

    def __init__(
        self,
        desk: Desk,
        guard: Guard,
        access: Access,
        sockets: Mapping[str, Application] | None = None,
        *,
        page: Page | None = None,
        open_paths: Collection[str] = (),
        asks_for_token: bool = True,
        is_for_all: bool = False,
    ) -> None:
        """Everyone may have `open_paths`, and everything where `asks_for_token` is False; `is_for_all` asks for a token
        that sees every account. `page` is for everyone, too.
        """
        self.inner: Application | None = None
        self._page = page
        self._desk = desk
        self._guard = guard
        self._access = access
        self._open_paths = frozenset(open_paths)
        self._asks_for_token = asks_for_token
        self._is_for_all = is_for_all
        self._sockets = dict(sockets or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or serve one socket."""
        response = _Response(send)
        path = path_of(scope["path"])
        scope["path"] = path or ""
        try:
            if path is None:
                raise Refused(BAD_REQUEST, f"{scope['method']}: expected a path that begins with /")
            self._guard.check_request(scope)
            check_url(scope)
            if scope["type"] == "websocket":
                await self._connect(scope, receive, response.send)
            else:
                await self._answer(scope, receive, response.send)
        except Refused as refusal:
            await refusal.reply(scope["path"]).send(scope, response.send)
        except Exception:
            if response.is_started:
                raise  # the server logs it and cuts the connection
            log.exception("request_failed", path=scope["path"])
            await Refused(INTERNAL, "see the log of the service").reply(scope["path"]).send(scope, response.send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server leaves the body out
        if path in _OWN:
            require_get(scope)
            await _OWN[path](self._desk, self._visitor(scope)).send(scope, send)
            return
        if self._page is not None and (file := self._page.reply(scope)) is not None:
            require_get(scope)
            await file.send(scope, send)
            return
        self._admit(scope)
        if path in self._sockets:
            raise Refused(UPGRADE_REQUIRED, f"{path}: connect with a WebSocket client", headers=_UPGRADE)
        if scope["method"] != "GET":
            self._guard.check_change(scope)
        if self.inner is None:
            raise Refused(STARTING, "only /health, /live and /ready answer yet; try again in a second")
        await self.inner(scope, receive, send)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._guard.check_origin(scope)
        self._admit(scope)
        if scope["path"] not in self._sockets:
            raise Refused(NOT_FOUND, f"no socket at {scope['path']}")
        await self._sockets[scope["path"]](scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        """Note in the scope who asks. Raises: Refused where they may not come in."""
        if not self._asks_for_token or (scope["path"] in self._open_paths and scope["type"] == "http"):
            scope[CALLER] = NOBODY
            return
        caller = admitted(self._access, scope)
        if self._is_for_all:
            try:
                caller.require_all()
            except Refused:
                self._access.note_forbidden(caller)
                raise

    def _visitor(self, scope: Scope) -> Caller:
        """Return who asks how the service is: nobody is refused, and who shows no valid token is told less."""
        return self._access.visitor(token_of(scope), address_of(scope))


def require_get(scope: Scope) -> None:
    """Raises: Refused for a method that changes things."""
    if scope["method"] not in ("GET", "HEAD"):
        raise Refused(METHOD_NOT_ALLOWED, f"{scope['method']} {scope['path']}: expected GET", headers=_GET)


class _Response:
    """Sends a response with the headers that all carry, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind.endswith("response.start"):
            message["headers"] = with_always(message["headers"])
            self.is_started = True
        elif kind == "websocket.accept":
            self.is_started = True
        await self._send(message)
