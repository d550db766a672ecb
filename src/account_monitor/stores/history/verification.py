"""Verification: is the copy of a journal in the history the journal, entry by entry, each proved by its hash?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from account_monitor.errors import HistoryDiffers, JournalCompacted, JournalCorrupt
from account_monitor.stores.chain import Chain
from account_monitor.stores.history.batch import EntryRow
from account_monitor.stores.history.store import HistoryStore, Replica
from account_monitor.stores.journal_reader import JournalReader

BREATH_SECONDS = 0.05
"""Between two chunks that are proved beside a running service: it needs the interpreter more."""


async def verify_replica(
    store: HistoryStore,
    reader: JournalReader,
    progress: Callable[[int], None] | None = None,
    *,
    may_lack: bool = False,
) -> Replica | None:
    """Recompute the chain of the copy, and compare it with a journal whose own chain was verified.

    What the journal forgot is compared by the hash of the last of it. Where it may lack what others recorded
    (`may_lack`), the copy is proved to its end, and compared up to where the journal ends.

    Return the end of the copy, which may be behind the journal; None where there is no copy. `progress` is called with
    the entries done so far. Raises: HistoryUnavailable; JournalCorrupt, naming the first entry of the copy that does
    not match its hash; HistoryDiffers, naming the first epoch or entry that is another one in the journal.
    """
    replica = await store.replica(reader.account)  # before the journal is looked at, which goes on meanwhile
    if replica is None:
        return None
    _compare_epochs(replica, reader, may_lack=may_lack)
    chain = Chain([(epoch, first_seq) for epoch, first_seq, _ in replica.epochs])
    try:
        async for rows in store.entries(reader.account, after=0, until=replica.seq):
            _compare_entries(chain, rows, reader)
            if progress is not None:
                progress(chain.seq)
    except JournalCorrupt as error:
        raise JournalCorrupt(f"the copy in the history: {error}") from error
    if chain.seq != replica.seq:
        raise JournalCorrupt(f"the copy in the history: entry {chain.seq + 1} is missing; the newest was {replica.seq}")
    if chain.hash != replica.hash:
        raise HistoryDiffers(f"the history ends with entry {replica.seq}, and names it by another hash than its own")
    return replica


async def verify_oldest(store: HistoryStore, reader: JournalReader, until: int) -> None:
    """Prove that a store holds the oldest entries of a journal, up to one: each is read there, and its hash computed.

    Raises: HistoryUnavailable; HistoryDiffers, JournalCorrupt where it holds others, or not all of them.
    """
    chain = Chain([(epoch, first_seq) for epoch, first_seq, _ in reader.epochs()], reader.base())
    async for rows in store.entries(reader.account, after=chain.seq, until=until):
        for _, row in rows:
            chain.check(row)
        await asyncio.sleep(BREATH_SECONDS)
    if chain.seq != until:
        raise HistoryDiffers(f"the history ends at entry {chain.seq}, expected all up to {until}")
    if chain.hash != reader.hash_at(until):
        raise HistoryDiffers(f"entry {until} of the history is another one in the journal")


def _compare_epochs(replica: Replica, reader: JournalReader, *, may_lack: bool) -> None:
    head, epochs = reader.head(), reader.epochs()  # in this order: a journal that is followed grows meanwhile
    lacks = replica.seq > head.seq
    if lacks and not may_lack:
        raise HistoryDiffers(f"the history has {replica.seq} entries of a journal that has {head.seq}")
    for copied in replica.epochs:
        is_further = lacks and copied[1] > head.seq
        if copied not in epochs and not is_further:
            raise HistoryDiffers(f"epoch {copied[0]} of the history, from entry {copied[1]} on, is none of the journal")
    begun = [epoch for epoch in epochs if epoch[1] <= min(replica.seq, head.seq)]
    for epoch, first_seq, _ in begun:
        if epoch not in (copied[0] for copied in replica.epochs):
            raise HistoryDiffers(f"the history lacks epoch {epoch} of the journal, from entry {first_seq} on")
    if not lacks and replica.epoch != begun[-1][0]:
        raise HistoryDiffers(f"the history ends in epoch {replica.epoch}, and entry {replica.seq} is of {begun[-1][0]}")


def _compare_entries(chain: Chain, rows: list[EntryRow], reader: JournalReader) -> None:
    after, until = chain.seq, rows[-1][1].seq
    mine = _held(reader, after, until)
    for _, row in rows:
        chain.check(row)
        event_id, held = mine.get(row.seq, (row.event_id, row.hash))
        if row.hash != held:
            raise HistoryDiffers(
                f"entry {row.seq} of the history ({row.event_id}) is another one in the journal ({event_id})"
            )


def _held(reader: JournalReader, after: int, until: int) -> dict[int, tuple[str, bytes]]:
    """Return (event id, hash) of the entries that a journal holds, and of the last one that it forgot: its hash covers
    all before it.
    """
    while True:
        base = reader.base()
        try:
            rows = reader.rows(after=max(after, base.seq), until=until)
        except JournalCompacted:
            continue  # it forgot more meanwhile
        return {base.seq: ("forgotten", base.hash)} | {row.seq: (row.event_id, row.hash) for row in rows}
