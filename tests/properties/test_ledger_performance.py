"""Performance: a function of the journal, which no deposit and no withdrawal changes."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.account import DAY_MS, Account, EventList
from account_monitor.ledger.events import (
    Adjustment,
    Anchor,
    DrawdownReset,
    Event,
    Fill,
    MarkPrice,
    Marks,
    Opening,
    Transfer,
)
from account_monitor.ledger.performance import Performance
from account_monitor.ledger.valuation import Valuation
from account_monitor.stores.checkpoints import decode_state, encode_state
from tests.properties.test_ledger_inputs import (
    account_of,
    account_of_batches,
    adjustments,
    assets,
    bounded,
    fills,
    ids,
    incomes,
    instrument_of,
    marks,
    moments,
    openings,
    payments,
    positive,
    signed,
    transfers,
    with_reversals,
)

D = Decimal

resets = st.builds(DrawdownReset, ids, moments, st.just("reason"), st.just("ann"))
first = st.sampled_from([Opening("first", 0, (("USDT", D(1_000)),)), Opening("first", 0, ())])
hostile = with_reversals(
    st.lists(
        st.one_of(fills(), fills(), payments, transfers, transfers, incomes, adjustments, openings, marks, resets),
        max_size=40, unique_by=lambda e: e.event_id,
    )
)  # fmt: skip
"""Histories with the worst values; hardly ever is everything priced."""

_symbols = st.sampled_from(["BTCUSDT", "ETHUSDT"])
_assets = st.sampled_from(["USDT", "USDT", "BNB"])
_few = st.sampled_from(["1", "2", "3", "0.5", "7"]).map(D)
_prices = st.integers(50, 150).map(D)
_amounts = st.integers(-30_000, 50_000).filter(bool).map(lambda cents: D(cents).scaleb(-2))
_anchors = st.builds(Anchor, _symbols, st.just("BOTH"), st.one_of(_few, _few.map(lambda n: -n)), _amounts, st.none(),
                     moments)  # fmt: skip
_tame_fills = st.builds(
    Fill, symbol=_symbols, trade_id=st.integers(1, 60).map(str), side=st.sampled_from(["BUY", "SELL"]), quantity=_few,
    price=_prices, at_ms=moments, fee=st.sampled_from([None, D("0.1")]), position_side=st.just("BOTH"),
    fee_asset=_assets, realized_pnl=st.none(), order_id=st.none(), maker=st.none(), fee_rate=_prices,
    settlement_rate=st.none(), revision=st.just(0), is_counterpart=st.just(False),
)  # fmt: skip
_tame_marks = st.builds(
    Marks, st.integers(0, 3 * DAY_MS),
    st.lists(st.builds(MarkPrice, st.sampled_from(["BTCUSDT", "ETHUSDT", "BNBUSDT"]), _prices, moments),
             max_size=2).map(tuple),
)  # fmt: skip
_tame_transfers = st.builds(Transfer, ids, _assets, _amounts, moments)
tame = with_reversals(
    st.lists(
        st.one_of(
            _tame_fills, _tame_fills, _tame_marks, _tame_marks, _tame_transfers, resets,
            st.builds(Adjustment, ids, moments, st.just("UNEXPLAINED"),
                      st.lists(st.tuples(_assets, _amounts), max_size=1).map(tuple),
                      st.lists(_anchors, max_size=2, unique_by=lambda a: a.key).map(tuple), st.none(), st.just("")),
        ),
        min_size=12, max_size=40, unique_by=lambda e: e.event_id,
    )
)  # fmt: skip
"""Histories in which equity is mostly known and above zero, with fills that come late, flows and corrections."""

_priced = Marks(1, tuple(MarkPrice(symbol, D(100), 0) for symbol in ("BTCUSDT", "ETHUSDT", "BNBUSDT")))
events = st.tuples(first, st.one_of(hostile, tame.map(lambda drawn: [_priced, *drawn]))).map(
    lambda drawn: [drawn[0], *(event for event in drawn[1] if event.event_id != "opening:first")]
)


def equity_of(account: Account) -> Decimal | None:
    return Valuation(account).pnl().equity


@bounded
@given(events)
def test_the_fold_prices_as_the_valuation_does(arrivals: list[Event]) -> None:
    account, _ = account_of(arrivals)
    account.apply(len(arrivals) + 1, Marks(60, ()))

    equity = equity_of(account)
    assert equity is None or account.state.performance.equity == equity


@bounded
@given(events, st.data())
def test_performance_does_not_depend_on_how_the_journal_was_cut(arrivals: list[Event], data: st.DataObject) -> None:
    live, _ = account_of(arrivals)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arrivals)), max_size=5)))
    batches = [arrivals[a:b] for a, b in zip([0, *cuts], [*cuts, len(arrivals)], strict=True)]
    batched, _ = account_of_batches(batches)

    assert batched.state.performance == live.state.performance
    assert batched.standing(equity_of(batched)) == live.standing(equity_of(live))


@bounded
@given(events, st.data())
def test_performance_goes_on_from_any_state_that_was_written_down(arrivals: list[Event], data: st.DataObject) -> None:
    live, _ = account_of(arrivals)
    cut = data.draw(st.integers(0, len(arrivals)))
    early, _ = account_of(arrivals[:cut])
    read = EventList()
    for seq, event in enumerate(arrivals, start=1):
        read.add(seq, event)

    continued = Account(read, instrument_of=instrument_of, state=decode_state(encode_state(early.state)))
    continued.apply_all(list(enumerate(arrivals[cut:], start=cut + 1)))

    assert continued.state.performance == live.state.performance
    assert continued.standing(equity_of(continued)) == live.standing(equity_of(live))


@bounded
@given(
    events,
    st.lists(
        st.builds(Transfer, st.uuids().map(str), assets, st.one_of(signed, _amounts), moments), min_size=1, max_size=5
    ),
)
def test_a_transfer_changes_neither_drawdown_nor_return(arrivals: list[Event], flows: list[Transfer]) -> None:
    account, _ = account_of(arrivals)
    account.apply(len(arrivals) + 1, Marks(60, ()))
    before = account.standing(equity_of(account))
    for seq, flow in enumerate(flows, start=len(arrivals) + 2):
        was_closed = account.state.performance.is_closed
        account.apply(seq, flow)
        if was_closed or before.drawdown_pct is None:
            return  # a deposit opens a new series

    after = account.standing(equity_of(account))
    if after.drawdown_pct is not None:
        assert (after.drawdown_pct, after.return_pct) == (before.drawdown_pct, before.return_pct)
    assert after.max_drawdown_pct == before.max_drawdown_pct
    if after.daily_loss is not None:
        assert after.daily_loss == before.daily_loss


@bounded
@given(events)
def test_figures_are_where_they_must_be(arrivals: list[Event]) -> None:
    account, _ = account_of(arrivals)
    worst = None
    for seq, event in enumerate([Marks(60, ()), *(arrivals[:3])], start=len(arrivals) + 1):
        account.apply(seq, event)
        seen = account.standing(equity_of(account))
        if seen.drawdown_pct is not None:
            assert seen.max_drawdown_pct is not None
            assert D(-100) <= seen.max_drawdown_pct <= seen.drawdown_pct <= 0
            assert seen.return_pct is not None
            assert seen.return_pct >= -100
        assert worst is None or (seen.max_drawdown_pct is not None and seen.max_drawdown_pct <= worst)
        worst = account.state.performance.max_drawdown_pct
        assert seen.daily_loss is None or seen.daily_loss >= 0


equities = st.one_of(st.none(), positive, signed, st.just(D(0)))
steps = st.lists(
    st.tuples(st.sampled_from(["observe", "flow", "flow", "take_back", "reset"]), equities, equities, equities),
    max_size=40,
)


@bounded
@given(steps, equities)
def test_performance_takes_whatever_equity_there_is(
    taken: list[tuple[str, Decimal | None, Decimal | None, Decimal | None]], now: Decimal | None
) -> None:
    performance = Performance()
    for day, (name, before, after, amount) in enumerate(taken):
        if name == "observe":
            performance.observe(after, day // 3)
        elif name == "reset":
            performance.reset(after)
        elif name == "take_back":
            performance.take_back(before, after, amount)
        else:
            performance.flow(before, after)
        assert not performance.units or (performance.equity is not None and performance.equity > 0)

    seen = performance.standing(now)
    assert seen.drawdown_pct is None or D(-100) <= seen.drawdown_pct <= 0
