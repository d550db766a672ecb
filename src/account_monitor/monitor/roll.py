"""Roll: which processes share the accounts, and which of them speaks for each? As others are shown it."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class RollMember(NamedTuple):
    """A process that takes part."""

    name: str
    session: str
    address: str
    """Where clients reach it; empty: it does not say."""
    is_alive: bool
    is_draining: bool
    is_self: bool


class RollAccount(NamedTuple):
    """Who holds an account, and under which epoch; member None: nobody does now, and the epoch is the last one."""

    account: str
    epoch: int
    member: str | None
    address: str
    is_here: bool
    """Whether this process holds it."""
    follower: str | None = None
    """Who keeps its journal up, so that it could take it over at once; None: nobody does now."""


class Roll(NamedTuple):
    """The cluster as this process saw it last."""

    store: str
    """Where the leases are kept."""
    ttl_seconds: float
    is_suspended: bool
    """Whether this process holds accounts by leases that nobody confirmed in time."""
    problem: str | None
    """Why the store cannot be asked, None while it answers."""
    members: list[RollMember]
    accounts: list[RollAccount]


class Cluster(Protocol):
    """What knows who holds what."""

    def roll(self) -> Roll:
        """Return who is there, and who holds which account."""

    async def is_replicated(self, account: str, seq: int, seconds: float) -> bool:
        """Whether an entry is where the next holder of an account reads it; wait for that so long at most."""

    def elsewhere(self, account: str) -> RollAccount | None:
        """Return who else holds an account; None for nobody, and for this process."""
