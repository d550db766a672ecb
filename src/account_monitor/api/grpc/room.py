"""Room: how many calls of one kind are answered at once, in all and for one address?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from account_monitor.api.grpc.statuses import TOO_MANY_CALLS
from account_monitor.api.origin import is_this_machine, origin_of
from account_monitor.api.problems import Refused


class Room:
    """So many places; of these one address may have so many, where that is bounded. This machine's own is not."""

    def __init__(self, most: int, most_per_address: int | None = None) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._taken = 0
        self._by_origin: Counter[str] = Counter()

    @contextmanager
    def place_for(self, address: str) -> Iterator[None]:
        """Hold a place. Raises: Refused where there is none."""
        origin = "" if self._most_per_address is None or is_this_machine(address) else origin_of(address)
        if self._taken >= self._most:
            raise Refused(TOO_MANY_CALLS, f"{self._most} calls are being answered; expected to wait for one")
        if origin and self._most_per_address is not None and self._by_origin[origin] >= self._most_per_address:
            told = f"{self._most_per_address} calls from {origin} are being answered; expected to wait for one"
            raise Refused(TOO_MANY_CALLS, told)
        self._taken += 1
        if origin:
            self._by_origin[origin] += 1
        try:
            yield
        finally:
            self._taken -= 1
            if origin:
                self._by_origin[origin] -= 1
                if not self._by_origin[origin]:
                    del self._by_origin[origin]
