"""Timeline: the fills and funding of one position in venue order, whatever the order they arrive in.

What arrives in order is applied at once. What arrives late is applied by folding again from a checkpoint before its
place. Checkpoints thin out with age, so a fill that is late by n costs about n, and never the whole history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from account_monitor.ledger.events import Anchor, Fill, FundingPayment, LegEvent, trade_number
from account_monitor.ledger.instruments import Instrument
from account_monitor.ledger.position import Leg

CHECKPOINT_EVERY = 64
"""Fills between checkpoints: a copy costs about as much as folding two fills, so one in 64 is lost in the noise."""

VenueOrder: TypeAlias = int | tuple[int, int, str]
"""The trade id as a number; or (time, length of id, id) for a position whose ids are not all numbers."""


class Checkpoint(NamedTuple):
    """The leg as it was after a place in venue order; every event after that place has a journal sequence > `seq`."""

    last: Fill | None
    """The last fill in it; None: before everything."""
    seq: int
    leg: Leg


@dataclass(slots=True)
class Timeline:
    """A position, and what it takes to restate it."""

    key: str
    instrument: Instrument
    leg: Leg = field(default_factory=Leg)
    by_number: bool = True
    """Whether every trade id so far is a number; the first one that is not orders the whole position by time."""
    last: Fill | None = None
    """The last fill in venue order; None before the first after the floor."""
    floor: Anchor | None = None
    """The last opening or adjustment: what it contains moves nothing."""
    checkpoints: list[Checkpoint] = field(default_factory=lambda: [Checkpoint(None, 0, Leg())])
    next_checkpoint: int = CHECKPOINT_EVERY
    """The fill count at which the next one is due."""

    def order_of(self, fill: Fill) -> VenueOrder:
        """Return the fill's place, comparable with the places of the same position."""
        trade_id = fill.trade_id
        if self.by_number and (number := trade_number(trade_id)) is not None:
            return number
        return (fill.at_ms, len(trade_id), trade_id)

    def admits(self, fill: Fill) -> bool:
        """Whether the fill comes after everything applied so far; if so, it is the last one from now on."""
        last, trade_id = self.last, fill.trade_id
        is_number = len(trade_id) <= 18 and trade_id.isdecimal() and trade_id.isascii()
        if self.by_number and not is_number:
            if self.leg.fill_count:
                return False  # the position changes its order: `rewind`
            self.by_number = False
        if last is not None:
            if self.by_number and len(trade_id) == len(last.trade_id):
                if trade_id <= last.trade_id:  # numbers of one length compare as text, at a third of the cost
                    return False
            elif not self._follows(fill, last):
                return False
        if fill.at_ms <= self.leg.last_funding[0]:
            return False
        self.last = fill
        return True

    def admits_funding(self, payment: FundingPayment) -> bool:
        """Whether the payment comes after everything applied so far; a fill of the same millisecond comes first."""
        return payment.at_ms >= self.leg.latest_fill_ms and (payment.at_ms, payment.id) > self.leg.last_funding

    def checkpoint(self, seq: int) -> None:
        """Remember the leg as of `seq`, and forget checkpoints that stand too close together for their age."""
        self.checkpoints.append(Checkpoint(self.last, seq, self.leg.copy()))
        self.next_checkpoint = self.leg.fill_count + CHECKPOINT_EVERY
        self.checkpoints = _thinned(self.checkpoints)

    def rewind(self, late: Iterable[LegEvent | Anchor]) -> Checkpoint:
        """Go back to the last checkpoint that precedes all of `late`, forget the younger ones, and return it."""
        late = list(late)
        if self.by_number and any(isinstance(e, Fill) and trade_number(e.trade_id) is None for e in late):
            self.by_number = False
            del self.checkpoints[1:]
        while len(self.checkpoints) > 1 and not all(self._precedes(self.checkpoints[-1], e) for e in late):
            self.checkpoints.pop()
        base = self.checkpoints[-1]
        self.leg = base.leg.copy()
        self.last = base.last
        self.next_checkpoint = self.leg.fill_count + CHECKPOINT_EVERY
        return base

    def reach(self, late: Iterable[LegEvent]) -> int:
        """Return how many fills `rewind` would take back."""
        late = list(late)
        preceding = (c for c in reversed(self.checkpoints[1:]) if all(self._precedes(c, event) for event in late))
        return self.leg.fill_count - next(preceding, self.checkpoints[0]).leg.fill_count

    def replay(self, events: Iterable[LegEvent], base: Checkpoint, usd_assets: frozenset[str]) -> None:
        """Apply what comes after `base` in venue order. Of two events with one identity the younger stands."""
        for event in self._in_venue_order(events, base):
            if isinstance(event, FundingPayment):
                self.leg.fund(event, usd_assets)
                continue
            self.leg.book(event, self.instrument, usd_assets)
            self.last = event
            if self.leg.fill_count >= self.next_checkpoint:
                self.checkpoint(base.seq)

    def drop_anchor(self, anchor: Anchor, base: Checkpoint, events: Iterable[LegEvent], usd: frozenset[str]) -> None:
        """Become what the anchor states at its moment, and apply only what it does not contain."""
        events = list(events)
        contained = [e for e in events if not isinstance(e, Fill) or anchor.contains(e)]
        younger = [e for e in events if isinstance(e, Fill) and not anchor.contains(e)]
        self.replay(contained, base, usd)
        self.leg.anchor(anchor.quantity, anchor.cost)
        self.floor = anchor
        start = Checkpoint(None, base.seq, self.leg.copy())
        self.checkpoints = [start]
        self.last = None
        self.replay(younger, start, usd)

    def _precedes(self, checkpoint: Checkpoint, event: LegEvent | Anchor) -> bool:
        """Whether nothing that comes after the event is in the checkpoint."""
        leg = checkpoint.leg
        if isinstance(event, FundingPayment):
            return event.at_ms >= leg.latest_fill_ms and (event.at_ms, event.id) > leg.last_funding
        if isinstance(event, Fill):
            return self._follows(event, checkpoint.last) and event.at_ms > leg.last_funding[0]
        if checkpoint.last is None:
            return True
        order = self.order_of(checkpoint.last)
        if event.last_trade_id is not None and isinstance(order, int):
            return order <= event.last_trade_id
        return event.at_ms is not None and leg.latest_fill_ms <= event.at_ms

    def _in_venue_order(self, events: Iterable[LegEvent], base: Checkpoint) -> Iterator[LegEvent]:
        fills: dict[str, Fill] = {}
        payments: dict[str, FundingPayment] = {}
        for event in events:
            if isinstance(event, FundingPayment):
                if (event.at_ms, event.id) > base.leg.last_funding:
                    payments[event.id] = event
            elif self._follows(event, base.last) and not (self.floor is not None and self.floor.contains(event)):
                fills[event.trade_id] = event
        waiting = sorted(payments.values(), key=lambda payment: (payment.at_ms, payment.id), reverse=True)
        for fill in sorted(fills.values(), key=self.order_of):
            while waiting and waiting[-1].at_ms < fill.at_ms:
                yield waiting.pop()
            yield fill
        yield from reversed(waiting)

    def _follows(self, fill: Fill, last: Fill | None) -> bool:
        return last is None or self.order_of(fill) > self.order_of(last)  # type: ignore[operator]  # same kind by mode


def _thinned(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Keep the first and, for every doubling of age in fills, the oldest and the youngest."""
    newest = checkpoints[-1].leg.fill_count
    by_age: dict[int, list[Checkpoint]] = {}
    for checkpoint in checkpoints[1:]:
        by_age.setdefault((newest - checkpoint.leg.fill_count).bit_length(), []).append(checkpoint)
    kept = [checkpoints[0]]
    for age in sorted(by_age, reverse=True):
        group = by_age[age]
        kept += group if len(group) < 3 else [group[0], group[-1]]
    return kept
