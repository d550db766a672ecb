"""Credentials: where in a request a token stands, and where it must not."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from account_monitor.api.access import Access, Caller
from account_monitor.api.asgi import Scope
from account_monitor.api.problems import BAD_REQUEST, UNAUTHENTICATED, Refused, bad_parameter

CALLER = "account_monitor.caller"
"""The key of a scope that holds the `Caller`, once a door has let it in."""

SUBPROTOCOL = "account-monitor"
_BEARER = "bearer."
"""Before a token among the subprotocols of a WebSocket: a page can set no header there."""

_TOKEN_NAMES = ("token", "access_token", "bearer", "authorization")


def admitted(access: Access, scope: Scope) -> Caller:
    """Return who asks, and note it in the scope.

    Raises: Refused where they may not come in, want to change what they may not, or name an account they do not see.
    """
    caller = access.caller(token_of(scope), address_of(scope))
    try:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            caller.require("operate")
        if caller.accounts is not None:
            for name, value in _query(scope):
                if name == "account":
                    caller.require("read", value)
    except Refused:
        access.note_forbidden(caller)
        raise
    scope[CALLER] = caller
    return caller


def caller_of(scope: Scope) -> Caller:
    """Return who was let in. Raises: Refused where no door was passed: then nobody was asked."""
    caller = scope.get(CALLER)
    if not isinstance(caller, Caller):
        raise Refused(UNAUTHENTICATED, "no door has let this request in")
    return caller


def check_url(scope: Scope) -> None:
    """Raises: Refused for a token in the URL, which ends up in histories and in the logs of everything between."""
    if not scope["query_string"]:
        return
    for name, _ in _query(scope):
        if name.lower() in _TOKEN_NAMES:
            way = "Authorization: Bearer <token>"
            more = f", from a web page the subprotocols {SUBPROTOCOL} and {_BEARER}<token>" if _is_socket(scope) else ""
            raise bad_parameter(name, f"tokens do not go into URLs, which are logged; send the header {way}{more}")


def token_of(scope: Scope) -> str | None:
    """Return the token of a request, None where there is none. Raises: Refused for what cannot be understood."""
    stated = [value for name, value in scope["headers"] if name == b"authorization"]
    if not stated and _is_socket(scope):
        return _offered_token(scope)
    return stated_token(stated)


def stated_token(stated: Sequence[str | bytes]) -> str | None:
    """Return the token in the values of `authorization`, of HTTP or of gRPC; None where there is none.

    Anything but a bearer with a token counts as none. Raises: Refused where it was given more than once.
    """
    if len(stated) > 1:
        raise Refused(BAD_REQUEST, f"Authorization: was given {len(stated)} times, expected once")
    if not stated:
        return None
    text = stated[0] if isinstance(stated[0], str) else stated[0].decode("latin-1")
    scheme, _, token = text.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def subprotocol_of(scope: Scope) -> str | None:
    """Return the subprotocol of an answer: never one with a token in it."""
    return SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None


def address_of(scope: Scope) -> str:
    """Return where a request comes from: a proxy, where there is one."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def _offered_token(scope: Scope) -> str | None:
    offered: list[str] = [each for each in scope.get("subprotocols", ()) if each.startswith(_BEARER)]
    if not offered:
        return None
    if len(offered) > 1 or SUBPROTOCOL not in scope["subprotocols"]:
        what = f"expected {SUBPROTOCOL} and one {_BEARER}<token>"
        raise Refused(BAD_REQUEST, f"Sec-WebSocket-Protocol: offered {len(offered)} tokens, {what}")
    return offered[0].removeprefix(_BEARER)


def _is_socket(scope: Scope) -> bool:
    return bool(scope["type"] == "websocket")


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
