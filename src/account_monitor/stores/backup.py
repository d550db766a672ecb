"""Backup: every journal of a service, online, to one file and back."""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import apsw
import msgspec

from account_monitor.errors import JournalCorrupt, JournalError
from account_monitor.monitor.ports import Clock
from account_monitor.stores.chain import Head
from account_monitor.stores.journal_file import (
    SQL,
    WriterLock,
    explained,
    journal_path,
    leftovers,
    make_private,
    migrate,
    open_for_reading,
    open_private,
    read_head,
    sync_directory,
    transaction,
)
from account_monitor.stores.journal_reader import open_reader

_VERSION = 1
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 16 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_is_account = re.compile(r"[A-Za-z0-9_-]+").fullmatch


class SavedJournal(msgspec.Struct, frozen=True):
    """Where the copy of a journal ends. `last_hash` is hexadecimal."""

    epoch: int
    last_seq: int
    last_hash: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds, by account."""

    version: int
    created_at: str
    accounts: dict[str, SavedJournal]


def backup(journals: Mapping[str, Path], target: Path, *, clock: Clock) -> Manifest:
    """Copy the journals, each as of one moment, into the file `target`; services may go on writing.

    `target` appears whole and flushed, or not at all; an older file of that name is replaced.
    Raises: JournalError and its kinds; OSError where the target cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        folder = Path(name)
        saved = {account: _copy(path, journal_path(folder, account)) for account, path in sorted(journals.items())}
        created_at = datetime.fromtimestamp(clock() / 1000, UTC).isoformat(timespec="milliseconds")
        manifest = Manifest(_VERSION, created_at.replace("+00:00", "Z"), saved)
        (folder / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        archive = folder / "archive"
        _pack(folder, manifest, archive)
        archive.replace(target)
    sync_directory(target.parent)
    return manifest


def _copy(source: Path, copy: Path) -> SavedJournal:
    # SQLite copies page by page through its own locks. The journal is never opened as a plain file: closing that would
    # drop the locks which this process holds on it.
    with ExitStack() as stack:
        origin = stack.enter_context(_closing(open_for_reading(source)))
        stack.enter_context(explained(source))
        destination = stack.enter_context(_closing(apsw.Connection(str(copy))))
        with destination.backup("main", origin, "main") as copying:
            copying.step()
        destination.pragma("journal_mode", "delete")  # one file, without a WAL beside it
        account, head = read_head(destination)
    if copy != journal_path(copy.parent, account):
        raise JournalError(f"{source} is the journal of account {account!r}, expected {copy.stem!r}")
    return SavedJournal(head.epoch, head.seq, head.hash.hex())


def _pack(folder: Path, manifest: Manifest, archive: Path) -> None:
    with open_private(archive) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(folder / _MANIFEST, _MANIFEST)
            for account in manifest.accounts:
                copy = journal_path(folder, account)
                tar.add(copy, copy.name)
        file.flush()
        os.fsync(file.fileno())


def restore(source: Path, data_dir: Path, *, clock: Clock) -> Manifest:
    """Put the journals of a backup into `data_dir` once all of them are verified, and begin a new epoch in each.

    The sequence may not continue what readers saw after the backup: a new epoch tells them to start again.
    Raises: JournalInUse or JournalError where a journal of an account is there already; JournalCorrupt for a backup
    whose journals do not match its manifest or their own hash chain; JournalError for a file that is no backup.
    """
    make_private(data_dir)
    with ExitStack() as stack:
        tar = stack.enter_context(_opened(source))
        manifest = _read_manifest(tar, source)
        for account in manifest.accounts:
            stack.callback(_free(data_dir, account).release)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=data_dir, prefix=".restore.")))
        for account, saved in manifest.accounts.items():
            _prepare(tar, journal_path(folder, account), saved, clock())
        for account in manifest.accounts:
            journal_path(folder, account).rename(journal_path(data_dir, account))
        sync_directory(data_dir)
    return manifest


def _free(data_dir: Path, account: str) -> WriterLock:
    path = journal_path(data_dir, account)
    lock = WriterLock(path)
    if found := leftovers(path):
        lock.release()
        raise JournalError(f"{found[0]} exists; move it away before the journal of {account!r} is restored")
    return lock


def _prepare(tar: tarfile.TarFile, copy: Path, saved: SavedJournal, now_ms: int) -> None:
    _extract(tar, copy)
    with explained(copy), _closing(apsw.Connection(str(copy))) as connection:
        migrate(connection, copy)
        account, head = read_head(connection)
        if account != copy.stem or SavedJournal(head.epoch, head.seq, head.hash.hex()) != saved:
            raise JournalCorrupt(f"backup of {copy.stem!r}: its manifest says {saved}, the copy ends at {head}")
    _verify(copy, head)
    with explained(copy), _closing(apsw.Connection(str(copy))) as connection:
        connection.pragma("synchronous", "FULL")
        with transaction(connection):
            connection.execute(SQL["start_next_epoch"], (now_ms,))


def _verify(copy: Path, head: Head) -> None:
    with open_reader(copy) as reader:
        try:
            reader.verify()
        except JournalCorrupt as error:
            raise JournalCorrupt(f"backup of {copy.stem!r}, {head.seq} entries: {error}") from error


def _extract(tar: tarfile.TarFile, copy: Path) -> None:
    with _member(tar, copy.name) as content, open_private(copy) as file:
        while chunk := content.read(_CHUNK_BYTES):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(tar: tarfile.TarFile, source: Path) -> Manifest:
    with _member(tar, _MANIFEST) as content:
        text = content.read(_LARGEST_MANIFEST)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except ValueError as error:
        raise JournalError(f"{source}: this manifest cannot be read: {error}") from error
    if manifest.version != _VERSION:
        raise JournalError(f"{source} has version {manifest.version}; this program knows {_VERSION}")
    # Names become paths: nothing but an account's name may come through.
    for account in manifest.accounts:
        if not _is_account(account):
            raise JournalError(f"{source}: account was {account!r}, expected letters, digits, _ and -")
    return manifest


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        content = tar.extractfile(name)
    except (KeyError, tarfile.TarError) as error:
        raise JournalError(f"{tar.name!s} holds no {name}") from error
    if content is None:
        raise JournalError(f"{tar.name!s}: {name} is no file")
    return content


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        tar = tarfile.open(source, "r:")  # noqa: SIM115  # closed below; what happens inside must not be caught here
    except (OSError, tarfile.TarError) as error:
        raise JournalError(f"{source} cannot be read as a backup: {error}") from error
    with tar:
        yield tar


@contextmanager
def _closing(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    try:
        yield connection
    finally:
        connection.close()
