"""TimescaleDB: what only it does with P&L: sums that it keeps itself, compression, and forgetting by the chunk."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeAlias

from asyncpg.pool import PoolConnectionProxy

from account_monitor.stores.history.buckets import ROLLUPS
from account_monitor.stores.history.keeping import Keeping
from account_monitor.stores.history.schema import MIGRATING
from account_monitor.stores.sql import load_queries

SQL = load_queries("history/timescale")

LEAST_RETENTION = timedelta(days=7)
"""Snapshots are kept at least so long: the sums of days are made of them."""

Connection: TypeAlias = "PoolConnectionProxy[Any]"


def drop_after(keeping: Keeping) -> timedelta:
    """Return the age at which snapshots are dropped."""
    return max(timedelta(milliseconds=keeping.retention_ms), LEAST_RETENTION)


async def keep(connection: Connection, keeping: Keeping) -> None:
    """Tell the database how long snapshots are kept and when they are compressed, where it was told otherwise."""
    retention, compress_after = drop_after(keeping), timedelta(milliseconds=keeping.compress_after_ms)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATING)
        told = await connection.fetchrow(SQL["policies"])
        if told is not None and tuple(told) == (retention, compress_after):
            return
        await connection.execute(SQL["stop_forgetting"])
        await connection.execute(SQL["forget_after"], retention)
        await connection.execute(SQL["stop_compressing"])
        await connection.execute(SQL["compress_after"], compress_after)
        await connection.execute(SQL["sum_up"])


async def sum_up(connection: Connection, keeping: Keeping, now: datetime) -> None:
    """Bring the sums up to date where snapshots came later than the database looks back, as after an outage.

    What is summed up already costs nothing.
    """
    since = now - drop_after(keeping) + timedelta(days=1)
    for level in ROLLUPS:
        length = timedelta(milliseconds=level.value)
        await connection.execute(
            f"CALL refresh_continuous_aggregate('{level.table}', $1::timestamptz, $2::timestamptz)",
            since,
            now - length,
        )
