"""What comes for accounts that others hold is kept until it is in the copy, in case that their holder dies with it."""

from __future__ import annotations

import pytest

from account_monitor.monitor import overheard as overhearing
from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.overheard import Overheard
from account_monitor.monitor.ports import Delivery
from tests.journal_samples import delivery, fill, garbage


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def inboxes(clock: Time) -> Inboxes:
    """Accounts a and b are held by others, and a may be taken over by this process."""
    inboxes = Inboxes(clock)
    inboxes.leave_to_others("a")
    inboxes.leave_to_others("b")
    inboxes.overheard.listen_for(["a"], seconds=20.0)
    return inboxes


def heard(trade_id: str, *, sequence: int = 0) -> Delivery:
    return delivery(fill(trade_id), source="nats", sequence=sequence)


def put(inboxes: Inboxes, account: str, *deliveries: Delivery) -> None:
    inbox = inboxes.get(account)
    assert inbox is not None
    for each in deliveries:
        inbox.put(each)


def taken(inboxes: Inboxes, account: str) -> list[Delivery]:
    """Take an account over; return what its inbox begins with."""
    inbox = Inbox()
    inboxes.add(account, inbox)
    return inbox.take(100)[0]


def test_who_takes_an_account_over_begins_with_what_came_for_it(inboxes: Inboxes) -> None:
    put(inboxes, "a", heard("1"), heard("2"))
    put(inboxes, "b", heard("3"))

    assert taken(inboxes, "a") == [heard("1"), heard("2")]
    assert taken(inboxes, "b") == [], "nobody here could take it over at once"
    assert len(inboxes.overheard) == 0


def test_what_is_in_the_copy_is_not_kept(inboxes: Inboxes) -> None:
    put(inboxes, "a", heard("1"), heard("2"), heard("3"))

    inboxes.overheard.forget("a", [fill("2").event_id, fill("7").event_id])

    assert taken(inboxes, "a") == [heard("1"), heard("3")]


def test_an_event_is_kept_once(inboxes: Inboxes) -> None:
    put(inboxes, "a", heard("1"), heard("1"))

    assert taken(inboxes, "a") == [heard("1")]


def test_what_can_be_read_again_and_what_is_no_event_are_not_kept(inboxes: Inboxes) -> None:
    put(inboxes, "a", heard("1", sequence=7), garbage())

    assert taken(inboxes, "a") == []


def test_it_is_kept_for_a_while_only(inboxes: Inboxes, clock: Time) -> None:
    put(inboxes, "a", heard("1"))
    clock.now += 15
    put(inboxes, "a", heard("2"))
    clock.now += 10
    inboxes.overheard.listen_for(["a"], seconds=20.0)

    assert taken(inboxes, "a") == [heard("2")]


def test_of_an_account_that_is_not_followed_any_more_nothing_is_kept(inboxes: Inboxes) -> None:
    put(inboxes, "a", heard("1"))
    inboxes.overheard.listen_for(["b"], seconds=20.0)

    assert len(inboxes.overheard) == 0


def test_no_more_is_kept_than_there_is_room_for_and_the_oldest_go(clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhearing, "CAPACITY", 3)
    monkeypatch.setattr(overhearing, "CAPACITY_BYTES", 12)
    kept = Overheard(clock)
    kept.listen_for(["a"], seconds=20.0)
    for number in range(5):
        kept.hear("a", heard(str(number)))
    assert kept.take("a") == [heard("2"), heard("3"), heard("4")]

    large = heard("9")._replace(payload=bytes(11))
    for each in (heard("8"), large):
        kept.hear("a", each)
    assert kept.take("a") == [large]
