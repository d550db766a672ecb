"""Progress: how far has each account seen a stream, and what of it can nobody see any more?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from account_monitor.feeds.jetstream import Stream
from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.ports import StreamPosition

_DRAIN_LOOK_SECONDS = 0.01


class StreamGap(NamedTuple):
    """Messages of a source that these accounts will never get from it; `text` says which, in numbers."""

    source: str
    accounts: tuple[str, ...]
    text: str


def source_of(stream: str) -> str:
    """Return the name of a stream as a source of deliveries."""
    return f"nats:{stream}"


class Progress:
    """The place of each account in one stream. What was put into an inbox counts as seen.

    An account that is new here has no place until `meet`, and gets nothing: it is read again for it from its own.
    """

    def __init__(self, stream: str, inboxes: Inboxes) -> None:
        self.source = source_of(stream)
        self.newest = 0
        """The furthest place of any account."""
        self._inboxes = inboxes
        self._inbox_of: dict[str, Inbox] = {}
        self._place_of: dict[str, StreamPosition] = {}
        self._recorded: dict[str, StreamPosition | None] = {}
        self._nobodys = 0
        """How far the stream was read while no account was here: other processes hold them all."""

    def update(self, recorded: Mapping[str, Mapping[str, StreamPosition]]) -> None:
        """Take up the accounts that are new, with their recorded positions, and forget those that are gone."""
        inbox_of = dict(self._inboxes.all())
        kept = {account for account, inbox in inbox_of.items() if self._inbox_of.get(account) is inbox}
        self._inbox_of = inbox_of
        self._place_of = {account: place for account, place in self._place_of.items() if account in kept}
        for account in inbox_of.keys() - self._place_of.keys():
            self._recorded[account] = recorded.get(account, {}).get(self.source)
        self._find_newest()

    @property
    def is_complete(self) -> bool:
        """Whether every account has its place."""
        return self._place_of.keys() == self._inbox_of.keys()

    @property
    def sequence(self) -> int:
        """The place up to which all accounts have seen the stream."""
        nobodys = 0 if self._inbox_of else self._nobodys
        return min((place.sequence for place in self._place_of.values()), default=nobodys)

    @property
    def accounts(self) -> tuple[str, ...]:
        """All accounts, the unrouted one under its reserved name."""
        return tuple(self._inbox_of)

    def has_seen(self, account: str, sequence: int) -> bool:
        """Whether this account has the message, or will get it when the stream is read again for it."""
        place = self._place_of.get(account)
        return place is None or sequence <= place.sequence

    def advance(self, sequence: int) -> None:
        """Note that everything up to this message was put, or concerned nobody here."""
        if not self._inbox_of:
            self.newest = self._nobodys = max(self._nobodys, sequence)
        for account, place in self._place_of.items():
            if place.sequence < sequence:
                self._move(account, place._replace(sequence=sequence))

    async def meet(self, stream: Stream) -> list[StreamGap]:
        """Find each account its place in the stream as it is now; return what was missed."""
        missed: dict[str, list[str]] = {}
        self._nobodys = stream.last_sequence
        begin = StreamPosition(self.source, stream.created, max(0, stream.first_sequence - 1))
        for account in self.accounts:
            place = self._place_of.get(account) or self._recorded.get(account)
            gap = None if place is None else _gap(place, stream)
            if gap is not None:
                missed.setdefault(gap, []).append(account)
                # Until it is empty, the inbox completes the old numbers, with which the new ones must not mix.
                await self._drain(account)
            if account in self._inbox_of:
                self._recorded.pop(account, None)
                self._move(account, begin if place is None or gap is not None else place)
        self._find_newest()
        return [StreamGap(self.source, tuple(accounts), text) for text, accounts in missed.items()]

    def _move(self, account: str, place: StreamPosition) -> None:
        self._place_of[account] = place
        self._inbox_of[account].see(place)
        self.newest = max(self.newest, place.sequence)

    def _find_newest(self) -> None:
        nobodys = 0 if self._inbox_of else self._nobodys
        self.newest = max((place.sequence for place in self._place_of.values()), default=nobodys)

    async def _drain(self, account: str) -> None:
        inbox = self._inbox_of[account]
        while len(inbox) and self._inbox_of.get(account) is inbox:  # noqa: ASYNC110  # an inbox tells only of arrivals
            await asyncio.sleep(_DRAIN_LOOK_SECONDS)


def _gap(place: StreamPosition, stream: Stream) -> str | None:
    """Return what the account can no longer read, None if the stream goes on where the account stopped."""
    name, first, last, seen = stream.name, stream.first_sequence, stream.last_sequence, place.sequence
    if place.created != stream.created:
        return (
            f"stream {name} was made anew: seen up to {seen} of the one created at {place.created}, "
            f"reading the one created at {stream.created} from {first} to {last}"
        )
    if last < seen:
        return f"stream {name} ends at {last}, but was seen up to {seen}: it lost messages, reading again from {first}"
    if first > seen + 1:
        removed = first - seen - 1
        return f"stream {name} begins at {first}, but was seen up to {seen}: {removed} messages were removed unseen"
    return None
