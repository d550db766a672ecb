"""What every store of leases promises, whoever asks and whatever breaks: the same for all of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from account_monitor.clock import boot_seconds, now_ms
from account_monitor.cluster.keeper import Keeper
from account_monitor.cluster.leases import HeldLease, LeaseStore, Loss, Session, Terms, new_session_id
from account_monitor.cluster.members import Card
from account_monitor.cluster.nats import BUCKET, FORGET_SECONDS, NatsLeases
from account_monitor.cluster.nats import NatsServer as NatsPlace
from account_monitor.cluster.postgres import PostgresLeases
from account_monitor.errors import LeaseLost, StorageUnavailable
from tests.integration.nats_server import NatsServer
from tests.servers.postgres import PostgresServer
from tests.servers.relay import relay_to
from tests.simulation.leases_in_memory import MemoryLeases, MemoryServer

pytestmark = pytest.mark.integration

SHORT = Terms(1.0)
LONG = Terms(60.0)


class Backend(ABC):
    """A server, and ways to it."""

    @abstractmethod
    def store(self) -> LeaseStore:
        """Return a new way to the server."""

    async def cut_store(self, stack: AsyncExitStack) -> tuple[LeaseStore, Callable[[], None]]:
        """Return a way to the server, and what cuts it."""
        relay = await stack.enter_async_context(relay_to(self.url))
        return self.store_at(relay.url), relay.cut

    async def empty(self) -> None:
        """Take away everything that was ever written."""
        raise NotImplementedError

    url: str

    def store_at(self, url: str) -> LeaseStore:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError


class PostgresBackend(Backend):
    def __init__(self, url: str, server: PostgresServer | None = None) -> None:
        self.server = server
        self.url = url

    def store(self) -> LeaseStore:
        return self.store_at(self.url)

    def store_at(self, url: str) -> LeaseStore:
        return PostgresLeases(url, answer_seconds=1.0)

    async def empty(self) -> None:
        connection = await asyncpg.connect(self.url)
        await connection.execute("TRUNCATE account_monitor_sessions, account_monitor_leases")
        await connection.close()

    def kill(self) -> None:
        assert self.server is not None  # the test asked for one that it may break
        self.server.kill()

    def start(self) -> None:
        assert self.server is not None
        self.server.start()


class NatsBackend(Backend):
    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.url = server.url

    def store(self) -> LeaseStore:
        return self.store_at(self.url)

    def store_at(self, url: str) -> LeaseStore:
        return NatsLeases(NatsPlace((url,)), clock=boot_seconds, wall_clock=now_ms, answer_seconds=1.0)

    async def empty(self) -> None:
        client = await self.server.connect()
        await client.jetstream().delete_stream(f"KV_{BUCKET}")
        await client.close()

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


class MemoryBackend(Backend):
    def __init__(self) -> None:
        self.server = MemoryServer(time.time)

    async def empty(self) -> None:
        self.server.sessions, self.server.holdings = {}, {}

    def store(self) -> LeaseStore:
        return MemoryLeases(self.server)

    async def cut_store(self, stack: AsyncExitStack) -> tuple[LeaseStore, Callable[[], None]]:
        store = MemoryLeases(self.server)

        def cut() -> None:
            store.is_cut = True

        return store, cut

    def kill(self) -> None:
        self.server.is_down = True

    def start(self) -> None:
        self.server.is_down = False


@pytest.fixture(params=["memory", "postgres", "nats"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A server, or a place of a test's own on one."""
    match request.param:
        case "postgres":
            yield PostgresBackend(request.getfixturevalue("postgres_schema").url)
        case "nats":
            with NatsServer(tmp_path / "nats") as nats_server:
                yield NatsBackend(nats_server)
        case _:
            yield MemoryBackend()


@pytest.fixture
def breakable(backend: Backend, request: pytest.FixtureRequest) -> Backend:
    """The same, which may be killed."""
    if isinstance(backend, PostgresBackend):
        server: PostgresServer = request.getfixturevalue("breakable_postgres")
        return PostgresBackend(server.url, server)
    return backend


