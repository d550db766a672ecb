"""Past: what did we believe of an account at a moment, what do we know of that moment now, and what happened since?

All of it is folded from the journal, from the last checkpoint before. A moment costs what lies between two of them, and
what is known about one a look at all that was recorded since; an explanation costs what lies in its span.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from account_monitor.errors import JournalCompacted
from account_monitor.ledger.account import Account, AccountState, History
from account_monitor.ledger.events import Event, Fill, FundingPayment, Opening
from account_monitor.ledger.explanation import Effect, Explainer, Explanation
from account_monitor.ledger.performance import Standing
from account_monitor.ledger.timeline import Journaled
from account_monitor.ledger.valuation import Valuation
from account_monitor.monitor.ports import FoldedStates, JournalEntry, Recording
from account_monitor.monitor.views import View, ViewBuilder

_BATCH = 1_000


class BeforeOpening(Exception):
    """Nobody knows what the account was at a time before it was opened, at `opened_ms`."""

    def __init__(self, opened_ms: int) -> None:
        super().__init__(f"the account was opened at {opened_ms} ms since 1970")
        self.opened_ms = opened_ms


class TooOld(JournalCompacted):
    """What was so long ago is in the history only; from `first_ms` on it can be told, if it is known from when."""

    def __init__(self, first_ms: int | None) -> None:
        since = "now" if first_ms is None else f"{first_ms} ms since 1970"
        super().__init__(f"what was believed can be told from {since} on: older entries are in the history only")
        self.first_ms = first_ms


class Span(NamedTuple):
    """Why an account is worth more or less than before: from one place in its journal to another."""

    from_seq: int
    to_seq: int
    explanation: Explanation
    effects: list[Effect]
    """Of the entries that changed equity, the youngest, in journal order."""
    effect_count: int
    """How many there were."""
    standing: Standing
    """Where the account stood at the end."""


class Walk:
    """A span that is gone through once, entry by entry; `explanation` is whole after the end."""

    def __init__(self, from_seq: int, to_seq: int, account: Account, entries: Iterator[JournalEntry]) -> None:
        self.from_seq = from_seq
        self.to_seq = to_seq
        self.account = account
        self.entries = entries
        """Each is to be applied before the next is asked for."""
        self.explainer = Explainer(account)
        self.explanation = Explanation(self.explainer.equity, None)

    def apply(self, entry: JournalEntry) -> Effect:
        """Apply the entry that was read last and return what it did."""
        effect = self.explainer.apply(entry.seq, entry.event)
        self.explanation.take(effect)
        return effect

    def end(self) -> Explanation:
        """Return the explanation, after the last entry."""
        self.explanation.after = self.explainer.equity
        return self.explanation


class Past:
    """The past of one account. Reads only; call it from a thread."""

    def __init__(
        self,
        recording: Recording,
        states: FoldedStates,
        usd_assets: frozenset[str],
        *,
        day_starts_at: int = 0,
        opening: Opening | None = None,
    ) -> None:
        """`opening` is what the account was opened with: nobody knows what was before."""
        self._opening = opening
        self._recording = recording
        self._states = states
        self._usd_assets = usd_assets
        self._day_starts_at = day_starts_at

    def believed(self, at_ms: int) -> View:
        """Return the account as of everything that was recorded up to a time. Raises: TooOld."""
        with self._telling():
            return self._view(self._folded(self._seq_at(at_ms)))

    def known(self, at_ms: int) -> View:
        """Return the account as of everything that happened up to a time, as far as it is known now.

        Of several records of one execution the last one counts, if it came after the checkpoint that is folded from.
        Raises: BeforeOpening; TooOld.
        """
        if self._opening is not None and at_ms < self._opening.at_ms:
            raise BeforeOpening(self._opening.at_ms)
        state = self._states.load(happened_by_ms=at_ms)
        if state is None and self._recording.base_seq:
            first = self._states.first()
            raise TooOld(None if first is None else first.latest_ms)
        folded_seq = 0 if state is None else state.seq
        known = _Known(self._recording, folded_seq)
        account = self._account(known, state)
        with self._telling():
            _apply(account, known.noted(self._recording.entries(after=folded_seq, happened_by_ms=at_ms)))
            return self._view(account)

    def explain(self, from_ms: int | None, to_ms: int | None, *, symbol: str | None = None, limit: int = 100) -> Span:
        """Explain the change of equity between what was believed at two times; None: the beginning, and now.

        `symbol`, or a position key, picks entries and causes; `limit` is for the entries. Of a journal whose older
        entries are in the history only, the beginning is the first moment that can be told.
        Raises: TooOld.
        """
        youngest: deque[Effect] = deque(maxlen=limit)
        count = 0
        with self.walk(from_ms, to_ms) as walk:
            for entry in walk.entries:
                effect = walk.apply(entry)
                parts = tuple(part for part in effect.parts if symbol is None or _is_of(part.name, symbol))
                if parts:
                    count += 1
                    youngest.append(Effect(effect.entry, parts))
            explanation = walk.end()
        standing = walk.account.standing(explanation.after)
        return Span(walk.from_seq, walk.to_seq, explanation, list(youngest), count, standing)

    @contextmanager
    def walk(self, from_ms: int | None, to_ms: int | None) -> Iterator[Walk]:
        """Lend the entries between what was believed at two times; None: the beginning, and now. Raises: TooOld."""
        with self._telling():
            from_seq = self._first_seq() if from_ms is None else self._seq_at(from_ms)
            to_seq = self._recording.last_seq if to_ms is None else max(from_seq, self._seq_at(to_ms))
            entries = self._recording.entries(after=from_seq, until=to_seq)
            yield Walk(from_seq, to_seq, self._folded(from_seq), entries)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say from when on can be told where the journal forgot, just now, what was being read. Raises: TooOld."""
        try:
            yield
        except TooOld:
            raise
        except JournalCompacted:
            raise self._too_old() from None

    def _folded(self, until: int) -> Account:
        state = self._states.load(until=until)
        if state is None and self._recording.base_seq:
            raise self._too_old()
        account = self._account(self._recording, state)
        _apply(account, self._recording.entries(after=account.state.seq, until=until))
        return account

    def _account(self, history: History, state: AccountState | None) -> Account:
        return Account(history, usd_assets=self._usd_assets, state=state, day_starts_at=self._day_starts_at)

    def _first_seq(self) -> int:
        """Return the sequence from which everything can be told."""
        if not self._recording.base_seq:
            return 0
        first = self._states.first()
        if first is None:
            raise TooOld(None)
        return first.seq

    def _seq_at(self, at_ms: int) -> int:
        try:
            return self._recording.seq_at(at_ms)
        except JournalCompacted:
            raise self._too_old() from None

    def _too_old(self) -> TooOld:
        first = self._states.first()
        if first is None:
            return TooOld(None)
        entry = next(self._recording.entries(after=max(first.seq - 1, self._recording.base_seq)), None)
        return TooOld(None if entry is None else entry.recorded_at_ms)

    def _view(self, account: Account) -> View:
        return ViewBuilder(self._recording.account, self._recording.epoch, account, Valuation(account)).view


