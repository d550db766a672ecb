"""The WebSocket over real sockets: what clients are told, in which order, and how they come back."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from account_monitor.api import stream
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import MarkPrice, Marks, Side, Transfer
from account_monitor.ledger.money import ONE
from account_monitor.ledger.reconciliation import Finding, Reconciliation
from account_monitor.monitor.health import Status
from account_monitor.monitor.monitor import Monitor
from tests.integration.trading_desk import Client, Mirror, TradingDesk, clock, get, listening, trading_desk

pytestmark = pytest.mark.integration


async def shown(desk: TradingDesk, account: str = "main") -> dict[str, Any]:
    """Return the account as REST shows it."""
    found: dict[str, Any] = await get(f"{desk.doors.http_url}/api/account?account={account}")
    return found


async def settled(desk: TradingDesk, client: Client, account: str = "main") -> None:
    """Return when the client has heard of everything, and what it holds is what REST shows."""
    state: dict[str, Any] | None = None
    now: dict[str, Any] = {}
    for _ in range(20):
        await client.quiet(0.1)
        now = await shown(desk, account)
        state = client.mirror.state.get(account)
        if state and all(told(state[part]) == told(now[part]) for part in ("positions", "balances", "pnl")):
            return
    raise AssertionError((state, now))


def told(report: dict[str, Any]) -> dict[str, Any]:
    """Return what makes a report new: all but the time, which moves with every price anywhere."""
    return {name: value for name, value in report.items() if name != "timestamp"}


async def refused(desk: TradingDesk, query: str, **headers: str) -> tuple[int, dict[str, Any]]:
    """Return status and problem of a connection that is refused."""
    url = f"{desk.doors.http_url}/ws{query}"
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    async with aiohttp.ClientSession() as session, session.get(url, headers={**upgrade, **headers}) as response:
        assert response.content_type == "application/problem+json", await response.text()
        return response.status, await response.json(content_type=None)


def mark_of(price: str, symbol: str = "BTCUSDT") -> MarkPrice:
    return MarkPrice(symbol, Decimal(price), clock())


# -- what is told ------------------------------------------------------------------------------------------------------


async def test_the_first_message_is_the_account_as_rest_shows_it(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill(), desk.fill("SELL", "0.5", at="120"))

    async with listening(desk) as client:
        message = await client.next()

    account = await shown(desk)
    assert message["type"] == "snapshot"
    assert (message["account"], message["epoch"], message["seq"], message["prev"]) == ("main", 1, 3, None)
    assert message["data"] | {"timestamp": ""} == account | {"timestamp": ""}


async def test_a_fill_is_told_before_what_it_changed(desk: TradingDesk) -> None:
    await desk.open()
    async with listening(desk, "interval_ms=60000") as client:
        await client.next("snapshot")
        await client.next("health")
        desk.put(desk.fill("BUY", "1", at="100"), desk.fill("BUY", "2", at="100", symbol="ETHUSDT"))
        told = [await client.next() for _ in range(6)]

    assert [(m["type"], m["seq"], m["prev"]) for m in told] == [
        ("fill", 2, 1),
        ("fill", 3, 2),
        ("position_update", 3, 3),
        ("position_update", 3, 3),
        ("balance_update", 3, 3),
        ("pnl_update", 3, 3),
    ]
    fills = await get(desk.doors.http_url + "/api/fills")
    account = await shown(desk)
    assert [m["data"] for m in told[:2]] == fills["fills"]
    assert client.mirror.state["main"]["positions"] == account["positions"]
    assert told[4]["data"] == account["balances"]["USDT"]
    assert told[5]["data"] == account["pnl"]


async def test_a_position_is_told_with_its_key(desk: TradingDesk) -> None:
    await desk.open()
    async with listening(desk) as client:
        desk.put(desk.fill(position_side="SHORT", side="SELL"))
        text = json.loads(await client.socket.receive_str())
        while text["type"] != "position_update":
            text = json.loads(await client.socket.receive_str())

    assert (text["data"]["key"], text["data"]["symbol"]) == ("BTCUSDT:SHORT", "BTCUSDT")


async def test_entries_that_show_nowhere_leave_no_hole(desk: TradingDesk) -> None:
    """Journaled marks take a sequence and bring no message: the next message follows the one before."""
    monitor = await desk.open(snapshot_seconds=0.2)
    await desk.trade(desk.fill())
    async with listening(desk) as client:
        snapshot = await client.next("snapshot")
        await desk.mark("130")
        while not _holds_prices(monitor):  # noqa: ASYNC110  # the monitor's task journals them
            await asyncio.sleep(0.01)
        desk.put(desk.fill())
        fill = await client.next("fill")

    assert fill["seq"] > snapshot["seq"] + 1
    assert fill["prev"] == snapshot["seq"]


def _holds_prices(monitor: Monitor) -> bool:
    return any(type(entry.event) is Marks and entry.event.prices for entry in monitor.journal.entries())


async def test_a_transfer_is_a_balance_and_no_fill(desk: TradingDesk) -> None:
    await desk.open()
    async with listening(desk) as client:
        await client.next("snapshot")
        desk.put(Transfer("t1", "USDT", ONE, clock()))
        update = await client.next("balance_update")

    assert (update["seq"], update["prev"], update["data"]["total"]) == (2, 1, "10001")
    assert client.mirror.fills == []


async def test_prices_move_positions_and_pnl_without_a_sequence(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill("BUY", "2", at="100"))
    async with listening(desk) as client:
        await client.next("snapshot")
        desk.monitor().mark(mark_of("110"))
        position = await client.next("position_update")
        pnl = await client.next("pnl_update")

    assert (position["seq"], position["prev"]) == (pnl["seq"], pnl["prev"]) == (2, 2)
    assert position["data"]["unrealized_pnl"] == "20"
    assert pnl["data"]["unrealized_pnl"] == "20"


async def test_a_price_that_values_a_wallet_is_told_too(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill(fee=ONE, fee_asset="BNB"), desk.fill(symbol="BNBUSDT"))
    async with listening(desk) as client:
        await client.next("snapshot")
        desk.monitor().mark(mark_of("600", "BNBUSDT"))
        balance = await client.next("balance_update")
        await settled(desk, client)

    assert (balance["data"]["asset"], balance["data"]["usd_value"]) == ("BNB", "-600")


async def test_prices_are_conflated_to_the_interval(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill())
    async with listening(desk, "interval_ms=50") as quick, listening(desk, "interval_ms=1000") as usual:
        await quick.next("snapshot")
        await usual.next("snapshot")
        for price in range(101, 121):
            desk.monitor().mark(mark_of(str(price)))
            await asyncio.sleep(0.06)
        await settled(desk, quick)
        await usual.quiet(1.1)

    updates = [m for m in usual.mirror.messages if m["type"] == "pnl_update"]
    assert 2 <= len(updates) <= 3  # 1.2 s: at once, after a second, and the last
    assert updates[-1]["data"]["unrealized_pnl"] == "20"
    assert len([m for m in quick.mirror.messages if m["type"] == "pnl_update"]) > 10


async def test_pnl_is_told_only_when_it_changed(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill())
    async with listening(desk) as client:
        await client.next("health")
        desk.monitor().mark(mark_of("100"))  # as the last fill
        told = await client.quiet(1.5)

    assert "pnl_update" not in [m["type"] for m in told]


async def test_margins_are_told_to_who_asks_for_them(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill())
    async with listening(desk, "interval_ms=50&risk=true") as client, listening(desk) as other:
        await client.next("risk_update")
        for price in range(101, 111):  # faster than margins are told: the last of them is told nevertheless
            desk.monitor().mark(mark_of(str(price)))
            await asyncio.sleep(0.05)
        await client.quiet(1.3)
        await other.quiet()
        now = await shown(desk)

    heard = [message["data"] for message in client.mirror.messages if message["type"] == "risk_update"]
    assert heard[-1] == {part: now[part] for part in ("risk", "reconciliation", "unpriced")}
    assert heard[-1]["risk"]["equity"] == now["pnl"]["equity"] != heard[0]["risk"]["equity"]
    assert len(heard) <= 3
    assert all(message["type"] != "risk_update" for message in other.mirror.messages)


async def test_health_is_told_at_first_and_when_it_changes(desk: TradingDesk) -> None:
    await desk.open()
    async with listening(desk) as client:
        first = await client.next("health")
        desk.desk.health.report("nats", Status.DEGRADED, "disconnected")
        second = await client.next("health")

    assert first["data"]["status"] == "healthy"
    assert (first["account"], first["epoch"], first["seq"], first["prev"]) == (None, None, None, None)
    expected = await get(desk.doors.http_url + "/health")
    assert second["data"] | {"uptime": 0} == expected | {"uptime": 0}


# -- under load --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_no_hole_under_load(desk: TradingDesk) -> None:
    """Fills and prices at 500 a second to eight clients: each hears every fill once, and ends where REST is."""
    await desk.open()
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(listening(desk, f"interval_ms={50 + 25 * i}")) for i in range(8)]

        async def trade() -> None:
            for number in range(1_000):
                symbol = symbols[number % 3]
                side: Side = "SELL" if number % 7 == 3 else "BUY"
                desk.put(desk.fill(side, at=str(100 + number % 11), symbol=symbol))
                if number % 5 == 0:
                    desk.monitor().mark(mark_of(str(95 + number % 13), symbol))
                await asyncio.sleep(0.002)

        trading = asyncio.create_task(trade())
        await asyncio.gather(*(client.until(heard_fills(1_000), timeout_seconds=30) for client in clients))
        await trading
        for client in clients:
            await settled(desk, client)

    for client in clients:
        assert [fill["id"] for fill in client.mirror.fills] == [str(n) for n in range(1, 1_001)]
        assert sum(m["type"] == "snapshot" for m in client.mirror.messages) == 1


def heard_fills(count: int) -> Any:
    return lambda mirror: len(mirror.fills) >= count


# -- coming back -------------------------------------------------------------------------------------------------------


async def test_a_client_that_was_cut_off_anywhere_misses_nothing(desk: TradingDesk) -> None:
    """After each single message of a history with batches, prices and marks, another client takes over."""
    await desk.open()
    await desk.trade(desk.fill())
    raw: list[str] = []
    async with listening(desk) as witness:
        await witness.next("health")
        raw = [json.dumps(message) for message in witness.mirror.messages]

        async def note(seconds: float = 0.15) -> None:
            while True:
                try:
                    async with asyncio.timeout(seconds):
                        raw.append(await witness.socket.receive_str())
                except TimeoutError:
                    return

        await desk.trade(desk.fill("BUY", "2", at="101"))
        desk.put(*(desk.fill("SELL", "0.1", at="104", symbol=s) for s in ("BTCUSDT", "ETHUSDT", "BTCUSDT")))
        await desk.reach(6)
        await note()
        desk.monitor().mark(mark_of("120"))
        await note()
        await desk.trade(desk.fill("SELL", "1", at="119"), desk.fill(fee=ONE, fee_asset="BNB", symbol="BNBUSDT"))
        await note()
        desk.monitor().mark(mark_of("130"))
        desk.monitor().mark(mark_of("77", "BNBUSDT"))
        await note()
        await desk.trade(desk.fill("SELL", "5", at="125"))
        await note(1.2)  # the marks are journaled, too

    ids = [fill["id"] for fill in (await get(desk.doors.http_url + "/api/fills"))["fills"]][1:]
    for heard in range(1, len(raw) + 1):
        mirror = Mirror()
        for text in raw[:heard]:
            mirror.take(text)
        before = len(mirror.messages)
        async with listening(desk, f"interval_ms=50&since={mirror.place()}", mirror) as client:
            await settled(desk, client)

        assert [fill["id"] for fill in mirror.fills] == ids, f"cut off after {heard} messages"
        assert "snapshot" not in {message["type"] for message in mirror.messages[before:]}


async def test_every_sequence_can_be_resumed_from(desk: TradingDesk) -> None:
    await desk.open()
    desk.put(*(desk.fill() for _ in range(5)))
    await desk.reach(6)
    await desk.trade(*(desk.fill() for _ in range(3)))
    desk.put(*(desk.fill() for _ in range(4)))
    await desk.reach(13)

    for seq in range(15):
        mirror = Mirror()
        mirror.seqs["main"], mirror.epochs["main"] = seq, 1
        mirror.state["main"] = {"positions": {}, "balances": {}, "pnl": {}}
        async with listening(desk, f"interval_ms=50&since=1:{seq}", mirror) as client:
            first = await client.next()
            await settled(desk, client)
        if 1 <= seq <= 13:
            # At the end of a commit, its positions and wallets are told again: the client may not have heard all.
            assert first["type"] == ("position_update" if seq in (6, 7, 8, 9, 13) else "fill"), seq
            assert first["prev"] == seq
            assert [fill["seq"] for fill in mirror.fills] == list(range(seq + 1, 14))
        else:  # before the ring, or in the future
            assert first["type"] == "snapshot"


async def test_what_a_comparison_found_is_told_as_it_is_listed(desk: TradingDesk) -> None:
    await desk.open()
    mirror = Mirror()
    async with listening(desk, "interval_ms=50", mirror) as client:
        await client.quiet()
        await desk.trade(Reconciliation("a", 1, "statement", (), (Finding("transfer:1", "TRANSFER"),), 1))
        await client.quiet()

    listed = await get(desk.doors.http_url + "/api/reconciliation")
    assert mirror.reports == listed["reports"] != []


async def test_alerts_are_told_once_in_their_place_among_the_fills_whoever_comes_back(desk: TradingDesk) -> None:
    """Of a commit with a fill at 2, an alert at 3, a fill at 4, and one of its own for the end of the alert, 5."""
    alert = Alert("a", "STREAM_STALE", None, "WARNING", "FIRING", "silent", 1, 1)
    await desk.open()
    desk.put(desk.fill(), alert, desk.fill())
    await desk.reach(4)
    await desk.trade(alert._replace(state="RESOLVED", at_ms=2, revision=1))
    listed = await get(desk.doors.http_url + "/api/alerts")

    for seq, fills, states in (
        (1, [2, 4], ["FIRING", "RESOLVED"]),
        (2, [4], ["FIRING", "RESOLVED"]),
        (3, [4], ["RESOLVED"]),
        (4, [], ["RESOLVED"]),
        (5, [], []),
    ):
        mirror = Mirror()
        mirror.seqs["main"], mirror.epochs["main"] = seq, 1
        mirror.state["main"] = {"positions": {}, "balances": {}, "pnl": {}}
        async with listening(desk, f"interval_ms=50&since=1:{seq}", mirror) as client:
            await client.quiet()
        assert [fill["seq"] for fill in mirror.fills] == fills
        assert [told["state"] for told in mirror.alerts] == states
        assert mirror.alerts[-1:] == (listed["alerts"] if states else [])
        assert mirror.seqs["main"] == 5


async def test_another_epoch_means_a_snapshot(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill(), desk.fill())

    async with listening(desk, "since=2:3") as client:
        assert (await client.next())["type"] == "snapshot"


async def test_what_is_no_longer_kept_means_a_snapshot(desk: TradingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RING_MESSAGES", 9)  # three fills with position and wallet
    await desk.open()
    await desk.trade(*(desk.fill() for _ in range(6)))

    kinds = []
    for seq in range(2, 8):
        async with listening(desk, f"since=1:{seq}") as client:
            kinds.append(json.loads(await client.socket.receive_str())["type"])

    assert kinds == ["snapshot", "snapshot", "snapshot", "position_update", "position_update", "position_update"]


async def test_the_ring_is_bounded_in_bytes_too(desk: TradingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RING_BYTES", 10_000)
    await desk.open()
    await desk.trade(*(desk.fill() for _ in range(6)))

    async with listening(desk, "since=1:3") as client:
        assert (await client.next())["type"] == "snapshot"


# -- several accounts --------------------------------------------------------------------------------------------------


async def test_without_an_account_all_are_told(desk: TradingDesk) -> None:
    await desk.open("main")
    await desk.open("alt")
    async with listening(desk) as client:
        await client.until(lambda mirror: set(mirror.seqs) == {"main", "alt"})
        desk.put(desk.fill(), account="main")
        desk.put(desk.fill(), account="alt")
        await client.until(heard_fills(2))
        await settled(desk, client, "main")
        await settled(desk, client, "alt")


async def test_the_first_change_of_one_account_says_nothing_of_another(tmp_path: Path) -> None:
    """Nobody listens yet, and both accounts are new to the stream."""
    async with trading_desk(tmp_path) as desk:
        desk.desk.configure(["alt", "main"])
        await desk.open("alt")
        await desk.trade(desk.fill(), account="alt")
        desk.desk.configure([])
        await asyncio.sleep(0.3)
        await desk.open("main")
        desk.desk.configure(["alt", "main"])
        await desk.trade(desk.fill(symbol="ETHUSDT"), account="main")

        async with listening(desk, "since=main:1:1,alt:1:1") as client:
            client.mirror.seqs, client.mirror.epochs = {"main": 1}, {"main": 1}
            client.mirror.state = {"main": {"positions": {}, "balances": {}, "pnl": {}}}
            await client.until(lambda mirror: "alt" in mirror.seqs)
            await settled(desk, client, "main")
            await settled(desk, client, "alt")

        assert [fill["symbol"] for fill in client.mirror.fills] == ["ETHUSDT"]


async def test_with_an_account_no_other_is_told(desk: TradingDesk) -> None:
    await desk.open("main")
    await desk.open("alt")
    async with listening(desk, "account=alt&interval_ms=50") as client:
        desk.put(desk.fill(), account="main")
        desk.put(desk.fill(), account="alt")
        await client.until(heard_fills(1))
        await client.quiet()

    assert {message["account"] for message in client.mirror.messages} == {"alt", None}


async def test_each_account_is_resumed_where_it_was(desk: TradingDesk) -> None:
    await desk.open("main")
    await desk.open("alt")
    async with listening(desk):
        await desk.trade(desk.fill(), desk.fill(), account="main")
        await desk.trade(desk.fill(), account="alt")

    async with listening(desk, "since=main:1:2,alt:1:2,gone:1:7") as client:
        client.mirror.seqs = {"main": 2, "alt": 2}
        client.mirror.epochs = {"main": 1, "alt": 1}
        client.mirror.state = {name: {"positions": {}, "balances": {}, "pnl": {}} for name in ("main", "alt")}
        await settled(desk, client, "main")
        await settled(desk, client, "alt")

    assert [fill["seq"] for fill in client.mirror.fills] == [3]
    assert "snapshot" not in {message["type"] for message in client.mirror.messages}


async def test_an_account_that_joins_later_begins_with_a_snapshot(desk: TradingDesk) -> None:
    await desk.open("main")
    async with listening(desk) as client:
        await client.next("health")
        await desk.open("alt")
        message = await client.next("snapshot")

        assert message["account"] == "alt"


async def test_a_client_may_come_before_the_journals_are_folded(desk: TradingDesk) -> None:
    desk.desk.configure(["main"])
    async with listening(desk) as client:
        assert (await client.next())["type"] == "health"
        await desk.open("main")
        assert (await client.next())["type"] == "snapshot"


async def test_an_account_that_is_removed_just_stops_and_may_come_back(desk: TradingDesk) -> None:
    await desk.open("main")
    await desk.open("alt")
    async with listening(desk) as client:
        await client.until(lambda mirror: set(mirror.seqs) == {"main", "alt"})
        await desk.close("alt")
        desk.put(desk.fill(), account="main")
        await client.until(heard_fills(1))
        await asyncio.sleep(0.3)
        await desk.open("alt")
        message = await client.next("snapshot")

    assert message["account"] == "alt"


async def test_an_account_that_is_no_longer_configured_stops(desk: TradingDesk) -> None:
    await desk.open("main")
    await desk.open("alt")
    async with listening(desk) as client:
        await client.until(lambda mirror: set(mirror.seqs) == {"main", "alt"})
        desk.desk.configure(["main"])
        await asyncio.sleep(0.3)
        desk.put(desk.fill(), account="alt")
        desk.put(desk.fill(), account="main")
        await client.until(heard_fills(1))
        await client.quiet()

    assert [fill["account"] for fill in client.mirror.fills] == ["main"]


# -- who may come in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "since=abc",
        "since=1",
        "since=1:2:3:4",
        "since=-1:2",
        "since=",
        "since=main:1:2,main:1:3",
        "interval_ms=49",
        "interval_ms=0x64",
        "interval_ms=",
        "interval_ms=99999999999",
        "risk=1",
        "account=main&account=main",
        "Account=main",
    ],
)
async def test_a_bad_parameter_is_named_before_the_upgrade(desk: TradingDesk, query: str) -> None:
    await desk.open()

    status, problem = await refused(desk, f"?{query}")

    assert status == 400
    assert problem["detail"].startswith(query.partition("=")[0] + ": ")


async def test_a_refused_client_leaves_nothing_in_the_log(desk: TradingDesk, caplog: pytest.LogCaptureFixture) -> None:
    await desk.open()

    for query, headers in (("?foo=1", {}), ("?account=nobody", {}), ("", {"Origin": "https://elsewhere.example"})):
        await refused(desk, query, **headers)
    await asyncio.sleep(0.1)

    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_since_must_name_accounts_where_there_are_several(desk: TradingDesk) -> None:
    await desk.open("main")
    await desk.open("alt")

    assert (await refused(desk, "?since=1:2"))[0] == 400
    async with listening(desk, "account=alt&since=1:0") as client:
        assert (await client.next())["account"] == "alt"


async def test_an_account_that_cannot_be_shown_is_refused_as_in_rest(desk: TradingDesk) -> None:
    await desk.open("main")
    desk.desk.configure(["main", "alt"])

    assert (await refused(desk, "?account=nobody"))[0] == 404
    assert (await refused(desk, "?account=alt"))[0] == 503


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://desk.example.org:8443", "http://desk.example.org", "file://", ""]
)
async def test_a_page_of_another_origin_is_refused(tmp_path: Path, origin: str) -> None:
    async with trading_desk(tmp_path, allowed_origins=["https://desk.example.org"]) as desk:
        status, problem = await refused(desk, "", Origin=origin)

    assert (status, problem["type"]) == (403, "/docs#foreign-origin")


async def test_our_own_pages_and_allowed_origins_may_come_in(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, allowed_origins=["https://desk.example.org"]) as desk:
        await desk.open()
        for origin in (desk.doors.http_url, "https://desk.example.org", "https://desk.example.org:443"):
            url = desk.doors.http_url + "/ws"
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(url, headers={"Origin": origin}) as socket,
            ):
                assert json.loads(await socket.receive_str())["type"] == "snapshot"


async def test_there_is_one_socket(desk: TradingDesk) -> None:
    url = desk.doors.http_url
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await session.ws_connect(url + "/api/account")
        assert refusal.value.status == 404
        async with session.get(url + "/ws") as response:
            assert (response.status, response.headers["Upgrade"]) == (426, "websocket")


async def test_as_many_clients_as_allowed(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, max_clients=2) as desk:
        await desk.open()
        async with listening(desk) as first, listening(desk) as second:
            await first.next()
            await second.next()
            status, problem = await refused(desk, "")
            assert (status, problem["type"]) == (503, "/docs#too-many-clients")
        await asyncio.sleep(0.1)
        async with listening(desk) as third:
            await third.next()


async def test_no_more_than_allowed_though_all_come_at_once(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, max_clients=2) as desk, aiohttp.ClientSession() as session:
        await desk.open()
        url = desk.doors.http_url + "/ws"
        came = await asyncio.gather(*(session.ws_connect(url) for _ in range(12)), return_exceptions=True)

        assert sum(isinstance(each, aiohttp.ClientWebSocketResponse) for each in came) == 2
        assert len(desk.doors.publisher) == 2
        assert {each.status for each in came if isinstance(each, aiohttp.WSServerHandshakeError)} == {503}


async def test_nobody_listens_to_clients(desk: TradingDesk) -> None:
    await desk.open()
    async with listening(desk) as client:
        await client.next("health")
        for _ in range(16):
            await client.socket.send_str("hello")
        await desk.trade(desk.fill())
        await client.until(heard_fills(1))  # ignored so far

        await client.socket.send_str("hello?")
        async with asyncio.timeout(5):
            while (message := await client.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1003)


async def test_a_large_message_ends_the_conversation(desk: TradingDesk) -> None:
    await desk.open()
    async with listening(desk) as client:
        await client.next("health")
        await client.socket.send_str("x" * 4_097)
        async with asyncio.timeout(5):
            message = await client.socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
