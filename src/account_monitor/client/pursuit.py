"""Pursuit: how a watcher goes on when its stream ends: from where, after how long, or not at all."""

from __future__ import annotations

import random

from grpc import StatusCode

from account_monitor.client.changes import Change, Place, change_of, place_of, prev_of
from account_monitor.client.errors import CallFailed
from account_monitor.v1 import account_monitor_pb2 as v1

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0

FINAL = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.UNAUTHENTICATED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.UNIMPLEMENTED,
    }
)
"""Asking again would be answered the same."""


class Pursuit:
    """Where one watcher is."""

    def __init__(self, since: Place | None) -> None:
        self.since = since
        self._wait = FIRST_WAIT_SECONDS

    def take(self, message: v1.WatchAccountResponse) -> Change | None:
        """Return what a message tells, None for what is younger than this client. Raises: CallFailed after a hole."""
        prev = prev_of(message)
        if prev is not None and self.since is not None and prev != self.since.seq:
            text = f"the message before this one had seq {prev}, and {self.since.seq} came last"
            raise CallFailed(StatusCode.DATA_LOSS, text)
        # What is not understood has its place all the same: else the next message would look like one after a hole.
        change = change_of(message)
        self.since = place_of(message) or self.since
        self._wait = FIRST_WAIT_SECONDS
        return change

    def wait_after(self, failure: CallFailed) -> float:
        """Return how many seconds to wait before watching again. Raises: `failure` where that would not help."""
        if failure.status in FINAL:
            raise failure
        wait = self._wait * random.uniform(0.5, 1.0)  # noqa: S311  # no secret: watchers shall not come all at once
        self._wait = min(self._wait * 2, LONGEST_WAIT_SECONDS)
        return wait
