"""Checkpoints: folded states in the journal, so that a restart folds only what came after."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Protocol

import msgspec

import account_monitor.ledger
from account_monitor.errors import JournalCorrupt
from account_monitor.ledger.account import AccountState
from account_monitor.monitor.ports import Journal


class JournalCheckpoints:
    """The states that a journal keeps, as JSON, valid only for the ledger code and the settings that folded them."""

    def __init__(self, journal: Journal, usd_assets: frozenset[str]) -> None:
        self._journal = journal
        self._usd_assets = usd_assets

    def load(self) -> AccountState | None:
        """Return the newest state that this ledger folded, None where there is none. Raises: JournalCorrupt."""
        return load_state(self._journal, self._usd_assets)

    async def save(self, state: AccountState) -> None:
        """Keep a state."""
        await self._journal.save_checkpoint(state.seq, _fingerprint(self._usd_assets), encode_state(state))


class Kept(Protocol):
    """Where written states are kept: a journal, or its reader."""

    account: str

    def load_checkpoint(self, fingerprint: str) -> tuple[int, bytes] | None:
        """Return (seq, state) of the newest one under a fingerprint."""


def load_state(journal: Kept, usd_assets: frozenset[str]) -> AccountState | None:
    """Return the newest state that this ledger folded under these settings.

    Raises: JournalCorrupt for a state that cannot be read.
    """
    found = journal.load_checkpoint(_fingerprint(usd_assets))
    if found is None:
        return None
    seq, state = found
    try:
        return decode_state(state)
    except msgspec.DecodeError as error:
        raise JournalCorrupt(f"account {journal.account}: checkpoint at seq {seq}: {error}") from error


def encode_state(state: AccountState) -> bytes:
    """Write a state as JSON; decimals are text."""
    return msgspec.json.encode(state)


_decoder = msgspec.json.Decoder(AccountState)


def decode_state(state: bytes) -> AccountState:
    """Read a state. Raises: msgspec.DecodeError."""
    return _decoder.decode(state)


@functools.cache
def _fingerprint(usd_assets: frozenset[str]) -> str:
    """Identify the code and the settings that fold: any change makes older states unusable, and all is folded again."""
    digest = hashlib.sha256()
    for source in sorted(Path(account_monitor.ledger.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return f"{digest.hexdigest()[:16]}:{','.join(sorted(usd_assets))}"
