"""A file that is damaged costs nothing that its copy holds: it is set aside, and another one is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from account_monitor.errors import HistoryUnavailable, JournalCorrupt, JournalDamaged
from account_monitor.ledger.account import USD_ASSETS, fold
from account_monitor.stores.checkpoints import Folding, encode_state
from account_monitor.stores.history import following as followings
from account_monitor.stores.history.batch import KeptState
from account_monitor.stores.history.following import Heritage
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.history.store import HistoryStore
from account_monitor.stores.history.succession import Outcome, Succession, set_aside, succeed
from account_monitor.stores.journal_file import journal_path, leftovers
from account_monitor.stores.journal_reader import open_reader
from tests.contracts.test_journal_following import Holder, end_of, following, hand_over, numbered, until
from tests.history_samples import NOW

FOLDING = Folding(USD_ASSETS)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[HistoryStore]:
    """Where journals are copied to."""
    (tmp_path / "copies").mkdir()
    store = SqliteHistory(tmp_path / "copies", lambda: NOW)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def holder(tmp_path: Path, store: HistoryStore) -> Holder:
    return Holder(tmp_path / "holder", store)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file that is damaged, of one who does not hold the account."""
    return journal_path(tmp_path / "b", "main")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followings, "LOOK_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(followings, "AGAIN_SECONDS", 0.1)


def is_cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def holds_garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1_000)


