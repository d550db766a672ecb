"""Completeness: up to where is it proved that nothing is missing? A later search begins there.

Not what was asked for proves it, nor that an answer came: pages lack rows. It is proved when the exchange states just
what the ledger holds. Where a difference stays that nothing explains, its cause may come late, so the proof does, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from account_monitor.ledger.events import Fill, trade_number
from account_monitor.monitor.inbox import Inbox
from account_monitor.monitor.ports import VENUE_INCOME, VENUE_TRADES, StreamPosition

SAVE_EVERY_SECONDS = 60.0
"""How often it is written into the journal; what is not makes the first search after a restart that much longer."""

LATE_SECONDS = 1_800.0
"""How long a cause may take to show up in trades and income."""

_PREFIX = f"{VENUE_TRADES}:"


class _Proof(NamedTuple):
    """What may be proved later, and since when it waits."""

    trades: dict[str, int]
    at_ms: int
    since: float


class Completeness:
    """Of one account: the last complete trade id by symbol, and the time up to which all money is booked."""

    def __init__(self, inbox: Inbox) -> None:
        self.trades: dict[str, int] = {}
        self.money_ms = 0
        self._told: dict[str, int] = {}
        self._inbox = inbox
        self._save_at = float("-inf")
        self._waiting: _Proof | None = None

    @property
    def told(self) -> dict[str, int]:
        """By symbol, the highest trade id of which the exchange itself has told."""
        return dict(self._told)

    def note(self, fill: Fill) -> None:
        """Note a fill of which the exchange itself has told."""
        number = trade_number(fill.trade_id)
        if number is not None and number > self._told.get(fill.symbol, -1):
            self._told[fill.symbol] = number

    def recall(self, positions: Mapping[str, StreamPosition]) -> None:
        """Take over what the journal holds."""
        for source, position in positions.items():
            if source.startswith(_PREFIX):
                self.trades[source.removeprefix(_PREFIX)] = position.sequence
            elif source == VENUE_INCOME:
                self.money_ms = position.sequence

    def prove(self, trades: Mapping[str, int], at_ms: int, now: float) -> None:
        """Note that up to these ids and this time nothing is missing; `now` is the clock that measures durations."""
        self._waiting = None
        self._prove(trades, at_ms, now)

    def prove_late(self, trades: Mapping[str, int], at_ms: int, now: float) -> None:
        """Note the same but for what nothing explains: it holds once its cause has had the time to show up."""
        waiting = self._waiting
        if waiting is not None and now - waiting.since >= LATE_SECONDS:
            self._prove(waiting.trades, waiting.at_ms, now)
            waiting = None
        if waiting is None:
            self._waiting = _Proof(dict(trades), at_ms, now)

    def _prove(self, trades: Mapping[str, int], at_ms: int, now: float) -> None:
        news = {symbol: number for symbol, number in trades.items() if number > self.trades.get(symbol, -1)}
        if not news and at_ms <= self.money_ms:
            return  # nothing to save: the next that is proved must not wait for it
        self.trades |= news
        self.money_ms = max(self.money_ms, at_ms)
        if now >= self._save_at:
            self._save_at = now + SAVE_EVERY_SECONDS
            self._save()

    def _save(self) -> None:
        for symbol, number in self.trades.items():
            self._inbox.see(StreamPosition(f"{_PREFIX}{symbol}", "", number))
        self._inbox.see(StreamPosition(VENUE_INCOME, "", self.money_ms))
