"""Refusals: how a request to the exchange can end without an answer, and what that means.

No text of these holds a key, a secret, a signature or a query string.
"""

from __future__ import annotations

from datetime import UTC, datetime

from account_monitor.errors import AccountMonitorError, FeedUnavailable

CLOCK_IS_WRONG = -1021
TOO_MANY_REQUESTS = -1003
NO_SUCH_LISTEN_KEY = -1125
_ABOUT_THE_KEY = frozenset({-1022, -2014, -2015})  # signature, format, permissions or address


class VenueRefused(AccountMonitorError):
    """The exchange understood the request and said no. `code` is its own, `status` that of HTTP."""

    def __init__(self, code: int, message: str, status: int) -> None:
        super().__init__(f"the exchange refused: code {code}, {message} (HTTP {status})")
        self.code = code
        self.message = message
        self.status = status

    @property
    def is_about_the_key(self) -> bool:
        """Whether API key, secret, permissions or this machine's address are wrong: trying again is of no use."""
        return self.code in _ABOUT_THE_KEY


class VenueUnavailable(FeedUnavailable):
    """There is no answer, or one that is no data: nothing is known, and nothing may be concluded from it."""


class VenueLimited(FeedUnavailable):
    """Too many requests came from this address: none may leave before `until_ms`, on the exchange's clock."""

    def __init__(self, until_ms: int) -> None:
        super().__init__(f"the exchange takes no requests from this address before {_moment(until_ms)}")
        self.until_ms = until_ms


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
