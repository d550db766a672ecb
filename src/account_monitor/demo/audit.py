"""Audit: does the ledger equal the exchange's own books? Compared only while nothing moves."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import aiohttp

from account_monitor.clock import now_ms
from account_monitor.demo.exchange import BackDoor
from account_monitor.ledger.money import ZERO, decimal_from_text, to_text
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.views import View

LOOK_SECONDS = 0.2
APART_SECONDS = 0.03
"""Between the two looks at the books that have to be the same: longer than a fill takes to be recorded here."""

PATIENCE_SECONDS = 1.5
"""How long a difference may be on its way here, before it is called one."""

OLD_SECONDS = 1.5
"""How old a result may be without its age being said."""

_REMEMBERED = 300
_MOST_SHOWN = 3


class Holdings(NamedTuple):
    """What an account holds: wallets by asset, open quantities and realized P&L by position key."""

    wallets: Mapping[str, Decimal]
    quantities: Mapping[str, Decimal]
    realized: Mapping[str, Decimal]


class Comparison(NamedTuple):
    """How many of each are equal, of how many, and what differs, in words."""

    wallets: tuple[int, int]
    quantities: tuple[int, int]
    realized: tuple[int, int]
    differences: tuple[str, ...]

    @property
    def text(self) -> str:
        """Say it in a line."""
        counts = ", ".join(
            f"{name} {equal} of {all_}"
            for name, (equal, all_) in (
                ("wallets", self.wallets), ("positions", self.quantities), ("realized P&L", self.realized),
            )
        )  # fmt: skip
        if not self.differences:
            return f"equal to the exchange's own books: {counts}"
        shown = "; ".join(self.differences[:_MOST_SHOWN])
        more = len(self.differences) - _MOST_SHOWN
        return f"not equal to the exchange's own books: {counts}: {shown}{f'; and {more} more' if more > 0 else ''}"


def compare(ours: Holdings, theirs: Holdings) -> Comparison:
    """Compare, to the last digit."""
    differences: list[str] = []
    counts = []
    for name, mine, stated in zip(("wallet", "position", "realized P&L"), ours, theirs, strict=True):
        names = sorted(mine.keys() | stated.keys())
        unequal = [key for key in names if mine.get(key, ZERO) != stated.get(key, ZERO)]
        counts.append((len(names) - len(unequal), len(names)))
        differences += [
            f"{name} {key} is {to_text(mine.get(key, ZERO))} here, {to_text(stated.get(key, ZERO))} there"
            for key in unequal
        ]
    return Comparison(counts[0], counts[1], counts[2], tuple(differences))


def holdings_of_view(view: View) -> Holdings:
    """Return what the ledger holds; a wallet that is not known is not zero, so it is left out."""
    positions = view.positions.values()
    return Holdings(
        {asset: balance.total for asset, balance in view.balances.items() if balance.total is not None},
        {position.key: position.quantity for position in positions if position.quantity},
        {position.key: position.realized_pnl for position in positions if position.realized_pnl},
    )


def holdings_of_books(books: Mapping[str, Any], before: Mapping[str, Decimal]) -> Holdings:
    """Return what the exchange's books say; of what was realized, that which came after `before`."""
    realized = _numbers(books["realized"])
    since = {key: realized.get(key, ZERO) - before.get(key, ZERO) for key in realized.keys() | before.keys()}
    return Holdings(
        _numbers(books["wallets"]),
        _numbers(books["positions"]),
        {key: amount for key, amount in since.items() if amount},
    )


def _numbers(texts: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: decimal_from_text(text) for name, text in texts.items()}


class Auditor:
    """Compares a monitored account with the books of the simulated exchange, again and again."""

    def __init__(
        self,
        back_door: BackDoor,
        monitor: Callable[[], Monitor | None],
        *,
        clock: Callable[[], int] = now_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.equal_at: float | None = None
        """When, by `monotonic`, the two were last found equal."""
        self._back_door = back_door
        self._monitor = monitor
        self._clock = clock
        self._monotonic = monotonic
        self._seen: deque[tuple[int, dict[str, Decimal]]] = deque(maxlen=_REMEMBERED)
        self._before: dict[str, Decimal] | None = None
        self._differs_since: float | None = None
        self._result = ""
        self._result_at = monotonic()

    @property
    def text(self) -> str:
        """Say in a line what the last comparison found, and how old it is if that matters."""
        age = self._monotonic() - self._result_at
        if not self._result:
            return "moving: not compared with the exchange's own books yet"
        return self._result if age < OLD_SECONDS else f"moving; {age:.0f} s ago {self._result}"

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            try:
                await self._look()
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
                self._say(f"the exchange's own books cannot be read: {type(error).__name__}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        monitor = self._monitor()
        seq = None if monitor is None else monitor.view.seq
        first = await self._back_door.books()
        self._remember(first)
        if monitor is None or monitor.opening is None:
            return
        if self._before is None:
            self._before = self._realized_at(monitor.opening.at_ms)
        await asyncio.sleep(APART_SECONDS)
        second = await self._back_door.books()
        if first == second and monitor.view.seq == seq:
            self._note(compare(holdings_of_view(monitor.view), holdings_of_books(second, self._before)))

    def _remember(self, books: Mapping[str, Any]) -> None:
        """Keep what was realized by now: the account is adopted while it trades, and what was before is not ours."""
        if self._before is None:
            self._seen.append((self._clock(), _numbers(books["realized"])))

    def _realized_at(self, at_ms: int) -> dict[str, Decimal]:
        """Return what was realized when the account was adopted. It held still then, for longer than a look takes."""
        return min(self._seen, key=lambda seen: abs(seen[0] - at_ms))[1]

    def _note(self, comparison: Comparison) -> None:
        now = self._monotonic()
        if not comparison.differences:
            self._differs_since, self.equal_at = None, now
            self._say(comparison.text)
            return
        if self._differs_since is None:
            self._differs_since = now
        if now - self._differs_since >= PATIENCE_SECONDS:
            self._say(comparison.text)

    def _say(self, text: str) -> None:
        self._result, self._result_at = text, self._monotonic()
