"""The file of a journal: where it lies, who may write it, how it is opened, and what its failures mean."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import apsw

from account_monitor.errors import (
    JournalCorrupt,
    JournalDamaged,
    JournalError,
    JournalInUse,
    JournalTooNew,
    JournalTooOld,
)
from account_monitor.stores.chain import Base, Head
from account_monitor.stores.sql import load_migrations, load_queries

SQL = load_queries("journal")
MIGRATIONS = load_migrations("journal")

_APPLICATION_ID = 1095584330
_BUSY_MS = 5_000
_WRITER_CACHE_KIB = 16_384  # the pages where the indexes grow; the rest stays in the operating system's cache
_READER_CACHE_KIB = 2_048
_LARGEST_WAL = 64 * 1024 * 1024
_ROOM_BYTES = 2 * 1024 * 1024


def journal_path(data_dir: Path, account: str) -> Path:
    """Return where the journal of an account lies."""
    return data_dir / f"{account}.journal"


def leftovers(path: Path) -> list[Path]:
    """Return the files of a journal that exist: itself, and what SQLite keeps beside it."""
    return [p for suffix in ("", "-wal", "-shm", "-journal") if (p := Path(f"{path}{suffix}")).exists()]


class WriterLock:
    """The right to write a journal: a lock on the file `<journal>.lock`, which the system frees if the process dies."""

    def __init__(self, journal: Path) -> None:
        """Take the lock. Raises: JournalInUse, naming the process that has it."""
        self._fd = os.open(f"{journal}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise JournalInUse(
                f"{journal} is being written by process {holder}; one process writes a journal"
            ) from error
        os.truncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others write. The file stays: to remove it would let two processes lock two files of one name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_for_writing(path: Path, account: str, now_ms: int) -> apsw.Connection:
    """Open or create a journal and bring its schema up to date. The caller holds the lock.

    Raises: JournalTooNew; JournalCorrupt; JournalError for a file that is another's.
    """
    is_new = not path.exists()
    with explained(path):
        if is_new:
            with suppress(OSError):  # SQLite meets the same below, and says so in words that callers know
                open_private(path).close()  # what SQLite keeps beside it gets the same mode
        connection = apsw.Connection(str(path))
        try:
            _prepare_for_writing(connection, path, account, now_ms)
        except BaseException:
            connection.close()
            raise
    if is_new:
        sync_directory(path.parent)
    return connection


def _prepare_for_writing(connection: apsw.Connection, path: Path, account: str, now_ms: int) -> None:
    connection.set_busy_timeout(_BUSY_MS)
    version = schema_version(connection, path)
    if version == 0 and connection.pragma("schema_version"):
        raise JournalError(f"{path} is a SQLite file, but no journal")
    # What a journal forgot is given back to the disk: SQLite can do that only where it was told before the first table.
    connection.pragma("auto_vacuum", "INCREMENTAL")
    if connection.pragma("journal_mode", "wal") != "wal":
        raise JournalError(f"{path}: SQLite cannot keep a write-ahead log here; is this a network file system?")
    # FULL: a commit returns after the WAL is flushed. Nothing is needed outside the data directory: no temporary files.
    # No mmap: an I/O error would be a signal that ends the process.
    for name, value in (
        ("synchronous", "FULL"),
        ("temp_store", "MEMORY"),
        ("mmap_size", 0),
        ("cache_size", -_WRITER_CACHE_KIB),
        ("journal_size_limit", _LARGEST_WAL),
        ("cell_size_check", "ON"),
    ):
        connection.pragma(name, value)
    migrate(connection, path)
    with transaction(connection):
        connection.execute(SQL["name_account"], (account, now_ms))
        connection.execute(SQL["start_first_epoch"], (now_ms,))
    _check_end(connection, path, account)


def _check_end(connection: apsw.Connection, path: Path, account: str) -> None:
    owner, head = read_head(connection)
    if owner != account:
        raise JournalError(f"{path} is the journal of account {owner!r}, expected {account!r}")
    newest = connection.execute(SQL["newest_entry"]).fetchone() or read_base(connection)
    if newest != (head.seq, head.hash):
        raise JournalDamaged(f"{path}: entry {head.seq} was the newest, found entry {newest[0]} with another hash")


def open_for_reading(path: Path) -> apsw.Connection:
    """Open a journal that another connection or process may be writing.

    Raises: JournalTooNew; JournalTooOld for one that its writer has to bring up to date first; JournalCorrupt;
    JournalError where there is none.
    """
    if not path.exists():
        raise JournalError(f"there is no journal at {path}")
    with explained(path):
        connection = _connect_for_reading(path)
        try:
            if (version := schema_version(connection, path)) != len(MIGRATIONS):
                if version == 0:
                    raise JournalTooOld(f"{path} is no journal: nothing of one was written to it")
                raise JournalTooOld(
                    f"{path} has schema version {version}, expected {len(MIGRATIONS)}; start the service once with this"
                    " version, which brings it up to date"
                )
        except BaseException:
            connection.close()
            raise
    return connection


def _connect_for_reading(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        connection.pragma("mmap_size", 0)
        connection.pragma("temp_store", "MEMORY")
        connection.pragma("cache_size", -_READER_CACHE_KIB)
        connection.pragma("schema_version")  # the first read: it needs the WAL and its index
        return connection
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close()
        wal = Path(f"{path}-wal")
        if wal.exists() and wal.stat().st_size:
            raise
    # A read-only directory and no WAL: nobody can be writing, so SQLite may read without locks and an index.
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)


def schema_version(connection: apsw.Connection, path: Path) -> int:
    """Return the version of the schema, 0 for an empty file. Raises: JournalTooNew, JournalError."""
    version = int(connection.pragma("user_version"))
    if version and connection.pragma("application_id") != _APPLICATION_ID:
        raise JournalError(f"{path} is a SQLite file, but no journal")
    if version > len(MIGRATIONS):
        raise JournalTooNew(f"{path} has schema version {version}; this program knows up to {len(MIGRATIONS)}")
    return version


def migrate(connection: apsw.Connection, path: Path) -> None:
    """Run the migrations that are missing, each in a transaction of its own."""
    for number in range(schema_version(connection, path) + 1, len(MIGRATIONS) + 1):
        with transaction(connection):
            connection.execute(MIGRATIONS[number - 1])
            connection.pragma("user_version", number)


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit what happens inside, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if not connection.get_autocommit():
            connection.execute("ROLLBACK")
        raise


def read_head(connection: apsw.Connection) -> tuple[str, Head]:
    """Return whose journal this is and where it ends."""
    row: Any = connection.execute(SQL["head"]).fetchone()
    account, epoch, seq, last_hash = row
    return account, Head(epoch, seq, last_hash)


def read_base(connection: apsw.Connection) -> Base:
    """Return what comes before the first entry that a journal still holds."""
    row: Any = connection.execute(SQL["base"]).fetchone()
    return Base._make(row)


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone may enter; one that is there stays as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_private(path: Path) -> BinaryIO:
    """Open a file to be written anew, which its owner alone may read if it is new."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")


