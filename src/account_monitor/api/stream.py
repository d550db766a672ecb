"""Stream: what happened to an account, as messages in order, kept for a while. Waits for nothing, sends nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Fill
from account_monitor.ledger.reconciliation import Reconciliation
from account_monitor.ledger.valuation import Balance, PnL, PositionValue
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.ports import JournalEntry
from account_monitor.monitor.reports import (
    AlertReport,
    account_report,
    alert_report,
    balance_report,
    fill_report,
    held_report,
    pnl_report,
    reconciliation_report,
    standing_report,
    time_text,
)
from account_monitor.monitor.views import Change, Held, View

RING_MESSAGES = 20_000
"""Messages kept for clients that come back: some ten seconds of heavy trading."""

RING_BYTES = 16 * 1024 * 1024
"""About how much memory they may take, for each account."""

SNAPSHOT_MS = 250
"""How old a snapshot may be that a client starts from; what came after it follows. Many may come at once."""

SNAPSHOT_MESSAGES = 1_000
"""How many messages may follow one: more, and a new one is cheaper."""

_ENTRY_BYTES, _POSITION_BYTES, _BALANCE_BYTES = 1_100, 1_400, 500
"""Of one message and what it is made from; measured."""

Kind: TypeAlias = Literal[
    "snapshot", "fill", "alert", "reconciliation", "position_update", "balance_update", "pnl_update", "risk_update",
    "health",
]  # fmt: skip

_encode = msgspec.json.Encoder().encode


def _alert_report(account: str, entry: JournalEntry) -> AlertReport:
    assert isinstance(entry.event, Alert)  # `_TOLD` says so
    return alert_report(account, entry.event)


_TOLD: Mapping[type, tuple[Kind, Callable[[str, JournalEntry], msgspec.Struct]]] = {
    Fill: ("fill", fill_report),
    Alert: ("alert", _alert_report),
    Reconciliation: ("reconciliation", reconciliation_report),
}
"""By kind of event, the entries that are told one by one, each under its own sequence, and how they are reported."""

ENTRY_KINDS = frozenset(kind for kind, _ in _TOLD.values())
"""Messages that tell of an entry, and so exactly once; the others tell how things are, and may be told twice."""


class Message:
    """A message without its beginning, which depends on what the client was told before: `,"timestamp":…,"data":…}`.

    `wire` is the same in the form of another door, which makes it when it first tells it, once for all its clients.
    """

    __slots__ = ("kind", "seq", "tail", "wire")

    def __init__(self, kind: Kind, seq: int, tail: str) -> None:
        self.kind = kind
        self.seq = seq
        self.tail = tail
        self.wire: bytes | None = None


class Notice(NamedTuple):
    """A message as it is told to one client, whom `prev` was told before. Without a channel it is of no account."""

    channel: Channel | None
    message: Message
    prev: int | None

    def text(self) -> str:
        """Return it as JSON."""
        message = self.message
        if self.channel is None:
            return f'{{"type":"{message.kind}","account":null,"epoch":null,"seq":null,"prev":null{message.tail}'
        return self.channel.text(message, self.prev)


def health_notice(report: msgspec.Struct, now_ms: int) -> Notice:
    """Return how well the process is, which belongs to no account."""
    return Notice(None, Message("health", 0, _tail(now_ms, _encode(report).decode())), None)


class Step:
    """One recorded change: its entries, then the positions and wallets as they are after. Written when first read."""

    __slots__ = ("_messages", "_write", "count", "seq", "size")

    def __init__(self, seq: int, count: int, size: int, write: Callable[[], tuple[Message, ...]]) -> None:
        self.seq = seq
        self.count = count
        self.size = size
        self._write: Callable[[], tuple[Message, ...]] | None = write
        self._messages: tuple[Message, ...] = ()

    def messages(self) -> tuple[Message, ...]:
        """Return the messages, the same for every client."""
        if self._write is not None:
            self._messages = self._write()
            self._write = None  # what they were made from is no longer needed
        return self._messages


class Snapshot(NamedTuple):
    """The whole account, and how many changes of prices it includes."""

    message: Message
    tick: int
    at_ms: int
    pnl: PnL

    @property
    def seq(self) -> int:
        """As of which sequence."""
        return self.message.seq


class Channel:
    """One account: its newest view, the recent steps, and what prices changed since.

    A new monitor of the same account is a new channel: nobody knows what was missed between them.
    """

    def __init__(self, monitor: Monitor, view: View) -> None:
        self.account = view.account
        self.epoch = view.epoch
        self.monitor = monitor
        self.view = view
        self.tick = 1
        """Counts every change."""
        self._steps: deque[Step] = deque()
        self._kept = 0
        self._kept_bytes = 0
        self._first_seq = view.seq
        """The lowest sequence after which nothing is missing here."""
        self._revalued: dict[tuple[Kind, str], tuple[int, int]] = {}
        """What prices alone have changed, by (kind, key), oldest first, with the tick and the sequence at that time."""
        self._snapshot: Snapshot | None = None
        self._position_texts: dict[str, tuple[PositionValue, str]] = {}
        self._pnl_text: tuple[int, str] = (-1, "")
        self._standing_text: tuple[int, str] = (-1, "")
        self._name = _encode(self.account).decode()
        # Who comes back from before the start may have heard of this sequence, and not of all that it changed.
        self._revalue("position_update", view.positions)
        self._revalue("balance_update", view.balances)

    # -- what happens ------------------------------------------------------------------------------------------------

    def begin_with(self, change: Change, now_ms: int) -> None:
        """Keep the change that made the first view."""
        if change.recorded is not None and change.recorded.entries and self._keep(self.view, change, now_ms):
            self._first_seq = change.recorded.entries[0].seq - 1

    def take(self, view: View, change: Change, now_ms: int) -> Step | None:
        """Take a change; return the step that it is, None for a change of prices only, and one that shows nowhere."""
        before, self.view = self.view, view
        self.tick += 1
        self._note_wallets(before.balances, view, set(change.assets))
        if change.recorded is None:
            self._revalue("position_update", change.positions)
            return None
        for key in change.positions:  # the step tells
            self._revalued.pop(("position_update", key), None)
        for asset in change.assets:
            self._revalued.pop(("balance_update", asset), None)
        return self._keep(view, change, now_ms)

    def _note_wallets(self, before: Mapping[str, Balance], view: View, told: set[str]) -> None:
        changed = [
            asset for asset, balance in view.balances.items() if asset not in told and balance != before.get(asset)
        ]
        self._revalue("balance_update", changed)

    def _revalue(self, kind: Kind, keys: Iterable[str]) -> None:
        for key in keys:
            self._revalued.pop((kind, key), None)
            self._revalued[kind, key] = (self.tick, self.view.seq)

    def _keep(self, view: View, change: Change, now_ms: int) -> Step | None:
        seq, entries = view.seq, _told(change)
        positions = [view.held(key) for key in change.positions]
        # A wallet of which nothing was ever moved, such as by a first fill without a fee, is named but not there.
        balances = [view.balances[asset] for asset in change.assets if asset in view.balances]
        count = len(entries) + len(positions) + len(balances)
        if not count:
            return None
        size = _ENTRY_BYTES * len(entries) + _POSITION_BYTES * len(positions) + _BALANCE_BYTES * len(balances)
        step = Step(seq, count, size, lambda: self._write(seq, entries, positions, balances, now_ms))
        self._steps.append(step)
        self._kept += count
        self._kept_bytes += size
        while self._kept > RING_MESSAGES or self._kept_bytes > RING_BYTES:
            self._evict()
        return step

    def _evict(self) -> None:
        step = self._steps.popleft()
        self._kept -= step.count
        self._kept_bytes -= step.size
        self._first_seq = step.seq + 1  # of its own sequence, somebody may have heard the first half

    # -- what clients are told ---------------------------------------------------------------------------------------

    def text(self, message: Message, prev: int | None) -> str:
        """Return the whole message for a client that was told `prev` before."""
        told = "null" if prev is None else prev
        return (
            f'{{"type":"{message.kind}","account":{self._name},"epoch":{self.epoch},"seq":{message.seq},'
            f'"prev":{told}{message.tail}'
        )

    def since(self, seq: int) -> list[Step] | None:
        """Return the steps that a client may have missed that was told `seq` last; None: it needs a snapshot.

        The last step that it heard of is among them, because it may not have heard all of it.
        """
        if not self._first_seq <= seq <= self.view.seq:
            return None
        return self._after(seq - 1)

    def tick_at(self, seq: int) -> int:
        """Return a tick such that every price that changed since `seq` came after it."""
        earliest = self.tick + 1
        for tick, at_seq in reversed(self._revalued.values()):
            if at_seq < seq:
                break
            earliest = tick
        return earliest - 1

    def snapshot(self, now_ms: int) -> tuple[Snapshot, list[Step]]:
        """Return a snapshot that is new enough, and the steps after it."""
        known = self._snapshot
        if known is not None and (known.tick == self.tick or self._is_new_enough(known, now_ms)):
            return known, self._after(known.seq)
        data = _encode(account_report(self.view, now_ms)).decode()
        message = Message("snapshot", self.view.seq, _tail(now_ms, data))
        self._snapshot = Snapshot(message, self.tick, now_ms, self.view.pnl)
        return self._snapshot, []

    def _is_new_enough(self, snapshot: Snapshot, now_ms: int) -> bool:
        return (
            0 <= now_ms - snapshot.at_ms < SNAPSHOT_MS
            and snapshot.seq >= self._first_seq - 1
            and sum(step.count for step in self._after(snapshot.seq)) <= SNAPSHOT_MESSAGES
        )

    def revalued(self, tick: int, seq: int, now_ms: int) -> Iterator[Message]:
        """Yield what prices changed after `tick`, at its newest value, for a client that was told `seq` last."""
        for (kind, key), (at_tick, _) in reversed(self._revalued.items()):
            if at_tick <= tick:
                return
            yield Message(kind, seq, _tail(now_ms, self._newest(kind, key)))

    def pnl(self, seq: int, now_ms: int) -> Message:
        """Return the P&L of now, for a client that was told `seq` last."""
        if self._pnl_text[0] != self.tick:
            self._pnl_text = (self.tick, _encode(pnl_report(self.view)).decode())
        return Message("pnl_update", seq, _tail(now_ms, self._pnl_text[1]))

    def standing(self) -> str:
        """Return margins, and how the account compares with its exchange, as they are now."""
        if self._standing_text[0] != self.tick:
            self._standing_text = (self.tick, _encode(standing_report(self.view)).decode())
        return self._standing_text[1]

    def risk(self, seq: int, now_ms: int) -> Message:
        """Return what `standing` tells, for a client that was told `seq` last."""
        return Message("risk_update", seq, _tail(now_ms, self.standing()))

    def _after(self, seq: int) -> list[Step]:
        steps: list[Step] = []
        for step in reversed(self._steps):
            if step.seq <= seq:
                break
            steps.append(step)
        steps.reverse()
        return steps

    # -- as text -----------------------------------------------------------------------------------------------------

    def _write(
        self,
        seq: int,
        entries: list[JournalEntry],
        positions: list[Held],
        balances: list[Balance],
        now_ms: int,
    ) -> tuple[Message, ...]:
        start = f',"timestamp":"{time_text(now_ms)}","data":'
        return (
            *(self._entry(start, entry) for entry in entries),
            *(Message("position_update", seq, f"{start}{self._position_text(p)}}}") for p in positions),
            *(Message("balance_update", seq, f"{start}{_balance_text(b)}}}") for b in balances),
        )

    def _entry(self, start: str, entry: JournalEntry) -> Message:
        kind, report = _TOLD[type(entry.event)]
        return Message(kind, entry.seq, f"{start}{_encode(report(self.account, entry)).decode()}}}")

    def _newest(self, kind: Kind, key: str) -> str:
        if kind == "position_update":
            return self._position_text(self.view.held(key))
        return _balance_text(self.view.balances[key])

    def _position_text(self, held: Held) -> str:
        """Return a position as it became; its liquidation price is that of then, and moves on with all the others."""
        position = held.position
        known = self._position_texts.get(position.key)
        if known is not None and known[0] is position:
            return known[1]
        text = f'{{"key":{_encode(position.key).decode()},{_encode(held_report(held)).decode()[1:]}'
        self._position_texts[position.key] = (position, text)
        return text


def _told(change: Change) -> list[JournalEntry]:
    """Return the entries of a change that are told one by one, in the order of the journal."""
    return [] if change.recorded is None else [e for e in change.recorded.entries if type(e.event) in _TOLD]


def _balance_text(balance: Balance) -> str:
    return _encode(balance_report(balance)).decode()


def _tail(now_ms: int, data: str) -> str:
    return f',"timestamp":"{time_text(now_ms)}","data":{data}}}'
