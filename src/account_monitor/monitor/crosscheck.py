"""Cross-check: was every fill seen by both, the exchange and NATS? One that stays alone is unexpected: a bot's message
that was lost, an order by hand, or a fill that never was.

It looks only while both are there to speak, and only for an account of which NATS has told at least one fill.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from account_monitor.ledger.events import Claim, Fill, Opening
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.ports import is_venue
from account_monitor.monitor.schedule import Monotonic
from account_monitor.monitor.views import Change, View

GRACE_SECONDS = 10.0
"""How long the other side may take, counted while both are connected."""

SHOWN_SECONDS = 3_600.0
"""How long an unexpected fill is shown, unless the other side tells of it after all."""

MAX_WAITING = 20_000
"""Fills that may wait for the other side; beyond, the oldest is no longer waited for."""

MAX_UNEXPECTED = 1_000
"""Fills that are remembered as unexpected, to end their alarm when the other side tells of them after all."""

_Content: TypeAlias = tuple[str, str, Decimal, Decimal]
"""(symbol, side, price, quantity): what a claim and its fill have in common, besides the order where both name it."""


class _Waiting(NamedTuple):
    """A fill that one side has told of, and when by the clock that runs while both sides are there."""

    fill: Fill
    by_venue: bool
    since: float


class CrossCheck:
    """Watches the commits of one account (`note` is an observer of its monitor) and raises UNEXPECTED_FILL."""

    def __init__(
        self,
        account: str,
        alarms: AlarmBoard,
        monotonic: Monotonic,
        *,
        both_connected: Callable[[], bool],
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._account = account
        self._alarms = alarms
        self._monotonic = monotonic
        self._both_connected = both_connected
        self._grace_seconds = grace_seconds
        self._told_by_others = False
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._claims: dict[_Content, deque[str]] = {}
        """Claims that wait for their fill, by content."""
        self._fills: dict[_Content, deque[str]] = {}
        """Fills of the exchange that wait for somebody to tell of them, by content."""
        self._unexpected: OrderedDict[str, str] = OrderedDict()
        """Symbols by what was raised."""
        self._clock = 0.0
        self._looked = monotonic()
        self.unexpected_count = 0

    def note(self, view: View, change: Change) -> None:
        """Take the entries, duplicates and conflicts of a commit. What the adoption contains is nobody's to confirm."""
        if change.recorded is None:
            return
        contained = {applied.seq for applied in change.applied if applied.outcome == "contained"}
        for entry in change.recorded.entries:
            event = entry.event
            if entry.seq in contained:
                continue
            if type(event) is Fill:
                if event.revision == 0:
                    self._tell(event, entry.source, is_new=True)
                elif event.quantity:
                    self._tell(event, entry.source, is_new=False)
            elif type(event) is Claim:
                self._claim(event)
            elif type(event) is Opening:
                for identity in [name for name, each in self._waiting.items() if each.fill.at_ms <= event.at_ms]:
                    self._drop(identity)  # told of before anybody knew that the account holds it already
        disputed = (conflict.delivery for conflict in change.recorded.conflicts if not conflict.stands)
        for delivery in (*change.recorded.duplicates, *disputed):
            if type(delivery.event) is Fill:
                self._tell(delivery.event, delivery.source, is_new=False)

    def look(self) -> None:
        """Raise what has waited too long."""
        now = self._monotonic()
        if self._both_connected():
            self._clock += now - self._looked
        self._looked = now
        while self._waiting:
            identity, waiting = next(iter(self._waiting.items()))
            if self._clock - waiting.since < self._grace_seconds:
                return
            self._drop(identity)
            self._raise(identity, waiting)

    def _tell(self, fill: Fill, source: str, *, is_new: bool) -> None:
        by_venue = is_venue(source)
        if not by_venue:
            self._told_by_others = True
        if is_new:
            if by_venue and (claimed := self._match(self._claims, fill)) is not None:
                self._drop(claimed)
            else:
                self._wait(fill.identity, fill, by_venue)
            return
        waiting = self._waiting.get(fill.identity)
        if waiting is not None and waiting.by_venue is not by_venue:
            self._drop(fill.identity)
        self._expect(fill.identity)

    def _claim(self, claim: Claim) -> None:
        self._told_by_others = True
        fill = claim.fill
        if (found := self._match(self._fills, fill)) is not None:
            self._drop(found)
        else:
            self._wait(claim.event_id, fill, by_venue=False)
            self._claims.setdefault(_content(fill), deque()).append(claim.event_id)

    def _match(self, book: dict[_Content, deque[str]], fill: Fill) -> str | None:
        """Return what waits for this fill: of the same content, and of the same order where both name one."""
        for identity in book.get(_content(fill), ()):
            order_id = self._waiting[identity].fill.order_id
            if order_id is None or fill.order_id is None or order_id == fill.order_id:
                return identity
        return None

    def _wait(self, identity: str, fill: Fill, by_venue: bool) -> None:
        if by_venue and not self._told_by_others:
            return
        self._waiting[identity] = _Waiting(fill, by_venue, self._clock)
        if by_venue:
            self._fills.setdefault(_content(fill), deque()).append(identity)
        if len(self._waiting) > MAX_WAITING:
            self._drop(next(iter(self._waiting)))

    def _drop(self, identity: str) -> None:
        waiting = self._waiting.pop(identity, None)
        if waiting is None:
            return
        content = _content(waiting.fill)
        for book in (self._fills, self._claims):
            others = book.get(content)
            if others is not None and identity in others:
                others.remove(identity)
                if not others:
                    del book[content]

    def _expect(self, identity: str) -> None:
        """End the alarm about a fill of which the other side has told after all."""
        symbol = self._unexpected.pop(identity, None)
        if symbol is not None and symbol not in self._unexpected.values():
            self._alarms.resolve(self._account, "UNEXPECTED_FILL", symbol=symbol)

    def _raise(self, identity: str, waiting: _Waiting) -> None:
        self.unexpected_count += 1
        fill = waiting.fill
        self._unexpected[identity] = fill.symbol
        if len(self._unexpected) > MAX_UNEXPECTED:
            self._unexpected.popitem(last=False)
        what = f"{fill.side} {fill.quantity:f} {fill.symbol} at {fill.price:f}, id {fill.trade_id}"
        if waiting.by_venue:
            told = f"the exchange executed {what}, and nobody told of it on NATS: an order by hand, or a lost message?"
        elif identity.startswith("claim:"):
            told = f"{what} was told of on NATS, and the exchange has no such fill: it is not booked"
        else:
            told = f"{what} was told of on NATS and is booked, and the exchange has not confirmed it"
        self._alarms.fire(self._account, "UNEXPECTED_FILL", told, symbol=fill.symbol, for_seconds=SHOWN_SECONDS)


def _content(fill: Fill) -> _Content:
    return (fill.symbol, fill.side, fill.price, fill.quantity)
