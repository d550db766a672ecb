"""Leases in PostgreSQL that somebody deletes, edits or restores while members take part: all is held again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

import asyncpg
import pytest

from account_monitor.clock import boot_seconds
from account_monitor.cluster import keeper as keepers
from account_monitor.cluster import postgres
from account_monitor.cluster.keeper import Keeper
from account_monitor.cluster.leases import HeldLease, Loss, Session, Terms, new_session_id
from account_monitor.cluster.members import Board, Card
from account_monitor.cluster.postgres import PostgresLeases
from account_monitor.errors import LeaseLost, StorageUnavailable
from tests.servers.postgres import FreshDatabase

pytestmark = pytest.mark.integration

LONG = Terms(60.0)
SHORT = Terms(2.0)
PATIENCE = 10.0

FREED = "UPDATE account_monitor_leases SET session = NULL, changed_at = '2020-01-01Z' WHERE account = 'main'"
"""As a restore does it: the row says that it was changed long ago."""


class Hands:
    """Members' ways to a database, and what an operator has there."""

    def __init__(self, url: str, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.url = url
        self.connection = connection
        self._stores: list[PostgresLeases] = []

    def store(self) -> PostgresLeases:
        self._stores.append(PostgresLeases(self.url, answer_seconds=PATIENCE))
        return self._stores[-1]

    async def member(self, name: str, *accounts: str) -> tuple[PostgresLeases, Session, dict[str, int]]:
        """Join, take accounts, and look at the board; return the epochs too."""
        store = self.store()
        await store.open()
        session = await joined(store, name)
        taken = await store.acquire(session, dict.fromkeys(accounts, 0)) if accounts else {}
        await store.board()
        return store, session, taken

    async def do(self, sql: str) -> None:
        await self.connection.execute(sql)

    async def close(self) -> None:
        for store in self._stores:
            await store.close()
        await self.connection.close()


@pytest.fixture
async def hands(postgres_schema: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hands]:
    """An empty place that members share, who read all of it for a reason only."""
    monkeypatch.setattr(postgres, "WHOLE_SECONDS", 3_600.0)
    hands = Hands(postgres_schema.url, await asyncpg.connect(postgres_schema.url))
    yield hands
    await hands.close()


async def joined(store: PostgresLeases, name: str) -> Session:
    """Begin a session."""
    session = Session(name, LONG, new_session_id())
    await store.join(session, Card())
    return session


async def shown(store: PostgresLeases, is_so: Callable[[Board], bool]) -> Board:
    """Look at the board until it is so."""
    async with asyncio.timeout(30):
        while True:
            if is_so(board := await store.board()):
                return board
            await asyncio.sleep(0.02)


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deleted", ["DELETE FROM account_monitor_leases WHERE account = 'main'", "TRUNCATE account_monitor_leases"]
)
async def test_a_lease_whose_row_is_deleted_can_be_had_again(hands: Hands, deleted: str) -> None:
    one, holder, taken = await hands.member("one", "main", "other")
    other, rival, _ = await hands.member("two")

    await hands.do(deleted)

    again = await other.acquire(rival, {"main": taken["main"]})
    assert again["main"] > taken["main"]
    assert await one.acquire(holder, {"main": taken["main"]}) == {}


async def test_a_row_that_somebody_is_changing_delays_nobody(hands: Hands) -> None:
    await hands.member("one", "main")
    other, rival, _ = await hands.member("two")
    async with hands.connection.transaction():
        await hands.do("UPDATE account_monitor_leases SET heir = 'x' WHERE account = 'main'")

        async with asyncio.timeout(PATIENCE / 2):  # it would be given up after that
            taken = await other.acquire(rival, {"main": 0, "alt": 0})

    assert taken.keys() == {"alt"}


async def test_what_could_not_be_given_up_is_read_again(hands: Hands) -> None:
    one, holder, _ = await hands.member("one", "main")
    await hands.do(FREED)
    assert (await one.board()).holdings["main"].session == holder.id  # it reads what changed in the last moment

    assert await one.release(holder, {"main": None}) == set()

    assert (await one.board()).holdings["main"].session is None


async def test_what_could_not_be_had_is_read_again(hands: Hands) -> None:
    one, holder, _ = await hands.member("one", "main")
    await one.release(holder, {"main": None})
    other, rival, _ = await hands.member("two")
    await hands.do(
        f"UPDATE account_monitor_leases SET session = '{holder.id}', changed_at = '2020-01-01Z' WHERE account = 'main'"
    )

    assert await other.acquire(rival, {"main": 0}) == {}

    board = await other.board()
    assert board.holder("main") == board.members[holder.id]


async def test_a_board_read_whole_lacks_the_rows_that_are_gone(hands: Hands) -> None:
    one, holder, _ = await hands.member("one", "main", "alt")
    await hands.do("DELETE FROM account_monitor_leases WHERE account = 'main'")

    await one.release(holder, {"main": None})

    assert (await one.board()).holdings.keys() == {"alt"}


async def test_rows_of_earlier_times_are_seen_now_and_then(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "WHOLE_SECONDS", 0.1)
    monkeypatch.setattr(postgres, "WHOLE_SHARE", 0)
    await hands.member("one", "main")
    other, _, _ = await hands.member("two")

    await hands.do(FREED)

    await shown(other, lambda board: board.holdings["main"].session is None)


