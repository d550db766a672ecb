"""Errors: why a call was not answered, by the status that the service gave.

CallFailed
├── InvalidArgument       the request says something that is not allowed; `detail` names it
├── NotFound              no such account or position
├── Unauthenticated       a token is needed, and there is none that is valid
├── PermissionDenied      the token may not read this account
├── ResourceExhausted     too many calls at once
├── Unavailable           nobody answers there, or not yet: try again
└── TimedOut              it took longer than the timeout of the call
"""

from __future__ import annotations

from collections.abc import Mapping

from grpc import StatusCode

from account_monitor.client.hints import explained


class CallFailed(Exception):
    """A call that was not answered."""

    def __init__(self, status: StatusCode, detail: str) -> None:
        super().__init__(f"{status.name}: {detail}")
        self.status = status
        self.detail = detail


class InvalidArgument(CallFailed):
    """The request says something that is not allowed."""


class NotFound(CallFailed):
    """There is no such account or position."""


class Unauthenticated(CallFailed):
    """A token is needed, and there is none that is valid."""


class PermissionDenied(CallFailed):
    """The token may not read this account."""


class ResourceExhausted(CallFailed):
    """Too many calls are being answered at once."""


class Unavailable(CallFailed):
    """Nobody answers there, or not yet."""


class TimedOut(CallFailed):
    """It took longer than the timeout of the call."""


_BY_STATUS: Mapping[StatusCode, type[CallFailed]] = {
    StatusCode.INVALID_ARGUMENT: InvalidArgument,
    StatusCode.NOT_FOUND: NotFound,
    StatusCode.UNAUTHENTICATED: Unauthenticated,
    StatusCode.PERMISSION_DENIED: PermissionDenied,
    StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    StatusCode.UNAVAILABLE: Unavailable,
    StatusCode.DEADLINE_EXCEEDED: TimedOut,
}


def call_failed(status: StatusCode | None, detail: str | None, *, is_tls: bool = True) -> CallFailed:
    """Return the error of a status; `is_tls` is whether the line was to be encrypted."""
    known = status or StatusCode.UNKNOWN
    return _BY_STATUS.get(known, CallFailed)(known, explained(known, detail or "", is_tls=is_tls))
