"""How the tables of a history come to be: from nothing, at once, again, and not at all where that would do harm."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import asyncpg
import pytest

from account_monitor.errors import HistoryRefused, HistoryUnavailable
from account_monitor.monitor.ports import PnLQuery
from account_monitor.stores.history import schema, sqlite
from account_monitor.stores.history.postgres import PostgresHistory
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.history.tables import COLUMNS
from account_monitor.stores.sql import load_queries
from tests.history_samples import (
    DAY,
    NOW,
    Place,
    PostgresPlace,
    SqlitePlace,
    TimescalePlace,
    batch_of,
    record,
    snapshot,
    write_entries,
    write_snapshots,
)
from tests.journal_samples import deliveries
from tests.servers.postgres import FreshDatabase, create_database, drop_database
from tests.servers.relay import relay_to
from tests.servers.timescale import TimescaleServer

pytestmark = pytest.mark.integration

SNAPSHOTS = Path(__file__).with_name("history_schemas")

TABLES_OF_SQLITE = """
SELECT t.name || '.' || c.name || ' ' || c.type || iif(c."notnull", ' not null', '') || iif(c.pk, ' key ' || c.pk, '')
FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
UNION ALL SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL
UNION ALL SELECT name || ' is strict' FROM pragma_table_list WHERE schema = 'main' AND strict
"""

TABLES_OF_POSTGRES = """
SELECT table_name || '.' || column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
    || CASE is_identity WHEN 'YES' THEN ' identity' ELSE '' END
