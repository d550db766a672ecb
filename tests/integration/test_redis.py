"""The current state in Redis, on a real server: what is there, what never is, and what an outage does to the rest."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from account_monitor.config import Secret
from account_monitor.errors import StorageRefused, StorageUnavailable
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.health import Status
from account_monitor.stores import cache, redis_connection
from account_monitor.stores.cache import UNAVAILABLE_SECONDS, CurrentState
from account_monitor.stores.redis_connection import RedisConnection
from tests.integration.service import Service
from tests.integration.trading_desk import TradingDesk, clock, eventually, get, trading_desk
from tests.servers.valkey import RedisServer

pytestmark = pytest.mark.integration

D = Decimal
PLACE = "account-monitor:main:seq"

POSITION = (
    "symbol", "position_side", "state", "quantity", "entry_price", "current_price", "price_source", "realized_pnl",
    "unrealized_pnl", "total_fees", "fees", "funding", "value_usd", "leverage", "liquidation_price", "last_update",
)  # fmt: skip
BALANCE = ("asset", "free", "locked", "total", "usd_value", "last_update")
PNL = (
    "timestamp", "realized_pnl", "unrealized_pnl", "total_pnl", "total_fees", "funding", "other", "net_pnl", "win_rate",
    "total_trades", "winning_trades", "losing_trades", "average_win", "average_loss", "profit_factor", "equity",
    "max_drawdown_pct",
)  # fmt: skip


class Follower:
    """A desk whose views are written, and what people hear of it."""

    def __init__(self, desk: TradingDesk, server: RedisServer, password: str | None) -> None:
        self.desk = desk
        self.server = server
        self.alarms = AlarmBoard(clock)
        self.redis: Redis = server.client()
        connection = RedisConnection(server.address, None if password is None else Secret(password))
        self.state = CurrentState(desk.desk, self.alarms, connection)

    async def watch(self) -> None:
        while True:
            self.state.watch()
            await asyncio.sleep(0.02)

    async def open(self, account: str) -> None:
        self.alarms.attach(await self.desk.open(account))

    def read(self, name: str, account: str = "main") -> Any:
        """Return what a key of an account holds."""
        text: Any = self.redis.get(f"account-monitor:{account}:{name}")
        return None if text is None else json.loads(text)

    def names(self, account: str = "main") -> set[str]:
        found: Any = self.redis.keys(f"account-monitor:{account}:*")
        return {key.removeprefix(f"account-monitor:{account}:") for key in found}

    @property
    def lag(self) -> int:
        return dict(self.state.lags())["main"]

    @property
    def is_level(self) -> bool:
        """Whether Redis holds the view of now, with its place."""
        view, place = self.desk.monitor().view, self.read("seq")
        return place is not None and (place["epoch"], place["seq"]) == (view.epoch, view.seq)

    async def level(self) -> None:
        await eventually(lambda: self.lag == 0 and self.is_level, timeout_seconds=5)

    async def told(self, holds: Callable[[str], bool]) -> str:
        """Return the reason in `/health`, once it is not well and says this."""
        await eventually(lambda: self.status is Status.DEGRADED and holds(self.reason), timeout_seconds=5)
        return self.reason

    @property
    def status(self) -> Status:
        return self.desk.desk.health.checks["redis"].status

    @property
    def reason(self) -> str:
        return self.desk.desk.health.checks["redis"].message

    @property
    def fired(self) -> int:
        return sum(self.alarms.raised.values())

    @property
    def firing(self) -> list[tuple[str, str | None]]:
        return [(alarm.alert.type, alarm.alert.symbol) for alarm in self.alarms.open("main")]


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    """A server to read and write, empty."""
    with shared.client() as redis:
        redis.flushall()
    return shared


@pytest.fixture
async def follower(tmp_path: Path, server: RedisServer) -> AsyncIterator[Follower]:
    async with following(tmp_path, server) as opened:
        await opened.level()
        yield opened


@pytest.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Follower]:
    """The same on a server of its own, to be killed, paused or set otherwise."""
    with RedisServer() as server:
        async with following(tmp_path, server) as opened:
            await opened.level()
            yield opened


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let outages be over soon."""
    monkeypatch.setattr(cache, "UNAVAILABLE_SECONDS", 0.2)
    monkeypatch.setattr(redis_connection, "TIMEOUT_SECONDS", 0.3)


