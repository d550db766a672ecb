"""The ledger held against the naive one, which folds everything from nothing in fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.events import Adjustment, Event, Fill, FundingPayment, Opening, Side, trade_number
from account_monitor.ledger.money import ZERO
from account_monitor.ledger.position import Leg
from tests.naive_ledger import NaivePosition, naive_position, sums
from tests.properties.test_ledger_inputs import account_of, account_of_batches, bounded, events, movements

D = Decimal

UNIT = Fraction(1, 10**28)
"""A released cost is rounded at 30 places, at most once a fill."""

DOLLARS = frozenset({"USDT", "USDC"})


def assert_like(leg: Leg, model: NaivePosition) -> None:
    assert Fraction(leg.quantity) == model.quantity
    assert abs(Fraction(leg.cost) - model.cost) < UNIT
    assert abs(Fraction(leg.realized + leg.rounding) - model.realized) < UNIT
    assert (leg.cost == 0) or leg.quantity != 0 or model.cost != 0


def assert_trips_like(leg: Leg, model: NaivePosition) -> None:
    assert leg.trips.trades == len(model.trips)
    assert abs(Fraction(leg.trips.gross_win) - sum((t for t in model.trips if t > 0), Fraction(0))) < UNIT
    assert abs(Fraction(leg.trips.gross_loss) - sum((t for t in model.trips if t < 0), Fraction(0))) < UNIT
    assert abs(leg.trips.winning - sum(t > 0 for t in model.trips)) <= sum(abs(t) < UNIT for t in model.trips)


@bounded
@given(movements)
def test_positions_are_those_of_the_naive_ledger(arrivals: list[Event]) -> None:
    account, _ = account_of(arrivals)
    for key, timeline in account.state.timelines.items():
        if not key.startswith("BTCUSD_PERP"):
            assert_like(timeline.leg, naive_position(arrivals, key))


@bounded
@given(events)
def test_positions_are_those_of_the_naive_ledger_whatever_anchors_say(arrivals: list[Event]) -> None:
    account, _ = account_of(arrivals)
    for key, timeline in account.state.timelines.items():
        if not key.startswith("BTCUSD_PERP"):
            assert_like(timeline.leg, naive_position(arrivals, key))


@bounded
@given(events)
def test_positions_are_those_of_the_naive_ledger_when_anchors_move_forward(arrivals: list[Event]) -> None:
    forward, moment = [], 0
    for event in arrivals:
        if isinstance(event, Opening):
            continue  # it says something of every position
        if isinstance(event, Adjustment):
            moment += 7
            later = [anchor._replace(last_trade_id=moment, at_ms=None) for anchor in event.positions]
            event = event._replace(positions=tuple(later))
        if not isinstance(event, Fill) or trade_number(event.trade_id) is not None:
            forward.append(event)

    account, _ = account_of(forward)

    for key, timeline in account.state.timelines.items():
        if not key.startswith("BTCUSD_PERP"):
            assert_like(timeline.leg, naive_position(forward, key))


@bounded
@given(movements, st.data())
def test_round_trips_are_those_of_the_naive_ledger(arrivals: list[Event], data: st.DataObject) -> None:
    in_dollars: list[Event] = [
        event._replace(symbol="BTCUSDT", fee_asset="USDT", realized_pnl=None) if isinstance(event, Fill)
        else event._replace(symbol="BTCUSDT", asset="USDC")
        for event in arrivals if isinstance(event, Fill | FundingPayment)
    ]  # fmt: skip
    distinct = list({event.event_id: event for event in in_dollars}.values())

    account, _ = account_of(data.draw(st.permutations(distinct)))

    for key, timeline in account.state.timelines.items():
        assert_like(timeline.leg, naive_position(distinct, key))
        assert_trips_like(timeline.leg, naive_position(distinct, key))


@bounded
@given(movements)
def test_fees_and_funding_are_those_of_the_naive_ledger(arrivals: list[Event]) -> None:
    account, _ = account_of(arrivals)
    for key, timeline in account.state.timelines.items():
        settlement = timeline.instrument.settlement_asset
        fills = [
            e._replace(fee_asset=e.fee_asset or settlement) for e in arrivals if isinstance(e, Fill) and e.key == key
        ]
        payments = [e for e in arrivals if isinstance(e, FundingPayment) and e.key == key]
        assert _fractions(timeline.leg.fees.by_asset) == sums(fills, "fee", "fee_asset")
        assert _fractions(timeline.leg.funding.by_asset) == sums(payments, "amount", "asset")


@pytest.mark.parametrize("seed", range(12))
def test_long_histories_with_late_events_are_those_of_the_naive_ledger(seed: int) -> None:
    chance = Random(seed)
    length = 3_000
    ordered: list[Event] = []
    for n in range(1, length + 1):
        side: Side = chance.choice(["BUY", "SELL"])
        quantity, price = D(chance.randint(1, 3)), D(chance.randint(90, 110))
        one = Fill(
            "BTCUSDT", str(n), side, quantity, price, n // 3, fee=D("0.1"), fee_asset="USDT", order_id=f"{2 * n}"
        )
        ordered.append(one)
        if chance.random() < 0.2:  # the account trades with itself
            other: Side = "SELL" if side == "BUY" else "BUY"
            ordered.append(one._replace(side=other, order_id=f"{2 * n + chance.choice([-1, 1])}", is_counterpart=True))
        if n % 50 == 0:
            ordered.append(FundingPayment(str(n), "USDT", D(chance.randint(-5, 5)), n // 3, "BTCUSDT"))
    late_by = {n: chance.choice([1, 2, 5, 63, 64, 65, 128, 500, 5000]) for n in chance.sample(range(len(ordered)), 60)}
    arrivals = [event for _, event in sorted(enumerate(ordered), key=lambda e: e[0] + late_by.get(e[0], 0))]
    cuts = sorted(chance.sample(range(len(arrivals)), 40))

    model = naive_position(ordered, "BTCUSDT")
    account, _ = account_of(arrivals)
    batched, _ = account_of_batches([arrivals[a:b] for a, b in zip([0, *cuts], [*cuts, len(arrivals)], strict=True)])

    assert_like(account.leg("BTCUSDT"), model)
    assert_trips_like(account.leg("BTCUSDT"), model)
    assert account.leg("BTCUSDT") == batched.leg("BTCUSDT") == account_of(ordered)[0].leg("BTCUSDT")
    assert len(account.state.timelines["BTCUSDT"].checkpoints) <= 2 * length.bit_length()


def test_the_naive_ledger_knows_what_can_be_checked_by_hand() -> None:
    fills = [
        Fill("BTCUSDT", "1", "BUY", D(1), D(100), 1), Fill("BTCUSDT", "2", "SELL", D(3), D(120), 2, fee=D(3)),
        Fill("BTCUSDT", "3", "BUY", D(1), D(110), 3),
    ]  # fmt: skip

    model = naive_position(fills, "BTCUSDT")

    assert (model.quantity, model.cost, model.realized, model.cash) == (
        Fraction(-1),
        Fraction(-120),
        Fraction(30),
        Fraction(150),
    )
    assert (model.trips, model.trip) == ([Fraction(19)], Fraction(8))


def _fractions(amounts: dict[str, Decimal]) -> dict[str, Fraction]:
    return {asset: Fraction(amount) for asset, amount in amounts.items() if amount != ZERO}
