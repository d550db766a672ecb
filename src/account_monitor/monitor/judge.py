"""Judge: does the ledger agree with what the exchange states? A value counts as agreed if the ledger held it at any
time near the statement: the stream may be ahead of a statement, or behind it, and both are right.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import NamedTuple

from account_monitor.ledger.money import ZERO
from account_monitor.ledger.reconciliation import Statement, Subject
from account_monitor.monitor.schedule import Monotonic
from account_monitor.monitor.views import Change, View

WINDOW_SECONDS = 10.0
"""How long the ledger's former values are kept, and count against a statement that was asked for."""

STREAM_SECONDS = 2.0
"""How long they count against the stream, which comes at once."""

_VALUES = 1_024
"""Former values kept by subject, 10 s of a wallet that moves a hundred times a second."""


class Disagreement(NamedTuple):
    """A subject whose stated value the ledger did not hold at any time near the statement's."""

    subject: Subject
    stated: Decimal
    held: Decimal | None
    """None: the ledger does not know the subject."""
    stated_at_ms: int
    since_seconds: float
    """The time at which the disagreement began, on the clock that measures durations."""


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
        return any(former == value for replaced, former in reversed(self._replaced) if replaced >= since)


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

    def start(self, view: View) -> None:
        """Take over what the account holds."""
        for asset, balance in view.balances.items():
            if balance.total is not None:
                self._take(Subject("wallet", asset), balance.total)
        for key, position in view.positions.items():
            self._take(Subject("position", key), position.quantity)

    def note(self, view: View, change: Change) -> None:
        """Take over what a commit has changed."""
        if change.recorded is None:
            return
        for asset in change.assets:
            total = view.balances[asset].total
            if total is not None:
                self._take(Subject("wallet", asset), total)
        for key in change.positions:
            self._take(Subject("position", key), view.positions[key].quantity)

    def hear(self, statement: Statement) -> None:
        """Compare the union of what both sides know."""
        window = WINDOW_SECONDS if statement.is_complete else STREAM_SECONDS
        for asset, amount in statement.wallets.items():
            self._compare(Subject("wallet", asset), amount, statement.at_ms, window)
        for key, quantity in statement.quantities.items():
            self._compare(Subject("position", key), quantity, statement.at_ms, window)
        if statement.is_complete:
            for subject in self._subjects.keys() | self._open.keys():
                if subject.kind == "position" and subject.name not in statement.quantities:
                    self._compare(subject, ZERO, statement.at_ms, window)

    def disagreements(self, *, for_seconds: float = 0.0) -> list[Disagreement]:
        """Return what has been disagreed on for at least so long, the longest first."""
        now = self._monotonic()
        old = [each for each in self._open.values() if now - each.since_seconds >= for_seconds]
        return sorted(old, key=lambda each: each.since_seconds)

    def _take(self, subject: Subject, value: Decimal) -> None:
        known = self._subjects.get(subject)
        if known is None:
            self._subjects[subject] = _Former(value)
        elif known.value != value:
            known.change(value, self._monotonic())
        else:
            return
        disagreed = self._open.get(subject)
        if disagreed is not None and self._is_close(subject, disagreed.stated, value):
            del self._open[subject]

    def _compare(self, subject: Subject, stated: Decimal, at_ms: int, window_seconds: float) -> None:
        if at_ms < self._heard_ms.get(subject, at_ms):
            return  # an older statement says nothing against a younger one
        self._heard_ms[subject] = at_ms
        known = self._subjects.get(subject)
        now = self._monotonic()
        if known is None:
            agreed = not stated
        else:
            agreed = known.held(stated, now - window_seconds) or self._is_close(subject, stated, known.value)
        if agreed:
            self._open.pop(subject, None)
        else:
            before = self._open.get(subject)
            held = None if known is None else known.value
            since = now if before is None else before.since_seconds
            self._open[subject] = Disagreement(subject, stated, held, at_ms, since)

    def _is_close(self, subject: Subject, stated: Decimal, held: Decimal) -> bool:
        return abs(stated - held) <= self._tolerances[subject.kind]
