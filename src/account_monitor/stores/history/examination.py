"""Examination: what can be said of a PostgreSQL server and the tables in it, and what does whoever connects lack?"""

from __future__ import annotations

from typing import Any, TypeAlias

from asyncpg.pool import PoolConnectionProxy

from account_monitor.stores.history.condition import Condition
from account_monitor.stores.history.schema import ENCODING, OLDEST_SERVER, missing_tables, progress, server_version
from account_monitor.stores.history.tables import COLUMNS
from account_monitor.stores.sql import load_queries

SQL = load_queries("history/postgres")

TABLES = ("schema_versions", *COLUMNS)
"""All tables and views of a history."""

Connection: TypeAlias = "PoolConnectionProxy[Any]"


async def examine(connection: Connection) -> Condition:
    """Return what can be said without changing anything. Raises: HistoryRefused for tables of a younger program."""
    versions, missing = await progress(connection)
    server = await connection.fetchrow(SQL["server"])
    assert server is not None  # it is one row by its nature
    lacking = []
    if connection.get_server_version().major < OLDEST_SERVER:
        lacking.append(f"a server of PostgreSQL {OLDEST_SERVER} or younger")
    if server["encoding"] != ENCODING:
        lacking.append(f"a database whose encoding is {ENCODING}, not {server['encoding']}")
    if server["is_read_only"]:
        lacking.append("to write: the server is a standby, or told to be read-only")
    if missing and not server["may_create"]:
        where = "any schema, as search_path names none" if server["schema"] is None else f"schema {server['schema']}"
        lacking.append(f"to make tables in {where}")
    if versions and (kept := [row[0] for row in await connection.fetch(SQL["kept_tables"], TABLES, bool(missing))]):
        lacking.append(f"to {'own' if missing else 'read and write'} {', '.join(kept)}")
    description = f"PostgreSQL {server_version(connection)}"
    if "timescale" in versions:
        description += f" with TimescaleDB {server['timescale']}"
    will_sum_up = any(name.startswith("timescale") for name in missing)
    remark = _remark(versions, server["timescale"], is_available=server["has_timescale"], will_sum_up=will_sum_up)
    broken = await missing_tables(connection) if versions and not missing else []
    return Condition(description, versions, missing, lacking, server["size_bytes"], remark, broken)


def _remark(versions: dict[str, int], installed: str | None, *, is_available: bool, will_sum_up: bool) -> str | None:
    if "timescale" in versions:
        return None
    if installed is None:
        can = "; the server has TimescaleDB, and this database does not" if is_available else ", without TimescaleDB"
        return f"P&L is summed up by the service{can}"
    if will_sum_up:
        return f"TimescaleDB {installed} will sum up P&L"
    if not versions:
        return f"TimescaleDB {installed} may not sum up under its Apache license: P&L is summed up by the service"
    return f"TimescaleDB {installed} came after the tables, and is not used: P&L is summed up by the service"
