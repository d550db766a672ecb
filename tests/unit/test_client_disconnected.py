"""When a watcher is told of a disconnection, and when it gives up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from grpc import StatusCode

from account_monitor.client import CallFailed, Disconnected, NotFound, Place, Unavailable
from account_monitor.client.errors import call_failed
from account_monitor.client.pursuit import Pursuit
from account_monitor.v1 import account_monitor_pb2 as v1

REFUSED = call_failed(StatusCode.UNAVAILABLE, "Connection refused")
UNTRUSTED = call_failed(StatusCode.UNAVAILABLE, "Tls handshake failed: CERTIFICATE_VERIFY_FAILED: self signed")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def message(seq: int = 7, prev: int | None = None) -> v1.WatchAccountResponse:
    return v1.WatchAccountResponse(account="main", epoch=1, seq=seq, prev=prev, snapshot=v1.AccountState())


def test_before_the_first_message_patience_ends(clock: Clock) -> None:
    pursuit = Pursuit(None, 30, monotonic=clock)
    for _ in range(20):
        assert pursuit.lose(REFUSED) is None
        clock.now = min(clock.now + 2, 1029.9)
    for _ in range(20):
        assert 0 < pursuit.wait() < 0.11  # no longer than the patience, by then
    clock.now = 1030
    with pytest.raises(Unavailable, match="nothing was heard for 30 s: Connection refused"):
        pursuit.lose(REFUSED)


def test_patience_may_have_no_end_but_must_be_some(clock: Clock) -> None:
    pursuit = Pursuit(None, None, monotonic=clock)
    clock.now += 1e6
    assert pursuit.lose(REFUSED) is None
    for patience in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=r"patience: was .*, expected seconds from 0 on, or None"):
            Pursuit(None, patience)


def test_what_time_does_not_mend_is_raised_at_once(clock: Clock) -> None:
    with pytest.raises(Unavailable, match=r"is not trusted; expected tls=Tls\(ca=\.\.\.\)"):
        Pursuit(None, None, monotonic=clock).lose(UNTRUSTED)


def test_a_disconnection_is_told_once_for_each_reason(clock: Clock) -> None:
    pursuit = Pursuit(None, 30, monotonic=clock)
    before = datetime.now(UTC)
    pursuit.take(message())
    heard = datetime.now(UTC)
    clock.now += 1e6

    first = pursuit.lose(REFUSED)
    assert first is not None
    assert (first.kind, first.account, first.place, first.prev) == ("disconnected", "main", Place(1, 7), None)
    assert isinstance(first.data, Disconnected)
    assert first.data.reason == "UNAVAILABLE: Connection refused"
    assert before <= first.data.since <= heard <= first.timestamp
    assert pursuit.lose(REFUSED) is None

    other = pursuit.lose(UNTRUSTED)  # a certificate may be put right while nobody looks at this program
    assert other is not None
    assert isinstance(other.data, Disconnected)
    assert other.data.since == first.data.since

    pursuit.take(message())
    assert pursuit.lose(REFUSED) is not None


def test_a_hole_is_a_disconnection_too(clock: Clock) -> None:
    pursuit = Pursuit(None, 30, monotonic=clock)
    pursuit.take(message(7))
    with pytest.raises(CallFailed) as hole:
        pursuit.take(message(10, prev=9))
    told = pursuit.lose(hole.value)
    assert told is not None
    assert told.place == Place(1, 7)


def test_what_the_service_refuses_is_raised_after_messages_too(clock: Clock) -> None:
    pursuit = Pursuit(None, None, monotonic=clock)
    pursuit.take(message())
    with pytest.raises(NotFound):
        pursuit.lose(call_failed(StatusCode.NOT_FOUND, "no such account"))
