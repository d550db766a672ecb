"""How far each account has seen a stream, whatever becomes of the stream."""

from __future__ import annotations

import asyncio

import pytest

from account_monitor.feeds.jetstream import Stream
from account_monitor.feeds.progress import Progress
from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.ports import UNROUTED, Delivery, StreamPosition

SOURCE = "nats:FILLS"


def stream(first: int, last: int, created: str = "monday") -> Stream:
    """Return a stream that holds these sequences."""
    return Stream("FILLS", created, ("trading.fills",), True, first, last)


def at(sequence: int, created: str = "monday") -> dict[str, StreamPosition]:
    """Return what a journal recorded."""
    return {SOURCE: StreamPosition(SOURCE, created, sequence)}


def progress_of(**recorded: int) -> tuple[Progress, Inboxes]:
    """Return the progress of accounts with these recorded places; the unrouted one has seen as much as the first."""
    inboxes = Inboxes()
    for account in recorded:
        inboxes.add(account, Inbox())
    progress = Progress("FILLS", inboxes)
    positions = {account: at(sequence) for account, sequence in recorded.items()}
    progress.update(positions | {UNROUTED: at(next(iter(recorded.values())))})
    return progress, inboxes


def seen(inbox: Inbox | None) -> list[StreamPosition]:
    """Return the places that the monitor of this inbox will record."""
    assert inbox is not None
    return inbox.take(1000)[1]


async def test_reading_starts_where_the_slowest_account_stopped() -> None:
    progress, _ = progress_of(main=70, alt=30)

    assert await progress.meet(stream(1, 100)) == []
    assert (progress.sequence, progress.newest) == (30, 70)
    assert progress.has_seen("main", 70)
    assert not progress.has_seen("alt", 31)


async def test_no_account_goes_back_when_another_one_catches_up() -> None:
    progress, inboxes = progress_of(main=70, alt=30)
    await progress.meet(stream(1, 100))

    progress.advance(50)

    assert seen(inboxes.get("main")) == [StreamPosition(SOURCE, "monday", 70)]
    assert seen(inboxes.get("alt")) == [StreamPosition(SOURCE, "monday", 50)]


@pytest.mark.parametrize(
    ("now", "text", "place"),
    [
        (stream(1, 100), None, 70),
        (stream(71, 100), None, 70),
        (stream(71, 70), None, 70),
        (stream(81, 100), "begins at 81, but was seen up to 70: 10 messages were removed unseen", 80),
        (stream(101, 100), "begins at 101, but was seen up to 70: 30 messages were removed unseen", 100),
        (stream(1, 69), "ends at 69, but was seen up to 70: it lost messages, reading again from 1", 0),
        (stream(5, 100, "friday"), "was made anew: seen up to 70 of the one created at monday", 4),
        (stream(0, 0, "friday"), "reading the one created at friday from 0 to 0", 0),
    ],
)
async def test_what_can_no_longer_be_read_is_reported_and_reading_goes_on(
    now: Stream, text: str | None, place: int
) -> None:
    progress, _ = progress_of(main=70)

    gaps = await progress.meet(now)

    assert [gap.accounts for gap in gaps] == ([] if text is None else [("main", UNROUTED)])
    assert text is None or text in gaps[0].text
    assert progress.sequence == place
    assert await progress.meet(now) == []  # once


async def test_an_account_without_a_record_starts_at_the_first_message_and_misses_nothing() -> None:
    progress, inboxes = progress_of(main=70)
    inboxes.add("new", Inbox())
    progress.update({})

    assert not progress.is_complete
    assert progress.has_seen("new", 90)  # it gets nothing before its own place is found
    assert await progress.meet(stream(11, 100)) == []
    assert progress.sequence == 10


async def test_an_account_that_is_gone_does_not_hold_up_the_others() -> None:
    progress, inboxes = progress_of(main=70, alt=30)
    await progress.meet(stream(1, 100))

    inboxes.remove("alt")
    progress.update({})

    assert progress.sequence == 70


async def test_an_account_that_was_closed_and_opened_again_starts_from_its_record() -> None:
    progress, inboxes = progress_of(main=70)
    await progress.meet(stream(1, 100))
    progress.advance(100)

    inboxes.remove("main")
    inboxes.add("main", Inbox())
    progress.update({"main": at(80)})
    await progress.meet(stream(1, 100))

    assert progress.sequence == 80


async def test_new_numbers_wait_until_the_inbox_has_given_out_the_old_ones() -> None:
    progress, inboxes = progress_of(main=70)
    await progress.meet(stream(1, 100))
    inbox = inboxes.get("main")
    assert inbox is not None
    inbox.put(Delivery(SOURCE, "trading.fills", b"", None, 71, "MALFORMED_EVENT", "x"))

    meeting = asyncio.create_task(progress.meet(stream(1, 5, "friday")))
    await asyncio.sleep(0.03)
    assert not meeting.done()
    assert [place.created for place in seen(inbox)] == ["monday"]
    await meeting

    assert seen(inbox) == [StreamPosition(SOURCE, "friday", 0)]


async def test_where_other_processes_hold_all_accounts_nothing_old_is_read() -> None:
    progress, inboxes = progress_of(main=70)
    for name in ("main", UNROUTED):
        inboxes.leave_to_others(name)
    progress.update({})

    await progress.meet(stream(1, 100))
    assert (progress.sequence, progress.newest, progress.is_complete) == (100, 100, True)
    progress.advance(120)
    assert progress.sequence == 120

    inboxes.add("main", Inbox())
    progress.update({"main": at(70)})
    assert not progress.is_complete
    await progress.meet(stream(1, 120))
    assert (progress.sequence, progress.newest) == (70, 70)