@pytest.fixture
async def stores(backend: Backend) -> AsyncIterator[Callable[[], LeaseStore]]:
    """Makes ways to the server that are closed after the test."""
    made: list[LeaseStore] = []

    def make() -> LeaseStore:
        made.append(backend.store())
        return made[-1]

    yield make
    for store in made:
        await store.close()


Stores = Callable[[], LeaseStore]


async def joined(store: LeaseStore, name: str, terms: Terms = LONG, card: Card = Card()) -> Session:  # noqa: B008
    """Open a store and begin a session."""
    await store.open()
    session = Session(name, terms, new_session_id())
    sent_at = boot_seconds()
    await store.join(session, card)
    session.confirm(sent_at)
    return session


async def until_alive(store: LeaseStore, session: Session, *, is_alive: bool) -> None:
    """Return once the board shows a session so."""
    async with asyncio.timeout(10):
        while True:
            member = (await store.board()).members.get(session.id)
            if (member is not None and member.is_alive) is is_alive:
                return
            await asyncio.sleep(0.05)


async def acquired_within(store: LeaseStore, session: Session, account: str, seconds: float = 10) -> int:
    """Try to get a lease until it is there; return its epoch."""
    async with asyncio.timeout(seconds):
        while True:
            if taken := await store.acquire(session, {account: 0}):
                return taken[account]
            await asyncio.sleep(0.05)


# -- who gets what -----------------------------------------------------------------------------------------------------


async def test_of_ten_that_ask_at_once_one_gets_each_lease(stores: Stores) -> None:
    accounts = {f"account-{number}": 0 for number in range(20)}
    members = []
    for number in range(10):
        store = stores()
        members.append((store, await joined(store, f"m{number}")))

    taken = await asyncio.gather(*(store.acquire(session, accounts) for store, session in members))

    assert sorted(account for each in taken for account in each) == sorted(accounts)
    board = await members[0][0].board()
    for (_, session), each in zip(members, taken, strict=True):
        for account, epoch in each.items():
            assert (board.holdings[account].session, board.holdings[account].epoch) == (session.id, epoch)


async def test_who_loses_a_race_over_a_lease_that_is_over_sees_who_won(stores: Stores) -> None:
    first, *others = [stores() for _ in range(10)]
    await first.acquire(dead := await joined(first, "dead", SHORT), {"main": 0})
    sessions = [await joined(store, f"m{number}") for number, store in enumerate(others)]
    for store in others:
        await store.board()  # from now on the session counts as not heard of
    await until_alive(others[0], dead, is_alive=False)
    await asyncio.sleep(0.2)

    taken = await asyncio.gather(*(s.acquire(m, {"main": 0}) for s, m in zip(others, sessions, strict=True)))
    late = await asyncio.gather(*(s.acquire(m, {"main": 0}) for s, m in zip(others, sessions, strict=True)))

    winners = [
        session
        for session, each in zip(sessions, [a | b for a, b in zip(taken, late, strict=True)], strict=True)
        if each
    ]
    assert len(winners) == 1
    for store in others:
        holder = (await store.board()).holder("main")
        assert holder is not None
        assert holder.session == winners[0].id


async def test_a_lease_that_is_held_is_not_given_away(stores: Stores) -> None:
    one, other = stores(), stores()
    holder, rival = await joined(one, "one"), await joined(other, "other")
    assert await one.acquire(holder, {"main": 0})

    assert await other.acquire(rival, {"main": 0}) == {}
    assert await one.acquire(holder, {"main": 0}) == {}  # nor a second time to who has it


async def test_only_who_has_joined_gets_anything(stores: Stores) -> None:
    one, other = stores(), stores()
    left, rival = await joined(one, "one"), await joined(other, "other")
    await one.leave(left)

    await one.acquire(left, {"main": 0})

    await acquired_within(other, rival, "main")  # what it may have got died with it
    assert (await other.board()).holder("main") is not None


