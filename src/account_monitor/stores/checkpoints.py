"""Checkpoints: folded states in the journal, so that a restart folds only what came after."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

import account_monitor.ledger
from account_monitor.errors import JournalCompacted, JournalCorrupt
from account_monitor.ledger.account import AccountState
from account_monitor.monitor.ports import Journal, Recording
from account_monitor.stores.journal_file import read_head
from account_monitor.stores.recorder import Recorder


class Folding(NamedTuple):
    """The settings under which journals are folded; minutes after 00:00 UTC."""

    usd_assets: frozenset[str]
    day_starts_at: int = 0


class KeptStates:
    """The states that a journal keeps, as JSON, valid only for the ledger code and the settings that folded them."""

    def __init__(self, recording: Recording, usd_assets: frozenset[str], *, day_starts_at: int = 0) -> None:
        """`day_starts_at`: minutes after 00:00 UTC."""
        self._recording = recording
        self._usd_assets = usd_assets
        self._day_starts_at = day_starts_at
        self._needed = (0, 0)
        """(seq, needed_after) of the state that was last asked: to read one may take a while."""

    def load(self, *, until: int | None = None, happened_by_ms: int | None = None) -> AccountState | None:
        """Return the newest state that this ledger folded, None where there is none. Raises: JournalCorrupt."""
        return load_state(
            self._recording, self._usd_assets, day_starts_at=self._day_starts_at, until=until,
            happened_by_ms=happened_by_ms,
        )  # fmt: skip

    def first(self) -> AccountState | None:
        """Return the oldest state that may be continued from. Raises: JournalCorrupt."""
        first = state = self.load()
        while state is not None and state.seq:
            first, state = state, self.load(until=state.seq - 1)
        return first

    def compactable(self, *, told_from_ms: int, recorded_by_ms: int, replicated_seq: int) -> int:
        """Return up to which entry a journal can do without, so that every moment from one time on can be told.

        What was recorded after the other time stays, and what is in no replica.
        """
        recording = self._recording
        try:
            until, told_from = recording.seq_at(recorded_by_ms), recording.seq_at(told_from_ms)
        except JournalCompacted:
            return 0
        fingerprint = _fingerprint(self._usd_assets, self._day_starts_at)
        kept = recording.load_checkpoints(fingerprint, until=min(told_from, replicated_seq))
        for seq, written in kept:
            if seq != self._needed[0]:
                self._needed = (seq, _decoded(recording, seq, written).needed_after)
            return min(until, self._needed[1])
        return 0


class JournalCheckpoints(KeptStates):
    """The same of a journal that is written."""

    def __init__(
        self,
        journal: Journal,
        usd_assets: frozenset[str],
        *,
        day_starts_at: int = 0,
        folded: AccountState | None = None,
    ) -> None:
        """`folded`: what this process folded of the journal before it wrote it, under the same settings."""
        super().__init__(journal, usd_assets, day_starts_at=day_starts_at)
        self._journal = journal
        self._folded = folded

    def load(self, *, until: int | None = None, happened_by_ms: int | None = None) -> AccountState | None:
        """Return the newest state that this ledger folded, None where there is none. Raises: JournalCorrupt."""
        folded = self._folded
        if folded is not None and until is None and happened_by_ms is None:
            self._folded = None  # whoever has it goes on with it: what is asked for later is as it was kept
            return folded
        return super().load(until=until, happened_by_ms=happened_by_ms)

    async def save(self, state: AccountState) -> None:
        """Keep a state."""
        fingerprint = _fingerprint(self._usd_assets, self._day_starts_at)
        await self._journal.save_checkpoint(state.seq, fingerprint, encode_state(state))


def load_state(
    journal: Recording,
    usd_assets: frozenset[str],
    *,
    day_starts_at: int = 0,
    until: int | None = None,
    happened_by_ms: int | None = None,
) -> AccountState | None:
    """Return the newest state that this ledger folded under these settings and can go on from: at most at a sequence,
    with no event after a time.

    Raises: JournalCorrupt for a state that cannot be read.
    """
    for seq, written in journal.load_checkpoints(_fingerprint(usd_assets, day_starts_at), until=until):
        state = _decoded(journal, seq, written)
        if state.needed_after < journal.base_seq:
            return None  # what is late would need entries that are in the history only
        if happened_by_ms is None or state.latest_ms <= happened_by_ms:
            return state
    return None


def _decoded(journal: Recording, seq: int, written: bytes) -> AccountState:
    try:
        return decode_state(written)
    except msgspec.DecodeError as error:
        raise JournalCorrupt(f"account {journal.account}: checkpoint at seq {seq}: {error}") from error


def encode_state(state: AccountState) -> bytes:
    """Write a state as JSON; decimals are text."""
    return msgspec.json.encode(state)


def keep_state(
    connection: apsw.Connection, state: AccountState, usd_assets: frozenset[str], *, day_starts_at: int = 0
) -> None:
    """Keep a state in a journal that nobody else writes; within a transaction."""
    recorder = Recorder(connection, read_head(connection)[1], {})
    recorder.save_checkpoint(state.seq, _fingerprint(usd_assets, day_starts_at), encode_state(state))


_decoder = msgspec.json.Decoder(AccountState)


def decode_state(state: bytes) -> AccountState:
    """Read a state. Raises: msgspec.DecodeError."""
    return _decoder.decode(state)


@functools.cache
def _fingerprint(usd_assets: frozenset[str], day_starts_at: int = 0) -> str:
    """Identify the code and the settings that fold: any change makes older states unusable, and all is folded again."""
    digest = hashlib.sha256()
    for source in sorted(Path(account_monitor.ledger.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return f"{digest.hexdigest()[:16]}:{','.join(sorted(usd_assets))}:{day_starts_at}"
