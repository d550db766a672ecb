"""Courier: brings people on one channel what they must hear of, in its own time, and never twice what they know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog

from account_monitor.errors import ChannelFailed
from account_monitor.monitor.alarms import Alarm, AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.schedule import Monotonic
from account_monitor.notifiers.channels import Channel
from account_monitor.notifiers.daily_report import DailyReports, Due
from account_monitor.notifiers.doors import Door, Doors
from account_monitor.notifiers.letters import (
    Letter,
    Outage,
    Told,
    reminder_letter,
    standing_letter,
    summary_letter,
    transition_letter,
)
from account_monitor.notifiers.outbox import PLACES, Outbox, Waiting
from account_monitor.notifiers.pace import Pace
from account_monitor.notifiers.reminders import Reminders
from account_monitor.notifiers.silences import SilencesInEffect

LOOK_SECONDS: Final = 1.0
"""How often it is looked what is due by the clock: reminders, the end of a silence, the daily report."""

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 60.0
"""The first and the longest pause between two attempts; each is twice as long as the one before."""

FAILED_ATTEMPTS: Final = 2
"""After so many in a row the others hear that this channel fails."""

REMEMBERED: Final = 10_000
"""Transitions of which it is known that they were told, in case they come once more."""

log = structlog.get_logger()


class Parcel(NamedTuple):
    """A letter, and what is done with once it was sent."""

    letter: Letter
    account: str
    """Whose alert it is, or the first of several."""
    told: Sequence[Told] = ()
    """The transitions in it."""
    waiting: Sequence[Waiting] = ()
    """Those of them that are journaled."""
    standing: Sequence[Told] = ()
    report: Due | None = None
    is_summary: bool = False


class Courier:
    """Carries to one channel every transition that the journals hold, in order, and reminds of what goes on.

    What a channel does not take is tried again, for as long as it takes; meanwhile nobody else waits for it.
    """

    def __init__(
        self,
        channel: Channel,
        desk: Desk,
        alarms: AlarmBoard,
        reports: DailyReports,
        doors: Doors,
        *,
        repeat_seconds: float,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self.channel = channel
        self.sent = 0
        """Letters that the channel took, since the start."""
        self.failed = 0
        """Attempts that it did not."""
        self.source = f"{PLACES}{channel.digest}"
        """Under this name the journals record how far the channel is."""
        self.reminders = Reminders(repeat_seconds, desk.clock())
        self._desk = desk
        self._alarms = alarms
        self._reports = reports
        self._doors = doors
        self._outbox = Outbox(desk, self.source)
        self._pace = Pace(monotonic)
        self._told: dict[tuple[str, str], None] = {}
        """(account, `told_id`) of transitions that were told, the oldest first."""
        self._silences: dict[str, SilencesInEffect] = {}
        """By account, as of this look."""
        self._attempts = 0
        self._failing_since_ms: int | None = None
        self._owes = True  # until the journals were read
        self._rests = False
        self._is_idle = asyncio.Event()  # nothing is on its way
        self._is_idle.set()
        self.note: Final = self._outbox.note
        """Takes the name of an account, and the entries of the alerts that its journal holds now."""

    @property
    def is_well(self) -> bool:
        """Whether the channel takes what it is given, and has everything."""
        return self._failing_since_ms is None and not self._owes

    async def run(self) -> None:
        """Carry until cancelled, or told to rest."""
        while True:
            parcel, patience_seconds = await self._look()
            self._owes = parcel is not None
            if self._rests:
                return
            if parcel is None:
                await self._wait(patience_seconds)
            elif not await self._delivered(parcel):
                pause = FIRST_RETRY_SECONDS * 2 ** min(self._attempts - 1, 10)
                await asyncio.sleep(min(pause, LONGEST_RETRY_SECONDS))

    async def rest(self) -> None:
        """Take up no more letters; return once the one in hand was sent, and the journals know it."""
        self._rests = True
        await self._is_idle.wait()

    @property
    def _door(self) -> Door:
        return self._doors.well if self.sent and not self._attempts else self._doors.failing

    # -- what is next ------------------------------------------------------------------------------------------------

    async def _look(self) -> tuple[Parcel | None, float]:
        """Return what `_next` does; while the channel fails, much may wait, so that others have their turn before."""
        if not self._attempts:
            return await self._next()
        async with self._door:
            return await self._next()

    async def _next(self) -> tuple[Parcel | None, float]:
        """Return what is to be sent now, or None and for how long there is nothing."""
        unseen = await self._outbox.waiting()
        self._silences = self._silences_of_now()
        self.reminders.hold(self._outbox.begun)
        self._outbox.begun = []
        waiting = self._wanted(unseen)
        # What no journal can take is younger than what one has.
        transitions = [*(each.told for each in waiting), *self._unrecorded()]
        if transitions:
            patience_seconds = self._patience(transitions)
            if patience_seconds <= 0:
                return self._of_transitions(transitions, waiting), 0.0
            return None, min(patience_seconds, LOOK_SECONDS)
        now_ms = self._desk.clock()
        firing = [told for told in (Told(*alarm) for alarm in self._alarms.open()) if self._is_for_here(told)]
        standing = [told for told in self.reminders.due(firing, self._is_silenced, now_ms) if self._speaks(told)]
        self._outbox.hold(self.reminders.held())
        if standing:
            return self._of_standing(standing, now_ms), 0.0
        due = None if self.channel.least else self._reports.due(f"{self.source}:report", now_ms)
        if due is not None:
            return Parcel(due.letter, due.accounts[0], report=due), 0.0
        return None, LOOK_SECONDS

    def _speaks(self, told: Told) -> bool:
        """Whether nobody else reminds of it by now; what an account that is away left is reminded of as ever."""
        monitor = self._desk.monitor(told.account)
        return monitor is None or monitor.speaks()

    def _wanted(self, waiting: Sequence[Waiting]) -> list[Waiting]:
        """Return what people want to hear of here; the rest is done with, and told when a silence is over."""
        silenced = [each for each in waiting if self._is_silenced(each.told)]
        self.reminders.hold(each.told for each in silenced if each.alert.state == "FIRING")
        self._outbox.hold(self.reminders.held())
        unwanted = [
            *silenced,
            *(each for each in waiting if self._is_told(each.told) or not self._is_for_here(each.told)),
        ]
        if unwanted:
            self._outbox.drop(unwanted)
        places = {id(each) for each in unwanted}
        return [each for each in waiting if id(each) not in places]

    def _unrecorded(self) -> list[Told]:
        """Return what no journal can take now, as on a full disk: people are told all the same."""
        found = (Told(account, alert) for account in self._desk.accounts for alert in self._alarms.unrecorded(account))
        return [
            told
            for told in found
            if self._is_for_here(told) and not self._is_told(told) and not self._is_silenced(told)
        ]

    def _is_told(self, told: Told) -> bool:
        return (told.account, told.alert.told_id) in self._told

    def _is_for_here(self, told: Told) -> bool:
        """Whether people are told of it here: of a channel that fails the others tell, and not all want everything."""
        is_own = told.alert.type == "CHANNEL_FAILED" and told.alert.symbol == self.channel.name
        return not is_own and self.channel.wants(told.alert.severity)

    def _is_silenced(self, told: Told) -> bool:
        silences = self._silences.get(told.account)
        return silences is not None and silences.cover(told.alert)

    def _silences_of_now(self) -> dict[str, SilencesInEffect]:
        now_ms = self._desk.clock()
        return {monitor.name: SilencesInEffect(monitor.silences, now_ms) for monitor in self._desk.monitors()}

    def _patience(self, transitions: Sequence[Told]) -> float:
        """Return for how many seconds these wait, for others to be told in the same summary."""
        if self._failing_since_ms is not None or self._pace.allows(len(transitions)):
            return 0.0
        alerts = [told.alert for told in transitions]
        is_urgent = any(alert.severity == "CRITICAL" and alert.state == "FIRING" for alert in alerts)
        return self._pace.until_summary(is_urgent=is_urgent)

    def _of_transitions(self, transitions: Sequence[Told], waiting: Sequence[Waiting]) -> Parcel:
        """Return the letter about the first of them, or about all; `waiting` are those that are journaled."""
        first, outage = transitions[0], self._failing_since_ms
        if len(transitions) == 1 or (outage is None and self._pace.allows(len(transitions))):
            return Parcel(transition_letter(first), first.account, [first], [w for w in waiting if w.told == first][:1])
        span = None if outage is None else Outage(outage, self._desk.clock())
        letter = summary_letter(transitions, outage=span)
        return Parcel(letter, first.account, transitions, waiting, is_summary=True)

    def _of_standing(self, standing: Sequence[Told], now_ms: int) -> Parcel:
        single = len(standing) == 1
        letter = reminder_letter(standing[0], now_ms) if single else standing_letter(standing, now_ms)
        return Parcel(letter, standing[0].account, standing=standing)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._outbox.arrived.wait()
        except TimeoutError:
            return  # something may be due by the clock

    # -- what became of it -------------------------------------------------------------------------------------------

    async def _delivered(self, parcel: Parcel) -> bool:
        """Return whether the channel took a letter; the journals know it then."""
        self._is_idle.clear()
        try:
            if not await self._carried(parcel):
                return False
            await self._note(parcel)
            return True
        finally:
            self._is_idle.set()

    async def _carried(self, parcel: Parcel) -> bool:
        """Send a letter, and return whether the channel took it."""
        try:
            await self._door.send(partial(self.channel.send, parcel.letter))
        except ChannelFailed as failure:
            self._fail(parcel.account, str(failure))
            return False
        self.sent += 1
        if self._failing_since_ms is not None:
            log.info("channel_well_again", channel=self.channel.name, attempts=self._attempts)
        self._attempts, self._failing_since_ms = 0, None
        return True

    async def _note(self, parcel: Parcel) -> None:
        now_ms = self._desk.clock()
        self.reminders.note([*parcel.told, *parcel.standing], now_ms)
        if parcel.told:
            self._pace.note(len(parcel.told), is_summary=parcel.is_summary)
            self._remember(parcel.told)
        if parcel.waiting:
            await self._outbox.done(parcel.waiting)
        if parcel.report is not None:
            self._reports.sent(f"{self.source}:report", parcel.report)

    def _remember(self, transitions: Sequence[Told]) -> None:
        self._told.update(((told.account, told.alert.told_id), None) for told in transitions)
        for key in list(self._told)[: max(0, len(self._told) - REMEMBERED)]:
            del self._told[key]

    def _fail(self, account: str, reason: str) -> None:
        self.failed += 1
        self._attempts += 1
        if self._failing_since_ms is None:
            self._failing_since_ms = self._desk.clock()
            log.warning("channel_failed", channel=self.channel.name, reason=reason)
        if self._attempts >= FAILED_ATTEMPTS:
            self._complain(account, reason)

    def _complain(self, account: str, reason: str) -> None:
        """Say on one account that this channel fails: on the one of the letter, while it is there to record it."""
        name = self.channel.name
        accounts = [account, *self._desk.accounts]
        for alarm in failures(self._alarms):
            if alarm.alert.symbol == name and self._desk.monitor(alarm.account) is None:
                self._alarms.resolve(alarm.account, "CHANNEL_FAILED", symbol=name)
            elif alarm.alert.symbol == name:
                accounts.insert(0, alarm.account)
        present = next((each for each in accounts if self._desk.monitor(each) is not None), None)
        if present is not None:
            text = f"{name} does not take what people are to hear: {reason}"
            self._alarms.fire(present, "CHANNEL_FAILED", text, symbol=name)


def failures(alarms: AlarmBoard) -> list[Alarm]:
    """Return which channels are said to fail; the symbol of each alert is the name of the channel."""
    return [alarm for alarm in alarms.open() if alarm.alert.type == "CHANNEL_FAILED"]
