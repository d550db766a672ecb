"""Reminders: what fires still, and is to be told once more? While nobody looks after it, and after a silence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeAlias

from account_monitor.ledger.alerts import Alert
from account_monitor.notifiers.letters import Told

Key: TypeAlias = tuple[str, str]
"""(account, alert id)"""


class Reminders:
    """When a channel last told of what fires, and what a silence holds back.

    A reminder is due at whole multiples of the interval since the alert fired, so that restarts do not put it off.
    """

    def __init__(self, repeat_seconds: float, now_ms: int) -> None:
        self._repeat_ms = int(repeat_seconds * 1000)
        self._begun_ms = now_ms
        self._told_ms: dict[Key, int] = {}
        self._held: set[Key] = set()

    def configure(self, repeat_seconds: float) -> None:
        """Take over another interval."""
        self._repeat_ms = int(repeat_seconds * 1000)

    def hold(self, told: Iterable[Told]) -> None:
        """Tell of these as soon as no silence is about them."""
        self._held.update(_key(each) for each in told)

    def note(self, told: Iterable[Told], now_ms: int) -> None:
        """Note of what was just told."""
        for each in told:
            self._told_ms[_key(each)] = now_ms
            self._held.discard(_key(each))

    def due(self, firing: Iterable[Told], is_silenced: Callable[[Told], bool], now_ms: int) -> list[Told]:
        """Return what is to be told now of what fires; what a silence is about is told when that is over.

        What somebody looked after before the silence began is not: people knew of it, and need no reminder.
        """
        due, keys = [], set()
        for each in firing:
            key = _key(each)
            keys.add(key)
            if is_silenced(each):
                if each.alert.acked_by is None:
                    self._held.add(key)
            elif key in self._held or self._is_due(key, each.alert, now_ms):
                due.append(each)
        self._held &= keys
        self._told_ms = {key: at_ms for key, at_ms in self._told_ms.items() if key in keys}
        return due

    def held(self) -> dict[str, set[str]]:
        """Return by account the ids of the alerts that are held back."""
        held: defaultdict[str, set[str]] = defaultdict(set)
        for account, alert_id in self._held:
            held[account].add(alert_id)
        return held

    def _is_due(self, key: Key, alert: Alert, now_ms: int) -> bool:
        if alert.acked_by is not None:
            return False
        told_ms = self._told_ms.get(key, self._begun_ms)
        return (now_ms - alert.fired_ms) // self._repeat_ms > max(0, told_ms - alert.fired_ms) // self._repeat_ms


def _key(told: Told) -> Key:
    return told.account, told.alert.id
