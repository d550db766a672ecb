"""Cases: what is disagreed on, since when, and what was learned of it, until it agrees. What searches found of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from account_monitor.ledger.causes import Effect
from account_monitor.ledger.events import Fill, FlowEvent
from account_monitor.ledger.money import ZERO
from account_monitor.ledger.reconciliation import Cause, Drift, Finding, Subject
from account_monitor.monitor.judge import Disagreement

ROUNDS = 3
"""Statements after which what disagrees is drift, whether the difference stays the same or moves."""

STEADY = 3
"""Statements that have to show one difference, each at a moment at which the subject did not move, for a correction."""

MARGIN_MS = 1_000
"""By so much a statement may be younger than the clock says: what happened until then may be in it."""

MAX_NAMED = 100
"""Findings of a search that are named; the others are counted."""


@dataclass(slots=True)
class Case:
    """A subject that is disagreed on."""

    first: Disagreement
    latest: Disagreement
    rounds: int = 0
    """Complete statements that showed it."""
    looks: int = 0
    """Complete statements since it began, whether they name the subject or not."""
    common: list[Decimal] = field(default_factory=list)
    """The differences that all of those rounds allow: of a subject that moves there are many."""
    is_confirmed: bool = False
    steady: tuple[Decimal, int] | None = None
    """The difference at quiet moments, and how many showed it in a row."""
    found: dict[Cause, Decimal] = field(default_factory=dict)
    """What searches booked of it, by cause."""
    has_moved: bool = False
    """Whether others told of anything meanwhile that moved it."""
    late: Decimal = ZERO
    """What of that had happened before it began, in sum."""
    is_late: bool = False
    """Whether that sum was the difference at any time."""
    taken_back: Decimal = ZERO
    """What reversals of corrections moved it by."""
    has_news: bool = False
    """Whether the present search booked anything of it: then what is left is another matter."""
    searches: int = 0
    """Searches that it has outlasted since it was confirmed."""
    causes: tuple[Cause, ...] = ()
    """Why it is there, as far as that was decided while it is."""
    tries: int = 0
    """Moments at which it could not be corrected."""
    is_public: bool = False
    """Whether people have heard of it."""
    is_of_gap: bool = False
    """Whether it was known, when it began, that something may be missing: then it is no drift while that is fetched."""
    is_known: bool = False
    """Whether the exchange contradicted itself by the same a while ago: there is nothing to search for."""
    is_settled: bool = False
    """Whether somebody decided about it: then nobody need be told why it is over."""

    @property
    def subject(self) -> Subject:
        """What it is about."""
        return self.first.subject

    @property
    def began(self) -> float:
        """When it began, by the clock that measures durations."""
        return self.first.since_seconds

    @property
    def difference(self) -> Decimal:
        """Stated less held: the exact one if it is known, else that of the last statement."""
        return self.latest.difference if self.steady is None else self.steady[0]

    @property
    def stated_by_ms(self) -> int:
        """What caused it happened up to then, by the venue's clock."""
        return self.first.stated_at_ms + MARGIN_MS

    def show(self, shown: Disagreement, differences: list[Decimal]) -> None:
        """Take a statement that shows it; `differences` from all values that the ledger had around then."""
        allowed = set(differences)
        common = [each for each in self.common if each in allowed]
        self.rounds += 1
        self.is_confirmed |= (self.rounds > 1 and bool(common)) or self.rounds >= ROUNDS
        self.common = common or differences
        self.latest = shown
        if len(differences) == 1:
            self.steady_at(differences[0])

    def steady_at(self, difference: Decimal) -> bool:
        """Take the difference of a moment at which nothing moved; return whether it is certain.

        Another one than before is another matter, which was not searched for yet.
        """
        known, count = self.steady or (difference, 0)
        if difference != known:
            self.searches = count = 0
        self.steady = (difference, count + 1)
        return self.steady[1] >= STEADY

    def tell(self, amount: Decimal, at_ms: int) -> None:
        """Take what was told of meanwhile: what happened before may be all that it was."""
        self.has_moved = True
        if at_ms <= self.stated_by_ms:
            self.late += amount
            self.is_late |= self.late == self.difference

    def found_causes(self) -> tuple[Cause, ...]:
        """Return the causes of what was booked of it, the one that moved most of it first, but what adds up to 0."""
        return tuple(sorted((cause for cause, moved in self.found.items() if moved), key=lambda c: -abs(self.found[c])))

    def reasons(self) -> tuple[Cause, ...]:
        """Return why it was there, now that it is over; nothing where it was a matter of moments, or is decided."""
        found = self.found_causes()
        if self.is_settled:
            return found
        if self.is_of_gap and (found or self.has_moved):
            return ()
        if found:
            told = sum(self.found.values(), self.late) + self.taken_back
            is_whole = self.has_moved or told == self.difference
            return found if is_whole else (*found, "VENUE_INCONSISTENCY")
        if self.is_late or not self.rounds:
            return ("LATE_EVENT",) if self.is_confirmed and self.is_late else ()
        return ("VENUE_INCONSISTENCY",) if self.is_confirmed or not self.has_moved else ()

    def drift(self, causes: tuple[Cause, ...]) -> Drift:
        """Return it as it is reported."""
        kind, name = self.subject
        stated = self.latest.stated
        held = None if self.latest.held is None else stated - self.difference
        explained = sum(self.found.values(), self.taken_back)
        return Drift(kind, name, stated, held, self.latest.stated_at_ms, causes, explained, self.latest.is_tolerated)


