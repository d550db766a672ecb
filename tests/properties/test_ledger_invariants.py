"""The invariants of the ledger, each as a property over all kinds of events."""

from __future__ import annotations

import copy
import pickle
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from account_monitor.ledger.account import Account, Entry, EventList
from account_monitor.ledger.events import Event, Fill, FundingPayment, Marks, Opening, Reversal
from account_monitor.ledger.instruments import linear_instrument
from account_monitor.ledger.position import Leg
from account_monitor.ledger.valuation import Valuation
from tests.properties.test_ledger_inputs import (
    account_of,
    account_of_batches,
    adjustments,
    bounded,
    events,
    facts,
    fills,
    instrument_of,
    movements,
    openings,
    payments,
    transfers,
    with_reversals,
)

D = Decimal


def sums_per_asset(entry: Entry) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for _, _, asset, amount in entry.postings:
        totals[asset] += amount
    return totals


def books(entries: Iterable[Entry]) -> dict[tuple[str, str, str], Decimal]:
    """Fold postings, knowing nothing of what they mean; what is zero is absent."""
    totals: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for entry in entries:
        for book, key, asset, amount in entry.postings:
            totals[book, key, asset] += amount
    return {place: amount for place, amount in totals.items() if amount}


def books_of(account: Account) -> dict[tuple[str, str, str], Decimal]:
    """Say what an account believes, as books; `financing`, `opening` and `adjustment` are what is left over."""
    state = account.state
    amounts: dict[tuple[str, str, str], Decimal] = {}
    for key, timeline in state.timelines.items():
        leg, asset = timeline.leg, timeline.instrument.settlement_asset
        amounts["position", key, asset] = leg.cost
        amounts["realized", key, asset] = -leg.realized
        amounts["rounding", key, asset] = -leg.rounding
        amounts |= {("fees", key, paid_in): amount for paid_in, amount in leg.fees.by_asset.items()}
        amounts |= {("funding", key, paid_in): -amount for paid_in, amount in leg.funding.by_asset.items()}
    amounts |= {("wallet", asset, asset): amount for asset, amount in state.wallets.items()}
    amounts |= {("funding", "", asset): -amount for asset, amount in state.funding.by_asset.items()}
    amounts |= {("other", asset, asset): -amount for asset, amount in state.other.by_asset.items()}
    amounts |= {("transfers", asset, asset): -amount for asset, amount in state.transfers.by_asset.items()}
    return {place: amount for place, amount in amounts.items() if amount}


def told(entries: Iterable[Entry]) -> dict[tuple[str, str, str], Decimal]:
    """Return the folded postings of the books that an account can be asked for."""
    untold = ("financing", "opening", "adjustment")
    return {place: amount for place, amount in books(entries).items() if place[0] not in untold}


def cash_flow(arrivals: Iterable[Event], key: str) -> Decimal:
    """Return what the trades of a position paid and received, at the value of each."""
    total = D(0)
    for event in arrivals:
        if isinstance(event, Fill) and event.key == key:
            total -= instrument_of(event.symbol).value(event.signed_quantity, event.price)
    return total


# -- I1 --------------------------------------------------------------------------------------------------------------


@bounded
@given(events)
def test_the_postings_of_every_entry_sum_to_zero_per_asset(arrivals: list[Event]) -> None:
    _, entries = account_of(arrivals)

    for entry in entries:
        assert not any(sums_per_asset(entry).values()), entry


@bounded
@given(events)
def test_the_postings_alone_give_the_books_of_the_account(arrivals: list[Event]) -> None:
    account, entries = account_of(arrivals)

    assert told(entries) == books_of(account)


@bounded
@given(events, st.data())
def test_the_postings_of_batches_give_the_books_of_the_account(arrivals: list[Event], data: st.DataObject) -> None:
    account, entries = account_of_batches(_split(arrivals, data))

    assert not any(amount for entry in entries for amount in sums_per_asset(entry).values())
    assert told(entries) == books_of(account)


@bounded
@given(events)
def test_what_is_contained_moves_nothing(arrivals: list[Event]) -> None:
    _, entries = account_of(arrivals)

    assert not any(entry.postings for entry in entries if entry.outcome == "contained")


# -- corrections -----------------------------------------------------------------------------------------------------


