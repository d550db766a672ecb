"""Judge: does the ledger agree with what the exchange states? A value counts as agreed if the ledger held it at any
time near the statement: the stream may be ahead of a statement, or behind it, and both are right.

Agreement is to the last digit. What differs by no more than the tolerance is looked into as well, and alarms nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from account_monitor.ledger.account import Entry
from account_monitor.ledger.events import Fill
from account_monitor.ledger.money import ZERO
from account_monitor.ledger.reconciliation import Statement, Subject
from account_monitor.monitor.schedule import Monotonic
from account_monitor.monitor.views import Change, View

WINDOW_SECONDS = 10.0
"""How long the ledger's former values are kept, and count against a statement that was asked for."""

STREAM_SECONDS = 2.0
"""How long they count against the stream, which comes at once."""

LAGGING = 3
"""Statements of the stream in a row that the ledger misses by the same before it counts as behind."""

_VALUES = 8_192
"""Former values kept by subject, 10 s of a wallet that moves eight hundred times a second."""


class Disagreement(NamedTuple):
    """A subject whose stated value the ledger did not hold at any time near the statement's."""

    subject: Subject
    stated: Decimal
    held: Decimal | None
    """None: the ledger does not know the subject."""
    stated_at_ms: int
    since_seconds: float
    """The time at which the disagreement began, on the clock that measures durations."""
    is_tolerated: bool
    """Whether it is too small for an alarm."""
    is_accepted: bool
    """Whether it is the same that was searched for, and nothing was found."""

    @property
    def difference(self) -> Decimal:
        """Stated less held."""
        return self.stated - (self.held or ZERO)


class _Former:
    """The values that a subject had, each with the time at which it was replaced."""

    def __init__(self, value: Decimal) -> None:
        self.value = value
        self._replaced: deque[tuple[float, Decimal]] = deque(maxlen=_VALUES)

    def change(self, value: Decimal, now: float) -> None:
        """Take the next value."""
        self._replaced.append((now, self.value))
        self.value = value
        while self._replaced[0][0] < now - WINDOW_SECONDS:
            self._replaced.popleft()

    def held(self, value: Decimal, since: float) -> bool:
        """Whether it is the value, or was at any time since."""
        if value == self.value:
            return True
        for replaced, former in reversed(self._replaced):
            if replaced < since:
                return False
            if former == value:
                return True
        return False

    def between(self, since: float, until: float) -> list[Decimal]:
        """Return the values that it had between two times, the oldest first."""
        values = self.since(since)
        began = [since, *(replaced for replaced, _ in values)]
        return [value for start, (_, value) in zip(began, values, strict=False) if start < until]

    def since(self, time: float) -> list[tuple[float, Decimal]]:
        """Return the values since a time, the oldest first, each with when it was replaced: the last one never."""
        values = [(float("inf"), self.value)]
        for replaced, former in reversed(self._replaced):
            if replaced <= time:
                break
            values.append((replaced, former))
        return values[::-1]


