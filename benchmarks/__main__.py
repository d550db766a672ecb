"""Run the benchmarks: `make bench`, or `make bench ARGS="ledger latency"` for some of them."""

from __future__ import annotations

import importlib
import platform
import sys
from datetime import UTC, datetime

from account_monitor.config import LoggingSettings, LogLevel
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.logs import configure_logging

BENCHMARKS = ("ledger", "nats_pull", "durable", "latency", "restart", "user_stream", "marks", "accounts", "reconcile",
              "venue", "history", "cache", "outages", "margins", "rules", "alerts", "grpc",
              "rest", "abuse", "tokens", "cluster", "takeover", "page")  # fmt: skip


def main(chosen: list[str]) -> None:
    """Run the chosen benchmarks, all by default, one after the other."""
    unknown = set(chosen) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    use_exact_arithmetic()
    configure_logging(LoggingSettings(level=LogLevel.WARNING))
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {platform.machine()}")
    for name in chosen or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
