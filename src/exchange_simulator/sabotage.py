"""Sabotage: what do the faults make of the frames of one connection?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from exchange_simulator import garbling
from exchange_simulator.catalogue import KINDS
from exchange_simulator.faults import Faults
from exchange_simulator.wire import Binary, Close, Cut, Output, Text

_FRAME = ("silent", *(name for name, kind in KINDS.items() if kind.place == "frame"))
_SOCKET = tuple(name for name, kind in KINDS.items() if kind.place == "socket")

_JOINED_MS = 2000  # how long a message waits for another one to share its frame

_CLOSES: Mapping[str, Close | Cut] = {
    "close_1000": Close(1000, ""),
    "close_1006": Cut(),
    "close_1008": Close(1008, "disconnected"),
    "close_1011": Close(1011, "internal error"),
}


class Timed(NamedTuple):
    """Something to be put out, no sooner than `due_ms`."""

    due_ms: int
    output: Output


class _Held(NamedTuple):
    """A frame that waits until so many others have gone, but no longer than `until_ms`."""

    others: int
    until_ms: int
    output: Output


class Sabotage:
    """The faults as one connection suffers them."""

    def __init__(self, faults: Faults, streams: Literal["user", "market"]) -> None:
        self._faults = faults
        self._streams = streams
        self._horizon_ms = 0  # what stays in order is not sent before this
        self._burst = 0
        self._joined: str | None = None  # a message that waits to share a frame
        self._joined_until_ms = 0
        self._held: list[_Held] = []
        self.is_mute = False
        """Half-open: nothing leaves any more."""
        self.is_silent = False
        """No data leaves any more; pings, pongs and answers do."""

    def frame(self, text: str, now_ms: int, account: str = "") -> list[Timed]:
        """Return what becomes of one frame of data, in the order of its putting out."""
        if self.is_silent:
            return []
        if not self._held and self._joined is None and self._burst == 0 and not self._faults.any_on(_FRAME):
            return [Timed(max(now_ms, self._horizon_ms), Text(text))]
        return self._struck(text, now_ms, account)

    def socket(self, output: Output, now_ms: int, account: str = "") -> Output | None:
        """Return what leaves in the end: the output itself, the end of the connection, or nothing."""
        if self.is_mute:
            return None
        if not self._faults.any_on(_SOCKET):
            return output
        for name, closing in _CLOSES.items():
            if self._strikes(name, now_ms, account):
                return closing
        if self._strikes("tcp_cut", now_ms, account):
            whole = output.payload if isinstance(output, Text | Binary) else b""
            return Cut(whole[: len(whole) // 2], len(whole))
        if self._strikes("half_open", now_ms, account):
            self.is_mute = True
            return None
        return output

    def next_due_ms(self) -> int | None:
        """Return when a frame that was held back has to go at the latest."""
        times = [held.until_ms for held in self._held]
        if self._joined is not None:
            times.append(self._joined_until_ms)
        return min(times, default=None)

    def due(self, now_ms: int) -> list[Timed]:
        """Return the frames that were held back for as long as they may be."""
        ready = [held for held in self._held if held.until_ms <= now_ms]
        self._held = [held for held in self._held if held.until_ms > now_ms]
        outputs = [held.output for held in ready]
        if self._joined is not None and self._joined_until_ms <= now_ms:
            outputs.append(Text(self._joined))
            self._joined = None
        return [Timed(max(now_ms, self._horizon_ms), output) for output in outputs]

    def _struck(self, text: str, now_ms: int, account: str) -> list[Timed]:
        if self._strikes("silent", now_ms, account):
            self.is_silent = True
            return []
        if self._is_lost(now_ms, account):
            return []
        outputs = self._outputs(text, now_ms, account)
        return self._in_time(outputs, now_ms, account) if outputs else []

    def _is_lost(self, now_ms: int, account: str) -> bool:
        if self._burst > 0:
            self._burst -= 1
            return True
        if burst := self._faults.strikes("drop_burst", now_ms, account=account, streams=self._streams):
            self._burst = max(0, burst["length"] - 1)
            return True
        return self._strikes("drop", now_ms, account)

    def _outputs(self, text: str, now_ms: int, account: str) -> list[Output]:
        """Return the frames that come of one message, in order."""
        messages = self._besides(text, now_ms, account)
        if copies := self._faults.strikes("duplicate", now_ms, account=account, streams=self._streams):
            messages += [text] * copies["copies"]
        if other := self._conflict(text, now_ms, account):
            messages.append(other)
        changed = self._changed(text, now_ms, account)
        if self._joined is not None:
            changed, self._joined = self._joined + changed, None
        elif self._strikes("concatenated", now_ms, account):
            self._joined, self._joined_until_ms = changed, now_ms + _JOINED_MS
            return [Text(message) for message in messages]
        frame = Binary(Text(changed).payload) if self._strikes("binary", now_ms, account) else Text(changed)
        return [frame, *(Text(message) for message in messages)]

    def _besides(self, text: str, now_ms: int, account: str) -> list[str]:
        messages = []
        if self._strikes("unknown_event", now_ms, account):
            messages.append(garbling.unknown_event(now_ms))
        if large := self._faults.strikes("huge_frame", now_ms, account=account, streams=self._streams):
            messages.append(garbling.huge(now_ms, large["bytes"]))
        if deep := self._faults.strikes("nested", now_ms, account=account, streams=self._streams):
            messages.append(garbling.nested(deep["depth"]))
        return messages

    def _conflict(self, text: str, now_ms: int, account: str) -> str | None:
        if not self._faults.any_on(("conflict",)):
            return None
        other = garbling.conflicting(text)
        return other if other is not None and self._strikes("conflict", now_ms, account) else None

    def _changed(self, text: str, now_ms: int, account: str) -> str:
        for name, change in garbling.CHANGES.items():
            if self._strikes(name, now_ms, account):
                return change(text, self._faults.generator(name))
        return text

    def _in_time(self, outputs: list[Output], now_ms: int, account: str) -> list[Timed]:
        """Return the frames of one message with the time of each, and those that waited for it."""
        if late := self._faults.strikes("late", now_ms, account=account, streams=self._streams):
            return [Timed(now_ms + late["ms"], output) for output in outputs]
        if fault := self._faults.strikes("reorder", now_ms, account=account, streams=self._streams):
            others = self._faults.generator("reorder").randint(1, max(1, fault["within"]))
            self._held += [_Held(others, now_ms + fault["hold_ms"], output) for output in outputs]
            return []
        due_ms = max(now_ms, self._horizon_ms)
        if delay := self._faults.strikes("delay", now_ms, account=account, streams=self._streams):
            due_ms = max(due_ms, now_ms + self._faults.generator("delay").randint(0, max(0, delay["ms"])))
        if backlog := self._faults.strikes("backlog", now_ms, account=account, streams=self._streams):
            due_ms = max(due_ms, now_ms + backlog["ms"])
        self._horizon_ms = due_ms
        waited = [held._replace(others=held.others - 1) for held in self._held]
        self._held = [held for held in waited if held.others > 0]
        outputs = outputs + [held.output for held in waited if held.others <= 0]
        return [Timed(due_ms, output) for output in outputs]

    def _strikes(self, name: str, now_ms: int, account: str) -> bool:
        return self._faults.strikes(name, now_ms, account=account, streams=self._streams) is not None
