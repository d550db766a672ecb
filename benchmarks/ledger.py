"""How many fills does the ledger apply in one thread, and does the millionth cost what the thousandth did?

Beside it, in the same run, a peer: nautilus_trader's `Position.apply`, if its environment is there (`make peers`).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from account_monitor.ledger.account import Account, EventList
from benchmarks.fills import fills

BATCH = 1_000
LONG_HISTORY = 1_000_000
ROUNDS = 60
PEER_PYTHON = Path(__file__).parent.parent / ".venv-peers" / "bin" / "python"


def main() -> None:
    """Print the figures."""
    young, old = Account(EventList()), Account(EventList())
    for seq, fill in enumerate(fills(LONG_HISTORY, seed=2), start=1):
        old.apply(seq, fill)
    cost: dict[str, list[float]] = {"thousandth": [], "millionth": []}
    stream = list(fills(ROUNDS * BATCH, seed=3, first=LONG_HISTORY + 1))
    for start in range(0, len(stream), BATCH):
        batch = stream[start : start + BATCH]
        cost["thousandth"].append(_seconds(Account(EventList()) if start % (5 * BATCH) == 0 else young, batch, start))
        cost["millionth"].append(_seconds(old, batch, LONG_HISTORY + start))
    medians = {name: statistics.median(seconds) / BATCH for name, seconds in cost.items()}
    for name, seconds in medians.items():
        best = min(cost[name]) / BATCH
        print(f"apply, {name} fill: median {seconds * 1e6:.2f} µs ({1 / seconds:,.0f}/s), best {1 / best:,.0f}/s")
    print(f"growth with a million fills of history: × {medians['millionth'] / medians['thousandth']:.2f}")
    _peer()


def _seconds(account: Account, batch: list, first: int) -> float:  # type: ignore[type-arg]  # fills
    apply = account.apply
    started = time.perf_counter()
    for seq, fill in enumerate(batch, start=first):
        apply(seq, fill)
    return time.perf_counter() - started


def _peer() -> None:
    if not PEER_PYTHON.exists():
        print("nautilus_trader: not measured; `make peers` sets its environment up")
        return
    subprocess.run([PEER_PYTHON, Path(__file__).with_name("peer_nautilus.py")], check=True, stdout=sys.stdout)
