"""Inbox: what a feed leaves, in order, and how far its source is complete."""

from __future__ import annotations

import asyncio

import pytest

from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.ports import UNROUTED, Delivery, StreamPosition


def delivery(sequence: int, source: str = "FILLS") -> Delivery:
    return Delivery(source, "trading.fills", b"{}", None, sequence)


def test_what_was_put_is_taken_in_order() -> None:
    inbox = Inbox()
    for sequence in (1, 2, 3):
        inbox.put(delivery(sequence))

    taken, _ = inbox.take(10)

    assert [d.sequence for d in taken] == [1, 2, 3]
    assert len(inbox) == 0


def test_an_empty_inbox_is_complete_up_to_what_was_seen() -> None:
    inbox = Inbox()
    inbox.put(delivery(4))
    inbox.see(StreamPosition("FILLS", "now", 9))  # 5..9 were for others

    _, seen = inbox.take(10)

    assert seen == [StreamPosition("FILLS", "now", 9)]


def test_a_source_is_complete_only_up_to_the_last_delivery_taken_while_more_wait() -> None:
    inbox = Inbox()
    for sequence in (1, 2, 3):
        inbox.put(delivery(sequence))
    inbox.see(StreamPosition("FILLS", "now", 3))

    _, seen = inbox.take(2)

    assert seen == [StreamPosition("FILLS", "now", 2)]


def test_nothing_is_complete_of_a_source_of_which_nothing_was_taken_while_more_wait() -> None:
    inbox = Inbox()
    inbox.put(delivery(1, "A"))
    inbox.put(delivery(7, "B"))
    inbox.see(StreamPosition("B", "now", 7))

    _, seen = inbox.take(1)

    assert seen == []


async def test_a_full_inbox_asks_feeds_to_wait_until_there_is_room() -> None:
    inbox = Inbox(capacity=2)
    inbox.put(delivery(1))
    inbox.put(delivery(2))
    assert inbox.is_full
    waiting = asyncio.create_task(inbox.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()

    inbox.take(1)

    await asyncio.wait_for(waiting, 1)


async def test_waiting_ends_when_something_arrives() -> None:
    inbox = Inbox()
    waiting = asyncio.create_task(inbox.wait(60))
    await asyncio.sleep(0)

    inbox.put(delivery(1))

    await asyncio.wait_for(waiting, 1)


async def test_waiting_ends_after_its_time() -> None:
    await asyncio.wait_for(Inbox().wait(0.01), 1)


def test_a_shut_inbox_keeps_nothing_and_claims_no_progress() -> None:
    inbox = Inbox(capacity=1)
    inbox.put(delivery(1))
    inbox.shut()
    inbox.put(delivery(2))
    inbox.see(StreamPosition("FILLS", "now", 2))

    assert inbox.take(10) == ([], [])
    assert not inbox.is_full


@pytest.mark.parametrize(("accounts", "only"), [((), None), (("main",), "main"), (("main", "alt"), None)])
def test_a_message_without_an_account_means_the_only_one(accounts: tuple[str, ...], only: str | None) -> None:
    inboxes = Inboxes()
    for account in accounts:
        inboxes.add(account, Inbox())

    assert inboxes.only_account == only
    assert [name for name, _ in inboxes.all()] == [*accounts, UNROUTED]


def test_a_removed_account_records_no_progress_for_what_it_did_not_get() -> None:
    inboxes = Inboxes()
    inbox = Inbox()
    inboxes.add("main", inbox)
    inbox.put(delivery(1))
    inbox.see(StreamPosition("FILLS", "now", 1))

    inboxes.remove("main")
    inbox.put(delivery(2))
    inbox.see(StreamPosition("FILLS", "now", 2))

    taken, seen = inbox.take(10)
    assert [d.sequence for d in taken] == [1]
    assert seen == [StreamPosition("FILLS", "now", 1)]


def test_large_payloads_fill_an_inbox_as_well_as_many_do() -> None:
    inbox = Inbox()
    for sequence in range(33):
        inbox.put(delivery(sequence)._replace(payload=bytes(1024 * 1024)))

    assert inbox.is_full
    inbox.take(10)
    assert not inbox.is_full


def test_what_is_not_asked_for_stays_in_order_and_completes_nothing() -> None:
    inbox = Inbox()
    for source, subject in (("nats", "1"), ("exchange", "2"), ("nats", "3"), ("exchange", "4")):
        inbox.put(Delivery(source, subject, b"", None, rejection="X"))
    inbox.see(StreamPosition("nats", "", 7))

    taken, seen = inbox.take(9, only=lambda source: source == "exchange")
    assert ([delivery.subject for delivery in taken], seen) == (["2", "4"], [])
    taken, seen = inbox.take(9)
    assert [delivery.subject for delivery in taken] == ["1", "3"]
    assert seen == [StreamPosition("nats", "", 7)]


def test_what_people_wait_for_is_taken_first_and_is_not_counted() -> None:
    inbox = Inbox()
    inbox.put(delivery(1))
    ahead = delivery(2)
    inbox.put_ahead(ahead)

    assert (len(inbox), inbox.put_count) == (2, 1)
    assert inbox.take_ahead() == [ahead]
    assert len(inbox) == 1


def test_what_is_said_of_an_account_that_another_process_holds_goes_nowhere() -> None:
    inboxes = Inboxes()
    inboxes.add("main", inbox := Inbox())
    inboxes.leave_to_others("main")
    inboxes.leave_to_others(UNROUTED)
    elsewhere = inboxes.get("main")
    assert elsewhere is not None, "it is configured, so its messages are not unrouted"

    for each in (inbox, elsewhere, inboxes.unrouted):
        each.put(delivery(1))

    assert (len(inbox), len(elsewhere), len(inboxes.unrouted)) == (0, 0, 0)
    assert inboxes.all() == []
    assert inboxes.only_account == "main"


def test_an_account_that_is_taken_over_is_heard_and_one_that_is_not_configured_any_more_is_nobodys() -> None:
    inboxes = Inboxes()
    for name in ("main", "alt"):
        inboxes.leave_to_others(name)
    inboxes.add("main", inbox := Inbox())
    inboxes.forget_all_but({"main"})

    assert inboxes.get("main") is inbox
    assert inboxes.get("alt") is None
