"""Keeper: one member's part. It renews its session, takes what it should hold, and hands over what it should not.

Nothing here decides who may write: the store does, and a `HeldLease` says for how long. Three loops go on beside each
other, and none waits for the work that an account is: one renews, one looks at the board, one sees that time runs out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import msgspec
import structlog

from account_monitor.cluster.assignment import Plan, assign
from account_monitor.cluster.attendance import NAMED_SECONDS, Attendance
from account_monitor.cluster.leases import HeldLease, LeaseStore, Loss, Seconds, Session, Terms, new_session_id
from account_monitor.cluster.members import Board, Card, Holding, Member
from account_monitor.errors import AccountMonitorError, LeaseLost, StorageUnavailable

RETRY_SECONDS = 0.25
"""How long to wait before a store that did not answer is asked again."""

BUSY_SECONDS = 0.05
"""The same where a lease could not be had because its former holder is committing."""

AGAIN_SECONDS = 5.0
"""How long a member leaves an account to others that it could not take up."""

ACQUIRED_AT_ONCE = 100
"""Leases that are asked for in one transaction."""

MOVES_AT_ONCE = 8
"""Accounts that are on their way from one member to another, in all: each is silent for a moment."""

THREAD_FROM = 2_000
"""Accounts from which a plan is made in a thread: for a hundred thousand it takes most of a second."""

LOOKING_SHARE = 10
"""How many times as long as a plan took there is no other one."""

EVERYTHING = 1 << 30

NOT_OURS = "the store has it under another session, or not at all: the board is read anew"

log = structlog.get_logger()


class Holder(Protocol):
    """What takes up accounts and lays them down: the service."""

    async def take_up(self, lease: HeldLease) -> None:
        """Speak for an account from now on, under the epoch of the lease; return once that is so.

        An AccountMonitorError says that it cannot: the lease is given up, and others get their turn.
        """

    async def lay_down(self, lease: HeldLease, why: Loss) -> None:
        """Speak for it no more. Where it is given up, return once what was recorded is replicated, or cannot be.

        While the lease is valid that may still be written; after a TAKEN nothing may.
        """

    async def known_epochs(self, accounts: Collection[str]) -> Mapping[str, int]:
        """Return the highest epoch that is known of each account's journals, 0 for none."""


