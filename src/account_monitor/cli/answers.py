"""Answers: what a running service says to a question of a command."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from typing import Final, TypeVar

import msgspec

from account_monitor.cli.options import TOKEN_VARIABLE, check_way, given_token, tls_context
from account_monitor.errors import CommandFailed
from account_monitor.failures import reason

TIMEOUT_SECONDS = 5.0

PASSING: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses that another try may change: of the service, or of a proxy before it."""

_MAX_BODY_BYTES = 64 * 1024 * 1024


class NoAnswer(CommandFailed):
    """Nothing answers there now, or not yet."""


_Document = TypeVar("_Document")


def document(url: str, kind: type[_Document], *, order: object = None) -> _Document:
    """Fetch what an address of a running service answers, to an order where there is one. Raises: CommandFailed."""
    try:
        return msgspec.json.decode(_answer(url, order), type=kind)
    except msgspec.MsgspecError as error:
        raise CommandFailed(f"{url}: answered as no account-monitor of this version does ({error})") from error


def _answer(url: str, order: object = None) -> bytes:
    """Fetch a document. Raises: CommandFailed naming the address and what it answered."""
    if not url.startswith(("http://", "https://")):
        raise CommandFailed(f"{url}: expected an address that starts with http:// or https://")
    try:
        body = None if order is None else msgspec.json.encode(order)
        asked = urllib.request.Request(url, body, {} if body is None else {"Content-Type": "application/json"})  # noqa: S310  # checked above
        if (token := given_token()) is not None:
            check_way(url)
            asked.add_unredirected_header("Authorization", f"Bearer {token}")  # for the service, and no one it names
        tls = tls_context() if url.startswith("https://") else None
        with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS, context=tls) as response:  # noqa: S310  # checked above
            answered: bytes = response.read(_MAX_BODY_BYTES)
            return answered
    except urllib.error.HTTPError as error:
        body = error.read(_MAX_BODY_BYTES)
        if url.endswith(("/health", "/ready")) and error.code == HTTPStatus.SERVICE_UNAVAILABLE:
            return body  # it says what is not well
        problem = f"{url}: {error.code} {_detail(body) or error.reason}{advice(error.code)}"
        is_passing = error.code in PASSING
        raise (NoAnswer if is_passing else CommandFailed)(problem) from error
    except (urllib.error.URLError, OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        said = reason(cause) if isinstance(cause, BaseException) else cause
        if isinstance(cause, ssl.SSLError):
            raise CommandFailed(f"{url}: {said}; --ca names whom to trust, --client-cert what to show") from error
        hint = "does it speak TLS? then https://" if _is_cut(cause, url) else "is the service running?"
        raise NoAnswer(f"{url}: no answer ({said}); {hint}") from error


def _is_cut(cause: object, url: str) -> bool:
    """Whether something took a request of plain http and answered nothing that is http, as a door with TLS does."""
    return url.startswith("http://") and isinstance(cause, HTTPException | ConnectionResetError)


def advice(status: int) -> str:
    """Return what may be done about a refusal, to be put behind it."""
    if status == HTTPStatus.UNAUTHORIZED:
        return f"; this command takes it from {TOKEN_VARIABLE} or --token-file"
    if status == HTTPStatus.FORBIDDEN:
        return f"; another token can be given in {TOKEN_VARIABLE} or --token-file"
    return ""


def _detail(body: bytes) -> str | None:
    try:
        detail = json.loads(body).get("detail")
    except (ValueError, AttributeError):
        return None
    return detail if isinstance(detail, str) else None
