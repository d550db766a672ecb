"""What the properties of the ledger are tried on: every kind of event, with the worst values that decoders let in.

The tests here hold the generator to its word: nothing that it makes would be refused at the door.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from account_monitor.ledger.account import Account, Entry, EventList
from account_monitor.ledger.events import (
    Adjustment,
    Anchor,
    Event,
    Fill,
    FundingPayment,
    MarkPrice,
    Marks,
    Opening,
    OtherIncome,
    PositionSide,
    Reversal,
    Transfer,
)
from account_monitor.ledger.explanation import Effect, Explainer, Explanation
from account_monitor.ledger.instruments import ContractType, Instrument, linear_instrument
from account_monitor.ledger.money import decimal_from_text, to_text
from account_monitor.ledger.position import Leg, Tally

bounded = settings(
    derandomize=True, max_examples=100, deadline=None, database=None, phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
"""The same examples on every machine, and few enough for continuous integration."""

MOST = Decimal("99999999999999999999.99999999999999999999")
LEAST = Decimal("0.00000000000000000001")

SYMBOLS = ("BTCUSDT", "ETHBTC", "SHIBUSDT", "BTCUSD_PERP", "龙虾")
ASSETS = ("USDT", "USDC", "BTC", "BNB", "XYZ")
SIDES: tuple[PositionSide, ...] = ("BOTH", "LONG", "SHORT")


def instrument_of(symbol: str) -> Instrument:
    """Return the contract of a symbol; one of them is inverse, with 100 dollars a contract."""
    if symbol == "BTCUSD_PERP":
        return Instrument(symbol, "BTC", "BTC", ContractType.INVERSE, Decimal(100))
    return linear_instrument(symbol)


_digits = st.text("0123456789", min_size=1, max_size=20)
_small = st.sampled_from(["1", "2", "3", "0.5", "0.1", "7", "100", "110", "0.3"]).map(Decimal)
_extreme = st.sampled_from(
    [MOST, LEAST, Decimal("1e19"), Decimal("0.00002345"), Decimal(123456789012), Decimal("3e-20")]
)
_wide = st.tuples(_digits, _digits).map(lambda d: Decimal(f"{d[0]}.{d[1]}")).filter(bool)

positive = st.one_of(_small, _small, _small, _extreme, _wide)
signed = st.tuples(positive, st.booleans()).map(lambda n: n[0] if n[1] else -n[0])
moments = st.integers(0, 40)
trade_ids = st.one_of(st.integers(0, 40), st.sampled_from([999, 1000, 10**17, 10**18 - 1])).map(str)
any_trade_ids = st.one_of(trade_ids, trade_ids, st.sampled_from(["a", "b", "T-1", "10000000000000000000", "٣", "zz"]))
symbols = st.sampled_from(SYMBOLS)
assets = st.sampled_from(ASSETS)
maybe_assets = st.sampled_from([None, *ASSETS])
position_sides = st.sampled_from(SIDES)


def fills(
    ids: st.SearchStrategy[str] = any_trade_ids, symbol: st.SearchStrategy[str] = symbols
) -> st.SearchStrategy[Any]:
    """Return fills of all kinds: legs, fees in three assets with and without rates, stated results, counterparts."""
    return st.builds(
        _of_an_order,
        symbol=symbol, trade_id=ids, side=st.sampled_from(["BUY", "SELL"]), quantity=positive, price=positive,
        at_ms=moments, position_side=position_sides, fee=st.one_of(st.none(), signed, st.just(Decimal(0))),
        fee_asset=maybe_assets, realized_pnl=st.one_of(st.none(), st.none(), signed, st.just(Decimal(0))),
        fee_rate=st.one_of(st.none(), positive), settlement_rate=st.one_of(st.none(), positive), revision=st.just(0),
        maker=st.sampled_from([None, False, True]), is_counterpart=st.booleans(), order=st.integers(0, 9),
    )  # fmt: skip


def _of_an_order(*, order: int, **fields: Any) -> Fill:
    fill = Fill(**fields)
    return fill._replace(order_id=f"{order}{'c' if order % 3 == 0 else ''}{2 + fill.is_counterpart}")


ids = st.integers(0, 10**6).map(str)
payments = st.builds(
    FundingPayment, id=ids, asset=assets, amount=signed, at_ms=moments, symbol=st.one_of(st.none(), symbols, symbols),
    position_side=position_sides, rate=st.one_of(st.none(), positive),
)  # fmt: skip
transfers = st.builds(Transfer, id=ids, asset=assets, amount=signed, at_ms=moments)
incomes = st.builds(
    OtherIncome, id=ids, asset=assets, amount=signed, at_ms=moments, reason=st.just("INSURANCE_CLEAR"),
    rate=st.one_of(st.none(), positive),
)  # fmt: skip
anchors = st.builds(
    Anchor, symbol=symbols, position_side=position_sides, quantity=st.one_of(signed, st.just(Decimal(0))),
    cost=st.one_of(signed, st.just(Decimal(0))), last_trade_id=st.one_of(st.none(), st.integers(0, 60)),
    at_ms=st.one_of(st.none(), moments),
)  # fmt: skip
wallets = st.lists(st.tuples(assets, signed), max_size=3, unique_by=lambda w: w[0]).map(tuple)
adjustments = st.builds(
    Adjustment, id=ids, at_ms=moments, cause=st.just("UNEXPLAINED"), wallets=wallets,
    positions=st.lists(anchors, max_size=3).map(tuple),
)  # fmt: skip
openings = st.builds(
    Opening, id=ids, at_ms=moments, wallets=st.one_of(st.none(), wallets),
    positions=st.lists(anchors, max_size=3).map(tuple),
)  # fmt: skip
marks = st.builds(
    Marks, at_ms=moments,
    prices=st.lists(st.builds(MarkPrice, symbol=symbols, price=positive, at_ms=moments), max_size=3).map(tuple),
)  # fmt: skip

movements = st.lists(
    st.one_of(fills(), fills(), fills(), payments, transfers, incomes), max_size=40, unique_by=lambda e: e.event_id
)
"""Distinct events without barriers: their order of arrival must not matter."""


@st.composite
def with_reversals(draw: st.DrawFn, stated: st.SearchStrategy[list[Event]]) -> list[Event]:
    """Take some of the adjustments back, at any time after them."""
    happened = list(draw(stated))
    for adjustment in [event for event in happened if isinstance(event, Adjustment)]:
        if draw(st.booleans()):
            place = draw(st.integers(happened.index(adjustment) + 1, len(happened)))
            happened.insert(place, Reversal(adjustment.id, draw(moments), "explained"))
    return happened


events = with_reversals(
    st.lists(
        st.one_of(fills(), fills(), fills(), payments, transfers, incomes, adjustments, openings, marks),
        max_size=40, unique_by=lambda e: e.event_id,
    )
)  # fmt: skip
"""Distinct events of every kind."""


def account_of(arrivals: Iterable[Event]) -> tuple[Account, list[Entry]]:
    """Return the account that the events make, each applied on its own, and its entries."""
    known = EventList()
    account = Account(known, instrument_of=instrument_of)
    entries = []
    for seq, event in enumerate(arrivals, start=1):
        known.add(seq, event)
        entries.append(account.apply(seq, event))
    return account, entries


def account_of_batches(batches: Iterable[list[Event]]) -> tuple[Account, list[Entry]]:
    """Return the account that the events make, each batch applied at once as the service does it, and its entries."""
    known = EventList()
    account = Account(known, instrument_of=instrument_of)
    entries: list[Entry] = []
    seq = 0
    for events in batches:
        numbered = list(enumerate(events, start=seq + 1))
        seq += len(events)
        for number, event in numbered:
            known.add(number, event)
        batch = account.apply_in_order(numbered)
        account.restatement_size(batch)
        entries += account.restate(batch)
    return account, entries


def facts(account: Account) -> dict[str, Any]:
    """Return what must not depend on how the events arrived; what is zero is as good as absent."""
    state = account.state
    return {
        "positions": {key: leg_facts(timeline.leg) for key, timeline in state.timelines.items()},
        "wallets": _nonzero(state.wallets),
        "funding": tally_facts(state.funding),
        "other": tally_facts(state.other),
        "transfers": tally_facts(state.transfers),
        "wallets_known": state.wallets_known,
    }


def leg_facts(leg: Leg) -> dict[str, Any]:
    """Return what a position is and has been through."""
    return {
        **{name: getattr(leg, name) for name in leg.__slots__ if name not in ("fees", "funding", "trips")},
        "fees": tally_facts(leg.fees),
        "funding": tally_facts(leg.funding),
        "trips": {name: getattr(leg.trips, name) for name in leg.trips.__slots__},
    }


def tally_facts(tally: Tally) -> tuple[Any, ...]:
    """Return a tally's sums."""
    return tally.usd, _nonzero(tally.by_asset), _nonzero(tally.unvalued)


def _nonzero(amounts: dict[str, Decimal]) -> dict[str, Decimal]:
    return {asset: amount for asset, amount in amounts.items() if amount}


def explain(account: Account, numbered: Iterable[tuple[int, Event]]) -> tuple[Explanation, list[Effect]]:
    """Return why equity changed over some events, and what each of them did."""
    explainer = Explainer(account)
    explanation = Explanation(explainer.equity, None)
    effects = [explainer.apply(seq, event) for seq, event in numbered]
    for effect in effects:
        explanation.take(effect)
    explanation.after = explainer.equity
    return explanation, effects


@bounded
@given(positive)
def test_every_number_tried_is_one_that_the_decoder_lets_in(number: Decimal) -> None:
    assert decimal_from_text(to_text(number)) == number
