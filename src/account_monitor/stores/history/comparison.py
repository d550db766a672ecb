"""Comparison: is a journal that lies here the one of which the history has a copy, and which of the two goes further?

What is compared is where the shorter one ends; a hash covers all that came before its entry.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from account_monitor.errors import JournalCompacted
from account_monitor.stores.history.store import HistoryStore, Replica
from account_monitor.stores.history.succession import holds
from account_monitor.stores.journal_reader import JournalReader


class Relation(StrEnum):
    """What a journal is to its copy."""

    HOLDS = "holds"
    """All of the copy is in it, and perhaps more that is not copied yet."""
    LACKS = "lacks"
    """The copy has its last entry, and goes on: as where another replica holds the account."""
    PARTED = "parted"
    """Where the shorter one ends, the other has another entry."""
    FORGOT = "forgot"
    """It begins after the end of the copy, so nothing of it can be compared."""


class Comparison(NamedTuple):
    """What a journal is to its copy, and where both ended when they were compared."""

    relation: Relation
    journal_seq: int
    copy_seq: int

    @property
    def compared_seq(self) -> int:
        """The entry that was compared."""
        return min(self.journal_seq, self.copy_seq)


async def compare(store: HistoryStore, reader: JournalReader, replica: Replica | None) -> Comparison:
    """Compare a journal with its copy, None where there is none yet, which was asked for before: both may go on.

    Raises: HistoryUnavailable, JournalError.
    """
    head = reader.head()
    if replica is None:
        return Comparison(Relation.FORGOT if reader.base_seq else Relation.HOLDS, head.seq, 0)
    if head.seq < replica.seq:
        relation = Relation.LACKS if await holds(store, reader.account, head) else Relation.PARTED
    else:
        relation = _at_end_of_copy(reader, replica)
    return Comparison(relation, head.seq, replica.seq)


def _at_end_of_copy(reader: JournalReader, replica: Replica) -> Relation:
    try:
        return Relation.HOLDS if reader.hash_at(replica.seq) == replica.hash else Relation.PARTED
    except JournalCompacted:
        return Relation.FORGOT
