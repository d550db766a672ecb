"""The current state in Redis: what does every account hold now, for programs that read it there?

A follower of the views, never a source: what Redis loses is written again, and an outage delays nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import msgspec
import structlog

from account_monitor.errors import StorageRefused, StorageUnavailable
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.monitor.ports import UNROUTED
from account_monitor.monitor.reports import balance_report, held_report, place_report, pnl_report
from account_monitor.monitor.schedule import Every, Monotonic
from account_monitor.monitor.views import Change, View
from account_monitor.stores.lua import load_script
from account_monitor.stores.redis_connection import Answer, Command, RedisConnection

REDIS = "redis"
"""Its name in health, metrics and alerts."""

ROUND_SECONDS = 0.05
"""Between the beginnings of two rounds: a busy account is written twenty times a second."""

ROUND_KEYS = 5_000
"""Keys in one round, of whole accounts: the first fill of many large accounts takes several."""

REPORTS_AT_ONCE = 100
"""Reports that are made before the rest of the process gets its turn: about 2 ms."""

KEY_SECONDS = 0.0003
"""How long after a round the next one is, for each changed key in it: ten times what a key costs, so that many busy
accounts take a tenth of a core, and no more.
"""

LOOK_SECONDS = 0.4
"""How often it is looked whether Redis still holds what was written."""

RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 2.0
"""The first and the longest pause between two attempts to connect."""

UNAVAILABLE_SECONDS = 5.0
"""How long it may be away before people hear of it: a restart is shorter."""

SAID_EVERY_SECONDS = 60.0
"""How often it is said that Redis had lost something: two that write the same account would say it all the time."""

SCRIPT = load_script("write_state")

Value = TypeVar("Value")

_encode = msgspec.json.Encoder().encode

log = structlog.get_logger()


class _Place(msgspec.Struct):
    """How far a state in Redis is."""

    epoch: int
    seq: int


_read_place = msgspec.json.Decoder(_Place).decode


@dataclass(slots=True)
class _Held:
    """What Redis holds of an account, as far as this process knows."""

    view: View | None = None
    """What was written last; None: not known, so that everything has to be written."""
    place: bytes = b""
    """What the place holds since then; empty: not known."""
    status: str = ""
    """Which status it names."""
    epoch: int = 0
    seq: int = 0
    """Of what was written last, even if it is lost."""
    refused: str | None = None
    """Why nothing is written: somebody has written a newer state."""
    refused_at: float = 0.0


class _Write(NamedTuple):
    """One account in a round."""

    account: str
    view: View | None
    """None: the account is removed."""
    place: bytes
    values: dict[bytes, bytes]
    is_whole: bool
    status: str = ""


class CurrentState:
    """Keeps the newest view of every account of the desk in Redis, key by key.

    A round writes what changed of all accounts since the one before, each account at once, and only over what this
    process wrote before or over an older state. One round is on its way at a time.
    """

    def __init__(
        self, desk: Desk, alarms: AlarmBoard, connection: RedisConnection, *, monotonic: Monotonic = time.monotonic
    ) -> None:
        self.rounds = 0
        """Rounds that were written, since the start."""
        self._desk = desk
        self._alarms = alarms
        self._connection = connection
        self._monotonic = monotonic
        self._held: dict[str, _Held] = {}
        self._changed: dict[str, None] = {}
        """Accounts to write, the longest waiting first."""
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._script = b""
        """By what name Redis knows the script."""
        self._round_at = self._look_at = 0.0
        self._is_tried = False
        """Whether anything was written since it was connected."""
        self._made = 0
        self._failure: str | None = None
        self._failing_since = 0.0
        self._reason = ""
        """The same without what happens next."""
        self._needs_help = False
        """Whether waiting does not end the failure."""
        self._is_said = False
        """Whether it was said where the state is written."""
        self._said_lost = Every(SAID_EVERY_SECONDS, monotonic)
        desk.observe(self._note)

    def _note(self, view: View, _change: Change) -> None:
        if view.account != UNROUTED:
            self._changed[view.account] = None
            self._news.set()

    def _accounts(self) -> list[str]:
        return [monitor.name for monitor in self._desk.monitors() if monitor.name != UNROUTED]

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until `stop`, through every outage."""
        pause = RETRY_SECONDS
        try:
            while True:
                try:
                    await self._open()
                    await self._serve()
                    return
                except StorageUnavailable as error:
                    pause = RETRY_SECONDS if self._failure is None else min(2 * pause, LONGEST_RETRY_SECONDS)
                    self._note_failure(str(error), needs_help=isinstance(error, StorageRefused))
                if await _is_set_within(self._stopping, pause):
                    log.warning("redis_incomplete", reason=f"{self._reason}; the next start writes the rest")
                    return
        finally:
            await self._connection.close()

    def stop(self) -> None:
        """Let `run` write the last state and end."""
        self._stopping.set()
        self._news.set()

    async def _open(self) -> None:
        """Connect, knowing nothing of what Redis holds: it may have been restarted, or be another one."""
        await self._connection.open()
        (self._script,) = await self._connection.ask([("SCRIPT", "LOAD", SCRIPT)])
        for account in {*self._held, *self._accounts()}:
            self._lose(account)
        if not self._is_said:
            self._is_said = True
            keys = _key("<account>", "").decode() + "*"
            log.info("redis_opened", redis=self._connection.where, keys=keys)
        self._is_tried = False
        self._round_at = 0.0
        self._look_at = self._monotonic() + LOOK_SECONDS

    async def _serve(self) -> None:
        """Write and look in turn, until all is written and the service stops."""
        while True:
            now = self._monotonic()
            if now >= self._look_at:
                await self._look()
            elif self._changed and (now >= self._round_at or self._stopping.is_set()):
                await self._round()
            elif self._stopping.is_set():
                return
            elif self._changed:
                await _is_set_within(self._stopping, min(self._round_at, self._look_at) - now)
            else:
                self._news.clear()
                await _is_set_within(self._news, self._look_at - now)

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        """Write what changed."""
        started = self._monotonic()
        writes = await self._make_writes()
        keys = sum(len(write.values) for write in writes if not write.is_whole)
        self._round_at = started + max(ROUND_SECONDS, keys * KEY_SECONDS)
        if not writes:
            return
        answers = await self._connection.ask([self._command(write) for write in writes])
        self.rounds += 1
        self._is_tried = True
        lost = [write.account for write, answer in zip(writes, answers, strict=True) if not self._take(write, answer)]
        self._take_lost(lost)
        self._note_success()

    async def _make_writes(self) -> list[_Write]:
        """Return what to write of the accounts that wait longest; the others come next."""
        writes: list[_Write] = []
        keys = 0
        limit = ROUND_KEYS if self._is_tried else 1  # what may be the reason of an outage is tried with one account
        for account in list(self._changed):  # once each, whatever changes meanwhile
            if keys >= limit:
                break
            del self._changed[account]
            write = await self._make_write(account)
            if write is not None:
                writes.append(write)
                keys += 1 + len(write.values)
        return writes

    async def _make_write(self, account: str) -> _Write | None:
        """Return what brings Redis up to date with an account, None where nothing has to be written."""
        monitor, held = self._desk.monitor(account), self._held.setdefault(account, _Held())
        if monitor is None and self._desk.cluster is not None and account in self._desk.accounts:
            del self._held[account]  # another process holds it, and writes it
            return None
        if monitor is None:
            return _Write(account, None, b"", {}, is_whole=True)
        if not monitor.speaks():
            held.view, held.place = None, b""  # the next look tries again
            return None
        if held.refused is not None:
            return None
        view, before = monitor.view, _shared_names(monitor.view, held.view)
        status = monitor.status
        values = {}
        for key, report in _reports(view, before):
            values[key] = _encode(report)
            self._made += 1
            if self._made % REPORTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        is_known = before is not None and (before.epoch, before.seq, held.status) == (view.epoch, view.seq, status)
        if not values and is_known:
            return None
        place = _encode(place_report(view, self._desk.clock(), status=status))
        return _Write(account, view, place, values, is_whole=before is None, status=status)

    def _command(self, write: _Write) -> Command:
        held, keys = self._held[write.account], (_key(write.account, "seq"), _key(write.account, "keys"), *write.values)
        epoch, seq = (held.epoch, held.seq) if write.view is None else (write.view.epoch, write.view.seq)
        expected = b"" if write.is_whole else held.place
        return (
            "EVALSHA", self._script, len(keys), *keys, epoch, seq, expected, write.place, *write.values.values(),
        )  # fmt: skip

    def _take(self, write: _Write, answer: Answer) -> bool:
        """Note what became of a write; return whether Redis still held what was written before."""
        held = self._held[write.account]
        match answer, write.view:
            case [b"written" | b"newer", _], None:  # newer: somebody else goes on with it
                del self._held[write.account]
                log.info("redis_account_removed", account=write.account)
            case [b"written", _], View(epoch=epoch, seq=seq):
                held.view, held.place, held.epoch, held.seq = write.view, write.place, epoch, seq
                held.status = write.status
            case [b"newer", bytes(place)], _:
                self._note_refused(write.account, held, place)
            case [b"lost", _], _:
                return False
            case _:
                raise self._nonsense(answer)
        return True

    def _take_lost(self, accounts: list[str]) -> None:
        """Write all of these accounts again, at once."""
        for account in accounts:
            self._lose(account)
        if accounts:
            self._round_at = 0.0
            if self._said_lost.is_due():
                log.warning("redis_state_lost", count=len(accounts), account=accounts[0])

    def _lose(self, account: str) -> None:
        held = self._held.setdefault(account, _Held())
        held.view, held.place, held.refused = None, b"", None
        self._changed[account] = None

    # -- looking -----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """See whether Redis still holds what was written, and whether what refused still does."""
        self._look_at = self._monotonic() + LOOK_SECONDS
        accounts = self._accounts()
        for account in self._held.keys() - set(accounts):
            self._changed[account] = None  # it is not monitored any more, so it has no current state
        if not accounts:
            return
        (places,) = await self._connection.ask([("MGET", *(_key(account, "seq") for account in accounts))])
        if not isinstance(places, list) or len(places) != len(accounts):
            raise self._nonsense(places)
        lost = []
        for account, place in zip(accounts, places, strict=True):
            held = self._held.setdefault(account, _Held())
            if held.refused is not None:
                self._try_again(account, place)
            elif held.view is None:
                self._changed[account] = None  # it came without a change
            elif place != held.place:
                lost.append(account)
            elif (monitor := self._desk.monitor(account)) is not None and monitor.status != held.status:
                self._changed[account] = None
        self._take_lost(lost)
        self._note_success()

    def _try_again(self, account: str, place: bytes | None) -> None:
        """Write over a newer state that is gone, or newer no more."""
        theirs, monitor = _read(place), self._desk.monitor(account)
        if monitor is not None and (theirs.epoch, theirs.seq) <= (monitor.view.epoch, monitor.view.seq):
            self._lose(account)

    def _nonsense(self, answer: Answer) -> StorageUnavailable:
        return StorageUnavailable(f"{self._connection.where}: answered {str(answer)[:80]!r}, as no Redis does")

    # -- what others hear --------------------------------------------------------------------------------------------

    def _note_refused(self, account: str, held: _Held, place: bytes) -> None:
        theirs = _read(place)
        held.view, held.place = None, b""
        held.refused = (
            f"{self._connection.where}: somebody has written a newer state of {account}, epoch {theirs.epoch} seq"
            f" {theirs.seq}; if nobody does any more, delete the key {_key(account, 'seq').decode()}"
        )
        held.refused_at = self._monotonic()
        log.error("redis_state_refused", account=account, epoch=theirs.epoch, seq=theirs.seq)

    def _note_failure(self, reason: str, *, needs_help: bool) -> None:
        is_news = self._failure is None or needs_help is not self._needs_help
        if self._failure is None:
            self._failing_since = self._monotonic()
        self._reason = reason
        self._failure = f"{reason}; tried again every {LONGEST_RETRY_SECONDS:g} s, nothing waits for it"
        self._needs_help = needs_help
        if is_news and needs_help:
            log.error("redis_refused", reason=self._failure)
        elif is_news:
            log.warning("redis_not_written", reason=self._failure)

    def _note_success(self) -> None:
        """End a failure once every account is written again: the first of many may fit where all do not."""
        if self._failure is None:
            return
        held = [self._held.get(account, _Held()) for account in self._accounts()]
        if all(each.view is not None or each.refused is not None for each in held):
            log.info("redis_written_again", seconds=round(self._monotonic() - self._failing_since, 1))
            self._failure = None

    def watch(self) -> None:
        """Keep the health check and the alerts true; called a few times a second."""
        held = {account: self._held.get(account, _Held()) for account in self._accounts()}
        refused = [each.refused for each in held.values() if each.refused is not None]
        where = self._connection.where
        if self._failure is not None:
            self._desk.health.report(REDIS, Status.DEGRADED, self._failure)
        elif refused:
            self._desk.health.report(REDIS, Status.DEGRADED, f"{len(refused)} accounts, {refused[0]}")
        elif any(each.view is None for each in held.values()):
            self._desk.health.report(REDIS, Status.HEALTHY, f"{where}: is being filled")
        else:
            self._desk.health.report(REDIS, Status.HEALTHY, f"{where}: written")
        for account, each in held.items():
            self._watch_account(account, each)

    def _watch_account(self, account: str, held: _Held) -> None:
        if self._failure is not None:
            problem, since = self._failure, self._failing_since
        elif held.refused is not None:
            problem, since = held.refused, held.refused_at
        else:
            if held.view is not None:
                self._alarms.resolve(account, "STORAGE_UNAVAILABLE", symbol=REDIS)
            return
        is_final = self._failure is not None and self._needs_help
        if is_final or self._monotonic() - since >= UNAVAILABLE_SECONDS:
            self._alarms.fire(account, "STORAGE_UNAVAILABLE", f"redis: {problem}", symbol=REDIS)

    def lags(self) -> Iterable[tuple[str, int]]:
        """Yield each account with the journal entries that its view holds and Redis does not."""
        for account in self._accounts():
            monitor, held = self._desk.monitor(account), self._held.get(account, _Held())
            if monitor is not None:
                yield account, max(0, monitor.view.seq - held.seq)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, for so long at most."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _key(account: str, name: str) -> bytes:
    return f"account-monitor:{account}:{name}".encode()


