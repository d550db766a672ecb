"""Where a watcher of the client is: what it takes, what it skips, and what it takes for a hole."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from account_monitor.client.changes import Place
from account_monitor.client.errors import CallFailed
from account_monitor.client.pursuit import Pursuit
from account_monitor.v1 import account_monitor_pb2 as v1


def younger_kind(seq: int, prev: int) -> v1.WatchAccountResponse:
    """A message of a kind that this client does not know: a field of data that its definition lacks."""
    known = v1.WatchAccountResponse(account="main", epoch=1, seq=seq, prev=prev)
    number_and_length = bytes(((1000 << 3 | 2) & 0x7F | 0x80, (1000 << 3 | 2) >> 7, 0))
    return v1.WatchAccountResponse.FromString(known.SerializeToString() + number_and_length)


def balance_update(seq: int, prev: int) -> v1.WatchAccountResponse:
    message = v1.WatchAccountResponse(account="main", epoch=1, seq=seq, prev=prev)
    message.timestamp.GetCurrentTime()
    message.balance_update.SetInParent()
    return message


def test_a_kind_that_is_younger_than_the_client_is_passed_over_in_its_place() -> None:
    pursuit = Pursuit(Place(1, 4))

    assert pursuit.take(younger_kind(5, prev=4)) is None
    assert pursuit.since == Place(1, 5)
    assert pursuit.take(younger_kind(6, prev=5)) is None
    assert pursuit.since == Place(1, 6)


def test_a_hole_before_a_kind_that_is_younger_is_a_hole() -> None:
    pursuit = Pursuit(Place(1, 4))

    with pytest.raises(CallFailed) as failed:
        pursuit.take(younger_kind(6, prev=5))

    assert failed.value.status is StatusCode.DATA_LOSS
    assert pursuit.since == Place(1, 4)


def test_a_change_after_a_kind_that_is_younger_is_told() -> None:
    pursuit = Pursuit(Place(1, 4))
    pursuit.take(younger_kind(5, prev=4))

    change = pursuit.take(balance_update(6, prev=5))

    assert change is not None
    assert change.place == pursuit.since == Place(1, 6)
