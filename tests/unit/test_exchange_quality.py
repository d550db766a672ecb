"""Quality: what is measured of an exchange, on a clock that the test turns, and what of it is called poor."""

from __future__ import annotations

from decimal import Decimal

from account_monitor.api.exchange import samples_of
from account_monitor.exchanges import addresses_of
from account_monitor.feeds.binance.quality import (
    GAPS_KEPT,
    MESSAGES_KEPT,
    VALUES_KEPT,
    WALLETS_KEPT,
    RequestQuality,
    Skew,
    Spreads,
    StreamQuality,
    Tallies,
)
from account_monitor.feeds.binance.server_time import ServerTime
from account_monitor.feeds.binance.transport import AiohttpTransport
from account_monitor.feeds.binance.venue import BinanceVenue
from account_monitor.ledger.reconciliation import Statement
from account_monitor.monitor.histogram import Histogram
from account_monitor.monitor.quality import (
    AccountQuality,
    AddressQuality,
    ExchangeQuality,
    Failure,
    Gap,
    Measured,
    Spread,
    Tally,
    poor_of_account,
    poor_of_address,
)

NOW_MS = 1_790_000_000_000
NOTHING = Measured(Spread(0), Histogram((1_000,)))
NEVER = Tally(0, 0)

GOOD = AccountQuality(
    account="main", address="https://a", is_heard=True, last_message_ms=NOW_MS, reconnects=0, lag=NOTHING, gaps=(),
    gap_count=NEVER, gap_ms=NEVER, messages=Tally(1_000, 1_000), repeated=NEVER, disordered=NEVER, unreadable=NEVER,
    contradicted=NEVER, fills_repeated={}, stream_behind=NOTHING, statement_behind=NOTHING, untold_changes=NEVER,
    last_statement_ms=NOW_MS, interval_seconds=5.0,
)  # fmt: skip
ANSWERING = AddressQuality(
    address="https://a", weight_used=60, weight_limit=2_400, limited_until_ms=None,
    requests={"answered": Tally(100, 100), "refused": NEVER, "limited": NEVER, "unanswered": NEVER}, last_failure=None,
    clock_offset_ms=3, clock_error_ms=4.0, silent_marks=None,
)  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def ms(self) -> int:
        return NOW_MS + round((self.now - 1_000) * 1000)


def wallet(amount: str, at_ms: int = NOW_MS, asset: str = "USDT") -> Statement:
    return Statement(at_ms, {asset: Decimal(amount)}, {}, is_complete=False)


# -- what is of late ---------------------------------------------------------------------------------------------------


def test_of_milliseconds_it_is_told_what_most_do_not_exceed() -> None:
    spreads = Spreads(Clock())
    for milliseconds in (*[15] * 98, 1_500, 4_000):
        spreads.observe(milliseconds)

    recent = spreads.measured().recent
    assert (recent.size, recent.max_ms) == (100, 4_000)
    assert 10 <= (recent.p50_ms or 0) <= 20
    assert 1_000 <= (recent.p99_ms or 0) <= 2_000


def test_a_message_that_says_a_time_to_come_has_no_lag() -> None:
    spreads = Spreads(Clock())
    spreads.observe(-30)

    assert spreads.measured().recent.max_ms == 0
    assert spreads.measured().total.total == 0


def test_what_is_older_than_five_minutes_is_no_longer_of_late() -> None:
    clock = Clock()
    spreads, tallies = Spreads(clock), Tallies(clock)
    spreads.observe(4_000)
    tallies.add("gaps")
    clock.now += 200
    spreads.observe(10)
    assert spreads.measured().recent.max_ms == 4_000
    assert tallies.tally("gaps") == Tally(1, 1)
    clock.now += 160

    assert spreads.measured().recent.max_ms == 10
    assert sum(spreads.measured().total.counts) == 2
    assert tallies.tally("gaps") == Tally(1, 0)
    clock.now += 1_000
    assert spreads.measured().recent == Spread(0)


# -- the stream --------------------------------------------------------------------------------------------------------


def test_a_message_that_came_before_is_repeated_and_neither_late_nor_out_of_order() -> None:
    clock = Clock()
    quality = StreamQuality(clock, clock.ms)
    quality.heard(b"1", NOW_MS, NOW_MS + 5)
    quality.heard(b"2", NOW_MS + 10, NOW_MS + 15)
    quality.heard(b"1", NOW_MS, NOW_MS + 9_000)

    assert (quality.tally("messages"), quality.tally("repeated")) == (Tally(3, 3), Tally(1, 1))
    assert quality.tally("disordered").total == 0
    assert quality.lag.measured().recent.max_ms == 5