def sync_directory(directory: Path) -> None:
    """Make the names of new or renamed files durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a file into a JournalError, or JournalDamaged where the file is damaged."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError) as error:
        raise JournalDamaged(f"{path}: {cause(error)}") from error
    except apsw.Error as error:
        raise JournalError(f"{path}: {cause(error)}") from error


@contextmanager
def blamed(path: Path) -> Iterator[None]:
    """Say of what is wrong with entries that were read from a file that the file is damaged."""
    try:
        yield
    except JournalDamaged:
        raise
    except JournalCorrupt as error:
        text = str(error)
        raise JournalDamaged(text if text.startswith(str(path)) else f"{path}: {text}") from error


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (apsw.FullError, "the disk is full"),
    (apsw.IOError, "input or output failed"),
    (apsw.ReadOnlyError, "the file is read-only"),
    (apsw.CorruptError, "the file is damaged"),
    (apsw.NotADBError, "this is no SQLite file"),
    (apsw.BusyError, "another process holds the file"),
    (apsw.CantOpenError, "the file cannot be opened"),
    (apsw.NoMemError, "memory is exhausted"),
)


def cause(error: BaseException) -> str:
    """Return in words, and by SQLite's own name, what went wrong."""
    for kind, words in _CAUSES:
        if isinstance(error, kind):
            return f"{words} ({_code(error)})"
    return f"{type(error).__name__}: {error}"


def may_pass(error: BaseException) -> bool:
    """Whether what keeps a file from being written may be over later, and left the file as it was.

    A flush that failed is not such: pages that the system dropped are gone, and the next flush would not say so.
    """
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) not in (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)
    return isinstance(error, apsw.FullError | apsw.ReadOnlyError | apsw.CantOpenError | apsw.BusyError)


def has_room(directory: Path) -> bool:
    """Whether a journal could be written there for a while: tried with a file that is gone at once."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(_ROOM_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def is_out_of_room(directory: Path) -> bool:
    """Whether it is plain, without a try, that no journal can be written there."""
    try:
        found = os.statvfs(directory)
    except FileNotFoundError:
        return False  # it is made with the first journal
    except OSError:
        return True
    return bool(found.f_flag & os.ST_RDONLY) or found.f_bavail * found.f_frsize < _ROOM_BYTES


def _code(error: Any) -> str:
    code = getattr(error, "extendedresult", 0)
    name = apsw.mapping_extended_result_codes.get(code) or apsw.mapping_result_codes.get(code & 0xFF)
    return str(name or error)
