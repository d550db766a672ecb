"""What a monitor relies on in a journal, whichever keeps it. Another implementation adds a line to IMPLEMENTATIONS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import pytest

from account_monitor.errors import RecordingStopped
from account_monitor.ledger.account import Account
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Event, Fill, FundingPayment, Marks, Transfer
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.ledger.position import Leg
from account_monitor.ledger.reconciliation import Reconciliation
from account_monitor.monitor.ports import (
    CONFLICTING_FILL,
    VENUE_STREAM,
    VENUE_TRADES,
    FillQuery,
    Journal,
    Recorded,
    StreamPosition,
)
from account_monitor.stores import recorder
from account_monitor.stores.journal import Journal as SqliteJournal
from tests.journal_samples import deliveries, delivery, fill, garbage

use_exact_arithmetic()
D = Decimal
NOW = 1_800_000_000_000

Opener: TypeAlias = Callable[[], Journal]
IMPLEMENTATIONS: dict[str, Callable[[Path], Journal]] = {
    "sqlite": lambda folder: SqliteJournal.open(folder, "main", clock=lambda: NOW),
}


@pytest.fixture(params=IMPLEMENTATIONS)
def open_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return lambda: IMPLEMENTATIONS[request.param](tmp_path)


@pytest.fixture
async def journal(open_journal: Opener) -> AsyncIterator[Journal]:
    journal = open_journal()
    yield journal
    await journal.close()


def trade_ids(journal: Journal) -> list[str]:
    return [entry.event.trade_id for entry in journal.entries() if isinstance(entry.event, Fill)]


async def test_a_new_journal_is_empty(journal: Journal) -> None:
    assert (journal.account, journal.epoch, journal.last_seq, journal.failure) == ("main", 1, 0, None)
    assert dict(journal.positions) == {}
    assert list(journal.entries()) == []
    assert journal.fills(FillQuery()) == ([], None)
    assert list(journal.load_checkpoints("any")) == []


async def test_entries_are_numbered_in_the_order_of_the_deliveries(journal: Journal) -> None:
    first = await journal.append(deliveries(3, 1))
    second = await journal.append(deliveries(2))

    assert [entry.seq for entry in first.entries + second.entries] == [1, 2, 3]
    assert trade_ids(journal) == ["3", "1", "2"]
    assert list(journal.entries()) == first.entries + second.entries
    assert journal.last_seq == 3


async def test_an_entry_says_where_it_came_from_and_when_it_was_recorded(journal: Journal) -> None:
    await journal.append([delivery(fill(), source="binance:stream")])

    [entry] = journal.entries()
    assert (entry.event, entry.source, entry.recorded_at_ms) == (fill(), "binance:stream", NOW)


async def test_the_same_fill_again_is_a_duplicate(journal: Journal) -> None:
    [once] = deliveries(1)
    [again] = deliveries(1)
    await journal.append([once])

    recorded = await journal.append([again, *deliveries(2)])

    assert recorded.duplicates == [again]
    assert [entry.seq for entry in recorded.entries] == [2]
    assert trade_ids(journal) == ["1", "2"]


async def test_a_fill_twice_in_one_batch_is_recorded_once(journal: Journal) -> None:
    [one] = deliveries(1)

    recorded = await journal.append([one, one, *deliveries(2)])

    assert [entry.seq for entry in recorded.entries] == [1, 2]
    assert recorded.duplicates == [one]


async def test_the_same_trade_id_on_another_symbol_is_another_fill(journal: Journal) -> None:
    await journal.append([delivery(fill("1")), delivery(fill("1", symbol="ETHUSDT"))])

    assert journal.last_seq == 2


async def test_equal_numbers_written_differently_are_no_conflict(journal: Journal) -> None:
    await journal.append([delivery(fill(price="100"))])

    recorded = await journal.append([delivery(fill(price="100.00"))])

    assert (len(recorded.duplicates), recorded.conflicts) == (1, [])


async def test_a_copy_that_says_less_than_the_record_is_a_duplicate(journal: Journal) -> None:
    await journal.append([delivery(fill()._replace(fee=D("0.1"), fee_asset="USDT"))])

    recorded = await journal.append([delivery(fill()._replace(fee=None, fee_asset=None))])

    assert (len(recorded.duplicates), recorded.conflicts) == (1, [])


async def test_a_copy_that_states_an_amount_that_the_record_lacks_completes_it(journal: Journal) -> None:
    bare = fill()._replace(fee=None, fee_asset=None)
    await journal.append([delivery(bare)])

    recorded = await journal.append([delivery(bare._replace(fee=D("0.1"), fee_asset="USDT", order_id="9"))])

    complete = bare._replace(fee=D("0.1"), fee_asset="USDT", order_id="9", revision=1)
    assert [entry.event for entry in recorded.entries] == [complete]
    assert (recorded.duplicates, recorded.conflicts) == ([], [])
    assert [entry.event for entry in journal.fills(FillQuery()).entries] == [complete]
    assert (await journal.append([delivery(bare), delivery(complete._replace(revision=0))])).entries == []


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_where_another_source_disagrees_the_exchange_stands(journal: Journal, in_one_batch: bool) -> None:
    told = delivery(fill(price="100"))
    venue = delivery(fill(price="101")._replace(realized_pnl=D(3)))._replace(source=VENUE_STREAM)
    if not in_one_batch:
        await journal.append([told])

    recorded = await journal.append([told, venue] if in_one_batch else [venue])
    again = await journal.append([told, venue])

    stands = fill(price="101")._replace(realized_pnl=D(3), revision=1)
    assert [(c.fields, c.stands) for c in recorded.conflicts] == [(("price",), True)]
    assert [entry.event for entry in journal.fills(FillQuery()).entries] == [stands]
    assert [entry.event for entry in journal.fills(FillQuery(symbol=stands.symbol)).entries] == [stands]
    assert [(c.fields, c.stands) for c in again.conflicts] == [(("price",), False)]  # and what it says is parked
    assert again.duplicates == [venue]


async def test_a_clock_of_its_own_is_no_conflict_and_the_exchanges_time_stands(journal: Journal) -> None:
    told = fill()
    venue = told._replace(at_ms=told.at_ms - 250)

    first = await journal.append([delivery(told), delivery(venue)._replace(source=VENUE_STREAM)])
    second = await journal.append([delivery(told)])

    assert [entry.event for entry in first.entries] == [told, venue._replace(revision=1)]
    assert (first.conflicts, second.conflicts, len(second.duplicates)) == ([], [], 1)


async def test_who_completes_the_record_of_the_exchange_does_not_become_its_author(journal: Journal) -> None:
    await journal.append([delivery(fill(), source=VENUE_STREAM)])
    await journal.append([delivery(fill()._replace(realized_pnl=D(3)))])

    recorded = await journal.append([delivery(fill(price="101"), source=VENUE_STREAM)])

    assert [(c.fields, c.stands) for c in recorded.conflicts] == [(("price",), False)]


async def test_a_fill_that_the_exchange_has_on_another_leg_leaves_the_first(journal: Journal) -> None:
    told = fill()
    venue = told._replace(position_side="LONG")

    await journal.append([delivery(told), delivery(venue)._replace(source=VENUE_TRADES)])
    again = await journal.append([delivery(venue)._replace(source=VENUE_STREAM)])

    assert [entry.event for entry in journal.fills(FillQuery()).entries] == [venue._replace(revision=2)]
    last = journal.last_seq
    assert fold_of(journal, told.key, last).quantity == 0
    assert fold_of(journal, venue.key, last).quantity == told.signed_quantity
    assert len(again.duplicates) == 1


def fold_of(journal: Journal, key: str, last: int) -> Leg:
    account = Account(journal)
    account.apply_all([(entry.seq, entry.event) for entry in journal.entries(until=last)])
    return account.leg(key)


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_a_fill_that_contradicts_the_recorded_one_is_a_conflict(journal: Journal, in_one_batch: bool) -> None:
    good, bad = delivery(fill(price="100")), delivery(fill(price="101")._replace(side="SELL"))
    if not in_one_batch:
        await journal.append([good])

    recorded = await journal.append([good, bad] if in_one_batch else [bad])

    [conflict] = recorded.conflicts
    assert conflict == (bad, fill(price="100"), ("side", "price"), False)
    assert recorded.parked == []
    assert [entry.event for entry in journal.entries()] == [fill(price="100")]


# -- an account that trades with itself: two executions of one id ------------------------------------------------------

BOUGHT = fill()._replace(order_id="11", maker=True, fee=D("0.02"), fee_asset="USDT", realized_pnl=D(0))
SOLD = BOUGHT._replace(side="SELL", order_id="12", maker=False, fee=D("0.05"), realized_pnl=D(7))


def named(recorded: Recorded) -> list[tuple[str, str | None]]:
    """Return what was entered: the event's id, and the order that it tells of."""
    return [(e.event.event_id, e.event.order_id) for e in recorded.entries if isinstance(e.event, Fill)]