@asynccontextmanager
async def desk_without_doors(folder: Path) -> AsyncIterator[TradingDesk]:
    desk = TradingDesk(folder)
    try:
        yield desk
    finally:
        for monitor in desk.desk.monitors():
            await desk.close(monitor.name)


@asynccontextmanager
async def following(
    folder: Path, server: RedisServer, password: str | None = None, *, has_doors: bool = False
) -> AsyncIterator[Follower]:
    async with trading_desk(folder) if has_doors else desk_without_doors(folder) as desk:
        follower = Follower(desk, server, password)
        await follower.open("main")
        follower.state.watch()
        running, watching = asyncio.create_task(follower.state.run()), asyncio.create_task(follower.watch())
        try:
            yield follower
        finally:
            watching.cancel()
            follower.state.stop()
            async with asyncio.timeout(3):
                await running
            follower.redis.close()


# -- what is there -----------------------------------------------------------------------------------------------------


async def test_every_key_holds_what_rest_says_and_the_fields_of_the_contract(
    tmp_path: Path, server: RedisServer
) -> None:
    async with following(tmp_path, server, has_doors=True) as follower:
        await check_every_key(follower)


async def check_every_key(follower: Follower) -> None:
    desk = follower.desk
    await desk.trade(
        desk.fill("BUY", "123456789012.12345678", at="0.00001234567891", symbol="SHIBUSDT"),
        desk.fill("SELL", "23456789012.12345677", at="0.00001234567899", symbol="SHIBUSDT"),
        desk.fill("BUY", "0.001", at="50000", position_side="LONG"),
        desk.fill("SELL", "0.002", at="50001", position_side="SHORT", fee=D("0.00000001"), fee_asset="BNB"),
    )
    await follower.level()

    account = await get(f"{desk.doors.http_url}/api/account")
    positions = {"SHIBUSDT", "BTCUSDT:LONG", "BTCUSDT:SHORT"}
    names = {*(f"position:{key}" for key in positions), "balance:USDT", "balance:BNB", "pnl"}
    assert follower.names() == {*names, "seq", "keys"}
    assert set(follower.read("keys")) == names
    assert {key: follower.read(f"position:{key}") for key in positions} == account["positions"]
    assert {asset: follower.read(f"balance:{asset}") for asset in ("USDT", "BNB")} == account["balances"]
    assert follower.read("pnl") == account["pnl"]
    place = follower.read("seq")
    assert {name: place[name] for name in ("epoch", "seq", "as_of")} == {
        name: account[name] for name in ("epoch", "seq", "as_of")
    }
    assert set(place) == {"epoch", "seq", "as_of", "timestamp", "status"}
    assert set(POSITION) <= set(follower.read("position:SHIBUSDT"))
    assert set(BALANCE) == set(follower.read("balance:USDT"))
    assert set(PNL) == set(follower.read("pnl"))
    assert {follower.redis.ttl(f"account-monitor:main:{name}") for name in follower.names()} == {-1}


async def test_numbers_are_exact_to_the_last_digit(follower: Follower) -> None:
    desk = follower.desk
    await desk.trade(desk.fill("BUY", "123456789012345678.12345678", at="0.00001234567891", symbol="SHIBUSDT"))
    await follower.level()

    assert follower.read("position:SHIBUSDT")["quantity"] == "123456789012345678.12345678"
    assert follower.read("position:SHIBUSDT")["entry_price"] == "0.00001234567891"
    assert follower.read("balance:USDT")["total"] == "9999.95"