# -- epochs ------------------------------------------------------------------------------------------------------------


async def test_epochs_grow_with_every_change_of_holder(stores: Stores) -> None:
    one, other = stores(), stores()
    sessions = [(one, await joined(one, "one")), (other, await joined(other, "other"))]
    epochs = []
    for turn in range(6):
        store, session = sessions[turn % 2]
        epochs.append(await acquired_within(store, session, "main"))
        await store.release(session, {"main": None})

    assert epochs == sorted(set(epochs))


async def test_an_epoch_is_above_what_the_journal_has_and_not_below_the_time(stores: Stores) -> None:
    store = stores()
    session = await joined(store, "one")
    before = int(time.time())

    taken = await store.acquire(session, {"new": 0, "restored": before + 1_000_000})

    assert before <= taken["new"] <= int(time.time())
    assert taken["restored"] == before + 1_000_001


async def test_epochs_grow_although_the_store_lost_everything(backend: Backend, stores: Stores) -> None:
    one, other = stores(), stores()
    former = await joined(one, "one")
    before = await acquired_within(one, former, "main")
    await backend.empty()
    await asyncio.sleep(1.1)  # they are numbered by the second where nothing else is known

    session = await joined(other, "other")
    assert await acquired_within(other, session, "main") > before
    with pytest.raises((LeaseLost, StorageUnavailable)):
        await one.beat(former)


async def test_a_member_that_starts_again_is_another_holder(stores: Stores) -> None:
    one, again = stores(), stores()
    first = await joined(one, "one")
    epoch = await acquired_within(one, first, "main")
    second = await joined(again, "one")

    assert await again.acquire(second, {"main": 0}) == {}
    await one.leave(first)
    assert await acquired_within(again, second, "main") > epoch


# -- how long ----------------------------------------------------------------------------------------------------------


async def test_what_a_silent_member_holds_is_free_after_its_ttl_and_not_before(stores: Stores) -> None:
    one, other = stores(), stores()
    rival = await joined(other, "other")
    await other.board()
    silent = await joined(one, "one", SHORT)
    epoch = await acquired_within(one, silent, "main")
    lease = HeldLease("main", epoch, silent)

    taken = await acquired_within(other, rival, "main")

    assert not lease.is_valid(boot_seconds())  # it knew before
    assert boot_seconds() >= silent.valid_until + SHORT.ttl_seconds - SHORT.sure_seconds
    assert taken > epoch


async def test_who_renews_in_time_keeps_everything(stores: Stores) -> None:
    one, other = stores(), stores()
    holder, rival = await joined(one, "one", SHORT), await joined(other, "other")
    await acquired_within(one, holder, "main")

    for _ in range(8):
        await asyncio.sleep(0.25)
        sent_at = boot_seconds()
        await one.beat(holder)
        holder.confirm(sent_at)
        assert await other.acquire(rival, {"main": 0}) == {}
        assert holder.is_valid(boot_seconds())


async def test_a_renewal_is_refused_once_somebody_took_over(stores: Stores) -> None:
    one, other = stores(), stores()
    late, rival = await joined(one, "one", SHORT), await joined(other, "other")
    await acquired_within(one, late, "main")
    await acquired_within(other, rival, "main")

    with pytest.raises(LeaseLost, match=f"session {late.id}"):
        await one.beat(late)
    assert await one.release(late, {"main": None}) == set()  # says nothing about what others hold

    holder = (await other.board()).holder("main")
    assert holder is not None
    assert holder.session == rival.id


async def test_a_late_renewal_goes_on_where_nobody_took_anything(stores: Stores) -> None:
    store = stores()
    session = await joined(store, "one", SHORT)
    epoch = await acquired_within(store, session, "main")
    await asyncio.sleep(1.2)

    await store.beat(session)

    board = await store.board()
    holder = board.holder("main")
    assert holder is not None
    assert (holder.session, board.holdings["main"].epoch) == (session.id, epoch)


