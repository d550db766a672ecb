"""Timeline: the fills and funding of one position in venue order, whatever the order they arrive in.

What arrives in order is applied at once. What arrives late is applied by folding again from a checkpoint before its
place. Checkpoints thin out with age, so a fill that is late by n costs about n, and never the whole history.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from account_monitor.ledger.events import Anchor, Fill, FundingPayment, LegEvent, Place, is_numbered, trade_number
from account_monitor.ledger.instruments import Instrument
from account_monitor.ledger.position import NEVER_MS, Leg

CHECKPOINT_EVERY = 64
"""Fills between checkpoints: a copy costs about as much as folding two fills, so one in 64 is lost in the noise."""

MAX_PLANTED = 12
"""Checkpoints of horizons that are kept however close they stand: a horizon begins at one that eight others follow."""

MAX_ADJUSTED = 8
"""Anchors that may be lifted again; each keeps the checkpoints from before it."""

AHEAD = 64
"""Events after its place that a checkpoint keeps. One fill far ahead of its time makes every later one late: without
this, each would read again all that came since."""

VenueOrder: TypeAlias = int | tuple[int, int, str]
"""The trade id as a number; or (time, length of id, id) for a position whose ids are not all numbers."""

Journaled: TypeAlias = tuple[int, LegEvent]
"""An event with its sequence in the journal."""


class Floor(NamedTuple):
    """What openings, adjustments and horizons contain, all together: it moves nothing, whenever it comes."""

    last_number: int = -1
    """Numeric trade ids up to this one."""
    at_ms: int = NEVER_MS
    """Every fill up to this time."""
    unnumbered_ms: int = NEVER_MS
    """Fills whose id is not a number, up to this time."""
    next_ms: tuple[int, str] = (0, "")
    """Of the millisecond after `at_ms`, fills up to this one: (length of its id, id)."""

    def contains(self, fill: Fill) -> bool:
        """Whether some anchor's quantity already includes the fill, or it is final."""
        trade_id, at_ms = fill.trade_id, fill.at_ms
        number = trade_number(trade_id)
        if at_ms <= self.at_ms or (at_ms <= self.unnumbered_ms if number is None else number <= self.last_number):
            return True
        return at_ms == self.at_ms + 1 and (len(trade_id), trade_id) <= self.next_ms

    def extended_by(self, anchor: Anchor) -> Floor:
        """Return the floor that contains what the anchor does, too."""
        at_ms = NEVER_MS if anchor.at_ms is None else anchor.at_ms
        if anchor.last_trade_id is None:
            return self._raised_to(at_ms, (0, ""))
        return self._with_numbers(anchor.last_trade_id, at_ms)

    def after(self, fill: Fill, latest_ms: int, *, by_number: bool) -> Floor:
        """Return the floor that contains everything up to a fill in venue order, too."""
        number = trade_number(fill.trade_id)
        if by_number and number is not None:
            return self._with_numbers(number, latest_ms)
        return self._raised_to(fill.at_ms - 1, (len(fill.trade_id), fill.trade_id))

    def _with_numbers(self, last_number: int, at_ms: int) -> Floor:
        return self._replace(
            last_number=max(self.last_number, last_number), unnumbered_ms=max(self.unnumbered_ms, at_ms)
        )

    def _raised_to(self, at_ms: int, next_ms: tuple[int, str]) -> Floor:
        at_ms, next_ms = max((self.at_ms, self.next_ms), (at_ms, next_ms))
        return self._replace(at_ms=at_ms, next_ms=next_ms)


class Ahead(NamedTuple):
    """A few journaled events, each kind by itself, so that they can be written down."""

    fills: tuple[tuple[int, Fill], ...] = ()
    payments: tuple[tuple[int, FundingPayment], ...] = ()