async def test_a_time_to_come_hides_nothing(hands: Hands) -> None:
    one, holder, _ = await hands.member("one", "main", "alt")
    other, _, _ = await hands.member("two")
    await hands.do(
        "UPDATE account_monitor_leases SET changed_at = now() + interval '1 day' WHERE account = 'main';"
        "UPDATE account_monitor_sessions SET shown_at = now() + interval '1 day'"
    )
    await other.board()

    await one.release(holder, {"alt": None})
    await one.show(holder, Card(is_draining=True))

    board = await other.board()
    assert board.holdings["alt"].session is None
    assert board.members[holder.id].card.is_draining


# -- tables ------------------------------------------------------------------------------------------------------------

DROPS = [
    "DROP TABLE account_monitor_leases, account_monitor_sessions",
    "DROP TABLE account_monitor_leases",
    "DROP TABLE account_monitor_sessions",
]


@pytest.mark.parametrize("dropped", DROPS)
async def test_a_session_is_over_once_tables_are_dropped_and_the_next_one_makes_them(
    hands: Hands, dropped: str
) -> None:
    one, holder, taken = await hands.member("one", "main")
    await hands.do(dropped)
    with pytest.raises(StorageUnavailable, match="does not exist"):
        await one.board()

    with pytest.raises(LeaseLost, match=f"session {holder.id}"):
        await one.beat(holder)

    await one.open()
    again = await joined(one, "one")
    assert (await one.acquire(again, taken))["main"] > taken["main"]
    await one.beat(again)


async def test_nothing_is_written_of_an_account_once_the_tables_are_dropped(hands: Hands) -> None:
    _, holder, taken = await hands.member("one", "main")
    await hands.do(DROPS[0])

    with pytest.raises(LeaseLost, match="main is held by nobody"):
        async with hands.connection.transaction():
            await postgres.fence(hands.connection, "main", taken["main"], holder.id)


async def test_a_claim_makes_the_tables_again(hands: Hands) -> None:
    claims = postgres.Claims(hands.url)
    lease = HeldLease("main", 5, Session("one", LONG, "s1"))
    await claims.claim(lease)
    await hands.do(DROPS[0])
    with pytest.raises(StorageUnavailable):
        await claims.youngest("main")

    await claims.claim(lease)

    assert await claims.youngest("main") == 5
    await claims.close()


# -- keepers -----------------------------------------------------------------------------------------------------------


class Speaker:
    """What a service does with its leases, at once."""

    def __init__(self) -> None:
        self.leases: dict[str, HeldLease] = {}

    async def take_up(self, lease: HeldLease) -> None:
        self.leases[lease.account] = lease

    async def lay_down(self, lease: HeldLease, why: Loss) -> None:
        self.leases.pop(lease.account, None)

    async def known_epochs(self, accounts: Collection[str]) -> dict[str, int]:
        return dict.fromkeys(accounts, 0)


DELETED = "DELETE FROM account_monitor_leases"
RESTORED = "UPDATE account_monitor_leases SET session = 'gone', epoch = epoch - 100, changed_at = '2020-01-01Z'"


@pytest.mark.parametrize("hand", [DELETED, RESTORED])
async def test_who_is_refused_has_the_account_again(hands: Hands, monkeypatch: pytest.MonkeyPatch, hand: str) -> None:
    monkeypatch.setattr(keepers, "AGAIN_SECONDS", 0.1)
    speaker = Speaker()
    keeper = Keeper(hands.store(), "one", SHORT, speaker, clock=boot_seconds, accounts=lambda: ["main", "alt"])
    running = asyncio.create_task(keeper.run())
    await until(lambda: speaker.leases.keys() == {"main", "alt"})
    epoch = speaker.leases["main"].epoch

    await hands.do(hand)
    await keeper.give_up("main")  # the fence refused what was written of it

    await until(lambda: "main" in speaker.leases and speaker.leases["main"].epoch > epoch)
    held_by = "SELECT session FROM account_monitor_leases WHERE account = 'main'"
    assert await hands.connection.fetchval(held_by) == keeper.session.id
    keeper.drain()
    await running


@pytest.mark.parametrize("dropped", DROPS)
async def test_a_member_alone_holds_all_again_after_tables_were_dropped(hands: Hands, dropped: str) -> None:
    speaker = Speaker()
    keeper = Keeper(hands.store(), "one", SHORT, speaker, clock=boot_seconds, accounts=lambda: ["main", "alt"])
    running = asyncio.create_task(keeper.run())
    await until(lambda: speaker.leases.keys() == {"main", "alt"})
    epochs = {account: lease.epoch for account, lease in speaker.leases.items()}

    await hands.do(dropped)

    await until(lambda: {a for a, lease in speaker.leases.items() if lease.epoch > epochs[a]} == {"main", "alt"})
    assert await hands.connection.fetchval("SELECT count(*) FROM account_monitor_leases WHERE session IS NOT NULL") == 2
    keeper.drain()
    await running


async def until(is_so: Callable[[], bool], seconds: float = 40) -> None:
    """Return once it is so."""
    async with asyncio.timeout(seconds):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.02)
