"""Leased journal: one that is written under the epoch of a lease, and no longer than that is ours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from account_monitor.clock import now_ms
from account_monitor.cluster.leases import HeldLease
from account_monitor.errors import RecordingStopped
from account_monitor.monitor.ports import Delivery, Recorded, StreamPosition
from account_monitor.stores.journal import Journal


class LeasedJournal(Journal):
    """A journal that takes nothing more once its lease is known to be somebody else's."""

    lease: HeldLease

    async def append(self, deliveries: Sequence[Delivery], positions: Sequence[StreamPosition] = ()) -> Recorded:
        """Commit deliveries and positions. Raises: RecordingStopped.

        While the store of the leases is away this goes on: if nobody else spoke meanwhile, it counts.
        """
        lease = self.lease
        if lease.is_lost:
            raise RecordingStopped(f"account {self.account} is not held under epoch {lease.epoch} any more")
        return await super().append(deliveries, positions)


async def leased_journal(data_dir: Path, lease: HeldLease) -> LeasedJournal:
    """Open the journal of an account for writing, under the epoch of its lease. Raises: JournalError and its kinds."""
    journal = await asyncio.to_thread(LeasedJournal.open, data_dir, lease.account, clock=now_ms)
    journal.lease = lease
    try:
        if journal.epoch != lease.epoch:  # else it was opened under this lease before, and could not be written
            await journal.begin_epoch(lease.epoch)
    except BaseException:
        await journal.close()
        raise
    return journal
