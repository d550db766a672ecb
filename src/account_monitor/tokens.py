"""Tokens: what somebody shows to be let in, how its text is made, and how it is recognized. Pure: knows no file."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

Right: TypeAlias = Literal["read", "operate"]
"""`operate` changes things, and includes `read`."""

State: TypeAlias = Literal["valid", "expired", "revoked"]

NAME_MEANING = "1 to 40 letters, digits, '.', '_', '-' or '@', the first a letter or digit, and not 'local'"

LOCAL = "local"
"""Who asks where there are no tokens; no token has this name, so that a journal is not read wrongly."""

LONGEST_TEXT = 128
"""Characters of a token at most, of which 60 are needed: nobody makes us hash a novel."""

_ID_BYTES = 6
_SECRET_BYTES = 32

_is_spelt = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}").fullmatch
_is_text = re.compile(r"am_([0-9a-f]{12})_([A-Za-z0-9_-]{1,112})").fullmatch

_NOBODYS = secrets.token_bytes(32)
"""What the secret of an unknown id is compared with, so that it takes as long as that of a known one."""


class Token(NamedTuple):
    """What is kept of a token: never its secret. Times are milliseconds since 1970-01-01 UTC.

    `accounts` None is all of them; `expires_ms` None is never.
    """

    id: str
    name: str
    digest: bytes
    right: Right
    accounts: frozenset[str] | None
    created_ms: int
    created_by: str
    expires_ms: int | None = None
    revoked_ms: int | None = None
    revoked_by: str | None = None

    def state(self, now_ms: int) -> State:
        """Return whether it lets anybody in now."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "valid"


def new_token(
    name: str,
    right: Right,
    accounts: Iterable[str] | None = None,
    *,
    now_ms: int,
    by: str,
    lifetime_ms: int | None = None,
) -> tuple[Token, str]:
    """Return a token and its text, which nobody can find out again.

    Raises: ValueError for a name that cannot be one.
    """
    if not is_name(name):
        raise ValueError(f"was {name[:60]!r}, expected {NAME_MEANING}")
    token_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    named = None if accounts is None else frozenset(accounts)
    expires_ms = None if lifetime_ms is None else now_ms + lifetime_ms
    token = Token(token_id, name, digest_of(secret), right, named, now_ms, by, expires_ms)
    return token, f"am_{token_id}_{secret}"


def digest_of(secret: str) -> bytes:
    """Return what is kept of a secret.

    One round of SHA-256 without salt is right here, where it would be wrong for a password: the secret is 256 random
    bits, so there is no dictionary to try and no table to make in advance, and a slow hash would only let callers
    without a token keep the processor busy.
    """
    return hashlib.sha256(secret.encode()).digest()


def is_name(text: str) -> bool:
    """Whether a token may have this name."""
    return _is_spelt(text) is not None and text.lower() != LOCAL


class TokenSet:
    """The tokens of a file, found by what callers show."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self.tokens = tuple(tokens)
        self._by_id = {token.id: token for token in self.tokens}

    def __len__(self) -> int:
        return len(self.tokens)

    def get(self, token_id: str) -> Token | None:
        """Return the token of an id."""
        return self._by_id.get(token_id)

    def recognize(self, text: str) -> Token | None:
        """Return the token whose text this is, whatever its state; None for nobody's.

        An id that is unknown takes as long as one that is known with a wrong secret, and the comparison takes as long
        wherever the first difference is.
        """
        parts = _is_text(text) if len(text) <= LONGEST_TEXT else None
        token_id, secret = (parts[1], parts[2]) if parts is not None else ("", "")
        token = self._by_id.get(token_id)
        is_right = hmac.compare_digest(digest_of(secret), _NOBODYS if token is None else token.digest)
        return token if is_right else None
