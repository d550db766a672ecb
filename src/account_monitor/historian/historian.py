"""Historian: keeps a scribe at work, and knows how far the history is, for health, alerts and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from account_monitor.config import Lease, Settings
from account_monitor.historian.messages import (
    LARGEST_LINE,
    Accounts,
    Assignment,
    Hurry,
    Opened,
    Order,
    Tenure,
    Written,
    decode_report,
    line_of,
)
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.stores.history.opening import SQLITE
from account_monitor.stores.history.projector import RETRY_SECONDS

SCRIBE = (sys.executable, "-P", "-m", "account_monitor.historian.scribe")
"""-P: nothing is imported from where the service was started."""

HISTORY = "history"
"""Its name in health, metrics and alerts."""

AGAIN_SECONDS = 1.0
"""How long to wait before a scribe that ended is replaced."""

STOP_SECONDS = 2.0
UNAVAILABLE_SECONDS = 5.0
"""How long a database may be away before people hear of it."""

AGAIN = f"tried again every {RETRY_SECONDS[1]:g} s; the journals keep what is recorded meanwhile"
"""What happens next while the database cannot be written."""

LAG_SECONDS = 30.0
"""How long an entry may wait although the database takes what it is given."""

log = structlog.get_logger()


class _Mark(NamedTuple):
    """An entry that waits to be written, and since when."""

    seq: int
    since: float


class _Followed:
    """How far the history of one account is."""

    def __init__(self) -> None:
        self.seq = 0
        self.is_known = False
        """Whether the scribe has spoken of it since it was started."""
        self.problem: str | None = None
        self.problem_since = 0.0
        self.needs_help = False
        self.mark: _Mark | None = None


class Historian:
    """Runs scribes, one after another."""

    def __init__(self, settings: Settings, desk: Desk, alarms: AlarmBoard, *, command: Sequence[str] = SCRIBE) -> None:
        self._command = command
        self._settings = settings
        self._desk = desk
        self._alarms = alarms
        self._accounts: list[str] = []
        self._tenures: dict[str, Tenure] | None = None
        self._finishing: dict[str, Tenure | None] = {}
        """By account that is written to its end, under which lease."""
        self.on_lease_lost: Callable[[str, int, str], None] = lambda account, epoch, reason: None
        """Hears that the database refuses what is written of an account under an epoch; who holds leases sets it."""
        self._followed: dict[str, _Followed] = {}
        self._description = ""
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = False

    # -- scribes -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a scribe at work until `stop`."""
        while not self._is_stopping:
            try:
                process = self._process = await self._start()
            except OSError as error:
                self._note_end(f"no process can be started: {error}")
            else:
                said = asyncio.create_task(_last_words(process))
                await self._listen(process)
                code = await process.wait()
                words = await said
                if not self._is_stopping:
                    self._note_end(f"its process ended with code {code}" + (f": {words[-1]}" if words else ""))
                    log.error("scribe_ended", code=code, last_words=words)
            self._process = None
            if not self._is_stopping:
                await asyncio.sleep(AGAIN_SECONDS)

    async def stop(self) -> None:
        """Let the scribe write what is recorded, and end it if that takes too long."""
        self._is_stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None  # it was asked for
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            log.warning("history_incomplete", reason="the scribe did not end in time; the rest is written next time")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def assign(self, accounts: list[str], tenures: dict[str, Tenure] | None = None) -> None:
        """Follow these accounts from now on, under these leases where there are any; their journals exist."""
        for account, tenure in list(self._finishing.items()):
            if (tenures or {}).get(account) != tenure:
                del self._finishing[account]  # it is somebody else's, or under another lease
        self._accounts = [account for account in accounts if account not in self._finishing]
        self._tenures = tenures
        for account in self._followed.keys() - set(accounts):
            del self._followed[account]
        for account in accounts:
            self._followed.setdefault(account, _Followed())
        self._tell_scribe()

    def finish(self, account: str) -> None:
        """Have written at once what is recorded of an account, and then no more under this lease.

        `replicated` tells how far that is until another `assign` leaves the account out.
        """
        self._finishing[account] = (self._tenures or {}).get(account)
        self._accounts = [each for each in self._accounts if each != account]
        self._tell_scribe()

    def hurry(self, account: str) -> None:
        """Have written at once what is recorded of an account: somebody waits for it."""
        self._tell_scribe(Hurry(account))

    def _tell_scribe(self, order: Order | None = None) -> None:
        """Tell the scribe which accounts there are, or something else."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(line_of(Accounts(self._accounts, self._tenures) if order is None else order))

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=LARGEST_LINE,
        )  # fmt: skip
        assert process.stdin is not None  # it was asked for
        process.stdin.write(line_of(self._assignment()))
        return process

    def _assignment(self) -> Assignment:
        settings = self._settings
        database, history = settings.database, settings.history
        return Assignment(
            data_dir=str(settings.service.data_dir),
            database_url=database.url,
            password=None if database.password is None else database.password.reveal(),
            usd_assets=sorted(settings.service.usd_assets),
            day_starts_at=settings.service.day_starts_at_minutes,
            snapshot_interval_ms=int(history.snapshot_interval_seconds * 1000),
            retention_ms=int(history.retention_seconds * 1000),
            compress_after_ms=int(history.compress_after_seconds * 1000),
            accounts=self._accounts,
            tenures=self._tenures,
            has_leases_elsewhere=settings.cluster.lease is Lease.NATS,
            log_level=settings.logging.level,
            log_format=settings.logging.format,
        )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Take reports until there are no more. One that cannot be read is a defect of the scribe, which is ended."""
        assert process.stdout is not None  # it was asked for
        while True:
            try:
                line = await process.stdout.readline()
                if not line:
                    return
                report = decode_report(line)
            except ValueError as error:  # no report, or one without an end
                log.error("scribe_misunderstood", reason=str(error))
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                return
            if isinstance(report, Opened):
                self._description = report.description
                log.info("history_opened", database=report.description)
            elif (followed := self._followed.get(report.account)) is not None:
                self._note(followed, report)

    # -- what is known -----------------------------------------------------------------------------------------------

    def _note(self, followed: _Followed, report: Written) -> None:
        if report.lost_epoch is not None:
            self.on_lease_lost(report.account, report.lost_epoch, report.problem or "")
            return
        needed_help = followed.needs_help
        followed.is_known = True
        followed.seq = report.seq
        followed.needs_help = report.needs_help
        if report.problem is None:
            if followed.problem is not None:
                log.info("history_written_again", account=report.account, seq=report.seq)
            followed.problem = None
            return
        is_news = followed.problem is None or report.needs_help is not needed_help
        if followed.problem is None:
            followed.problem_since = self._now()
        followed.problem = f"{report.problem}; {AGAIN}"
        if is_news and report.needs_help:
            log.error("history_refused", account=report.account, seq=report.seq, reason=followed.problem)
        elif is_news:
            log.warning("history_not_written", account=report.account, seq=report.seq, reason=followed.problem)

    def _note_end(self, reason: str) -> None:
        reason += f"; another is started after {AGAIN_SECONDS:g} s"
        for followed in self._followed.values():
            followed.is_known = False
            if followed.problem is None:
                followed.problem, followed.problem_since = reason, self._now()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def lag(self, account: str) -> int:
        """Return how many entries of a journal are not in the history yet."""
        monitor, followed = self._desk.monitor(account), self._followed.get(account)
        return 0 if monitor is None or followed is None else max(0, monitor.journal.last_seq - followed.seq)

    def replicated(self, account: str) -> int:
        """Return up to which entry the journal of an account is in a database elsewhere; 0 where that is not known."""
        followed = self._followed.get(account)
        if followed is None or not followed.is_known or followed.problem is not None or followed.needs_help:
            return 0  # what was written once may be gone by now
        return 0 if self._settings.database.url == SQLITE else followed.seq

    def lags(self) -> Iterable[tuple[str, int]]:
        """Yield each account with its lag."""
        for account, followed in self._followed.items():
            if followed.is_known:
                yield account, self.lag(account)

    def watch(self) -> None:
        """Keep health and alerts true; called a few times a second."""
        problems = {account: f.problem for account, f in self._followed.items() if f.problem is not None}
        if problems:
            account, problem = next(iter(problems.items()))
            self._desk.health.report(HISTORY, Status.DEGRADED, f"{len(problems)} accounts, {account}: {problem}")
        elif not self._description:
            self._desk.health.report(HISTORY, Status.HEALTHY, "is being opened")
        else:
            waiting = sum(lag for _, lag in self.lags())
            self._desk.health.report(HISTORY, Status.HEALTHY, f"{self._description}; {waiting} entries to write")
        for account, followed in self._followed.items():
            self._watch_account(account, followed)

    def _watch_account(self, account: str, followed: _Followed) -> None:
        now = self._now()
        if followed.problem is not None:
            if followed.needs_help or now - followed.problem_since >= UNAVAILABLE_SECONDS:
                self._alarms.fire(account, "STORAGE_UNAVAILABLE", followed.problem, symbol=HISTORY)
        elif followed.is_known:  # what fired before a restart is over once the history says so
            self._alarms.resolve(account, "STORAGE_UNAVAILABLE", symbol=HISTORY)
        if followed.is_known:
            self._watch_lag(account, followed, now)

    def _watch_lag(self, account: str, followed: _Followed, now: float) -> None:
        if followed.mark is None or followed.seq >= followed.mark.seq:
            followed.mark = None
            self._alarms.resolve(account, "PROJECTION_LAG", symbol=HISTORY)
        if followed.mark is None and (lag := self.lag(account)):
            followed.mark = _Mark(followed.seq + lag, now)
        elif followed.mark is not None and now - followed.mark.since >= LAG_SECONDS and followed.problem is None:
            text = f"the history is {self.lag(account)} entries behind, and slower than the journal"
            self._alarms.fire(account, "PROJECTION_LAG", text, symbol=HISTORY)


async def _last_words(process: asyncio.subprocess.Process) -> list[str]:
    """Pass on what a process writes to its standard error, its log; return the last lines."""
    assert process.stderr is not None  # it was asked for
    words: list[str] = []
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:  # a line without an end: it was dropped, and what comes after it counts
            continue
        if not line:
            return words
        text = line.decode(errors="replace").rstrip()
        sys.stderr.write(f"{text}\n")
        words = [*words[-19:], text]