@bounded
@given(
    with_reversals(
        st.lists(
            st.one_of(fills(), payments, adjustments, adjustments, transfers),
            max_size=25,
            unique_by=lambda e: e.event_id,
        )
    )
)
def test_a_correction_that_is_taken_back_was_never_there(arrivals: list[Event]) -> None:
    taken = {event.adjustment_id for event in arrivals if isinstance(event, Reversal)}
    kept = [event for event in arrivals if not isinstance(event, Reversal) and getattr(event, "id", None) not in taken]

    account, _ = account_of(arrivals)
    expected, _ = account_of(kept)

    assert _moved_facts(account) == _moved_facts(expected)


def _moved_facts(account: Account) -> dict[str, Any]:
    """Return the facts, but for positions that were named and never moved."""
    told = facts(account)
    told["positions"] = {key: leg for key, leg in told["positions"].items() if account.leg(key) != Leg()}
    return told


# -- I2, I3 ----------------------------------------------------------------------------------------------------------


@bounded
@given(movements)
def test_realized_plus_rounding_less_cost_is_the_cash_flow_after_every_event(arrivals: list[Event]) -> None:
    known = EventList()
    account = Account(known, instrument_of=instrument_of)
    for seq, event in enumerate(arrivals, start=1):
        known.add(seq, event)
        account.apply(seq, event)
        key = event.key if isinstance(event, Fill) else None
        if key is not None:
            leg = account.leg(key)
            assert leg.realized + leg.rounding - leg.cost == cash_flow(arrivals[:seq], key)


@bounded
@given(movements)
def test_a_flat_position_has_no_cost_and_has_realized_its_cash_flow(arrivals: list[Event]) -> None:
    account, _ = account_of(arrivals)
    for key, timeline in account.state.timelines.items():
        held = -timeline.leg.quantity
        symbol, _, side = key.partition(":")
        if held:
            closing = Fill(symbol, str(10**18 - 2) if timeline.by_number else "closing", "BUY" if held > 0 else "SELL",
                           abs(held), D("1.01"), 10**6, side or "BOTH")  # type: ignore[arg-type]  # fmt: skip
            flat, _ = account_of([*arrivals, closing])
            leg = flat.leg(key)
            if flat.state.timelines[key].last == closing:
                assert (leg.quantity, leg.cost) == (D(0), D(0))
                assert leg.realized + leg.rounding == cash_flow([*arrivals, closing], key)


# -- I4, I5 ----------------------------------------------------------------------------------------------------------


@bounded
@given(movements, st.data())
def test_the_order_of_arrival_does_not_matter(arrivals: list[Event], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(arrivals))

    assert facts(account_of(shuffled)[0]) == facts(account_of(arrivals)[0])


@bounded
@given(movements, st.data())
def test_splitting_into_batches_does_not_matter(arrivals: list[Event], data: st.DataObject) -> None:
    batched, _ = account_of_batches(_split(arrivals, data))

    assert facts(batched) == facts(account_of(arrivals)[0])


@bounded
@given(events, st.data())
def test_splitting_into_batches_does_not_matter_between_barriers_either(
    arrivals: list[Event], data: st.DataObject
) -> None:
    batched, _ = account_of_batches(_split(arrivals, data))

    assert facts(batched) == facts(account_of(arrivals)[0])


@bounded
@given(st.lists(fills(), max_size=25, unique_by=lambda e: e.event_id), st.data())
def test_a_repeated_fill_counts_once(arrivals: list[Event], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(arrivals), max_size=10)) if arrivals else []
    repeated = data.draw(st.permutations([*arrivals, *again]))
    once = facts(account_of(arrivals)[0])

    assert facts(account_of(repeated)[0]) == once
    assert facts(account_of_batches(_split(repeated, data))[0]) == once


@bounded
@given(events)
def test_every_fee_and_payment_counts_once_whatever_corrections_say(happened: list[Event]) -> None:
    # Of what an opening contains nothing counts, and of what a correction contained all, once it is taken back.
    arrivals = [event for event in happened if not isinstance(event, Opening | Reversal)]
    account, entries = account_of(arrivals)
    fees: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    funding: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    counted: dict[str, int] = defaultdict(int)
    for entry in entries:
        event = entry.event
        if entry.outcome == "contained":
            continue
        if isinstance(event, Fill):
            fees[event.key, event.fee_asset or instrument_of(event.symbol).settlement_asset] += event.fee or D(0)
            counted[event.key] += 1
        if isinstance(event, FundingPayment) and event.key is not None:
            funding[event.key, event.asset] += event.amount

    legs = {key: timeline.leg for key, timeline in account.state.timelines.items()}
    assert _by_place(legs, "fees") == {place: amount for place, amount in fees.items() if amount}
    assert _by_place(legs, "funding") == {place: amount for place, amount in funding.items() if amount}
    assert {key: leg.fill_count for key, leg in legs.items() if leg.fill_count} == counted