@pytest.mark.parametrize("how", ["one batch", "two batches", "after a restart"])
@pytest.mark.parametrize("halves", [(BOUGHT, SOLD), (SOLD, BOUGHT)])
@pytest.mark.parametrize("sources", [(VENUE_STREAM,) * 2, (VENUE_STREAM, VENUE_TRADES), ("nats:FILLS", VENUE_TRADES)])
async def test_an_account_that_trades_with_itself_has_two_fills_of_one_id(
    open_journal: Opener, sources: tuple[str, str], halves: tuple[Fill, Fill], how: str
) -> None:
    first, second = (delivery(half, source=source) for half, source in zip(halves, sources, strict=True))
    journal = open_journal()
    if how == "one batch":
        told = await journal.append([first, second])
    else:
        one = await journal.append([first])
        if how == "after a restart":
            await journal.close()
            journal = open_journal()
        other = await journal.append([second])
        told = Recorded(one.entries + other.entries, [], one.conflicts + other.conflicts, [])

    assert named(told) == [
        ("fill:BTCUSDT:1", halves[0].order_id),
        ("counterpart:BTCUSDT:1", halves[1].order_id),
    ]
    assert told.conflicts == []
    again = await journal.append([second, first, second])
    assert again.entries == []
    assert again.conflicts == []
    assert [d.event.identity for d in again.duplicates if isinstance(d.event, Fill)] == [
        "counterpart:BTCUSDT:1", "fill:BTCUSDT:1", "counterpart:BTCUSDT:1",
    ]  # fmt: skip
    assert fold_of(journal, "BTCUSDT", journal.last_seq).quantity == 0
    assert fold_of(journal, "BTCUSDT", journal.last_seq).fees.by_asset == {"USDT": D("0.07")}
    await journal.close()


