"""Countdown: whose open orders of a symbol are cancelled when nothing more is heard from them?"""

from __future__ import annotations

from collections.abc import Callable

from exchange_simulator.accounts import Account
from exchange_simulator.errors import VenueError
from exchange_simulator.venue import Venue


class Countdown:
    """The running countdowns of `countdownCancelAll`, one for each account and symbol."""

    def __init__(self, venue: Venue, clock: Callable[[], int]) -> None:
        self._venue = venue
        self._clock = clock
        self._due: dict[tuple[str, str], tuple[int, Account]] = {}

    def start(self, account: Account, symbol: str, milliseconds: int) -> None:
        """Start a countdown anew; 0 stops it."""
        if milliseconds:
            self._due[account.api_key, symbol] = (self._clock() + milliseconds, account)
        else:
            self._due.pop((account.api_key, symbol), None)

    def next_due_ms(self) -> int | None:
        return min((due_ms for due_ms, _ in self._due.values()), default=None)

    def advance(self) -> None:
        now = self._clock()
        for (api_key, symbol), (due_ms, account) in list(self._due.items()):
            if due_ms <= now:
                del self._due[api_key, symbol]
                try:
                    self._venue.cancel_all_orders(account, {"symbol": symbol})
                except VenueError:
                    pass  # nothing was open
