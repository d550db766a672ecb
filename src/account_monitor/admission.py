"""Admission: keeps the doors' tokens those of the file, and journals who came, and how many were turned away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import structlog

from account_monitor.api.access import MAX_GREETED, REASONS, Access, OpenAccess, Refusals, TokenAccess
from account_monitor.api.metrics import Sample
from account_monitor.config import AuthSettings
from account_monitor.errors import TokensRefused
from account_monitor.ledger.events import Deed
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.monitor.ports import UNROUTED, Delivery
from account_monitor.monitor.reports import time_text
from account_monitor.stores.tokens_file import Stamp, TokensFile
from account_monitor.tokens import Token, TokenSet

LOOK_SECONDS = 0.5
"""How often it is looked whether the file has changed and what has expired: both take effect within a second."""

FILE_SECONDS = 2.0
"""How long the file may take to be looked at or read; a file system that is away may take for ever."""

REFUSALS_EVERY_SECONDS = 60.0
"""How often refused attempts are journaled, in one entry: a flood must not fill the disk."""

MAX_WAITING = 1_000
"""Deeds that wait for a journal that records nothing; beyond, the oldest are lost, and the log says so."""

ADDRESSES_TOLD = 5
NAMES_TOLD = 5
"""Of the most frequent addresses, and of the tokens that are valid no longer, in one entry."""

TOKENS = "tokens"
"""The name of the file of tokens in the health."""

SOURCE = "doors"

log = structlog.get_logger()

T = TypeVar("T")


class Admission:
    """The access of one process. Where no file is configured, everyone on this machine is let in."""

    def __init__(self, settings: AuthSettings, desk: Desk) -> None:
        self.access: Access = OpenAccess()
        self._desk = desk
        self._keeper: _Keeper | None = None
        if settings.tokens_file is not None:
            access = TokenAccess(
                TokenSet(),
                clock=desk.clock,
                rate_per_second=settings.rate_limit_per_second,
                on_first_use=self._note_first_use,
            )
            self.access = access
            self._keeper = _Keeper(TokensFile(settings.tokens_file), access, desk, self._note)
        self._waiting: deque[Deed] = deque()

    async def open(self) -> None:
        """Read the file, before the first door opens. Raises: TokensRefused for one that may not be used."""
        if self._keeper is not None:
            await self._keeper.open()

    async def run(self) -> None:
        """Take over what changes in the file, and journal what happens at the doors, until cancelled."""
        keeper = self._keeper
        if keeper is None:
            return
        until_told = REFUSALS_EVERY_SECONDS
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                await keeper.look()
                until_told -= LOOK_SECONDS
                if until_told <= 0:
                    until_told = REFUSALS_EVERY_SECONDS
                    self._note_refusals(keeper.access.take_refusals())
                self._journal()
        finally:
            self._note_refusals(keeper.access.take_refusals())
            self._journal()

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics of who was refused, and of the tokens."""
        keeper = self._keeper
        refused = dict.fromkeys(REASONS, 0) if keeper is None else keeper.access.refused
        for reason, count in refused.items():
            yield Sample(
                "auth_refused_total", "Requests that were refused at a door.", "counter", count, {"reason": reason}
            )
        tokens = TokenSet() if keeper is None else keeper.tokens
        for state, number in _states(tokens, self._desk.clock()).items():
            yield Sample("auth_tokens", "Tokens by state.", "gauge", number, {"state": state})

    # -- what is journaled -------------------------------------------------------------------------------------------

    def _note_first_use(self, token: Token, address: str | None) -> None:
        detail = "" if address is not None else f"from more than {MAX_GREETED} addresses: no longer noted"
        name = f"token_used:{token.id}:{address or 'more'}:{self._desk.started_ms}"
        self._note(Deed(name, self._desk.clock(), "token_used", token.name, address, detail=detail))

    def _note_refusals(self, refusals: Refusals) -> None:
        if not refusals.reasons:
            return
        now_ms = self._desk.clock()
        told = ", ".join(f"{reason}: {count}" for reason, count in sorted(refusals.reasons.items()))
        origins = _most(refusals.addresses, ADDRESSES_TOLD)
        names = _most(refusals.names, NAMES_TOLD)
        count = sum(refusals.reasons.values())
        log.warning("callers_refused", count=count, reasons=refusals.reasons, origins=origins, tokens=names or None)
        told += f"; from {origins}" + (f"; tokens valid no longer: {names}" if names else "")
        self._note(Deed(f"refused:{now_ms}", now_ms, "refused", attempts=count, detail=told))

    def _note(self, deed: Deed) -> None:
        if len(self._waiting) >= MAX_WAITING:
            lost = self._waiting.popleft()
            log.error("deed_not_journaled", deed=lost.event_id, reason=f"{MAX_WAITING} wait for the journal")
        self._waiting.append(deed)

    def _journal(self) -> None:
        """Hand over what waits to the journal of what belongs to no account."""
        monitor = self._desk.monitor(UNROUTED)
        if monitor is None or monitor.journal.failure is not None:
            return
        while self._waiting:
            monitor.inbox.put(Delivery(SOURCE, "", b"", self._waiting.popleft()))


