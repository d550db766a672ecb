"""Run the benchmarks: `make bench`, or `make bench ARGS="ledger latency"` for some of them.

One alone may be given options: `python -m benchmarks failover --minutes 1`.
"""

from __future__ import annotations

import importlib
import itertools
import platform
import sys
from datetime import UTC, datetime

from account_monitor.config import LoggingSettings, LogLevel
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.logs import configure_logging

BENCHMARKS = ("ledger", "nats_pull", "durable", "latency", "restart", "user_stream", "marks", "accounts", "reconcile",
              "venue", "history", "cache", "outages", "margins", "rules", "alerts", "grpc",
              "rest", "abuse", "tokens", "cluster", "failover", "takeover", "page")  # fmt: skip


def main(chosen: list[str]) -> None:
    """Run the chosen benchmarks, all by default, one after the other."""
    options = list(itertools.dropwhile(lambda word: not word.startswith("-"), chosen))
    chosen = chosen[: len(chosen) - len(options)]
    if options and len(chosen) != 1:
        sys.exit(f"options are of one benchmark, and there were {len(chosen)} before {options[0]}")
    unknown = set(chosen) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    use_exact_arithmetic()
    configure_logging(LoggingSettings(level=LogLevel.WARNING))
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {platform.machine()}")
    for name in chosen or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        run = importlib.import_module(f"benchmarks.{name}").main
        run(options) if options else run()


if __name__ == "__main__":
    main(sys.argv[1:])