async def test_leaving_frees_everything_at_once(stores: Stores) -> None:
    one, other = stores(), stores()
    leaving, rival = await joined(one, "one"), await joined(other, "other")
    accounts = {f"account-{number}": 0 for number in range(100)}
    await one.acquire(leaving, accounts)
    await other.board()

    await one.leave(leaving)

    assert (await other.acquire(rival, accounts)).keys() == accounts.keys()
    with pytest.raises(LeaseLost):
        await one.beat(leaving)


async def test_what_is_given_up_names_its_heir(stores: Stores) -> None:
    one, other = stores(), stores()
    holder, heir = await joined(one, "one"), await joined(other, "other")
    await one.acquire(holder, {"main": 0, "alt": 0})

    assert await one.release(holder, {"main": heir.id, "never held": None}) == {"main"}

    board = await other.board()
    assert board.holder("main") is None
    assert board.holdings["main"].heir == heir.id
    assert board.holdings["main"].member == "one"
    assert board.holder("alt") is not None


# -- the board ---------------------------------------------------------------------------------------------------------


async def test_the_board_shows_what_members_say_of_themselves(stores: Stores) -> None:
    one, other = stores(), stores()
    session = await joined(one, "one", card=Card(warm=frozenset({"main", "alt"}), address="10.0.0.1:8080"))
    await joined(other, "other")
    member = (await other.board()).members[session.id]
    assert (member.name, member.is_alive) == ("one", True)
    assert member.card == Card(warm=frozenset({"main", "alt"}), address="10.0.0.1:8080")

    await one.show(session, Card(is_draining=True))

    assert (await other.board()).members[session.id].card == Card(is_draining=True)


async def test_a_change_wakes_who_waits(stores: Stores) -> None:
    one, other = stores(), stores()
    session = await joined(one, "one")
    await joined(other, "other")
    await other.board()
    await other.wait(0.2)  # what was told before
    waiting = asyncio.create_task(other.wait(30))
    await asyncio.sleep(0.1)
    began = time.monotonic()

    await one.acquire(session, {"main": 0})
    await waiting

    assert time.monotonic() - began < 5


async def test_many_leases_are_renewed_as_fast_as_one(stores: Stores) -> None:
    one, other = stores(), stores()
    session = await joined(one, "one")
    assert await one.acquire(session, {"first": 0})
    of_one = await _median_beat(one, session)

    names = [f"account-{number}" for number in range(400)]
    for start in range(0, len(names), 50):  # each part within the time that a store has for an answer
        part = names[start : start + 50]
        assert len(await one.acquire(session, dict.fromkeys(part, 0))) == len(part)
    of_many = await _median_beat(one, session)
    assert of_many < 20 * max(of_one, 0.001)  # one by one it would be 400 times

    await joined(other, "other")
    board = await other.board()
    assert sum(board.holder(account) is not None for account in names) == len(names)


async def _median_beat(store: LeaseStore, session: Session) -> float:
    taken = []
    for _ in range(15):
        began = time.monotonic()
        await store.beat(session)
        taken.append(time.monotonic() - began)
    return statistics.median(taken)


# -- what breaks -------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_killed_and_comes_back_has_lost_nothing(breakable: Backend) -> None:
    one, other = breakable.store(), breakable.store()
    holder, rival = await joined(one, "one"), await joined(other, "other")
    epoch = await acquired_within(one, holder, "main")

    breakable.kill()
    with pytest.raises(StorageUnavailable):
        await one.beat(holder)
    breakable.start()

    await _again(one.beat, holder)
    assert await _again(other.acquire, rival, {"main": 0}) == {}
    assert (await one.board()).holdings["main"].epoch == epoch
    await one.release(holder, {"main": None})
    assert await acquired_within(other, rival, "main") > epoch
    await one.close()
    await other.close()