class Judge:
    """Compares one account with statements as they come. `note` is an observer of the monitor."""

    def __init__(
        self,
        monotonic: Monotonic,
        *,
        wallet_tolerance: Decimal = ZERO,
        position_tolerance: Decimal = ZERO,
    ) -> None:
        self._monotonic = monotonic
        self._tolerances = {"wallet": wallet_tolerance, "position": position_tolerance}
        self._subjects: dict[Subject, _Former] = {}
        self._heard_ms: dict[Subject, int] = {}
        self._open: dict[Subject, Disagreement] = {}
        self._accepted: dict[Subject, Decimal] = {}
        self._lagging: dict[Subject, tuple[Decimal, int]] = {}
        """By how much the ledger missed what the stream stated of a subject, and how often in a row."""

    def start(self, view: View) -> None:
        """Take over what the account holds."""
        for asset, balance in view.balances.items():
            if balance.total is not None:
                self._subjects[Subject("wallet", asset)] = _Former(balance.total)
        for key, position in view.positions.items():
            self._subjects[Subject("position", key)] = _Former(position.quantity)

    def note(self, view: View, change: Change) -> None:
        """Take over what a commit has changed, and every value on the way there."""
        if change.recorded is None:
            return
        values: dict[Subject, Decimal] = {}
        for asset in change.assets:
            total = view.balances[asset].total
            if total is not None:
                values[Subject("wallet", asset)] = total
        for key in change.positions:
            values[Subject("position", key)] = view.positions[key].quantity
        if len(change.applied) > 1:
            for subject, passed in _passed(values, change.applied).items():
                for value in reversed(passed):
                    self._take(subject, value)
        for subject, value in values.items():
            self._take(subject, value)

    def hear(self, statement: Statement) -> None:
        """Compare the union of what both sides know."""
        window = WINDOW_SECONDS if statement.is_complete else STREAM_SECONDS
        for subject, stated in _said(statement).items():
            self._compare(subject, stated, statement.at_ms, window)
        if statement.is_complete:
            for subject in self._subjects.keys() | self._open.keys():
                if subject.kind == "position" and subject.name not in statement.quantities:
                    self._compare(subject, ZERO, statement.at_ms, window)

    def follow(self, statement: Statement, heard_at: float, until: float) -> Subject | None:
        """Take what the stream stated, and when it stated something again; return what the ledger is behind of.

        Of an account that trades the same quantity all the time, a ledger that misses a fill is always a moment behind,
        and every statement equals a value that it is about to have. Before the next statement comes, it has not.
        """
        behind = None
        for subject, stated in _said(statement).items():
            known = self._subjects.get(subject)
            values = [] if known is None else known.between(heard_at - STREAM_SECONDS, until)
            if not values or stated in values or subject in self._accepted:
                self._lagging.pop(subject, None)
                continue
            difference = stated - values[-1]
            before, count = self._lagging.get(subject, (difference, 0))
            self._lagging[subject] = (difference, count + 1 if difference == before else 1)
            if self._lagging[subject][1] >= LAGGING:
                del self._lagging[subject]
                behind = subject
        return behind

    def is_exact(self, statement: Statement, since: float) -> bool:
        """Whether the ledger held all of a complete statement together, to the last digit, at one time since: then
        nothing that it holds, or held then, is missing or too much. What was accepted counts as stated.
        """
        stated = _said(statement)
        for subject, known in self._subjects.items():
            if subject not in stated:
                if subject.kind == "wallet" and known.value:
                    return False  # nobody says whether it is right
                stated[subject] = ZERO
        expected = {subject: value - self._accepted.get(subject, ZERO) for subject, value in stated.items()}
        known_of = self._subjects
        if any(value and subject not in known_of for subject, value in expected.items()):
            return False
        spans = [(since, float("inf"))]
        for subject, value in expected.items():
            if subject in known_of:
                spans = _common(spans, _spans(known_of[subject].since(since), value, since))
            if not spans:
                return False
        return True

    @property
    def has_accepted(self) -> bool:
        """Whether there is a difference that was searched for, and nothing was found."""
        return bool(self._accepted)

    def disagreements(self, *, for_seconds: float = 0.0) -> list[Disagreement]:
        """Return what has been disagreed on for at least so long, the longest first."""
        now = self._monotonic()
        old = [each for each in self._open.values() if now - each.since_seconds >= for_seconds]
        return sorted(old, key=lambda each: each.since_seconds)

    def accept(self, subject: Subject, difference: Decimal) -> None:
        """Take a difference for what it is: all was searched, and nothing explains it."""
        each = self._open.get(subject)
        if each is not None:
            self._accepted[subject] = difference
            self._open[subject] = each._replace(is_accepted=True)

    def doubt(self, subject: Subject) -> None:
        """Accept a difference no longer: it may be looked into, or corrected, anew."""
        self._accepted.pop(subject, None)
        self.drop(subject)

    def drop(self, subject: Subject) -> None:
        """Forget a disagreement: it was settled, and the next statement says whether it was settled well."""
        self._open.pop(subject, None)

    def differences(self, subject: Subject, stated: Decimal) -> list[Decimal]:
        """Return what a statement may have differed by from the ledger, whose values since its window began are many:
        the difference from the newest value first.
        """
        known = self._subjects.get(subject)
        if known is None:
            return [stated]
        values = [value for _, value in known.since(self._monotonic() - WINDOW_SECONDS)]
        return [stated - value for value in dict.fromkeys(reversed(values))]

    def tolerance(self, subject: Subject) -> Decimal:
        """Return up to which difference nobody is alarmed."""
        return self._tolerances[subject.kind]

    def held(self, subject: Subject) -> Decimal | None:
        """Return what the ledger holds, None where it does not know the subject."""
        known = self._subjects.get(subject)
        return None if known is None else known.value

    def moved_since(self, subject: Subject, time: float) -> bool:
        """Whether the ledger's value of a subject has changed since a time."""
        known = self._subjects.get(subject)
        return known is not None and len(known.since(time)) > 1

    def restart_times(self) -> None:
        """Forget how young the youngest statements were: the clock of their times was set."""
        self._heard_ms.clear()

    def _take(self, subject: Subject, value: Decimal) -> None:
        known = self._subjects.get(subject)
        if known is None:
            known = self._subjects[subject] = _Former(ZERO)
        if known.value == value:
            return
        known.change(value, self._monotonic())
        disagreed = self._open.get(subject)
        if disagreed is not None and disagreed.stated == value:
            del self._open[subject]

    def _compare(self, subject: Subject, stated: Decimal, at_ms: int, window_seconds: float) -> None:
        if at_ms < self._heard_ms.get(subject, at_ms):
            return  # an older statement says nothing against a younger one
        self._heard_ms[subject] = at_ms
        now = self._monotonic()
        known = self._subjects.get(subject)
        held = (ZERO if subject.kind == "position" else None) if known is None else known.value
        if not stated if known is None else known.held(stated, now - window_seconds):
            self._open.pop(subject, None)
            if stated == (held or ZERO):
                self._accepted.pop(subject, None)
            return
        before = self._open.get(subject)
        is_tolerated = abs(stated - (held or ZERO)) <= self._tolerances[subject.kind]
        began = before.since_seconds if before is not None and before.is_tolerated is is_tolerated else now
        self._open[subject] = Disagreement(
            subject,
            stated,
            held,
            at_ms,
            began,
            is_tolerated,
            self._is_accepted(subject, stated, now - window_seconds),
        )

    def _is_accepted(self, subject: Subject, stated: Decimal, since: float) -> bool:
        accepted, known = self._accepted.get(subject), self._subjects.get(subject)
        if accepted is None:
            return False
        return stated == accepted if known is None else known.held(stated - accepted, since)


