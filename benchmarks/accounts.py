"""What do 100 accounts in one process cost, each with a fill a second, and do they share what an address may ask for?

`--accounts 200 --unlimited`: as many, and only what they cost. Each holds five positions, priced each second.

The service runs as users run it, against a simulated exchange in another process, over real sockets: a user stream for
each account, statements, mark prices, a journal for each on the disk. First the exchange has no limit of request
weight, which shows the costs; then it has the real one, two fifths of what 100 accounts would use by a statement every
five seconds, and a twelfth of one after every order, which shows who waits. Nobody may be refused or wait for ever.

Beside it, in the same run: the same process while nobody trades, and the processor time of the exchange.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.exchange import UNLIMITED, ExchangeProcess, Report
from exchange_simulator.limits import WEIGHT_A_MINUTE
from tests.integration.service import Service

ACCOUNTS = 100
QUIET_SECONDS = 10.0
OPENING_SECONDS = 6.0  # until each account holds what it will hold
SECONDS = 30.0
LIMITED_QUIET_SECONDS = 65.0  # until the minute is over whose weight the start has used up
LIMITED_SECONDS = 120.0
RECORDED_SECONDS = 120.0
READY_SECONDS = 180.0  # adopting 100 accounts costs twice what a minute allows
MB = 1 << 20


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks accounts")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--rate", type=float, default=1, help="fills a second of each account")
    parser.add_argument("--unlimited", action="store_true", help="leave out the run with the real limit of weight")
    options = parser.parse_args(arguments)
    desk = _Desk(options.accounts, options.rate)
    _measure("no limit", desk, UNLIMITED, QUIET_SECONDS, SECONDS)
    if not options.unlimited:
        _measure(f"{WEIGHT_A_MINUTE:,} a minute", desk, WEIGHT_A_MINUTE, LIMITED_QUIET_SECONDS, LIMITED_SECONDS)


class _Desk(NamedTuple):
    """Whose accounts they are."""

    accounts: int
    rate: float


class _Used(NamedTuple):
    """Shares of a core."""

    service: float
    exchange: float


def _measure(title: str, desk: _Desk, weight: int, quiet_seconds: float, seconds: float) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        ExchangeProcess(accounts=desk.accounts, orders=round(desk.accounts * desk.rate), weight=weight) as exchange,
    ):
        os.environ.update(exchange.environment())
        service = Service(Path(folder), None, exchange.documents())
        service.start(wait=False)
        try:
            ready_seconds = _wait_until_ready(service)
            quiet = _use(service, exchange, quiet_seconds)
            before, started = _spent(service, exchange), time.monotonic()
            exchange.trade()
            time.sleep(OPENING_SECONDS / desk.rate + seconds)
            exchange.stop()
            span = (started, time.monotonic())
            _wait_until_recorded(service, exchange)  # on a busy machine it is behind, and would seem to cost less
            used = _used(before, _spent(service, exchange), span[1] - span[0])
            _print(title, ready_seconds, quiet, used, exchange.report(), span)
            _check(service, exchange)
        finally:
            service.stop()


def _wait_until_ready(service: Service) -> float:
    started = time.monotonic()
    service.wait_until(lambda: service.get("/ready")[0] == 200, "ready", READY_SECONDS)
    return time.monotonic() - started


def _wait_until_recorded(service: Service, exchange: ExchangeProcess) -> None:
    count = len(exchange.report().trades)
    names = [document["name"] for document in exchange.documents()]
    service.wait_until(lambda: sum(map(service.fill_count, names)) >= count, "every fill", RECORDED_SECONDS)


def _spent(service: Service, exchange: ExchangeProcess) -> list[float]:
    """Return the processor time of the service, without the process that writes the history, and of the exchange."""
    assert service.process is not None
    return [sum(psutil.Process(pid).cpu_times()[:2]) for pid in (service.process.pid, exchange.pid)]


def _used(before: list[float], after: list[float], seconds: float) -> _Used:
    return _Used(*((end - start) / seconds for start, end in zip(before, after, strict=True)))


def _use(service: Service, exchange: ExchangeProcess, seconds: float) -> _Used:
    before = _spent(service, exchange)
    time.sleep(seconds)
    return _used(before, _spent(service, exchange), seconds)


def _print(
    title: str, ready_seconds: float, quiet: _Used, used: _Used, report: Report, span: tuple[float, float]
) -> None:  # fmt: skip
    started, ended = span
    asked = [[at for at in times if started <= at <= ended] for times in report.statements.values()]
    traded = sum(started <= at <= ended for at in report.trades.values())
    gaps = [_longest_gap([started, *times, ended]) for times in asked]
    counts = sorted(len(times) * 60 / (ended - started) for times in asked)
    print(f"{title}: {len(asked)} accounts, ready after {ready_seconds:.1f} s")
    print(
        f"  {traded / (ended - started):.0f} fills/s: {used.service:.2f} of a core (nobody trades: "
        f"{quiet.service:.2f}), the exchange {used.exchange:.2f}"
    )
    print(
        f"  statements of an account a minute: {counts[0]:.1f} to {counts[-1]:.1f}, "
        f"median {statistics.median(counts):.1f}; longest wait: median {statistics.median(gaps):.1f} s, "
        f"most {max(gaps):.1f} s; accounts without any: {len(asked) - sum(map(bool, asked))}"
    )
    print(
        f"  weight by minute of the clock: {report.weights}; answers: {report.answers}; "
        f"sent although told to wait: {report.violations}"
    )


def _longest_gap(times: list[float]) -> float:
    return max(end - start for start, end in itertools.pairwise(times))


def _check(service: Service, exchange: ExchangeProcess) -> None:
    """Say what the service says of itself, and hold its books against the exchange's."""
    assert service.process is not None
    count = len(exchange.report().trades)
    names = [document["name"] for document in exchange.documents()]
    recorded = sum(map(service.fill_count, names))
    memory = psutil.Process(service.process.pid).memory_info().rss / MB
    alarms = sum('"alert_fired"' in line for line in service.log_file.read_text().splitlines())
    print(f"  {memory:.0f} MB resident; {recorded:,} of {count:,} fills recorded; alarms raised: {alarms}")
