"""The service with a rule about equity of its own, run by `benchmarks.alerts`: `python -m benchmarks.alerting FILE`.

Once the service has a rule about a low balance, this file can go: `benchmarks.alerts` then sets `min_balance`, and
starts the service as users do.
"""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from pathlib import Path

from account_monitor.app import App
from account_monitor.cli.service import run_loop
from account_monitor.config import load_settings
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.logs import configure_logging
from account_monitor.monitor.views import Change, View
from account_monitor.notifiers import pace

LEAST_EQUITY = Decimal(5_000_000)


def main(file: Path) -> None:
    """Serve until killed; every alert is a letter of its own, however many there are."""
    pace.BURST = 1_000_000  # type: ignore[misc]  # else the webhook would get summaries
    use_exact_arithmetic()
    settings = load_settings(file, os.environ)
    configure_logging(settings.logging)
    run_loop(_serve(App(settings)))


async def _serve(app: App) -> None:
    def judge(view: View, _change: Change) -> None:
        equity = view.pnl.equity
        if view.account != "main" or equity is None:
            return
        if equity < LEAST_EQUITY:
            app.alarms.fire("main", "MARGIN_CALL", "equity is low", value=equity, threshold=LEAST_EQUITY)
        else:
            app.alarms.resolve("main", "MARGIN_CALL")

    app.desk.observe(judge)
    await app.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