@pytest.mark.parametrize("order_id", ["11", None])
async def test_the_other_side_without_another_order_is_a_contradiction(journal: Journal, order_id: str | None) -> None:
    await journal.append([delivery(BOUGHT)])

    recorded = await journal.append([delivery(BOUGHT._replace(side="SELL", order_id=order_id))])

    assert [c.fields for c in recorded.conflicts] == [("side",)]
    assert journal.last_seq == 1


async def test_the_other_side_of_a_record_that_names_no_order_is_a_contradiction(journal: Journal) -> None:
    await journal.append([delivery(BOUGHT._replace(order_id=None))])

    assert [c.fields[0] for c in (await journal.append([delivery(SOLD)])).conflicts] == ["side"]


async def test_each_of_two_fills_of_one_id_is_completed_by_itself(journal: Journal) -> None:
    bare = [half._replace(fee=None, fee_asset=None, realized_pnl=None) for half in (BOUGHT, SOLD)]
    await journal.append([delivery(half) for half in bare])

    recorded = await journal.append([delivery(half, source=VENUE_STREAM) for half in (SOLD, BOUGHT)])

    assert named(recorded) == [("counterpart:BTCUSDT:1 r1", "12"), ("fill:BTCUSDT:1 r1", "11")]
    shown = [BOUGHT._replace(revision=1), SOLD._replace(revision=1, is_counterpart=True)]
    assert [entry.event for entry in journal.fills(FillQuery()).entries] == shown[::-1]


