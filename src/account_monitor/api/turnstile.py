"""Turnstile: how many may be connected to one port, in all and from one address?"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Hashable

from account_monitor.api.origin import is_this_machine, origin_of
from account_monitor.api.problems import TOO_MANY_CONNECTIONS, Refused

MAX_CONNECTIONS = 2_000
"""By default; a desk with some hundred screens opens a fifth of it."""

MAX_PER_ADDRESS = 500
"""By default; several desks may stand behind one address. This machine's own is not limited: a proxy has it."""


class Turnstile:
    """Who is connected, by anything that stands for a connection."""

    def __init__(
        self,
        most: int = MAX_CONNECTIONS,
        most_per_address: int = MAX_PER_ADDRESS,
        descriptors: Callable[[], int] = lambda: sys.maxsize,
    ) -> None:
        """`descriptors` says how many there are at present, which may be fewer than `most`."""
        self._most = most
        self._descriptors = descriptors
        self._most_per_address = most_per_address
        self._sites: dict[Hashable, str] = {}
        self._counts: Counter[str] = Counter()
        self.refused = 0
        """How many were turned away since the start."""

    def __len__(self) -> int:
        return len(self._sites)

    def enter(self, connection: Hashable, address: str) -> None:
        """Count a connection. Raises: Refused, and counts nothing, where there are too many."""
        most = min(self._most, self._descriptors())
        site = "" if is_this_machine(address) else origin_of(address)
        if len(self._sites) >= most:
            self.refused += 1
            raise Refused(TOO_MANY_CONNECTIONS, f"{most} connections are open; try again later")
        if site and self._counts[site] >= self._most_per_address:
            self.refused += 1
            raise Refused(
                TOO_MANY_CONNECTIONS, f"{self._most_per_address} connections from {site} are open; close some first"
            )
        self._sites[connection] = site
        if site:
            self._counts[site] += 1

    def leave(self, connection: Hashable) -> None:
        """Count a connection no longer; one that was never counted changes nothing."""
        site = self._sites.pop(connection, "")
        if site:
            self._counts[site] -= 1
            if not self._counts[site]:
                del self._counts[site]
