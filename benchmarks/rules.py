"""What do the thresholds of risk cost for each fill, with few open positions and with many, in calm and in danger?

All rules are on, and every fill makes a view of its own, which is the dearest case. The watch looks at views that were
made before, so that nothing but its own processor time is measured; its clock says that a fill comes every 2 ms. In
danger the bound says that positions may be near their liquidation, and they are looked through twenty times a second.

Beside it, in the same run: what the same fills cost the ledger and the view.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import cast

from account_monitor.ledger.account import Account, EventList, moved
from account_monitor.ledger.events import Anchor, Fill, MarkPrice, Opening
from account_monitor.ledger.margin import Bracket, MarginTerms
from account_monitor.ledger.rules import Thresholds
from account_monitor.ledger.valuation import Valuation
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import JournalEntry, Recorded
from account_monitor.monitor.risk_watch import AccountWatch
from account_monitor.monitor.views import Change, View, ViewBuilder

POSITIONS = (5, 50, 500)
FILLS = 5_000
ROUNDS = 7
FILL_SECONDS = 0.002
D = Decimal

THRESHOLDS = Thresholds(
    min_balance=D(10), max_drawdown_pct=D(-50), max_margin_ratio=D("0.9"), max_leverage=D(100),
    min_liquidation_distance_pct=D(5), max_daily_loss=D(100_000),
)  # fmt: skip
"""None is crossed: what is measured is the looking."""

_MARGIN_OF_FIRST = D(700)
_BRACKETS = (Bracket(D(50_000), D("0.004"), D(0)), Bracket(D(10**9), D("0.01"), D(300)))


class _Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class _Shown:
    """A monitor, as far as the watch knows it."""

    name = "main"

    def __init__(self, view: View) -> None:
        self.view = view


def main() -> None:
    """Print the figures."""
    costs = {}
    for count in POSITIONS:
        for is_danger in (False, True):
            views, change, making = _views(count, is_danger=is_danger)
            costs[count, is_danger] = cost = _watching(views, change)
            where = "in danger" if is_danger else "in calm  "
            beside = f"ledger and view {making * 1e6:5.1f} µs (× {cost / making:.3f})"
            print(f"{count:>4} open positions, {where}: {cost * 1e6:5.2f} µs a fill; {beside}")
    calm = costs[POSITIONS[-1], False] / costs[POSITIONS[0], False]
    print(f"growth from {POSITIONS[0]} to {POSITIONS[-1]} positions in calm: × {calm:.2f}")


def _views(count: int, *, is_danger: bool) -> tuple[list[View], Change, float]:
    """Return a view for each fill, and the seconds that one took to make."""
    symbols = [f"S{number}USDT" for number in range(count)]
    # 99 and 101 of a hundred of what the first is worth: what its loss and the bound of it amount to.
    wallet = _MARGIN_OF_FIRST + 4 * (count - 1) + (D(5_150) if is_danger else D(1_000_000))
    anchors = tuple(Anchor(symbol, "BOTH", D(10), D(1_000)) for symbol in symbols[1:])
    anchors = (Anchor(symbols[0], "BOTH", D(1_000), D(100_000)), *anchors)
    account = Account(EventList())
    account.apply(1, Opening("o", 0, (("USDT", wallet),), anchors))
    valuation = Valuation(account)
    valuation.state_terms(MarginTerms(dict.fromkeys(symbols, _BRACKETS), dict.fromkeys(symbols, 20)))
    for symbol in symbols:
        valuation.mark(MarkPrice(symbol, D(100), 1))
    builder = ViewBuilder("main", 1, account, valuation)
    views, change = [], None
    started = time.thread_time()
    for seq, fill in enumerate(_fills(symbols), start=2):
        keys, assets = moved([account.apply(seq, fill)])
        change = builder.after_events(Recorded([JournalEntry(seq, fill, "bench", 1)], [], [], []), 0.0, keys, assets)
        views.append(builder.view)
    making = (time.thread_time() - started) / FILLS
    assert change is not None
    return views, change, making


def _fills(symbols: list[str]) -> Iterator[Fill]:
    for number in range(FILLS):
        side = "BUY" if number % 2 else "SELL"
        symbol = symbols[number // 2 % len(symbols)]
        yield Fill(symbol, str(number + 1), side, D("0.1"), D(100), 2, "BOTH", D("0.004"), "USDT")  # type: ignore[arg-type]


def _watching(views: list[View], change: Change) -> float:
    """Return the seconds that the watch takes for a fill: the median of the rounds."""
    clock, rounds = _Clock(), []
    alarms = AlarmBoard(lambda: int(clock.seconds * 1000))
    watch = AccountWatch(cast(Monitor, _Shown(views[0])), alarms, clock)
    watch.configure(THRESHOLDS)
    for _ in range(ROUNDS):
        started = time.thread_time()
        for view in views:
            clock.seconds += FILL_SECONDS
            watch.note(view, change)
        rounds.append((time.thread_time() - started) / len(views))
    assert not alarms.firing("main"), "the thresholds were to be looked at, not crossed"
    return statistics.median(rounds)
