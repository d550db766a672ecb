"""Book: what the stream tells, in its order; a message that is missing is noticed, and what is younger wins."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from account_monitor.cli.book import FILLS_KEPT, Book, Missing
from account_monitor.errors import CommandFailed
from account_monitor.monitor.reports import FillReport
from tests.unit.test_screen import ACCOUNT, ALERT, PNL, POSITION, RISK, WALLET

FILL = FillReport(
    id="1", account="main", symbol="BTCUSDT", side="BUY", quantity="1", price="100", fee=None, fee_currency=None,
    position_side="BOTH", order_id=None, maker=None, realized_pnl=None, timestamp="2026-11-22T12:00:00.000Z",
    source="nats", seq=8, recorded_at="2026-11-22T12:00:00.000Z",
)  # fmt: skip


def message(kind: str, data: Any, *, seq: int = 8, prev: int | None = 7, account: str | None = "main") -> bytes:
    return msgspec.json.encode(
        {"type": kind, "account": account, "epoch": 1, "seq": seq, "prev": prev, "timestamp": "", "data": data}
    )


@pytest.fixture
def book() -> Book:
    """A book that begins with seq 7."""
    made = Book()
    assert made.hear(message("snapshot", ACCOUNT, seq=7, prev=None)) == "main"
    return made


def test_a_snapshot_is_the_account_as_it_is_told(book: Book) -> None:
    assert book.pages["main"].report() == ACCOUNT
    assert book.since() == "main:1:7"


def test_each_message_changes_what_it_tells_of(book: Book) -> None:
    grown = msgspec.structs.replace(POSITION, quantity="5")
    rich = msgspec.structs.replace(WALLET, total="7")
    richer = msgspec.structs.replace(PNL, equity="77", timestamp="2026-11-22T12:00:01.000Z")
    book.hear(message("position_update", {"key": "BTCUSDT:LONG", **msgspec.structs.asdict(grown)}))
    book.hear(message("balance_update", rich, prev=8))
    book.hear(message("pnl_update", richer, prev=8))

    report = book.pages["main"].report()
    assert report.positions == {"BTCUSDT": POSITION, "BTCUSDT:LONG": grown}
    assert (report.balances["USDT"], report.pnl, report.seq) == (rich, richer, 8)
    assert report.as_of == richer.timestamp


def test_margins_and_the_comparison_are_told_without_a_position(book: Book) -> None:
    risky = msgspec.structs.replace(RISK, margin_ratio="0.5")
    book.hear(message("risk_update", {"risk": risky, "reconciliation": None, "unpriced": ["X"]}))

    report = book.pages["main"].report()
    assert (report.risk, report.unpriced, report.positions) == (risky, ["X"], ACCOUNT.positions)


def test_a_message_that_is_missing_is_noticed_and_changes_nothing(book: Book) -> None:
    with pytest.raises(Missing):
        book.hear(message("balance_update", WALLET, seq=10, prev=9))
    with pytest.raises(Missing):
        book.hear(message("balance_update", WALLET, account="other"))

    assert book.since() == "main:1:7"


def test_what_is_younger_than_this_program_keeps_the_order(book: Book) -> None:
    book.hear(message("something_new", {"x": 1}))
    book.hear(message("balance_update", WALLET, seq=9, prev=8))

    assert book.since() == "main:1:9"


def test_what_no_service_says_is_an_error(book: Book) -> None:
    for told in (b"no JSON", message("balance_update", {"asset": 1})):
        with pytest.raises(CommandFailed):
            book.hear(told)


def test_an_alert_stays_until_it_is_resolved(book: Book) -> None:
    page = book.pages["main"]
    book.hear(message("alert", ALERT))
    assert list(page.alerts.values()) == [ALERT]

    book.hear(message("alert", msgspec.structs.replace(ALERT, state="RESOLVED"), prev=8))
    assert page.alerts == {}


def test_the_youngest_fills_are_kept_each_once(book: Book) -> None:
    page = book.pages["main"]
    page.add_fills(
        msgspec.structs.replace(FILL, id=str(number), timestamp=f"2026-11-22T12:00:{number:02}.000Z")
        for number in range(30)
    )
    book.hear(message("fill", msgspec.structs.replace(FILL, id="29", fee="1", timestamp="2026-11-22T12:00:29.000Z")))

    assert [fill.id for fill in page.fills] == [str(number) for number in range(29, 29 - FILLS_KEPT, -1)]
    assert page.fills[0].fee == "1"


def test_an_account_counts_as_told_by_a_connection_once_a_message_of_it_was_taken(book: Book) -> None:
    book.begin_anew()
    assert book.told == set()
    with pytest.raises(Missing):
        book.hear(message("pnl_update", PNL, prev=3))
    assert book.told == set()
    book.hear(message("pnl_update", PNL))
    assert book.told == {"main"}
