"""Inbox: the bounded place where feeds leave deliveries for the monitor of one account."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from account_monitor.monitor.overheard import Overheard
from account_monitor.monitor.ports import UNROUTED, Delivery, StreamPosition
from account_monitor.monitor.schedule import Monotonic

CAPACITY = 8_192
"""Deliveries that may wait: a fifth of a second of work at full speed, a few MB of memory."""


CAPACITY_BYTES = 32 * 1024 * 1024
"""Of their payloads: fills are small, but garbage may come a megabyte at a time."""


class Inbox:
    """Deliveries in order of arrival, and how far each source has been seen.

    Feeds and the monitor share one event loop, so nothing here locks.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._deliveries: deque[Delivery] = deque()
        self._ahead: list[Delivery] = []
        """What waits behind nothing."""
        self._seen: dict[str, StreamPosition] = {}
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_sealed = False
        self._bytes = 0
        self.put_count = 0
        """Deliveries that were ever put."""

    def __len__(self) -> int:
        return len(self._deliveries) + len(self._ahead)

    @property
    def is_full(self) -> bool:
        """Whether feeds must stop pulling. What was already pulled may still be put."""
        return len(self._deliveries) >= self._capacity or self._bytes >= CAPACITY_BYTES

    @property
    def is_sealed(self) -> bool:
        """Whether what is put now is let go."""
        return self._is_sealed

    def put(self, delivery: Delivery) -> None:
        """Add a delivery. Never refuses: a feed looks at `is_full` before it asks its source for more."""
        if self._is_sealed:
            return
        self._deliveries.append(delivery)
        self._bytes += len(delivery.payload)
        self.put_count += 1
        self._arrived.set()
        if self.is_full:
            self._has_room.clear()

    def put_ahead(self, delivery: Delivery) -> None:
        """Add what people are waiting for: it is taken before everything that was put. It is not counted."""
        if not self._is_sealed:
            self._ahead.append(delivery)
            self._arrived.set()

    def take_ahead(self) -> list[Delivery]:
        """Remove and return what waits behind nothing, in order."""
        ahead, self._ahead = self._ahead, []
        return ahead

    def seal(self) -> None:
        """Take nothing more, and no notice of progress; what is there can still be taken."""
        self._is_sealed = True

    def shut(self) -> None:
        """Forget everything and take nothing more: nobody records any longer, and the source keeps what it has."""
        self.seal()
        self._deliveries.clear()
        self._ahead.clear()
        self._bytes = 0
        self._seen.clear()
        self._has_room.set()

    def wake(self) -> None:
        """End a `wait` although nothing was put."""
        self._arrived.set()

    def see(self, position: StreamPosition) -> None:
        """Note that everything of a source up to this place was put here, or concerned others."""
        if self._is_sealed:
            return
        self._seen[position.source] = position

    async def wait_for_room(self) -> None:
        """Return once the inbox is not full."""
        await self._has_room.wait()

    async def wait(self, timeout_seconds: float) -> None:
        """Return when something is there that was not left behind, or after the timeout."""
        if self._arrived.is_set():
            return
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._arrived.wait()
        except TimeoutError:
            return  # the caller looks at the clock

    def take(
        self, limit: int, *, only: Callable[[str], bool] | None = None
    ) -> tuple[list[Delivery], list[StreamPosition]]:
        """Remove and return up to `limit` deliveries, and the places up to which they complete each source, if that is
        news.

        While more deliveries wait, a source is complete only up to the last one taken from it. With `only`, those of
        other sources stay, and no source is complete.
        """
        if only is not None:
            return self._take_only(limit, only), []
        waiting = self._deliveries
        if len(waiting) <= limit:
            taken = list(waiting)
            waiting.clear()
            self._arrived.clear()
            seen = list(self._seen.values())
            self._seen.clear()
        else:
            taken = [waiting.popleft() for _ in range(limit)]
            last = {delivery.source: delivery.sequence for delivery in taken}
            seen = [
                position._replace(sequence=last[source])
                for source, position in self._seen.items()
                if last.get(source, 0) and last[source] < position.sequence
            ]
        self._make_room(taken)
        return taken, seen

    def _take_only(self, limit: int, only: Callable[[str], bool]) -> list[Delivery]:
        taken: list[Delivery] = []
        left: deque[Delivery] = deque()
        for delivery in self._deliveries:
            if len(taken) < limit and only(delivery.source):
                taken.append(delivery)
            else:
                left.append(delivery)
        self._deliveries = left
        if len(taken) < limit:
            self._arrived.clear()
        self._make_room(taken)
        return taken

    def _make_room(self, taken: list[Delivery]) -> None:
        self._bytes -= sum(len(delivery.payload) for delivery in taken)
        if not self.is_full:
            self._has_room.set()


class _Elsewhere(Inbox):
    """The inbox of an account that another process holds: some of what comes is kept in case that one dies."""

    def __init__(self, account: str, overheard: Overheard) -> None:
        super().__init__()
        self.seal()
        self._account = account
        self._overheard = overheard

    def put(self, delivery: Delivery) -> None:
        """Keep it, or let it go."""
        self._overheard.hear(self._account, delivery)


class Inboxes:
    """The inboxes of one process by account, and the one for what names no configured account."""

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        self.unrouted = Inbox()
        self.overheard = Overheard(monotonic)
        """What came for accounts that other processes hold."""
        self._by_account: dict[str, Inbox] = {}
        self._elsewhere: dict[str, _Elsewhere] = {}
        """Of configured accounts that other processes hold."""
        self._nowhere = Inbox()
        self._nowhere.seal()

    def add(self, account: str, inbox: Inbox) -> None:
        """Route an account's deliveries to this inbox, after those that were overheard."""
        self._elsewhere.pop(account, None)
        for delivery in self.overheard.take(account):
            inbox.put(delivery)
        self._by_account[account] = inbox

    def remove(self, account: str) -> None:
        """Route an account no longer; what still comes for it is unrouted from now on."""
        self._by_account.pop(account).seal()

    def leave_to_others(self, account: str) -> None:
        """Take nothing for an account from now on, for another process does; the unrouted one by its reserved name."""
        if account == UNROUTED:
            self.unrouted.seal()
            self.unrouted = self._nowhere
            return
        if account not in self._elsewhere:
            self._elsewhere[account] = _Elsewhere(account, self.overheard)
        inbox = self._by_account.pop(account, None)
        if inbox is not None:
            inbox.seal()

    def forget_all_but(self, configured: set[str]) -> None:
        """Leave to nobody what is not configured any more."""
        self._elsewhere = {name: inbox for name, inbox in self._elsewhere.items() if name in configured}

    def get(self, account: str) -> Inbox | None:
        """Return the inbox of a configured account; what is put into that of one that others hold is overheard."""
        inbox = self._by_account.get(account)
        return self._elsewhere.get(account) if inbox is None else inbox

    @property
    def only_account(self) -> str | None:
        """The account that a message without one means: the only one that is configured."""
        names = [*self._by_account, *self._elsewhere]
        return names[0] if len(names) == 1 else None

    def all(self) -> list[tuple[str, Inbox]]:
        """Return every inbox of this process with its account, the unrouted one under its reserved name."""
        unrouted = [] if self.unrouted is self._nowhere else [(UNROUTED, self.unrouted)]
        return [*self._by_account.items(), *unrouted]
