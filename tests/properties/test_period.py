"""A period is summed up in several ways, by cause, day and position: all of them come to the change of equity."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.account import Account, EventList
from account_monitor.ledger.events import Event, Fill, Opening
from account_monitor.ledger.money import ZERO
from account_monitor.monitor.past import Walk
from account_monitor.monitor.period import RESULTS, Period, Sums, period
from account_monitor.monitor.ports import JournalEntry
from tests.properties.test_ledger_inputs import bounded, events, explain, instrument_of

PER_DAY = 7
"""Entries that are recorded on one day."""


def account_at(happened: list[Event], start: int) -> Account:
    """Return an account that has come to an entry, and knows what follows."""
    known = EventList()
    for seq, event in enumerate(happened, start=1):
        known.add(seq, event)
    account = Account(known, instrument_of=instrument_of)
    for seq, event in enumerate(happened[:start], start=1):
        account.apply(seq, event)
    return account


def period_of(happened: list[Event], start: int) -> Period:
    """Sum up what was recorded after the first `start` entries, one a second."""
    entries = [JournalEntry(seq, event, "test", seq * 1_000) for seq, event in enumerate(happened, start=1)]
    walk = Walk(start, len(happened), account_at(happened, start), iter(entries[start:]))
    return period(
        walk, "main", lambda at_ms: f"day {at_ms // 1_000 // PER_DAY}", (start * 1_000, len(happened) * 1_000)
    )


def added(many: list[Sums]) -> Sums:
    whole = Sums()
    for sums in many:
        for line, usd in sums.items():
            whole.add(line, usd)
    return whole


def nonzero(sums: Sums) -> dict[str, Decimal]:
    return {line: usd for line, usd in sums.items() if usd}


@bounded
@given(events, st.integers(0, 25))
def test_whatever_happens_every_sum_comes_to_the_same(random: list[Event], start: int) -> None:
    happened: list[Event] = [Opening("o", 0, (("USDT", Decimal(1000)), ("BNB", Decimal(3)))), *random]
    start = min(start, len(happened))
    made = period_of(happened, start)
    explanation, effects = explain(account_at(happened, start), list(enumerate(happened, start=1))[start:])

    assert (made.before, made.after) == (explanation.before, explanation.after)
    assert made.residual in (ZERO, None)
    assert made.sums.change == explanation.total() == sum((effect.usd for effect in effects), ZERO)
    assert made.sums["realized"] + made.sums["unrealized"] == explanation.total("trading") + explanation.total(
        "rounding"
    )
    for cause in ("fees", "funding", "other", "prices", "transfers", "opening", "adjustments", "priced_later"):
        assert made.sums[cause] == explanation.total(cause)
    assert nonzero(added([day.sums for day in made.days])) == nonzero(made.sums)
    assert nonzero(added([*made.positions.values(), made.elsewhere])) == nonzero(made.sums)
    assert sum(made.fees.values(), ZERO) == made.sums["fees"]


@bounded
@given(events)
def test_days_drawdown_and_trades_of_a_whole_life_are_those_of_the_account(random: list[Event]) -> None:
    happened: list[Event] = [Opening("o", 0, (("USDT", Decimal(1000)),)), *random]
    made, account = period_of(happened, 0), account_at(happened, len(happened))
    trips = [timeline.leg.trips for timeline in account.state.timelines.values()]

    assert [day.residual for day in made.days if day.residual] == []
    assert [day.before for day in made.days[1:]] == [day.after for day in made.days[:-1]]
    assert (made.days[0].before, made.days[-1].after) == (made.before, made.after)
    assert made.drawdown.pct == account.state.performance.max_drawdown_pct
    assert made.trades.count == sum(each.trades for each in trips)
    assert made.trades.won == sum((each.gross_win for each in trips), ZERO)
    assert made.trades.lost == sum((each.gross_loss for each in trips), ZERO)


def test_a_trade_by_hand() -> None:
    def fill(trade_id: str, side: str, price: str, **more: object) -> Fill:
        return Fill("BTCUSDT", trade_id, side, Decimal(1), Decimal(price), int(trade_id), **more)  # type: ignore[arg-type]

    fee = {"fee": Decimal("0.5"), "fee_asset": "USDT"}
    made = period_of(
        [
            Opening("o", 0, (("USDT", Decimal(1000)),)),
            fill("1", "BUY", "100", **fee, maker=True),
            fill("2", "SELL", "120", **fee, maker=False),
            fill("3", "SELL", "120", **fee),
        ],
        1,
    )

    assert (made.before, made.after) == (Decimal(1000), Decimal("1018.5"))
    assert nonzero(made.sums) == {"realized": Decimal(20), "fees": Decimal("-1.5")}
    assert made.sums.of(RESULTS) == Decimal("18.5")
    assert {kind: tuple(each) for kind, each in made.executed["BTCUSDT"].items()} == {
        "maker": (1, Decimal(100)), "taker": (1, Decimal(120)), "unknown": (1, Decimal(120)),
    }  # fmt: skip
    assert made.trades.win_rate == Decimal(100)
    assert made.trades.best is not None
    assert made.trades.best.result == Decimal(19)