class _Keeper:
    """Keeps an access knowing what the file says: what is broken changes nothing, what is gone lets nobody in."""

    def __init__(self, file: TokensFile, access: TokenAccess, desk: Desk, note: Callable[[Deed], None]) -> None:
        self.access = access
        self.tokens = TokenSet()
        self._file = file
        self._desk = desk
        self._note = note
        self._stamp: Stamp | None = None
        self._aside = _Aside()
        self._is_missing = False
        self._problem: str | None = None

    async def open(self) -> None:
        """Know the tokens of the file. Raises: TokensRefused."""
        self._stamp = self._file.stamp()
        tokens = await asyncio.to_thread(self._file.read, is_served=True)
        self._is_missing = tokens is None
        self._take(tokens or TokenSet())

    async def look(self) -> None:
        """Take over a file that has changed, and end what has expired."""
        self.access.look()
        try:
            await self._take_over_changes()
        except TimeoutError:
            self._stamp, self._is_missing = None, False  # what it is by then is read anew
            self._refuse(f"{self._file.path} cannot be read: its file system does not answer within {FILE_SECONDS:g} s")

    async def _take_over_changes(self) -> None:
        stamp = await self._aside.run(self._file.stamp)
        if stamp == self._stamp and (stamp is not None or self._is_missing):
            self._tell()  # of what has expired
            return
        is_away_anew, self._stamp = stamp is None and self._stamp is not None, stamp
        if is_away_anew:
            return  # somebody may be replacing it: the next look tells
        await self._read()

    async def _read(self) -> None:
        try:
            tokens = await self._aside.run(partial(self._file.read, is_served=True))
        except TokensRefused as error:
            self._refuse(str(error))
            return
        self._problem = None
        self._is_missing = tokens is None
        self._take(tokens or TokenSet())
        log.info("tokens_taken_over", file=str(self._file.path), **_states(self.tokens, self._desk.clock()))

    def _refuse(self, problem: str) -> None:
        if problem != self._problem:
            log.error("tokens_refused", reason=problem)
        self._problem = problem
        self._tell()

    def _take(self, tokens: TokenSet) -> None:
        before, self.tokens = self.tokens, tokens
        self.access.take(tokens)
        for deed in _deeds(before.tokens, tokens.tokens):
            self._note(deed)
        self._tell()
        if not _states(tokens, self._desk.clock())["valid"]:
            log.warning("nobody_is_let_in", file=str(self._file.path), reason=self._nobody)

    def _tell(self) -> None:
        """Keep the health true."""
        states = _states(self.tokens, self._desk.clock())
        counts = ", ".join(f"{number} {state}" for state, number in states.items())
        if self._problem is not None:
            told = f"what was changed is not taken over: {self._problem}; as before: {counts}"
            self._desk.health.report(TOKENS, Status.DEGRADED, told)
        elif not states["valid"]:
            self._desk.health.report(TOKENS, Status.DEGRADED, f"{self._nobody} ({counts})")
        else:
            self._desk.health.report(TOKENS, Status.HEALTHY, counts)

    @property
    def _nobody(self) -> str:
        state = "is not there" if self._is_missing else "holds no valid token"
        return f"{self._file.path} {state}: nobody is let in; account-monitor token create makes one"


def _most(counts: list[tuple[str, int]], limit: int) -> str:
    """Return the first of them with their counts, and how many more there are."""
    told = ", ".join(f"{what}: {count}" for what, count in counts[:limit])
    more = len(counts) - limit
    return f"{told} and {more} more" if more > 0 else told


class _Aside:
    """Does what a file system may keep waiting for ever in a thread of its own, which the end of the process does not
    wait for; one at a time, so that threads do not pile up.
    """

    def __init__(self) -> None:
        self._is_busy = False

    async def run(self, work: Callable[[], T]) -> T:
        """Return what work returns. Raises: what it raises; TimeoutError while it, or the one before, is at it."""
        if self._is_busy:
            raise TimeoutError
        self._is_busy = True
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        threading.Thread(target=self._work, args=(work, loop, done), name="tokens", daemon=True).start()
        async with asyncio.timeout(FILE_SECONDS):  # unlike `wait_for`, cancelled also where it is done in the same turn
            return await done

    def _work(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop, done: asyncio.Future[T]) -> None:
        try:
            settle = partial(done.set_result, work())
        except Exception as error:  # noqa: BLE001  # who waits for it raises it
            settle = partial(done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(self._settle, done, settle)

    def _settle(self, done: asyncio.Future[T], settle: Callable[[], None]) -> None:
        self._is_busy = False
        if not done.done():  # nobody waits for it any more
            settle()


def _states(tokens: TokenSet, now_ms: int) -> dict[str, int]:
    counts = Counter(token.state(now_ms) for token in tokens.tokens)
    return {"valid": counts["valid"], "expired": counts["expired"], "revoked": counts["revoked"]}


def _deeds(before: Iterable[Token], now: Iterable[Token]) -> Iterator[Deed]:
    """Yield what became of tokens; what the journal has from an earlier run has the same name, and counts once."""
    known = {token.id: token for token in before}
    for token in now:
        old = known.get(token.id)
        if old is None:
            yield Deed(
                f"token_created:{token.id}", token.created_ms, "token_created", token.created_by, detail=_said(token)
            )
        if token.revoked_ms is not None and (old is None or old.revoked_ms is None):
            name = f"token_revoked:{token.id}"
            yield Deed(name, token.revoked_ms, "token_revoked", token.revoked_by, detail=f"token {token.name}")


def _said(token: Token) -> str:
    accounts = "all accounts" if token.accounts is None else f"accounts {', '.join(sorted(token.accounts)) or 'none'}"
    expires = "never expires" if token.expires_ms is None else f"expires {time_text(token.expires_ms)}"
    return f"token {token.name}: {token.right}, {accounts}, {expires}"
