"""Reconciler: what is done about a disagreement? It is confirmed, explained, corrected if nothing explains it, told.

The judge says where a statement and the ledger differ; the feed asks the exchange. Here is decided what that means. Of
each subject that is disagreed on there is a case, from the first statement that shows it until it agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

import structlog

from account_monitor.ledger.account import Entry
from account_monitor.ledger.causes import Effect, cause_of, corrected, effects_of
from account_monitor.ledger.events import Adjustment, Anchor, Event, Fill, FlowEvent, Reversal
from account_monitor.ledger.money import ZERO, to_text
from account_monitor.ledger.reconciliation import (
    Cause,
    Drift,
    Quarantine,
    Reconciliation,
    Statement,
    Subject,
    digest,
)
from account_monitor.monitor.alarms import PASSING_SECONDS, AlarmBoard, AlarmKind
from account_monitor.monitor.cases import ROUNDS, STEADY, Case, Findings
from account_monitor.monitor.histogram import Histogram
from account_monitor.monitor.judge import Disagreement, Judge
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import VENUE_STREAM, VENUE_TRADES, Clock, Delivery, JournalEntry, is_venue
from account_monitor.monitor.schedule import Monotonic
from account_monitor.monitor.views import Change, Comparison, View

Policy: TypeAlias = Literal["off", "observe", "adjust"]

CONFIRM_SECONDS = 1.0
"""After a statement that disagrees, another one is asked for: an ACCOUNT_UPDATE comes before its fill."""

MARGIN_SECONDS = 0.5
"""How much longer than the lag of the stream a difference has to last."""

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

INCONSISTENT_SECONDS = 600.0
"""How long an exchange that contradicts itself again in the same way is not reported once more."""

MAX_LOOKS = 3
"""Statements that are asked for early because of one case: what they do not confirm waits for its turn."""

MAX_UNCONFIRMED = 1_000
"""Fills of which others told, and that may explain a correction, that are remembered until the exchange lists them."""

FRESH_SECONDS = 5.0
"""How long the stream may take for what a search has read before it."""

MAX_FRESH = 1_000

MAX_TRIES = 60
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


class _Fresh(NamedTuple):
    """Something that was read so early that the stream may tell of it yet, and until when."""

    event: Fill | FlowEvent
    cause: Cause
    effects: list[Effect]
    until: float


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
        self._cases: dict[Subject, Case] = {}
        self._closed: list[Case] = []
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
        self._findings = Findings()
        self._unconfirmed: set[str] = set()
        """Fills of which others told, and that may explain a correction, if the exchange lists them, too."""
        self._fresh: dict[str, _Fresh] = {}
        """What a search read before the stream had the time to tell of it, and may tell of it yet."""
        self.is_told: Callable[[FlowEvent], bool] = lambda event: False
        """Whether the stream has told of a payment; what hears the stream sets it."""
        self._taken_back: list[str] = []
        """Corrections that were, and that no report has told of yet."""
        self.in_gap = True
        """Whether it is known that something may be missing: the stream was not heard, and that is not fetched yet."""
        self.lag_seconds = 0.0
        """How long the stream takes to tell of something."""
        self._streaks: dict[Subject, tuple[int, set[Decimal]]] = {}
        """In how many statements in a row each subject was disagreed on, and the differences that all of them allow."""
        self._inconsistent: dict[Subject, tuple[Decimal, float]] = {}
        """Of what the exchange last took back a statement, by how much it was wrong, and when."""
        self._expected: set[str] = set()
        """Payments that the search is about to book."""
        self._compared_ms: int | None = None
        self._agreed_ms: int | None = None

    # -- what is recorded ----------------------------------------------------------------------------------------------

    def note(self, view: View, change: Change) -> None:
        """Take a commit: what of it was missed, and what it does to the cases."""
        if change.recorded is None:
            return
        is_idle = not (self._cases or self._searching_since_ms is not None or self._monitor.adjustments)
        for entry, done in zip(change.recorded.entries, change.applied, strict=True):
            event = entry.event
            if isinstance(event, Adjustment | Reversal | Quarantine):
                self._settle(event, done)
            elif not is_idle and isinstance(event, Fill | FlowEvent):
                self._take(entry, done)
        for delivery in change.recorded.duplicates:
            if type(delivery.event) is Fill:
                self._confirm(delivery.event, delivery.source)

    def _take(self, entry: JournalEntry, done: Entry) -> None:
        """Take a movement of the account."""
        event = entry.event
        assert isinstance(event, Fill | FlowEvent)  # the caller looked
        is_expected = event.event_id in self._expected
        if entry.source in (VENUE_TRADES, VENUE_STREAM) or is_expected:
            self._put_all(self.reversals([event]))
        if isinstance(event, Fill) and not is_venue(entry.source):
            self._note_unconfirmed(event)
        if done.outcome == "contained":
            return
        cause = cause_of(event)
        if isinstance(event, Fill) and event.revision:
            moved = [(asset, amount) for book, _, asset, amount in done.postings if book == "wallet" and amount]
            effects = [Effect(Subject("wallet", asset), amount, corrected(amount)) for asset, amount in moved]
            cause = effects[0].cause if effects else cause
        else:
            effects = effects_of(event, self._settlement_asset(event), cause=cause)
        is_read = entry.source == VENUE_TRADES if isinstance(event, Fill) else is_expected
        is_fresh = self._fresh_since_ms is not None and event.at_ms > self._fresh_since_ms
        is_found = is_read and not is_fresh
        if is_found:
            self._findings.add(event, cause, effects)
        elif is_read and len(self._fresh) < MAX_FRESH:
            name = event.identity if isinstance(event, Fill) else event.event_id
            self._fresh[name] = _Fresh(event, cause, effects, self._monotonic() + FRESH_SECONDS)
        for effect in effects:
            case = self._cases.get(effect.subject)
            if case is None:
                continue
            if is_found:
                case.found[effect.cause] = case.found.get(effect.cause, ZERO) + effect.amount
                case.has_news = True
            else:
                case.tell(effect.amount, event.at_ms)

    def _settle(self, event: Adjustment | Reversal | Quarantine, done: Entry) -> None:
        """Note that somebody decided about what is disagreed on."""
        if isinstance(event, Quarantine):
            subjects = {Subject(event.kind, event.name)} if event.is_over else set()
        else:
            subjects = {
                Subject("wallet" if book == "wallet" else "position", name)
                for book, name, _, _ in done.postings if book in ("wallet", "position")
            }  # fmt: skip
        if isinstance(event, Reversal) and done.outcome == "booked":
            self._taken_back.append(event.adjustment_id)
            for book, name, _, amount in done.postings:
                if book == "wallet" and (case := self._cases.get(Subject("wallet", name))) is not None:
                    case.taken_back += amount
        else:
            for subject in subjects & self._cases.keys():
                self._cases[subject].is_settled = True
        if isinstance(event, Quarantine) and event.is_over:
            subject = Subject(event.kind, event.name)
            self._alarms.resolve(self.account, "QUARANTINED", symbol=subject.name)
            self._judge.doubt(subject)

    def _note_unconfirmed(self, fill: Fill) -> None:
        """Remember what others told of and a correction may contain: the exchange has to list it first."""
        if len(self._unconfirmed) < MAX_UNCONFIRMED and self._explained_by(fill):
            self._unconfirmed.add(fill.identity)

    def _confirm(self, fill: Fill, source: str) -> None:
        """Note that a fill that is known was told of again."""
        if source == VENUE_STREAM:
            self._fresh.pop(fill.identity, None)
        if fill.identity in self._unconfirmed and is_venue(source):
            self._unconfirmed.discard(fill.identity)
            self._put_all(self.reversals([fill]))

    def _look_at_fresh(self, now: float) -> None:
        """Take for missed what the stream has not told of for so long."""
        for name, fresh in list(self._fresh.items()):
            if fresh.until > now:
                break
            del self._fresh[name]
            if isinstance(fresh.event, Fill) or not self.is_told(fresh.event):
                self._findings.add(fresh.event, fresh.cause, fresh.effects)

    def _settlement_asset(self, event: Fill | FlowEvent) -> str:
        return self._monitor.settlement_asset(event.symbol) if isinstance(event, Fill) else event.asset

    # -- what is stated ------------------------------------------------------------------------------------------------

    def stated(self, statement: Statement) -> None:
        """Take a complete statement that the judge has heard."""
        disagreements = self._judge.disagreements()
        largest = max((abs(each.difference) for each in disagreements), default=ZERO)
        self.drift.observe(float(largest))
        self.look()
        for case in self._cases.values():
            case.looks += 1
        shown = [each for each in disagreements if each.stated_at_ms == statement.at_ms]
        before, self._streaks = self._streaks, {}
        for each in shown:
            case, differences = self._cases[each.subject], self._judge.differences(each.subject, each.stated)
            case.show(each, differences)
            count, common = before.get(each.subject, (0, set(differences)))
            self._streaks[each.subject] = (count + 1, common & set(differences))
            case.is_confirmed |= count + 1 >= ROUNDS and bool(self._streaks[each.subject][1])
            self._want_again(case)
        self._compared_ms = statement.at_ms
        unsettled = {each.subject for each in disagreements if not each.is_tolerated}
        if not unsettled:
            self._agreed_ms = statement.at_ms
        for quarantine in self._monitor.quarantined:
            self._alarm_quarantine(quarantine)  # after a restart somebody has to
        for subject in self._public - unsettled:
            self._alarms.resolve(self.account, _alert_of(subject), symbol=subject.name)
        self._public &= unsettled

    def _want_again(self, case: Case) -> None:
        """Correct what could not be corrected, as it moved all the time, once it has come to rest."""
        is_steady = case.steady is not None and case.steady[1] >= STEADY
        if is_steady and case.tries >= MAX_TRIES and self._may_correct(case.subject):
            case.tries = 0
            self._wanted.add(case.subject)

    def comparison(self, interval_seconds: float) -> Comparison:
        """Return how the account compares with the exchange now."""
        shown = [case for case in self._cases.values() if case.is_confirmed and not case.latest.is_tolerated]
        drifts = [case.drift(case.causes) for case in shown]
        return Comparison(
            self._compared_ms, self._agreed_ms, interval_seconds, tuple(drifts), tuple(self._monitor.quarantined),
            tuple(self._unexplained()),
        )  # fmt: skip

    # -- what is due ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Open and close cases as the judge does, and tell people of what has been looked into for long."""
        now = self._monotonic()
        disagreed = {each.subject: each for each in self._judge.disagreements()}
        for subject, case in list(self._cases.items()):
            now_is = disagreed.get(subject)
            if now_is is not None and now_is.is_tolerated is not case.latest.is_tolerated:
                case.first = case.first._replace(since_seconds=now_is.since_seconds)  # it only grew, or shrank
                case.latest = now_is
            elif now_is is None or now_is.since_seconds != case.began:
                self._closed.append(self._cases.pop(subject))
                self._wanted.discard(subject)
        for subject in disagreed.keys() - self._cases.keys():
            case = self._cases[subject] = Case(disagreed[subject], disagreed[subject], is_of_gap=self.in_gap)
            known = self._inconsistent.get(subject)
            if known is not None and known[0] == case.difference and now - known[1] < INCONSISTENT_SECONDS:
                case.looks, case.is_known = MAX_LOOKS, True  # it will not be any clearer a second later
        self._look_at_fresh(now)
        if self._searching_since_ms is None and (self._closed or self._findings.count):
            self._conclude("statement")
        for case in self._cases.values():
            case.is_of_gap &= self.in_gap
            if case.searches == 0:
                self._wanted.discard(case.subject)  # it is another difference than the one that was given up
            if case.is_confirmed and not case.is_of_gap and not case.is_public and now - case.began >= TOLD_SECONDS:
                self._tell(case, case.found_causes())

    @property
    def confirm_at(self) -> float | None:
        """When another statement is due, by the clock that measures durations: to confirm what one has shown."""
        waiting = [case.began for case in self._cases.values() if not case.is_confirmed and case.looks < MAX_LOOKS]
        return min(waiting) + max(CONFIRM_SECONDS, self.lag_seconds + MARGIN_SECONDS) if waiting else None

    def to_search(self) -> tuple[str, int] | None:
        """Return what is to be looked into, and how many searches it has outlasted; None where there is nothing."""
        lasting = self._lasting()
        if not lasting:
            return None
        case = min(lasting, key=lambda case: case.searches)
        return told(case.latest), case.searches

    def _lasting(self) -> list[Case]:
        """Return what was confirmed, or has lasted, and was not accepted as it is."""
        since = self._monotonic() - LASTING_SECONDS
        accepted = {each.subject for each in self._judge.disagreements() if each.is_accepted}
        open_cases = [case for case in self._cases.values() if case.subject not in accepted and not case.is_known]
        return [case for case in open_cases if case.is_confirmed or case.began <= since]

    # -- searches ------------------------------------------------------------------------------------------------------

    def begin_search(self, *, was_heard: bool) -> None:
        """Note that what is booked from now on was missed; `was_heard`: unless the stream may still tell of it."""
        self._searched_for = {id(case) for case in self._lasting()}
        self._searching_since_ms = self._clock()
        fresh_ms = FRESH_MS + int(self.lag_seconds * 1000)
        self._fresh_since_ms = self._searching_since_ms - fresh_ms if was_heard else None

    def expect(self, events: Iterable[FlowEvent]) -> None:
        """Note which of the payments that are about to be booked nobody had told of."""
        self._expected = {event.event_id for event in events}

    @property
    def found_fills(self) -> list[Fill]:
        """The first fills that the search has booked; none where nobody wants to know more of them."""
        return [] if self.terms.policy == "off" else list(self._findings.missed_fills())

    def end_search(self, trigger: str, orders: Mapping[tuple[str, str], Cause]) -> None:
        """Report what was found. `orders`: what is known of them, by symbol and id."""
        self._searching_since_ms = None
        self._findings.call(orders, [*self._cases.values(), *self._closed])
        for symbol, cause in self._findings.forced():
            text = f"the exchange closed a position in {symbol} by force: {cause}; the stream did not tell of it"
            self._alarms.fire(
                self.account, "LIQUIDATION", text, symbol=symbol, severity="CRITICAL", for_seconds=PASSING_SECONDS
            )
        for case in self._cases.values():
            case.searches = 0 if case.has_news else case.searches + (id(case) in self._searched_for)
            case.has_news = False
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
            causes = case.reasons()
            if causes and not self._is_known_inconsistency(case, causes):
                drifts.append(case.drift(causes))
                if case.is_confirmed:
                    self._tell(case, causes)
        if drifts or self._findings.count or self._taken_back:
            self._report(trigger, drifts)

    def _is_known_inconsistency(self, case: Case, causes: tuple[Cause, ...]) -> bool:
        """Whether the exchange contradicts itself on a subject again as it did: one report of it is enough."""
        if causes != ("VENUE_INCONSISTENCY",):
            return False
        now = self._monotonic()
        known = self._inconsistent.get(case.subject)
        self._inconsistent[case.subject] = (case.difference, now)
        return known is not None and known[0] == case.difference and now - known[1] < INCONSISTENT_SECONDS

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
            unexplained.append(case.drift((*case.found_causes(), "UNEXPLAINED")))
        if unexplained:
            self._report("statement", unexplained)

    def _accept(self, case: Case, *, is_tolerated: bool) -> None:
        log.warning("difference_not_explained", account=self.account, told=told(case.latest))
        self._wanted.discard(case.subject)
        case.causes = ("UNEXPLAINED",)
        self._judge.accept(case.subject, case.difference)
        if not is_tolerated:
            self._tell(case, ("UNEXPLAINED",))

    def _may_correct(self, subject: Subject) -> bool:
        """Whether a subject may be corrected once more; if not, it is quarantined."""
        known = self._monitor.quarantine_of(subject)
        if known is not None and not known.is_over:
            return False
        since_ms = max(self._clock() - CORRECTIONS_MS, 0 if known is None else known.at_ms)
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
        if not self._monitor.speaks():
            return False  # somebody else may by now
        cases = [self._cases[subject] for subject in self.to_correct]
        corrections = [self._correction(case, statement, positions, asked_at) for case in cases]
        for case, correction in zip(cases, corrections, strict=True):
            case.tries += correction is None
            if case.tries >= MAX_TRIES:
                self._accept(case, is_tolerated=False)
        if not cases or None in corrections:
            return False
        wallets = [(case.subject.name, each) for case, each in zip(cases, corrections, strict=True)
                   if isinstance(each, Decimal)]  # fmt: skip
        anchors = [each for each in corrections if isinstance(each, Anchor)]
        drifts = [case.drift((*case.found_causes(), "UNEXPLAINED")) for case in cases]
        at_ms = max(case.stated_by_ms for case in cases)
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
        self, case: Case, statement: Statement, positions: Mapping[str, PositionStated], asked_at: float
    ) -> Decimal | Anchor | None:
        """Return the amount that a wallet lacks, or what a position is; None where this is no moment to tell."""
        subject = case.subject
        is_wallet = subject.kind == "wallet"
        stated = statement.wallets.get(subject.name) if is_wallet else statement.quantities.get(subject.name, ZERO)
        if stated is None:
            case.tries = MAX_TRIES  # the exchange does not speak of it when it is asked
            return None
        if self._judge.moved_since(subject, asked_at):
            return None
        difference = stated - (self._judge.held(subject) or ZERO)
        if not difference or not case.steady_at(difference):
            return None
        if is_wallet:
            return difference
        symbol, _, side = subject.name.partition(":")
        position = positions.get(subject.name, PositionStated(symbol, ZERO, ZERO))
        if position.quantity != stated:
            return None
        at_ms = max(self._monitor.latest_fill_ms(subject.name), case.stated_by_ms)
        return Anchor(symbol, side or "BOTH", position.quantity, position.cost, None, at_ms)  # type: ignore[arg-type]

    # -- what is explained after all -----------------------------------------------------------------------------------

    @property
    def has_questions(self) -> bool:
        """Whether there is something whose cause may still be listed."""
        young_ms = self._clock() - EXPLAINABLE_MS
        return self._judge.has_accepted or any(each.at_ms > young_ms for each in self._unexplained())

    def reversals(self, events: Iterable[Event]) -> list[Reversal]:
        """Return what takes back the corrections that these events explain, which nobody had told of before."""
        if not self._unexplained():
            return []
        reasons: dict[str, str] = {}
        for event in events:
            if isinstance(event, Fill | FlowEvent):
                for adjustment in self._explained_by(event):
                    reasons.setdefault(adjustment.id, f"the exchange lists {event.event_id} after all")
        return [Reversal(name, self._clock(), reason) for name, reason in reasons.items()]

    def _explained_by(self, event: Fill | FlowEvent) -> list[Adjustment]:
        """Return the corrections that an event may explain: it happened before, and touches what they corrected."""
        asset = self._settlement_asset(event)
        touched = {effect.subject for effect in effects_of(event, asset, cause="MISSED_FILL")}
        return [each for each in self._unexplained() if event.at_ms <= each.at_ms and touched & subjects_of(each)]

    def _unexplained(self) -> list[Adjustment]:
        return [each for each in self._monitor.adjustments if each.by is None and each.cause == "UNEXPLAINED"]

    # -- what is told --------------------------------------------------------------------------------------------------

    def _report(self, trigger: str, drifts: Sequence[Drift], *, adjustment_id: str | None = None) -> None:
        taken_back, self._taken_back = tuple(self._taken_back), []
        findings, count, causes = self._findings.named(), self._findings.count, +self._findings.causes
        self._findings.clear()
        if self.terms.policy == "off":
            return
        now_ms = self._clock()
        self.corrections.update(causes)
        self.corrections["UNEXPLAINED"] += adjustment_id is not None
        name = digest(self.account, now_ms, trigger, *drifts, count, *findings, *taken_back)
        report = Reconciliation(name, now_ms, trigger, tuple(drifts), findings, count, adjustment_id, taken_back)
        self._put(report)
        log.info(
            "reconciled", account=self.account, trigger=trigger, findings=count, correction=adjustment_id,
            taken_back=list(taken_back),
            drifts=[f"{d.kind} {d.name} {to_text(d.difference)}: {', '.join(d.causes)}" for d in drifts],
        )  # fmt: skip

    def _tell(self, case: Case, causes: tuple[Cause, ...]) -> None:
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
        text = f"{told(case.latest)}, {to_text(case.difference)} apart{why}"
        self._alarms.fire(
            self.account, _alert_of(subject), text, symbol=subject.name, severity=severity, value=case.difference,
            threshold=self._judge.tolerance(subject), cause=causes[0] if causes else None,
        )  # fmt: skip

    def _put(self, event: Event) -> None:
        self._monitor.inbox.put(Delivery("monitor", "reconciliation", b"", event))

    def _put_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._put(event)


def told(disagreement: Disagreement) -> str:
    """Say what is disagreed on."""
    kind, name = disagreement.subject
    held = disagreement.held
    ours = "nothing is known here" if held is None else f"the ledger holds {to_text(held)}"
    return f"{kind} {name}: the exchange states {to_text(disagreement.stated)}, {ours}"


def subjects_of(adjustment: Adjustment) -> set[Subject]:
    """Return what a correction is about."""
    wallets = {Subject("wallet", asset) for asset, _ in adjustment.wallets}
    return wallets | {Subject("position", anchor.key) for anchor in adjustment.positions}


def _alert_of(subject: Subject) -> AlarmKind:
    return "BALANCE_DRIFT" if subject.kind == "wallet" else "POSITION_DRIFT"