async def _again(ask: Callable[..., object], *args: object) -> object:
    """Ask until the server is there again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await ask(*args)  # type: ignore[misc]  # one of the store's coroutines
            except StorageUnavailable:
                await asyncio.sleep(0.1)


async def test_who_is_cut_off_knows_it_before_anybody_else_takes_over(backend: Backend, stores: Stores) -> None:
    other = stores()
    rival = await joined(other, "other")
    async with AsyncExitStack() as stack:
        one, cut = await backend.cut_store(stack)
        stack.push_async_callback(one.close)
        holder = await joined(one, "one", SHORT)
        epoch = await acquired_within(one, holder, "main")
        lease = HeldLease("main", epoch, holder)

        async def renew() -> None:
            while True:
                sent_at = boot_seconds()
                try:
                    await one.beat(holder)
                except StorageUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    holder.confirm(sent_at)
                    await asyncio.sleep(SHORT.beat_seconds)

        renewing = asyncio.create_task(renew())
        await asyncio.sleep(1.5)
        assert await other.acquire(rival, {"main": 0}) == {}
        assert lease.is_valid(boot_seconds())

        cut()
        taken = await acquired_within(other, rival, "main")

        assert not lease.is_valid(boot_seconds())
        assert taken > epoch
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def test_a_server_that_is_not_there_is_said_in_one_line(breakable: Backend) -> None:
    breakable.kill()
    store = breakable.store()

    with pytest.raises(StorageUnavailable) as raised:
        await store.open()

    assert store.description in str(raised.value)
    assert "\n" not in str(raised.value)
    await store.close()


# -- what a bucket keeps -----------------------------------------------------------------------------------------------


class Watch:
    """A clock that a test sets ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return boot_seconds() + self.ahead


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[NatsBackend]:
    """A bucket of a test's own."""
    with NatsServer(tmp_path / "nats") as server:
        yield NatsBackend(server)


async def keys_of(backend: NatsBackend) -> set[str]:
    """Return the keys that are in the bucket."""
    client = await backend.server.connect()
    state = (await client.jetstream().stream_info(f"KV_{BUCKET}", subjects_filter=">")).state
    await client.close()
    return {subject.removeprefix(f"$KV.{BUCKET}.") for subject in state.subjects or {}}


@pytest.fixture
async def watched(bucket: NatsBackend) -> AsyncIterator[Callable[[Watch], NatsLeases]]:
    """Makes ways to the bucket by such a clock, which are closed after the test."""
    made: list[NatsLeases] = []

    def make(watch: Watch) -> NatsLeases:
        made.append(NatsLeases(NatsPlace((bucket.url,)), clock=watch, wall_clock=now_ms, answer_seconds=1.0))
        return made[-1]

    yield make
    for store in made:
        await store.close()


Watched = Callable[[Watch], NatsLeases]


async def test_a_card_whose_session_never_began_is_removed_in_the_end(bucket: NatsBackend, watched: Watched) -> None:
    watch = Watch()
    store = watched(watch)
    session = await joined(store, "one")
    await store.show(Session("one", LONG, "cut-off"), Card(address="10.0.0.1:8080"))  # as far as joining came
    await store.board()

    watch.ahead = FORGET_SECONDS - 5
    await store.beat(session)
    await store.board()
    assert await keys_of(bucket) == {f"s.{session.id}", f"c.{session.id}", "c.cut-off"}, "it may still be joining"

    watch.ahead = FORGET_SECONDS + 5
    await store.board()
    assert await keys_of(bucket) == {f"s.{session.id}", f"c.{session.id}"}
    assert store._cards.keys() == {session.id}


async def test_a_card_whose_session_begins_late_stays(bucket: NatsBackend, watched: Watched) -> None:
    watch = Watch()
    store, other = watched(watch), watched(Watch())
    await store.open()
    late = Session("one", LONG, "late")
    await other.show(late, Card(address="10.0.0.1:8080"))
    await store.board()
    watch.ahead = FORGET_SECONDS + 5
    await other.join(late, Card(address="10.0.0.1:8080"))

    assert (await store.board()).members["late"].card.address == "10.0.0.1:8080"
    assert await keys_of(bucket) == {"s.late", "c.late"}


