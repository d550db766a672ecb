"""Publisher: brings every change to every client that listens, each at its own pace, none at the cost of others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from account_monitor.api.access import EVERYONE, Caller
from account_monitor.api.accounts import shown_accounts
from account_monitor.api.health import health_report
from account_monitor.api.problems import TOO_MANY_CLIENTS, Refused
from account_monitor.api.rounds import Rounds
from account_monitor.api.stream import ENTRY_KINDS, Channel, Message, Notice, Step, health_notice
from account_monitor.ledger.valuation import PnL
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.views import Change, View

MAX_CLIENTS = 1_000
"""That listen at once, whichever door they came in by."""

MAX_WAITING = 4_096
"""Messages that may wait for a client; more, and it gets a snapshot instead. One commit may bring 2,000."""

MAX_WAITING_BYTES = 4 * 1024 * 1024
"""About how much memory they may take. Clients share them, so that this is not for each."""

STALL_SECONDS = 30.0
"""After how long a client is cut off that takes nothing at all."""

WATCH_SECONDS = 0.25
"""How often health, accounts and stalled clients are looked at."""

RISK_MS = 1_000
"""How often a client that wants margins is told them, at most: they are of all positions, and so cost more."""

TURN = 64
"""Messages to one client, in one write, before others get their turn."""


class Cursor:
    """Where one client is in one channel."""

    __slots__ = (
        "_messages",
        "_resumed",
        "_resumed_bytes",
        "channel",
        "is_behind",
        "pnl",
        "risk",
        "risk_ms",
        "risk_tick",
        "seen_tick",
        "seq",
        "steps",
        "tick",
        "waiting",
        "waiting_bytes",
        "wants_risk",
    )

    def __init__(self, channel: Channel, *, wants_risk: bool) -> None:
        self.channel = channel
        self.wants_risk = wants_risk
        self.steps: deque[Step] = deque()
        self._messages: deque[Message] = deque()
        """What is left of the step that is being told."""
        self.waiting = 0
        self.waiting_bytes = 0
        self._resumed = 0
        self._resumed_bytes = 0
        """What of them was kept for its return, and is not held against it."""
        self.is_behind = True
        """Whether it needs a snapshot."""
        self.seq: int | None = None
        """The sequence that the client was told last."""
        self.tick = 0
        """Up to which it was told prices."""
        self.seen_tick = -1
        """Up to which there was nothing left to tell."""
        self.pnl: PnL | None = None
        """What it was told last."""
        self.risk = ""
        self.risk_ms = 0
        self.risk_tick = -1
        """What of margins it was told last, when, and as of which tick."""

    def resume(self, seq: int) -> None:
        """Go on after `seq`, where the channel reaches back so far."""
        steps = self.channel.since(seq)
        if steps is not None:
            self.seq = seq
            self.is_behind = False
            self.tick = self.channel.tick_at(seq)
            self._queue(steps)
            self._resumed, self._resumed_bytes = self.waiting, self.waiting_bytes

    def add(self, step: Step) -> None:
        """Let a step wait for the client; too many, and it falls behind."""
        if self.is_behind:
            return
        self._queue([step])
        if self.waiting - self._resumed > MAX_WAITING or self.waiting_bytes - self._resumed_bytes > MAX_WAITING_BYTES:
            self.is_behind = True
            self._forget()

    def catch_up(self, now_ms: int) -> Notice:
        """Start over from a snapshot, and return it."""
        snapshot, steps = self.channel.snapshot(now_ms)
        self._forget()
        self._queue(steps)
        self.is_behind = False
        self.seq = snapshot.seq
        self.tick = snapshot.tick
        self.pnl = snapshot.pnl
        return Notice(self.channel, snapshot.message, None)

    def end(self) -> None:
        """Have nothing more to tell."""
        self._forget()
        self.is_behind = False
        self.seq = None

    def next_notices(self) -> list[Notice]:
        """Take the messages that wait longest, as many as one turn allows; none: there are no more."""
        notices: list[Notice] = []
        while len(notices) < TURN:
            if not self._messages:
                if not self.steps:
                    break
                self._messages.extend(self._next_step().messages())
            message = self._messages.popleft()
            if not self._has_heard(message):
                notices.append(Notice(self.channel, message, self.seq))
                self.seq = message.seq
        return notices

    def _next_step(self) -> Step:
        step = self.steps.popleft()
        self.waiting -= step.count
        self.waiting_bytes -= step.size
        self._resumed = max(0, self._resumed - step.count)
        self._resumed_bytes = max(0, self._resumed_bytes - step.size)
        return step

    def _has_heard(self, message: Message) -> bool:
        """Whether the client heard a message before it came back. Only positions and wallets may be told twice."""
        told = self.seq
        return told is not None and (message.seq < told or (message.seq == told and message.kind in ENTRY_KINDS))

    def tell_prices(self, now_ms: int) -> list[Notice]:
        """Return what prices have changed, and the P&L if it did."""
        channel, seq = self.channel, self.seq
        if self.is_behind or seq is None or not (self.has_news or self.owes_risk):
            return []
        messages = list(channel.revalued(self.tick, seq, now_ms))
        self.tick = self.seen_tick = channel.tick
        if channel.view.pnl != self.pnl:
            self.pnl = channel.view.pnl
            messages.append(channel.pnl(seq, now_ms))
        if self.owes_risk and not 0 <= now_ms - self.risk_ms < RISK_MS:
            self.risk_ms, self.risk_tick = now_ms, channel.tick
            if channel.standing() != self.risk:
                self.risk = channel.standing()
                messages.append(channel.risk(seq, now_ms))
        return [Notice(channel, message, seq) for message in messages]

    @property
    def has_news(self) -> bool:
        """Whether `tell_prices` may have something."""
        return self.seen_tick != self.channel.tick

    @property
    def owes_risk(self) -> bool:
        """Whether `tell_prices` may have margins to tell, as soon as it is time for them again."""
        return self.wants_risk and self.risk_tick != self.channel.tick

    def _queue(self, steps: list[Step]) -> None:
        for step in steps:
            self.steps.append(step)
            self.waiting += step.count
            self.waiting_bytes += step.size

    def _forget(self) -> None:
        self._messages.clear()
        self.steps.clear()
        self.waiting = self.waiting_bytes = self._resumed = self._resumed_bytes = 0


class Subscriber:
    """One client: what it wants, and the task that tells it."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        send: Callable[[list[Notice]], Awaitable[None]],
        abort: Callable[[], None],
        account: str | None,
        since: dict[str, tuple[int, int]],
        interval_seconds: float,
        wants_risk: bool = False,
        caller: Caller = EVERYONE,
    ) -> None:
        """`send` returns once the client took something, and raises OSError when it is gone; `abort` cuts it off.

        `account` None means all that the caller sees. `since` is, by account, the epoch and sequence that the client
        was told last. `wants_risk`: margins, and how accounts compare with their exchange, too.
        """
        self.account = account
        self.caller = caller
        self._since = since
        self._interval = interval_seconds
        self._wants_risk = wants_risk
        self._publisher = publisher
        self._send = send
        self.abort = abort
        self.cursors: dict[str, Cursor] = {}
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._prices_due = 0.0
        self._told_health = 0
        self.blocked_since: float | None = None

    def took(self) -> None:
        """Note that the client took one message of those that are being sent."""
        self.blocked_since = self._loop.time()

    def wants(self, account: str) -> bool:
        """Whether this client asked for the account."""
        return self.account in (None, account) and self.caller.sees(account)

    # -- what the publisher calls, which must be quick ---------------------------------------------------------------

    def join(self, channel: Channel) -> Cursor:
        """Follow a channel from now on."""
        cursor = self.cursors[channel.account] = Cursor(channel, wants_risk=self._wants_risk)
        epoch, seq = self._since.pop(channel.account, (None, 0))
        if epoch == channel.epoch:
            cursor.resume(seq)
        self._wake.set()
        return cursor

    def leave(self, account: str) -> None:
        """Follow an account no longer."""
        cursor = self.cursors.pop(account, None)
        if cursor is not None:
            cursor.end()

    def add(self, account: str, step: Step) -> None:
        """Tell the client of a step as soon as it takes something."""
        self.cursors[account].add(step)
        self._wake.set()

    def notice_prices(self) -> None:
        """Tell the client of changed prices when its interval has passed."""
        if self._timer is None:
            self._timer = self._loop.call_at(self._prices_due, self._ring)

    def notice_health(self) -> None:
        """Tell the client of the new health."""
        self._wake.set()

    def _ring(self) -> None:
        self._timer = None
        self._wake.set()

    # -- the task ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell the client everything, until cancelled or the connection is gone (OSError)."""
        try:
            while True:
                await self._tell_accounts()
                await self._tell_health()
                await self._wake.wait()
                self._wake.clear()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _tell_accounts(self) -> None:
        now = self._loop.time()
        is_due = now >= self._prices_due
        for cursor in tuple(self.cursors.values()):
            await self._tell_steps(cursor)
            notices = cursor.tell_prices(self._publisher.now_ms()) if is_due else []  # before any other step can come
            if notices:
                self._prices_due = now + self._interval
                await self._tell(notices)
        if any(cursor.has_news for cursor in self.cursors.values()):
            self.notice_prices()
        elif self._timer is None and any(cursor.owes_risk for cursor in self.cursors.values()):
            self._timer = self._loop.call_later(self._interval, self._ring)

    async def _tell_steps(self, cursor: Cursor) -> None:
        while True:
            if cursor.is_behind:
                await self._tell([cursor.catch_up(self._publisher.now_ms())])
            notices = cursor.next_notices()
            if not notices:
                return
            await self._tell(notices)

    async def _tell_health(self) -> None:
        number = self._publisher.health_number
        if number != self._told_health:
            self._told_health = number
            await self._tell([self._publisher.health(self.caller)])

    async def _tell(self, notices: list[Notice]) -> None:
        for start in range(0, len(notices), TURN):
            some = notices[start : start + TURN]
            await self._publisher.rounds.take(len(some))
            self.blocked_since = self._loop.time()
            await self._send(some)
            self.blocked_since = None
            if len(notices) >= TURN:
                await asyncio.sleep(0)