def says(statement: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        connection = apsw.Connection(str(path))
        connection.execute(statement)
        assert connection.changes() == 1
        connection.close()

    return damage


_QUANTITY = """UPDATE journal SET body = replace(body, '"quantity":"1"', '"quantity":"7"') WHERE seq = 2"""
DAMAGES = {
    "half": is_cut_in_half,
    "garbage": holds_garbage,
    "body": says("UPDATE journal SET body = '{' WHERE seq = 2"),
    "quantity": says(_QUANTITY),
    "gap": says("DELETE FROM journal WHERE seq = 2"),
    "head": says("UPDATE journal SET hash = x'00' WHERE seq = 3"),
}


@pytest.fixture(params=DAMAGES)
def damage(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """What happens to a file of three entries."""
    return DAMAGES[request.param]


async def take_over(store: HistoryStore, path: Path) -> Succession:
    replica = await store.replica("main")
    return await succeed(
        store, path.parent, "main", replica, clock=lambda: NOW, progress=lambda *_: None, folding=FOLDING
    )


def folded(heritage: Heritage) -> bytes:
    assert heritage.state is not None
    return encode_state(heritage.state)


def fold_of(last: int) -> bytes:
    return encode_state(fold([delivery.event for delivery in numbered(1, last) if delivery.event is not None]).state)


@pytest.mark.parametrize("last", [3, 5])
async def test_who_takes_it_over_sets_the_damaged_file_aside_as_it_is_and_makes_another_one(
    store: HistoryStore, holder: Holder, path: Path, damage: Callable[[Path], None], last: int
) -> None:
    await holder.records(numbered(1, 3))
    await take_over(store, path)
    damage(path)
    if last > 3:
        await holder.records(numbered(4, last))

    done = await take_over(store, path)

    assert (done.outcome, done.entries) == (Outcome.SET_ASIDE, last)
    assert done.damage
    assert done.set_aside is not None
    assert end_of(path.parent)[0] == last
    with pytest.raises(JournalCorrupt), open_reader(done.set_aside) as reader:
        reader.verify()


async def test_who_follows_it_sets_the_damaged_file_aside_and_folds_what_the_copy_says(
    store: HistoryStore, holder: Holder, path: Path, damage: Callable[[Path], None]
) -> None:
    await holder.records(numbered(1, 3))
    await take_over(store, path)
    damage(path)

    async with following(store, path.parent) as subject:
        await until(lambda: "main" in subject.warm)
        heritage = await hand_over(subject, store)

    assert folded(heritage) == fold_of(3)
    assert heritage.aside is not None
    assert heritage.aside.damage
    assert heritage.aside.set_aside is not None
    assert heritage.aside.set_aside.exists()


def is_removed(path: Path) -> None:
    for leftover in leftovers(path):
        leftover.unlink()


def is_replaced(path: Path) -> None:
    is_removed(path)
    path.touch()


@pytest.mark.parametrize("befall", [is_removed, is_replaced, is_cut_in_half])
async def test_what_befalls_the_file_while_it_is_followed_is_seen_at_the_takeover(
    store: HistoryStore, holder: Holder, path: Path, befall: Callable[[Path], None]
) -> None:
    await holder.records(numbered(1, 3))
    await take_over(store, path)
    async with following(store, path.parent) as subject:
        await until(lambda: "main" in subject.warm)
        befall(path)
        heritage = await hand_over(subject, store)
        assert (heritage.done, heritage.state) == (None, None)
        await take_over(store, path)

    assert end_of(path.parent)[0] == 3
    assert (heritage.aside is not None) == (befall is is_cut_in_half)


@pytest.mark.parametrize("befall", [is_removed, is_replaced, is_cut_in_half])
async def test_what_befalls_the_file_while_it_is_followed_is_mended_with_the_next_entry(
    store: HistoryStore, holder: Holder, path: Path, befall: Callable[[Path], None]
) -> None:
    await holder.records(numbered(1, 3))
    await take_over(store, path)
    async with following(store, path.parent) as subject:
        await until(lambda: "main" in subject.warm)
        befall(path)
        await holder.records(numbered(4, 4))
        await until(lambda: [each.seq for each in subject._followed.values()] == [4])
        heritage = await hand_over(subject, store)

    assert folded(heritage) == fold_of(4)
    assert end_of(path.parent)[0] == 4


async def test_a_state_of_the_copy_that_cannot_be_read_sets_no_file_aside(
    store: HistoryStore, holder: Holder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await holder.records(numbered(1, 3))
    from account_monitor.stores import checkpoints

    replica = await store.replica("main")
    assert replica is not None
    replica = replica._replace(state=KeptState(3, checkpoints._fingerprint(USD_ASSETS), b"\x00"))
    monkeypatch.setattr(store, "replica", lambda _: _now(replica))
    await take_over(store, path)  # made from the copy

    with pytest.raises(JournalCorrupt, match="it came from the copy") as raised:
        await take_over(store, path)

    assert not isinstance(raised.value, JournalDamaged)
    assert leftovers(path)[0] == path
    async with following(store, path.parent) as subject:
        await until(lambda: "main" in subject._mended)
    assert len([each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}.1")]) <= 1


async def _now(value: object) -> object:
    return value


async def test_two_that_are_set_aside_in_one_millisecond_both_stay(
    store: HistoryStore, holder: Holder, path: Path
) -> None:
    await holder.records(numbered(1, 3))
    names = set()
    for _ in range(2):
        await take_over(store, path)
        names.add(set_aside(path, "main", NOW, damage=""))

    assert len(names) == 2
    assert all(name.exists() for name in names)


def test_what_sqlite_kept_beside_a_damaged_file_stays_beside_it(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"garbage")
    Path(f"{path}-wal").write_bytes(b"what was recorded last")

    aside = set_aside(path, "main", NOW, damage="no SQLite file")

    assert leftovers(path) == []
    assert Path(f"{aside}-wal").read_bytes() == b"what was recorded last"


def is_away(*_: object, **__: object) -> object:
    raise HistoryUnavailable("away")


async def test_it_is_said_at_once_that_a_file_is_set_aside_though_the_copy_cannot_be_read_then(
    store: HistoryStore, holder: Holder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await holder.records(numbered(1, 3))
    await take_over(store, path)
    holds_garbage(path)

    with monkeypatch.context() as patch, capture_logs() as said:
        patch.setattr(store, "entries", is_away)
        with pytest.raises(HistoryUnavailable):
            await take_over(store, path)

    [told] = [each for each in said if each["event"] == "journal_set_aside"]
    assert told["path"] in [str(each) for each in path.parent.glob("main.journal.*")]
    assert "this is no SQLite file" in told["reason"]
    assert (await take_over(store, path)).outcome is Outcome.RESTORED


async def test_what_was_set_aside_is_told_to_who_takes_the_account_over_at_last(
    store: HistoryStore, holder: Holder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await holder.records(numbered(1, 3))
    await take_over(store, path)
    holds_garbage(path)

    async with following(store, path.parent) as subject:
        await until(lambda: "main" in subject.warm)
        with monkeypatch.context() as patch:
            patch.setattr(store, "entries", is_away)
            with pytest.raises(HistoryUnavailable):
                await hand_over(subject, store)
        heritage = await hand_over(subject, store)

    assert heritage.aside is not None
    assert "this is no SQLite file" in heritage.aside.damage
