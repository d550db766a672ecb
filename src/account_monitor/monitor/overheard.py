"""Overheard: what came for accounts that other processes hold, from sources that cannot be read again.

Who holds an account may die with what it heard last. Whoever takes the account over has heard it too, and records what
the copy of the journal does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import structlog

from account_monitor.monitor.ports import Delivery

CAPACITY = 8_192
"""Deliveries that are kept, of all accounts together: as many as one inbox holds."""

CAPACITY_BYTES = 32 * 1024 * 1024
"""Of their payloads."""

TELL_SECONDS = 60.0
"""How often it is told at most that some had to go too early."""

log = structlog.get_logger()


class Overheard:
    """Keeps deliveries for a while, each event once, until they are seen in the copy."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.kept_seconds = 0.0
        """How long: longer than it takes until a holder that died is replaced."""
        self._monotonic = monotonic
        self._accounts: frozenset[str] = frozenset()
        self._kept: dict[tuple[str, str], tuple[float, Delivery]] = {}
        """By account and event, with the time it was heard; the oldest first."""
        self._bytes = 0
        self._told_until = 0.0

    def __len__(self) -> int:
        return len(self._kept)

    def listen_for(self, accounts: Collection[str], *, seconds: float) -> None:
        """Keep for so long from now on what comes for these, and nothing of others."""
        self.kept_seconds = seconds
        gone = self._accounts.difference(accounts)
        self._accounts = frozenset(accounts)
        if gone:
            for key in [key for key in self._kept if key[0] in gone]:
                self._drop(key)
        self._forget_old()

    def hear(self, account: str, delivery: Delivery) -> None:
        """Keep a delivery, unless its source can be read again, or nobody here may take the account over at once."""
        if account not in self._accounts or delivery.event is None or delivery.sequence:
            return
        key = (account, delivery.event.event_id)
        if key in self._kept:
            return
        self._kept[key] = (self._monotonic(), delivery)
        self._bytes += len(delivery.payload)
        self._forget_old()
        if len(self._kept) > CAPACITY or self._bytes > CAPACITY_BYTES:
            self._make_room()

    def forget(self, account: str, event_ids: Iterable[str]) -> None:
        """Drop what is in the copy by now."""
        for event_id in event_ids:
            self._drop((account, event_id))

    def take(self, account: str) -> list[Delivery]:
        """Remove and return what was kept of an account, in the order in which it came."""
        found = {key: delivery for key, (_, delivery) in self._kept.items() if key[0] == account}
        for key in found:
            self._drop(key)
        return list(found.values())

    def _drop(self, key: tuple[str, str]) -> None:
        """Keep a delivery no longer, if it is kept."""
        if key in self._kept:
            _, delivery = self._kept.pop(key)
            self._bytes -= len(delivery.payload)

    def _forget_old(self) -> None:
        until = self._monotonic() - self.kept_seconds
        while self._kept:
            key = next(iter(self._kept))
            if self._kept[key][0] >= until:
                return
            self._drop(key)

    def _make_room(self) -> None:
        """Drop the oldest: they are the likeliest to be in the copy."""
        while len(self._kept) > CAPACITY or self._bytes > CAPACITY_BYTES:
            self._drop(next(iter(self._kept)))
        if (now := self._monotonic()) >= self._told_until:
            self._told_until = now + TELL_SECONDS
            log.warning("overheard_dropped", kept=len(self._kept), reason="more came than is kept for a takeover")
