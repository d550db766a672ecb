"""Membership: this process as one of several that share the accounts. Composition, beside `app`.

The keeper says which accounts are held; here they are taken up where the copy of their journal ends, and laid down so
that somebody else can go on. What is held is told to who writes the history and who feeds the accounts.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, Protocol

import structlog

from account_monitor.api.metrics import Sample
from account_monitor.clock import boot_seconds, now_ms
from account_monitor.cluster.attendance import NAMED_SECONDS
from account_monitor.cluster.keeper import Keeper
from account_monitor.cluster.leases import HeldLease, LeaseStore, Loss, Terms
from account_monitor.cluster.members import Card, Member
from account_monitor.config import Lease, Settings
from account_monitor.errors import (
    AccountMonitorError,
    JournalError,
    LeaseLost,
)
from account_monitor.historian.historian import Historian
from account_monitor.historian.messages import Tenure
from account_monitor.ledger.account import AccountState
from account_monitor.membership.standby import Standby
from account_monitor.monitor.alarms import PASSING_SECONDS, AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.monitor.inbox import Inboxes
from account_monitor.monitor.ports import UNROUTED
from account_monitor.monitor.roll import Roll, RollAccount, RollMember
from account_monitor.stores.checkpoints import Folding
from account_monitor.stores.history.following import Following, Heritage
from account_monitor.stores.history.opening import history_store
from account_monitor.stores.history.store import HistoryStore, Replica
from account_monitor.stores.history.succession import Outcome, Succession, succeed
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader

CHECK = "cluster"
"""Its name in health and readiness."""

SET_ASIDE = "set_aside"
"""What stands for a symbol in the alert that a journal parted from what others recorded."""

REPLICATED_SECONDS = 2.0
"""How long who gives an account up waits until what it recorded is in the history."""

LOOK_SECONDS = 0.01
"""How often it is looked whether it is."""

DRAIN_SECONDS = 2.5
"""How long handing over everything may take after a SIGTERM; the promise is 5 s for all that a stop takes."""

CANCEL_SECONDS = 0.5
"""How long what still runs of it may take to end then."""

TELL_SECONDS = 0.05
"""How often others hear of accounts that come and go, at most: each time, streams are read anew."""

KEPT_TTLS, KEPT_SECONDS = 2, 10.0
"""How long what is heard of others' accounts is kept: until a holder that died is replaced, and its account open."""

_GOES_ON = (Outcome.KEPT, Outcome.EXTENDED)
"""What becomes of a journal that holds what it held before."""

log = structlog.get_logger()


class Accounts(Protocol):
    """What opens and closes accounts."""

    @property
    def settings(self) -> Settings:
        """The configuration, which a reload replaces."""

    @property
    def inboxes(self) -> Inboxes:
        """Where what comes for accounts is put."""

    async def open_held(self, lease: HeldLease, folded: AccountState | None = None) -> None:
        """Monitor an account whose journal is as it has to be, going on from what was folded of it.

        Raises: AccountMonitorError.
        """

    async def quiet_held(self, account: str) -> int:
        """Take nothing more for an account, and record what was heard; return where its journal ends then."""

    async def close_held(self, account: str, *, at_once: bool) -> None:
        """Monitor an account no longer; `at_once`: another process may do so already."""


