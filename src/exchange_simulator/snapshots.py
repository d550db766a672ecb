"""Snapshots: what did account, balance and positions look like a moment ago?

The real venue answers from copies that lag behind its stream. A copy is kept after each change of an account, once the
change is complete, and only while the fault that wants them is on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from exchange_simulator import reports
from exchange_simulator.accounts import Account
from exchange_simulator.venue import Venue

_MOST = 500  # copies of one account; the oldest goes first

_REPORTS: Mapping[str, Callable[[Venue, Account], Any]] = {
    "/fapi/v1/account": lambda venue, account: reports.account(venue, account, 1),
    "/fapi/v2/account": lambda venue, account: reports.account(venue, account, 2),
    "/fapi/v3/account": lambda venue, account: reports.account(venue, account, 3),
    "/fapi/v1/balance": lambda venue, account: reports.balance(venue, account, 1),
    "/fapi/v2/balance": lambda venue, account: reports.balance(venue, account, 2),
    "/fapi/v3/balance": lambda venue, account: reports.balance(venue, account, 3),
    "/fapi/v1/positionRisk": lambda venue, account: reports.position_risk(venue, account, None, 1),
    "/fapi/v2/positionRisk": lambda venue, account: reports.position_risk(venue, account, None, 2),
    "/fapi/v3/positionRisk": lambda venue, account: reports.position_risk(venue, account, None, 3),
}

PATHS = frozenset(_REPORTS)
"""The paths that may be answered from a copy."""

_Copy = tuple[int, dict[str, Any]]


class Snapshots:
    """The copies of all accounts."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._copies: dict[str, list[_Copy]] = {}
        self._changed: set[str] = set()

    def note_change(self, api_key: str) -> None:
        """Note that an account changed, or is changing just now."""
        self._changed.add(api_key)

    def settle(self, now_ms: int) -> None:
        """Copy what changed. Call this when nothing is changing."""
        for api_key, account in self._venue.accounts.items():
            if api_key in self._changed or api_key not in self._copies:
                copies = self._copies.setdefault(api_key, [])
                copies.append((now_ms, {path: report(self._venue, account) for path, report in _REPORTS.items()}))
                del copies[:-_MOST]
        self._changed.clear()

    def forget(self) -> None:
        """Keep nothing more; nobody asks for it."""
        self._copies.clear()
        self._changed.clear()

    def at(self, api_key: str, path: str, at_ms: int, symbol: str | None) -> Any | None:
        """Return the answer as it was, or the oldest that is kept; None where nothing is."""
        copies = self._copies.get(api_key)
        if not copies:
            return None
        answers = next((answers for taken_ms, answers in reversed(copies) if taken_ms <= at_ms), copies[0][1])
        answer = answers[path]
        if symbol and isinstance(answer, list):
            return [row for row in answer if row.get("symbol", symbol) == symbol]
        return answer
