"""What does a mark cost once margins are judged, and does it grow with the positions that are open?

Each size in turn, in rounds, so that a noisy minute hits all alike. `worth` values the position without any terms.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from random import Random

from account_monitor.ledger.account import fold
from account_monitor.ledger.events import Event, Fill, MarkPrice, Opening
from account_monitor.ledger.liquidation import liquidation_of, liquidations
from account_monitor.ledger.margin import Bracket, MarginStated, MarginTerms
from account_monitor.ledger.valuation import Valuation
from account_monitor.ledger.whatif import Holdings, Shocks, liquidated

SIZES = (1, 10, 100, 1_000)
MARKS = 400
ROUNDS = 15
TIERS = tuple(
    Bracket(Decimal(10) ** (4 + number), Decimal(number + 1).scaleb(-2), Decimal(number)) for number in range(10)
)


def main() -> None:
    """Print the figures."""
    worlds = {
        (kind, size): _valuation(size, kind) for size in SIZES for kind in ("worth", "cross", "isolated")
    }  # fmt: skip
    seconds: dict[tuple[str, int], list[float]] = {which: [] for which in worlds}
    for number in range(ROUNDS):
        for which, valuation in worlds.items():
            seconds[which].append(_marks(valuation, which[1], seed=number))
    for kind in ("worth", "cross", "isolated"):
        figures = ", ".join(f"{size} {statistics.median(seconds[kind, size]) * 1e6:.1f} µs" for size in SIZES)
        growth = statistics.median(seconds[kind, SIZES[-1]]) / statistics.median(seconds[kind, SIZES[1]])
        print(f"a mark and what follows from it, {kind}, by open positions: {figures}; 10 to 1,000: × {growth:.2f}")
    for size in SIZES:
        _readers(worlds["cross", size], size)


def _valuation(size: int, kind: str) -> Valuation:
    symbols = [f"S{number}USDT" for number in range(size)]
    events: list[Event] = [Opening("o", 0, (("USDT", Decimal(2_000 * size)),))]
    events += [Fill(symbol, "1", "BUY", Decimal(100), Decimal(100), 1) for symbol in symbols]
    valuation = Valuation(fold(events))
    if kind != "worth":
        isolated = frozenset(symbols) if kind == "isolated" else frozenset[str]()
        valuation.state_terms(MarginTerms(dict.fromkeys(symbols, TIERS), dict.fromkeys(symbols, 10), isolated))
        valuation.state_margin(MarginStated({symbol: Decimal(1_000) for symbol in isolated}))
    return valuation


def _marks(valuation: Valuation, size: int, seed: int) -> float:
    """Return seconds by mark."""
    chance = Random(seed)
    marks = [
        MarkPrice(f"S{chance.randrange(size)}USDT", Decimal(chance.randint(9_500, 10_500)).scaleb(-2), number)
        for number in range(seed * MARKS, (seed + 1) * MARKS)
    ]
    started = time.perf_counter()
    for mark in marks:
        valuation.mark(mark)
        valuation.margin()
    return (time.perf_counter() - started) / MARKS


def _readers(valuation: Valuation, size: int) -> None:
    use, balances = valuation.margin(), valuation.balances()
    assert use.is_known
    held = Holdings(valuation.positions, balances, use)
    one = _best(lambda: liquidation_of("S0USDT", valuation.positions, use))
    every = _best(lambda: liquidations(valuation.positions, use))
    stressed = _best(lambda: liquidated(held, Shocks({}, Decimal(-99))), rounds=3)
    print(
        f"{size} positions: the liquidation price of one {one * 1e6:.0f} µs, of all {every * 1e3:.2f} ms;"
        f" what falls on the way down by 99 % {stressed * 1e3:.1f} ms"
    )


def _best(run: Callable[[], object], *, rounds: int = 7) -> float:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return min(taken)
