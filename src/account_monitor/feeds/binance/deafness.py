"""Deafness: of what has the stream not told, although others have? What stays untold shows that it leaves things out.

Fills that were fetched, fills of which NATS told, and money that the income statement names: while the stream is live,
it owes all of them. What only NATS has told of, the exchange is asked about.
"""

from __future__ import annotations

from typing import NamedTuple

from account_monitor.ledger.events import Fill, is_numbered
from account_monitor.monitor.flows import FlowBook
from account_monitor.monitor.ports import VENUE_STREAM, Recorded, is_venue
from account_monitor.monitor.schedule import Monotonic

DELIVER_SECONDS = 5.0
"""How long the stream may take for what somebody else shows already."""

FLOW_DELIVER_MS = 60_000
"""The same for funding and transfers, whose two times differ."""

ASKED_SECONDS = 3_600.0
"""How long it is remembered that the exchange was asked about a fill; then it will not tell of it any more."""

MAX_OWED = 10_000
"""Of each kind; beyond, the others have to show it."""


class Findings(NamedTuple):
    """What a look found: why the stream is deaf, and why the exchange has to be asked; None for neither."""

    deaf: str | None
    ask: str | None


class Deafness:
    """What the stream of one account owes. Times are of the clock that measures durations, or the exchange's in ms."""

    def __init__(self, flows: FlowBook, monotonic: Monotonic) -> None:
        self._flows = flows
        self._monotonic = monotonic
        self._live_since_ms: int | None = None
        self._owed: dict[str, float] = {}
        """Fills that the exchange told of by request, and until when the stream may tell of them."""
        self._unconfirmed: dict[str, tuple[str, float]] = {}
        """Fills of which others told, each with its symbol, and until when the exchange may tell of it unasked."""
        self._asked: dict[str, float] = {}
        """The same, once the exchange was asked, and until when that is remembered."""
        self._hints: dict[str, str] = {}
        """Fills that may be missing, each with its symbol."""
        self._flows_checked_ms = 0
        self._flows_due = float("-inf")

    @property
    def hints(self) -> dict[str, str]:
        """The fills that may be missing, each with its symbol."""
        return dict(self._hints)

    def hint(self, identity: str, symbol: str) -> None:
        """Note that a fill was spoken of, and may be missing."""
        if len(self._hints) < MAX_OWED:
            self._hints[identity] = symbol

    def searched(self, hints: dict[str, str]) -> None:
        """Note that these hints were looked into."""
        for identity in hints:
            self._hints.pop(identity, None)

    def restart(self) -> None:
        """Owe nothing from before now: the stream was not heard for a while, and what it missed is fetched."""
        self._live_since_ms = None

    def note(self, recorded: Recorded) -> str | None:
        """Take a commit; return why the exchange has to be asked, None where it need not be."""
        for entry in recorded.entries:
            if type(entry.event) is Fill:
                self._note_fill(entry.event, entry.source, is_new=True)
        for delivery in recorded.duplicates:
            if type(delivery.event) is Fill:
                self._note_fill(delivery.event, delivery.source, is_new=False)
        ask = None
        for conflict in recorded.conflicts:
            if conflict.delivery.source == VENUE_STREAM and not conflict.stands:
                self._owed.pop(conflict.recorded.identity, None)  # it did tell, in other words
                self.hint(conflict.recorded.identity, conflict.recorded.symbol)
                ask = f"the stream contradicts what is recorded of {conflict.recorded.identity}"
        return ask

    def look(self, now_ms: int, *, is_live: bool, unsure_ms: int = 0) -> Findings:
        """Return what has been owed for too long. `now_ms`: the exchange's clock, which may be wrong by `unsure_ms`."""
        ask = self._ask_about_unconfirmed(is_live=is_live)
        if not is_live:
            self._live_since_ms = None
            self._owed.clear()
            return Findings(None, ask)
        if self._live_since_ms is None or self._live_since_ms > now_ms + unsure_ms:  # or a clock that was set right
            self._live_since_ms = now_ms + unsure_ms
            self._flows_checked_ms = min(self._flows_checked_ms, now_ms)
        missing = self._overdue(now_ms)
        if missing is None:
            return Findings(None, ask)
        self._owed.clear()
        self._flows_checked_ms = now_ms
        self._live_since_ms = None
        return Findings(f"the exchange has {missing}, which the stream did not deliver", ask)

    def _overdue(self, now_ms: int) -> str | None:
        now = self._monotonic()
        for identity, deadline in self._owed.items():
            if deadline <= now:
                return identity
            break  # they are in the order of their deadlines
        if now < self._flows_due or self._live_since_ms is None:
            return None
        self._flows_due = now + DELIVER_SECONDS
        since_ms = max(self._live_since_ms, self._flows_checked_ms)
        return next(iter(self._flows.unheard(since_ms, now_ms - FLOW_DELIVER_MS)), None)

    def _ask_about_unconfirmed(self, *, is_live: bool) -> str | None:
        now, ask = self._monotonic(), None
        while self._unconfirmed:
            identity, (symbol, deadline) = next(iter(self._unconfirmed.items()))
            if deadline > now:
                break
            del self._unconfirmed[identity]
            if is_live and len(self._asked) < MAX_OWED:
                self._asked[identity] = now + ASKED_SECONDS
                self.hint(identity, symbol)
                ask = f"the exchange has not told of {identity}"
        while self._asked and next(iter(self._asked.values())) <= now:
            del self._asked[next(iter(self._asked))]
        return ask

    def _note_fill(self, fill: Fill, source: str, *, is_new: bool) -> None:
        identity = fill.identity
        is_expected = is_new and self._live_since_ms is not None and fill.at_ms > self._live_since_ms
        due = self._monotonic() + DELIVER_SECONDS
        if not is_venue(source):
            if is_expected and is_numbered(fill.trade_id) and len(self._unconfirmed) < MAX_OWED:
                self._unconfirmed.setdefault(identity, (fill.symbol, due))
            return
        was_unconfirmed = self._unconfirmed.pop(identity, None) is not None
        was_unconfirmed |= self._asked.pop(identity, None) is not None
        self._hints.pop(identity, None)
        if source == VENUE_STREAM:
            self._owed.pop(identity, None)
        elif (is_expected or was_unconfirmed) and len(self._owed) < MAX_OWED:
            self._owed.setdefault(identity, due)