def _spans(values: list[tuple[float, Decimal]], value: Decimal, since: float) -> list[tuple[float, float]]:
    """Return from when to when a subject had a value, in order."""
    starts = [since, *(replaced for replaced, _ in values)]
    return [(start, end) for start, (end, held) in zip(starts, values, strict=False) if held == value and start < end]


def _common(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the times that are in both; each is in order, and so is the result."""
    common: list[tuple[float, float]] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            common.append((start, end))
        if one[i][1] <= other[j][1]:
            i += 1
        else:
            j += 1
    return common


def _said(statement: Statement) -> dict[Subject, Decimal]:
    said = {Subject("wallet", asset): amount for asset, amount in statement.wallets.items()}
    return said | {Subject("position", key): quantity for key, quantity in statement.quantities.items()}


def _passed(last: dict[Subject, Decimal], entries: Iterable[Entry]) -> dict[Subject, list[Decimal]]:
    """Return the values that subjects had between the entries of one commit, the youngest first."""
    value = dict(last)
    passed: dict[Subject, list[Decimal]] = {subject: [] for subject in last}
    for entry in reversed(list(entries)):
        for subject, moved in _moves(entry):
            if subject in value:
                value[subject] -= moved
                passed[subject].append(value[subject])
    return passed


def _moves(entry: Entry) -> list[tuple[Subject, Decimal]]:
    wallets: dict[str, Decimal] = {}
    for book, _, asset, amount in entry.postings:
        if book == "wallet":
            wallets[asset] = wallets.get(asset, ZERO) + amount
    moves = [(Subject("wallet", asset), amount) for asset, amount in wallets.items() if amount]
    if isinstance(entry.event, Fill) and entry.outcome == "booked":
        moves.append((Subject("position", entry.event.key), entry.event.signed_quantity))
    return moves