async def test_an_account_is_written_as_a_whole_so_that_no_reader_sees_half_a_fill(follower: Follower) -> None:
    desk = follower.desk
    keys = [f"account-monitor:main:{name}" for name in ("position:BTCUSDT", "balance:USDT")]
    seen = set()
    for _ in range(20):
        desk.put(*(desk.fill() for _ in range(5)))
        await asyncio.sleep(0.01)
        found: Any = follower.redis.mget(keys)
        if found[0] is not None:
            position, balance = (json.loads(text) for text in found)
            seen.add(position["quantity"])
            assert D(balance["total"]) == 10_000 - D("0.05") * D(position["quantity"])

    assert len(seen) > 2


async def test_many_views_are_one_round_each_fifty_milliseconds(follower: Follower) -> None:
    desk, rounds, started = follower.desk, follower.state.rounds, time.monotonic()
    for _ in range(100):
        await desk.trade(desk.fill())
    await follower.level()

    assert follower.state.rounds - rounds <= (time.monotonic() - started) / 0.05 + 2
    assert follower.read("position:BTCUSDT")["quantity"] == "100"


async def test_a_view_after_a_quiet_time_is_there_at_once(follower: Follower) -> None:
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await follower.desk.trade(follower.desk.fill())
    await eventually(lambda: follower.is_level)

    assert time.monotonic() - started < 0.2  # a few milliseconds, where nothing else runs


async def test_accounts_have_keys_of_their_own_and_one_that_is_removed_has_none(follower: Follower) -> None:
    await follower.open("alt")
    await follower.desk.trade(follower.desk.fill(), account="alt")
    await eventually(lambda: (follower.read("seq", "alt") or {}).get("seq") == 2)

    await follower.desk.close("alt")

    await eventually(lambda: not follower.names("alt"))
    assert follower.is_level


async def test_what_an_earlier_state_held_and_this_one_does_not_is_deleted(tmp_path: Path, server: RedisServer) -> None:
    with server.client() as redis:
        redis.set(PLACE, '{"epoch":1,"seq":0}')
        redis.set("account-monitor:main:keys", '["pnl","position:OLDUSDT","seq","keys",7,{}]')
        redis.set("account-monitor:main:position:OLDUSDT", "{}")
        redis.set("account-monitor:mainland:position:OLDUSDT", "{}")
    async with following(tmp_path, server) as follower:
        await follower.level()

        assert follower.names() == {"seq", "keys", "pnl", "balance:USDT"}
        assert follower.names("mainland") == {"position:OLDUSDT"}


@pytest.mark.parametrize("garbage", ["", "[]", "null", '{"epoch":"9","seq":1}', '{"epoch":9}', "\x00", "NaN"])
async def test_garbage_where_the_place_is_is_no_newer_state(tmp_path: Path, server: RedisServer, garbage: str) -> None:
    with server.client() as redis:
        redis.set(PLACE, garbage)
        redis.set("account-monitor:main:keys", garbage)
        redis.lpush("account-monitor:main:pnl", "of another type")
    async with following(tmp_path, server) as follower:
        await follower.level()

        assert follower.read("pnl")["equity"] == "10000"


# -- who may write -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epoch", "seq"), [(2, 0), (1, 1_000_000), (9_007_199_254_740_993, 1)])
async def test_a_newer_state_is_never_overwritten_and_people_hear_of_it(
    follower: Follower, impatience: None, epoch: int, seq: int
) -> None:
    theirs = json.dumps({"epoch": epoch, "seq": seq, "as_of": None, "timestamp": "2026-11-22T12:00:00.000Z"})
    follower.redis.set(PLACE, theirs)
    before = follower.redis.get("account-monitor:main:balance:USDT")

    await follower.desk.trade(follower.desk.fill())
    await follower.told(lambda reason: f"epoch {epoch}" in reason and f"delete the key {PLACE}" in reason)
    await eventually(lambda: follower.firing == [("STORAGE_UNAVAILABLE", "redis")])
    await follower.desk.trade(follower.desk.fill())
    await asyncio.sleep(0.1)

    assert follower.redis.get(PLACE) == theirs
    assert follower.redis.get("account-monitor:main:balance:USDT") == before
    assert follower.lag > 0

    follower.redis.delete(PLACE)
    await follower.level()
    await eventually(lambda: follower.status is Status.HEALTHY and follower.firing == [])
    assert follower.fired == 1


