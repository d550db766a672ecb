"""Times on the command line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from account_monitor.monitor.reports import time_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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
        return int((moment - _EPOCH).total_seconds() * 1000)


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


def span_ms(from_text: str | None, to_text: str | None, zone: ZoneInfo) -> tuple[int | None, int | None]:
    """Return the ends of a span in milliseconds since 1970, None for those not given. Raises: click.UsageError."""
    from_ms = None if from_text is None else _moment("--from", from_text, zone)
    to_ms = None if to_text is None else _moment("--to", to_text, zone)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise click.UsageError(f"--from: {time_text(from_ms)} is later than --to, {time_text(to_ms)}")
    return from_ms, to_ms


def _moment(option: str, text: str, zone: ZoneInfo) -> int:
    """Return a time in milliseconds since 1970; a date is its beginning in the time zone. Raises: click.UsageError."""
    try:
        date = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone)
    except ValueError:
        pass
    else:
        return int((date - _EPOCH).total_seconds()) * 1_000
    try:
        return TIME.convert(text, None, None)
    except click.BadParameter as error:
        raise click.UsageError(f"{option}: {error.message}, or a date such as 2026-11-22") from None
