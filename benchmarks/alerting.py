"""The service without a limit of letters, run by `benchmarks.alerts`: `python -m benchmarks.alerting FILE`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from account_monitor.cli.service import run_loop, serve
from account_monitor.config import load_settings
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.logs import configure_logging
from account_monitor.notifiers import pace


def main(file: Path) -> None:
    """Serve until stopped; every alert is a letter of its own, however many there are."""
    pace.BURST = 1_000_000  # type: ignore[misc]  # else the webhook would get summaries
    use_exact_arithmetic()
    settings = load_settings(file, os.environ)
    configure_logging(settings.logging)
    run_loop(serve(settings, file))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
