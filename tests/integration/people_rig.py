"""People at a desk with real journals: the couriers as the service runs them, and alerts that are journaled by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from account_monitor.config.secrets import Secret
from account_monitor.config.settings import AlertSettings
from account_monitor.ledger.alerts import Alert, AlertType, Severity
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.notifiers.people import People, reach_of
from tests.integration.trading_desk import TradingDesk, clock


def settings(*urls: str, repeat_seconds: float = 3600.0) -> AlertSettings:
    """Return settings that name these channels; without any, settings without the key."""
    kept = AlertSettings()._replace(repeat_interval_seconds=repeat_seconds)
    return kept._replace(channels_env="CHANNELS", channels=Secret("\n".join(urls))) if urls else kept


class Rig:
    """Who is told, and the tasks of it."""

    def __init__(self, desk: Desk, *, day_starts_at_minutes: int = 0) -> None:
        self.alarms = AlarmBoard(clock)
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.is_changing = False
        self.people = People(
            desk,
            self.alarms,
            day_starts_at_minutes=day_starts_at_minutes,
            spawn=self._spawn,
            cancel=self._cancel,
            is_changing=lambda: self.is_changing,
        )

    async def serve(self, *urls: str, repeat_seconds: float = 3600.0) -> None:
        """Serve these channels from now on, and no others."""
        await self.people.configure(reach_of(settings(*urls, repeat_seconds=repeat_seconds)))
        await asyncio.sleep(0.05)  # each has looked at the journals once

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.tasks[name] = asyncio.create_task(work, name=name)

    async def _cancel(self, name: str) -> None:
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def look(self) -> None:
        """Begin to look at what is due by the clock, once a second."""
        self._spawn("people", self.people.run())

    async def close(self) -> None:
        """End everything; what broke is raised."""
        broken = [task.exception() for task in self.tasks.values() if task.done()]
        for name in list(self.tasks):
            await self._cancel(name)
        self.people._couriers.clear()  # the process is gone, and nobody notes what the journals hold
        assert broken == []


@asynccontextmanager
async def telling(
    desk: TradingDesk, *urls: str, repeat_seconds: float = 3600.0, day_starts_at_minutes: int = 0
) -> AsyncIterator[Rig]:
    """Tell people through these channels."""
    rig = Rig(desk.desk, day_starts_at_minutes=day_starts_at_minutes)
    for monitor in desk.desk.monitors():
        rig.alarms.attach(monitor)
    await rig.serve(*urls, repeat_seconds=repeat_seconds)
    await rig.look()
    try:
        yield rig
    finally:
        await rig.close()


def firing(
    name: str, *, type_: AlertType = "STREAM_STALE", severity: Severity = "WARNING", at_ms: int | None = None
) -> Alert:
    """Return an alert that has begun to fire."""
    now = clock() if at_ms is None else at_ms
    return Alert(name, type_, name, severity, "FIRING", f"{name} is silent", now, now)


def resolved(alert: Alert, *, after_ms: int = 2_000) -> Alert:
    """Return its end."""
    return alert._replace(state="RESOLVED", at_ms=alert.fired_ms + after_ms, revision=alert.revision + 1)