async def test_an_older_state_is_overwritten_with_everything(follower: Follower) -> None:
    follower.redis.set(PLACE, '{"epoch":0,"seq":99}')
    follower.redis.delete("account-monitor:main:pnl")

    await follower.level()

    assert follower.read("pnl") is not None


async def test_an_account_that_somebody_else_goes_on_writing_is_not_deleted(follower: Follower) -> None:
    theirs = '{"epoch":2,"seq":1}'
    follower.redis.set(PLACE, theirs)

    await follower.desk.close("main")
    await asyncio.sleep(0.6)

    assert follower.redis.get(PLACE) == theirs
    assert follower.read("pnl") is not None


# -- outages -----------------------------------------------------------------------------------------------------------


async def test_after_a_flush_everything_is_there_again_within_half_a_second(follower: Follower) -> None:
    await follower.desk.trade(follower.desk.fill())
    await follower.level()
    names = follower.names()
    await asyncio.sleep(0.3)

    follower.redis.flushall()
    started = time.monotonic()
    await eventually(lambda: follower.names() == names)

    assert time.monotonic() - started < 0.75  # 0.5 s, and a machine that does something else, too


async def test_a_server_killed_and_started_again_is_filled_again_and_told_of_once(
    apart: Follower, impatience: None
) -> None:
    desk = apart.desk
    apart.server.kill()
    seq = await desk.trade(*(desk.fill() for _ in range(5)))
    await apart.told(lambda reason: f"127.0.0.1:{apart.server.port}" in reason)
    await eventually(lambda: apart.firing == [("STORAGE_UNAVAILABLE", "redis")])
    await eventually(lambda: apart.lag == 6)  # the alert is an entry, too

    apart.server.start()

    await apart.level()
    await eventually(lambda: apart.status is Status.HEALTHY and apart.firing == [])
    await eventually(lambda: apart.read("seq")["seq"] == seq + 2)
    assert apart.read("position:BTCUSDT")["quantity"] == "5"
    assert apart.fired == 1


async def test_a_server_that_does_not_answer_slows_nobody(apart: Follower, impatience: None) -> None:
    desk = apart.desk
    apart.server.pause()
    started = time.monotonic()
    for _ in range(20):
        await desk.trade(desk.fill())
    assert time.monotonic() - started < 1
    await apart.told(lambda reason: "no answer within 0.3 s" in reason)
    assert desk.monitor().view.positions["BTCUSDT"].quantity == 20

    apart.server.resume()

    await apart.level()
    await eventually(lambda: apart.status is Status.HEALTHY)
    assert apart.read("position:BTCUSDT")["quantity"] == "20"


async def test_a_server_without_memory_keeps_what_it_has_and_is_told_of(apart: Follower, impatience: None) -> None:
    desk = apart.desk
    await desk.trade(desk.fill())
    await apart.level()
    before = apart.redis.mget([f"account-monitor:main:{name}" for name in ("seq", "pnl", "position:BTCUSDT")])
    apart.redis.config_set("maxmemory", 1)

    await desk.trade(desk.fill())
    await apart.told(lambda reason: "maxmemory" in reason)
    await eventually(lambda: apart.firing == [("STORAGE_UNAVAILABLE", "redis")])
    after = apart.redis.mget([f"account-monitor:main:{name}" for name in ("seq", "pnl", "position:BTCUSDT")])
    assert after == before

    apart.redis.config_set("maxmemory", 0)
    await apart.level()
    await eventually(lambda: apart.status is Status.HEALTHY and apart.firing == [])
    assert apart.fired == 1