class Checkpoint(NamedTuple):
    """The leg as it was after a place in venue order."""

    last: Fill | None
    """The last fill in it; None: before every fill that the floor does not contain."""
    seq: int
    """Every event after its place was journaled after this."""
    until: int
    """Every event up to its place that was journaled up to this is in it."""
    leg: Leg
    ahead: Ahead | None = None
    """The events after its place that were journaled up to `until`; None where they are too many to keep."""
    is_planted: bool = False
    """Whether a horizon left it, for a later one to begin at."""


class Adjusted(NamedTuple):
    """An anchor that may be lifted again, and what the timeline was before it."""

    id: str
    anchor: Anchor
    floor: Floor | None
    checkpoints: tuple[Checkpoint, ...]


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
    floor: Floor | None = None
    checkpoints: list[Checkpoint] = field(default_factory=lambda: [Checkpoint(None, 0, 0, Leg(), Ahead())])
    next_checkpoint: int = CHECKPOINT_EVERY
    """The fill count at which the next one is due."""
    adjusted: list[Adjusted] = field(default_factory=list)
    """The anchors that may be lifted, in the order in which they were dropped."""

    # -- in order ----------------------------------------------------------------------------------------------------

    def admits(self, fill: Fill) -> bool:
        """Whether the fill comes after everything applied so far; if so, it is the last one from now on."""
        last, trade_id = self.last, fill.trade_id
        leg = self.leg
        if self.by_number and not is_numbered(trade_id):
            if leg.fill_count:
                return False  # the position changes its order: `rewind`
            self.by_number = False
        if last is not None:
            if self.by_number and len(trade_id) == len(last.trade_id):
                if trade_id <= last.trade_id:  # numbers of one length compare as text, at a third of the cost
                    return False
            elif not self._follows(fill, last):
                return False
        if fill.at_ms <= leg.last_funding[0]:
            return False
        self.last = fill
        return True

    def admits_funding(self, payment: FundingPayment) -> bool:
        """Whether the payment comes after everything applied so far; a fill of the same millisecond comes first."""
        return payment.at_ms >= self.leg.latest_fill_ms and (payment.at_ms, payment.id) > self.leg.last_funding

    def checkpoint(self, seq: int, until: int, ahead: Ahead | None) -> None:
        """Remember the leg, and forget checkpoints that stand too close together for their age."""
        self.checkpoints.append(Checkpoint(self.last, seq, until, self.leg.copy(), ahead))
        self.next_checkpoint = self.leg.fill_count + CHECKPOINT_EVERY
        self.checkpoints = _thinned(self.checkpoints)

    # -- out of order ------------------------------------------------------------------------------------------------

    def reach(self, late: Iterable[LegEvent]) -> int:
        """Return how many fills `rewind` would take back."""
        late = list(late)
        base = self.checkpoints[0]
        if not self._changes_order(late):
            preceding = (c for c in reversed(self.checkpoints) if all(self._precedes(c, event) for event in late))
            base = next(preceding, base)
        return self.leg.fill_count - base.leg.fill_count

    def rewind(self, late: Iterable[LegEvent | Anchor]) -> Checkpoint:
        """Go back to the last checkpoint that precedes all of `late`, forget the younger ones, and return it."""
        late = list(late)
        if self._changes_order(late):
            self.by_number = False
            del self.checkpoints[1:]
        while len(self.checkpoints) > 1 and not all(self._precedes(self.checkpoints[-1], event) for event in late):
            self.checkpoints.pop()
        base = self.checkpoints[-1]
        self.leg = base.leg.copy()
        self.last = base.last
        self.next_checkpoint = self.leg.fill_count + CHECKPOINT_EVERY
        return base

    def replay(self, events: Iterable[Journaled], base: Checkpoint, until: int, usd_assets: frozenset[str]) -> None:
        """Apply in venue order what comes after `base`, of all that was journaled up to `until`.

        Of two events with one identity the younger stands.
        """
        ordered = self._in_venue_order(events, base)
        first_after = list(accumulate((seq for seq, _ in reversed(ordered)), min, initial=until + 1))[::-1]
        for index, (_, event) in enumerate(ordered, start=1):
            if isinstance(event, FundingPayment):
                self.leg.fund(event, usd_assets)
                continue
            self.leg.book(event, self.instrument, usd_assets)
            self.last = event
            if self.leg.fill_count >= self.next_checkpoint and self._ends_place(event, ordered, index):
                self.checkpoint(first_after[index] - 1, until, _kept(ordered[index : index + AHEAD + 1]))

    def drop_anchor(
        self,
        anchor: Anchor,
        base: Checkpoint,
        events: Sequence[Journaled],
        until: int,
        usd_assets: frozenset[str],
        *,
        is_opening: bool,
    ) -> None:
        """Become what the anchor states at its moment, and apply only what it does not contain.

        What came before a correction keeps its results; what came before an opening is nobody's, whenever it came.
        """
        inside = [journaled for journaled in events if _is_before(journaled[1], anchor)]
        after = [journaled for journaled in events if not _is_before(journaled[1], anchor)]
        if is_opening:
            self.leg = Leg()
            self.by_number = all(is_numbered(event.trade_id) for _, event in after if isinstance(event, Fill))
        else:
            self.replay(inside, base, until, usd_assets)
        self.leg.anchor(anchor.quantity, anchor.cost)
        floor = (self.floor or Floor()).extended_by(anchor)
        self.floor = None if floor == Floor() else floor
        seq = min((seq for seq, _ in after), default=until + 1) - 1
        start = Checkpoint(None, seq, until, self.leg.copy(), _kept(after))
        self.checkpoints = [start]
        self.last = None
        self.next_checkpoint = self.leg.fill_count + CHECKPOINT_EVERY
        self.replay(after, start, until, usd_assets)

    def note_adjusted(self, adjustment_id: str, anchor: Anchor) -> list[str]:
        """Remember what the timeline is, before an anchor is dropped that may be lifted again.

        Return the adjustments whose anchors cannot be lifted any more, because there are too many.
        """
        self.adjusted.append(Adjusted(adjustment_id, anchor, self.floor, tuple(self.checkpoints)))
        final = [adjusted.id for adjusted in self.adjusted[:-MAX_ADJUSTED]]
        del self.adjusted[:-MAX_ADJUSTED]
        return final

    def lift(self, adjustment_id: str) -> list[Adjusted] | None:
        """Go back to before an anchor; return those that were dropped after it. None: there is no such anchor.

        What was journaled since, and what the anchor contained, is to be replayed from the first checkpoint.
        """
        index = next((index for index, adjusted in enumerate(self.adjusted) if adjusted.id == adjustment_id), None)
        if index is None:
            return None
        lifted, *later = self.adjusted[index:]
        del self.adjusted[index:]
        self.floor = lifted.floor
        self.checkpoints = list(lifted.checkpoints)
        return later

    # -- final -------------------------------------------------------------------------------------------------------

    @property
    def needed_after(self) -> int:
        """The sequence up to which nothing is read again."""
        return min(checkpoints[0].seq for checkpoints in (self.checkpoints, *(a.checkpoints for a in self.adjusted)))

    def keep_adjusted(self, liftable: Collection[str]) -> None:
        """Forget what was before the first anchors, where none of these may be lifted any more."""
        while self.adjusted and self.adjusted[0].id not in liftable:
            del self.adjusted[0]

    def begin_at(
        self, place: Place, known: Callable[[Checkpoint], list[Journaled]], until: int, usd_assets: frozenset[str]
    ) -> None:
        """Let what is up to a place be final, and forget what it took to restate it; the position stays what it is.

        Nothing happens where that is not the place any more, because something came late, or where a correction may
        still be lifted. `known` returns what comes after a checkpoint, of all that was journaled up to `until`.
        """
        counts = (place.fill_count, place.payment_count)
        base = next((c for c in reversed(self.checkpoints) if _is_within(c, counts)), None)
        if base is None or self.adjusted or place.is_by_time is self.by_number:
            return
        start, last = base, base.last
        if _counts(base) != counts:
            ordered = self._in_venue_order(known(base), base)
            inside, after = ordered[: sum(counts) - sum(_counts(base))], ordered[sum(counts) - sum(_counts(base)) :]
            last = next((event for _, event in reversed(inside) if isinstance(event, Fill)), last)
            if last is not None and not self._ends_place(last, after, 0):
                return
            start = self._after(base, inside, after, until, usd_assets)
        if place.fill_count == self.checkpoints[0].leg.fill_count:
            last = None
        if _counts(start) != counts or place.trade_id != (None if last is None else last.trade_id):
            return
        younger = (checkpoint for checkpoint in self.checkpoints if not _is_within(checkpoint, counts))
        self.checkpoints = [start._replace(last=None), *younger]  # from here on the floor alone says what is before
        if last is not None:
            self.floor = (self.floor or Floor()).after(last, start.leg.latest_fill_ms, by_number=self.by_number)

    def _after(
        self,
        base: Checkpoint,
        inside: Sequence[Journaled],
        after: Sequence[Journaled],
        until: int,
        usd_assets: frozenset[str],
    ) -> Checkpoint:
        """Return the checkpoint that comes some events after another."""
        leg = base.leg.copy()
        for _, event in inside:
            if isinstance(event, Fill):
                leg.book(event, self.instrument, usd_assets)
            else:
                leg.fund(event, usd_assets)
        seq = min((seq for seq, _ in after), default=until + 1) - 1
        return Checkpoint(None, seq, until, leg, _kept(after))

    def plant(self, seq: int) -> None:
        """Remember the end, so that a later horizon may begin there; `seq` is that of this one."""
        youngest = self.checkpoints[-1]
        if youngest.leg == self.leg:  # nothing came since
            self.checkpoints[-1] = youngest._replace(seq=seq, until=seq, ahead=Ahead(), is_planted=True)
            return
        self.checkpoints.append(Checkpoint(self.last, seq, seq, self.leg.copy(), Ahead(), is_planted=True))
        self.checkpoints = _thinned(self.checkpoints)

    # -- order -------------------------------------------------------------------------------------------------------

    def _order_of(self, fill: Fill) -> VenueOrder:
        """Return the fill's place, comparable with the places of the same position."""
        if self.by_number and (number := trade_number(fill.trade_id)) is not None:
            return number
        return (fill.at_ms, len(fill.trade_id), fill.trade_id)

    def _follows(self, fill: Fill, last: Fill | None) -> bool:
        return last is None or self._order_of(fill) > self._order_of(last)  # type: ignore[operator]  # same kind by mode

    def _ends_place(self, fill: Fill, ordered: Sequence[Journaled], index: int) -> bool:
        """Whether no fill from `index` on shares the fill's place: only then may a checkpoint name the place."""
        coming = (ordered[i][1] for i in range(index, len(ordered)))
        following = next((event for event in coming if isinstance(event, Fill)), None)
        return following is None or self._follows(following, fill)

    def _changes_order(self, late: Iterable[LegEvent | Anchor]) -> bool:
        return self.by_number and any(isinstance(e, Fill) and not is_numbered(e.trade_id) for e in late)

    def _precedes(self, checkpoint: Checkpoint, event: LegEvent | Anchor) -> bool:
        """Whether nothing that comes after the event is in the checkpoint."""
        leg = checkpoint.leg
        if isinstance(event, FundingPayment):
            return event.at_ms >= leg.latest_fill_ms and (event.at_ms, event.id) > leg.last_funding
        if isinstance(event, Fill):
            return self._follows(event, checkpoint.last) and event.at_ms > leg.last_funding[0]
        if event.at_ms is not None and leg.last_funding[0] > event.at_ms:
            return False
        if event.last_trade_id is None:
            return event.at_ms is not None and leg.latest_fill_ms <= event.at_ms
        order = None if checkpoint.last is None else self._order_of(checkpoint.last)
        return isinstance(order, int) and order <= event.last_trade_id

    def _in_venue_order(self, events: Iterable[Journaled], base: Checkpoint) -> list[Journaled]:
        fills: dict[str, tuple[int, Fill]] = {}
        counterparts: dict[str, tuple[int, Fill]] = {}
        payments: dict[str, tuple[int, FundingPayment]] = {}
        for seq, event in events:
            if isinstance(event, FundingPayment):
                if seq > base.until or (event.at_ms, event.id) > base.leg.last_funding:
                    payments[event.id] = (seq, event)
            elif self._follows(event, base.last):
                executions = counterparts if event.is_counterpart else fills
                executions[event.trade_id] = (seq, event)  # of two records of one execution the younger stands
        floor = self.floor
        standing = [
            filled
            for filled in (*fills.values(), *counterparts.values())
            if filled[1].quantity and not (floor is not None and floor.contains(filled[1]))
        ]
        if counterparts:
            standing.sort(key=lambda filled: _turn(filled[1]))
        standing.sort(key=lambda filled: self._order_of(filled[1]))
        waiting = sorted(payments.values(), key=lambda paid: (paid[1].at_ms, paid[1].id), reverse=True)
        ordered: list[Journaled] = []
        for journaled in standing:
            while waiting and waiting[-1][1].at_ms < journaled[1].at_ms:
                ordered.append(waiting.pop())
            ordered.append(journaled)
        return [*ordered, *reversed(waiting)]


