"""A machine that burned: the data directory is gone, the history is not, and the account goes on as if nothing was."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from account_monitor.clock import now_ms
from account_monitor.config import DatabaseSettings, ServiceSettings, Settings
from account_monitor.errors import HistoryUnavailable, JournalCorrupt, JournalError
from account_monitor.historian.restoration import Restoration
from account_monitor.monitor.desk import Desk
from account_monitor.stores.history.opening import history_store
from account_monitor.stores.history.restoring import restore_journal
from account_monitor.stores.history.sqlite import SqliteHistory
from account_monitor.stores.journal_file import journal_path
from account_monitor.stores.journal_reader import open_reader
from tests.integration.market import Market, equal, monitored, open_for_business
from tests.integration.nats_server import NatsServer
from tests.integration.publisher import SteadyPublisher, assert_equal_to
from tests.integration.service import Service
from tests.integration.trading_desk import trading_desk
from tests.servers.postgres import PostgresServer


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service without an exchange, which is killed at the latest when the test is over."""
    service = Service(tmp_path, None)
    yield service
    if service.process is not None:
        service.kill()


def burn(data: Path) -> None:
    """Leave of a data directory what a database elsewhere would have."""
    for path in data.iterdir():
        if not path.name.startswith("history.sqlite"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.integration
@pytest.mark.slow
def test_a_machine_that_burned_goes_on_from_the_history_and_from_nats(tmp_path: Path, service: Service) -> None:
    with NatsServer(tmp_path / "nats") as server:
        publisher = SteadyPublisher(server.url, seed=5)
        service.document["pubsub"]["nats"]["url"] = server.url
        publisher.start()
        service.start()
        service.wait_until(lambda: service.fill_count() > 500, "fed")
        service.kill()
        burn(tmp_path / "data")
        service.start()
        service.wait_until(lambda: service.fill_count() > 1_000, "fed again")
        publisher.finish()
        service.wait_until(lambda: service.fill_count() == len(publisher.fills), "complete")

        assert_equal_to(publisher.fills, service.account())
        assert service.stop() == 0
    said = service.log_file.read_text()
    assert "journal_restored" in said
    assert "Traceback" not in said
    with open_reader(journal_path(tmp_path / "data", "main")) as reader:
        assert len(reader.epochs()) == 2
        assert reader.verify()[0] == reader.last_seq


@pytest.mark.integration
@pytest.mark.slow
async def test_what_the_history_did_not_see_any_more_is_fetched_from_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Funding as seldom as in life: what was under way at the adoption would have to be heard, and nobody listens.
    here = Market(2, funding_interval_ms=3_600_000)
    async with open_for_business(here), monitored(tmp_path, here, monkeypatch) as service:
        here.order("BTCUSDT", "BUY", "0.5")
        await equal(service, here, 10)
        await asyncio.sleep(1)  # the history has it
        service.kill()
        here.order("BTCUSDT", "SELL", "0.2")
        burn(tmp_path / "data")
        await asyncio.to_thread(service.start)
        await equal(service, here, 20)

        ids = [fill["id"] for fill in service.get("/api/fills")[1]["fills"]]
        assert len(ids) == len(set(ids))
        assert "journal_restored" in service.log_file.read_text()
        kinds = [alert["type"] for alert in service.get("/api/alerts")[1]["alerts"]]
        assert not {"POSITION_DRIFT", "BALANCE_DRIFT", "UNEXPECTED_FILL"} & set(kinds)


@pytest.mark.integration
async def test_a_journal_comes_back_byte_for_byte_and_begins_a_new_epoch(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    async with trading_desk(before) as desk:
        await desk.open("main")
        await desk.trade(desk.fill("BUY", "123456789012345678.000000001", at="0.00000001"), desk.fill(at="3"))
        await desk.close("main")
        await desk.remember()
    told: list[tuple[int, int]] = []

    replica = await restore_journal(
        SqliteHistory(before, now_ms), after, "main", clock=now_ms, progress=lambda *done: told.append(done)
    )

    assert replica is not None
    assert told == [(replica.seq, replica.seq)]
    with open_reader(journal_path(before, "main")) as first, open_reader(journal_path(after, "main")) as second:
        assert second.rows(after=0, until=1_000) == first.rows(after=0, until=1_000)
        assert second.end().positions == first.end().positions
        assert second.verify() == first.verify()
        assert first.epoch < second.epoch
    assert sorted(path.name for path in after.iterdir()) == ["main.journal", "main.journal.lock"]


@pytest.mark.integration
async def test_what_is_left_of_the_journal_that_is_gone_is_kept_and_not_played_back(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    after.mkdir()
    async with trading_desk(before) as desk:
        await desk.open("main")
        await desk.trade(desk.fill(at="100"))
        for suffix in ("-wal", "-shm"):  # the service was killed, and main.journal alone was removed
            shutil.copy(before / f"main.journal{suffix}", after)
        await desk.trade(desk.fill(at="101"))
        await desk.close("main")
        await desk.remember()
    stale = (after / "main.journal-wal").read_bytes()
    assert stale

    await restore_journal(SqliteHistory(before, now_ms), after, "main", clock=lambda: 7, progress=lambda *done: None)

    with open_reader(journal_path(before, "main")) as first, open_reader(journal_path(after, "main")) as second:
        assert second.verify() == first.verify()
    assert (after / "main.journal-wal.7").read_bytes() == stale


@pytest.mark.integration
async def test_a_journal_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk:
        await desk.open("main")
        await desk.remember()
    held = journal_path(tmp_path, "main").read_bytes()

    with pytest.raises(JournalError, match=r"main\.journal exists"):
        await restore_journal(
            SqliteHistory(tmp_path, now_ms), tmp_path, "main", clock=now_ms, progress=lambda *done: None
        )

    assert journal_path(tmp_path, "main").read_bytes() == held


@pytest.mark.integration
async def test_there_is_nothing_to_restore_of_an_account_that_the_history_does_not_know(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk:
        await desk.open("main")
        await desk.remember()

    store = SqliteHistory(tmp_path, now_ms)

    assert await restore_journal(store, tmp_path, "other", clock=now_ms, progress=lambda *done: None) is None
    assert not journal_path(tmp_path, "other").exists()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE journal SET body = replace(body, '100', '101') WHERE seq = 2", "entry 2 .* does not match its hash"),
        ("DELETE FROM journal WHERE seq = 2", "entry 2 is missing"),
        ("DELETE FROM journal WHERE seq = 3", "entry 3 of 3 is missing"),
    ],
)
async def test_a_copy_that_was_changed_is_refused_and_leaves_no_journal(tmp_path: Path, change: str, says: str) -> None:
    import apsw

    before, after = tmp_path / "before", tmp_path / "after"
    async with trading_desk(before) as desk:
        await desk.open("main")
        await desk.trade(desk.fill(at="100"), desk.fill(at="100"))
        await desk.remember()
    connection = apsw.Connection(str(before / "history.sqlite"))
    connection.execute(change)
    connection.close()

    with pytest.raises(JournalCorrupt, match=says):
        await restore_journal(SqliteHistory(before, now_ms), after, "main", clock=now_ms, progress=lambda *done: None)

    assert not journal_path(after, "main").exists()


@pytest.mark.integration
def test_while_the_database_does_not_answer_nothing_begins(tmp_path: Path, service: Service) -> None:
    service.document["database"] = {"url": "postgresql://127.0.0.1:1/nowhere"}
    service.start(wait=False)
    service.wait_until(lambda: service.get("/ready")[0] == 503, "unready")

    def is_explained() -> bool:
        told = [str(service.get(path)[1]) for path in ("/ready", "/health", "/api/account?account=main")]
        return all("may have a past in the history" in each for each in told)

    service.wait_until(is_explained, "explained", 10)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 3
    assert not journal_path(tmp_path / "data", "main").exists()


@pytest.mark.integration
@pytest.mark.slow
async def test_an_account_that_somebody_follows_is_not_taken_over(
    tmp_path: Path, breakable_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("account_monitor.historian.restoration.AGAIN_SECONDS", 0.05)
    url = (await breakable_postgres.create_database()).url
    before = tmp_path / "before"
    async with trading_desk(before) as desk:
        await desk.open("main")
        await desk.trade(desk.fill())
        store = history_store(url, before, clock=now_ms)
        await desk.remember(store=store)
    settings = Settings()._replace(
        service=ServiceSettings(data_dir=tmp_path / "after"), database=DatabaseSettings(url=url)
    )
    looked = Desk(now_ms, "1")
    stopping = asyncio.Event()
    restoration = Restoration(settings, looked, is_stopping=stopping.is_set)

    with pytest.raises(HistoryUnavailable, match="may still be running"):
        await restoration.run("main", is_patient=False)
    waiting = asyncio.create_task(restoration.run("main"))
    while "may still be running" not in str(looked.unready):  # noqa: ASYNC110  # a desk tells nobody
        await asyncio.sleep(0.02)
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE projections SET updated_at = updated_at - interval '2 minutes'")
    await connection.close()
    await waiting

    assert journal_path(tmp_path / "after", "main").exists()


@pytest.mark.integration
def test_an_account_with_a_journal_does_not_wait_for_the_past_of_another(tmp_path: Path, service: Service) -> None:
    service.start()
    assert service.stop() == 0
    service.document["accounts"] = [{"name": name, "exchange": "none"} for name in ("new", "main")]
    service.document["database"] = {"url": "postgresql://127.0.0.1:1/nowhere"}
    service.start(wait=False)
    service.wait_until(lambda: service.get("/api/account?account=main")[0] == 200, "shown", 15)

    assert service.get("/api/account?account=new")[0] == 503
    assert service.get("/ready")[0] == 503
