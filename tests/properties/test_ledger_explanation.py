"""I12: the change of equity between two moments is the sum of its causes, exactly, whatever happened in between."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from account_monitor.ledger.account import Account, EventList
from account_monitor.ledger.events import Event, Opening
from account_monitor.ledger.explanation import Explainer, residuals
from account_monitor.ledger.money import ZERO
from account_monitor.ledger.valuation import Valuation
from tests.properties.test_ledger_inputs import bounded, events, explain, instrument_of


def account_that_knows(events_: Sequence[Event]) -> Account:
    known = EventList()
    for seq, event in enumerate(events_, start=1):
        known.add(seq, event)
    return Account(known, instrument_of=instrument_of)


@bounded
@given(events, st.integers(0, 25))
def test_equity_changes_by_its_causes_and_nothing_else(happened: list[Event], start: int) -> None:
    stated = [Opening("o", 0, (("USDT", Decimal(1000)), ("BNB", Decimal(3)))), *happened]
    account = account_that_knows(stated)
    for seq, event in enumerate(stated[:start], start=1):
        account.apply(seq, event)

    explanation, effects = explain(account, list(enumerate(stated, start=1))[start:])
    total = sum((effect.usd for effect in effects), ZERO)

    assert explanation.residual in (ZERO, None)
    assert total == explanation.total()
    equity = Valuation(account).pnl().equity
    assert explanation.after == (equity if account.state.seq else ZERO)


@bounded
@given(events)
def test_every_single_entry_is_explained_where_everything_has_a_price(happened: list[Event]) -> None:
    stated = [Opening("o", 0, (("USDT", Decimal(1000)),)), *happened]
    account = account_that_knows(stated)
    explainer = Explainer(account)
    before = explainer.equity
    for seq, event in enumerate(stated, start=1):
        effect = explainer.apply(seq, event)
        after = explainer.equity
        if before is not None and after is not None:
            assert effect.usd == after - before
        before = after


@bounded
@given(events)
def test_the_causes_account_for_every_wallet(happened: list[Event]) -> None:
    account = account_that_knows(happened)
    for seq, event in enumerate(happened, start=1):
        account.apply(seq, event)
        assert residuals(account) == {}


def test_money_that_no_cause_explains_is_the_residual() -> None:
    account = account_that_knows([opening := Opening("o", 0, (("USDT", Decimal(1000)),))])
    account.apply(1, opening)
    account.state.wallets["USDT"] += 5

    assert residuals(account) == {"USDT": Decimal(5)}
