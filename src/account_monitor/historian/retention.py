"""Retention: which entries a journal can do without, because the history has them and no fold needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from account_monitor.errors import HistoryUnavailable, JournalError
from account_monitor.ledger.events import Horizon, Place
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import MONITOR, UNROUTED, Clock
from account_monitor.monitor.reports import time_text

LOOK_SECONDS = 600.0
RECORD_SECONDS = 60.0
"""How long a horizon may wait to be recorded, before it is given up until the next look."""

TOLD_PART = 4
"""What was believed can be told of this part of the time for which entries are kept."""

OVERDUE = 2
"""Entries that are so many times as old as configured, and still here, are worth a word."""

UNPROVED = "the exchange has not stated yet what the journal holds"

DAY_MS = 24 * 3_600_000

log = structlog.get_logger()


class Retention:
    """Draws horizons, and lets journals forget what is before them."""

    def __init__(
        self,
        desk: Desk,
        *,
        retention_ms: int,
        clock: Clock,
        replicated: Callable[[str], int],
        prove: Callable[[str, int], Awaitable[None]],
    ) -> None:
        """`replicated` says up to which entry a journal was written to a database elsewhere; `prove` reads its oldest
        entries there, up to one, and raises HistoryUnavailable or JournalCorrupt unless they are the journal's.
        """
        self._desk = desk
        self._retention_ms = retention_ms
        self._clock = clock
        self._replicated = replicated
        self._prove = prove
        self._disordered: set[tuple[str, str]] = set()
        self._unproved: set[str] = set()
        self._looked_ms: dict[str, int] = {}
        """By account, what the clock said at the last look."""
        self._asked: dict[str, int] = {}
        """By account, up to which entry its journal was last asked to forget."""
        self._told_ms: dict[str, int] = {}
        """By account, when it was last told that its journal keeps entries for too long."""

    async def run(self) -> None:
        """Look after all accounts now and then."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for monitor in self._desk.monitors():
                if monitor.name == UNROUTED or monitor.failure is not None or not monitor.speaks():
                    continue
                try:
                    await self.look_after(monitor)
                except (JournalError, HistoryUnavailable) as error:  # the journal may have been closed meanwhile
                    log.warning("journal_not_compacted", account=monitor.name, reason=str(error))

    async def look_after(self, monitor: Monitor) -> None:
        """Draw the horizon of an account that is due, and forget what may be forgotten.

        It is as late as the clock said at the last look, too: one that is ahead for a moment makes nothing final.
        What is to be forgotten is read in the database before: that it was written there is not that it is there.
        Raises: JournalError and its kinds; HistoryUnavailable.
        """
        clock_ms = self._clock()
        last_ms = self._looked_ms.get(monitor.name)
        self._looked_ms[monitor.name] = clock_ms
        if last_ms is None:
            return
        now_ms = min(clock_ms, last_ms)
        self._note_proof(monitor)
        drawn = monitor.due_horizon(now_ms, self._retention_ms)
        if drawn is not None:
            drawn = await asyncio.to_thread(self._in_order, monitor, drawn)
            try:
                async with asyncio.timeout(RECORD_SECONDS):
                    await monitor.record(drawn, source=MONITOR)
            except TimeoutError:
                return
        until = await asyncio.to_thread(
            monitor.compactable,
            told_from_ms=now_ms - self._retention_ms // TOLD_PART,
            recorded_by_ms=now_ms - self._retention_ms,
            replicated_seq=self._replicated(monitor.name),
        )
        if until > monitor.journal.base_seq:
            await self._forget(monitor, until)
        else:
            await asyncio.to_thread(self._note_overdue, monitor, now_ms)

    async def _forget(self, monitor: Monitor, until: int) -> None:
        base_seq = monitor.journal.base_seq
        await self._prove(monitor.name, until)
        monitor.journal.compact(until)
        if until > self._asked.get(monitor.name, 0):
            self._asked[monitor.name] = until
            log.info("journal_compacts", account=monitor.name, entries=until - base_seq, until=until)

    def _note_overdue(self, monitor: Monitor, now_ms: int) -> None:
        """Say once a day that a journal keeps entries for much longer than configured, and why."""
        journal = monitor.journal
        oldest = next(iter(journal.entries(after=journal.base_seq)), None)
        if oldest is None or now_ms - oldest.recorded_at_ms < OVERDUE * self._retention_ms:
            return
        if now_ms - self._told_ms.get(monitor.name, 0) < DAY_MS:
            return
        self._told_ms[monitor.name] = now_ms
        log.warning(
            "journal_not_compacted", account=monitor.name, oldest=time_text(oldest.recorded_at_ms),
            reason=self._why_overdue(monitor, now_ms),
        )  # fmt: skip

    def _why_overdue(self, monitor: Monitor, now_ms: int) -> str:
        proved_ms, needed_by = monitor.proved_ms, monitor.needs_oldest()
        if proved_ms == 0:
            return UNPROVED
        if proved_ms is not None and now_ms - proved_ms > self._retention_ms:
            return f"since {time_text(proved_ms)} the exchange has not stated just what the journal holds"
        if needed_by is not None:
            return f"position {needed_by} needs entries that are more than twice as old as history.journal_retention"
        return f"the history was written up to entry {self._replicated(monitor.name)} of {monitor.journal.last_seq}"

    def _note_proof(self, monitor: Monitor) -> None:
        """Say once that nothing can be final, because the exchange has proved nothing to be complete."""
        if monitor.proved_ms == 0 and monitor.name not in self._unproved:
            self._unproved.add(monitor.name)
            log.warning("journal_not_compacted", account=monitor.name, reason=UNPROVED)

    def _in_order(self, monitor: Monitor, drawn: Horizon) -> Horizon:
        """Leave out positions whose trade ids do not follow time: of these nobody can say what is still to come."""
        disordered = [place for place in drawn.places if not self._follows_time(monitor, place)]
        for place in disordered:
            if (monitor.name, place.key) not in self._disordered:
                self._disordered.add((monitor.name, place.key))
                log.warning(
                    "journal_not_compacted", account=monitor.name, position=place.key,
                    reason="the numbers of its trades do not follow time",
                )  # fmt: skip
        return drawn._replace(places=tuple(place for place in drawn.places if place not in disordered))

    def _follows_time(self, monitor: Monitor, place: Place) -> bool:
        is_disordered = (monitor.name, place.key) in self._disordered and not place.is_by_time
        return not is_disordered and monitor.journal.follows_time(place)
