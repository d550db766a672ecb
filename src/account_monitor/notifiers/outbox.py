"""Outbox: which transitions does a channel still have to carry? The journals know; this reads on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from account_monitor.errors import JournalError
from account_monitor.ledger.alerts import Alert
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import MONITOR, Delivery, JournalEntry, StreamPosition
from account_monitor.notifiers.complaints import Complaints
from account_monitor.notifiers.letters import Told

MAX_WAITING: Final = 1_000
"""Transitions that are held in memory; what is beyond waits in the journals."""

COMMIT_SECONDS: Final = 2.0
"""How long the next letter waits until the journal knows that this one was sent: a disk may be slow, or full."""

PLACES: Final = "out:people:"
"""With this, and the digest of a channel, begins the name of its place in a journal."""

LEFT: Final = "left"
"""As the incarnation of a place: its channel was taken away, and begins anew where it is taken back."""


class Waiting(NamedTuple):
    """A transition that has to be told, and its place in the journal of its account."""

    monitor: Monitor
    seq: int
    alert: Alert

    @property
    def told(self) -> Told:
        """What people are told of it."""
        return Told(self.monitor.name, self.alert)


class Outbox:
    """The transitions of all accounts that one channel has not carried yet, each account in the order of its journal.

    How far it is stands in the journal of each account, under `source`, before the next one leaves. A journal that does
    not know the source, or was left by it, begins now, with what fires.
    """

    def __init__(self, desk: Desk, source: str) -> None:
        self.begun: list[Told] = []
        """What fires in journals that begin with this channel, and what silences held back when the process ended."""
        self._desk = desk
        self._source = source
        self._waiting: list[Waiting] = []
        self._read: WeakKeyDictionary[Monitor, int] = WeakKeyDictionary()
        """Up to where the alerts of an account were read."""
        self._done: WeakKeyDictionary[Monitor, int] = WeakKeyDictionary()
        """Up to where they were carried, or nobody wanted to hear of them."""
        self._held: WeakKeyDictionary[Monitor, frozenset[str]] = WeakKeyDictionary()
        """The ids of the alerts that silences hold back, as the journal knows them."""
        self._news: set[str] = set()
        self._complaints = Complaints("alerts_not_read")
        self.arrived = asyncio.Event()
        """Set when there may be something to read."""

    def note(self, account: str, news: Sequence[JournalEntry]) -> None:
        """Note that the journal of an account holds these alerts now, at once: who is new begins with them."""
        monitor = self._desk.monitor(account)
        if monitor is not None and monitor not in self._read:
            self._begin(monitor, news)
        self._news.add(account)
        self.arrived.set()

    async def waiting(self) -> list[Waiting]:
        """Return what has to be told, the oldest first, a thousand at most."""
        self.arrived.clear()
        for monitor in self._monitors():
            if monitor not in self._read:
                self._begin(monitor)
            if monitor.name in self._news and len(self._waiting) < MAX_WAITING:
                await self._read_on(monitor)
        return list(self._waiting)

    def _monitors(self) -> list[Monitor]:
        monitors = [self._desk.monitor(account) for account in self._desk.accounts]
        return [monitor for monitor in monitors if monitor is not None]

    def _begin(self, monitor: Monitor, news: Sequence[JournalEntry] = ()) -> None:
        """Go on where the journal says, or begin: with what fires now, and after it with `news`."""
        told_soon = {entry.event.event_id for entry in news}
        firing = [alert for alert in monitor.alerts if alert.state == "FIRING" and alert.event_id not in told_soon]
        recorded = monitor.journal.positions.get(self._source)
        if recorded is None or recorded.created == LEFT:
            seq = news[0].seq - 1 if news else monitor.view.seq
            held = frozenset(alert.id for alert in firing)
            self._record_held(monitor, held)
        else:
            seq, held = recorded.sequence, self._recorded_held(monitor)
        monitor.inbox.see(StreamPosition(self._source, "", seq))  # also if it was left a moment ago
        self.begun += [Told(monitor.name, alert) for alert in firing if alert.id in held]
        self._read[monitor] = self._done[monitor] = seq
        self._held[monitor] = held
        self._news.add(monitor.name)

    async def _read_on(self, monitor: Monitor) -> None:
        self._news.discard(monitor.name)
        seq = self._read[monitor]
        try:
            while len(self._waiting) < MAX_WAITING:
                entries = await asyncio.to_thread(monitor.journal.remarks_after, "alert", seq)
                if not entries:
                    break
                for entry in entries:
                    assert isinstance(entry.event, Alert)  # the journal was asked for alerts
                    self._waiting.append(Waiting(monitor, entry.seq, entry.event))
                seq = self._read[monitor] = entries[-1].seq
            else:
                self._news.add(monitor.name)
            self._complaints.withdraw(monitor.name)
        except JournalError as error:
            self._news.add(monitor.name)
            if self._desk.monitor(monitor.name) is monitor:  # else it was removed meanwhile
                self._complaints.say(monitor.name, str(error), account=monitor.name, source=self._source)
            else:
                self._complaints.withdraw(monitor.name)
        self._waiting = _by_time(self._waiting)

    async def done(self, carried: Iterable[Waiting]) -> None:
        """Record that these were carried; returns once the journals know it, or cannot."""
        moved = self._drop(carried)
        await asyncio.gather(*(self._commit(monitor) for monitor in moved))

    def drop(self, unwanted: Iterable[Waiting]) -> None:
        """Take out what nobody wants to hear of; the journals know it within a second or so."""
        for monitor in self._drop(unwanted):
            monitor.inbox.see(StreamPosition(self._source, "", self._done[monitor]))

    def hold(self, held: Mapping[str, Collection[str]]) -> None:
        """Record which alerts of each account silences hold back, so that a restart tells of them, and of no other.

        Call it before `drop`: the journal then knows what is held as soon as its place passes it.
        """
        for monitor in self._monitors():
            ids = frozenset(held.get(monitor.name, ()))
            if monitor in self._held and self._held[monitor] != ids:
                self._held[monitor] = ids
                self._record_held(monitor, ids)

    def _record_held(self, monitor: Monitor, ids: frozenset[str]) -> None:
        monitor.inbox.see(StreamPosition(f"{self._source}:held", " ".join(sorted(ids)), len(ids)))

    def _recorded_held(self, monitor: Monitor) -> frozenset[str]:
        recorded = monitor.journal.positions.get(f"{self._source}:held")
        return frozenset() if recorded is None else frozenset(recorded.created.split())

    def _drop(self, gone: Iterable[Waiting]) -> set[Monitor]:
        places = {(waiting.monitor, waiting.seq) for waiting in gone}
        self._waiting = [each for each in self._waiting if (each.monitor, each.seq) not in places]
        moved = {monitor for monitor, _ in places}
        for monitor in moved:
            left = [each.seq for each in self._waiting if each.monitor is monitor]
            # What is left is told later: the place in the journal does not pass it.
            self._done[monitor] = min(left) - 1 if left else max(seq for each, seq in places if each is monitor)
        return moved

    async def _commit(self, monitor: Monitor) -> None:
        if self._desk.monitor(monitor.name) is not monitor:
            return  # it was removed meanwhile, and its journal is closed
        committed = asyncio.Event()
        monitor.inbox.see(StreamPosition(self._source, "", self._done[monitor]))
        # A delivery of nothing makes the monitor commit at once what was seen.
        monitor.inbox.put(Delivery(MONITOR, "", b"", None, acknowledge=committed.set))
        with suppress(TimeoutError):  # a journal that cannot record must not keep people from being told
            async with asyncio.timeout(COMMIT_SECONDS):
                await committed.wait()


def leave_places(monitor: Monitor, served: Collection[str]) -> None:
    """Record in a journal that the channels which are not served any more, by their digests, have left it."""
    for source, position in monitor.journal.positions.items():
        digest = source.removeprefix(PLACES)
        if digest != source and ":" not in digest and digest not in served and position.created != LEFT:
            monitor.inbox.see(position._replace(created=LEFT))


def _by_time(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Return transitions by time, those of each account in the order of its journal, although a clock stepped back."""
    latest_ms: dict[Monitor, int] = {}
    timed = []
    for each in waiting:
        at_ms = latest_ms[each.monitor] = max(each.alert.at_ms, latest_ms.get(each.monitor, each.alert.at_ms))
        timed.append((at_ms, each))
    return [each for _, each in sorted(timed, key=lambda pair: pair[0])]  # stable
