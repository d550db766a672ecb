"""The daily report: what has a day brought each account? Once, when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

import structlog

from account_monitor.errors import JournalError
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.money import to_text
from account_monitor.ledger.valuation import PnL, PositionValue
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import StreamPosition
from account_monitor.monitor.views import View
from account_monitor.notifiers.letters import Letter, figure, moment_text
from account_monitor.notifiers.rounding import money_text

DAY_MS: Final = 86_400_000

SETTLE_MS: Final = 2_000
"""How long after the end of a day its report is made: what happened in its last moments is on its way."""

PUNCTUAL_MS: Final = 5_000
"""Up to how long after a day began the view of that moment counts as that of its beginning."""

ACCOUNTS_IN_ONE: Final = 10
"""Accounts in one letter."""

MAX_POSITIONS: Final = 20
MAX_ALERTS: Final = 10_000

log = structlog.get_logger()


class Due(NamedTuple):
    """A report that has to be sent."""

    letter: Letter
    accounts: tuple[str, ...]
    day_ms: int
    """When the day began that follows the reported one."""


class DailyReports:
    """Reports of the day that ended last, made once for all channels; each channel has its own place in the journals.

    A day is from the view at its beginning to the view at its end. These are kept as the days begin; after a restart
    they are folded from the journal.
    """

    def __init__(self, desk: Desk, *, day_starts_at_minutes: int) -> None:
        self.is_enabled = True
        self._desk = desk
        self._offset_ms = day_starts_at_minutes * 60_000
        self._views: dict[tuple[str, int], View] = {}
        """By account and the beginning of a day, the account as it was then."""
        self._texts: dict[tuple[str, int], str] = {}
        self._reported: dict[tuple[str, str], StreamPosition] = {}
        """By account and source, what was recorded, perhaps not committed yet."""
        self._asked: dict[tuple[str, int], None] = {}
        """By account and the end of a day, the texts that are to be made, the first asked for first."""
        self._is_asked = asyncio.Event()

    async def run(self) -> None:
        """Make what is asked for until cancelled: folding the past takes time, and no alert waits for it."""
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            while self._asked:
                account, day_ms = next(iter(self._asked))
                monitor = self._desk.monitor(account)
                if monitor is not None:  # else it was removed meanwhile
                    self._texts[account, day_ms] = await self._made(monitor, day_ms)
                del self._asked[account, day_ms]

    def look(self, now_ms: int) -> None:
        """Keep the views of the moment in which a day begins; called every second."""
        day_ms = self._day_of(now_ms)
        if now_ms - day_ms < PUNCTUAL_MS:
            for monitor in self._monitors():
                self._views.setdefault((monitor.name, day_ms), monitor.view)
        self._views = {key: view for key, view in self._views.items() if key[1] >= day_ms - DAY_MS}
        self._texts = {key: text for key, text in self._texts.items() if key[1] >= day_ms}

    def due(self, source: str, now_ms: int) -> Due | None:
        """Return the report that the channel of this source has not brought yet, None also while it is being made.

        Who is new begins with today.
        """
        day_ms = self._day_of(now_ms)
        if not self.is_enabled or now_ms < day_ms + SETTLE_MS:
            return None
        monitors = [monitor for monitor in self._monitors() if not self._is_reported(monitor, source, day_ms)]
        if not monitors:
            return None
        chosen = monitors[:ACCOUNTS_IN_ONE]
        missing = [(monitor.name, day_ms) for monitor in chosen if (monitor.name, day_ms) not in self._texts]
        if missing:
            self._asked.update(dict.fromkeys(missing))
            self._is_asked.set()
            return None
        texts = [self._texts[monitor.name, day_ms] for monitor in chosen]
        accounts = tuple(monitor.name for monitor in chosen)
        title = f"Daily report of {', '.join(accounts)}: {moment_text(day_ms - DAY_MS)} to {moment_text(day_ms)}"
        return Due(Letter(title, "\n\n".join(texts)), accounts, day_ms)

    def sent(self, source: str, due: Due) -> None:
        """Record that a channel has brought a report."""
        for account in due.accounts:
            monitor = self._desk.monitor(account)
            if monitor is not None:
                self._record(monitor, source, due.day_ms)

    def _monitors(self) -> Iterator[Monitor]:
        for account in self._desk.accounts:
            monitor = self._desk.monitor(account)
            if monitor is not None and monitor.speaks():
                yield monitor

    def _is_reported(self, monitor: Monitor, source: str, day_ms: int) -> bool:
        places = (self._reported.get((monitor.name, source)), monitor.journal.positions.get(source))
        known = max((each for each in places if each is not None), key=lambda each: each.sequence, default=None)
        if known is None:
            self._record(monitor, source, day_ms)
            return True
        return known.sequence >= day_ms

    def _record(self, monitor: Monitor, source: str, day_ms: int) -> None:
        position = self._reported[monitor.name, source] = StreamPosition(source, "", day_ms)
        monitor.inbox.see(position)

    def _day_of(self, now_ms: int) -> int:
        return (now_ms - self._offset_ms) // DAY_MS * DAY_MS + self._offset_ms

    async def _made(self, monitor: Monitor, day_ms: int) -> str:
        try:
            before = await self._view(monitor, day_ms - DAY_MS)
            after = await self._view(monitor, day_ms)
            alerts = await asyncio.to_thread(_alerts_since, monitor, day_ms - DAY_MS)
        except JournalError as error:
            log.warning("daily_report_incomplete", account=monitor.name, reason=str(error))
            return f"{monitor.name}: what the day brought cannot be told: {error}"
        return "\n".join(report_lines(before, after, [alert for alert in alerts if alert.at_ms < day_ms]))

    async def _view(self, monitor: Monitor, at_ms: int) -> View:
        known = self._views.get((monitor.name, at_ms))
        if known is None:
            async with self._desk.looking_back:
                known = await asyncio.to_thread(monitor.past.believed, at_ms)
            self._views[monitor.name, at_ms] = known
        return known


def report_lines(before: View, after: View, alerts: Sequence[Alert]) -> Iterator[str]:
    """Yield the lines about one account: `alerts` are the transitions of the day."""
    equity, earlier = after.pnl.equity, before.pnl.equity
    change = None if equity is None or earlier is None else equity - earlier
    yield f"{after.account}: equity {money_text(equity)} USD ({money_text(change, signed=True)})"
    yield f"  {_result(before.pnl, after.pnl)}"
    standing = after.standing
    yield f"  drawdown {money_text(standing.drawdown_pct)} % (worst so far {money_text(standing.max_drawdown_pct)} %)"
    held = [position for position in after.positions.values() if position.quantity]
    yield f"  positions: {len(held) or 'none'}"
    yield from (f"    {_position(position)}" for position in held[:MAX_POSITIONS])
    if len(held) > MAX_POSITIONS:
        yield f"    and {len(held) - MAX_POSITIONS} more"
    if after.unpriced:
        yield f"  without a price: {', '.join(after.unpriced[:MAX_POSITIONS])}"
    yield f"  alerts: {_alerts(alerts)}"


def _result(before: PnL, after: PnL) -> str:
    parts = [
        f"{name} {money_text(_difference(getattr(before, field), getattr(after, field), sign), signed=True)}"
        for name, field, sign in (
            ("net", "net_pnl", 1), ("realized", "realized_pnl", 1), ("unrealized", "unrealized_pnl", 1),
            ("fees", "total_fees", -1), ("funding", "funding", 1), ("other", "other", 1),
        )
    ]  # fmt: skip
    return f"{parts[0]} = {', '.join(parts[1:])}"


def _difference(before: Decimal | None, after: Decimal | None, sign: int) -> Decimal | None:
    return None if before is None or after is None else (after - before) * sign


def _position(position: PositionValue) -> str:
    key = position.symbol if position.position_side == "BOTH" else f"{position.symbol}:{position.position_side}"
    entry = "?" if position.entry_price is None else figure(position.entry_price)
    return (
        f"{key} {to_text(position.quantity)} at {entry}, unrealized {money_text(position.unrealized_pnl, signed=True)}"
    )


def _alerts(transitions: Sequence[Alert]) -> str:
    if not transitions:
        return "none"
    latest = {alert.id: alert for alert in transitions}
    fired = sum(alert.state == "FIRING" and not alert.revision for alert in transitions)
    open_ = [f"{alert.type}{f' {alert.symbol}' if alert.symbol else ''}" for alert in latest.values()
             if alert.state == "FIRING"]  # fmt: skip
    still = f"; firing at its end: {', '.join(open_[:MAX_POSITIONS])}" if open_ else ""
    return f"{fired} fired, {sum(alert.state == 'RESOLVED' for alert in transitions)} resolved{still}"


def _alerts_since(monitor: Monitor, from_ms: int) -> list[Alert]:
    """Return the transitions since a time, in journal order."""
    found: list[Alert] = []
    for entry in islice(monitor.journal.remarks("alert"), MAX_ALERTS):
        if entry.recorded_at_ms < from_ms:
            break
        if isinstance(entry.event, Alert) and entry.event.at_ms >= from_ms:
            found.append(entry.event)
    return found[::-1]