def _turn(fill: Fill) -> tuple[int, int, str]:
    """Order the two fills of a trade of the account with itself, which share a place, whichever was recorded first.

    The taker's comes first; where nobody says who was that, the one of the younger order.
    """
    maker, order_id = fill.maker, fill.order_id or ""
    return 1 if maker is None else 2 * maker, -(trade_number(order_id) or 0), order_id


def _kept(ahead: Sequence[Journaled]) -> Ahead | None:
    if len(ahead) > AHEAD:
        return None
    return Ahead(
        tuple((seq, event) for seq, event in ahead if isinstance(event, Fill)),
        tuple((seq, event) for seq, event in ahead if isinstance(event, FundingPayment)),
    )


def _is_before(event: LegEvent, anchor: Anchor) -> bool:
    """Whether the event happened up to the anchor's moment."""
    if isinstance(event, Fill):
        return anchor.contains(event)
    if anchor.at_ms is None:
        return anchor.last_trade_id is not None  # a moment without a time: what was paid so far was paid before
    return event.at_ms <= anchor.at_ms


def _counts(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.leg.fill_count, checkpoint.leg.payment_count


def _is_within(checkpoint: Checkpoint, counts: tuple[int, int]) -> bool:
    """Whether a checkpoint holds no more fills and payments than these."""
    fill_count, payment_count = _counts(checkpoint)
    return fill_count <= counts[0] and payment_count <= counts[1]


def _thinned(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Keep the first and, for every doubling of age in fills, the oldest and the youngest; and those of horizons."""
    newest = checkpoints[-1].leg.fill_count
    planted = [checkpoint.seq for checkpoint in checkpoints if checkpoint.is_planted]
    oldest_planted = planted[-MAX_PLANTED] if len(planted) > MAX_PLANTED else -1
    by_age: dict[int, list[Checkpoint]] = {}
    for checkpoint in checkpoints[1:]:
        by_age.setdefault((newest - checkpoint.leg.fill_count).bit_length(), []).append(checkpoint)
    kept = [checkpoints[0]]
    for age in sorted(by_age, reverse=True):
        first, *between = by_age[age]
        last = between[-1:]
        kept += [first, *(c for c in between[:-1] if c.is_planted and c.seq >= oldest_planted), *last]
    return kept