class Membership:
    """Implements `cluster.keeper.Holder` and `monitor.roll.Cluster` for one process."""

    def __init__(
        self,
        accounts: Accounts,
        desk: Desk,
        alarms: AlarmBoard,
        historian: Historian,
        *,
        address: str,
        spawn: Callable[[str, Coroutine[Any, Any, None]], None],
        tell_feeds: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """`address`: where clients reach this process; `spawn` runs a named part of the service.

        `tell_feeds` lets the feeds know which accounts there are.
        """
        from account_monitor.cluster.postgres import Claims

        settings = accounts.settings
        self._accounts = accounts
        self._tell_feeds = tell_feeds
        self._desk = desk
        self._alarms = alarms
        self._historian = historian
        self._spawn = spawn
        self._leases = _lease_store(settings)
        database = settings.database
        is_elsewhere = settings.cluster.lease is Lease.NATS
        self._claims = Claims(database.url, database.password) if is_elsewhere else None
        self._history: HistoryStore = history_store(
            database.url, settings.service.data_dir, clock=now_ms, password=database.password
        )
        self._has_history = False
        self._opening_history = asyncio.Lock()
        self._member = settings.cluster.member or socket.gethostname()
        card = self._card = Card(address=address)
        self._keeper = Keeper(
            self._leases,
            self._member,
            Terms(settings.cluster.ttl_seconds),
            self,
            clock=boot_seconds,
            accounts=self._wanted,
            uncounted=(UNROUTED,),
            card=card,
        )
        self._open: dict[str, HeldLease] = {}
        """The leases of the accounts that are taken up."""
        self._refused: set[HeldLease] = set()
        """Those that the database of the history refuses."""
        self._known: dict[str, int] = {}
        """By account, the highest epoch that was seen."""
        self._read: set[str] = set()
        """Accounts whose journals here were asked for their epochs; what comes later is told."""
        self._has_settled = False
        """Whether all accounts were once held by somebody."""
        self._untold: dict[str, Succession] = {}
        """By account that is still to be taken up, how its journal was set aside: what comes between may fail."""
        self._closing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By account, held by whoever lays it down."""
        self._laying_down: set[str] = set()
        """Accounts whose journals are still being closed here."""
        service = settings.service
        self._folding = Folding(service.usd_assets, service.day_starts_at_minutes)
        self._standby = Standby(
            self._keeper,
            Following(self._history, service.data_dir, self._folding, clock=now_ms),
            card=card,
            accounts=self._wanted,
            here=lambda: self._open.keys() | self._laying_down,
            taken=lambda: self._keeper.held.keys() - self._open.keys(),
            open_history=self._opened_history,
            overheard=accounts.inboxes.overheard,
            kept_seconds=KEPT_TTLS * settings.cluster.ttl_seconds + KEPT_SECONDS,
        )
        self._news = asyncio.Event()
        historian.on_lease_lost = self._note_refused
        historian.assign([], {})

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take part until `stop`, through every outage of the store."""
        self._desk.wait_for(CHECK, f"leases are being asked for in {self._leases.description}")
        beside = [asyncio.create_task(work) for work in (self._tell(), self._standby.run())]
        keeping = asyncio.create_task(self._keeper.run())
        try:
            await asyncio.wait([keeping, *beside], return_when=asyncio.FIRST_COMPLETED)
            for broken in beside:
                if broken.done():
                    broken.result()  # it never ends but by a defect
            await keeping
        finally:
            await _end(keeping)
            try:
                await self._standby.close()
            finally:
                await _end(*beside)
            await self._leases.close()
            await self._history.close()
            if self._claims is not None:
                await self._claims.close()

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Hand over everything, each account as soon as it is replicated, and leave; `running` is what `run` does."""
        self._keeper.drain()
        if not (await asyncio.wait([running], timeout=DRAIN_SECONDS))[0]:
            ttl = self._keeper.session.terms.ttl_seconds
            log.warning("leases_not_given_up", count=len(self._open), reason=f"they end by themselves after {ttl:g} s")
            running.cancel()  # else it would go on closing accounts that the service closes now
            await asyncio.wait([running], timeout=CANCEL_SECONDS)

    def changed(self) -> None:
        """Note that other accounts are configured now."""
        self._news.set()

    def lease(self, account: str) -> HeldLease | None:
        """Return the lease of an account that is taken up."""
        return self._open.get(account)

    def tenures(self) -> dict[str, Tenure]:
        """Return under which lease each account is written that is taken up; what is unrouted has no copy."""
        return {
            account: Tenure(lease.epoch, lease.session.id)
            for account, lease in self._open.items()
            if account != UNROUTED
        }

    def _wanted(self) -> list[str]:
        return [*(account.name for account in self._accounts.settings.accounts), UNROUTED]

    async def _tell(self) -> None:
        """Let others hear of accounts that came and went, once for several of them."""
        while True:
            await self._news.wait()
            self._news.clear()
            tenures = self.tenures()
            self._historian.assign(list(tenures), tenures)
            await self._tell_feeds()
            await asyncio.sleep(TELL_SECONDS)

    # -- what the keeper asks for ------------------------------------------------------------------------------------

    async def take_up(self, lease: HeldLease) -> None:
        """Speak for an account from now on, under the epoch of the lease. Raises: AccountMonitorError."""
        began = time.monotonic()
        try:
            done, folded = await self._prepare(lease)
            lease.check(boot_seconds())  # reading a long copy takes a while
            await self._accounts.open_held(lease, folded)
        except OSError as error:
            raise JournalError(f"the journal of account {lease.account} cannot be used: {error}") from error
        self._open[lease.account] = lease
        self._know(lease.account, lease.epoch)
        self._news.set()
        if (aside := self._untold.pop(lease.account, None)) is not None:
            self._tell_set_aside(lease.account, aside)
        log.info(
            "account_taken_up", account=lease.account, epoch=lease.epoch, journal=str(done.outcome),
            entries=done.entries, is_warm=folded is not None, seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip

    async def _prepare(self, lease: HeldLease) -> tuple[Succession, AccountState | None]:
        """Let the journal of an account go on from the copy of it; return what was done, and what is folded of it.

        Raises: LeaseLost where somebody is ahead.
        """
        account = lease.account
        if account == UNROUTED:
            return Succession(Outcome.KEPT), None  # dead letters of no account: they are copied nowhere
        if self._claims is not None:
            await self._claim(lease)
        store = await self._opened_history()
        replica = await store.replica(account)
        if replica is not None:
            self._know(account, replica.epoch)
            if replica.epoch >= lease.epoch:
                raise LeaseLost(
                    f"the history of account {account} was written under epoch {replica.epoch}, and the lease is of"
                    f" epoch {lease.epoch}: another one is asked for"
                )
        return await self._inherit(store, account, replica)

    async def _inherit(
        self, store: HistoryStore, account: str, replica: Replica | None
    ) -> tuple[Succession, AccountState | None]:
        done, state, aside = Heritage() if replica is None else await self._standby.hand_over(account, replica)
        if aside is not None:
            self._untold[account] = aside
        if done is None:
            data_dir = self._accounts.settings.service.data_dir
            done = await succeed(
                store, data_dir, account, replica, clock=now_ms, progress=lambda done, whole: None,
                folding=self._folding,
            )  # fmt: skip
        if done.set_aside is not None:
            self._untold[account] = done
        return done, state if done.outcome in _GOES_ON else None

    async def _claim(self, lease: HeldLease) -> None:
        assert self._claims is not None
        try:
            await self._claims.claim(lease)
        except LeaseLost:
            self._know(lease.account, await self._claims.youngest(lease.account))
            raise

    async def _opened_history(self) -> HistoryStore:
        async with self._opening_history:
            if not self._has_history:
                await self._history.open()
                self._has_history = True
        return self._history

    def _tell_set_aside(self, account: str, done: Succession) -> None:
        why = "what was recorded here parted from what others recorded"
        if done.damage:
            why = f"the journal that was here is damaged ({done.damage})"
        text = f"{why}: it lies in {done.set_aside}, and the account goes on from the history"
        self._alarms.fire(account, "STORAGE_UNAVAILABLE", text, symbol=SET_ASIDE, for_seconds=PASSING_SECONDS)

    async def lay_down(self, lease: HeldLease, why: Loss) -> None:
        """Speak for an account no more; what was recorded is in the history then, where it was given up."""
        account = lease.account
        async with self._closing[account]:  # it may be refused while it is given up
            if self._open.get(account) is not lease:
                return  # it was not taken up, or is laid down by now
            if why is Loss.GIVEN_UP and lease not in self._refused:
                await self._replicate(lease)
            is_taken = why is not Loss.GIVEN_UP or lease in self._refused
            self._laying_down.add(account)
            try:
                del self._open[account]
                self._refused.discard(lease)
                await self._accounts.close_held(account, at_once=is_taken)
            finally:
                self._laying_down.discard(account)
        self._news.set()

    async def _replicate(self, lease: HeldLease) -> None:
        """End an account, and wait until all of it is where its next holder reads it, or is refused there."""
        account, began = lease.account, time.monotonic()
        last_seq = await self._accounts.quiet_held(account)
        if account == UNROUTED:
            return
        quiet = time.monotonic()
        self._historian.finish(account)
        if await self._has_replicated(account, last_seq, quiet + REPLICATED_SECONDS, lease):
            log.info(
                "account_replicated", account=account, seq=last_seq,
                quiet_seconds=round(quiet - began, 3), seconds=round(time.monotonic() - began, 3),
            )  # fmt: skip
        else:
            log.warning(
                "account_not_replicated", account=account, seq=last_seq,
                replicated=self._historian.replicated(account), seconds=REPLICATED_SECONDS,
            )  # fmt: skip

    async def is_replicated(self, account: str, seq: int, seconds: float) -> bool:
        """Whether an entry is where the next holder of an account reads it; wait for that so long at most."""
        self._historian.hurry(account)
        return await self._has_replicated(account, seq, time.monotonic() + seconds)

    async def _has_replicated(self, account: str, seq: int, until: float, lease: HeldLease | None = None) -> bool:
        while self._historian.replicated(account) < seq:
            if time.monotonic() >= until or lease in self._refused:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def known_epochs(self, accounts: Collection[str]) -> Mapping[str, int]:
        """Return the highest epoch that is known of each account's journals, 0 for none."""
        if unread := [account for account in accounts if account not in self._read]:
            found = await asyncio.to_thread(_epochs_of, self._accounts.settings, unread)
            for account, epoch in found.items():
                self._know(account, epoch)  # more may have become known meanwhile
            self._read.update(unread)
        return {account: self._known[account] for account in accounts}

    def _know(self, account: str, epoch: int) -> None:
        self._known[account] = max(self._known.get(account, 0), epoch)

    # -- who is refused ----------------------------------------------------------------------------------------------

    def _note_refused(self, account: str, epoch: int, reason: str) -> None:
        """Stop speaking for an account that the database says is another's, and ask for it anew."""
        lease = self._open.get(account)
        if lease is None or lease.epoch != epoch or lease in self._refused:
            return
        log.error("lease_refused", account=account, epoch=epoch, reason=reason)
        self._refused.add(lease)
        lease.is_given_up = True
        self._spawn(f"giving up:{account}", self._give_up(lease))

    async def _give_up(self, lease: HeldLease) -> None:
        try:
            if self._claims is not None:
                self._know(lease.account, await self._claims.youngest(lease.account))
        except AccountMonitorError as error:
            log.warning("claim_not_read", account=lease.account, reason=str(error))  # the next claim meets it again
        await self._keeper.give_up(lease.account)

    # -- what others see ---------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Keep health and readiness true; called a few times a second."""
        keeper, store = self._keeper, self._leases.description
        wanted = self._wanted()
        here, whole = len(self._open.keys() - {UNROUTED}), len(wanted) - 1
        status, text = Status.HEALTHY, f"{store}: {here} of {whole} accounts are held here"
        if keeper.is_suspended:
            status = Status.DEGRADED
            text = (
                f"{store}: nobody confirms that the accounts are held here: {keeper.problem or 'no answer in time'};"
                " what is heard is recorded here and alerts are told, all else waits"
            )
        elif keeper.problem is not None:
            status, text = Status.DEGRADED, keeper.problem
        else:
            if unable := [name for name in wanted if self._holder(name) is None]:
                text += f"; nobody holds {', '.join(unable[:10])}"
            if amiss := self._amiss():
                status, text = Status.DEGRADED, f"{text}; {amiss}"
        self._desk.health.report(CHECK, status, text)
        if not self._has_settled:
            self._look_whether_settled(wanted, text)

    def _amiss(self) -> str:
        """Return what is wrong with other members, in words for people; empty: nothing."""
        said = []
        if lost := sorted(member.name for member in self._keeper.lost):
            said.append(
                f"lost {', '.join(lost[:10])}: not stopped, and not heard of; named until it is back, or for"
                f" {NAMED_SECONDS / 60:g} min"
            )
        if namesakes := self._keeper.namesakes:
            said.append(
                f"another process takes part as {self._member} ({namesakes[0].card.address or 'it gives no address'}):"
                " give each a cluster.member of its own"
            )
        return "; ".join(said)

    def _look_whether_settled(self, wanted: list[str], text: str) -> None:
        """Be ready once every account is taken up here, or held elsewhere."""
        held = self._keeper.held
        waits = [name for name in wanted if name not in self._open and (name in held or self._holder(name) is None)]
        self._has_settled = not waits
        self._desk.wait_for(CHECK, f"{text}; waits for {', '.join(waits[:10])}" if waits else None)

    def _holder(self, account: str) -> Member | None:
        """Return who holds an account, this process included."""
        keeper = self._keeper
        if account in keeper.held:
            return Member(keeper.session.id, self._member, self._card, is_alive=True)
        holder = keeper.board.holder(account)
        return None if holder is not None and holder.session == keeper.session.id else holder

    def elsewhere(self, account: str) -> RollAccount | None:
        """Return who else holds an account; None for nobody, and for this process."""
        entry = self._entry(account)
        return None if entry.is_here or entry.member is None else entry

    def _entry(self, account: str) -> RollAccount:
        lease = self._keeper.held.get(account)
        if lease is not None:
            return RollAccount(account, lease.epoch, self._member, self._card.address, is_here=True)
        holding, holder = self._keeper.board.holdings.get(account), self._holder(account)
        epoch = 0 if holding is None else holding.epoch
        if holder is None:
            return RollAccount(account, epoch, None, "", is_here=False)
        return RollAccount(account, epoch, holder.name, holder.card.address, is_here=False)

    def roll(self) -> Roll:
        """Return who is there, and who holds which account."""
        keeper = self._keeper
        present = {member.session: member for member in keeper.lost} | dict(keeper.board.members)
        alive = [member for member in present.values() if member.is_alive]
        followers = {account: member.name for member in alive for account in member.card.warm}
        members = [
            RollMember(
                member.name, member.session, member.card.address, member.is_alive, member.card.is_draining,
                is_self=member.session == keeper.session.id,
            )
            for member in present.values()
        ]  # fmt: skip
        return Roll(
            store=self._leases.description,
            ttl_seconds=keeper.session.terms.ttl_seconds,
            is_suspended=keeper.is_suspended,
            problem=keeper.problem,
            members=sorted(members),
            accounts=[
                self._entry(account.name)._replace(follower=followers.get(account.name))
                for account in self._accounts.settings.accounts
            ],
        )

    def samples(self) -> list[Sample]:
        """Return the metrics of the cluster."""
        leads = [
            Sample(
                "leader", "Whether this process holds the account.", "gauge", float(account in self._open),
                {"account": account},
            )
            for account in self._wanted() if account != UNROUTED
        ]  # fmt: skip
        suspended = float(self._keeper.is_suspended)
        return [
            *leads,
            Sample(
                "accounts_followed",
                "Accounts of others that this process is ready to take over.",
                "gauge",
                float(len(self._standby.warm)),
            ),
            Sample("leases_suspended", "Whether nobody confirms what is held here.", "gauge", suspended),
        ]


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _lease_store(settings: Settings) -> LeaseStore:
    """Return where the leases are kept; nothing is opened yet."""
    if settings.cluster.lease is Lease.POSTGRES:
        from account_monitor.cluster.postgres import PostgresLeases

        return PostgresLeases(settings.database.url, settings.database.password)
    from account_monitor.cluster.nats import NatsLeases, NatsServer

    nats = settings.pubsub.nats
    assert nats.urls is not None  # the configuration refuses leases there without them
    server = NatsServer(nats.urls, nats.credentials_file, nats.ca_file)
    return NatsLeases(server, clock=boot_seconds, wall_clock=now_ms)


def _epochs_of(settings: Settings, accounts: Iterable[str]) -> dict[str, int]:
    return {account: _epoch_of(settings, account) for account in accounts}


def _epoch_of(settings: Settings, account: str) -> int:
    """Return the epoch of the journal that lies here, 0 where there is none or nobody can read it yet."""
    path = journal_path(settings.service.data_dir, account)
    try:
        with open_reader(path) as reader:
            return reader.epoch
    except JournalError as error:
        log.debug("epoch_not_known", account=account, reason=str(error))  # taking it up says what is wrong
        return 0
