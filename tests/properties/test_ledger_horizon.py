"""Horizons: what is final stays what it is, and needs no entry of the journal any more, however it was folded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.account import Account, Entry, EventList
from account_monitor.ledger.events import Event, Horizon, LegEvent
from account_monitor.ledger.explanation import residuals
from account_monitor.ledger.position import Leg
from account_monitor.monitor.horizon import horizon
from account_monitor.stores.checkpoints import decode_state, encode_state
from tests.properties.test_ledger_inputs import (
    account_of,
    account_of_batches,
    adjustments,
    bounded,
    explain,
    facts,
    fills,
    incomes,
    instrument_of,
    moments,
    openings,
    payments,
    transfers,
    with_reversals,
)


class Draw(NamedTuple):
    """A horizon is proposed, and journaled after so many more events."""

    before_ms: int
    delay: int


class CompactedList(EventList):
    """A history that has lost its first entries, and says so if one of them is asked for."""

    base = 0

    def history(self, key: str, *, after: int, until: int) -> Iterable[tuple[int, LegEvent]]:
        assert after >= self.base, f"{key}: entries after {after} were asked for, up to {self.base} they are gone"
        return super().history(key, after=after, until=until)


class Compacted:
    """An account whose journal is cut off at every horizon."""

    def __init__(self) -> None:
        self.known = CompactedList()
        self.account = Account(self.known, instrument_of=instrument_of)
        self.journal: list[Event] = []
        self.entries: list[Entry] = []
        self._waiting: list[tuple[int, Horizon]] = []

    def take(self, happened: Event | Draw) -> None:
        if isinstance(happened, Draw):
            drawn = horizon(self.account.state, 10**6 + len(self.journal) + len(self._waiting), happened.before_ms)
            self._waiting.append((happened.delay, drawn))
        else:
            self._apply(happened)
        self._waiting = [(delay - 1, drawn) for delay, drawn in self._waiting]
        due = [drawn for delay, drawn in self._waiting if delay < 0]
        self._waiting = [(delay, drawn) for delay, drawn in self._waiting if delay >= 0]
        for drawn in due:
            self._apply(drawn)

    def _apply(self, event: Event) -> None:
        self.journal.append(event)
        seq = len(self.journal)
        self.known.add(seq, event)
        self.entries.append(self.account.apply(seq, event))
        needed_after = self.account.state.needed_after
        assert needed_after >= self.known.base
        if isinstance(event, Horizon):
            self.known.base = needed_after
            state = decode_state(encode_state(self.account.state))
            self.account = Account(self.known, instrument_of=instrument_of, state=state)
            assert self.account.state.needed_after == needed_after


draws = st.builds(Draw, moments, st.sampled_from([0, 0, 0, 1, 3]))
_of_two_symbols = fills(symbol=st.sampled_from(["BTCUSDT", "ETHBTC"]))
_numbered = fills(st.integers(1, 60).map(str), symbol=st.just("BTCUSDT"))
_revised = _numbered.map(lambda fill: fill._replace(revision=1))


def _happened(*kinds: st.SearchStrategy[Event]) -> st.SearchStrategy[list[Event | Draw]]:
    return with_reversals(st.lists(st.one_of(*kinds, draws, draws), max_size=60, unique_by=_name))  # type: ignore[return-value]  # draws too


def _name(happened: Event | Draw) -> object:
    return id(happened) if isinstance(happened, Draw) else happened.event_id


everything = _happened(_of_two_symbols, _of_two_symbols, payments, transfers, incomes, adjustments, openings)
trades = _happened(_numbered, _numbered, _numbered, _revised, payments)


def check(happened: list[Event | Draw]) -> Compacted:
    compacted = Compacted()
    for each in happened:
        compacted.take(each)
    whole, entries = account_of(compacted.journal)

    assert facts(compacted.account) == facts(whole)
    assert compacted.entries == entries
    assert residuals(compacted.account) == residuals(whole)
    batches = [compacted.journal[start : start + 7] for start in range(0, len(compacted.journal), 7)]
    assert facts(account_of_batches(batches)[0]) == facts(whole)
    assert facts(account_of_batches([compacted.journal])[0]) == facts(whole)
    assert facts(forgetful(compacted.journal)) == facts(whole)
    return compacted


def forgetful(journal: list[Event]) -> Account:
    """Fold a journal without any checkpoint but the first of each position."""
    known = EventList()
    account = Account(known, instrument_of=instrument_of)
    for seq, event in enumerate(journal, start=1):
        known.add(seq, event)
        account.apply(seq, event)
        for timeline in account.state.timelines.values():
            del timeline.checkpoints[1:]
    return account


@bounded
@given(everything)
def test_an_account_without_its_old_entries_is_the_account_with_them(happened: list[Event | Draw]) -> None:
    check(happened)


@bounded
@given(trades)
def test_late_and_revised_fills_find_what_they_need(happened: list[Event | Draw]) -> None:
    check(happened)


@bounded
@given(_happened(_numbered, _numbered, _numbered, payments))
def test_what_is_not_too_late_counts_as_if_there_were_no_horizon(happened: list[Event | Draw]) -> None:
    compacted = check(happened)
    counted = [entry.event for entry in compacted.entries if entry.outcome != "contained"]
    whole, _ = account_of(event for event in counted if not isinstance(event, Horizon))

    assert _amounts(compacted.account) == _amounts(whole)


def _amounts(account: Account) -> dict[str, Any]:
    """Return what does not depend on whether a fill or a payment of one time came first."""
    legs = {key: timeline.leg for key, timeline in account.state.timelines.items()}
    names = ("quantity", "cost", "realized", "rounding", "fill_count", "payment_count", "last_price")
    positions = {key: tuple(getattr(leg, name) for name in names) for key, leg in legs.items() if leg != Leg()}
    return facts(account) | {"positions": positions}


@bounded
@given(everything)
def test_a_horizon_moves_nothing_and_equity_stays_explained(happened: list[Event | Draw]) -> None:
    compacted = check(happened)
    known = EventList()
    numbered = list(enumerate(compacted.journal, start=1))
    for seq, event in numbered:
        known.add(seq, event)

    explanation, effects = explain(Account(known, instrument_of=instrument_of), numbered)

    assert not any(effect.entry.postings for effect in effects if isinstance(effect.entry.event, Horizon))
    assert explanation.residual in (None, 0)
