"""Round trips: from flat to flat or across zero, net of fees and funding."""

from __future__ import annotations

from decimal import Decimal

import pytest

from account_monitor.ledger.account import Account, fold
from account_monitor.ledger.events import Adjustment, Anchor, Event, Fill, FundingPayment, Opening, Side
from account_monitor.ledger.performance import RoundTrips, TradeStatistics
from account_monitor.ledger.valuation import Valuation

D = Decimal


def trade(
    number: int, side: Side, quantity: str, price: str, *, fee: str | None = None, fee_asset: str = "USDT",
    symbol: str = "BTCUSDT",
) -> Fill:  # fmt: skip
    paid = None if fee is None else D(fee)
    return Fill(symbol, str(number), side, D(quantity), D(price), number * 10, fee=paid, fee_asset=fee_asset)


def trips(*events: Event) -> RoundTrips:
    return fold(events).leg("BTCUSDT").trips


def statistics(account: Account) -> TradeStatistics:
    return Valuation(account).pnl().statistics


def test_partial_fills_of_one_round_trip_are_one_trade() -> None:
    record = trips(
        trade(1, "BUY", "1", "100"),
        trade(2, "BUY", "1", "102"),
        trade(3, "SELL", "1", "110"),
        trade(4, "SELL", "1", "90"),
    )

    assert (record.trades, record.losing, record.gross_loss) == (1, 1, D(-2))


def test_a_result_is_net_of_fees_and_funding() -> None:
    record = trips(
        trade(1, "BUY", "1", "100", fee="1"), FundingPayment("f", "USDT", D("-2"), 15, "BTCUSDT"),
        trade(2, "SELL", "1", "110", fee="3"),
    )  # fmt: skip

    assert (record.winning, record.gross_win) == (1, D(4))


def test_fees_can_turn_a_gain_into_a_loss_and_a_rebate_the_other_way() -> None:
    lost = trips(trade(1, "BUY", "1", "100", fee="1"), trade(2, "SELL", "1", "101", fee="1"))
    won = trips(trade(1, "BUY", "1", "100", fee="-1"), trade(2, "SELL", "1", "99.5"))

    assert (lost.losing, lost.gross_loss) == (1, D(-1))
    assert (won.winning, won.gross_win) == (1, D("0.5"))


def test_a_result_of_zero_is_neither_win_nor_loss() -> None:
    record = trips(trade(1, "BUY", "1", "100", fee="1"), trade(2, "SELL", "1", "101"))

    assert (record.trades, record.winning, record.losing) == (1, 0, 0)


def test_crossing_zero_ends_a_trip_and_starts_the_next() -> None:
    record = trips(trade(1, "BUY", "1", "100"), trade(2, "SELL", "3", "120"), trade(3, "BUY", "2", "130"))

    assert (record.trades, record.gross_win, record.gross_loss) == (2, D(20), D(-20))


def test_the_fee_of_a_crossing_fill_splits_pro_rata_and_the_remainder_by_subtraction() -> None:
    record = trips(trade(1, "BUY", "1", "100"), trade(2, "SELL", "3", "100", fee="1"), trade(3, "BUY", "2", "100"))

    third = D("0." + "3" * 30)
    assert (record.trades, record.losing) == (2, 2)
    assert record.gross_loss == -1
    crossing = trips(trade(1, "BUY", "1", "100"), trade(2, "SELL", "3", "100", fee="1"))
    assert (crossing.gross_loss, crossing.open_result) == (-third, third - 1)


def test_funding_while_flat_belongs_to_no_trip() -> None:
    record = trips(
        trade(1, "BUY", "1", "100"), trade(2, "SELL", "1", "110"), FundingPayment("f", "USDT", D("-50"), 25, "BTCUSDT"),
        trade(3, "BUY", "1", "100"), trade(4, "SELL", "1", "110"),
    )  # fmt: skip

    assert (record.winning, record.gross_win) == (2, D(20))