async def test_each_of_two_fills_of_one_id_is_corrected_by_itself(journal: Journal) -> None:
    await journal.append([delivery(BOUGHT), delivery(SOLD._replace(price=D(99)))])

    recorded = await journal.append([delivery(half, source=VENUE_TRADES) for half in (BOUGHT, SOLD)])

    assert named(recorded) == [("counterpart:BTCUSDT:1 r1", "12")]
    assert [(c.recorded.identity, c.fields, c.stands) for c in recorded.conflicts] == [
        ("counterpart:BTCUSDT:1", ("price",), True)
    ]
    assert [d.event for d in recorded.duplicates] == [BOUGHT]


async def test_a_record_that_contradicts_one_of_two_fills_is_parked_under_its_name(journal: Journal) -> None:
    await journal.append([delivery(BOUGHT), delivery(SOLD)])

    recorded = await journal.append([delivery(half._replace(price=D(99))) for half in (SOLD, BOUGHT)])

    names = ["counterpart:BTCUSDT:1", "fill:BTCUSDT:1"]
    assert [c.recorded.identity for c in recorded.conflicts] == names
    assert [c.delivery.event.identity for c in recorded.conflicts if isinstance(c.delivery.event, Fill)] == names


async def test_of_two_fills_a_record_without_an_order_tells_of_the_one_on_its_side(journal: Journal) -> None:
    await journal.append([delivery(BOUGHT), delivery(SOLD)])

    recorded = await journal.append([delivery(half._replace(order_id=None)) for half in (BOUGHT, SOLD)])

    assert (recorded.entries, recorded.conflicts) == ([], [])
    assert len(recorded.duplicates) == 2


async def test_of_two_fills_a_record_tells_of_the_one_whose_order_it_names(journal: Journal) -> None:
    await journal.append([delivery(BOUGHT), delivery(SOLD)])

    recorded = await journal.append([delivery(BOUGHT._replace(side="SELL")), delivery(SOLD._replace(side="BUY"))])

    assert [(c.recorded.order_id, c.fields) for c in recorded.conflicts] == [("11", ("side",)), ("12", ("side",))]


async def test_the_counterpart_moves_to_the_leg_that_the_exchange_names(journal: Journal) -> None:
    await journal.append([delivery(BOUGHT), delivery(SOLD)])

    await journal.append([delivery(SOLD._replace(position_side="SHORT"), source=VENUE_TRADES)])

    last = journal.last_seq
    assert fold_of(journal, "BTCUSDT", last).quantity == 1
    assert fold_of(journal, "BTCUSDT:SHORT", last).quantity == -1
    again = await journal.append(
        [delivery(SOLD._replace(position_side="SHORT"), source=VENUE_STREAM), delivery(BOUGHT)]
    )
    assert len(again.duplicates) == 2


async def test_pages_show_both_fills_of_one_id(journal: Journal) -> None:
    await journal.append([delivery(BOUGHT), delivery(SOLD)])

    one = journal.fills(FillQuery(limit=1))
    other = journal.fills(FillQuery(limit=1, after=one.next))

    assert [entry.event for entry in one.entries + other.entries] == [BOUGHT, SOLD._replace(is_counterpart=True)]
    assert other.next is None


