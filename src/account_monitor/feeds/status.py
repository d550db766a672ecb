"""Status: how is the NATS feed? For health, metrics and the log; kept by the feed, read by everyone else."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from account_monitor.failures import reason
from account_monitor.feeds.progress import StreamGap

_log = structlog.get_logger(__name__)

_GAPS_KEPT = 100


@dataclass(slots=True)
class FeedStatus:
    """How the feed is now. Counters never go back."""

    connected: bool = False
    modes: dict[str, str] = field(default_factory=dict)
    """By subject: `jetstream FILLS`, `core`, both, or `none` while nothing is known."""
    has_reached_end: bool = False
    """Whether all that the streams held when reading began is in the inboxes; on core NATS: whether it listens."""
    last_error: str = ""
    """What is wrong now, empty when nothing is."""
    reconnects: int = 0
    received: Counter[str] = field(default_factory=Counter)
    """Messages by what they were: `fill`, `price`, or the reason of their rejection."""
    gaps: deque[StreamGap] = field(default_factory=lambda: deque(maxlen=_GAPS_KEPT))
    """The last STREAM_GAP alarms, oldest first."""
    on_gap: Callable[[StreamGap], None] | None = None
    _has_warned_of_core: bool = False

    def note_connected(self, *, again: bool) -> None:
        """There is a server at the other end."""
        self.connected = True
        self.reconnects += again
        _log.info("nats_connected", reconnects=self.reconnects)

    def note_disconnected(self) -> None:
        """The server is gone; it is tried again and again."""
        self.connected = False
        _log.warning("nats_disconnected")

    def note_error(self, error: Exception) -> None:
        """Something does not work now. The same thing is logged once."""
        text = reason(error)
        if text != self.last_error:
            _log.warning("nats_error", error=text)
        self.last_error = text

    def note_gap(self, gap: StreamGap) -> None:
        """Messages are lost to us."""
        _log.error("stream_gap", source=gap.source, accounts=gap.accounts, text=gap.text)
        self.gaps.append(gap)
        if self.on_gap is not None:
            self.on_gap(gap)

    def note_modes(self, modes: Mapping[str, str]) -> None:
        """This is where each subject is heard."""
        if modes != self.modes:
            _log.info("nats_subjects", modes=dict(modes))
        self.modes = dict(modes)
        on_core = [pattern for pattern, mode in modes.items() if mode.startswith("core")]
        if on_core and not self._has_warned_of_core:
            self._has_warned_of_core = True
            text = "no JetStream stream covers them: what is published while nobody listens is lost"
            _log.warning("core_nats_can_lose_messages", subjects=on_core, text=text)