class Publisher:
    """Hears every change of the desk and hands it, unwritten, to the clients."""

    def __init__(self, desk: Desk, *, stall_seconds: float = STALL_SECONDS, max_clients: int = MAX_CLIENTS) -> None:
        self._desk = desk
        self._max_clients = max_clients
        self._stall_seconds = stall_seconds
        self._channels: dict[str, Channel] = {}
        self._subscribers: set[Subscriber] = set()
        self.rounds = Rounds()
        """What all clients together are told in a round of the loop: the monitors come first."""
        self._task: asyncio.Task[None] | None = None
        self._checks = desk.health.checks
        self.health_number = 1
        """Counts the changes of health."""
        desk.observe(self._take)

    def __len__(self) -> int:
        return len(self._subscribers)

    def waiting(self) -> list[int]:
        """Return how many messages wait for each client."""
        return [sum(cursor.waiting for cursor in each.cursors.values()) for each in self._subscribers]

    def now_ms(self) -> int:
        """Return the time of the desk."""
        return self._desk.clock()

    def health(self, caller: Caller = EVERYONE) -> Notice:
        """Return the message that says how well the process is."""
        return health_notice(health_report(self._desk, caller), self._desk.clock())

    def start(self) -> asyncio.Task[None]:
        """Begin to watch health, accounts and stalled clients; return the task, which ends by failing only."""
        self._task = asyncio.create_task(self._watch(), name="publisher")
        return self._task

    async def stop(self) -> None:
        """Watch no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a client; it starts with what it wants of the accounts that are there.

        Raises: Refused where as many as allowed are there.
        """
        if len(self._subscribers) >= self._max_clients:
            raise Refused(TOO_MANY_CLIENTS, f"{self._max_clients} clients are connected; try again later")
        self._look_at_accounts()
        self._look_at_health()
        for account, channel in self._channels.items():
            if subscriber.wants(account):
                subscriber.join(channel)
        self._subscribers.add(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a client."""
        self._subscribers.discard(subscriber)

    # -- changes -----------------------------------------------------------------------------------------------------

    def _take(self, view: View, change: Change) -> None:
        channel = self._channels.get(view.account)
        if channel is None or channel.monitor is not self._desk.monitor(view.account) or channel.epoch != view.epoch:
            self._look_at_accounts((view.account, change))
            return
        step = channel.take(view, change, self._desk.clock())
        for subscriber in self._subscribers:
            if view.account not in subscriber.cursors:
                continue
            if step is None:
                subscriber.notice_prices()
            else:
                subscriber.add(view.account, step)

    def _look_at_accounts(self, news: tuple[str, Change] | None = None) -> None:
        """Open channels of accounts that are new, close those of accounts that are gone.

        `news` names an account and the change that made its view, which is all that was missed of it.
        """
        monitors = shown_accounts(self._desk)
        for account, channel in list(self._channels.items()):
            monitor = monitors.get(account)
            if monitor is not channel.monitor or monitor.view.epoch != channel.epoch:
                del self._channels[account]
                for subscriber in self._subscribers:
                    subscriber.leave(account)
        for account in monitors.keys() - self._channels.keys():
            channel = self._channels[account] = Channel(monitors[account], monitors[account].view)
            if news is not None and news[0] == account:
                channel.begin_with(news[1], self._desk.clock())
            for subscriber in self._subscribers:
                if subscriber.wants(account):
                    subscriber.join(channel)

    # -- what nobody tells -------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._look_at_accounts()
            self._look_at_health()
            self._cut_stalled()

    def _look_at_health(self) -> None:
        if self._desk.health.checks == self._checks:
            return
        self._checks = self._desk.health.checks
        self.health_number += 1
        for subscriber in self._subscribers:
            subscriber.notice_health()

    def _cut_stalled(self) -> None:
        now = asyncio.get_running_loop().time()
        for subscriber in list(self._subscribers):
            if subscriber.blocked_since is not None and now - subscriber.blocked_since > self._stall_seconds:
                subscriber.abort()