async def test_a_record_that_names_the_order_completes_one_that_does_not(journal: Journal) -> None:
    await journal.append([delivery(BOUGHT._replace(order_id=None, maker=None))])

    recorded = await journal.append([delivery(half, source=VENUE_STREAM) for half in (BOUGHT, SOLD)])

    assert named(recorded) == [("fill:BTCUSDT:1 r1", "11"), ("counterpart:BTCUSDT:1", "12")]
    assert recorded.conflicts == []


async def test_what_a_feed_rejected_is_parked_and_does_not_stop_the_rest(journal: Journal) -> None:
    bad = garbage()

    recorded = await journal.append([*deliveries(1), bad, *deliveries(2)])

    assert recorded.parked == [bad]
    assert [entry.seq for entry in recorded.entries] == [1, 2]


async def test_a_rejected_delivery_is_not_booked_even_if_it_has_an_event(journal: Journal) -> None:
    rejected = delivery(fill())._replace(rejection=CONFLICTING_FILL, reason="told so")

    assert (await journal.append([rejected])).parked == [rejected]
    assert journal.last_seq == 0


async def test_events_other_than_fills_have_identities_too(journal: Journal) -> None:
    transfer = delivery(Transfer("7", "USDT", D(100), 1_000))
    await journal.append([transfer, delivery(Marks(1_000, ()))])

    recorded = await journal.append([transfer, delivery(Marks(1_000, ())), delivery(Marks(2_000, ()))])

    assert (len(recorded.duplicates), len(recorded.entries), journal.last_seq) == (2, 1, 3)


async def test_positions_are_committed_with_their_deliveries(journal: Journal, open_journal: Opener) -> None:
    here = StreamPosition("nats:FILLS", "2026-11-22", 7)

    await journal.append(deliveries(1), [here])
    assert dict(journal.positions) == {"nats:FILLS": here}
    await journal.append([], [here._replace(sequence=9), StreamPosition("nats:OTHER", "", 1)])
    await journal.close()

    reopened = open_journal()
    assert reopened.positions["nats:FILLS"].sequence == 9
    assert reopened.positions["nats:OTHER"] == ("nats:OTHER", "", 1)
    await reopened.close()


async def test_a_stream_that_was_made_anew_starts_over(journal: Journal) -> None:
    await journal.append([], [StreamPosition("nats:FILLS", "old", 900)])
    await journal.append([], [StreamPosition("nats:FILLS", "new", 3)])

    assert journal.positions["nats:FILLS"] == ("nats:FILLS", "new", 3)


async def test_nothing_to_append_is_nothing_recorded(journal: Journal) -> None:
    assert await journal.append([]) == Recorded([], [], [], [])


async def test_appends_that_wait_together_each_get_their_own(journal: Journal) -> None:
    batches = [deliveries(n, n + 1) for n in range(40)]

    answers = await asyncio.gather(*(journal.append(batch) for batch in batches))

    recorded = [[entry.event for entry in answer.entries] for answer in answers]
    assert recorded[0] == [batches[0][0].event, batches[0][1].event]
    assert recorded[1:] == [[second.event] for _, second in batches[1:]]
    assert [answer.duplicates for answer in answers[1:]] == [[first] for first, _ in batches[1:]]
    assert trade_ids(journal) == [str(n) for n in range(41)]


async def test_a_cancelled_append_harms_no_other(journal: Journal) -> None:
    cancelled = asyncio.ensure_future(journal.append(deliveries(1)))
    await asyncio.sleep(0)
    cancelled.cancel()

    await journal.append(deliveries(2))

    assert trade_ids(journal) == ["1", "2"]  # it had been handed over


async def test_what_was_recorded_is_there_after_a_restart(journal: Journal, open_journal: Opener) -> None:
    await journal.append(deliveries(1, 2))
    before = list(journal.entries())
    await journal.close()

    reopened = open_journal()
    assert (list(reopened.entries()), reopened.last_seq, reopened.epoch) == (before, 2, 1)
    recorded = await reopened.append(deliveries(2, 3))
    assert ([entry.seq for entry in recorded.entries], len(recorded.duplicates)) == ([3], 1)
    await reopened.close()


