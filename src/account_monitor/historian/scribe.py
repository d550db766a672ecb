"""Scribe: the process that writes the history. It ends when the service does, however that ends.

Its orders come down the standard input; the end of that is the end of the work, once what is recorded is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from account_monitor.clock import now_ms
from account_monitor.config import LoggingSettings
from account_monitor.config.secrets import Secret
from account_monitor.errors import HistoryUnavailable
from account_monitor.historian.messages import (
    LARGEST_LINE,
    Accounts,
    Assignment,
    Hurry,
    Opened,
    Report,
    Tenure,
    Written,
    decode_order,
    line_of,
)
from account_monitor.ledger.money import use_exact_arithmetic
from account_monitor.logs import configure_logging
from account_monitor.stores.history.buckets import Level
from account_monitor.stores.history.keeping import Keeping
from account_monitor.stores.history.opening import history_store
from account_monitor.stores.history.projector import Progress, Projector
from account_monitor.stores.journal_file import journal_path

if TYPE_CHECKING:
    from account_monitor.stores.history.postgres import Connection

TELL_SECONDS = 0.1
"""How often it is told how far the history is, at most, unless somebody waits to hear of an account."""

AWAITED_SECONDS = 2.0
"""How long whoever waits to hear of an account does so."""

PRUNE_SECONDS = 600.0
LAST_SECONDS = 1.5
"""How long the rest may take once there are no more orders."""

SWITCH_SECONDS = 0.001
"""How soon the thread that makes a batch gives way to the loop, which has to answer the database."""

NICENESS = 10
"""The monitor comes first, where processors are few."""

log = structlog.get_logger()


class Scribe:
    """Writes the journals of some accounts into one history."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._store = history_store(
            assignment.database_url,
            Path(assignment.data_dir),
            clock=now_ms,
            password=None if assignment.password is None else Secret(assignment.password),
            keeping=Keeping(assignment.retention_ms, assignment.compress_after_ms),
            fence=None if assignment.tenures is None else self._fence,
        )
        self._group: asyncio.TaskGroup
        self._projectors: dict[str, Projector] = {}
        self._assigned: dict[str, Tenure | None] = {}
        """Under which lease each projector was begun."""
        self._tenures: dict[str, Tenure] = {}
        """By account, the lease under which it is written now."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, Report] = {}
        self._awaited: dict[str, float] = {}
        """Accounts of which somebody waits to hear, and until when."""
        self._is_urgent = asyncio.Event()
        self._description = ""

    async def run(self, orders: asyncio.StreamReader) -> None:
        """Work until there are no more orders, and then to the end of what is recorded. A defect ends it at once."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            others = [group.create_task(self._prune()), group.create_task(self._tell())]
            self._assign(self._assignment)
            while line := await orders.readline():
                order = decode_order(line)
                if isinstance(order, Accounts):
                    self._assign(order)
                elif isinstance(order, Hurry) and (projector := self._projectors.get(order.account)) is not None:
                    self._await(order.account)
                    projector.hurry()
            for projector in self._projectors.values():
                projector.stop()
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=LAST_SECONDS)
            for task in (*others, *self._tasks.values()):
                task.cancel()
        self._say_news()
        await self._store.close()

    def _assign(self, order: Assignment | Accounts) -> None:
        tenures = order.tenures or {}
        wanted = {account: tenures.get(account) for account in order.accounts}
        for account in list(self._projectors):
            if account not in wanted or wanted[account] != self._assigned[account]:
                self._await(account)
                self._projectors.pop(account).stop()
        for account, tenure in wanted.items():
            if account not in self._projectors:
                self._begin(account, tenure)

    def _begin(self, account: str, tenure: Tenure | None) -> None:
        assignment = self._assignment
        self._assigned[account] = tenure
        projector = self._projectors[account] = Projector(
            account,
            journal_path(Path(assignment.data_dir), account),
            self._store,
            usd_assets=frozenset(assignment.usd_assets),
            day_starts_at=assignment.day_starts_at,
            interval_ms=assignment.snapshot_interval_ms,
            clock=now_ms,
            tell=lambda progress: self._note(progress, tenure),
        )
        before = self._tasks.get(account)
        self._tasks[account] = self._group.create_task(self._follow(account, projector, tenure, after=before))

    async def _follow(
        self, account: str, projector: Projector, tenure: Tenure | None, *, after: asyncio.Task[None] | None
    ) -> None:
        """Run a projector once the one before it, of an account that was away meanwhile, has ended."""
        if after is not None:
            await asyncio.wait([after])
        if tenure is not None:
            self._tenures[account] = tenure
        await projector.run()

    async def _fence(self, connection: Connection, account: str) -> None:
        """Let a transaction write of an account if its lease is still held. Raises: LeaseLost."""
        from account_monitor.cluster.postgres import fence  # with leases only

        epoch, session = msgspec.structs.astuple(self._tenures[account])
        await fence(connection, account, epoch, session, is_lease=not self._assignment.has_leases_elsewhere)

    def _note(self, progress: Progress, tenure: Tenure | None) -> None:
        account, seq, problem, needs_help, is_lost = progress
        lost_epoch = tenure.epoch if is_lost and tenure is not None else None
        self._news[account] = Written(account, seq, problem, needs_help, lost_epoch)
        if account in self._awaited:
            self._is_urgent.set()

    def _await(self, account: str) -> None:
        """Tell at once, for a moment, what is written of an account: it is handed over, or an order waits for it."""
        now = asyncio.get_running_loop().time()
        self._awaited = {each: until for each, until in self._awaited.items() if until > now}
        self._awaited[account] = now + AWAITED_SECONDS

    async def _tell(self) -> None:
        """Tell what is written: of many accounts together, and at once where somebody waits."""
        while True:
            self._is_urgent.clear()
            self._say_news()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_SECONDS):
                    await self._is_urgent.wait()

    def _say_news(self) -> None:
        if self._store.description != self._description:
            self._description = self._store.description
            _say(Opened(self._description))
        for report in self._news.values():
            _say(report)
        self._news.clear()
        sys.stdout.flush()

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            try:
                before_ms = now_ms() - self._assignment.retention_ms
                await self._store.prune(before_ms - before_ms % Level.DAY.value)  # no interval is cut in two
            except HistoryUnavailable as error:
                log.warning("history_not_pruned", reason=str(error))


def _say(report: Report) -> None:
    sys.stdout.buffer.write(line_of(report))


def ready_interpreter() -> None:
    """Let the interpreter do its work for a thread beside a loop, and not look for garbage in what never is any."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # a sixth of the time of this process: each batch has so many rows that all objects are looked at


async def _work() -> None:
    orders = asyncio.StreamReader(limit=LARGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    line = await orders.readline()
    if not line:
        return
    assignment = decode_order(line)
    assert isinstance(assignment, Assignment), "the first order says what there is to do"
    configure_logging(LoggingSettings(level=assignment.log_level, format=assignment.log_format))
    scribe = Scribe(assignment)
    ready_interpreter()  # with all modules, that of the database too
    try:
        await scribe.run(orders)
    except Exception:
        log.exception("scribe_failed")
        raise SystemExit(1) from None


def main() -> None:
    """Run a scribe until its standard input ends."""
    use_exact_arithmetic()
    for number in (signal.SIGINT, signal.SIGTERM):  # to the whole group, from a terminal or an init: for the service
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    asyncio.run(_work())


if __name__ == "__main__":
    main()