def test_funding_of_the_closing_millisecond_comes_after_the_close() -> None:
    payment = FundingPayment("f", "USDT", D("-50"), 20, "BTCUSDT")
    fills = [trade(1, "BUY", "1", "100"), trade(2, "SELL", "1", "110")]

    assert trips(*fills, payment).gross_win == 10
    assert trips(fills[0], payment, fills[1]).gross_win == 10
    assert trips(payment, *fills).gross_win == 10


def test_an_adopted_position_s_trip_is_left_out() -> None:
    opening = Opening("o", 0, None, (Anchor("BTCUSDT", "BOTH", D(1), D(100), last_trade_id=0),))

    closed = trips(opening, trade(1, "SELL", "1", "150"))
    assert (closed.trades, closed.gross_win) == (0, D(0))
    again = trips(opening, trade(1, "SELL", "1", "150"), trade(2, "BUY", "1", "100"), trade(3, "SELL", "1", "107"))
    assert (again.trades, again.gross_win) == (1, D(7))


def test_crossing_zero_out_of_an_adopted_position_starts_a_trip_of_ours() -> None:
    opening = Opening("o", 0, None, (Anchor("BTCUSDT", "BOTH", D(1), D(100), last_trade_id=0),))

    record = trips(opening, trade(1, "SELL", "2", "150", fee="4"), trade(2, "BUY", "1", "140"))

    assert (record.trades, record.gross_win) == (1, D(8))


def test_an_adjustment_leaves_out_the_trip_that_it_touched() -> None:
    corrected = Adjustment("a", 15, "UNEXPLAINED", (), (Anchor("BTCUSDT", "BOTH", D(2), D(200), last_trade_id=1),))

    assert trips(trade(1, "BUY", "1", "100"), corrected, trade(2, "SELL", "2", "150")).trades == 0


def test_a_trip_with_an_amount_that_nobody_can_price_is_a_trade_but_neither_won_nor_lost() -> None:
    record = trips(
        trade(1, "BUY", "1", "100", fee="1", fee_asset="XYZ"), trade(2, "SELL", "1", "110"),
        trade(3, "BUY", "1", "100"), trade(4, "SELL", "1", "110"),
    )  # fmt: skip

    assert (record.trades, record.unvalued, record.winning, record.gross_win) == (2, 1, 1, D(10))


def test_without_trades_every_ratio_is_null() -> None:
    empty = statistics(fold([trade(1, "BUY", "1", "100")]))

    assert (empty.total_trades, empty.win_rate, empty.average_win, empty.average_loss, empty.profit_factor) == (
        0, None, None, None, None,
    )  # fmt: skip


def test_without_losses_the_profit_factor_is_null() -> None:
    only_wins = statistics(fold([trade(1, "BUY", "1", "100"), trade(2, "SELL", "1", "110")]))

    assert (only_wins.win_rate, only_wins.average_win) == (D(100), D(10))
    assert (only_wins.average_loss, only_wins.profit_factor) == (None, None)


def test_statistics_are_of_all_positions() -> None:
    found = statistics(fold([
        trade(1, "BUY", "1", "100"), trade(2, "SELL", "1", "130"),
        trade(3, "BUY", "1", "100"), trade(4, "SELL", "1", "90"),
        trade(1, "SELL", "1", "100", symbol="ETHUSDT"), trade(2, "BUY", "1", "110", symbol="ETHUSDT"),
        trade(3, "SELL", "1", "100", symbol="ETHUSDT"), trade(4, "BUY", "1", "100", symbol="ETHUSDT"),
    ]))  # fmt: skip

    assert (found.total_trades, found.winning_trades, found.losing_trades) == (4, 1, 2)
    assert (found.win_rate, found.average_win, found.average_loss) == (D(25), D(30), D(-10))
    assert found.profit_factor == D("1.5")


@pytest.mark.parametrize("gap", [1, 70, 200])
def test_a_late_fill_restates_the_statistics(gap: int) -> None:
    pairs: list[Event] = [trade(n, "BUY" if n % 2 else "SELL", "1", "100" if n % 2 else "101") for n in range(1, 301)]
    late = pairs.pop(len(pairs) - gap)

    assert fold([*pairs, late]).leg("BTCUSDT").trips.gross_win == 150