@dataclass(slots=True)
class _Found:
    """An event that a search booked, what kind of thing it is, and what it moved."""

    event: Fill | FlowEvent
    cause: Cause
    effects: list[Effect]


class Findings:
    """What searches booked because nobody had told of it: all of it is counted, the first of it named."""

    def __init__(self) -> None:
        self.causes: Counter[Cause] = Counter()
        self._named: list[_Found] = []

    @property
    def count(self) -> int:
        """How many there are."""
        return self.causes.total()

    def add(self, event: Fill | FlowEvent, cause: Cause, effects: list[Effect]) -> None:
        """Take one."""
        self.causes[cause] += 1
        if len(self._named) < MAX_NAMED:
            self._named.append(_Found(event, cause, effects))

    def missed_fills(self) -> Iterator[Fill]:
        """Return the fills of which nobody knows more than that they were missed."""
        return (each.event for each in self._named if each.cause == "MISSED_FILL" and isinstance(each.event, Fill))

    def call(self, orders: Mapping[tuple[str, str], Cause], cases: Iterable[Case]) -> None:
        """Name the fills by their orders, (symbol, id), here and in the cases that they moved."""
        by_subject = {case.subject: case for case in cases}
        for each in self._named:
            event = each.event
            if each.cause != "MISSED_FILL" or not isinstance(event, Fill):
                continue
            cause = orders.get((event.symbol, event.order_id or ""), each.cause)
            self.causes[each.cause] -= 1
            self.causes[cause] += 1
            for effect in each.effects:
                case = by_subject.get(effect.subject)
                if case is not None and effect.cause == each.cause and each.cause in case.found:
                    case.found[each.cause] -= effect.amount
                    case.found[cause] = case.found.get(cause, ZERO) + effect.amount
            each.cause = cause

    def forced(self) -> set[tuple[str, Cause]]:
        """Return (symbol, cause) of what the venue closed by force."""
        return {
            (each.event.symbol, each.cause) for each in self._named
            if isinstance(each.event, Fill) and each.cause in ("LIQUIDATION", "ADL", "SETTLEMENT")
        }  # fmt: skip

    def named(self) -> tuple[Finding, ...]:
        """Return the first of them."""
        return tuple(Finding(each.event.event_id, each.cause) for each in self._named)

    def clear(self) -> None:
        """Begin anew."""
        self.causes.clear()
        self._named.clear()
