"""Schema: how the tables of a PostgreSQL history come to be what this program needs, however many start at once."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from asyncpg.pool import PoolConnectionProxy

from account_monitor.errors import HistoryRefused
from account_monitor.stores.history.tables import COLUMNS, missing_from, require_all
from account_monitor.stores.sql import load_migrations

Part: TypeAlias = Literal["postgres", "plain", "timescale"]
"""`postgres`: the tables. Then how P&L is summed up: by this program (`plain`), or by TimescaleDB."""

MIGRATIONS: dict[Part, tuple[str, ...]] = {
    "postgres": load_migrations("history/postgres"),
    "plain": load_migrations("history/plain"),
    "timescale": load_migrations("history/timescale"),
}

OLDEST_SERVER = 14
ENCODING = "UTF8"

MIGRATING = 0x414D4D49
"""The advisory lock under which one process at a time changes what the database is told."""

Connection: TypeAlias = "PoolConnectionProxy[Any]"


async def bring_up_to_date(connection: Connection) -> list[str]:
    """Run the migrations that are missing, all in one transaction; return their names.

    Whether TimescaleDB sums up is decided when the tables are made: by whether the database has the extension then.
    A role that may use complete tables need not have the right to make any.
    Raises: HistoryRefused for a schema of a younger program, tables that were removed by hand, a server that is too
    old, or an encoding that cannot hold every text.
    """
    if connection.get_server_version().major < OLDEST_SERVER:
        raise HistoryRefused(
            f"the server is PostgreSQL {server_version(connection)}, expected {OLDEST_SERVER} or younger"
        )
    if await has_tables(connection):
        require_all("the database", await missing_tables(connection))
        return []
    encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    if encoding != ENCODING:
        raise HistoryRefused(f"the encoding of the database is {encoding}, expected {ENCODING}")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATING)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions"
            " (part text PRIMARY KEY, version int NOT NULL, updated_at timestamptz NOT NULL)"
        )
        versions = await _versions(connection)
        done = await _migrate(connection, "postgres", versions)
        done += await _migrate(connection, await _summing(connection, versions), versions)
    return done


def server_version(connection: Connection) -> str:
    """Return what the server says it is, such as `18.1`."""
    return str(connection.get_settings().server_version).split()[0]


async def uses_timescale(connection: Connection) -> bool:
    """Whether TimescaleDB sums up the P&L of this database."""
    return await connection.fetchval("SELECT count(*) > 0 FROM schema_versions WHERE part = 'timescale'") is True


async def has_tables(connection: Connection) -> bool:
    """Whether there are tables that this program can use as they are.

    Raises: HistoryRefused where a younger program made them.
    """
    if await connection.fetchval("SELECT to_regclass('schema_versions')") is None:
        return False
    versions = await _versions(connection)
    return all(_is_complete(part, versions) for part in ("postgres", await _summing(connection, versions)))


async def missing_tables(connection: Connection) -> list[str]:
    """Return the tables and columns that the migrations made and that are not there, where all of them were run."""
    rows = await connection.fetch(
        "SELECT name, array_agg(attname::text) FROM unnest($1::text[]) AS wanted (name)"
        " JOIN pg_attribute ON attrelid = to_regclass(name) AND attnum > 0 AND NOT attisdropped GROUP BY name",
        list(COLUMNS),
    )
    return missing_from(dict(map(tuple, rows)))


async def progress(connection: Connection) -> tuple[dict[str, int], list[str]]:
    """Return by part how many migrations were run, and the names of those that are still to be run.

    Raises: HistoryRefused where a younger program made the tables.
    """
    has_any = await connection.fetchval("SELECT to_regclass('schema_versions') IS NOT NULL")
    versions = await _versions(connection) if has_any else {}
    parts: tuple[Part, ...] = ("postgres", await _summing(connection, versions))
    missing = [
        f"{part} {number}"
        for part in parts
        if not _is_complete(part, versions)
        for number in range(versions.get(part, 0) + 1, len(MIGRATIONS[part]) + 1)
    ]
    return versions, missing


async def _versions(connection: Connection) -> dict[str, int]:
    return dict(await connection.fetch("SELECT part, version FROM schema_versions"))


def _is_complete(part: Part, versions: dict[str, int]) -> bool:
    known, version = len(MIGRATIONS[part]), versions.get(part, 0)
    if version > known:
        raise HistoryRefused(f"the tables ({part}) have version {version}; this program knows up to {known}")
    return version == known


async def _summing(connection: Connection, versions: dict[str, int]) -> Part:
    for part in ("plain", "timescale"):
        if part in versions:
            return part
    # Under its Apache license the extension has no continuous aggregates.
    sums_up = await connection.fetchval(
        "SELECT current_setting('timescaledb.license', true) IS DISTINCT FROM 'apache'"
        " FROM pg_extension WHERE extname = 'timescaledb'"
    )
    return "timescale" if sums_up else "plain"


async def _migrate(connection: Connection, part: Part, versions: dict[str, int]) -> list[str]:
    if _is_complete(part, versions):
        return []
    done = []
    for number in range(versions.get(part, 0) + 1, len(MIGRATIONS[part]) + 1):
        await connection.execute(MIGRATIONS[part][number - 1])
        done.append(f"{part} {number}")
    await connection.execute(
        "INSERT INTO schema_versions (part, version, updated_at) VALUES ($1, $2, now())"
        " ON CONFLICT (part) DO UPDATE SET version = excluded.version, updated_at = excluded.updated_at",
        part,
        len(MIGRATIONS[part]),
    )
    return done