async def test_what_one_member_has_removed_leaves_the_boards_of_the_others(
    bucket: NatsBackend, watched: Watched
) -> None:
    watches = [Watch(), Watch()]
    one, other = (watched(watch) for watch in watches)
    gone = await joined(one, "gone", SHORT)
    assert gone.id in (await other.board()).members
    await one.leave(gone)
    await one.board()
    await other.board()

    watches[0].ahead = watches[1].ahead = FORGET_SECONDS + 5
    await one.board()
    assert await keys_of(bucket) == set()
    await other.board()

    assert (await other.board()).members == {}


async def spoil(backend: NatsBackend, key: str, how: str) -> None:
    """Do to a key what people do with `nats kv`, and with `nats stream purge`."""
    client = await backend.server.connect()
    js = client.jetstream()
    keys = await js.key_value(BUCKET)
    match how:
        case "deleted":
            await keys.delete(key)
        case "purged":
            await keys.purge(key)
        case "unreadable":
            await keys.put(key, b"hello")
        case "senseless":
            await keys.put(key, b'{"epoch":100000000000000000000,"session":null,"member":"one"}')
        case _:  # gone, without a trace
            await js.purge_stream(f"KV_{BUCKET}", subject=f"$KV.{BUCKET}.{key}")
    await client.close()


SPOILT = ["deleted", "purged", "unreadable", "senseless"]


async def test_a_lease_that_somebody_removed_or_spoilt_is_free_under_a_greater_epoch(
    bucket: NatsBackend, watched: Watched
) -> None:
    one, knowing, fresh = (watched(Watch()) for _ in range(3))
    holder, rival = await joined(one, "one"), await joined(knowing, "knowing")
    before = await one.acquire(holder, dict.fromkeys(SPOILT, int(time.time()) + 1_000))  # not by the second
    assert await knowing.acquire(rival, dict.fromkeys(SPOILT, 0)) == {}

    for how in SPOILT:
        await spoil(bucket, f"a.{how}", how)
    taken = await knowing.acquire(rival, dict.fromkeys(SPOILT, 0))
    assert {how: epoch - before[how] for how, epoch in taken.items()} == dict.fromkeys(SPOILT, 1)
    holdings = (await one.board()).holdings
    assert {how: holdings[how].session for how in SPOILT} == dict.fromkeys(SPOILT, rival.id)

    for how in SPOILT:
        await spoil(bucket, f"a.{how}", how)
    later = await fresh.acquire(await joined(fresh, "fresh"), taken)
    assert {how: epoch - taken[how] for how, epoch in later.items()} == dict.fromkeys(SPOILT, 1)


async def test_a_session_that_somebody_removed_or_spoilt_is_over_after_its_ttl(
    bucket: NatsBackend, watched: Watched
) -> None:
    ways, watch = [*SPOILT, "gone"], Watch()
    other, fresh = watched(watch), watched(Watch())
    rival = await joined(other, "other")
    held = {}
    for how in ways:
        store = watched(Watch())
        held[how] = store, await joined(store, how)
        assert await store.acquire(held[how][1], {how: 0})
    await other.board()

    for how, (_, session) in held.items():
        await spoil(bucket, f"s.{session.id}", how)
    watch.ahead = LONG.ttl_seconds - 5
    assert await other.acquire(rival, {"deleted": 0, "purged": 0}) == {}, "whoever holds it may not have noticed"
    watch.ahead = 2 * LONG.ttl_seconds
    assert (await other.acquire(rival, dict.fromkeys(ways, 0))).keys() == set(ways)
    for store, session in held.values():
        with pytest.raises(LeaseLost, match=f"session {session.id}"):
            await store.beat(session)

    await spoil(bucket, f"s.{rival.id}", "deleted")
    assert await acquired_within(fresh, await joined(fresh, "fresh"), "gone")  # it never saw who holds it