async def test_entries_between_two_places(journal: Journal) -> None:
    await journal.append(deliveries(*range(1, 8)))

    assert [entry.seq for entry in journal.entries(after=2)] == [3, 4, 5, 6, 7]
    assert [entry.seq for entry in journal.entries(after=2, until=4)] == [3, 4]
    assert list(journal.entries(after=7)) == []


async def test_long_reads_come_in_order_and_complete(journal: Journal) -> None:
    count = 2_500
    await journal.append(deliveries(*range(count)))

    assert [entry.seq for entry in journal.entries()] == list(range(1, count + 1))
    assert len(list(journal.history("BTCUSDT", after=0, until=count))) == count


async def test_entries_may_be_read_while_others_are_appended(journal: Journal) -> None:
    await journal.append(deliveries(*range(1_500)))
    reading = journal.entries(until=1_500)
    next(reading)

    await journal.append(deliveries(2_000))

    assert len(list(reading)) == 1_499


async def test_the_history_of_a_position_is_its_fills_and_funding(journal: Journal) -> None:
    long_leg = fill("2")._replace(position_side="LONG")
    funding = FundingPayment("f", "USDT", D("-1"), 3_000, "BTCUSDT")
    charged_leg = FundingPayment("g", "USDT", D("-1"), 3_000, "BTCUSDT", "LONG")
    others: list[Event] = [fill("1", symbol="ETHUSDT"), FundingPayment("h", "USDT", D(1), 3_000), Marks(1, ())]
    await journal.append([delivery(event) for event in (fill("5"), long_leg, funding, charged_leg, *others, fill("4"))])

    assert list(journal.history("BTCUSDT", after=0, until=99)) == [(1, fill("5")), (3, funding), (8, fill("4"))]
    assert list(journal.history("BTCUSDT", after=1, until=7)) == [(3, funding)]
    assert list(journal.history("BTCUSDT:LONG", after=0, until=99)) == [(2, long_leg), (4, charged_leg)]
    assert list(journal.history("XRPUSDT", after=0, until=99)) == []


async def test_fills_come_in_venue_order(journal: Journal) -> None:
    arrivals = [("1000", 5), ("z", 5), ("999", 5), ("1", 9), ("2", 1), ("a", 5), ("99999999999999999999", 5)]
    await journal.append([delivery(fill(trade_id, at_ms=at_ms)) for trade_id, at_ms in arrivals])

    page = journal.fills(FillQuery())

    # "999" < "1000"; ids that are no numbers of 63 bits come before these, as they arrived.
    ordered = ["2", "z", "a", "99999999999999999999", "999", "1000", "1"]
    assert [entry.event.event_id for entry in page.entries] == [f"fill:BTCUSDT:{trade_id}" for trade_id in ordered]
    assert page.next is None


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_of_fills_show_each_once(journal: Journal, limit: int) -> None:
    times = [5, 5, 5, 3, 9, 5, 1, 5]
    await journal.append([delivery(fill(f"{n % 3}{n}" if n % 2 else f"x{n}", at_ms=at)) for n, at in enumerate(times)])
    everything = journal.fills(FillQuery()).entries

    pages, after = [], None
    while True:
        page = journal.fills(FillQuery(after=after, limit=limit))
        pages.append(page.entries)
        if (after := page.next) is None:
            break

    assert [entry for page_entries in pages for entry in page_entries] == everything
    assert all(len(page_entries) == limit for page_entries in pages[:-1])
    assert pages[-1]


