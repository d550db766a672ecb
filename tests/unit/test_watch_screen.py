"""A frame of `status --watch`: it fits, old figures look old, and nothing that others wrote steers the terminal."""

from __future__ import annotations

import re

import msgspec
import pytest

from account_monitor.cli.screen import MISSING, Elsewhere
from account_monitor.cli.watch_screen import Frame, Shown, draw
from tests.unit.test_book import FILL
from tests.unit.test_screen import ACCOUNT, ALERT, PNL, POSITION

NOW = 1_795_700_000_000
NEAR = msgspec.structs.replace(POSITION, liquidation_price="80000.5", liquidation_distance_pct="4.5161")
FAR = msgspec.structs.replace(POSITION, liquidation_price="120000", liquidation_distance_pct="57")
AWAY = msgspec.structs.replace(FAR, liquidation_distance_pct="42")


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def lines_of(shown: Frame, width: int, height: int) -> list[str]:
    return draw(shown, width, height).lines


def frame(*accounts: Shown, lost_ms: int | None = None, skipped: int = 0) -> Frame:
    return Frame("http://127.0.0.1:8080", NOW, lost_ms, "the connection was cut", (), accounts, skipped)


MAIN = Shown(ACCOUNT, [ALERT], [FILL])


def plain(lines: list[str]) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


@pytest.mark.parametrize("size", [(200, 60), (80, 24), (40, 10), (20, 3), (1, 1)])
def test_a_frame_fits_the_terminal(size: tuple[int, int]) -> None:
    lines = plain(lines_of(frame(MAIN, MAIN), *size))

    assert len(lines) <= size[1]
    assert all(len(line) <= size[0] for line in lines)


def test_an_account_that_is_not_told_yet_is_dim_and_the_total_is_not_known() -> None:
    other = Shown(msgspec.structs.replace(ACCOUNT, account="other"), [], [], is_old=True)
    lines = lines_of(frame(MAIN, other), 150, 90)

    rows = plain(lines)
    total = next(row for row in rows if row.startswith("total"))
    assert set(total.removeprefix("total").replace(MISSING, "")) == {" "}
    begins = rows.index("other is not told yet: what stands below is old")
    assert all(line.startswith("\x1b[2m") for line in lines[begins + 1 :] if line)
    assert not lines[rows.index(next(row for row in rows if row.startswith("main  seq")))].startswith("\x1b[2m")


def test_what_does_not_fit_is_said_and_can_be_scrolled_to() -> None:
    whole = plain(lines_of(frame(MAIN), 80, 60))
    first = plain(lines_of(frame(MAIN), 80, 10))
    end = draw(frame(MAIN, skipped=1_000), 80, 10)
    last = plain(end.lines)

    assert end.skipped == len(whole) - 9  # one key press back from here shows another line
    assert first[:9] == whole[:9]
    assert first[-1].startswith("lines ↑ 0  ↓ ")
    assert last[1:9] == whole[-8:]


def test_old_figures_are_dim_without_colour_and_it_says_since_when() -> None:
    lines = lines_of(frame(MAIN, lost_ms=NOW - 12_000), 200, 60)

    assert "disconnected since 2026-11-26T13:33:08.000Z, 12 s: the connection was cut" in plain(lines)[0]
    written = [line for line in lines[1:] if line.strip()]
    assert all(line.startswith("\x1b[2m") for line in written)
    assert not any(re.search(r"\x1b\[[0-9;]*38;", line) for line in written)


def test_before_anything_was_heard_there_are_no_figures() -> None:
    assert plain(lines_of(frame(lost_ms=NOW), 80, 24)) == [
        "not connected: the connection was cut  http://127.0.0.1:8080  q quits"
    ]


def test_the_total_of_several_accounts_is_unknown_where_a_part_is() -> None:
    poor = msgspec.structs.replace(ACCOUNT, account="alt", pnl=msgspec.structs.replace(PNL, equity="0.5"))
    blind = msgspec.structs.replace(ACCOUNT, account="alt", pnl=msgspec.structs.replace(PNL, equity=None))

    def total(other: Shown) -> list[str]:
        return next(line for line in plain(lines_of(frame(MAIN, other), 200, 90)) if line.startswith("total")).split()

    assert total(Shown(poor, [], []))[1:3] == ["100,000.62", "-2,469.14"]
    assert total(Shown(blind, [], []))[1] == "—"


def test_a_bar_shows_how_near_a_liquidation_is_the_nearest_first() -> None:
    account = msgspec.structs.replace(ACCOUNT, positions={"BTCUSDT:LONG": AWAY, "BTCUSDT:SHORT": NEAR})
    lines = [line for line in plain(lines_of(frame(Shown(account, [], [])), 200, 60)) if line.startswith("liquid")]

    assert lines == [
        "liquidation BTCUSDT:SHORT █░░░░░░░░░░░░░░░░░░░ 4.52 % away, at 80,000.5",
        "liquidation BTCUSDT:LONG  ████████████████░░░░ 42 % away, at 120,000",
    ]


