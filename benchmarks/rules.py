"""What do the thresholds of risk cost for each fill, with few open positions and with many, in calm and in danger?

All rules are on, and every fill makes a view of its own, which is the dearest case. The watch looks at views that were
made right before, so that nothing but its own processor time is measured; its clock says that a fill comes every 2 ms,
and twenty times a second it looks at what lasts, which counts, too. With one position near, the largest would lose the
cushion if its mark fell a little further than the threshold; with all near, all are equal, and an alert of each fires
all the time.

Beside it, in the same run: what the same fills cost the ledger and the view.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias, cast, get_args

from account_monitor.ledger.account import Account, EventList, moved
from account_monitor.ledger.events import Anchor, Fill, MarkPrice, Opening
from account_monitor.ledger.margin import Bracket, MarginTerms
from account_monitor.ledger.rules import Thresholds
from account_monitor.ledger.valuation import Valuation
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import JournalEntry, Recorded
from account_monitor.monitor.risk_watch import LOOK_SECONDS, AccountWatch
from account_monitor.monitor.views import Change, View, ViewBuilder

POSITIONS = (5, 50, 500)
FILLS = 1_000
ROUNDS = 9
FILL_SECONDS = 0.002
FILLS_A_LOOK = round(LOOK_SECONDS / FILL_SECONDS)
D = Decimal

THRESHOLDS = Thresholds(
    min_balance=D(10), max_drawdown_pct=D(-50), max_margin_ratio=D("0.999"), max_leverage=D(1_000),
    min_liquidation_distance_pct=D(5), max_daily_loss=D(100_000),
)  # fmt: skip
"""None is crossed while it is measured: what is measured is the looking."""

Danger: TypeAlias = Literal["calm", "one near", "all near"]

_MARGIN_OF_FIRST = D(700)
_MARGIN_OF_OTHERS = 4
_BRACKETS = (Bracket(D(50_000), D("0.004"), D(0)), Bracket(D(10**9), D("0.01"), D(300)))


class _Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class _World:
    """An account that trades: a monitor, as far as the watch knows it."""

    name = "main"
    failure = None

    def __init__(self, count: int, danger: Danger) -> None:
        symbols = [f"S{number}USDT" for number in range(count)]
        self._account = Account(EventList())
        self._account.apply(1, _opening(symbols, danger))
        valuation = Valuation(self._account)
        valuation.state_terms(MarginTerms(dict.fromkeys(symbols, _BRACKETS), dict.fromkeys(symbols, 20)))
        for symbol in symbols:
            valuation.mark(MarkPrice(symbol, D(100), 1))
        self._builder = ViewBuilder("main", 1, self._account, valuation)
        self._fills = _fills(symbols)
        self._seq = 1
        self.view = self._builder.view

    def trade(self) -> tuple[View, Change]:
        """Return the view after a fill, and what made it."""
        self._seq += 1
        fill = next(self._fills)
        keys, assets = moved([self._account.apply(self._seq, fill)])
        recorded = Recorded([JournalEntry(self._seq, fill, "bench", 1)], [], [], [])
        change = self._builder.after_events(recorded, 0.0, keys, assets)
        return self._builder.view, change


class _Cost(NamedTuple):
    """Seconds of the processor for a fill."""

    watching: float
    making: float
    """Of the ledger and the view."""


def main() -> None:
    """Print the figures."""
    costs = {}
    for danger in get_args(Danger):
        for count in POSITIONS:
            costs[danger, count] = cost = _measure(count, danger)
            beside = f"ledger and view {cost.making * 1e6:5.1f} µs (× {cost.watching / cost.making:.3f})"
            print(f"{danger:>8}, {count:>3} open positions: {cost.watching * 1e6:6.2f} µs a fill; {beside}")
        growth = costs[danger, POSITIONS[-1]].watching / costs[danger, POSITIONS[0]].watching
        print(f"{danger:>8}, growth from {POSITIONS[0]} to {POSITIONS[-1]} positions: × {growth:.2f}")


def _opening(symbols: list[str], danger: Danger) -> Opening:
    anchors = [Anchor(symbol, "BOTH", D(10), D(1_000)) for symbol in symbols]
    if danger == "all near":
        wallet = D(50 + _MARGIN_OF_OTHERS * len(symbols))  # 5 % of what each is worth, and the fees make it less
    else:
        anchors[0] = Anchor(symbols[0], "BOTH", D(1_000), D(100_000))
        wallet = D(_MARGIN_OF_FIRST + _MARGIN_OF_OTHERS * (len(symbols) - 1))
        # Close to 5 % of what the first is worth: it loses 99 hundredths of that, and the bound of it is 101.
        wallet += D(5_025) if danger == "one near" else D(1_000_000)
    return Opening("o", 0, (("USDT", wallet),), tuple(anchors))


def _fills(symbols: list[str]) -> Iterator[Fill]:
    for number in itertools.count():
        side = "BUY" if number % 2 else "SELL"
        symbol = symbols[number // 2 % len(symbols)]
        yield Fill(symbol, str(number + 1), side, D("0.1"), D(100), 2, "BOTH", D("0.004"), "USDT")  # type: ignore[arg-type]


def _measure(count: int, danger: Danger) -> _Cost:
    """Return what a fill costs: the median of the rounds."""
    clock, world = _Clock(), _World(count, danger)
    alarms = AlarmBoard(lambda: int(clock.seconds * 1000))
    watch = AccountWatch(cast(Monitor, world), alarms, clock)
    watch.configure(THRESHOLDS)
    rounds = [_round(world, watch, clock) for _ in range(ROUNDS)]
    fired = sum(alarms.raised.values())
    expected = count if danger == "all near" else 0
    assert len(alarms.firing("main")) == fired == expected, "the thresholds were to be looked at, not crossed"
    return _Cost(*[statistics.median(each) for each in zip(*rounds, strict=True)])


def _round(world: _World, watch: AccountWatch, clock: _Clock) -> _Cost:
    watching = making = 0.0
    for _ in range(FILLS // FILLS_A_LOOK):
        started = time.thread_time()
        made = [world.trade() for _ in range(FILLS_A_LOOK)]
        seen = time.thread_time()
        for view, change in made:
            clock.seconds += FILL_SECONDS
            world.view = view
            watch.note(view, change)
        watch.look()
        making += seen - started
        watching += time.thread_time() - seen
    return _Cost(watching / FILLS, making / FILLS)
