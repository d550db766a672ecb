"""Chain: how each entry vouches for all before it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from account_monitor.errors import JournalCorrupt
from account_monitor.ledger.events import Event, Fill, FundingPayment, trade_number
from account_monitor.monitor.fills import NO_NUMBER
from account_monitor.stores.codec import decode_event

START = bytes(32)
"""The hash before the first entry."""

_pack = msgspec.msgpack.Encoder().encode


class Row(NamedTuple):
    """An entry as the table holds it. What comes after `source` follows from the event, `hash` from all of it."""

    seq: int
    event_id: str
    kind: str
    at_ms: int
    recorded_at_ms: int
    source: str
    position_key: str | None
    trade_number: int | None
    symbol: str | None
    body: str
    hash: bytes


class Base(NamedTuple):
    """What comes before the first entry that a journal still holds: the last that it does not, 0 where it has all."""

    seq: int
    hash: bytes


BEGINNING = Base(0, START)


class Head(NamedTuple):
    """The end of a journal: its epoch, and the newest entry with its hash."""

    epoch: int
    seq: int
    hash: bytes


def link(before: bytes, epoch: int, row: Sequence[object], body: bytes) -> bytes:
    """Return the hash of an entry whose first six columns are `row`.

    It is SHA-256 of the MessagePack array [hash before, epoch, seq, event_id, kind, at_ms, recorded_at_ms, source,
    body], hash and body as binary: every part carries its length, so no two entries are written alike.
    """
    return sha256(_pack((before, epoch, *row, body))).digest()


def columns(event: Event) -> tuple[str | None, int | None, str | None]:
    """Return position_key, trade_number and symbol of an event: what the indexes need."""
    if isinstance(event, Fill):
        number = trade_number(event.trade_id)
        return event.key, NO_NUMBER if number is None else number, event.symbol
    if isinstance(event, FundingPayment):
        return event.key, None, event.symbol
    return None, None, None


class Chain:
    """Follows a journal entry by entry and says where it breaks."""

    def __init__(self, epochs: Sequence[tuple[int, int]], base: Base = BEGINNING) -> None:
        """Start after the base; `epochs` are (epoch, first seq) in the order of the epochs."""
        self.seq, self.hash = base
        self._epochs = [epoch for epoch, _ in epochs]
        self._starts = [first_seq for _, first_seq in epochs]

    def check(self, row: Row) -> Event:
        """Take the next entry, and return what it says. Raises: JournalCorrupt, naming the first that does not fit."""
        expected = self.seq + 1
        if row.seq != expected:
            raise JournalCorrupt(f"entry {expected} is missing: {self.seq or 'the start'} is followed by {row.seq}")
        index = bisect_right(self._starts, row.seq) - 1
        if index < 0:
            raise JournalCorrupt(f"entry {row.seq} belongs to no epoch")
        if link(self.hash, self._epochs[index], row[:6], row.body.encode()) != row.hash:
            raise JournalCorrupt(f"entry {row.seq} ({row.event_id}) does not match its hash, or the one before it")
        event = decode_event(row.seq, row.kind, row.body)
        said = (row.event_id, row.at_ms, row.position_key, row.trade_number, row.symbol)
        if said != (event.event_id, event.at_ms, *columns(event)):
            raise JournalCorrupt(f"entry {row.seq} ({row.event_id}) is indexed under what its body does not say")
        self.seq, self.hash = row.seq, row.hash
        return event