def _read(place: bytes | None) -> _Place:
    """Return how far what somebody wrote is; (0, 0), older than everything, where nobody can say."""
    try:
        return _Place(0, 0) if place is None else _read_place(place)
    except msgspec.DecodeError:
        return _Place(0, 0)


def _shared_names(view: View, before: View | None) -> View | None:
    """Return the view before if this one has all its keys; else everything is written, which deletes what is gone."""
    if before is None:
        return None
    has_all = view.positions.keys() >= before.positions.keys() and view.balances.keys() >= before.balances.keys()
    return before if has_all else None


def _reports(view: View, before: View | None) -> Iterator[tuple[bytes, object]]:
    """Yield key and report of what differs from the view before, or of everything."""
    account = view.account
    positions, balances = ({}, {}) if before is None else (before.positions, before.balances)
    for name in _changes(view.positions, positions):
        yield _key(account, f"position:{name}"), held_report(view.held(name))
    for name in _changes(view.balances, balances):
        yield _key(account, f"balance:{name}"), balance_report(view.balances[name])
    if before is None or before.as_of_ms != view.as_of_ms or before.pnl != view.pnl:
        yield _key(account, "pnl"), pnl_report(view)
    if before is None or (len(view.positions), len(view.balances)) != (len(positions), len(balances)):
        names = [
            "pnl",
            *(f"position:{name}" for name in view.positions),
            *(f"balance:{name}" for name in view.balances),
        ]
        yield _key(account, "keys"), names


def _changes(new: Mapping[str, Value], old: Mapping[str, Value]) -> list[str]:
    """Return the names of what is new or other; views share what did not change."""
    if new is old:
        return []
    return [name for name, value in new.items() if (known := old.get(name)) is not value and known != value]
