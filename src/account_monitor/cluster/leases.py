"""Lease: who may speak for an account, under which epoch, and how does a holder know that it still does?

A member takes part under a session, which it renews; all its leases hold as long as that. The store decides who gets
what, and mints the epochs. The holder decides by its own clock, and before anybody else could be given the lease, that
it has it no more. docs/decisions/0015-leases.md proves why that is enough.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from account_monitor.cluster.members import Board, Card
from account_monitor.errors import LeaseLost

Seconds: TypeAlias = Callable[[], float]
"""A clock that only runs forward and runs on while the machine sleeps: `clock.boot_seconds`."""

BEATS_PER_TTL = 3
"""Two renewals may fail before a session is over."""

MARGIN = 0.1
"""The share of its time that a holder gives away: clocks run apart, and what was checked takes a while to be done."""


class Loss(StrEnum):
    """Why a lease is held no more."""

    GIVEN_UP = "given_up"
    """By the holder: handed over, drained, or not wanted any more."""
    TAKEN = "taken"
    """The store says that the session is over; somebody else may hold it by now."""


class Terms(NamedTuple):
    """How long a member that says nothing keeps what it holds."""

    ttl_seconds: float

    @property
    def beat_seconds(self) -> float:
        """How often a session is renewed."""
        return self.ttl_seconds / BEATS_PER_TTL

    @property
    def sure_seconds(self) -> float:
        """How long after a renewal was sent its sender may rely on it."""
        return self.ttl_seconds * (1 - MARGIN)


def new_session_id() -> str:
    """Return what nobody else has."""
    return secrets.token_hex(8)


class Session:
    """One run of one member, from `join` on. A process that starts again under its name is another session."""

    def __init__(self, member: str, terms: Terms, session_id: str) -> None:
        """`session_id` was never used before, by anybody."""
        self.id = session_id
        self.member = member
        self.terms = terms
        self.is_over = False
        self.valid_until = -math.inf
        """By the clock of the process: the end of what the store has confirmed."""

    def confirm(self, sent_at: float) -> None:
        """Note that the store has answered what was sent at a moment: it counts from later on, and we from then."""
        self.valid_until = max(self.valid_until, sent_at + self.terms.sure_seconds)

    def end(self) -> None:
        """Let nothing be valid any more, for good."""
        self.is_over = True

    def is_valid(self, now: float) -> bool:
        """Whether nobody else can have been given its leases by this moment."""
        return not self.is_over and now < self.valid_until


def session_over(session: Session) -> LeaseLost:
    """Return what is said of a session that the store knows no more."""
    return LeaseLost(f"session {session.id} of member {session.member} is over: it was not renewed in time, or ended")


class HeldLease:
    """The right to speak for an account under an epoch. Ask before each append, publication and correction."""

    __slots__ = ("account", "epoch", "is_given_up", "session")

    def __init__(self, account: str, epoch: int, session: Session) -> None:
        self.account = account
        self.epoch = epoch
        self.session = session
        self.is_given_up = False

    def is_valid(self, now: float) -> bool:
        """Whether it is held at this moment, by the clock that the session was confirmed with."""
        return not self.is_given_up and self.session.is_valid(now)

    @property
    def is_lost(self) -> bool:
        """Whether it is known to be held no more, for good: not only that nobody confirms it at this moment."""
        return self.is_given_up or self.session.is_over

    def check(self, now: float) -> None:
        """Raise LeaseLost where it is not held at this moment."""
        if not self.is_valid(now):
            raise LeaseLost(
                f"the lease of account {self.account} under epoch {self.epoch} has ended; whoever holds it now goes on"
            )

    def __repr__(self) -> str:
        return f"HeldLease({self.account!r}, {self.epoch}, {self.session.id!r})"


def next_epoch(present: int, above: int, now_seconds: int) -> int:
    """Return the epoch of the next holder: above the last one that was minted, and above all that a journal has.

    It is the time in seconds where that is more, as for journals that are restored: a store that lost what it minted
    does not mint it twice.
    """
    return max(present + 1, above + 1, now_seconds)


class LeaseStore(Protocol):
    """Where members agree. Everything may raise StorageUnavailable, after which nobody knows whether it was done."""

    @property
    def description(self) -> str:
        """Where it is, in words for people and without secrets."""

    async def open(self) -> None:
        """Make what it needs, where that is missing. Raises: StorageRefused where waiting does not help."""

    async def join(self, session: Session, card: Card) -> None:
        """Begin a session, which lasts for its ttl from a moment after the call."""

    async def beat(self, session: Session) -> None:
        """Let a session and all its leases last for the ttl again. Raises: LeaseLost where somebody has ended it.

        One that is late, and that nobody has ended, goes on: only what was ended can have been taken.
        """

    async def show(self, session: Session, card: Card) -> None:
        """Replace what a member says of itself."""

    async def board(self) -> Board:
        """Return who is there and who holds what. It may be a little old: what is decided by it is checked again."""

    async def acquire(self, session: Session, above: Mapping[str, int]) -> dict[str, int]:
        """Take those of some accounts that nobody holds; return their epochs, each greater than that in `above`.

        An account whose holder has a write under way is not taken now.
        """

    async def release(self, session: Session, heirs: Mapping[str, str | None]) -> set[str]:
        """Give up leases, each for a session that is to take it next, None: for any; return those given up.

        Those of others stay. Where one of them was not this session's, the next board shows whose it is.
        """

    async def leave(self, session: Session) -> None:
        """End a session: all its leases are free at once."""

    async def wait(self, seconds: float) -> None:
        """Return after so many seconds, or sooner when something may have changed on the board."""

    async def close(self) -> None:
        """Disconnect."""
