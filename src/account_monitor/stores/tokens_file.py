"""Tokens file: who may come in, as hashes, readable by its owner alone. Read by the service, written by `token`."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from account_monitor.config import values
from account_monitor.config.secrets import escaped
from account_monitor.errors import CommandFailed, TokensRefused
from account_monitor.monitor.reports import time_text
from account_monitor.stores.journal_file import sync_directory
from account_monitor.tokens import NAME_MEANING, Right, Token, TokenSet, is_name

MAX_BYTES = 4 * 1024 * 1024
MAX_TOKENS = 10_000
LOCK_SECONDS = 10.0
"""How long a command waits for another one that writes."""

_VERSION = 1

_is_id = re.compile(r"[0-9a-f]{12}").fullmatch
_is_digest = re.compile(r"[0-9a-f]{64}").fullmatch


class Stamp(NamedTuple):
    """What changes when a file does: looked at often, it costs no reading."""

    modified_ns: int
    inode: int
    size: int
    mode: int
    owner: int


class _Written(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: str
    name: str
    sha256: str
    scope: Right
    accounts: list[str] | None
    created: str
    created_by: str
    expires: str | None = None
    revoked: str | None = None
    revoked_by: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    version: int
    tokens: list[_Written]


_decode = msgspec.json.Decoder(_File).decode


class TokensFile:
    """One file of tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> Stamp | None:
        """Return what changes with the content, None where there is no file that could be looked at."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return Stamp(found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_uid)

    def read(self, *, is_served: bool = False) -> TokenSet | None:
        """Return the tokens, None where there is no file; an empty file has none. `is_served`: whom it names is let in
        by this process, so it must be its user's own; otherwise root may read what belongs to the service's user.

        Raises: TokensRefused for a file that others can read or own, or that cannot be understood.
        """
        content = self._content(is_served=is_served)
        if content is None:
            return None
        return TokenSet(self._decoded(content)) if content.strip() else TokenSet()

    def add(self, token: Token) -> None:
        """Write down a new token. Raises: CommandFailed for a name that is taken; TokensRefused, as `read`."""
        with self._changing() as tokens:
            taken = next((each for each in tokens if each.name.lower() == token.name.lower()), None)
            if taken is not None:
                since = time_text(taken.created_ms)
                raise CommandFailed(
                    f"{self._shown}: the name {token.name!r} is taken by a token of {since}; a name is given once, so"
                    " that journals stay true: choose another"
                )
            if len(tokens) >= MAX_TOKENS:
                raise CommandFailed(f"{self._shown}: holds {len(tokens):,} tokens, expected at most {MAX_TOKENS:,}")
            tokens.append(token)

    def revoke(self, name: str, *, now_ms: int, by: str) -> Token:
        """Write down that a token lets nobody in any more; return it.

        Raises: CommandFailed where none of this name is left to be revoked; TokensRefused, as `read`.
        """
        with self._changing() as tokens:
            for index, token in enumerate(tokens):
                if token.name == name:
                    self._check_not_revoked(token)
                    tokens[index] = token._replace(revoked_ms=now_ms, revoked_by=by)
                    return tokens[index]
            known = ", ".join(token.name for token in tokens if token.revoked_ms is None) or "none"
            raise CommandFailed(f"{self._shown}: no token {name[:60]!r} is there to be revoked; not revoked: {known}")

    def revoke_all(self, *, now_ms: int, by: str) -> list[Token]:
        """Write down that nobody is let in any more, expired tokens included; return those that were not revoked yet.

        Raises: TokensRefused, as `read`.
        """
        with self._changing() as tokens:
            revoked = [token._replace(revoked_ms=now_ms, revoked_by=by) for token in tokens if token.revoked_ms is None]
            by_id = {token.id: token for token in revoked}
            tokens[:] = [by_id.get(token.id, token) for token in tokens]
            return revoked

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def _shown(self) -> str:
        return escaped(str(self.path))

    def _check_not_revoked(self, token: Token) -> None:
        if token.revoked_ms is not None:
            who = "" if token.revoked_by is None else f" by {token.revoked_by}"
            when = time_text(token.revoked_ms)
            raise CommandFailed(f"{self._shown}: token {token.name!r} was already revoked, at {when}{who}")

    def _content(self, *, is_served: bool) -> bytes | None:
        try:
            with self._opened() as opened:
                found = os.fstat(opened.fileno())  # of what is read, whatever the name means by then
                self._check_owner(found, is_served=is_served)
                content = opened.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TokensRefused(f"{self._shown}: cannot be read: {error.strerror or error}") from error
        if len(content) > MAX_BYTES:
            raise TokensRefused(f"{self._shown}: has more than {MAX_BYTES:,} bytes, expected a file of tokens")
        return content

    def _opened(self) -> BinaryIO:
        """Open it, whatever it is: a pipe in its place would otherwise be waited for until somebody writes."""
        return os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")

    def _check_owner(self, found: os.stat_result, *, is_served: bool) -> None:
        """Raises: TokensRefused where others than the owner could know the hashes, or let themselves in."""
        if not stat.S_ISREG(found.st_mode):
            raise TokensRefused(f"{self._shown}: is no file, expected a regular one")
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            raise TokensRefused(
                f"{self._shown}: has mode {mode:04o}, expected 0600: others than its owner could use it; chmod 600 it"
            )
        user = os.geteuid()
        if found.st_uid != user and (user != 0 or is_served):
            raise TokensRefused(f"{self._shown}: belongs to user {found.st_uid}, expected {user}, who runs this")

    def _decoded(self, content: bytes) -> list[Token]:
        try:
            document = _decode(content)
            if document.version != _VERSION:
                raise ValueError(f"version was {document.version}, expected {_VERSION}")
            tokens = [_token(written) for written in document.tokens]
        except ValueError as error:  # msgspec's and that of the encoding are such
            raise TokensRefused(f"{self._shown}: is no file of tokens: {error}") from error
        for what, seen in (("id", [t.id for t in tokens]), ("name", [t.name.lower() for t in tokens])):
            if len(set(seen)) < len(seen):
                twice = next(each for each in seen if seen.count(each) > 1)
                raise TokensRefused(f"{self._shown}: the {what} {twice!r} is there twice, expected once")
        return tokens

    # -- writing -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """Give the tokens to be changed, and write them if nothing fails. Nobody else changes them meanwhile."""
        try:
            with self._locked():
                known = self.read()
                tokens = list(known.tokens) if known is not None else []
                yield tokens
                self._write(tokens)
        except OSError as error:
            raise TokensRefused(f"{self._shown}: cannot be written: {error.strerror or error}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the right to write. The file of the lock stays, or two could lock two files of one name."""
        opened = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(opened)
            yield
        finally:
            os.close(opened)

    def _lock(self, opened: int) -> None:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                return fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    told = f"another command has been writing for {LOCK_SECONDS:g} s"
                    raise CommandFailed(f"{self._shown}: {told}; try again") from None
            time.sleep(0.02)

    def _write(self, tokens: list[Token]) -> None:
        """Replace the file at once: who reads sees the old one or the new one, and a crash leaves one of the two."""
        target = self.path.resolve()  # a link goes on leading to the file
        owner = target.stat().st_uid if target.exists() else os.geteuid()
        scratch = target.with_name(f".{target.name}.{os.getpid()}.new")
        scratch.unlink(missing_ok=True)  # of a process of this number that crashed
        document = _File(version=_VERSION, tokens=[_written(token) for token in tokens])
        opened = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(opened, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
                if owner != os.geteuid():
                    os.fchown(file.fileno(), owner, -1)  # root, for the user of the service
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(target)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        sync_directory(target.parent)


def _token(written: _Written) -> Token:
    if not is_name(written.name):
        raise ValueError(f"name was {written.name[:60]!r}, expected {NAME_MEANING}")
    for what, text, is_right in (("id", written.id, _is_id), ("sha256", written.sha256, _is_digest)):
        if not is_right(text):
            raise ValueError(f"{what} of {written.name[:60]!r} was {text[:70]!r}, expected lower-case hexadecimals")
    return Token(
        written.id,
        written.name,
        bytes.fromhex(written.sha256),
        written.scope,
        None if written.accounts is None else frozenset(written.accounts),
        values.moment(written.created),
        written.created_by,
        None if written.expires is None else values.moment(written.expires),
        None if written.revoked is None else values.moment(written.revoked),
        written.revoked_by,
    )


def _written(token: Token) -> _Written:
    return _Written(
        id=token.id,
        name=token.name,
        sha256=token.digest.hex(),
        scope=token.right,
        accounts=None if token.accounts is None else sorted(token.accounts),
        created=time_text(token.created_ms),
        created_by=token.created_by,
        expires=None if token.expires_ms is None else time_text(token.expires_ms),
        revoked=None if token.revoked_ms is None else time_text(token.revoked_ms),
        revoked_by=token.revoked_by,
    )
