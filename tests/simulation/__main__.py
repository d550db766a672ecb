"""Live through many worlds, on every core: `make sim SEEDS=5000`; `make sim FIRST=17 SEEDS=1` repeats one."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import structlog

from account_monitor.ledger.money import use_exact_arithmetic
from tests.simulation.worlds import check

_REPORT_EVERY = 100


def _checked(seed: int) -> str | None:
    """Return what does not hold in a world, None where all does."""
    use_exact_arithmetic()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        check(seed)
    except Exception as error:  # noqa: BLE001  # whatever it was, the seed is named and the others go on
        return f"seed {seed}: {type(error).__name__}: {error}"
    return None


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} worlds would check nothing; expected at least 1")
    return number


def main() -> int:
    """Return the exit code: 1 where a world failed."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=_count, default=300, help="how many worlds (default: 300)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    began, failed = time.monotonic(), 0
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for number, (seed, problem) in enumerate(zip(seeds, pool.map(_checked, seeds), strict=True), start=1):
            if problem is not None:
                failed += 1
                print(f"{problem}\n  again: make sim FIRST={seed} SEEDS=1", flush=True)
            if number % _REPORT_EVERY == 0:
                print(f"{number} worlds after {time.monotonic() - began:.0f} s, {failed} failed", flush=True)
    print(f"{options.seeds - failed} passed, {failed} failed, in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
