"""REST over real sockets: what each address answers, and how it refuses."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from account_monitor.api import answering
from account_monitor.ledger.alerts import Alert, AlertState
from account_monitor.ledger.events import Horizon, Opening
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.health import Status
from account_monitor.monitor.ports import MONITOR
from account_monitor.monitor.reports import account_report, time_text
from tests.integration.trading_desk import OPENED_MS, TradingDesk, clock, get, trading_desk

pytestmark = pytest.mark.integration


async def refused(desk: TradingDesk, path: str, status: int, **options: Any) -> str:
    """Return the detail of a problem, whose form must be that of RFC 9457."""
    async with aiohttp.ClientSession() as session, session.get(desk.doors.http_url + path, **options) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/problem+json"
        problem = await response.json(content_type=None)
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    assert problem["type"].startswith("/docs#")
    assert problem["instance"] == path.partition("?")[0]
    assert "Traceback" not in problem["detail"]
    return str(problem["detail"])


# -- what is shown -----------------------------------------------------------------------------------------------------


async def test_the_account_is_the_report_of_its_view(desk: TradingDesk) -> None:
    monitor = await desk.open()
    await desk.trade(desk.fill("BUY", "2", at="100"), desk.fill("SELL", "1", at="110"))

    shown = await get(desk.doors.http_url + "/api/account")

    expected = msgspec.to_builtins(account_report(monitor.view, clock()))
    assert shown | {"timestamp": ""} == expected | {"timestamp": ""}
    assert shown["seq"] == 3
    assert shown["positions"]["BTCUSDT"]["realized_pnl"] == "10"
    assert shown["positions"]["BTCUSDT"]["quantity"] == "1"
    assert shown["balances"]["USDT"]["total"] == "10009.9"  # 10,000 + 10 of profit − 2 fees of 0.05


async def test_positions_pnl_and_balance_are_the_parts_of_the_account(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill(), desk.fill(symbol="ETHUSDT"))
    url = desk.doors.http_url

    account = await get(url + "/api/account")

    assert await get(url + "/api/positions") == account["positions"]
    assert await get(url + "/api/pnl") == account["pnl"]
    assert await get(url + "/api/balance") == account["balances"]


async def test_the_past_is_what_was_believed_then_or_what_is_known_now(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill("BUY", "2", at="100"))
    url, now = desk.doors.http_url + "/api/account", await get(desk.doors.http_url + "/api/account")

    assert await get(url, params={"at": time_text(clock() + 60_000)}) | {"timestamp": ""} == now | {"timestamp": ""}
    opened = await get(url, params={"at": time_text(OPENED_MS), "corrected": "true"})
    assert (opened["positions"], opened["balances"]["USDT"]["total"]) == ({}, "10000")
    assert "needs `at`" in await refused(desk, "/api/account?corrected=true", 400)
    assert "expected a time" in await refused(desk, "/api/account?at=yesterday", 400)
    for end in ("0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.9999999Z"):
        for path in ("account?at", "explain?from", "explain?to", "fills?from", "fills?to"):
            assert "expected a time" in await refused(desk, f"/api/{path}={end}", 400)


async def test_of_a_time_before_the_account_was_opened_nothing_is_told_and_too_many_questions_are_refused(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open()
    early = f"/api/account?at={time_text(OPENED_MS - 1)}&corrected=true"
    assert "when the account was opened" in await refused(desk, early, 400)

    monkeypatch.setattr(answering, "MAX_WAITING", 0)
    for path in (f"/api/account?at={time_text(OPENED_MS)}", "/api/explain"):
        assert "waiting" in await refused(desk, path, 503)


async def test_what_the_journal_does_not_hold_any_more_is_refused_with_the_first_time_that_can_be_told(
    desk: TradingDesk,
) -> None:
    monitor = await desk.open()
    await desk.trade(desk.fill(), desk.fill())
    await monitor.record(Horizon(clock(), 0), source=MONITOR)
    monitor.journal.compact(1)
    while monitor.journal.base_seq < 1:  # noqa: ASYNC110  # another thread does it
        await asyncio.sleep(0.01)
    early = time_text(OPENED_MS)

    for path in (f"/api/account?at={early}", f"/api/explain?from={early}", f"/api/explain?to={early}"):
        assert "is in the history only" in await refused(desk, path, 400)
    assert (await get(desk.doors.http_url + "/api/explain"))["residual"] == "0"


async def test_a_change_of_equity_is_explained_entry_by_entry(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(
        desk.fill("BUY", "2", at="100"), desk.fill("SELL", "1", at="110"), desk.fill(symbol="ETHUSDT", at="50")
    )
    url = desk.doors.http_url + "/api/explain"

    told = await get(url)
    assert (told["from_seq"], told["to_seq"], told["residual"]) == (0, 4, "0")
    risk = (await get(desk.doors.http_url + "/api/account"))["risk"]
    assert (told["drawdown_pct"], told["return_pct"]) == (risk["drawdown_pct"], risk["return_pct"])
    assert told["equity_change"] == (await get(desk.doors.http_url + "/api/pnl"))["equity"] == "10019.85"
    causes = told["causes"]
    assert (causes["opening"], causes["trading"], causes["fees"]) == ("10000", "20", {"USDT": "-0.15"})
    assert told["positions"] == {"BTCUSDT": "19.9", "ETHUSDT": "-0.05"}
    assert [(entry["seq"], entry["usd"]) for entry in told["entries"]] == [
        (1, "10000"), (2, "-0.05"), (3, "19.95"), (4, "-0.05"),
    ]  # fmt: skip

    of_one = await get(url, params={"symbol": "ETHUSDT", "limit": "1"})
    assert (of_one["equity_change"], of_one["residual"], of_one["entry_count"]) == ("-0.05", "0", 1)
    assert "'SOLUSDT'" in await refused(desk, "/api/explain?symbol=SOLUSDT", 404)
    backwards = "/api/explain?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"
    assert "not before `from`" in await refused(desk, backwards, 400)


def an_alert(name: str, state: AlertState = "FIRING", *, at_ms: int, **more: Any) -> Alert:
    usual: dict[str, Any] = {"symbol": None, "severity": "WARNING", "message": "silent", "type": "STREAM_STALE"}
    return Alert(
        id=name, state=state, at_ms=at_ms, revision=int(state == "RESOLVED"), **{**usual, "fired_ms": 1, **more}
    )


async def test_an_alert_is_listed_once_in_its_last_state_and_what_changed_last_comes_first(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(
        an_alert("a", at_ms=1),
        an_alert("b", at_ms=2, type="BALANCE_DRIFT", symbol="USDT", value=Decimal("1.5"), threshold=Decimal(1)),
        an_alert("a", "RESOLVED", at_ms=3),
    )

    shown = await get(desk.doors.http_url + "/api/alerts")

    assert [(alert["id"], alert["state"]) for alert in shown["alerts"]] == [("a", "RESOLVED"), ("b", "FIRING")]
    resolved, firing = shown["alerts"]
    assert (resolved["timestamp"], resolved["resolved_at"]) == (time_text(1), time_text(3))
    assert firing == {
        "id": "b", "account": "main", "type": "BALANCE_DRIFT", "severity": "WARNING", "state": "FIRING",
        "symbol": "USDT", "message": "silent", "value": "1.5", "threshold": "1", "cause": None,
        "timestamp": time_text(1), "resolved_at": None, "acked_by": None, "acked_at": None,
    }  # fmt: skip


@pytest.mark.parametrize("query", ["", "?state=FIRING"])
async def test_while_an_alert_fires_its_text_is_that_of_now(desk: TradingDesk, query: str) -> None:
    await desk.open()
    alarms = AlarmBoard(lambda: 1)
    alarms.attach(desk.monitor())
    before = desk.monitor().view.seq
    alarms.fire("main", "STORAGE_UNAVAILABLE", "refused", symbol="history")
    await desk.reach(before + 1)
    alarms.fire("main", "STORAGE_UNAVAILABLE", "disk full", symbol="history")

    (shown,) = (await get(f"{desk.doors.http_url}/api/alerts{query}"))["alerts"]

    assert (shown["state"], shown["message"]) == ("FIRING", "disk full")
    assert len(desk.monitor().journal.remarks_after("alert", 0)) == 1


async def test_alerts_are_chosen_by_their_last_state_and_type(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(
        an_alert("a", at_ms=1),
        an_alert("b", at_ms=2, type="RATE_LIMITED"),
        an_alert("a", "RESOLVED", at_ms=3),
        an_alert("c", at_ms=4),
    )

    async def ids(query: str) -> list[str]:
        return [alert["id"] for alert in (await get(f"{desk.doors.http_url}/api/alerts?{query}"))["alerts"]]

    assert await ids("state=FIRING") == ["c", "b"]
    assert await ids("state=FIRING&type=RATE_LIMITED") == ["b"]
    assert await ids("state=RESOLVED") == ["a"]
    assert await ids("type=STREAM_STALE") == ["c", "a"]
    assert await ids("limit=2") == ["c", "a"]
    assert await ids("state=FIRING&limit=1") == ["c"]


@pytest.mark.parametrize("query", ["state=firing", "type=NO_SUCH_TYPE", "limit=0", "limit=1001"])
async def test_what_no_alert_can_be_is_a_bad_parameter(desk: TradingDesk, query: str) -> None:
    await desk.open()
    name, _, value = query.partition("=")

    detail = await refused(desk, f"/api/alerts?{query}", 400)

    assert name in detail
    assert value in detail


async def test_positions_may_be_asked_for_by_key(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill(), desk.fill(symbol="ETHUSDT", position_side="LONG"))
    url = desk.doors.http_url + "/api/positions"

    assert set(await get(url)) == {"BTCUSDT", "ETHUSDT:LONG"}
    assert set(await get(url, params={"symbol": "ETHUSDT:LONG"})) == {"ETHUSDT:LONG"}
    assert "'ETHUSDT'" in await refused(desk, "/api/positions?symbol=ETHUSDT", 404)


async def test_a_symbol_may_be_in_any_script(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill(symbol="币安人生USDT"))

    found = await get(desk.doors.http_url + "/api/positions", params={"symbol": "币安人生USDT"})

    assert found["币安人生USDT"]["quantity"] == "1"


async def test_accounts_are_listed_with_what_is_known(desk: TradingDesk) -> None:
    await desk.open("main")
    desk.desk.configure(["main", "alt"])

    shown = await get(desk.doors.http_url + "/api/accounts")

    opened = {"account": "main", "status": "ready", "equity": "10000", "epoch": 1, "seq": 1}
    assert shown == [
        opened | {"as_of": shown[0]["as_of"]},
        {"account": "alt", "status": "folding", "equity": None, "epoch": None, "seq": None, "as_of": None},
    ]


async def test_an_account_whose_recording_stopped_is_still_shown(desk: TradingDesk) -> None:
    monitor = await desk.open()
    monitor.failure = "disk full"

    (shown,) = await get(desk.doors.http_url + "/api/accounts")

    assert (shown["status"], shown["equity"]) == ("recording_stopped", "10000")


# -- which account -----------------------------------------------------------------------------------------------------


async def test_the_account_may_be_left_out_where_there_is_only_one(desk: TradingDesk) -> None:
    await desk.open("main")
    named = await get(desk.doors.http_url + "/api/pnl?account=main")

    assert await get(desk.doors.http_url + "/api/pnl") == named


async def test_the_account_must_be_named_where_there_are_several(desk: TradingDesk) -> None:
    await desk.open("main")
    await desk.open("alt", wallet="5")

    assert "account: must be given" in await refused(desk, "/api/account", 400)
    assert (await get(desk.doors.http_url + "/api/account?account=alt"))["account"] == "alt"
    assert "'other'" in await refused(desk, "/api/account?account=other", 404)
    assert "''" in await refused(desk, "/api/account?account=", 404)


async def test_the_journal_of_what_names_no_account_is_no_account(desk: TradingDesk) -> None:
    await desk.open("main")

    await refused(desk, "/api/account?account=_unrouted", 404)


async def test_a_journal_that_is_being_folded_is_worth_waiting_for(desk: TradingDesk) -> None:
    desk.desk.configure(["main"])
    async with aiohttp.ClientSession() as session, session.get(desk.doors.http_url + "/api/account") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert "not folded yet" in await refused(desk, "/api/fills", 503)


async def test_without_accounts_nothing_is_found(desk: TradingDesk) -> None:
    assert await get(desk.doors.http_url + "/api/accounts") == []
    assert "configured: none" in await refused(desk, "/api/account", 404)


# -- fills -------------------------------------------------------------------------------------------------------------


async def test_fills_come_in_venue_order_page_by_page(desk: TradingDesk) -> None:
    await desk.open()
    fills = [desk.fill(at_ms=OPENED_MS + 10 * i) for i in range(1, 8)]
    desk.put(*reversed(fills))
    await desk.reach(8)
    url = desk.doors.http_url + "/api/fills?limit=3"

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await get(url, params={"cursor": cursor} if cursor else {})
        seen += [fill["id"] for fill in page["fills"]]
        cursor = page["next"]

    assert seen == [fill.trade_id for fill in fills]


async def test_fills_are_from_a_moment_on_and_before_another(desk: TradingDesk) -> None:
    await desk.open()
    desk.put(*(desk.fill(at_ms=OPENED_MS + i) for i in (1, 2, 3, 4)))
    await desk.reach(5)
    url = desk.doors.http_url + "/api/fills"

    found = await get(url, params={"from": time_text(OPENED_MS + 2), "to": time_text(OPENED_MS + 4)})
    assert [fill["timestamp"] for fill in found["fills"]] == [time_text(OPENED_MS + 2), time_text(OPENED_MS + 3)]

    found = await get(url, params={"from": "2023-11-15T00:13:20.0020001+02:00"})  # a little after OPENED_MS + 2
    assert [fill["timestamp"] for fill in found["fills"]] == [time_text(OPENED_MS + 3), time_text(OPENED_MS + 4)]


async def test_fills_of_a_symbol(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill(), desk.fill(symbol="ETHUSDT"))
    url = desk.doors.http_url + "/api/fills"

    found = await get(url, params={"symbol": "ETHUSDT"})

    assert [(fill["symbol"], fill["seq"]) for fill in found["fills"]] == [("ETHUSDT", 3)]
    assert "'SOLUSDT'" in await refused(desk, "/api/fills?symbol=SOLUSDT", 404)


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2026-11-22",
        "to=2026-11-22T12:00:00",
        "to=2026-13-22T12:00:00Z",
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=",
        "cursor=abc",
        "limit=1&limit=2",
        "at=2026-11-22T12:00:00Z",
        "Symbol=BTCUSDT",
    ],
)
async def test_a_bad_parameter_is_named(desk: TradingDesk, query: str) -> None:
    await desk.open()

    detail = await refused(desk, f"/api/fills?{query}", 400)

    assert detail.startswith(query.partition("=")[0] + ": ")


async def test_the_loop_goes_on_while_fills_are_read(desk: TradingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await desk.open()
    page = monitor.journal.fills

    def slowly(query: Any) -> Any:
        import time

        time.sleep(0.5)
        return page(query)

    monkeypatch.setattr(monitor.journal, "fills", slowly)
    reading = asyncio.create_task(get(desk.doors.http_url + "/api/fills"))
    await asyncio.sleep(0.1)

    async with asyncio.timeout(0.3):
        await get(desk.doors.http_url + "/api/account")

    assert (await reading)["fills"] == []


# -- every response ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/ready", "/api/account", "/api/fills", "/nothing", "/docs", "/ws"])
async def test_every_response_is_not_to_be_kept_or_guessed_at(desk: TradingDesk, path: str) -> None:
    url = desk.doors.http_url + path
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as response:
        assert response.headers.getall("X-Content-Type-Options") == ["nosniff"]
        assert response.headers.getall("Cache-Control") == ["no-store"]
        assert "Server" not in response.headers


async def test_head_is_get_without_its_body(desk: TradingDesk) -> None:
    await desk.open()
    async with aiohttp.ClientSession() as session:
        for path in ("/api/positions", "/health", "/docs", "/openapi.json"):
            async with session.get(desk.doors.http_url + path) as whole:
                body = await whole.read()
            async with session.head(desk.doors.http_url + path) as head:
                assert (head.status, await head.read()) == (200, b"")
                assert int(head.headers["Content-Length"]) == len(body)


async def test_nothing_else_is_found(desk: TradingDesk) -> None:
    assert "/api/nothing" in await refused(desk, "/api/nothing", 404)


@pytest.mark.parametrize("path", ["/api/account", "/health", "/ready", "/docs"])
async def test_nothing_can_be_changed(desk: TradingDesk, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(desk.doors.http_url + path, json={}) as response:
        problem = await response.json(content_type=None)
        assert response.status == 405
        assert {"GET", "HEAD"} <= set(response.headers["Allow"].split(", "))
        assert problem["type"] == "/docs#method-not-allowed"


async def test_a_large_body_is_refused(desk: TradingDesk) -> None:
    url = desk.doors.http_url + "/api/account"
    async with aiohttp.ClientSession() as session, session.post(url, data=b"x" * 65_537) as response:
        assert response.status == 413


async def test_a_defect_says_nothing_about_itself(desk: TradingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = await desk.open()

    def broken(query: Any) -> Any:
        raise ZeroDivisionError("inner secret")

    monkeypatch.setattr(monitor.journal, "fills", broken)

    assert await refused(desk, "/api/fills", 500) == "see the log of the service"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "[::2]", ""])
async def test_a_page_that_points_its_name_at_this_machine_learns_nothing(desk: TradingDesk, host: str) -> None:
    for path in ("/health", "/api/account", "/ws"):
        await refused(desk, path, 421, headers={"Host": host})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "desk.example.org"])
async def test_the_names_of_this_machine_and_of_allowed_origins_are_served(tmp_path: Path, host: str) -> None:
    async with trading_desk(tmp_path, allowed_origins=["https://desk.example.org"]) as desk:
        assert await get(desk.doors.http_url + "/health", headers={"Host": host})


# -- health ------------------------------------------------------------------------------------------------------------


async def test_health_is_the_worst_of_its_checks(desk: TradingDesk) -> None:
    url = desk.doors.http_url + "/health"
    healthy = await get(url)
    assert (healthy["status"], healthy["version"], healthy["checks"]) == ("healthy", "9.9.9", {})
    assert isinstance(healthy["uptime"], int)

    desk.desk.health.report("nats", Status.DEGRADED, "disconnected")
    degraded = await get(url)
    assert degraded["status"] == "degraded"
    assert degraded["checks"]["nats"]["message"] == "disconnected"
    assert degraded["checks"]["nats"]["since"].endswith("Z")

    desk.desk.health.report("journal:main", Status.UNHEALTHY, "disk full")
    assert (await get(url, status=503))["status"] == "unhealthy"


async def test_ready_says_what_it_waits_for(desk: TradingDesk) -> None:
    url = desk.doors.http_url + "/ready"
    assert await get(url, status=503) == {"ready": False, "reason": "the journals are not folded yet"}

    desk.desk.wait_for("start", None)
    assert await get(url) == {"ready": True, "reason": None}


async def test_what_nobody_said_is_null(desk: TradingDesk) -> None:
    await desk.open(wallet=None)
    await desk.trade(desk.fill())

    account = await get(desk.doors.http_url + "/api/account")

    assert account["pnl"]["equity"] is None
    assert account["balances"]["USDT"]["total"] is None


async def test_numbers_keep_every_digit(desk: TradingDesk) -> None:
    await desk.open(wallet=None)
    quantity = "12345678901234567890.00000000000000000001"
    await desk.trade(Opening("1", OPENED_MS, (("USDT", Decimal(1)),)), desk.fill("BUY", quantity, at="0.00001"))

    account = await get(desk.doors.http_url + "/api/account")

    assert account["positions"]["BTCUSDT"]["quantity"] == quantity
    assert account["positions"]["BTCUSDT"]["entry_price"] == "0.00001"
