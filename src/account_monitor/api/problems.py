"""Problems: every way in which a request is refused, as RFC 9457 tells it. `/docs` lists the kinds."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import msgspec

from account_monitor.api.asgi import Headers, Reply
from account_monitor.errors import AccountMonitorError

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused. `type` leads to the explanation of its kind in `/docs`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


class Kind(NamedTuple):
    """A kind of problem: its name in `type`, its status, and what it means."""

    name: str
    status: int
    title: str


BAD_PARAMETER = Kind("bad-parameter", 400, "A query parameter is unknown, missing or not as expected")
BAD_REQUEST = Kind("bad-request", 400, "The request cannot be understood")
UNAUTHENTICATED = Kind("unauthenticated", 401, "A token is needed, and there is none that is valid")
FORBIDDEN = Kind("forbidden", 403, "The token may not do this")
FOREIGN_ORIGIN = Kind("foreign-origin", 403, "A page of another origin may not do this")
NOT_FOUND = Kind("not-found", 404, "There is nothing at this address")
UNKNOWN_ACCOUNT = Kind("unknown-account", 404, "No account of this name is configured")
UNKNOWN_SYMBOL = Kind("unknown-symbol", 404, "The account never held this position")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "This address does not take that method")
NO_EXCHANGE = Kind("no-exchange", 409, "The account has no exchange to be compared with")
NOT_FIRING = Kind("not-firing", 404, "No such alert fires")
ACKNOWLEDGED = Kind("already-acknowledged", 409, "They look after this alert already")
NOT_QUARANTINED = Kind("not-quarantined", 409, "What is to be released is not quarantined")
NO_EQUITY = Kind("no-equity", 409, "It is not known that the account is worth anything")
BODY_TOO_LARGE = Kind("body-too-large", 413, "The request body is too large")
NO_JSON = Kind("no-json", 415, "The body is not application/json")
BAD_BODY = Kind("bad-body", 422, "The body is not what was expected")
WRONG_HOST = Kind("wrong-host", 421, "The Host header names another server")
UPGRADE_REQUIRED = Kind("upgrade-required", 426, "This address is for WebSocket only")
HEAD_TOO_LARGE = Kind("head-too-large", 431, "The first line and the headers are too large")
INTERNAL = Kind("internal-error", 500, "The service has a defect here; its log says more")
STARTING = Kind("starting", 503, "The service is starting")
FOLDING = Kind("account-folding", 503, "The journal of the account is being folded")
HELD_ELSEWHERE = Kind("held-elsewhere", 503, "Another process holds the account; the detail says which")
TOO_MANY_REQUESTS = Kind("too-many-requests", 429, "More was asked than is answered in this time")
BUSY = Kind("busy", 503, "Too many questions that take long are waiting")
NOT_ANSWERED = Kind("exchange-not-answering", 503, "The exchange does not answer in time")
HISTORY_UNAVAILABLE = Kind("history-unavailable", 503, "The history cannot be read now")
NOT_RECORDED = Kind("not-recorded", 503, "The journal does not take it")
TOO_MANY_CLIENTS = Kind("too-many-clients", 503, "As many clients as allowed are connected")
TOO_MANY_CONNECTIONS = Kind("too-many-connections", 503, "As many connections as allowed are open")

KINDS = (
    BAD_PARAMETER, BAD_REQUEST, UNAUTHENTICATED, FORBIDDEN, TOO_MANY_REQUESTS, FOREIGN_ORIGIN,
    NOT_FOUND, UNKNOWN_ACCOUNT, UNKNOWN_SYMBOL, NOT_FIRING, ACKNOWLEDGED,
    METHOD_NOT_ALLOWED, NO_EXCHANGE, NOT_QUARANTINED, NO_EQUITY, BODY_TOO_LARGE, NO_JSON, WRONG_HOST, BAD_BODY,
    UPGRADE_REQUIRED, HEAD_TOO_LARGE, INTERNAL, STARTING, FOLDING, HELD_ELSEWHERE, BUSY, NOT_ANSWERED,
    HISTORY_UNAVAILABLE, NOT_RECORDED, TOO_MANY_CLIENTS, TOO_MANY_CONNECTIONS,
)  # fmt: skip


class Refused(AccountMonitorError):
    """A request that is not served; `detail` names the value and what was expected."""

    def __init__(self, kind: Kind, detail: str, *, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers
        if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers += ((b"retry-after", b"1"),)

    def reply(self, path: str) -> Reply:
        """Return the response to a request of this path."""
        kind = self.kind
        problem = Problem(
            type=f"/docs#{kind.name}", title=kind.title, status=kind.status, detail=self.detail, instance=path
        )
        return Reply(kind.status, msgspec.json.encode(problem), MEDIA_TYPE, self.headers)


def bad_parameter(name: str, problem: str) -> Refused:
    """Refuse a query parameter by name."""
    return Refused(BAD_PARAMETER, f"{name}: {problem}")