async def test_fills_of_a_symbol_and_a_time(journal: Journal) -> None:
    await journal.append([delivery(fill(str(n), symbol=s, at_ms=n)) for n in range(6) for s in ("BTCUSDT", "ETHUSDT")])

    def found(query: FillQuery) -> list[tuple[str, str]]:
        return [(e.event.symbol, e.event.trade_id) for e in journal.fills(query).entries if isinstance(e.event, Fill)]

    assert found(FillQuery(symbol="ETHUSDT", from_ms=2, to_ms=4)) == [("ETHUSDT", "2"), ("ETHUSDT", "3")]
    assert found(FillQuery(from_ms=5)) == [("BTCUSDT", "5"), ("ETHUSDT", "5")]
    assert found(FillQuery(to_ms=1)) == [("BTCUSDT", "0"), ("ETHUSDT", "0")]
    assert found(FillQuery(symbol="XRPUSDT")) == []
    after = journal.fills(FillQuery(limit=2)).next
    assert found(FillQuery(symbol="ETHUSDT", after=after, limit=1)) == [("ETHUSDT", "1")]
    assert found(FillQuery(after=after, from_ms=5, limit=1)) == [("BTCUSDT", "5")]


async def test_fills_as_they_stood_when_an_entry_was_the_newest(journal: Journal) -> None:
    await journal.append([delivery(fill("1")), delivery(fill("2"))])
    until = journal.last_seq
    corrected = fill("1", price="99", at_ms=5_000)  # it moves behind the other
    await journal.append([delivery(corrected, source=VENUE_TRADES), delivery(fill("3"))])

    def found(query: FillQuery) -> list[tuple[str, Decimal]]:
        return [(e.event.trade_id, e.event.price) for e in journal.fills(query).entries if isinstance(e.event, Fill)]

    assert found(FillQuery(until_seq=until)) == [("1", D(100)), ("2", D(100))]
    assert found(FillQuery(symbol="BTCUSDT", until_seq=until)) == [("1", D(100)), ("2", D(100))]
    assert found(FillQuery()) == [("2", D(100)), ("3", D(100)), ("1", D(99))]


async def test_only_fills_are_fills(journal: Journal) -> None:
    await journal.append(
        [delivery(Transfer("1", "USDT", D(1), 5)), delivery(FundingPayment("2", "USDT", D(1), 5, "X"))]
    )

    assert journal.fills(FillQuery()).entries == []


@pytest.mark.parametrize("cursor", ["", "nonsense", "NS41LjE=", "ä", "MS4xLjE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjEuMQ"])
async def test_a_cursor_of_elsewhere_is_refused(journal: Journal, cursor: str) -> None:
    await journal.append(deliveries(1, 2))

    with pytest.raises(ValueError, match="cursor"):
        journal.fills(FillQuery(after=cursor))


async def test_the_newest_checkpoint_of_a_fingerprint_is_loaded(journal: Journal, open_journal: Opener) -> None:
    await journal.append(deliveries(1, 2, 3))
    await journal.save_checkpoint(1, "v1", b"one")
    await journal.save_checkpoint(2, "v1", b"two")
    assert next(journal.load_checkpoints("v1")) == (2, b"two")

    await journal.save_checkpoint(3, "v2", b"three")
    await journal.close()
    reopened = open_journal()

    assert next(reopened.load_checkpoints("v1")) == (2, b"two")
    assert next(reopened.load_checkpoints("v2")) == (3, b"three")
    assert list(reopened.load_checkpoints("v3")) == []
    await reopened.close()


async def test_checkpoints_that_another_program_wrote_go_once_there_are_two_newer_ones(journal: Journal) -> None:
    await journal.append(deliveries(1, 2, 3))
    for seq, fingerprint in ((1, "old"), (2, "new"), (3, "new")):
        await journal.save_checkpoint(seq, fingerprint, b"")

    assert list(journal.load_checkpoints("old")) == []