class Keeper:
    """Keeps one member in the cluster until it is stopped."""

    def __init__(
        self,
        store: LeaseStore,
        member: str,
        terms: Terms,
        holder: Holder,
        *,
        clock: Seconds,
        accounts: Callable[[], Collection[str]],
        uncounted: Collection[str] = (),
        card: Card = Card(),  # noqa: B008 - it is frozen
        moves_at_once: int = MOVES_AT_ONCE,
        new_id: Callable[[], str] = new_session_id,
    ) -> None:
        """`accounts` returns those that somebody should hold, of which the `uncounted` are no part of anybody's share;
        `clock` is what the leases are asked with.
        """
        self._store = store
        self._member = member
        self._terms = terms
        self._holder = holder
        self._clock = clock
        self._accounts = accounts
        self._uncounted = uncounted
        self._card = card
        self._moves_at_once = moves_at_once
        self._new_id = new_id
        self.session = Session(member, terms, new_id())
        self.board = Board({}, {})
        """As it was seen last."""
        self._attendance = Attendance(member, terms)
        self.problem: str | None = None
        """Why the store cannot be asked, None while it answers."""
        self._held: dict[str, HeldLease] = {}
        self._latest: dict[str, int] = {}
        """The last epoch of each account that this member held."""
        self._avoided: dict[str, float] = {}
        """Accounts that could not be taken up, and until when others should."""
        self._given: dict[str, float] = {}
        """Accounts that were seen to be given up for somebody, and since when."""
        self._settled_at = 0.0
        """When it may take what seems to be free: others may be about to come back, too."""
        self._is_joined = False
        self._is_suspended = False
        self._work: dict[str, asyncio.Task[None]] = {}
        """By account, the last thing that the holder was asked to do."""
        self._moving: set[str] = set()
        self._sent: dict[str, tuple[int, str | None]] = {}
        """Accounts that were handed over, until the board shows it: their epochs, and to whom."""
        self._is_card_new = False
        self._draining = asyncio.Event()
        self._wake = asyncio.Event()
        self._thought_seconds = 0.0
        """How long the last plan took."""
        self._group: asyncio.TaskGroup

    # -- what others ask ---------------------------------------------------------------------------------------------

    @property
    def held(self) -> Mapping[str, HeldLease]:
        """The leases of this member as they are now, by account, also while the store does not confirm them."""
        return MappingProxyType(self._held)

    @property
    def is_suspended(self) -> bool:
        """Whether leases are held that the store did not confirm in time: nothing may be written by them."""
        return self._is_suspended

    @property
    def lost(self) -> list[Member]:
        """The members whose sessions ended by themselves not long ago, and that are not back."""
        return self._attendance.lost(self._clock())

    @property
    def namesakes(self) -> list[Member]:
        """Other processes that take part under the name of this one."""
        return self._attendance.namesakes(self._clock())

    def show(self, card: Card) -> None:
        """Say something else of this member, such as what it is warm for."""
        if card != self._card:
            self._card, self._is_card_new = card, True
            self._wake.set()

    async def give_up(self, account: str) -> None:
        """Let others hold an account for a while, which this member finds that it cannot."""
        self._avoid(account)
        if (lease := self._held.get(account)) is not None:
            await self._hand_over(lease, None)

    def avoid(self, accounts: Collection[str]) -> None:
        """Leave accounts to others for a while, and let them know; what is held of them is kept."""
        is_news = not self._avoided.keys() >= set(accounts)
        self._avoided |= dict.fromkeys(accounts, self._clock() + AGAIN_SECONDS)
        if is_news:
            self._is_card_new = True
            self._wake.set()

    def leave(self, accounts: Collection[str]) -> list[str]:
        """Begin to hand accounts over to whoever can hold them; return those for which there was a place on the way."""
        self.avoid(accounts)
        going = []
        for account in accounts:
            lease = self._held.get(account)
            if lease is None or account in self._moving or self._draining.is_set():
                continue
            if len(self._moving) < self._moves_at_once:
                self._start_handing_over(lease, None)
                going.append(account)
        return going

    def drain(self) -> None:
        """Hand over everything, end the session, and let `run` return. For SIGTERM; it may be called twice."""
        self._draining.set()

    # -- the loops ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take part until `drain`, through every outage of the store. A defect of the holder ends it.

        Cancelled, it says nothing to anybody, and its session ends after its ttl.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            loops = [group.create_task(loop()) for loop in (self._renew, self._look, self._watch)]
            await self._draining.wait()
            loops[1].cancel()
            await asyncio.wait([loops[1]])
            await self._drain()
            for loop in loops:
                loop.cancel()

    async def _renew(self) -> None:
        """Keep the session alive."""
        while True:
            sent_at = self._clock()
            try:
                await self._confirm(sent_at)
            except LeaseLost as error:
                log.warning("session_lost", session=self.session.id, reason=str(error))
                self._start_anew()
            except StorageUnavailable as error:
                self._note_problem(str(error))
                await asyncio.sleep(min(RETRY_SECONDS, self._terms.beat_seconds))
            else:
                self._note_answer()
                await asyncio.sleep(max(0.0, sent_at + self._terms.beat_seconds - self._clock()))

    async def _confirm(self, sent_at: float) -> None:
        if self._is_joined:
            await self._beat()
            self.session.confirm(sent_at)
            return
        self.session = Session(
            self._member, self._terms, self._new_id()
        )  # one that seemed not to be joined ends by itself
        await self._store.open()
        await self._store.join(self.session, self._shown())
        self.session.confirm(sent_at)
        self._is_joined, self._is_card_new = True, False
        self._settled_at = self._clock() + self._terms.beat_seconds
        log.info("session_joined", member=self._member, session=self.session.id, store=self._store.description)

    async def _beat(self) -> None:
        try:
            await self._store.beat(self.session)
        except StorageUnavailable:
            if self._is_suspended:  # it may lack what it needs: once that is made, it says that the session is over
                await self._store.open()
            raise

    def _start_anew(self) -> None:
        """Let go of everything: the session is over."""
        self.session.end()
        self._is_joined = self._is_suspended = False
        for lease in list(self._held.values()):
            self._lose(lease, Loss.TAKEN)

    async def _watch(self) -> None:
        """Say so when time has run out before the store confirmed the session again."""
        while True:
            seconds = self._terms.beat_seconds
            if self._is_joined and not self._is_suspended:
                seconds = min(seconds, self.session.valid_until - self._clock())
            await asyncio.sleep(max(0.01, seconds))
            if self._is_joined and not self._is_suspended and not self.session.is_valid(self._clock()):
                self._is_suspended = True
                log.error("leases_unconfirmed", count=len(self._held), reason=self.problem or "the process was held up")

    def _note_problem(self, problem: str) -> None:
        if self.problem is None:
            log.warning("leases_not_renewed", reason=problem)
        self.problem = problem

    def _note_answer(self) -> None:
        if self.problem is not None or self._is_suspended:
            log.info("leases_renewed_again", count=len(self._held))
        if self._is_suspended:  # so were others, who come back within a beat
            self._settled_at = self._clock() + self._terms.beat_seconds
        self.problem, self._is_suspended = None, False

    # -- what should be held -----------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Look at the board, again and again, and do what it says."""
        while True:
            seconds = self._terms.beat_seconds
            self._thought_seconds = 0.0
            if self._is_joined:
                try:
                    seconds = await self._act()
                except (StorageUnavailable, LeaseLost) as error:
                    log.debug("board_not_seen", reason=str(error))  # whoever renews says it aloud
                    seconds = RETRY_SECONDS
            else:
                seconds = RETRY_SECONDS
            # Where there is much to look at, and it changes all the time, the service has other things to do.
            pause = min(LOOKING_SHARE * self._thought_seconds, seconds)
            await asyncio.sleep(pause)
            await self._wait(seconds - pause)

    async def _wait(self, seconds: float) -> None:
        """Return after so many seconds, or sooner when there may be something to do."""
        others = asyncio.ensure_future(self._store.wait(seconds))
        mine = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait([others, mine], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._wake.clear()
            for waiting in (others, mine):
                waiting.cancel()
            await asyncio.gather(others, mine, return_exceptions=True)

    async def _act(self) -> float:
        """Do what the board says; return how long until it should be looked at again."""
        over = [account for account, until in self._avoided.items() if until <= self._clock()]
        for account in over:
            del self._avoided[account]
        if self._is_card_new or over:
            self._is_card_new = False
            await self._store.show(self.session, self._shown())
        session = self.session
        board = self.board = await self._store.board()
        if session is not self.session or not session.is_valid(self._clock()):
            return RETRY_SECONDS
        await self._compare(board)
        board = self._corrected(board)
        if (settling := self._settled_at - self._clock()) > 0:
            is_complete = await self._acquire(self._left_to_this(board))
            return min(settling, self._terms.beat_seconds) if is_complete else BUSY_SECONDS
        self._note_attendance(board)
        began = self._clock()
        plan = await self._plan(board)
        self._thought_seconds = self._clock() - began
        is_complete = await self._acquire(plan.acquire.get(session.id, []))
        for move in plan.moves_of(session.id):
            if move.account in self._held and len(self._moving) < self._moves_at_once:
                self._start_handing_over(self._held[move.account], move.target)
        if not is_complete:
            return BUSY_SECONDS
        ends = board.next_end_seconds
        return self._terms.beat_seconds if ends is None else min(self._terms.beat_seconds, max(ends, 0) + 0.01)

    def _note_attendance(self, board: Board) -> None:
        """Say who went without a word, who is back, and who has the name of this member."""
        news = self._attendance.look(board, self.session.id, self._clock())
        for member in news.lost:
            log.warning(
                "member_lost", member=member.name, session=member.session, address=member.card.address,
                reason="its session was not renewed, and it did not stop", named_seconds=NAMED_SECONDS,
            )  # fmt: skip
        for name in news.back:
            log.info("member_back", member=name)
        for member in news.namesakes:
            log.warning(
                "member_name_taken", member=member.name, session=member.session, address=member.card.address,
                reason="another process takes part under this name: give each a cluster.member of its own",
            )  # fmt: skip

    async def _compare(self, board: Board) -> None:
        """Let go of what somebody else has, take up what was taken unnoticed, and give up once more what was given up.

        A board may be older than what this member did last: what is younger there has a higher epoch.
        """
        accounts = set(self._accounts())
        stale: dict[str, str | None] = {}
        for account, holding in board.holdings.items():
            lease = self._held.get(account)
            if lease is not None and (holding.epoch, holding.session) != (lease.epoch, self.session.id):
                if holding.epoch > lease.epoch:
                    self._lose(lease, Loss.TAKEN)
            elif lease is None and holding.session == self.session.id and account not in self._moving:
                if holding.epoch > self._latest.get(account, 0) and account in accounts:
                    self._take(account, holding.epoch)
                else:
                    stale[account] = None
        if stale:
            await self._store.release(self.session, stale)
        for account in self._held.keys() - accounts:
            self._start_handing_over(self._held[account], None)

    def _corrected(self, board: Board) -> Board:
        """Return a board with what this member did since it was read: what it gave away twice would come back."""
        holdings = dict(board.holdings)
        for account, lease in self._held.items():
            if account not in holdings or holdings[account].epoch < lease.epoch:
                holdings[account] = Holding(lease.epoch, self.session.id, self._member)
        for account, (epoch, heir) in list(self._sent.items()):
            holding = holdings.get(account)
            if holding is None or holding.epoch > epoch or holding.session != self.session.id:
                del self._sent[account]
            else:
                holdings[account] = holding._replace(session=heir)
        return board._replace(holdings=holdings)

    async def _plan(self, board: Board, *, moves: int | None = None) -> Plan:
        accounts, now = list(self._accounts()), self._clock()
        for account, holding in board.holdings.items():
            if holding.session is None and holding.heir is not None:
                self._given.setdefault(account, now)
            else:
                self._given.pop(account, None)
        ignored = {account for account, since in self._given.items() if now - since > self._terms.ttl_seconds}
        at_once = self._moves_at_once if moves is None else moves
        plan = partial(
            assign, accounts, board, moves_at_once=at_once, ignored_heirs=ignored, uncounted=self._uncounted
        )  # fmt: skip
        return plan() if len(accounts) < THREAD_FROM else await asyncio.to_thread(plan)

    def _left_to_this(self, board: Board) -> list[str]:
        """Return what others gave up for this member: nobody is about to come back for that."""
        accounts, session = set(self._accounts()), self.session.id
        return [
            account
            for account, holding in board.holdings.items()
            if holding.session is None and holding.heir == session and account in accounts
        ]

    async def _acquire(self, accounts: Iterable[str]) -> bool:
        """Take what nobody holds; return whether that was all that there was to take."""
        wanted = [account for account in accounts if account not in self._moving and account not in self._avoided]
        session = self.session
        missed = 0
        for start in range(0, len(wanted), ACQUIRED_AT_ONCE):
            some = wanted[start : start + ACQUIRED_AT_ONCE]
            known = await self._holder.known_epochs(some)
            above = {account: max(known[account], self._latest.get(account, 0)) for account in some}
            taken = await self._store.acquire(session, above)
            for account, epoch in taken.items():
                if session is self.session:
                    self._take(account, epoch)
            missed += len(some) - len(taken)
        return missed == 0

    # -- what is done about it ---------------------------------------------------------------------------------------

    def _take(self, account: str, epoch: int) -> None:
        if (before := self._held.get(account)) is not None:
            self._lose(before, Loss.TAKEN)  # somebody changed what the store has by hand
        lease = self._held[account] = HeldLease(account, epoch, self.session)
        self._latest[account] = epoch
        log.info("lease_acquired", account=account, epoch=epoch)
        self._start(account, lambda: self._take_up(lease))

    async def _take_up(self, lease: HeldLease) -> None:
        if lease.is_given_up:
            return
        try:
            await self._holder.take_up(lease)
        except AccountMonitorError as error:
            log.error("account_not_taken_up", account=lease.account, epoch=lease.epoch, reason=str(error))
            self._avoid(lease.account)
            if self._held.get(lease.account) is lease:
                await self._hand_over(lease, None)

    def _avoid(self, account: str) -> None:
        """Tell the others that they should try."""
        self.avoid([account])

    def _lose(self, lease: HeldLease, why: Loss) -> None:
        """Let go of a lease that somebody else may have by now."""
        lease.is_given_up = True
        self._held.pop(lease.account, None)
        log.warning("lease_lost", account=lease.account, epoch=lease.epoch, why=str(why))
        self._start(lease.account, lambda: self._holder.lay_down(lease, why))

    def _start_handing_over(self, lease: HeldLease, heir: str | None) -> None:
        if lease.account not in self._moving:
            self._moving.add(lease.account)
            self._sent[lease.account] = (lease.epoch, heir)
            self._start(lease.account, lambda: self._hand_over(lease, heir))

    async def _hand_over(self, lease: HeldLease, heir: str | None) -> None:
        """Lay an account down in good order, and only then let somebody else have it."""
        self._moving.add(lease.account)
        try:
            if self._held.get(lease.account) is not lease:
                return
            await self._holder.lay_down(lease, Loss.GIVEN_UP)
            lease.is_given_up = True
            if self._held.get(lease.account) is lease:
                del self._held[lease.account]
                if await self._store.release(lease.session, {lease.account: heir}):
                    log.info("lease_given_up", account=lease.account, epoch=lease.epoch, heir=heir)
                else:
                    log.warning("lease_was_lost", account=lease.account, epoch=lease.epoch, reason=NOT_OURS)
        except StorageUnavailable as error:
            log.warning("lease_not_given_up", account=lease.account, reason=str(error))  # the next look tries again
        finally:
            self._moving.discard(lease.account)
            self._wake.set()

    def _start(self, account: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let the holder do something of an account, after what it does of it already."""
        before = self._work.get(account)

        async def one_after_another() -> None:
            if before is not None:
                await asyncio.wait([before])
            await work()

        task = self._work[account] = self._group.create_task(one_after_another())
        task.add_done_callback(lambda done: self._work.pop(account) if self._work.get(account) is done else None)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _shown(self) -> Card:
        return msgspec.structs.replace(self._card, unable=frozenset(self._avoided), is_draining=self._draining.is_set())

    async def _drain(self) -> None:
        """Hand over everything at once, each account as soon as it is laid down, and leave."""
        heirs: dict[str, str] = {}
        if self._is_joined:
            try:
                await self._store.show(self.session, self._shown())
                self.board = await self._store.board()
                plan = await self._plan(self.board, moves=EVERYTHING)
                heirs = {move.account: move.target for move in plan.moves_of(self.session.id)}
            except (StorageUnavailable, LeaseLost) as error:
                log.warning("leases_given_up_to_nobody", reason=str(error))
        for account, lease in list(self._held.items()):
            self._start_handing_over(lease, heirs.get(account))
        while self._work:
            await asyncio.wait(self._work.values())
            await asyncio.sleep(0)  # they leave the table
        self.session.end()
        if self._is_joined:
            try:
                await self._store.leave(self.session)
            except (StorageUnavailable, LeaseLost) as error:
                log.warning("session_not_ended", reason=f"{error}; it ends after {self._terms.ttl_seconds:g} s")