async def test_a_value_that_cannot_be_read_is_named_once(bucket: NatsBackend, watched: Watched) -> None:
    store = watched(Watch())
    session = await joined(store, "one", card=Card(address="10.0.0.1:8080"))
    for key in (f"c.{session.id}", "a.main", "s.strange"):
        await spoil(bucket, key, "unreadable")

    with capture_logs() as logs:
        board = await store.board()
        assert await store.acquire(session, {"main": 0})
        await spoil(bucket, f"s.{session.id}", "unreadable")
        for _ in range(2):
            with pytest.raises(LeaseLost):
                await store.beat(session)

    assert board.members[session.id].card == Card()
    assert board.members.keys() == {session.id}
    told = [each["key"] for each in logs if each["event"] == "lease_value_unreadable"]
    assert sorted(told) == sorted({"a.main", "s.strange", f"c.{session.id}", f"s.{session.id}"})


# -- keepers -----------------------------------------------------------------------------------------------------------


class Speaker:
    """What a service does with its leases, at once."""

    def __init__(self) -> None:
        self.leases: dict[str, HeldLease] = {}

    async def take_up(self, lease: HeldLease) -> None:
        self.leases[lease.account] = lease

    async def lay_down(self, lease: HeldLease, why: Loss) -> None:
        self.leases.pop(lease.account, None)

    async def known_epochs(self, accounts: Collection[str]) -> Mapping[str, int]:
        return dict.fromkeys(accounts, 0)

    @property
    def valid(self) -> set[str]:
        return {account for account, lease in self.leases.items() if lease.is_valid(boot_seconds())}


async def held_by(*speakers: Speaker, seconds: float = 20) -> None:
    """Return once all accounts are spoken for, by nobody twice."""
    async with asyncio.timeout(seconds):
        while True:
            valid = [account for speaker in speakers for account in speaker.valid]
            assert len(valid) == len(set(valid))
            if set(valid) == set(KEPT):
                return
            await asyncio.sleep(0.01)


KEPT = [f"account-{number}" for number in range(6)]


async def test_a_keeper_holds_all_again_after_the_store_lost_everything(backend: Backend, stores: Stores) -> None:
    speaker = Speaker()
    keeper = Keeper(stores(), "one", SHORT, speaker, clock=boot_seconds, accounts=lambda: KEPT)
    running = asyncio.create_task(keeper.run())
    await held_by(speaker)
    lost = set(speaker.leases.values())

    await backend.empty()

    async with asyncio.timeout(20):
        while True:
            if speaker.valid == set(KEPT) and not lost & set(speaker.leases.values()):
                break
            await asyncio.sleep(0.02)
    board = await stores().board()
    assert all(board.holder(account) is not None for account in KEPT)
    keeper.drain()
    await asyncio.wait_for(running, 20)


async def test_keepers_share_take_over_from_the_dead_and_hand_over(stores: Stores) -> None:
    speakers = [Speaker() for _ in range(3)]
    keepers = [
        Keeper(stores(), f"m{number}", SHORT, speaker, clock=boot_seconds, accounts=lambda: KEPT)
        for number, speaker in enumerate(speakers)
    ]
    tasks = [asyncio.create_task(keeper.run()) for keeper in keepers]
    await held_by(*speakers)
    epochs = {account: lease.epoch for speaker in speakers for account, lease in speaker.leases.items()}

    tasks[0].cancel()  # it dies
    await asyncio.gather(tasks[0], return_exceptions=True)
    speakers[0].leases.clear()
    await held_by(*speakers[1:])
    after = {account: lease.epoch for speaker in speakers[1:] for account, lease in speaker.leases.items()}
    assert all(after[account] >= epochs[account] for account in KEPT)

    keepers[1].drain()
    await asyncio.wait_for(tasks[1], 20)
    assert speakers[1].leases == {}
    await held_by(speakers[2])

    keepers[2].drain()
    await asyncio.wait_for(tasks[2], 20)
