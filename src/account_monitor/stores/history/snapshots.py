"""Snapshots: what had an account, and each position of it, brought up to a moment?

They are folded from the journal, at the prices that were journaled: what is written after an outage of the store is
what would have been written then.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from account_monitor.ledger.account import Account, moved
from account_monitor.ledger.events import Event, Marks
from account_monitor.ledger.valuation import PnL, Valuation
from account_monitor.monitor.ports import Figures, JournalEntry

IDLE_MS = 60_000
"""How often a flat account is recorded although nothing happens: a gap says that nobody was watching."""


class Snapshot(NamedTuple):
    """The figures of an account (`symbol` None) or of a position key, as of a journal sequence and its prices."""

    symbol: str | None
    at_ms: int
    figures: Figures
    win_rate: Decimal | None
    total_trades: int
    seq: int


class Snapshots:
    """Follows the entries of one journal, and takes snapshots of what they make of the account.

    One as soon as something changed, but no two within the interval, except for the one at the end; while nothing
    changes one each interval, or each minute where nothing is open.
    """

    def __init__(self, account: Account, *, interval_ms: int, latest_ms: int = 0, recorded_ms: int = 0) -> None:
        """Of an account that goes on: `latest_ms` is the time of its last snapshot, `recorded_ms` of its last entry."""
        self._account = account
        self._valuation = Valuation(account)
        self._interval_ms = interval_ms
        self.latest_ms = latest_ms
        """The time of the youngest snapshot, by the clock that recorded the entries."""
        self._recorded_ms = recorded_ms
        """When the last entry was recorded that is in the figures."""
        self._is_changed = account.state.has_begun
        # What changed last may not have been taken before the end: every position is told of once more.
        self._changed_keys = set(self._valuation.positions)

    @property
    def state_seq(self) -> int:
        """The sequence of the last entry that is in the figures."""
        return self._account.state.seq

    def follow(self, entries: Sequence[JournalEntry]) -> list[Snapshot]:
        """Take the next entries; return the snapshots that became due on the way."""
        taken: list[Snapshot] = []
        group: list[tuple[int, Event]] = []
        for seq, event, _, recorded_ms in entries:
            if recorded_ms < self.latest_ms - IDLE_MS:  # the clock of the machine was put back
                self.latest_ms, self._recorded_ms = recorded_ms - self._interval_ms, recorded_ms
            if (group or self._is_changed) and recorded_ms - self.latest_ms >= self._interval_ms:
                self._apply(group)
                group.clear()
                if self._is_changed and self._recorded_ms > self.latest_ms:
                    taken += self._take(max(self._recorded_ms, self.latest_ms + self._interval_ms))
            group.append((seq, event))
            self._recorded_ms = recorded_ms
        self._apply(group)
        return taken

    def look(self, now_ms: int, *, is_end: bool = False) -> list[Snapshot]:
        """Return the snapshots that are due now that every entry was taken; `is_end`: nobody looks for a while."""
        if is_end and self._is_changed and self._account.state.has_begun:
            return self._take(max(now_ms, self.latest_ms + 1))
        since_ms = now_ms - self.latest_ms
        was_put_back = since_ms < -IDLE_MS  # the clock of the machine
        if (since_ms < self._interval_ms and not was_put_back) or not self._account.state.has_begun:
            return []
        open_keys = [key for key, position in self._valuation.positions.items() if position.quantity]
        if not self._is_changed and not open_keys and abs(since_ms) < IDLE_MS:
            return []
        self._changed_keys.update(open_keys)
        return self._take(now_ms)

    def _apply(self, group: list[tuple[int, Event]]) -> None:
        if not group:
            return
        keys, assets = moved(self._account.apply_all(group))
        changed = self._valuation.refresh(keys)
        for _, event in group:
            if type(event) is Marks:
                for mark in event.prices:
                    changed.update(self._valuation.mark(mark))
        if changed or assets or any(type(event) is Marks for _, event in group):
            self._is_changed = True
            self._changed_keys.update(changed)

    def _take(self, at_ms: int) -> list[Snapshot]:
        valuation, seq = self._valuation, self.state_seq
        snapshots = [_snapshot(None, at_ms, valuation.pnl(), seq)]
        snapshots += [_snapshot(key, at_ms, valuation.pnl_of(key), seq) for key in sorted(self._changed_keys)]
        self._is_changed = False
        self._changed_keys.clear()
        self.latest_ms = at_ms
        return snapshots


def _snapshot(symbol: str | None, at_ms: int, pnl: PnL, seq: int) -> Snapshot:
    figures = Figures(
        pnl.equity, pnl.realized_pnl, pnl.unrealized_pnl, pnl.total_pnl, pnl.total_fees, pnl.funding, pnl.other,
        pnl.net_pnl,
    )  # fmt: skip
    return Snapshot(symbol, at_ms, figures, pnl.statistics.win_rate, pnl.statistics.total_trades, seq)