class _Known:
    """A history of which only some entries are known: all up to a sequence, and of those after it what it is given."""

    def __init__(self, history: History, whole_until: int) -> None:
        self._history = history
        self._whole_until = whole_until
        self._given: dict[str, list[Journaled]] = {}

    def noted(self, entries: Iterable[JournalEntry]) -> Iterator[JournalEntry]:
        """Yield entries, and know them from then on."""
        for entry in entries:
            event = entry.event
            if isinstance(event, Fill | FundingPayment) and event.key is not None:
                self._given.setdefault(event.key, []).append((entry.seq, event))
            yield entry

    def history(self, key: str, *, after: int, until: int) -> Iterator[Journaled]:
        """Return the fills and funding of a position with after < seq <= until, each with its seq."""
        if after < self._whole_until:
            yield from self._history.history(key, after=after, until=min(until, self._whole_until))
        yield from (given for given in self._given.get(key, ()) if after < given[0] <= until)


def of_symbol(explanation: Explanation, symbol: str) -> Explanation:
    """Return the part of an explanation that is about a symbol, or about one position key of it."""
    parts = {place: usd for place, usd in explanation.parts.items() if _is_of(place[1], symbol)}
    return Explanation(explanation.before, explanation.after, parts)


def _is_of(name: str, symbol: str) -> bool:
    return symbol in (name, name.partition(":")[0])


def _apply(account: Account, entries: Iterable[JournalEntry]) -> None:
    batch: list[tuple[int, Event]] = []
    for entry in entries:
        batch.append((entry.seq, entry.event))
        if len(batch) >= _BATCH:
            account.apply_all(batch)
            batch.clear()
    account.apply_all(batch)
