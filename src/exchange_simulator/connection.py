"""Connections: how long does a WebSocket live, what may it send, and when does what was meant for it leave?

Sans-I/O: what arrives is given to `receive_…`, what leaves is handed to `output`, and time passes in `advance`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Literal, NamedTuple

from exchange_simulator.faults import Faults
from exchange_simulator.limits import Limits
from exchange_simulator.sabotage import Sabotage, Timed
from exchange_simulator.wire import Close, Cut, Output, Ping, Pong, Text

DAY_MS = 86_400_000


class Rules(NamedTuple):
    """What a kind of connection has to keep to."""

    ping_every_ms: int = 180_000
    pong_within_ms: int = 600_000
    messages_a_second: int = 10
    lifetime_ms: int = DAY_MS


FUTURES = Rules()
SPOT = Rules(ping_every_ms=20_000, pong_within_ms=60_000, messages_a_second=5)


class World(NamedTuple):
    """What every connection shares with the others."""

    clock: Callable[[], int]
    faults: Faults
    limits: Limits


class Connection:
    """One WebSocket. Subclasses say what it means when text is heard."""

    def __init__(
        self,
        world: World,
        output: Callable[[Output], None],
        *,
        ip: str,
        rules: Rules = FUTURES,
        streams: Literal["user", "market"] = "user",
    ) -> None:
        self._world = world
        self._output = output
        self._ip = ip
        self._rules = rules
        self._sabotage = Sabotage(world.faults, streams)
        self._waiting: list[tuple[int, int, Output]] = []  # a heap: due, order of arrival
        self._arrivals = 0
        now = world.clock()
        self._opened_ms = now
        self._ping_ms = now + rules.ping_every_ms
        self._unanswered_ms: int | None = None  # since when a ping has had no pong
        self._second = -1
        self._heard_in_second = 0
        self.is_open = True
        self.account = ""
        """The API key of whom this connection belongs to, as far as it is known."""

    # -- what arrives

    def receive_text(self, text: str) -> None:
        """Hear a text frame. What is wrong with it is answered, never raised."""
        if self._may_hear():
            self.heard(text)

    def receive_ping(self, payload: bytes = b"") -> None:
        if self._may_hear():
            self.put(Pong(payload))

    def receive_pong(self, payload: bytes = b"") -> None:
        """Hear a pong; one that nobody asked for is as good."""
        if self._may_hear():
            self._unanswered_ms = None

    def closed(self) -> None:
        """The client is gone."""
        self.is_open = False
        self._waiting.clear()

    def heard(self, text: str) -> None:
        """Act on a text frame of the client."""
        raise NotImplementedError

    # -- what leaves

    def send(self, text: str, account: str = "") -> None:
        """Send data, as the faults let it."""
        self._schedule(self._sabotage.frame(text, self._world.clock(), account))

    def put(self, output: Output) -> None:
        """Put something out now, unless a fault ends the connection or has silenced it."""
        if not self.is_open:
            return
        final = self._sabotage.socket(output, self._world.clock(), self.account)
        if final is None:
            return
        if isinstance(final, Close | Cut):
            self.closed()
        self._output(final)

    def answer(self, text: str) -> None:
        self.put(Text(text))

    def end(self, closing: Close | Cut) -> None:
        """End the connection, even a half-open one: then nobody learns of it."""
        if not self.is_open:
            return
        self.closed()
        if not self._sabotage.is_mute:
            self._output(closing)

    # -- time

    def next_due_ms(self) -> int:
        """Return when `advance` has something to do next."""
        times = [self._ping_ms, self._opened_ms + self._rules.lifetime_ms]
        if self._unanswered_ms is not None:
            times.append(self._unanswered_ms + self._rules.pong_within_ms)
        if self._waiting:
            times.append(self._waiting[0][0])
        held_ms = self._sabotage.next_due_ms()
        return min(times) if held_ms is None else min(*times, held_ms)

    def advance(self) -> None:
        """Do what is due: frames that waited, pings, the end of the connection."""
        now = self._world.clock()
        self._schedule(self._sabotage.due(now))
        while self.is_open and self._waiting and self._waiting[0][0] <= now:
            self.put(heapq.heappop(self._waiting)[2])
        if not self.is_open:
            return
        if now >= self._opened_ms + self._rules.lifetime_ms:
            self.end(Close(1001, "24 hours"))
        elif self._unanswered_ms is not None and now >= self._unanswered_ms + self._rules.pong_within_ms:
            self.end(Close(1008, "Pong timeout"))
        elif now >= self._ping_ms:
            self._ping_ms = now + self._rules.ping_every_ms
            if self._unanswered_ms is None:
                self._unanswered_ms = now
            self.put(Ping(str(now).encode()))

    def _schedule(self, timed: list[Timed]) -> None:
        now = self._world.clock()
        for due_ms, output in timed:
            if due_ms <= now and not (self._waiting and self._waiting[0][0] <= now):
                self.put(output)
            elif self.is_open:
                heapq.heappush(self._waiting, (due_ms, self._arrivals, output))
                self._arrivals += 1

    def _may_hear(self) -> bool:
        """Count what the client sends, and close the connection of one who sends too much."""
        if not self.is_open:
            return False
        second = self._world.clock() // 1000
        if second != self._second:
            self._second, self._heard_in_second = second, 0
        self._heard_in_second += 1
        if self._heard_in_second <= self._rules.messages_a_second:
            return True
        self._world.limits.note_unruly_socket(self._ip)
        self.end(Close(1008, "Too many requests"))
        return False
