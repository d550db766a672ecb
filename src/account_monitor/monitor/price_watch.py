"""Price watch: do prices still come for what an account without an exchange holds?

An exchange's own prices are watched by its feed. Others are published by somebody whom nobody watches: when that ends,
figures stay as they were, and look as good as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from account_monitor.ledger.valuation import PositionValue
from account_monitor.ledger.worth import Price
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import UNROUTED, Clock
from account_monitor.monitor.reports import time_text
from account_monitor.monitor.schedule import Every, Monotonic

MARK_PRICES: Final = "mark prices"
"""What the alert is about: one for each account, however many of its symbols have no price any more."""

STALE_SECONDS: Final = 300.0
"""How long no new price may come of a symbol that had some."""

LOOK_SECONDS: Final = 1.0

SYMBOLS_NAMED: Final = 10


class _Heard(NamedTuple):
    """The newest price of a symbol, and when it came: by the clock that measures durations, and by that of the day."""

    price: Price
    at: float
    at_ms: int


class PriceWatch:
    """Fires STREAM_STALE while an open position had prices and gets none any more.

    What never had a price but those of its fills is not waited for: the account says `last_fill` of it.
    """

    def __init__(
        self,
        desk: Desk,
        alarms: AlarmBoard,
        *,
        clock: Clock,
        monotonic: Monotonic,
        subject: str = "trading.prices",
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        """`subject`: where prices are published, for people to look."""
        self._desk = desk
        self._alarms = alarms
        self._clock = clock
        self._monotonic = monotonic
        self._subject = subject
        self._stale_seconds = stale_seconds
        self._heard: dict[str, dict[str, _Heard]] = {}
        """By account and symbol, of open positions."""
        self._due = Every(LOOK_SECONDS, monotonic)

    def look(self) -> None:
        """Fire and resolve, once a second at most."""
        if not self._due.is_due():
            return
        monitors = {monitor.name: monitor for monitor in self._desk.monitors() if _is_watched(monitor)}
        self._heard = {account: heard for account, heard in self._heard.items() if account in monitors}
        for monitor in monitors.values():
            self.look_at(monitor)

    def look_at(self, monitor: Monitor) -> None:
        """Fire or resolve for one account. Called before `settle`, so that a restart ends nothing that still holds."""
        account = monitor.name
        prices = _marks_of(monitor.view.positions)
        is_stale = account not in self._heard and self._is_firing(account)
        known = self._heard.get(account, {})
        self._heard[account] = heard = {
            symbol: before
            if (before := known.get(symbol)) is not None and not _is_newer(price, before.price)
            else self._news(price, is_old=is_stale)
            for symbol, price in prices.items()
        }
        since = self._monotonic() - self._stale_seconds
        silent = {symbol: each.at_ms for symbol, each in heard.items() if each.at <= since}
        if silent:
            self._alarms.fire(account, "STREAM_STALE", self._text(silent), symbol=MARK_PRICES)
        else:
            self._alarms.resolve(account, "STREAM_STALE", symbol=MARK_PRICES)

    def _news(self, price: Price, *, is_old: bool) -> _Heard:
        """Return a price as it came now; after a restart, where it was missed before, as of its own time."""
        now, now_ms = self._monotonic(), self._clock()
        if not is_old or price.at_ms >= now_ms:
            return _Heard(price, now, now_ms)
        return _Heard(price, now - (now_ms - price.at_ms) / 1000, price.at_ms)

    def _is_firing(self, account: str) -> bool:
        return any(alert.key == ("STREAM_STALE", MARK_PRICES) for alert in self._alarms.firing(account))

    def _text(self, silent: Mapping[str, int]) -> str:
        names = sorted(silent)
        more = f" and {len(names) - SYMBOLS_NAMED} more" if len(names) > SYMBOLS_NAMED else ""
        since = time_text(min(silent.values()))
        return (
            f"no price of {', '.join(names[:SYMBOLS_NAMED])}{more} on {self._subject} since {since};"
            " these positions are valued at their last ones; see whether their publisher runs"
        )


def _is_watched(monitor: Monitor) -> bool:
    return not monitor.has_venue and monitor.name != UNROUTED


def _is_newer(price: Price, before: Price) -> bool:
    """Whether somebody published it since; a journal that is read again may know an older one."""
    return price.at_ms > before.at_ms or (price.at_ms == before.at_ms and price.price != before.price)


def _marks_of(positions: Mapping[str, PositionValue]) -> dict[str, Price]:
    """Return the mark prices of what is held, by symbol."""
    return {
        position.symbol: position.price
        for position in positions.values()
        if position.quantity and position.price is not None and position.price.source == "mark"
    }
