"""Statuses: which status a refusal has on gRPC. Its detail is the one that REST tells."""

from __future__ import annotations

from http import HTTPStatus

from grpc import StatusCode

from account_monitor.api.problems import TOO_MANY_CLIENTS, Kind

TOO_MANY_CALLS = Kind("too-many-calls", HTTPStatus.TOO_MANY_REQUESTS, "As many calls as allowed are being answered")
TOO_LATE = Kind("too-late", HTTPStatus.REQUEST_TIMEOUT, "The request did not come in time")
TOO_SLOW = Kind("too-slow", HTTPStatus.TOO_MANY_REQUESTS, "The client takes nothing of what it watches")
STOPPING = Kind("stopping", HTTPStatus.SERVICE_UNAVAILABLE, "The service stops")

_BY_KIND = {TOO_MANY_CLIENTS: StatusCode.RESOURCE_EXHAUSTED}
"""Where another status fits better than that of HTTP."""

_BY_HTTP = {
    HTTPStatus.BAD_REQUEST: StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.CONFLICT: StatusCode.FAILED_PRECONDITION,
    HTTPStatus.TOO_MANY_REQUESTS: StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: StatusCode.UNAVAILABLE,
}


def status_of(kind: Kind) -> StatusCode:
    """Return the status of a kind of refusal; INTERNAL for one that no call here can meet."""
    return _BY_KIND.get(kind) or _BY_HTTP.get(HTTPStatus(kind.status), StatusCode.INTERNAL)