def test_no_bar_is_drawn_of_what_is_farther_than_a_full_one() -> None:
    account = msgspec.structs.replace(ACCOUNT, positions={"BTCUSDT:LONG": FAR, "BTCUSDT:SHORT": NEAR})
    lines = [line for line in plain(lines_of(frame(Shown(account, [], [])), 200, 60)) if line.startswith("liquid")]

    assert lines[1] == "liquidation BTCUSDT:LONG                       57 % away, at 120,000"


def test_accounts_of_other_replicas_have_a_line_and_the_total_is_said_to_be_of_those_here() -> None:
    held = (Elsewhere("gamma", "a", "http://10.0.0.1:8080"), Elsewhere("delta", "b", None))
    lines = plain(lines_of(frame(MAIN)._replace(elsewhere=held), 200, 60))

    assert "gamma  held by a, at http://10.0.0.1:8080: ask there" in lines
    assert "delta  held by b: ask there" in lines
    assert next(line for line in lines if line.startswith("total")).split()[:3] == ["total", "here", "100,000.12"]


def test_a_replica_that_holds_nothing_says_so_and_who_does() -> None:
    assert plain(lines_of(frame()._replace(elsewhere=(Elsewhere("gamma", "a", None),)), 80, 24))[1:] == [
        "gamma  held by a: ask there",
        "no account is held here",
    ]


def test_a_narrow_fill_goes_without_its_fee_and_then_without_its_date() -> None:
    paid = msgspec.structs.replace(FILL, fee="0.0125", fee_currency="USDT")

    def fill(width: int) -> str:
        lines = plain(lines_of(frame(Shown(ACCOUNT, [], [paid])), width, 90))
        return next(line for line in lines if line.startswith("fill"))

    assert fill(200) == "fill 2026-11-22T12:00:00.000Z  BUY  1 BTCUSDT at 100  fee 0.0125 USDT"
    assert fill(60) == "fill 2026-11-22T12:00:00.000Z  BUY  1 BTCUSDT at 100"
    assert fill(45) == "fill 12:00:00.000Z  BUY  1 BTCUSDT at 100"


def test_nothing_that_others_wrote_steers_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\n"
    account = msgspec.structs.replace(ACCOUNT, account=evil, positions={evil: POSITION}, unpriced=[evil])
    alert = msgspec.structs.replace(ALERT, message=evil, symbol=evil)
    lines = lines_of(frame(Shown(account, [alert], [msgspec.structs.replace(FILL, symbol=evil)])), 300, 60)

    left = "".join(plain(lines))
    assert "\x1b" not in left
    assert "\x07" not in left
    assert "\u202e" not in left
    assert "\\x1b]0;owned" in left


def test_a_service_that_shows_no_account_is_not_an_empty_screen() -> None:
    """A replica that holds nothing: `live` above nothing at all looks as if there were nothing to know."""
    assert len(plain(lines_of(frame(), 80, 24))) > 1


@pytest.mark.parametrize("width", [80, 60, 40])
def test_no_figure_of_a_narrow_frame_is_cut(width: int) -> None:
    """docs/status.md: where a terminal is narrow, whole columns are left out, never digits."""
    shown = Shown(msgspec.structs.replace(ACCOUNT, positions={"BTCUSDT": FAR}), [], [FILL])
    lines = plain(lines_of(frame(shown), width, 60))

    cut = [line for line in lines[1:] if line.startswith(("fill", "liquidation")) and line.endswith("…")]
    assert cut == []


def test_the_text_of_an_alert_can_be_read_in_a_narrow_terminal() -> None:
    """The runbooks say "Look at: the text"; what is cut by an ellipsis cannot be scrolled to either."""
    alert = msgspec.structs.replace(
        ALERT, message="wallet USDT: the exchange states 99498.90688742, the ledger holds 99473.90688742"
    )
    text = " ".join(plain(lines_of(frame(Shown(ACCOUNT, [alert], [])), 80, 60)))

    assert "99473.90688742" in text.replace(" ", "")


def test_of_many_accounts_the_sums_and_the_alerts_are_shown_and_how_to_see_one() -> None:
    many = [MAIN._replace(report=msgspec.structs.replace(ACCOUNT, account=f"desk{number}")) for number in range(200)]
    lines = plain(lines_of(frame(*many), 120, 1_000))

    assert sum(line.startswith("desk") and "position" not in line for line in lines) == 400
    assert sum(ALERT.type in line for line in lines) == 200
    assert any(line.startswith("total") for line in lines)
    assert lines[-1] == "of 200 accounts, what each holds: --account NAME"
    assert len(lines) < 700, "what each holds would be thousands of lines, and seconds of work each time"
