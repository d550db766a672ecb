"""Dead letters: what is kept of a parked message, how much, and when it counts as the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.monitor.ports import CONFLICTING_FILL, MALFORMED_EVENT, StreamPosition
from account_monitor.stores.dead_letters import KEPT
from account_monitor.stores.journal import Journal
from account_monitor.stores.journal_reader import DeadLetterCounts
from tests.journal_samples import deliveries, delivery, fill, garbage

use_exact_arithmetic()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(tmp_path, "main", clock=lambda: 7)
    yield journal
    await journal.close()


async def test_a_dead_letter_says_what_came_and_why_it_was_refused(journal: Journal) -> None:
    await journal.append([garbage(b"\xff{", sequence=12)])

    [letter] = journal.reader.dead_letters()
    sha256 = hashlib.sha256(b"\xff{").hexdigest()
    assert letter == (
        1, MALFORMED_EVENT, "no JSON", "nats:FILLS", "trading.fills", b"\xff{", 2, sha256, 7, None,
    )  # fmt: skip
    assert journal.reader.dead_letter(1) == letter
    assert journal.reader.dead_letter(2) is None


async def test_a_conflict_names_each_field_with_both_values(journal: Journal) -> None:
    wrong = fill(price="100.50")._replace(side="SELL", maker=True)
    await journal.append([delivery(fill(price="100")._replace(maker=False)), delivery(wrong)])

    [letter] = journal.reader.dead_letters()
    assert letter.rejection == CONFLICTING_FILL
    assert letter.reason == (
        "fill:BTCUSDT:1 is recorded with other content: "
        "side: recorded BUY, got SELL; price: recorded 100, got 100.5; maker: recorded False, got True"
    )


async def test_a_retry_may_tell_of_the_counterpart_of_what_is_recorded(journal: Journal) -> None:
    bought = fill()._replace(order_id="11")
    await journal.append([delivery(bought), garbage()])

    recorded = await journal.append([delivery(bought._replace(side="SELL", order_id="12"), retry_of=1)])

    assert [entry.event.event_id for entry in recorded.entries] == ["counterpart:BTCUSDT:1"]
    assert journal.reader.dead_letter_counts().retried == 1


async def test_of_a_large_message_the_beginning_its_size_and_its_hash_are_kept(journal: Journal) -> None:
    payload = bytes(range(256)) * 4_096
    await journal.append([garbage(payload)._replace(reason="ä" * 5_000, subject="s" * 5_000)])

    [letter] = journal.reader.dead_letters()
    assert (letter.payload, letter.size) == (payload[:4_096], 1_048_576)
    assert letter.sha256 == hashlib.sha256(payload).hexdigest()
    assert (letter.reason, letter.subject) == ("ä" * 512, "s" * 1_024)


async def test_text_that_is_no_unicode_can_be_parked(journal: Journal) -> None:
    await journal.append([garbage()._replace(reason="symbol was '\ud800'", subject="\udfff", rejection="\udc00")])

    [letter] = journal.reader.dead_letters()
    assert (letter.reason, letter.subject, letter.rejection) == ("symbol was '?'", "?", "?")


async def test_the_same_message_from_the_same_place_is_parked_once(journal: Journal) -> None:
    await journal.append([garbage(sequence=5)])
    again = await journal.append([garbage(sequence=5), garbage(sequence=6), garbage(b"other", sequence=5)])

    assert len(again.parked) == 3
    assert [letter.payload for letter in journal.reader.dead_letters()] == [b"garbage", b"garbage", b"other"]
    assert journal.reader.dead_letter_counts().parked == 3


async def test_without_a_place_equal_messages_are_different_ones(journal: Journal) -> None:
    await journal.append([garbage(), garbage()])

    assert journal.reader.dead_letter_counts().parked == 2


async def test_a_retry_that_is_recorded_marks_its_letter(journal: Journal) -> None:
    await journal.append([garbage(b"first"), garbage(b"second"), garbage(b"third")])

    await journal.append([delivery(fill("1"), retry_of=2), *deliveries(4)])
    await journal.append([delivery(fill("4", at_ms=1_004), retry_of=3)])  # a duplicate by now

    assert [letter.retried_at_ms for letter in journal.reader.dead_letters()] == [None, 7, 7]
    assert journal.reader.dead_letter_counts() == DeadLetterCounts(kept=3, parked=3, dropped=0, retried=2)


async def test_a_retry_that_fails_again_stays_one_letter_with_the_new_reason(journal: Journal) -> None:
    await journal.append([delivery(fill(price="100")), garbage(b"first", sequence=5)])

    await journal.append([garbage(b"first", retry_of=1)._replace(reason="still no JSON")])
    [letter] = journal.reader.dead_letters()
    assert (letter.reason, letter.retried_at_ms is None) == ("still no JSON", False)


async def test_another_message_that_calls_itself_a_retry_is_kept_by_itself(journal: Journal) -> None:
    await journal.append([delivery(fill(price="100")), garbage(b"first", sequence=5)])

    await journal.append([delivery(fill(price="101"), retry_of=1)])

    first, second = journal.reader.dead_letters()
    assert (first.payload, first.retried_at_ms) == (b"first", None)
    assert second.rejection == CONFLICTING_FILL


async def test_a_retry_of_a_letter_that_is_gone_is_parked_anew(journal: Journal) -> None:
    await journal.append([garbage(retry_of=99)])

    assert journal.reader.dead_letter_counts().kept == 1


async def test_only_the_newest_are_kept_and_the_others_counted(journal: Journal) -> None:
    extra = 150
    started = time.monotonic()
    for start in range(0, KEPT + extra, 50):
        await journal.append([garbage(b"%d" % n, sequence=n + 1) for n in range(start, start + 50)])
    seconds = time.monotonic() - started

    assert journal.reader.dead_letter_counts() == DeadLetterCounts(KEPT, KEPT + extra, extra, 0)
    letters = [letter.payload for letter in journal.reader.dead_letters()]
    assert (letters[0], letters[-1], len(letters)) == (b"%d" % extra, b"%d" % (KEPT + extra - 1), KEPT)
    assert seconds < 10  # two hundred appends: 0.5 s here


async def test_a_parked_message_is_committed_with_the_position_that_passes_it(journal: Journal) -> None:
    await journal.append([garbage(sequence=5)], [StreamPosition("nats:FILLS", "x", 5)])
    await journal.close()

    reopened = Journal.open(journal.path.parent, "main", clock=lambda: 7)
    assert reopened.positions["nats:FILLS"].sequence == 5
    assert reopened.reader.dead_letter_counts().kept == 1
    await reopened.close()
