"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import click


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
        return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


TIME = Time()