async def test_a_server_without_connections_is_told_of(apart: Follower, impatience: None) -> None:
    apart.redis.ping()
    apart.redis.config_set("maxclients", 1)
    apart.redis.client_kill_filter(_type="normal", skipme=True)

    await apart.told(lambda reason: "127.0.0.1" in reason)
    await apart.desk.trade(apart.desk.fill())

    apart.redis.config_set("maxclients", 100)
    await apart.level()
    await eventually(lambda: apart.status is Status.HEALTHY)


async def test_scripts_that_are_flushed_are_loaded_again(follower: Follower) -> None:
    follower.redis.script_flush()

    await follower.desk.trade(follower.desk.fill())

    await follower.level()
    await eventually(lambda: follower.status is Status.HEALTHY)


async def test_a_password_opens_and_a_wrong_one_is_never_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RedisServer(password="right-horse") as server:
        async with following(tmp_path / "a", server, "wrong-horse") as follower:
            reason = await follower.told(lambda reason: "invalid" in reason)
            assert "wrong-horse" not in reason
        async with following(tmp_path / "b", server, "right-horse") as follower:
            await follower.level()
    assert "horse" not in "".join(capsys.readouterr())


# -- the connection ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listener(answer: bytes | None) -> AsyncIterator[str]:
    """Something that is no Redis: it says always the same, or reads nothing at all."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while answer is not None and await reader.read(65536):
            writer.write(answer)

    accepting = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1)
    try:
        yield f"redis://127.0.0.1:{accepting.sockets[0].getsockname()[1]}"
    finally:
        accepting.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$5\r\nx", b"*-7\r\n", b"\x00\xff\r\n"])
async def test_what_is_no_redis_is_said_to_be_unavailable(impatience: None, answer: bytes) -> None:
    async with listener(answer) as url:
        connection = RedisConnection(url, None)
        await connection.open()
        with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1"):
            await connection.ask([("PING",)])
        with pytest.raises(StorageUnavailable, match="not connected"):
            await connection.ask([("PING",)])


async def test_what_a_server_does_not_read_is_given_up_with_its_connection(impatience: None) -> None:
    async with listener(None) as url:
        connection = RedisConnection(url, None)
        before = _open_files()
        for _ in range(3):
            await connection.open()
            with pytest.raises(StorageUnavailable, match=r"no answer within 0\.3 s"):
                await connection.ask([("ECHO", b"x" * 10_000_000)])

        await asyncio.sleep(0.05)
        assert _open_files() <= before + 3  # the listener's ends, which are in this process, too


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis://no-such-host.invalid", f"redis://{'a' * 64}.example"])
async def test_where_nobody_listens_is_said(url: str) -> None:
    connection = RedisConnection(url, None)

    with pytest.raises(StorageUnavailable, match=connection.where):
        await connection.open()


async def test_what_the_system_says_is_said_in_words() -> None:
    with pytest.raises(StorageUnavailable, match=r"^127\.0\.0\.1:1/3: connection refused$"):
        await RedisConnection("redis://127.0.0.1:1/3", None).open()


async def opened_and_asked(connection: RedisConnection) -> None:
    """A server may let somebody in who may do nothing."""
    try:
        await connection.open()
        await connection.ask([("SCRIPT", "LOAD", "return 1")])
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("number", "password", "says"),
    [
        ("99", "right-horse", r"127\.0\.0\.1:\d+/99: .*DB index is out of range; name a database that the server has"),
        (
            "0",
            "wrong",
            r"/0: .*invalid username-password pair.*; see the user in database.redis_url and what database.",
        ),
        ("0", None, r"/0: .*Authentication required\.; see the user in database\.redis_url"),
    ],
)
async def test_a_mistake_that_no_waiting_mends_is_told_with_what_to_change(
    number: str, password: str | None, says: str
) -> None:
    with RedisServer(password="right-horse") as server:
        url = f"redis://127.0.0.1:{server.port}/{number}"
        connection = RedisConnection(url, None if password is None else Secret(password))
        with pytest.raises(StorageRefused, match=says):
            await opened_and_asked(connection)


async def test_what_a_user_may_not_do_is_told_with_what_to_change() -> None:
    with RedisServer() as server, server.client() as redis:
        redis.acl_setuser("reader", enabled=True, passwords=["+pw"], commands=["+get"], keys=["*"])
        connection = RedisConnection(f"redis://reader@127.0.0.1:{server.port}/0", Secret("pw"))
        with pytest.raises(StorageRefused, match="let the user do what the service needs: GET, SET, DEL"):
            await opened_and_asked(connection)


async def test_what_a_server_repeats_of_a_password_is_not_shown(impatience: None) -> None:
    async with listener(b"-ERR you said hunter2\r\n") as url:
        with pytest.raises(StorageUnavailable) as refusal:
            await RedisConnection(url, Secret("hunter2")).open()

    assert "hunter2" not in str(refusal.value)
    assert "***" in str(refusal.value)


# -- the service -------------------------------------------------------------------------------------------------------


def test_a_service_fills_redis_says_so_and_stops_in_time_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_REDIS_PASSWORD", "right-horse")
    account = {"name": "main", "exchange": "none", "opening": {"balances": {"USDT": "10000"}}}
    service = Service(tmp_path, None, [account])
    with RedisServer(password="right-horse") as server, server.client() as redis:
        service.document["database"] = {"redis_url": server.address, "redis_password_env": "TEST_REDIS_PASSWORD"}
        service.start()
        service.wait_until(lambda: _held(redis)["seq"] == service.account()["seq"], "written")

        first = _held(redis)["timestamp"]
        service.wait_until(lambda: "written" in _health(service)["message"], "well")
        assert _health(service)["status"] == "healthy"
        assert 'projection_lag_events{account="main",projection="redis"} 0.0' in _metrics(service)
        assert service.stop() == 0

        service.start()
        service.wait_until(lambda: _held(redis)["timestamp"] > first, "written by the next start")
        server.kill()
        service.wait_until(lambda: _health(service)["status"] == "degraded", "told of")
        assert service.get("/ready")[0] == 200
        assert service.stop() == 0
    assert "horse" not in service.log_file.read_text()


def test_a_service_says_where_redis_is_written_and_at_once_what_is_wrong_with_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path, None)
    with RedisServer(password="right-horse") as server:
        service.document["database"] = {"redis_url": server.address, "redis_password_env": "TEST_REDIS_PASSWORD"}
        monkeypatch.setenv("TEST_REDIS_PASSWORD", "wrong")
        service.start()
        began = time.monotonic()
        service.wait_until(lambda: _health(service)["status"] == "degraded", "told of")
        service.wait_until(lambda: service.get("/api/alerts")[1]["alerts"], "fired")
        took = time.monotonic() - began
        (alert,) = service.get("/api/alerts")[1]["alerts"]
        assert service.stop() == 0

        monkeypatch.setenv("TEST_REDIS_PASSWORD", "right-horse")
        service.start()
        service.wait_until(lambda: "written" in _health(service)["message"], "well")
        assert service.stop() == 0

    assert took < UNAVAILABLE_SECONDS
    assert alert["message"].startswith(f"redis: 127.0.0.1:{server.port}/0: invalid username-password pair")
    assert alert["message"].endswith(
        "see the user in database.redis_url and what database.redis_password_env or redis_password_file names;"
        " tried again every 2 s, nothing waits for it"
    )
    log = [json.loads(line) for line in service.log_file.read_text().splitlines()]
    assert [line["event"] for line in log if line["event"].startswith("redis")] == [
        "redis_refused",
        "redis_incomplete",  # of the stop
        "redis_opened",
    ]
    (opened,) = [line for line in log if line["event"] == "redis_opened"]
    assert (opened["redis"], opened["keys"]) == (f"127.0.0.1:{server.port}/0", "account-monitor:<account>:*")


def _held(redis: Redis) -> Any:
    text: Any = redis.get(PLACE)
    return {"seq": None} if text is None else json.loads(text)


def _health(service: Service) -> Any:
    return service.get("/health")[1]["checks"].get("redis", {"status": "", "message": ""})


def _metrics(service: Service) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())
