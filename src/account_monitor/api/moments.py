"""Moments: points in time as clients write them, RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from account_monitor.api.problems import bad_parameter

_is_moment = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_YEAR, LAST_YEAR = 1970, 2199
"""What may be asked about: far from where dates end, so that whatever is reckoned from a moment is a date as well."""

EARLIEST_MS = 0
LATEST_MS = int((datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * 1000 - 1


def moment_ms(text: str) -> int:
    """Return milliseconds since 1970-01-01 UTC, rounded up, so that "from" and "to" keep their meaning.

    Raises: ValueError, naming what was expected; also for years in which nothing can have happened.
    """
    match = _is_moment(text)
    if match is None:
        raise ValueError(_expected(text))
    day, time, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{'+00:00' if offset in 'Zz' else offset}")
        since = moment - _EPOCH
    except (ValueError, OverflowError):
        raise ValueError(_expected(text)) from None
    seconds = since.days * 86_400 + since.seconds
    nanoseconds = int((fraction or "").ljust(9, "0"))
    at_ms = seconds * 1000 + -(-nanoseconds // 1_000_000)
    if not EARLIEST_MS <= at_ms <= LATEST_MS:
        raise ValueError(f"was {text!r}, expected a time of the years {FIRST_YEAR} to {LAST_YEAR} in UTC")
    return at_ms


def _expected(text: str) -> str:
    return f"was {text[:60]!r}, expected a time such as 2026-11-22T12:00:00Z, or with +02:00, whose + is written %2B"


def moment_given(name: str, text: str | None) -> int | None:
    """Return the time that a query parameter says, None where it is left out. Raises: Refused, naming it."""
    try:
        return None if text is None else moment_ms(text)
    except ValueError as error:
        raise bad_parameter(name, str(error)) from None