async def test_of_old_checkpoints_one_stays_for_every_stretch_of_the_journal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CHECKPOINT_EVERY", 10)
    await journal.append(deliveries(*range(1, 41)))
    for seq in (3, 6, 9, 12, 15, 31, 35, 39, 40):
        await journal.save_checkpoint(seq, "v1", b"")

    assert [seq for seq, _ in journal.load_checkpoints("v1")] == [40, 39, 31, 12, 3]
    assert [seq for seq, _ in journal.load_checkpoints("v1", until=30)] == [12, 3]


async def test_a_time_of_recording_has_its_place(tmp_path: Path) -> None:
    times = iter([1_000, 2_000, 2_000, 5_000])
    journal = SqliteJournal.open(tmp_path, "other", clock=lambda: next(times, 9_000))
    for number in (1, 2, 3):
        await journal.append(deliveries(number))
    recorded = [entry.recorded_at_ms for entry in journal.entries()]

    for at_ms in (0, 1_999, 2_000, 4_999, 5_000, 9_999):
        assert journal.seq_at(at_ms) == sum(each <= at_ms for each in recorded)
    await journal.close()


async def test_entries_can_be_read_by_when_they_happened(journal: Journal) -> None:
    await journal.append(deliveries(5, 1, 3))
    times = [entry.event.at_ms for entry in journal.entries()]

    chosen = journal.entries(happened_by_ms=sorted(times)[1])

    assert [entry.seq for entry in chosen] == [seq for seq, at_ms in enumerate(times, 1) if at_ms <= sorted(times)[1]]


async def test_remarks_are_found_without_the_fills_around_them_from_either_end(journal: Journal) -> None:
    alerts = [Alert(f"a{n}", "STREAM_STALE", None, "WARNING", "FIRING", "?", n, n) for n in range(250)]
    for start in range(0, 250, 50):
        await journal.append([*map(delivery, alerts[start : start + 50]), *deliveries(*range(start + 1, start + 51))])
    await journal.append([delivery(Reconciliation("r", 1, "statement"))])

    assert [entry.event for entry in journal.remarks("alert")] == alerts[::-1]
    assert [entry.event.event_id for entry in journal.remarks("reconciliation")] == ["reconciliation:r"]
    following = journal.remarks_after("alert", 0)
    assert [entry.event for entry in following] == alerts[:100]
    assert [entry.event for entry in journal.remarks_after("alert", following[-1].seq)] == alerts[100:200]


async def test_what_was_never_recorded_is_told_from_what_was(journal: Journal) -> None:
    await journal.append(deliveries(1, 2))

    assert journal.unknown([fill(str(n)) for n in (1, 2, 3)]) == {fill("3").identity}
    assert journal.unknown([]) == set()


async def test_a_checkpoint_of_the_future_is_not_loaded(journal: Journal) -> None:
    await journal.append(deliveries(1))
    await journal.save_checkpoint(1, "v1", b"now")
    await journal.save_checkpoint(2, "v1", b"later")

    assert next(journal.load_checkpoints("v1")) == (1, b"now")


async def test_reads_may_come_from_any_thread(journal: Journal) -> None:
    await journal.append(deliveries(*range(3_000)))

    def count() -> int:
        return sum(1 for _ in journal.entries()) + len(journal.fills(FillQuery(limit=50)).entries)

    assert await asyncio.gather(*(asyncio.to_thread(count) for _ in range(8))) == [3_050] * 8


async def test_closing_commits_what_waits(journal: Journal, open_journal: Opener) -> None:
    waiting = [asyncio.ensure_future(journal.append(deliveries(n))) for n in range(100)]
    await asyncio.sleep(0)

    await journal.close()

    assert [len(recorded.entries) for recorded in await asyncio.gather(*waiting)] == [1] * 100
    reopened = open_journal()
    assert reopened.last_seq == 100
    await reopened.close()


async def test_a_closed_journal_records_nothing(journal: Journal) -> None:
    await journal.close()
    await journal.close()

    with pytest.raises(RecordingStopped, match="closed"):
        await journal.append(deliveries(1))
