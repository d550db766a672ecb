"""Routing: what is dated in the future is nobody's fill yet, whichever clock of those that are known is late."""

from __future__ import annotations

import pytest

from account_monitor.feeds.connection import Received
from account_monitor.feeds.routing import AHEAD_MS, Place, Router
from account_monitor.monitor.inbox import Inbox, Inboxes
from account_monitor.monitor.ports import MALFORMED_EVENT, UNKNOWN_ACCOUNT, Delivery
from tests.integration.feed_rig import fill_json

FILL_MS = 1_795_348_800_000
"""2026-11-22T12:00:00.000Z, the time of every fill here."""

DAY_MS = 86_400_000
YEARS_MS = 1_500 * DAY_MS


def routed(*, now_ms: int, stored_ms: int = 0, account: str | None = None) -> tuple[str, Delivery]:
    inboxes = Inboxes()
    inboxes.add("main", Inbox())
    router = Router(inboxes, "trading.fills", clock=lambda: now_ms)
    message = Received(b"trading.fills", b"", b"", fill_json(1, account))
    return router.route(message, Place("nats:FILLS", 1, stored_ms=stored_ms))


@pytest.mark.parametrize(
    ("now_ms", "stored_ms"),
    [
        (FILL_MS, 0),
        (FILL_MS - AHEAD_MS, 0),  # a day is a time zone, or two
        (FILL_MS + YEARS_MS, 0),  # late is not wrong
        (FILL_MS - YEARS_MS, FILL_MS),  # our clock is behind, and the stream knows better
        (FILL_MS, FILL_MS - YEARS_MS),  # the server's clock is behind
        (FILL_MS + YEARS_MS, FILL_MS - YEARS_MS),  # its day has come: read again, it is no future any more
    ],
)
def test_a_fill_is_booked_that_any_clock_has_come_to(now_ms: int, stored_ms: int) -> None:
    account, delivery = routed(now_ms=now_ms, stored_ms=stored_ms)

    assert (account, delivery.rejection) == ("main", None)
    assert delivery.event is not None


@pytest.mark.parametrize("stored_ms", [0, FILL_MS - YEARS_MS, FILL_MS - AHEAD_MS - 1])
def test_a_fill_that_is_ahead_of_all_clocks_is_parked_with_what_was_expected(stored_ms: int) -> None:
    account, delivery = routed(now_ms=FILL_MS - AHEAD_MS - 1, stored_ms=stored_ms)

    assert (account, delivery.event, delivery.rejection) == ("main", None, MALFORMED_EVENT)
    assert delivery.reason == (
        'timestamp was "2026-11-22T12:00:00.000Z", expected at most 2026-11-22T11:59:59.999Z,'
        " a day ahead of the clocks of the stream and of this machine"
    )
    assert delivery.payload == fill_json(1)  # it can be tried again


def test_what_names_no_account_is_said_before_when_it_was() -> None:
    assert routed(now_ms=0, account="alt")[1].rejection == UNKNOWN_ACCOUNT