def test_a_message_after_a_younger_one_is_out_of_order() -> None:
    clock = Clock()
    quality = StreamQuality(clock, clock.ms)
    for name, at_ms in ((b"1", 0), (b"3", 20), (b"2", 10), (b"4", 20), (b"5", 30)):
        quality.heard(name, NOW_MS + at_ms, NOW_MS + at_ms)

    assert quality.tally("disordered").total == 1


def test_a_gap_is_told_with_its_times_and_its_reason() -> None:
    clock = Clock()
    quality = StreamQuality(clock, clock.ms)
    clock.now += 60
    quality.heard_again("code 1006", 2.5)

    gaps, count, taken_ms = quality.gaps(None)
    assert gaps == (Gap(NOW_MS + 57_500, NOW_MS + 60_000, "code 1006"),)
    assert (count, taken_ms) == (Tally(1, 1), Tally(2_500, 2_500))
    gaps, count, taken_ms = quality.gaps((4.0, "no pong"))
    assert gaps[-1] == Gap(NOW_MS + 56_000, None, "no pong")
    assert (count.total, taken_ms.total) == (2, 6_500)


# -- the stream and statements -----------------------------------------------------------------------------------------


def test_the_stream_is_behind_by_what_passed_since_a_statement_showed_the_same() -> None:
    clock = Clock()
    skew = Skew(clock)
    skew.stated(wallet("100"), clock.now - 0.1)
    clock.now += 5
    skew.stated(wallet("99"), clock.now - 0.1)
    clock.now += 3
    skew.told(wallet("99"))

    assert skew.stream_behind.measured().recent.max_ms == 3_000
    assert skew.untold.total == 0


def test_a_statement_is_behind_by_what_had_passed_when_it_was_asked_for() -> None:
    clock = Clock()
    skew = Skew(clock)
    skew.told(wallet("100"))
    clock.now += 1
    skew.told(wallet("99", NOW_MS + 1_000))
    clock.now += 2
    skew.stated(wallet("100"), clock.now - 0.5)  # it left 1.5 s after the stream had told
    assert skew.statement_behind.measured().recent.size == 0
    clock.now += 5
    skew.stated(wallet("99"), clock.now - 0.5)

    assert skew.statement_behind.measured().recent.max_ms == 1_500


def test_what_the_stream_tells_while_a_statement_is_under_way_makes_neither_late() -> None:
    clock = Clock()
    skew = Skew(clock)
    skew.told(wallet("100"))
    left = clock.now + 1
    clock.now += 1.2
    skew.told(wallet("99", NOW_MS + 1_200))
    skew.stated(wallet("100"), left)
    skew.stated(wallet("99"), clock.now)

    assert not skew.statement_behind.measured().recent.size
    assert not skew.stream_behind.measured().recent.size


def test_what_the_stream_passes_over_is_untold() -> None:
    clock = Clock()
    skew = Skew(clock)
    skew.stated(wallet("100"), clock.now)
    clock.now += 5
    skew.stated(wallet("99"), clock.now)
    clock.now += 1
    skew.told(wallet("98"))
    skew.stated(wallet("98"), clock.now)

    assert skew.untold.total == 1


def test_what_the_stream_has_not_told_when_it_is_given_up_is_untold_unless_that_is_soon() -> None:
    clock = Clock()
    skew = Skew(clock)
    for wait_seconds in (1.0, 6.0):
        skew.stated(wallet("100"), clock.now)
        clock.now += 5
        skew.stated(wallet("99"), clock.now)
        clock.now += wait_seconds
        skew.restart()

    assert skew.untold.total == 1


def test_a_message_that_comes_late_does_not_undo_what_a_younger_one_said() -> None:
    clock = Clock()
    skew = Skew(clock)
    skew.told(wallet("100", NOW_MS))
    skew.told(wallet("98", NOW_MS + 20))
    skew.told(wallet("99", NOW_MS + 10))
    clock.now += 5
    skew.stated(wallet("98"), clock.now)

    assert not skew.statement_behind.measured().recent.size
    assert skew.untold.total == 0


# -- how much is remembered --------------------------------------------------------------------------------------------


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    quality = StreamQuality(clock, clock.ms)
    for number in range(3 * MESSAGES_KEPT):
        clock.now += 1
        quality.heard(b"%d" % number, NOW_MS, NOW_MS)
        quality.heard_again("code 1006", 0.1)
        quality.skew.told(wallet(str(number), NOW_MS + number, asset=f"A{number}"))
    for number in range(3 * VALUES_KEPT):
        quality.skew.told(wallet(str(number), NOW_MS + number))

    assert len(quality._recent) == len(quality._is_recent) == MESSAGES_KEPT
    assert len(quality._gaps) == GAPS_KEPT
    assert len(quality._tallies._slots) <= 5
    assert len(quality.lag._slots) <= 5
    assert len(quality.skew._wallets) <= WALLETS_KEPT
    assert all(len(each.values) <= VALUES_KEPT for each in quality.skew._wallets.values())


