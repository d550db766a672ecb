"""Times on the command line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from account_monitor.api.moments import EARLIEST_MS, FIRST_YEAR, LAST_YEAR, LATEST_MS
from account_monitor.monitor.reports import time_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Time(click.ParamType[int]):
    """A time with its zone, such as 2026-11-22T12:00:00Z; milliseconds since 1970-01-01 UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds since 1970-01-01 UTC."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-22T12:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write 2026-11-22T12:00:00Z", param, ctx)
        try:
            return _since_1970(value, moment)
        except ValueError as error:
            self.fail(str(error), param, ctx)


TIME = Time()


def span_options(command: _Command) -> _Command:
    """Add `--from`, `--to` and `--timezone`, of which `span_ms` and `zone_named` make times."""
    begun = click.option(
        "--from", "from_text", metavar="TIME", help="A date, or a time with its zone. Default: the beginning.",
    )  # fmt: skip
    ended = click.option("--to", "to_text", metavar="TIME", help="The same; of a date, its beginning. Default: now.")
    zone = click.option(
        "--timezone", default="UTC", show_default=True, metavar="NAME",
        help="Where days begin at 00:00, such as Europe/Berlin.",
    )  # fmt: skip
    return begun(ended(zone(command)))


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone. Raises: click.UsageError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.UsageError(
            f"--timezone: {name!r} is not known here; expected a name such as Europe/Berlin"
        ) from None


def span_ms(from_text: str | None, to_text: str | None, zone: ZoneInfo, now_ms: int) -> tuple[int | None, int | None]:
    """Return the ends of a span in milliseconds since 1970, None for those not given.

    Raises: click.UsageError for what is no time, and a span that ends before it begins, or begins later than now.
    """
    from_ms = None if from_text is None else _moment("--from", from_text, zone)
    to_ms = None if to_text is None else _moment("--to", to_text, zone)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise click.UsageError(f"--from: {time_text(from_ms)} is later than --to, {time_text(to_ms)}")
    if from_ms is not None and from_ms > now_ms:
        raise click.UsageError(f"--from: {time_text(from_ms)} is later than now, {time_text(now_ms)}")
    return from_ms, to_ms


def _since_1970(given: object, moment: datetime) -> int:
    """Return milliseconds, rounded up as the API does. Raises: ValueError for years that it does not take either."""
    try:
        at_ms = -((_EPOCH - moment) // _MILLISECOND)
    except OverflowError:  # no calendar has that moment in UTC
        at_ms = -1
    if not EARLIEST_MS <= at_ms <= LATEST_MS:
        raise ValueError(f"{given!r} is not a time of the years {FIRST_YEAR} to {LAST_YEAR} in UTC")
    return at_ms


def _moment(option: str, text: str, zone: ZoneInfo) -> int:
    """Return a time in milliseconds since 1970; a date is its beginning in the time zone. Raises: click.UsageError."""
    try:
        date = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone)
    except ValueError:
        pass
    else:
        try:
            return _since_1970(text, date)
        except ValueError as error:
            raise click.UsageError(f"{option}: {error}") from None
    try:
        return TIME.convert(text, None, None)
    except click.BadParameter as error:
        raise click.UsageError(f"{option}: {error.message}, or a date such as 2026-11-22") from None
