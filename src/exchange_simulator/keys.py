"""Listen keys: which account does a user data stream belong to, and until when?

One key for an account at a time, shared by all its clients, valid for 60 minutes after it was made or renewed.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from typing import NamedTuple

from exchange_simulator.errors import VenueError

LIFETIME_MS = 3_600_000

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 64


class ListenKey(NamedTuple):
    key: str
    api_key: str
    expires_ms: int


class ListenKeys:
    """The valid keys; an expired or closed one is forgotten."""

    def __init__(self, clock: Callable[[], int], seed: int) -> None:
        self._clock = clock
        self._random = random.Random(f"{seed}:listen keys")  # noqa: S311  # repeatable on purpose
        self._by_key: dict[str, ListenKey] = {}
        self._by_account: dict[str, ListenKey] = {}

    def start(self, api_key: str) -> str:
        """Return the account's key, valid for another 60 minutes; a new one where it has none."""
        known = self._valid(self._by_account.get(api_key))
        key = known.key if known else "".join(self._random.choices(_ALPHABET, k=_LENGTH))
        self._keep(key, api_key)
        return key

    def renew(self, api_key: str) -> str:
        """Return the account's key, valid for another 60 minutes. Raises: VenueError −1125 where it has none."""
        known = self._valid(self._by_account.get(api_key))
        if known is None:
            raise VenueError(-1125, "This listenKey does not exist.")
        self._keep(known.key, api_key)
        return known.key

    def close(self, api_key: str) -> None:
        """Make the account's key invalid, for every client that uses it; streams on it go silent."""
        self.forget(self._by_account.get(api_key))

    def account_of(self, key: str) -> str | None:
        """Return the API key of the account that a valid key belongs to."""
        known = self._valid(self._by_key.get(key))
        return known.api_key if known else None

    def current(self, api_key: str) -> ListenKey | None:
        return self._valid(self._by_account.get(api_key))

    def take_expired(self) -> list[ListenKey]:
        """Forget the keys whose time is up, and return them."""
        now = self._clock()
        expired = [known for known in self._by_key.values() if known.expires_ms <= now]
        for known in expired:
            self.forget(known)
        return expired

    def next_due_ms(self) -> int | None:
        """Return when the next key expires."""
        return min((known.expires_ms for known in self._by_key.values()), default=None)

    def forget(self, known: ListenKey | None) -> None:
        if known is None:
            return
        self._by_key.pop(known.key, None)
        current = self._by_account.get(known.api_key)
        if current is not None and current.key == known.key:
            del self._by_account[known.api_key]

    def _keep(self, key: str, api_key: str) -> None:
        known = ListenKey(key, api_key, self._clock() + LIFETIME_MS)
        self._by_key[key] = self._by_account[api_key] = known

    def _valid(self, known: ListenKey | None) -> ListenKey | None:
        return known if known is not None and self._clock() < known.expires_ms else None
