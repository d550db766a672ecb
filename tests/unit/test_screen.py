"""Screen: no number is ever cut. Amounts are rounded and it says so; what does not fit is left out by the column."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
from rich.console import Console

from account_monitor.cli.questions import Questions
from account_monitor.cli.screen import GAIN, LOSS, MISSING, UNBOUNDED, account_screen, money, price_text, rounded, whole
from account_monitor.errors import CommandFailed
from account_monitor.monitor.reports import (
    AccountReport,
    AlertReport,
    BalanceReport,
    ComparisonReport,
    PnLReport,
    PositionReport,
    RiskReport,
)

AMOUNT = "-1234.56789012345"
POSITION = PositionReport(
    symbol="BTCUSDT", position_side="BOTH", state="SHORT", quantity="-12345.071234567", entry_price="76543.21",
    current_price="76543.12345678", price_source="mark", realized_pnl=AMOUNT, unrealized_pnl=AMOUNT, total_fees="7.5",
    fees={"USDT": "7.5"}, funding="0", value_usd=AMOUNT, leverage=None, liquidation_price=None,
    liquidation_distance_pct=None, margin_type=None, maintenance_margin=None, settlement_asset="USDT", fill_count=42,
    fills_without_fee=0, last_update=None,
)  # fmt: skip
PNL = PnLReport(
    timestamp=None, realized_pnl=AMOUNT, unrealized_pnl=AMOUNT, total_pnl=AMOUNT, total_fees="7.5", funding="0",
    other="0", net_pnl=AMOUNT, win_rate="33.333333333", total_trades=3, winning_trades=1, losing_trades=2,
    average_win="1", average_loss="-1", profit_factor="1", equity="100000.123456789", max_drawdown_pct=None,
)  # fmt: skip
RISK = RiskReport(
    equity=None, margin_balance=None, maintenance_margin=None, margin_ratio=None, leverage=None, drawdown_pct=None,
    return_pct=None, peak_equity=None, daily_loss=None, liquidations={}, available_margin=None, pools=[], venue=None,
)  # fmt: skip
WALLET = BalanceReport(asset="USDT", free=None, locked=None, total="99595.52002171", usd_value=None, last_update=None)
ACCOUNT = AccountReport(
    account="main", epoch=1, seq=7, as_of=None, pnl=PNL, balances={"USDT": WALLET}, positions={"BTCUSDT": POSITION},
    risk=RISK, reconciliation=None, unpriced=[], timestamp="2026-11-22T12:00:00.000Z",
)  # fmt: skip


ALERT = AlertReport(
    id="a", account="main", type="BALANCE_DRIFT", severity="WARNING", state="FIRING", symbol="USDT",
    message="wallet USDT: the exchange states 100, the ledger holds 99", value=None, threshold=None, cause=None,
    timestamp="2026-11-22T12:00:00.000Z", resolved_at=None, acked_by=None, acked_at=None,
)  # fmt: skip


def screen(width: int) -> str:
    """Return what stands on a screen of so many columns."""
    return shown(ACCOUNT, width)


def shown(account: AccountReport, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(account_screen(account, width))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # given above
    return text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, MISSING),
        ("0", "0"),
        ("1234567.5", "1,234,567.5"),
        ("-1234.123456789012", "-1,234.123456789012"),
        ("99999999999999999999.12345678", "99,999,999,999,999,999,999.12345678"),
    ],
)
def test_a_whole_number_has_all_its_digits(amount: str | None, text: str) -> None:
    assert whole(amount) == text


@pytest.mark.parametrize("told", ["abc", "", "NaN", "-Infinity", "1E+999999", "1_0", "٣", "9" * 151])
def test_what_is_no_number_is_named_and_ends_it(told: str) -> None:
    for show in (whole, rounded, price_text):
        with pytest.raises(CommandFailed, match=re.escape(repr(told[:60]))):
            show(told)


def test_a_standing_that_no_service_tells_is_named_and_ends_it() -> None:
    weird = ComparisonReport(
        status="weird", compared_at=None, agreed_at=None, interval_in_effect="5s", drifts=[], unexplained=[],
        quarantined=[],
    )  # fmt: skip
    with pytest.raises(CommandFailed, match=r"'weird'.*expected one of agrees, differs"):
        shown(msgspec.structs.replace(ACCOUNT, reconciliation=weird), 80)


@pytest.mark.parametrize("told", ["yesterday", "0001-01-01T00:00:00Z"])
def test_a_time_that_is_none_is_named_and_ends_it(told: str) -> None:
    with pytest.raises(CommandFailed, match=f"'{told}', expected a time"):
        Questions("http://127.0.0.1:9", None).last_fills("main", told)


@pytest.mark.parametrize(
    ("amount", "places", "text"),
    [
        (None, 2, MISSING),
        ("-12.5", 2, "-12.5"),
        ("0.123456789", 8, "0.12345679"),
        ("-0.999", 2, "-1.00"),
        ("-0.001", 2, "0.00"),
        ("0.125", 2, "0.12"),
        ("99999999999999999999999999999999.999", 2, "100,000,000,000,000,000,000,000,000,000,000.00"),
    ],
)
def test_amounts_are_rounded_half_even(amount: str | None, places: int, text: str) -> None:
    assert rounded(amount, places) == text


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (None, MISSING),
        ("0.00000912", "0.00000912"),
        ("76543.123456789012", "76,543.12345679"),
        ("0.000009123456789012345", "0.000009123456789"),
    ],
)
def test_a_price_that_was_divided_keeps_eight_decimals_or_ten_digits(price: str | None, text: str) -> None:
    assert price_text(price) == text


@pytest.mark.parametrize("width", [UNBOUNDED, 200, 120, 80, 60, 40, 30])
def test_no_number_is_cut_at_any_width(width: int) -> None:
    shown = screen(width)

    assert "…" not in shown
    for number in ("-12,345.071234567", "76,543.21", "99,595.52002171"):
        assert number in shown
    assert all(len(line) <= width for line in shown.splitlines())


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (UNBOUNDED, ["position", "quantity", "entry", "price", "unrealized", "realized", "fees", "fills"]),
        (108, ["position", "quantity", "entry", "price", "unrealized", "realized", "fees", "fills"]),
        (100, ["position", "quantity", "entry", "price", "unrealized", "realized", "fills"]),
        (87, ["position", "quantity", "entry", "price", "unrealized", "realized"]),
        (75, ["position", "quantity", "entry", "price", "unrealized"]),
        (60, ["position", "quantity", "entry", "unrealized"]),
        (48, ["position", "quantity", "entry"]),
    ],
)
def test_a_narrow_terminal_goes_without_columns_in_their_order(width: int, columns: list[str]) -> None:
    header = next(line for line in screen(width).splitlines() if "position" in line)

    assert header.split() == columns


def test_it_says_that_amounts_are_rounded_and_rounds_less_where_there_is_room() -> None:
    assert "-1,234.57 " in screen(80)
    assert "-1,234.56789012 " in screen(200)
    assert "amounts and entry prices are rounded" in screen(80)


def test_a_line_says_how_far_the_account_is_below_its_peak_and_what_it_lost_today() -> None:
    risk = msgspec.structs.replace(RISK, drawdown_pct="-3.3333333333", return_pct="1.5", daily_loss="35.125")
    console = Console(width=80, file=io.StringIO())
    console.print(account_screen(msgspec.structs.replace(ACCOUNT, risk=risk), 80))

    assert "drawdown -3.33 %  return 1.5 %  lost today 35.12" in console.file.getvalue()  # type: ignore[attr-defined]
    assert f"drawdown {MISSING}  return {MISSING}  lost today {MISSING}" in screen(80)


def test_where_no_table_fits_each_position_is_said_in_words() -> None:
    assert "quantity -12,345.071234567" in " ".join(screen(30).split())


@pytest.mark.parametrize(("width", "lines_each"), [(UNBOUNDED, 1), (60, 3)])
def test_what_fires_stands_above_the_figures_and_none_of_it_is_cut(width: int, lines_each: int) -> None:
    console = Console(width=width, file=io.StringIO())
    console.print(account_screen(ACCOUNT, width, alerts=[ALERT, ALERT]))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # given above

    said = f"WARNING BALANCE_DRIFT USDT {ALERT.message} (since {ALERT.timestamp})"
    assert " ".join(" ".join(lines[1 : 1 + 2 * lines_each]).split()) == f"{said} {said}"
    assert "equity" in lines[1 + 2 * lines_each]


@pytest.mark.parametrize(
    ("amount", "text", "colour"),
    [
        ("-0.001", "0.00", ""),
        ("0.004", "0.00", ""),
        ("-0.006", "-0.01", LOSS),
        ("0.01", "0.01", GAIN),
        ("-12", "-12", LOSS),
    ],
)
def test_what_is_rounded_to_zero_is_neither_won_nor_lost(amount: str, text: str, colour: str) -> None:
    shown = money(amount, 2)

    assert (shown.plain, shown.style) == (text, colour)


def test_the_risk_line_names_the_position_that_is_nearest_to_its_liquidation() -> None:
    near = msgspec.structs.replace(
        POSITION, liquidation_price="80000.5", liquidation_distance_pct="4.516129032258064516"
    )
    far = msgspec.structs.replace(POSITION, liquidation_price="120000", liquidation_distance_pct="57")
    risk = msgspec.structs.replace(
        RISK, margin_ratio="0.123456789", maintenance_margin="1234.5", available_margin="98765.4321", leverage="3.14159"
    )
    account = msgspec.structs.replace(ACCOUNT, risk=risk, positions={"BTCUSDT:LONG": far, "BTCUSDT:SHORT": near})

    assert (
        "margin ratio 12.35 %  maintenance 1,234.5  available 98,765.43  leverage 3.14"
        "  nearest liquidation BTCUSDT:SHORT at 80,000.5, 4.52 % away"
    ) in shown(account, UNBOUNDED)


def test_a_risk_that_is_not_known_is_not_shown() -> None:
    assert "margin ratio" not in screen(UNBOUNDED)
