"""What was compared with the exchange, and what a person may order: everything that changes anything is journaled."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from account_monitor.ledger.events import Adjustment, DrawdownReset
from account_monitor.ledger.money import to_text
from account_monitor.ledger.reconciliation import Drift, Finding, Quarantine, Reconciliation
from account_monitor.monitor.roll import RollAccount
from account_monitor.monitor.views import Comparison
from tests.integration.trading_desk import TradingDesk, get

pytestmark = pytest.mark.integration

D = Decimal
AT_MS = 1_700_000_000_000
DRIFT = Drift("wallet", "USDT", D("10005"), D(10_000), AT_MS, ("TRANSFER",), D(5))


@pytest.fixture
async def desk(desk: TradingDesk) -> TradingDesk:
    await desk.open("main")
    return desk


async def post(desk: TradingDesk, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(desk.doors.http_url + path, json=body) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_the_latest_reports_come_first_with_what_was_found(desk: TradingDesk) -> None:
    monitor = desk.monitor()
    for name in ("a", "b"):
        found = Reconciliation(name, AT_MS, "statement", (DRIFT,), (Finding("transfer:1", "TRANSFER"),), 1, None)
        await monitor.record(found, source="monitor")
    monitor.compared(Comparison(AT_MS, AT_MS, 7.5))
    await desk.trade(desk.fill())
    answer = await get(desk.doors.http_url + "/api/reconciliation?limit=1")

    assert [report["id"] for report in answer["reports"]] == ["b"]
    assert answer["reports"][0]["drifts"] == [
        {
            "kind": "wallet", "name": "USDT", "stated": "10005", "held": "10000", "difference": "5",
            "stated_at": "2023-11-14T22:13:20.000Z", "causes": ["TRANSFER"], "explained": "5", "is_tolerated": False,
        }
    ]  # fmt: skip
    assert answer["reports"][0]["findings"] == [{"event": "transfer:1", "cause": "TRANSFER"}]
    assert (answer["interval_in_effect"], answer["quarantined"]) == ("7.5s", [])


async def test_an_account_says_how_it_compares_with_its_exchange(desk: TradingDesk) -> None:
    url = desk.doors.http_url + "/api/account"
    assert (await get(url))["reconciliation"] is None

    held = Quarantine("wallet", "USDT", AT_MS, is_over=False, reason="three times")
    for comparison, status in (
        (Comparison(AT_MS, None, 5.0), "waiting"),
        (Comparison(AT_MS, AT_MS, 5.0), "agrees"),
        (Comparison(AT_MS, AT_MS, 5.0, (DRIFT,)), "differs"),
        (Comparison(AT_MS, AT_MS, 5.0, (), (held,)), "quarantined"),
    ):
        desk.monitor().compared(comparison)
        await desk.mark("100", symbol="NOTHING")
        told = (await get(url))["reconciliation"]
        assert (told["status"], told["interval_in_effect"]) == (status, "5s")


async def test_a_correction_is_journaled_with_its_reason_and_who_ordered_it(desk: TradingDesk) -> None:
    await desk.trade(desk.fill(quantity="2", at="100"))
    status, answer = await post(desk, "/api/corrections", {
        "reason": "a gift of the exchange", "by": "ann", "wallets": {"USDT": "-0.5"},
        "positions": {"BTCUSDT": {"quantity": "3", "entry_price": "90"}},
    })  # fmt: skip

    assert status == 201
    entry = next(entry for entry in desk.monitor().journal.entries() if entry.seq == answer["seq"])
    assert isinstance(entry.event, Adjustment)
    assert (entry.event.cause, entry.event.by, entry.event.reason) == ("OPERATOR", "ann", "a gift of the exchange")
    account = await get(desk.doors.http_url + "/api/account")
    assert account["balances"]["USDT"]["total"] == "9999.45"
    assert (account["positions"]["BTCUSDT"]["quantity"], account["positions"]["BTCUSDT"]["entry_price"]) == ("3", "90")
    explained = await get(desk.doors.http_url + "/api/explain")
    assert (explained["causes"]["adjustments"], explained["residual"]) == ("29.5", "0")
    (report,) = (await get(desk.doors.http_url + "/api/reconciliation"))["reports"]
    assert report["trigger"] == "ordered by ann: a gift of the exchange"
    assert f"adjustment:{report['correction']}" == answer["event"]

    await desk.trade(desk.fill(quantity="1", at="100"))
    assert (await get(desk.doors.http_url + "/api/positions"))["BTCUSDT"]["quantity"] == "4"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"by": "ann", "wallets": {"USDT": "1"}}, "reason"),
        ({"reason": "x", "wallets": {"USDT": "1"}}, "by"),
        ({"reason": "x", "by": " ", "wallets": {"USDT": "1"}}, "by"),
        ({"reason": "x", "by": "ann", "wallets": {"USDT": "0"}}, "moves it"),
        ({"reason": "x", "by": "ann", "wallets": {"FOO": "1"}}, "expected an asset of the account: USDT"),
        ({"reason": " ", "by": "ann", "wallets": {"USDT": "1"}}, "reason"),
        ({"reason": "x", "by": "ann"}, "wallets, positions"),
        ({"reason": "x", "by": "ann", "wallets": {"USDT": "NaN"}}, "wallets.USDT: was 'NaN'"),
        ({"reason": "x", "by": "ann", "wallets": {"USDT": 1.5}}, "wallets"),
        ({"reason": "x", "by": "ann", "wallets": {"US DT": "1"}}, "wallets: was 'US DT'"),
        (
            {"reason": "x", "by": "ann", "positions": {"BTCUSDT:BOTH": {"quantity": "1", "entry_price": "1"}}},
            "'BTCUSDT:BOTH'",
        ),
        ({"reason": "x", "by": "ann", "positions": {"BTCUSDT": {"quantity": "1"}}}, "entry_price"),
        ({"reason": "x", "by": "ann", "positions": {"BTCUSDT": {"quantity": "1", "entry_price": "-1"}}}, "entry_price"),
        ({"reason": "x", "by": "ann", "walets": {"USDT": "1"}}, "walets"),
        ({"reason": "x" * 501, "by": "ann", "wallets": {"USDT": "1"}}, "reason"),
    ],
)
async def test_a_correction_that_is_not_as_expected_changes_nothing(
    desk: TradingDesk, body: dict[str, Any], told: str
) -> None:
    seq = desk.monitor().view.seq
    status, problem = await post(desk, "/api/corrections", body)

    assert status == 422
    assert problem["type"] == "/docs#bad-body"
    assert told in problem["detail"]
    assert desk.monitor().view.seq == seq


ORDERS = ("corrections", "drawdown/reset", "quarantine/release", "alerts/x/ack", "alerts/silence")


@pytest.mark.parametrize("path", ORDERS)
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"[" * 30_000, "nested too deeply"),
        (b'{"reason":' * 6_000, "nested too deeply"),
        (b'{"reason":"x","walets":' + b"[" * 30_000, "nested too deeply"),
        (b"", "body: is missing, expected a JSON object"),
    ],
)
async def test_a_body_that_is_none_is_refused(desk: TradingDesk, path: str, body: bytes, told: str) -> None:
    headers = {"content-type": "application/json"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{desk.doors.http_url}/api/{path}", data=body) as response,
    ):
        assert response.status == 422
        assert told in (await response.json(content_type=None))["detail"]


async def test_a_page_of_another_origin_cannot_order_anything(desk: TradingDesk) -> None:
    body = {"reason": "x", "by": "ann", "wallets": {"USDT": "1"}}
    status, problem = await post(desk, "/api/corrections", body, Origin="https://evil.example")
    assert (status, problem["type"]) == (403, "/docs#foreign-origin")

    async with aiohttp.ClientSession() as session:
        form = aiohttp.FormData({"reason": "x", "by": "ann"})
        async with session.post(desk.doors.http_url + "/api/corrections", data=form) as response:
            assert response.status == 415
    status, _ = await post(desk, "/api/corrections", body, Origin=desk.doors.http_url)
    assert status == 201


async def test_what_is_quarantined_is_released_once(desk: TradingDesk) -> None:
    body = {"kind": "wallet", "name": "USDT", "reason": "seen by the exchange's support", "by": "ann"}
    status, problem = await post(desk, "/api/quarantine/release", body)
    assert (status, problem["type"]) == (409, "/docs#not-quarantined")

    held = Quarantine("wallet", "USDT", AT_MS, is_over=False, reason="three times")
    await desk.monitor().record(held, source="monitor")
    (told,) = (await get(desk.doors.http_url + "/api/reconciliation"))["quarantined"]
    assert (told["kind"], told["name"], told["reason"]) == ("wallet", "USDT", "three times")

    status, answer = await post(desk, "/api/quarantine/release", body)
    assert status == 201
    entry = next(entry for entry in desk.monitor().journal.entries() if entry.seq == answer["seq"])
    assert isinstance(entry.event, Quarantine)
    assert (entry.event.is_over, entry.event.by) == (True, "ann")
    assert (await post(desk, "/api/quarantine/release", body))[0] == 409


async def test_the_peak_begins_anew_when_a_person_orders_it(desk: TradingDesk) -> None:
    await desk.trade(desk.fill(quantity="10", at="100", fee=None))
    await desk.mark("200")
    monitor = desk.monitor()
    await monitor.record(DrawdownReset("first", AT_MS, "the peak of 11,000", "bob"), source="operator")
    await desk.mark("145")
    risk = (await get(desk.doors.http_url + "/api/account"))["risk"]
    told = ("-5.0000000000", "11000", "4.5000000000", "0")
    assert (risk["drawdown_pct"], risk["peak_equity"], risk["return_pct"], risk["daily_loss"]) == tuple(
        to_text(D(figure)) for figure in told
    )

    status, answer = await post(desk, "/api/drawdown/reset", {"reason": "a new strategy", "by": "ann"})

    assert status == 201
    entry = next(entry for entry in monitor.journal.entries() if entry.seq == answer["seq"])
    assert isinstance(entry.event, DrawdownReset)
    assert (entry.event.by, entry.event.reason) == ("ann", "a new strategy")
    account = await get(desk.doors.http_url + "/api/account")
    assert (account["risk"]["drawdown_pct"], account["risk"]["peak_equity"]) == ("0", "10450")
    assert (account["risk"]["return_pct"], account["pnl"]["max_drawdown_pct"]) == ("4.5", "-5")


async def test_there_is_no_peak_of_an_account_that_may_be_worth_nothing(desk: TradingDesk) -> None:
    body = {"reason": "a new strategy", "by": "ann"}
    await desk.monitor().record(Adjustment("a", 1, "OPERATOR", (("USDT", D(-10_000)),)), source="operator")
    status, problem = await post(desk, "/api/drawdown/reset", body)
    assert (status, problem["type"]) == (409, "/docs#no-equity")
    assert problem["detail"] == "equity of main was 0, expected above 0"

    await desk.monitor().record(Adjustment("b", 1, "OPERATOR", (("NOTHING", D(1)),)), source="operator")
    status, problem = await post(desk, "/api/drawdown/reset", body)
    assert (status, problem["detail"]) == (409, "equity of main was not known, expected above 0")
    status, problem = await post(desk, "/api/drawdown/reset", {"reason": "x"})
    assert (status, problem["type"]) == (422, "/docs#bad-body")


async def test_an_account_without_an_exchange_cannot_be_compared(desk: TradingDesk) -> None:
    status, problem = await post(desk, "/api/reconcile")

    assert (status, problem["type"]) == (409, "/docs#no-exchange")


async def test_what_the_journal_does_not_take_is_not_called_done(desk: TradingDesk) -> None:
    order = {"reason": "x", "by": "ann", "wallets": {"USDT": "1"}}
    desk.monitor().inbox.shut()
    status, problem = await post(desk, "/api/corrections", order)
    assert (status, problem["type"]) == (503, "/docs#not-recorded")
    assert problem["detail"] == "account main takes nothing more here, and this is not recorded"


@pytest.mark.parametrize(
    ("holder", "told"),
    [
        (None, "another process is about to hold it, and /api/cluster says which"),
        (RollAccount("main", 7, "two", "http://two:1", is_here=False), "account main is held by two, at http://two:1"),
    ],
)
async def test_an_order_that_comes_while_an_account_moves_is_sent_on(
    desk: TradingDesk, holder: RollAccount | None, told: str
) -> None:
    desk.monitor().stop()
    cluster: Any = SimpleNamespace(elsewhere=lambda account: holder)
    desk.desk.cluster = cluster
    status, problem = await post(desk, "/api/drawdown/reset", {"reason": "x", "by": "ann"})

    assert (status, problem["type"]) == (503, "/docs#held-elsewhere")
    assert problem["detail"] == f"account main takes nothing more here, and this is not recorded; {told}"
