"""Desk: the accounts that this process monitors, as everybody outside the writers sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from account_monitor.monitor.health import HealthBoard
from account_monitor.monitor.monitor import Monitor, Observer
from account_monitor.monitor.ports import Clock, History
from account_monitor.monitor.quality import ExchangeQuality
from account_monitor.monitor.roll import Cluster
from account_monitor.monitor.views import Change, View


class Turn:
    """One after the other; `waiting` counts who has it and who waits for it."""

    def __init__(self) -> None:
        self.waiting = 0
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        """Wait until it is this one's turn."""
        self.waiting += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self.waiting -= 1
            raise

    async def __aexit__(self, *_error: object) -> None:
        """Let the next one."""
        self.waiting -= 1
        self._lock.release()


class Desk:
    """The monitors by account, what makes the process unready, and who hears of changes."""

    def __init__(self, clock: Clock, version: str) -> None:
        self.clock = clock
        self.version = version
        self.started_ms = clock()
        self.health = HealthBoard(clock)
        self.history: History | None = None
        """What remembers P&L over time; what knows the database sets it."""
        self.cluster: Cluster | None = None
        """What knows which other processes share the accounts; None: none does."""
        self.exchange_quality: Callable[[], ExchangeQuality] = lambda: ExchangeQuality(clock())
        """Tells how well the exchanges are heard; what feeds accounts from them sets it."""
        self.looking_back = Turn()
        """Held while the past is folded: one at a time, for it takes the processor from everything else."""
        self.recounting = Turn()
        """Held while long histories of P&L are told: they take the processor too, and the database."""
        self._monitors: dict[str, Monitor] = {}
        self._configured: list[str] = []
        self._waiting: dict[str, str] = {"start": "the journals are not folded yet"}
        self._observers: list[Observer] = []

    @property
    def accounts(self) -> list[str]:
        """The configured accounts, in the order of the configuration; not all need have a view yet."""
        return list(self._configured)

    def configure(self, accounts: list[str]) -> None:
        """Name the accounts that ought to be here."""
        self._configured = list(accounts)

    def monitor(self, account: str) -> Monitor | None:
        """Return the monitor of an account, None while its journal is being folded or where there is none."""
        return self._monitors.get(account)

    def monitors(self) -> list[Monitor]:
        """Return the monitors that have a view."""
        return list(self._monitors.values())

    def add(self, monitor: Monitor) -> None:
        """Show an account whose journal is folded."""
        self._monitors[monitor.name] = monitor
        monitor.observers.append(self._tell)

    def remove(self, account: str) -> None:
        """Show an account no longer."""
        self._monitors.pop(account, None)

    def observe(self, observer: Observer) -> None:
        """Call `observer` with every view and what made it, for accounts of now and later, in the event loop."""
        self._observers.append(observer)

    def wait_for(self, what: str, reason: str | None) -> None:
        """Say that the process is not ready because of `reason`; None: no longer."""
        if reason is None:
            self._waiting.pop(what, None)
        else:
            self._waiting[what] = reason

    @property
    def unready(self) -> str | None:
        """Why the process is not ready, None when it is."""
        return next(iter(self._waiting.values()), None)

    @property
    def missing(self) -> str | None:
        """What `unready` is about, by name, such as `nats` or `journal:main`."""
        return next(iter(self._waiting), None)

    def _tell(self, view: View, change: Change) -> None:
        for observer in self._observers:
            observer(view, change)
