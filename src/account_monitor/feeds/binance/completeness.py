"""Completeness: up to where is it proved that nothing is missing? A later search begins there.

Not what was asked for proves it, nor that an answer came: pages lack rows. It is proved when the exchange states just
what the ledger holds.
"""

from __future__ import annotations

from collections.abc import Mapping

from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.ports import VENUE_INCOME, VENUE_TRADES, StreamPosition

SAVE_EVERY_SECONDS = 60.0
"""How often it is written into the journal; what is not makes the first search after a restart that much longer."""

_PREFIX = f"{VENUE_TRADES}:"


class Completeness:
    """Of one account: the last complete trade id by symbol, and the time up to which all money is booked."""

    def __init__(self, inbox: Inbox) -> None:
        self.trades: dict[str, int] = {}
        self.money_ms = 0
        self._inbox = inbox
        self._save_at = float("-inf")

    def recall(self, positions: Mapping[str, StreamPosition]) -> None:
        """Take over what the journal holds."""
        for source, position in positions.items():
            if source.startswith(_PREFIX):
                self.trades[source.removeprefix(_PREFIX)] = position.sequence
            elif source == VENUE_INCOME:
                self.money_ms = position.sequence

    def prove(self, trades: Mapping[str, int], at_ms: int, now: float) -> None:
        """Note that up to these ids and this time nothing is missing; `now` is the clock that measures durations."""
        for symbol, number in trades.items():
            if number > self.trades.get(symbol, -1):
                self.trades[symbol] = number
        self.money_ms = max(self.money_ms, at_ms)
        if now >= self._save_at:
            self._save_at = now + SAVE_EVERY_SECONDS
            self._save()

    def _save(self) -> None:
        for symbol, number in self.trades.items():
            self._inbox.see(StreamPosition(f"{_PREFIX}{symbol}", "", number))
        self._inbox.see(StreamPosition(VENUE_INCOME, "", self.money_ms))
