"""Pursuit: how a watcher goes on when its stream ends: from where, after how long, what it is told, or not at all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from grpc import StatusCode

from account_monitor.client.changes import Change, Disconnected, Place, change_of, place_of, prev_of
from account_monitor.client.errors import CallFailed
from account_monitor.client.hints import is_lasting
from account_monitor.v1 import account_monitor_pb2 as v1

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0

PATIENCE_SECONDS = 30.0
"""Longer than a restart of the service takes, and short enough for who sits before it."""

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

    def __init__(
        self,
        since: Place | None,
        patience: float | None = PATIENCE_SECONDS,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience` is for how many seconds the first message may fail to come; None: for ever.

        Raises: ValueError for a patience below 0.
        """
        if patience is not None and not patience >= 0:
            raise ValueError(f"patience: was {patience}, expected seconds from 0 on, or None")
        self.since = since
        self._patience = patience
        self._monotonic = monotonic
        self._began = monotonic()
        self._wait = FIRST_WAIT_SECONDS
        self._account: str | None = None
        self._heard_at: datetime | None = None
        self._reason_told: str | None = None

    def take(self, message: v1.WatchAccountResponse) -> Change | None:
        """Return what a message tells, None for what is younger than this client. Raises: CallFailed after a hole."""
        prev = prev_of(message)
        if prev is not None and self.since is not None and prev != self.since.seq:
            text = f"the message before this one had seq {prev}, and {self.since.seq} came last"
            raise CallFailed(StatusCode.DATA_LOSS, text)
        # What is not understood has its place all the same: else the next message would look like one after a hole.
        change = change_of(message)
        self.since = place_of(message) or self.since
        self._heard_at, self._reason_told = datetime.now(UTC), None
        self._wait = FIRST_WAIT_SECONDS
        if change is not None:
            self._account = change.account or self._account
        return change

    def lose(self, failure: CallFailed) -> Change | None:
        """Return what the watcher is to be told of a stream that ended; None where it knows.

        Raises: `failure` where watching again would not help, or the first message did not come in time.
        """
        if failure.status in FINAL:
            raise failure
        if self._heard_at is None:
            self._check_patience(failure)
            return None
        reason = str(failure)
        if reason == self._reason_told:
            return None
        self._reason_told = reason
        return Change(
            kind="disconnected",
            account=self._account,
            place=self.since,
            prev=None,
            timestamp=datetime.now(UTC),
            data=Disconnected(since=self._heard_at, reason=reason),
        )

    def wait(self) -> float:
        """Return how many seconds to wait before watching again: longer each time, and no longer than the patience."""
        wait = self._wait * random.uniform(0.5, 1.0)  # noqa: S311  # no secret: watchers shall not come all at once
        self._wait = min(self._wait * 2, LONGEST_WAIT_SECONDS)
        if self._heard_at is not None or self._patience is None:
            return wait
        return max(0.0, min(wait, self._began + self._patience - self._monotonic()))

    def _check_patience(self, failure: CallFailed) -> None:
        if is_lasting(failure.detail):
            raise failure
        if self._patience is not None and self._monotonic() - self._began >= self._patience:
            raise type(failure)(failure.status, f"nothing was heard for {self._patience:g} s: {failure.detail}")
