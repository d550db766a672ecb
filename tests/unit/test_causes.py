"""What a missed event did to wallets and positions, and what it is called."""

from __future__ import annotations

from decimal import Decimal

import pytest

from account_monitor.ledger.causes import Effect, cause_of, corrected, effects_of
from account_monitor.ledger.events import Charge, Event, Fill, FundingPayment, OtherIncome, Transfer
from account_monitor.ledger.reconciliation import Cause, Drift, Subject, digest

D = Decimal
USDT, BNB, BTC = Subject("wallet", "USDT"), Subject("wallet", "BNB"), Subject("position", "BTCUSDT")
SOLD = Fill("BTCUSDT", "7", "SELL", D("0.5"), D(100), 1, fee=D("0.2"), fee_asset="USDT", realized_pnl=D(3))


def test_a_fill_moves_its_wallet_by_result_less_fee_and_its_position() -> None:
    assert effects_of(SOLD, "USDT", cause="MISSED_FILL") == [
        Effect(USDT, D("2.8"), "MISSED_FILL"), Effect(BTC, D("-0.5"), "MISSED_FILL"),
    ]  # fmt: skip


def test_a_fee_in_another_asset_is_a_cause_of_its_own() -> None:
    fill = SOLD._replace(fee_asset="BNB", realized_pnl=None)

    assert effects_of(fill, "USDT", cause="LIQUIDATION") == [
        Effect(BNB, D("-0.2"), "FEE"), Effect(BTC, D("-0.5"), "LIQUIDATION"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "cause", "amount"),
    [
        (FundingPayment("1", "USDT", D(-3), 1, "BTCUSDT"), "FUNDING", D(-3)),
        (Transfer("1", "USDT", D(9), 1), "TRANSFER", D(9)),
        (OtherIncome("1", "USDT", D(2), 1, "INSURANCE_CLEAR"), "INSURANCE", D(2)),
        (OtherIncome("1", "USDT", D(2), 1, "REBATE"), "INCOME", D(2)),
        (Charge("1", "USDT", D(2), 1, "INSURANCE_CLEAR"), "INSURANCE", D(-2)),
    ],
)
def test_money_without_a_trade_moves_its_wallet_under_its_own_name(event: Event, cause: Cause, amount: Decimal) -> None:
    assert cause_of(event) == cause
    assert effects_of(event, "USDT", cause=cause) == [Effect(USDT, amount, cause)]


def test_another_record_of_a_fill_is_a_corrected_record_or_a_rounding() -> None:
    assert cause_of(SOLD._replace(revision=1)) == "CORRECTED_RECORD"
    assert corrected(D("-0.00000001")) == "ROUNDING"
    assert corrected(D("0.00000002")) == "CORRECTED_RECORD"


def test_a_difference_from_what_is_not_known_is_all_that_is_stated() -> None:
    assert Drift("wallet", "BNB", D(3), None, 1, (), D(0)).difference == 3
    assert Drift("wallet", "BNB", D(3), D(5), 1, (), D(0)).difference == -2


def test_a_digest_depends_on_every_part_and_on_where_it_ends() -> None:
    assert digest("a", 1) == digest("a", "1")
    assert len({digest("a", "b"), digest("ab"), digest("b", "a"), digest("a", "b", "")}) == 4
