"""Reconciler: what is done about a disagreement? It is confirmed, explained, corrected if nothing explains it, told.

The judge says where a statement and the ledger differ; the feed asks the exchange. Here is decided what that means. Of
each subject that is disagreed on there is a case, from the first statement that shows it until it agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

import structlog

from account_monitor.ledger.causes import Effect, by_weight, cause_of, corrected, effects_of
from account_monitor.ledger.events import Adjustment, Anchor, Event, Fill, FlowEvent, Reversal
from account_monitor.ledger.money import ZERO, to_text
from account_monitor.ledger.reconciliation import (
    Cause,
    Drift,
    Finding,
    Quarantine,
    Reconciliation,
    Statement,
    Subject,
    digest,
)
from account_monitor.monitor.alarms import AlarmBoard, AlarmKind
from account_monitor.monitor.histogram import Histogram
from account_monitor.monitor.judge import Disagreement, Judge
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import VENUE_INCOME, VENUE_TRADES, Clock, Delivery, is_venue
from account_monitor.monitor.schedule import Monotonic
from account_monitor.monitor.views import Change, Comparison, View

Policy: TypeAlias = Literal["off", "observe", "adjust"]

CONFIRM_SECONDS = 1.0
"""After a statement that disagrees, another one is asked for: an ACCOUNT_UPDATE comes before its fill."""

ROUNDS = 3
"""Statements after which what disagrees is drift, whether the difference stays the same or moves."""

LASTING_SECONDS = 3.0
"""After so long a difference is looked into although no second statement could be had."""

TOLD_SECONDS = 5.0
"""How long a confirmed difference may be looked into before people hear of it."""

MAX_CORRECTIONS = 3
"""Of one subject within `CORRECTIONS_MS`; if it differs once more, a person has to look at it."""

CORRECTIONS_MS = 3_600_000

EXPLAINABLE_MS = 2_400_000
"""How long a correction is young: its cause may be listed half an hour late."""

FRESH_MS = 250
"""What happened so shortly before it was read was not missed: the stream had no time to tell of it."""

MARGIN_MS = 1_000
"""By so much a statement may be younger than the clock says: what happened until then is in it."""

MAX_FINDINGS = 100
"""Of one report, that are named."""

MAX_TRIES = 30
"""Statements that may come at a bad moment for a correction, as the account trades; then people have to hear of it."""

DRIFT_BUCKETS = tuple(float(f"1e{power}") for power in range(-8, 7))
"""From the last digit of a wallet to a million."""

DURATION_BUCKETS_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

log = structlog.get_logger(__name__)


class Terms(NamedTuple):
    """What may be corrected, and which differences are grave: percent of the larger of both sides, None for none."""

    policy: Policy = "adjust"
    balance_drift_pct: Decimal | None = None
    position_drift_pct: Decimal | None = None


class PositionStated(NamedTuple):
    """What the exchange says of a position for a correction: quantity and cost, both positive when long."""

    symbol: str
    quantity: Decimal
    cost: Decimal


@dataclass(slots=True)
class _Found:
    """What a search booked: an event that was missed, what kind of thing it is, and what it moved."""

    event: Fill | FlowEvent
    cause: Cause
    effects: list[Effect]

    def call(self, cause: Cause) -> None:
        """Note that more is known of the order behind it."""
        self.effects = [each._replace(cause=cause) if each.cause == self.cause else each for each in self.effects]
        self.cause = cause


@dataclass(slots=True)
class _Case:
    """A subject that is disagreed on, since when, and what has been learned of it."""

    first: Disagreement
    latest: Disagreement
    rounds: int = 0
    """Complete statements that showed it."""
    differences: list[Decimal] = field(default_factory=list)
    """What it may be, that all of them have in common: from the newest value of the ledger first."""
    is_confirmed: bool = False
    found: list[_Found] = field(default_factory=list)
    """What searches booked that moved it."""
    told: Decimal = ZERO
    """What everybody else told of meanwhile, in sum."""
    is_told_of: bool = False
    """Whether that sum was the difference at any time: then it only came late."""
    searches: int = 0
    """Searches that it has outlasted since it was confirmed."""
    causes: tuple[Cause, ...] = ()
    """Why it is there, as far as that was decided while it is."""
    tries: int = 0
    seen: Decimal | None = None
    """The difference of a wallet at the last quiet moment, where it moves so alike that several are possible."""
    is_public: bool = False
    """Whether people have heard of it."""

    @property
    def subject(self) -> Subject:
        return self.first.subject

    @property
    def began(self) -> float:
        return self.first.since_seconds

    @property
    def difference(self) -> Decimal:
        return self.differences[0] if self.differences else self.latest.difference

    @property
    def effects(self) -> list[Effect]:
        return [effect for found in self.found for effect in found.effects if effect.subject == self.subject]


class Reconciler:
    """Follows the disagreements of one account. `note` is an observer of its monitor, after the judge's."""

    def __init__(
        self, monitor: Monitor, judge: Judge, alarms: AlarmBoard, terms: Terms, *, clock: Clock, monotonic: Monotonic
    ) -> None:
        """`clock` is the exchange's."""
        self.account = monitor.name
        self.drift = Histogram(DRIFT_BUCKETS)
        """The largest difference that each statement showed."""
        self.corrections: Counter[Cause] = Counter()
        """What was booked because it was missed, and what was corrected, since the start."""
        self._monitor = monitor
        self._judge = judge
        self._alarms = alarms
        self.terms = terms
        self._clock = clock
        self._monotonic = monotonic
        self._cases: dict[Subject, _Case] = {}
        self._closed: list[_Case] = []
        """Cases that are over, and were not reported yet."""
        self._public: set[Subject] = set()
        """What people have heard of that no statement has shown to be right since."""
        self._wanted: set[Subject] = set()
        """What is to be corrected."""
        self._searching_since_ms: int | None = None
        self._searched_for: set[int] = set()
        """The cases for which the search was begun, by identity: one that is opened meanwhile may be another."""
        self._fresh_since_ms: int | None = None
        """What happened after this was not missed."""
        self._found: list[_Found] = []
        self._expected: set[str] = set()
        """Payments that the search is about to book."""
        self._compared_ms: int | None = None
        self._agreed_ms: int | None = None

    # -- what is recorded ----------------------------------------------------------------------------------------------

    def note(self, view: View, change: Change) -> None:
        """Take a commit: what of it was missed, and what it does to the cases."""
        if change.recorded is None:
            return
        for entry in change.recorded.entries:
            if type(entry.event) is Quarantine and entry.event.is_over:
                self._release(Subject(entry.event.kind, entry.event.name))
        if not (self._cases or self._searching_since_ms is not None or self._monitor.adjustments):
            return
        for entry, done in zip(change.recorded.entries, change.applied, strict=True):
            event = entry.event
            if not isinstance(event, Fill | FlowEvent):
                continue
            if is_venue(entry.source) and (entry.source != VENUE_INCOME or event.event_id in self._expected):
                self._put_all(self.reversals([event]))
            if done.outcome == "contained":
                continue
            is_found = self._was_missed(event, entry.source)
            cause = cause_of(event)
            if isinstance(event, Fill) and event.revision:
                moved = [(asset, amount) for book, _, asset, amount in done.postings if book == "wallet" and amount]
                effects = [Effect(Subject("wallet", asset), amount, corrected(amount)) for asset, amount in moved]
                cause = effects[0].cause if effects else cause
            else:
                effects = effects_of(event, _settlement_asset(view, event), cause=cause)
            if is_found:
                found = _Found(event, cause, effects)
                self._found.append(found)
                for case in self._cases_of(effects):
                    case.found.append(found)
            else:
                for effect in effects:
                    for case in self._cases_of([effect]):
                        case.told += effect.amount
                        case.is_told_of |= case.told == case.difference

    def _cases_of(self, effects: Iterable[Effect]) -> list[_Case]:
        return [case for effect in effects if (case := self._cases.get(effect.subject)) is not None]

    def _was_missed(self, event: Fill | FlowEvent, source: str) -> bool:
        """Whether only a search told of it, and the stream has had its time."""
        if self._fresh_since_ms is not None and event.at_ms > self._fresh_since_ms:
            return False
        return source == VENUE_TRADES if isinstance(event, Fill) else event.event_id in self._expected

    # -- what is stated ------------------------------------------------------------------------------------------------

    def stated(self, statement: Statement) -> None:
        """Take a complete statement that the judge has heard."""
        disagreements = self._judge.disagreements()
        largest = max((abs(each.difference) for each in disagreements), default=ZERO)
        self.drift.observe(float(largest))
        self.look()
        for each in disagreements:
            if each.stated_at_ms == statement.at_ms:
                self._show(self._cases[each.subject], each)
        self._compared_ms = statement.at_ms
        unsettled = {each.subject for each in disagreements if not each.is_tolerated}
        if not unsettled:
            self._agreed_ms = statement.at_ms
        for quarantine in self._monitor.quarantined:
            self._alarm_quarantine(quarantine)  # after a restart somebody has to
        for subject in self._public - unsettled:
            self._alarms.resolve(self.account, _alert_of(subject), symbol=subject.name)
        self._public &= unsettled

    def _show(self, case: _Case, shown: Disagreement) -> None:
        """Note that a statement shows a case."""
        differences = self._judge.differences(case.subject, shown.stated)
        common = [each for each in case.differences if each in set(differences)]
        case.rounds += 1
        case.is_confirmed |= (case.rounds > 1 and bool(common)) or case.rounds >= ROUNDS
        case.differences = common or differences
        case.latest = shown

    def comparison(self, interval_seconds: float) -> Comparison:
        """Return how the account compares with the exchange now."""
        shown = [case for case in self._cases.values() if case.is_confirmed and not case.latest.is_tolerated]
        drifts = [self._drift(case, case.causes) for case in shown]
        return Comparison(
            self._compared_ms, self._agreed_ms, interval_seconds, tuple(drifts), tuple(self._monitor.quarantined)
        )

    # -- what is due ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Open and close cases as the judge does, and tell people of what has been looked into for long."""
        now = self._monotonic()
        disagreed = {each.subject: each for each in self._judge.disagreements()}
        for subject, case in list(self._cases.items()):
            if subject not in disagreed or disagreed[subject].since_seconds != case.began:
                self._closed.append(self._cases.pop(subject))
                self._wanted.discard(subject)
        for subject in disagreed.keys() - self._cases.keys():
            self._cases[subject] = _Case(disagreed[subject], disagreed[subject])
        if self._searching_since_ms is None and self._closed:
            self._conclude("statement")
        for case in self._cases.values():
            if case.is_confirmed and not case.is_public and now - case.began >= TOLD_SECONDS:
                self._tell(case, by_weight(case.effects))

    @property
    def confirm_at(self) -> float | None:
        """When another statement is due, by the clock that measures durations: to confirm what one has shown."""
        waiting = [case.began for case in self._cases.values() if not case.is_confirmed]
        return min(waiting) + CONFIRM_SECONDS if waiting else None

    def to_search(self) -> tuple[str, int] | None:
        """Return what is to be looked into, and how many searches it has outlasted; None where there is nothing."""
        lasting = self._lasting()
        if not lasting:
            return None
        case = min(lasting, key=lambda case: case.searches)
        return told(case.latest), case.searches

    def _lasting(self) -> list[_Case]:
        """Return what was confirmed, or has lasted, and was not accepted as it is."""
        now = self._monotonic()
        accepted = {each.subject for each in self._judge.disagreements() if each.is_accepted}
        return [
            case for subject, case in self._cases.items()
            if subject not in accepted and (case.is_confirmed or now - case.began >= LASTING_SECONDS)
        ]  # fmt: skip

    # -- searches ------------------------------------------------------------------------------------------------------

    def begin_search(self, *, was_heard: bool) -> None:
        """Note that what is booked from now on was missed; `was_heard`: unless the stream may still tell of it."""
        self._searched_for = {id(case) for case in self._lasting()}
        self._searching_since_ms = self._clock()
        self._fresh_since_ms = self._searching_since_ms - FRESH_MS if was_heard else None

    def expect(self, events: Iterable[FlowEvent]) -> None:
        """Note which of the payments that are about to be booked nobody had told of."""
        self._expected = {event.event_id for event in events}

    @property
    def found_fills(self) -> list[Fill]:
        """The fills that the search has booked."""
        return [each.event for each in self._found if each.cause == "MISSED_FILL" and isinstance(each.event, Fill)]

    def end_search(self, trigger: str, orders: Mapping[tuple[str, str], Cause]) -> None:
        """Report what was found. `orders`: what is known of them, by symbol and id."""
        self._searching_since_ms = None
        for found in self._found:
            event = found.event
            if found.cause == "MISSED_FILL" and isinstance(event, Fill):
                found.call(orders.get((event.symbol, event.order_id or ""), found.cause))
        for case in self._cases.values():
            case.searches += id(case) in self._searched_for
        self.look()
        self._conclude(trigger)

    def cancel_search(self) -> None:
        """Note that a search broke off; what it booked is reported by the next one."""
        self._searching_since_ms = None

    def _conclude(self, trigger: str) -> None:
        """Report the cases that are over, and what was found."""
        closed, self._closed = self._closed, []
        drifts = []
        for case in closed:
            causes = self._causes_of(case)
            if causes:
                drifts.append(self._drift(case, causes))
                if case.is_confirmed:
                    self._tell(case, causes)
        if drifts or self._found:
            self._report(trigger, drifts)

    def _causes_of(self, case: _Case) -> tuple[Cause, ...]:
        """Return why a case was there, now that it is over; nothing where it was a matter of moments."""
        if case.found:
            return by_weight(case.effects)
        if case.is_told_of or not case.rounds:
            return ("LATE_EVENT",) if case.is_confirmed else ()
        return ("VENUE_INCONSISTENCY",)

    # -- what nothing explains -----------------------------------------------------------------------------------------

    def give_up(self) -> None:
        """Decide about what every search was made for and none explains: it is accepted, or to be corrected."""
        unexplained = []
        for case in self._lasting():
            is_tolerated = case.latest.is_tolerated
            if self.terms.policy == "adjust" and not is_tolerated and self._may_correct(case.subject):
                self._wanted.add(case.subject)
                continue
            self._accept(case, is_tolerated=is_tolerated)
            unexplained.append(self._drift(case, (*by_weight(case.effects), "UNEXPLAINED")))
        if unexplained:
            self._report("statement", unexplained)

    def _accept(self, case: _Case, *, is_tolerated: bool) -> None:
        log.warning("difference_not_explained", account=self.account, told=told(case.latest))
        self._wanted.discard(case.subject)
        case.causes = ("UNEXPLAINED",)
        self._judge.accept(case.subject)
        if not is_tolerated:
            self._tell(case, ("UNEXPLAINED",))

    def _may_correct(self, subject: Subject) -> bool:
        """Whether a subject may be corrected once more; if not, it is quarantined."""
        known = self._monitor.quarantine_of(subject)
        if known is not None and not known.is_over:
            return False
        since_ms = self._clock() - CORRECTIONS_MS if known is None else known.at_ms
        corrections = [each for each in self._unexplained() if each.at_ms > since_ms and subject in subjects_of(each)]
        if len(corrections) < MAX_CORRECTIONS:
            return True
        reason = f"{len(corrections)} corrections of {subject.kind} {subject.name} did not make it agree"
        quarantine = Quarantine(subject.kind, subject.name, self._clock(), is_over=False, reason=reason)
        self._put(quarantine)
        self._alarm_quarantine(quarantine)
        return False

    def _alarm_quarantine(self, quarantine: Quarantine) -> None:
        text = f"{quarantine.reason}; it is corrected no more until somebody releases it"
        self._alarms.fire(self.account, "QUARANTINED", text, symbol=quarantine.name, severity="CRITICAL")

    def _release(self, subject: Subject) -> None:
        """Let a subject be corrected again: a person has looked at it."""
        self._alarms.resolve(self.account, "QUARANTINED", symbol=subject.name)
        self._judge.doubt(subject)

    @property
    def to_correct(self) -> list[Subject]:
        """What is to be corrected, as soon as the exchange states it at a good moment."""
        return sorted(self._wanted)

    def correct(self, statement: Statement, positions: Mapping[str, PositionStated], asked_at: float) -> bool:
        """Make the ledger what the exchange states, of what is to be corrected. Returns whether that was possible.

        `statement` and `positions` were asked for at `asked_at`. All of it waits if anything of it does not show the
        difference that is known, or has moved since: then nobody knows what belongs together.
        """
        self.look()
        cases = [self._cases[subject] for subject in self.to_correct]
        wallets: list[tuple[str, Decimal]] = []
        anchors: list[Anchor] = []
        for case in cases:
            correction = self._correction(case, statement, positions, asked_at)
            if correction is None:
                case.tries += 1
                if case.tries >= MAX_TRIES:
                    self._accept(case, is_tolerated=False)
                return False
            if isinstance(correction, Anchor):
                anchors.append(correction)
            else:
                wallets.append((case.subject.name, correction))
        drifts = [self._drift(case, (*by_weight(case.effects), "UNEXPLAINED")) for case in cases]
        at_ms = max(*(drift.stated_at_ms for drift in drifts), *(anchor.at_ms or 0 for anchor in anchors), 0)
        name = digest(self.account, at_ms, *((d.kind, d.name, to_text(d.difference)) for d in drifts))
        evidence = "; ".join(f"{told(case.latest)}, for {case.rounds} statements" for case in cases)
        reason = f"nothing that the exchange lists explains: {evidence}"
        self._put(Adjustment(name, at_ms, "UNEXPLAINED", tuple(wallets), tuple(anchors), None, reason))
        self._report("statement", drifts, adjustment_id=name)
        for case in cases:
            self._tell(case, ("UNEXPLAINED",))
            del self._cases[case.subject]
            self._judge.drop(case.subject)
            self._wanted.discard(case.subject)
        return True

    def _correction(
        self, case: _Case, statement: Statement, positions: Mapping[str, PositionStated], asked_at: float
    ) -> Decimal | Anchor | None:
        """Return the amount that a wallet lacks, or what a position is; None where this is no moment to tell."""
        subject, held = case.subject, self._judge.held(case.subject) or ZERO
        if subject.kind == "wallet":
            stated = statement.wallets.get(subject.name)
            possible = [] if stated is None else self._judge.differences(subject, stated)
            common = [each for each in case.differences if each in possible]
            if len(common) == 1:
                return common[0]
            if stated is None or self._judge.moved_since(subject, asked_at) or stated - held not in common:
                return None
            before, case.seen = case.seen, stated - held
            return case.seen if case.seen == before else None
        symbol, _, side = subject.name.partition(":")
        position = positions.get(subject.name, PositionStated(symbol, ZERO, ZERO))
        if position.quantity != statement.quantities.get(subject.name, ZERO):
            return None
        if position.quantity - held != case.difference or self._judge.moved_since(subject, asked_at):
            return None
        at_ms = max(self._monitor.latest_fill_ms(subject.name), case.first.stated_at_ms + MARGIN_MS)
        return Anchor(symbol, side or "BOTH", position.quantity, position.cost, None, at_ms)  # type: ignore[arg-type]

    # -- what is explained after all -----------------------------------------------------------------------------------

    @property
    def has_questions(self) -> bool:
        """Whether there is something whose cause may still be listed."""
        young_ms = self._clock() - EXPLAINABLE_MS
        return self._judge.has_accepted or any(each.at_ms > young_ms for each in self._unexplained())

    def reversals(self, events: Iterable[Event]) -> list[Reversal]:
        """Return what takes back the corrections that these events explain, which nobody had told of before."""
        standing = self._unexplained()
        if not standing:
            return []
        told_of = [(event, _touched(event, self._monitor)) for event in events if isinstance(event, Fill | FlowEvent)]
        return [
            Reversal(each.id, self._clock(), f"the exchange lists {explaining.event_id} after all")
            for each in standing
            if (explaining := next(
                (event for event, subjects in told_of
                 if event.at_ms <= each.at_ms and subjects & subjects_of(each)), None)) is not None
        ]  # fmt: skip

    def _unexplained(self) -> list[Adjustment]:
        return [each for each in self._monitor.adjustments if each.by is None and each.cause == "UNEXPLAINED"]

    # -- what is told --------------------------------------------------------------------------------------------------

    def _drift(self, case: _Case, causes: tuple[Cause, ...] = ()) -> Drift:
        kind, name = case.subject
        stated, difference = case.latest.stated, case.difference
        held = None if case.latest.held is None else stated - difference
        explained = sum((effect.amount for effect in case.effects), ZERO)
        return Drift(kind, name, stated, held, case.latest.stated_at_ms, causes, explained, case.latest.is_tolerated)

    def _report(self, trigger: str, drifts: Sequence[Drift], *, adjustment_id: str | None = None) -> None:
        if self.terms.policy == "off":
            return
        now_ms = self._clock()
        findings = [Finding(found.event.event_id, found.cause) for found in self._found]
        self.corrections.update(finding.cause for finding in findings)
        self.corrections["UNEXPLAINED"] += adjustment_id is not None
        self._found.clear()
        name = digest(self.account, now_ms, trigger, *drifts, *findings)
        report = Reconciliation(
            name, now_ms, trigger, tuple(drifts), tuple(findings[:MAX_FINDINGS]), len(findings), adjustment_id
        )
        self._put(report)
        log.info(
            "reconciled", account=self.account, trigger=trigger, findings=len(findings), adjustment=adjustment_id,
            drifts=[f"{d.kind} {d.name} {to_text(d.difference)}: {', '.join(d.causes)}" for d in drifts],
        )  # fmt: skip

    def _tell(self, case: _Case, causes: tuple[Cause, ...]) -> None:
        """Let people hear of a case."""
        if case.latest.is_tolerated or self.terms.policy == "off":
            return
        case.is_public = True
        subject = case.subject
        self._public.add(subject)
        is_wallet = subject.kind == "wallet"
        limit_pct = self.terms.balance_drift_pct if is_wallet else self.terms.position_drift_pct
        is_grave = limit_pct is not None and abs(case.difference) * 100 > limit_pct * max(
            abs(case.latest.stated), abs(case.latest.held or ZERO)
        )
        severity: Literal["WARNING", "CRITICAL"] = "CRITICAL" if is_grave or "UNEXPLAINED" in causes else "WARNING"
        why = f": {', '.join(causes)}" if causes else ""
        self._alarms.fire(
            self.account, _alert_of(subject), f"{told(case.latest)}{why}", symbol=subject.name, severity=severity,
            value=case.difference, threshold=self._judge.tolerance(subject), cause=causes[0] if causes else None,
        )  # fmt: skip

    def _put(self, event: Event) -> None:
        self._monitor.inbox.put(Delivery("monitor", "reconciliation", b"", event))

    def _put_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._put(event)


def told(disagreement: Disagreement) -> str:
    """Say what is disagreed on."""
    (kind, name), stated, held, *_ = disagreement
    ours = "nothing is known here" if held is None else f"the ledger holds {to_text(held)}"
    return f"{kind} {name}: the exchange states {to_text(stated)}, {ours}"


def subjects_of(adjustment: Adjustment) -> set[Subject]:
    """Return what a correction is about."""
    wallets = {Subject("wallet", asset) for asset, _ in adjustment.wallets}
    return wallets | {Subject("position", anchor.key) for anchor in adjustment.positions}


def _touched(event: Fill | FlowEvent, monitor: Monitor) -> set[Subject]:
    asset = _settlement_asset(monitor.view, event)
    return {effect.subject for effect in effects_of(event, asset, cause="MISSED_FILL")}


def _settlement_asset(view: View, event: Fill | FlowEvent) -> str:
    if not isinstance(event, Fill):
        return event.asset
    position = view.positions.get(event.key)
    return "" if position is None else position.settlement_asset


def _alert_of(subject: Subject) -> AlarmKind:
    return "BALANCE_DRIFT" if subject.kind == "wallet" else "POSITION_DRIFT"
