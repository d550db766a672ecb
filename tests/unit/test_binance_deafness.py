"""Deafness: what the stream owes, for how long, and what shows that it leaves things out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from account_monitor.feeds.binance.deafness import (
    ASKED_SECONDS,
    DELIVER_SECONDS,
    FLOW_DELIVER_MS,
    MAX_OWED,
    Deafness,
)
from account_monitor.ledger.events import Fill
from account_monitor.ledger.flows import Flow
from account_monitor.monitor.flows import FlowBook
from account_monitor.monitor.ports import (
    VENUE_STREAM,
    VENUE_TRADES,
    Conflict,
    Delivery,
    JournalEntry,
    Recorded,
)

D = Decimal
NATS = "nats:FILLS"
UNSURE_MS = 30
START_MS = 1_790_000_000_000


class Rig:
    """A stream that has been live for a minute."""

    def __init__(self) -> None:
        self.now = 0.0
        self.flows = FlowBook(lambda symbol: "BOTH")
        self.deafness = Deafness(self.flows, lambda: self.now)
        self.look()
        self.now = 60.0

    @property
    def now_ms(self) -> int:
        return START_MS + int(self.now * 1000)

    def fill(self, trade_id: str, *, ago_ms: int = 0) -> Fill:
        return Fill("BTCUSDT", trade_id, "BUY", D(1), D(100), self.now_ms - ago_ms)

    def tell(self, fill: Fill, source: str, *, again: bool = False) -> str | None:
        entries = [] if again else [JournalEntry(1, fill, source, 0)]
        duplicates = [Delivery(source, "", b"", fill)] if again else []
        return self.deafness.note(Recorded(entries, duplicates, [], []))

    def contradict(self, recorded: Fill, source: str) -> str | None:
        conflict = Conflict(Delivery(source, "", b"", recorded._replace(price=D(1))), recorded, ("price",))
        return self.deafness.note(Recorded([], [], [conflict], []))

    def look(self, *, is_live: bool = True) -> tuple[str | None, str | None]:
        return self.deafness.look(self.now_ms, is_live=is_live, unsure_ms=UNSURE_MS)

    def wait(self, seconds: float) -> tuple[str | None, str | None]:
        """Let time pass, looking as often as the feed does not need to."""
        self.now += seconds
        return self.look()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_fill_that_was_fetched_and_that_the_stream_does_not_tell_of_shows_that_it_is_deaf(rig: Rig) -> None:
    rig.tell(rig.fill("7"), VENUE_TRADES)

    assert rig.wait(DELIVER_SECONDS - 0.1) == (None, None)
    deaf, _ = rig.wait(0.2)
    assert deaf == "the exchange has fill:BTCUSDT:7, which the stream did not deliver"
    assert rig.wait(60) == (None, None)  # said once


def test_a_stream_that_tells_in_time_is_not_deaf_nor_is_one_that_told_first(rig: Rig) -> None:
    rig.tell(rig.fill("7"), VENUE_TRADES)
    rig.tell(rig.fill("7"), VENUE_STREAM, again=True)
    rig.tell(rig.fill("8"), VENUE_STREAM)
    rig.tell(rig.fill("8"), VENUE_TRADES, again=True)

    assert rig.wait(60) == (None, None)


def test_a_stream_that_tells_of_it_in_other_words_is_wrong_but_not_deaf(rig: Rig) -> None:
    fill = rig.fill("7")
    rig.tell(fill, VENUE_TRADES)

    assert rig.contradict(fill, VENUE_STREAM) == "the stream contradicts what is recorded of fill:BTCUSDT:7"
    assert rig.deafness.hints == {"fill:BTCUSDT:7": "BTCUSDT"}
    assert rig.wait(60) == (None, None)


def test_what_happened_before_the_stream_was_surely_live_is_not_owed(rig: Rig) -> None:
    rig.tell(rig.fill("7", ago_ms=60_000 - UNSURE_MS), VENUE_TRADES)
    assert rig.wait(60) == (None, None)

    rig.deafness.restart()
    rig.look()
    rig.tell(rig.fill("8"), VENUE_TRADES)
    assert rig.wait(60) == (None, None)


def test_while_the_stream_is_not_live_nothing_is_owed(rig: Rig) -> None:
    rig.tell(rig.fill("7"), VENUE_TRADES)
    rig.look(is_live=False)

    assert rig.wait(60) == (None, None)


def test_the_exchange_is_asked_about_a_fill_that_only_nats_told_of_and_then_it_is_owed(rig: Rig) -> None:
    rig.tell(rig.fill("7"), NATS)
    assert rig.wait(DELIVER_SECONDS - 0.1) == (None, None)
    assert rig.wait(0.2) == (None, "the exchange has not told of fill:BTCUSDT:7")
    assert rig.deafness.hints == {"fill:BTCUSDT:7": "BTCUSDT"}

    rig.tell(rig.fill("7"), VENUE_TRADES, again=True)
    assert rig.deafness.hints == {}
    deaf, ask = rig.wait(DELIVER_SECONDS)
    assert (deaf is not None, ask) == (True, None)


def test_the_exchange_is_not_asked_about_what_it_told_of_or_cannot_know(rig: Rig) -> None:
    rig.tell(rig.fill("7"), NATS)
    rig.tell(rig.fill("7"), VENUE_STREAM, again=True)
    rig.tell(rig.fill("a-uuid"), NATS)
    rig.tell(rig.fill("8", ago_ms=3_600_000), NATS)

    assert rig.wait(60) == (None, None)


def test_a_hint_is_gone_when_the_fill_comes_or_was_searched_for(rig: Rig) -> None:
    rig.deafness.hint("fill:BTCUSDT:7", "BTCUSDT")
    rig.deafness.hint("fill:ETHUSDT:8", "ETHUSDT")
    rig.tell(rig.fill("7"), VENUE_STREAM)
    searched = rig.deafness.hints
    rig.deafness.hint("fill:SOLUSDT:9", "SOLUSDT")  # during the search
    rig.deafness.searched(searched)

    assert (searched, rig.deafness.hints) == ({"fill:ETHUSDT:8": "ETHUSDT"}, {"fill:SOLUSDT:9": "SOLUSDT"})


def test_funding_of_which_only_the_statement_tells_shows_it_too(rig: Rig) -> None:
    at_ms = rig.now_ms
    rig.flows.stated([Flow("transfer", "TRANSFER", "USDT", D(5), at_ms, None, "1")])

    rig.now += FLOW_DELIVER_MS / 1000 - 1
    assert rig.look() == (None, None)
    assert rig.wait(DELIVER_SECONDS + 1)[0] == ("the exchange has TRANSFER:USDT:1, which the stream did not deliver")


def test_nothing_here_grows_without_end(rig: Rig) -> None:
    for number in range(1, MAX_OWED + 100):
        rig.tell(rig.fill(str(number)), NATS)
        rig.deafness.hint(f"fill:X:{number}", "X")
    rig.wait(DELIVER_SECONDS)
    rig.wait(ASKED_SECONDS)
    assert len(rig.deafness.hints) == MAX_OWED

    rig.deafness.searched(rig.deafness.hints)
    rig.tell(rig.fill("999999"), NATS)
    assert rig.wait(DELIVER_SECONDS) == (None, "the exchange has not told of fill:BTCUSDT:999999")
