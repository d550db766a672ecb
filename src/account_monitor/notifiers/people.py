"""People: the right ones hear the right thing once. One courier for each channel; none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import structlog

from account_monitor.config.settings import AlertSettings
from account_monitor.errors import ConfigurationError
from account_monitor.ledger.alerts import Alert
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.views import Change, View
from account_monitor.notifiers.channels import Channel, channel_problems, channels_of
from account_monitor.notifiers.courier import LOOK_SECONDS, Courier, failures
from account_monitor.notifiers.daily_report import DailyReports
from account_monitor.notifiers.doors import Doors
from account_monitor.notifiers.heartbeat import Heartbeat, heartbeat_url_of
from account_monitor.notifiers.outbox import leave_places

Spawn: TypeAlias = Callable[[str, Coroutine[Any, Any, None]], None]
Cancel: TypeAlias = Callable[[str], Awaitable[None]]

log = structlog.get_logger()


class Reach(NamedTuple):
    """How people are reached, as the settings say."""

    channels: tuple[Channel, ...]
    heartbeat_url: str | None
    repeat_seconds: float
    is_enabled: bool


def reach_of(alerts: AlertSettings) -> Reach:
    """Return how people are reached; takes a second the first time. Raises: ConfigurationError."""
    return Reach(channels_of(alerts), heartbeat_url_of(alerts), alerts.repeat_interval_seconds, alerts.enabled)


def reach_problems(alerts: AlertSettings) -> list[str]:
    """Return a line for everything that keeps people from being reached as the settings say, without secrets."""
    problems = channel_problems(alerts)
    try:
        heartbeat_url_of(alerts)
    except ConfigurationError as error:
        problems.append(str(error))
    return problems


class People:
    """Everybody who is told: the couriers of the channels, the daily report and the heartbeat."""

    def __init__(
        self,
        desk: Desk,
        alarms: AlarmBoard,
        *,
        day_starts_at_minutes: int,
        spawn: Spawn,
        cancel: Cancel,
        is_changing: Callable[[], bool] = lambda: False,
    ) -> None:
        """`spawn` runs a task under a name until `cancel` ends it.

        `is_changing`: whether accounts come or go just now, and channels perhaps with them.
        """
        self.heartbeat = Heartbeat(desk)
        self._desk = desk
        self._alarms = alarms
        self._reports = DailyReports(desk, day_starts_at_minutes=day_starts_at_minutes)
        self._doors = Doors()
        self._spawn = spawn
        self._cancel = cancel
        self._is_changing = is_changing
        self._couriers: dict[str, Courier] = {}
        """By the digest of the channel."""
        desk.observe(self._note)

    async def run(self) -> None:
        """Look until cancelled at what the couriers do not see; the daily reports are made in a task of their own."""
        self._spawn("daily reports", self._reports.run())
        while True:
            self._reports.look(self._desk.clock())
            self._resolve()
            if not self._is_changing():  # an account that comes back may come back with its channel
                for monitor in self._desk.monitors():
                    leave_places(monitor, self._couriers)
            await asyncio.sleep(LOOK_SECONDS)

    async def configure(self, reach: Reach) -> None:
        """Let these channels be served from now on; those that stay go on where they are."""
        self.heartbeat.url = reach.heartbeat_url
        self._reports.is_enabled = reach.is_enabled
        wanted = {channel.digest: channel for channel in reach.channels}
        for digest in self._couriers.keys() - wanted.keys():
            await self._cancel(f"channel:{digest}")
            del self._couriers[digest]
        for digest, channel in wanted.items():
            known = self._couriers.get(digest)
            if known is not None:
                known.channel = channel
                known.reminders.configure(reach.repeat_seconds)
                continue
            courier = self._couriers[digest] = Courier(
                channel, self._desk, self._alarms, self._reports, self._doors, repeat_seconds=reach.repeat_seconds
            )
            self._spawn(f"channel:{digest}", courier.run())
        if wanted:
            log.info("channels_served", channels=[channel.name for channel in reach.channels])

    async def rest(self, within_seconds: float) -> None:
        """Let nobody take up another letter, and wait for those in hand: the next start would tell them again."""
        resting = [asyncio.create_task(courier.rest()) for courier in self._couriers.values()]
        if resting:
            _, unsent = await asyncio.wait(resting, timeout=within_seconds)
            for each in unsent:
                each.cancel()

    def couriers(self) -> Sequence[Courier]:
        """Return who serves the channels."""
        return list(self._couriers.values())

    def _note(self, view: View, change: Change) -> None:
        recorded = () if change.recorded is None else change.recorded.entries
        alerts = [entry for entry in recorded if type(entry.event) is Alert]
        if alerts:
            for courier in self._couriers.values():
                courier.note(view.account, alerts)

    def _resolve(self) -> None:
        """End the alerts about channels that are well again, or not there any more."""
        by_name = {courier.channel.name: courier for courier in self._couriers.values()}
        for account, alert in failures(self._alarms):
            courier = by_name.get(alert.symbol or "")
            if courier is None or courier.is_well:
                self._alarms.resolve(account, "CHANNEL_FAILED", symbol=alert.symbol)

    def counts(self) -> Iterator[tuple[str, str, int]]:
        """Yield (channel, outcome, how many letters or attempts)."""
        for courier in self._couriers.values():
            yield courier.channel.name, "sent", courier.sent
            yield courier.channel.name, "failed", courier.failed