FROM information_schema.columns WHERE table_schema = current_schema
UNION ALL SELECT replace(indexdef, ' ON ' || quote_ident(schemaname) || '.', ' ON ') FROM pg_indexes
WHERE schemaname = current_schema
"""


async def tables_of(place: Place) -> str:
    """Return all tables, columns and indexes of a place, one a line."""
    rows = await place.ask(TABLES_OF_SQLITE if isinstance(place, SqlitePlace) else TABLES_OF_POSTGRES)
    return "".join(sorted(f"{' '.join(line.split())}\n" for (line,) in rows))


async def test_the_schema_is_the_sum_of_the_migrations(
    store: HistoryStore, place: Place, request: pytest.FixtureRequest
) -> None:
    """After a new migration write the file anew, by hand or from what this test shows, and read the difference."""
    name = type(place).__name__.removesuffix("Place").lower()

    assert await tables_of(place) == (SNAPSHOTS / f"{name}.txt").read_text()


async def test_every_table_and_column_is_looked_for(store: HistoryStore, place: Place) -> None:
    lines = (line.split(" ")[0].split(".") for line in (await tables_of(place)).splitlines())
    found = {(table, column) for table, column in (line for line in lines if len(line) == 2)}

    expected = {(table, column) for table, columns in COLUMNS.items() for column in columns}
    assert expected == {pair for pair in found if pair[0] != "schema_versions"}


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("DROP TABLE reconciliations", "table reconciliations"),
        ("ALTER TABLE alerts DROP COLUMN cause", "column cause of alerts"),
        ("ALTER TABLE fills RENAME TO fills_old", "table fills"),
    ],
)
async def test_what_was_removed_by_hand_is_named(
    store: HistoryStore, place: Place, statement: str, missing: str
) -> None:
    assert (await store.condition()).broken == []
    await place.ask(statement)
    before = await tables_of(place)
    again = place.store()

    with pytest.raises(HistoryRefused, match=rf"lacks what was removed by hand: {missing}; put back a backup"):
        await again.open()

    await again.connect()
    assert (await again.condition()).broken == [missing]
    assert await tables_of(place) == before
    await again.close()


async def test_opening_again_changes_nothing(store: HistoryStore, place: Place) -> None:
    await write_snapshots(store, snapshot(NOW, "100"))
    before = await tables_of(place)

    again = place.store()
    await again.open()
    await again.open()

    assert await tables_of(place) == before
    assert (await again.cursor("main")).snapshot_ms == NOW
    await again.close()


def open_and_close(place: Place) -> None:
    """As a process of its own: a loop and connections that nobody shares."""

    async def work() -> None:
        store = place.store()
        try:
            await store.open()
            await store.cursor("main")
        finally:
            await store.close()

    asyncio.run(work())


async def test_several_that_start_at_once_find_one_schema(place: Place) -> None:
    await asyncio.gather(*(asyncio.to_thread(open_and_close, place) for _ in range(6)))

    store = place.store()
    await store.open()
    assert await place.ask("SELECT account FROM projections") == [("main",)]
    await store.close()


async def test_a_migration_that_fails_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "CREATE TABLE half (id bigint); SELECT * FROM no_such_table"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "MIGRATIONS", (sqlite.MIGRATIONS[0] + ";" + broken,))
        patch.setitem(schema.MIGRATIONS, "plain", (broken,))
        patch.setitem(schema.MIGRATIONS, "timescale", (broken,))
        store = place.store()
        with pytest.raises(HistoryUnavailable, match="no_such_table"):
            await store.open()
        assert await tables_of(place) == ""

    await store.open()
    await write_snapshots(store, snapshot(NOW, "100"))
    await store.close()


async def test_the_tables_of_a_younger_program_are_refused_and_left_alone(
    store: HistoryStore, place: Place, tmp_path: Path
) -> None:
    if isinstance(place, SqlitePlace):
        await place.ask("PRAGMA user_version = 99")
    else:
        await place.ask("UPDATE schema_versions SET version = 99 WHERE part = 'postgres'")
    before = await tables_of(place)
    younger = place.store()

    with pytest.raises(HistoryUnavailable, match="version 99; this program knows up to 1"):
        await younger.open()
    await younger.connect()
    with pytest.raises(HistoryUnavailable, match="version 99"):
        await younger.pnl(PnLQuery("main", None, NOW, NOW + DAY, DAY))
    with pytest.raises(HistoryUnavailable, match="version 99"):
        await younger.replica("main")

    assert await tables_of(place) == before
    await younger.close()


async def test_a_file_that_is_no_history_is_left_alone(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "history.sqlite"))
    connection.execute("CREATE TABLE theirs (id)")
    connection.close()
    store = SqliteHistory(tmp_path, lambda: NOW)

    with pytest.raises(HistoryUnavailable, match=r"history\.sqlite is a SQLite file, but no history"):
        await store.open()
    assert await tables_of(SqlitePlace(tmp_path)) == "theirs.id\n"

    (tmp_path / "history.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(HistoryUnavailable, match=r"history\.sqlite"):
        await store.open()


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


def in_database(url: str, name: str) -> str:
    """Return the URL of another database, as the same role."""
    return f"{url.rpartition('/')[0]}/{name}"


async def test_a_server_that_is_too_old_is_refused(postgres_schema: FreshDatabase) -> None:
    [(version,)] = await PostgresPlace(postgres_schema).ask("SELECT current_setting('server_version')")
    assert len(version) == len("13.9")
    async with relay_to(postgres_schema.url) as relay:
        relay.answers = lambda data: data.replace(f"server_version\0{version}\0".encode(), b"server_version\x0013.9\0")
        store = PostgresHistory(relay.url)
        with pytest.raises(HistoryUnavailable, match=r"the server is PostgreSQL 13\.9, expected 14 or younger"):
            await store.open()
        await store.close()
    assert await tables_of(PostgresPlace(postgres_schema)) == ""


async def test_a_database_that_cannot_hold_every_text_is_refused(
    postgres_database: FreshDatabase, postgres_server_url: str
) -> None:
    name = f"test_{secrets.token_hex(6)}"
    if postgres_database.role is None:
        pytest.skip("the role of the server's URL cannot make databases for others")
    admin = await asyncpg.connect(postgres_server_url)
    await admin.execute(
        f"CREATE DATABASE {name} OWNER {postgres_database.role} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    )
    store = PostgresHistory(in_database(postgres_database.url, name))

    with pytest.raises(HistoryUnavailable, match="the encoding of the database is LATIN1, expected UTF8"):
        await store.open()
    assert "a database whose encoding is UTF8, not LATIN1" in (await store.condition()).lacking

    await store.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def landlord(postgres_server_url: str) -> AsyncIterator[FreshDatabase]:
    """A database in which the service owns nothing yet."""
    database = await create_database(postgres_server_url)
    if database.role is None:
        pytest.skip("the role of the server's URL cannot make roles")
    yield database
    await drop_database(postgres_server_url, database)


async def test_a_role_needs_to_own_no_more_than_a_schema(
    landlord: FreshDatabase, postgres_server_url: str, tmp_path: Path
) -> None:
    tenant = await create_database(postgres_server_url)
    admin = await asyncpg.connect(landlord.admin_url)
    await admin.execute(f"GRANT CONNECT ON DATABASE {landlord.name} TO {tenant.role}")
    await admin.execute(f"CREATE SCHEMA monitor AUTHORIZATION {tenant.role}")
    await admin.execute(f"ALTER ROLE {tenant.role} SET search_path = monitor")
    store = PostgresHistory(in_database(tenant.url, landlord.name))

    await store.open()
    with await record(tmp_path, deliveries(1)) as reader:
        await write_entries(store, reader)
    await write_snapshots(store, snapshot(NOW, "100"))
    await store.prune(NOW + DAY)
    await store.forget("main")

    owners = "SELECT DISTINCT tableowner, schemaname FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'"
    assert [tuple(row) for row in await admin.fetch(owners)] == [(tenant.role, "monitor")]
    await store.close()
    await admin.execute("DROP SCHEMA monitor CASCADE")
    await admin.execute(f"REVOKE ALL ON DATABASE {landlord.name} FROM {tenant.role}")
    await admin.close()
    await drop_database(postgres_server_url, tenant)


async def test_a_role_that_may_make_nothing_uses_tables_that_are_complete(
    landlord: FreshDatabase, postgres_server_url: str, tmp_path: Path
) -> None:
    owner = PostgresHistory(landlord.url)
    await owner.open()
    tenant = await create_database(postgres_server_url)
    admin = await asyncpg.connect(landlord.admin_url)
    await admin.execute(
        f"GRANT CONNECT ON DATABASE {landlord.name} TO {tenant.role};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {tenant.role}"
    )
    store = PostgresHistory(in_database(tenant.url, landlord.name))

    await store.open()
    with await record(tmp_path, deliveries(1)) as reader:
        await write_entries(store, reader)
    await write_snapshots(store, snapshot(NOW, "100"))

    assert (await store.cursor("main")).snapshot_ms == NOW
    await store.close()
    await owner.close()
    await admin.execute(
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {tenant.role};"
        f"REVOKE ALL ON DATABASE {landlord.name} FROM {tenant.role}"
    )
    await admin.close()
    await drop_database(postgres_server_url, tenant)


async def test_what_the_server_is_stands_in_the_description(postgres_schema: FreshDatabase) -> None:
    [(version,)] = await PostgresPlace(postgres_schema).ask("SELECT current_setting('server_version')")
    store = PostgresHistory(postgres_schema.url)
    await store.open()

    assert store.description == f"PostgreSQL {version}"
    await store.close()


async def test_an_extension_that_may_not_sum_up_is_not_used(landlord: FreshDatabase) -> None:
    admin = await asyncpg.connect(landlord.admin_url)
    # TimescaleDB under its Apache license has no continuous aggregates; here it has nothing at all.
    await admin.execute(
        f"ALTER DATABASE {landlord.name} SET timescaledb.license = 'apache';"
        "SET allow_system_table_mods = on;"
        "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
        " SELECT 99999, 'timescaledb', 10, 'public'::regnamespace, false, '2.23.0'"
    )
    store = PostgresHistory(landlord.url)
    await store.connect()
    remark = (await store.condition()).remark

    await store.open()

    assert remark == "TimescaleDB 2.23.0 may not sum up under its Apache license: P&L is summed up by the service"
    assert not store.is_timescale
    await store.close()
    await admin.close()


# -- TimescaleDB -------------------------------------------------------------------------------------------------------


async def test_timescale_needs_no_superuser_once_the_extension_is_there(
    breakable_timescale: TimescaleServer, tmp_path: Path
) -> None:
    breakable_timescale.kill()  # roles are of a session there, and all tests share it: this one begins with a new one
    database = await breakable_timescale.create_database()
    role = f"role_{database.name}"
    admin = TimescalePlace(database)
    await admin.ask(f"CREATE ROLE {role}")
    await admin.ask(f"ALTER SCHEMA {database.name} OWNER TO {role}")
    store = PostgresHistory(f"{database.url}%20-crole%3D{role}", keeping=None)
    try:
        await store.open()
        with await record(tmp_path, deliveries(1)) as reader:
            batch = batch_of(reader, await store.cursor("main"))
            await store.write(batch._replace(snapshots=[snapshot(NOW, "100")]))

        assert store.is_timescale
        assert "TimescaleDB 2." in store.description
        owners = f"SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = '{database.name}'"
        assert await admin.ask(owners) == [(role,)]
    finally:
        await store.close()
        breakable_timescale.kill()


@pytest.mark.parametrize("part", ["postgres", "sqlite", "timescale"])
def test_every_statement_has_a_name_of_its_own(part: str) -> None:
    text = (Path(schema.__file__).parents[1] / "sql" / "history" / part / "queries.sql").read_text()

    assert len(load_queries(f"history/{part}")) == text.count("-- name: ") > 0
