"""Calls: what is a REST call, as its handler sees it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from exchange_simulator.accounts import Account
from exchange_simulator.countdown import Countdown
from exchange_simulator.keys import ListenKeys
from exchange_simulator.limits import Limits
from exchange_simulator.parameters import Parameters
from exchange_simulator.venue import Venue

Security = Literal["none", "key", "signed"]


class Call(NamedTuple):
    """One request that was let in. `now_ms` is the time that the venue says it is."""

    venue: Venue
    parameters: Parameters
    caller: Account | None
    keys: ListenKeys
    limits: Limits
    countdown: Countdown
    ip: str
    now_ms: int

    @property
    def account(self) -> Account:
        """Return whose request it is; only calls that need a key have one."""
        assert self.caller is not None
        return self.caller


class Route(NamedTuple):
    """What a method and path do, for whom, and what that costs."""

    answer: Callable[[Call], Any]
    weight: Callable[[Parameters], int]
    security: Security = "none"
    permission: str = "READ"
    orders: Callable[[Parameters], int] | None = None
    """How many orders it counts as; None: it does not say how many were counted."""
    is_paged: bool = False