@bounded
@given(
    st.lists(st.one_of(fills(), fills(), payments.filter(lambda paid: paid.symbol is not None)), max_size=25,
             unique_by=lambda e: e.event_id),
    openings, st.integers(0, 25),
)  # fmt: skip
def test_what_an_opening_contains_is_nobodys_whether_it_was_told_of_before_or_after(
    arrivals: list[Event], drawn: Opening, place: int
) -> None:
    at_ms = max(drawn.at_ms, 1)
    held = {anchor.key: anchor._replace(at_ms=at_ms, last_trade_id=None) for anchor in drawn.positions}
    opening = drawn._replace(at_ms=at_ms, wallets=(("USDT", D(1000)),), positions=tuple(held.values()))

    early, _ = account_of([opening, *arrivals])
    late, _ = account_of([*arrivals[:place], opening, *arrivals[place:]])

    assert _moved_facts(late)["positions"] == _moved_facts(early)["positions"]


# -- I6 --------------------------------------------------------------------------------------------------------------


@bounded
@given(events, st.data())
def test_an_account_continued_from_a_checkpoint_is_the_live_account(arrivals: list[Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(arrivals)))
    live, entries = account_of(arrivals)
    known = EventList()
    early = Account(known, instrument_of=instrument_of)
    for seq, event in enumerate(arrivals[:cut], start=1):
        known.add(seq, event)
        early.apply(seq, event)

    for state in (copy.deepcopy(early.state), pickle.loads(pickle.dumps(early.state))):  # noqa: S301  # our own
        read = EventList()
        for seq, event in enumerate(arrivals, start=1):
            read.add(seq, event)
        continued = Account(read, instrument_of=instrument_of, state=state)
        rest = [continued.apply(seq, event) for seq, event in enumerate(arrivals[cut:], start=cut + 1)]

        assert rest == entries[cut:]
        assert continued.state == live.state


# -- I8, I13 ---------------------------------------------------------------------------------------------------------


@bounded
@given(events, st.data())
def test_apply_is_total_and_so_is_valuation(arrivals: list[Event], data: st.DataObject) -> None:
    account, _ = account_of_batches(_split(arrivals, data))
    valuation = Valuation(account)
    for event in arrivals:
        if isinstance(event, Marks):
            for mark in event.prices:
                valuation.mark(mark)

    pnl, exposure = valuation.pnl(), valuation.exposure()
    valuation.balances()
    statistics = pnl.statistics
    assert statistics.total_trades >= statistics.winning_trades + statistics.losing_trades
    assert statistics.profit_factor is None or statistics.profit_factor >= 0
    named = valuation.unpriced()
    unknown = [pnl.realized_pnl, pnl.unrealized_pnl, pnl.total_fees, pnl.funding, pnl.other, exposure.notional]
    assert named or None not in unknown
    assert set(valuation.unpriced_positions) <= set(named)


@settings(bounded, max_examples=40)
@given(st.lists(fills(), min_size=1, max_size=8, unique_by=lambda e: e.event_id), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter_in_long_histories(few: list[Fill], chance: Random) -> None:
    many: list[Event] = [few[n % len(few)]._replace(trade_id=str(n), at_ms=n, symbol="BTCUSDT", position_side="BOTH")
            for n in range(200)]  # fmt: skip
    arrivals = sorted(many, key=lambda fill: fill.at_ms + chance.choice([0, 0, 0, 3, 90]))

    assert facts(account_of(arrivals)[0]) == facts(account_of(many)[0])
    assert facts(account_of_batches([arrivals[:50], arrivals[50:]])[0]) == facts(account_of(many)[0])


def _split(arrivals: list[Event], data: st.DataObject) -> list[list[Event]]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrivals)), max_size=6)))
    return [arrivals[a:b] for a, b in zip([0, *cuts], [*cuts, len(arrivals)], strict=True)]


def _by_place(legs: dict[str, Leg], name: str) -> dict[tuple[str, str], Decimal]:
    tallies: dict[str, Any] = {key: getattr(leg, name) for key, leg in legs.items()}
    return {(key, asset): n for key, tally in tallies.items() for asset, n in tally.by_asset.items() if n}


def test_the_symbols_tried_settle_in_different_assets() -> None:
    assert linear_instrument("ETHBTC").settlement_asset == "BTC"
