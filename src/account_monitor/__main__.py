"""The process: exact arithmetic first, then the command, then its exit code."""

from __future__ import annotations

import signal
import sys

from account_monitor.ledger.money import use_exact_arithmetic


def main() -> None:
    """Run the command line. Exit codes: 0 ok, 1 failed, 2 usage or configuration."""
    use_exact_arithmetic()
    if sys.argv[1:2] == ["run"]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the service can reload, there is nothing to reload
    from account_monitor.cli import run  # after the arithmetic is exact

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