# -- requests ----------------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_how_they_ended_and_the_last_failure_is_told() -> None:
    clock = Clock()
    quality = RequestQuality(clock, clock.ms)
    quality.note("answered")
    quality.note("refused", "GET /a: code -2015")
    clock.now += 1
    quality.note("answered")

    assert quality.outcomes() == {
        "answered": Tally(2, 2), "refused": Tally(1, 1), "limited": NEVER, "unanswered": NEVER,
    }  # fmt: skip
    assert quality.last_failure == Failure(NOW_MS, "GET /a: code -2015")


# -- what is poor ------------------------------------------------------------------------------------------------------


def test_of_what_is_good_nothing_is_said() -> None:
    assert poor_of_account(GOOD, NOW_MS) == []
    assert poor_of_address(ANSWERING) == []


def test_what_is_poor_of_an_account_is_said_in_words() -> None:
    slow = Measured(Spread(10, 20, 50, 3_400, 4_000), Histogram((1_000,)))
    for changed, said in (
        ({"is_heard": False}, "the user stream is not heard"),
        ({"gap_count": Tally(3, 3), "gap_ms": Tally(900, 900)}, "not heard for 0.9 s in 3 gaps"),
        ({"gap_count": Tally(1, 1), "gap_ms": Tally(12_000, 12_000)}, "not heard for 12.0 s in 1 gap"),
        ({"lag": slow}, "one message of a hundred comes 3.4 s late or later"),
        ({"disordered": Tally(20, 20)}, "20 of 1000 messages came out of order"),
        ({"unreadable": Tally(2, 1)}, "1 messages could not be read"),
        ({"contradicted": Tally(2, 1)}, "the stream contradicted 1 fills"),
        ({"untold_changes": Tally(2, 2)}, "2 changes were in a statement, and the stream did not tell of them"),
        ({"untold_changes": Tally(1, 1)}, "1 change was in a statement, and the stream did not tell of it"),
        ({"statement_behind": slow}, "statements are 3.4 s behind the stream"),
        ({"last_statement_ms": None}, "no statement was answered yet"),
        ({"last_statement_ms": NOW_MS - 21_000}, "the last statement is 21.0 s old"),
    ):
        assert poor_of_account(GOOD._replace(**changed), NOW_MS) == [said]


def test_a_statement_is_not_old_before_three_intervals_have_passed() -> None:
    assert poor_of_account(GOOD._replace(interval_seconds=30.0, last_statement_ms=NOW_MS - 80_000), NOW_MS) == []


def test_what_is_poor_of_an_address_is_said_in_words() -> None:
    failed = {**ANSWERING.requests, "unanswered": Tally(10, 10)}
    for changed, said in (
        ({"limited_until_ms": NOW_MS}, "the exchange takes no requests from this machine for now"),
        ({"weight_used": 2_200}, "2200 of 2400 of the request weight is used"),
        ({"requests": failed}, "10 of 110 requests failed"),
        ({"clock_offset_ms": -3_000}, "this machine's clock is 3.0 s behind the exchange's"),
        ({"clock_error_ms": 1_500.0}, "the exchange's clock is known to 1.5 s only"),
        ({"silent_marks": "10 s of silence"}, "no mark prices: 10 s of silence"),
    ):
        assert poor_of_address(ANSWERING._replace(**changed)) == [said]


# -- addresses ---------------------------------------------------------------------------------------------------------


def test_addresses_that_differ_in_their_streams_alone_have_different_names() -> None:
    venues = [
        BinanceVenue(rest_url, websocket_url, AiohttpTransport(), ServerTime())
        for rest_url, websocket_url in (("https://a", "wss://a"), ("https://b", "wss://b"), ("https://b", "wss://c"))
    ]

    assert list(addresses_of(venues).values()) == ["https://a", "https://b wss://b", "https://b wss://c"]


# -- as metrics --------------------------------------------------------------------------------------------------------


def test_what_is_not_known_has_no_metric() -> None:
    unknown = ExchangeQuality(
        NOW_MS, [GOOD._replace(last_statement_ms=None)], [ANSWERING._replace(clock_offset_ms=None, clock_error_ms=None)]
    )
    names = {sample.name for sample in samples_of(unknown)}

    assert "exchange_stream_up" in names
    assert not names & {
        "exchange_last_statement_timestamp_seconds", "exchange_clock_offset_seconds", "exchange_clock_error_seconds",
    }  # fmt: skip
