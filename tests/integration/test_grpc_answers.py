"""gRPC beside REST and WebSocket: the same questions, the same answers, digit for digit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from account_monitor.api.grpc import answers
from account_monitor.api.grpc.messages import message_of, timestamp_of
from account_monitor.api.health import HealthReport
from account_monitor.api.history import PnLHistoryReport
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Adjustment, Anchor
from account_monitor.ledger.reconciliation import Drift, Quarantine, Reconciliation
from account_monitor.monitor.health import Status
from account_monitor.monitor.ports import MONITOR
from account_monitor.monitor.reports import (
    AccountReport,
    AlertReport,
    BalanceReport,
    FillReport,
    PnLReport,
    PositionReport,
    ReconciliationReport,
    comparison_report,
)
from account_monitor.monitor.views import Comparison
from account_monitor.v1 import account_monitor_pb2 as v1
from tests.integration.grpc_rig import as_json, as_proto_json, ask, calling, refusal, watch
from tests.integration.trading_desk import Client, TradingDesk, clock, get, listening, trading_desk

pytestmark = pytest.mark.integration

SHIB = "123456789012345678.12345678"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, grpc_port=0) as opened:
        yield opened


async def trade_awkwardly(desk: TradingDesk) -> None:
    """Leave an account with everything that is hard to show: both legs, flat, huge, without a price, without a fee."""
    await desk.open()
    await desk.trade(
        desk.fill("BUY", "2", at="100", position_side="LONG"),
        desk.fill("SELL", "3", at="101.5", position_side="SHORT"),
        desk.fill("BUY", "1", at="50", symbol="ETHUSDT"),
        desk.fill("SELL", "1", at="60", symbol="ETHUSDT"),
        desk.fill("BUY", SHIB, at="0.00001234", symbol="1000SHIBUSDT"),
        desk.fill("BUY", "0.3", at="7", symbol="XRPBTC", fee=None, fee_asset=None),
        desk.fill("BUY", "3", at="0.1", symbol="ADAUSDT", fee=Decimal("0.000001"), fee_asset="BNB"),
    )
    await desk.mark("99.99")


# -- the same answers ----------------------------------------------------------------------------------------------


async def test_the_account_is_what_rest_and_the_socket_show(desk: TradingDesk) -> None:
    await trade_awkwardly(desk)
    shown = await get(desk.doors.http_url + "/api/account")
    async with calling(desk) as channel, listening(desk) as client:
        state = as_json(await ask(channel, "GetAccountState"))
        snapshot = (await client.next("snapshot"))["data"]
        assert as_proto_json({**shown, "timestamp": ""}) == {**state, "timestamp": ""}
        assert as_proto_json({**snapshot, "timestamp": ""}) == {**state, "timestamp": ""}

    assert set(state["positions"]) == {
        "1000SHIBUSDT", "ADAUSDT", "BTCUSDT:LONG", "BTCUSDT:SHORT", "ETHUSDT", "XRPBTC",
    }  # fmt: skip
    assert state["positions"]["1000SHIBUSDT"]["quantity"] == SHIB
    assert state["positions"]["ETHUSDT"]["state"] == "FLAT"
    assert "entry_price" not in state["positions"]["ETHUSDT"]
    assert "leverage" not in state["positions"]["BTCUSDT:LONG"]
    assert "total_fees" not in state["positions"]["ADAUSDT"]  # in BNB, which has no price
    assert state["unpriced"] == ["BNB"]
    assert "equity" not in state["pnl"]
    assert "reconciliation" not in state


async def test_each_part_is_what_rest_shows(desk: TradingDesk) -> None:
    await trade_awkwardly(desk)
    url = desk.doors.http_url
    async with calling(desk) as channel:
        positions = await get(url + "/api/positions")
        assert as_json(await ask(channel, "GetAllPositions")) == {"positions": as_proto_json(positions)}
        for key, position in positions.items():
            assert as_json(await ask(channel, "GetPosition", symbol=key)) == as_proto_json(position)
        assert as_json(await ask(channel, "GetPnL")) == as_proto_json(await get(url + "/api/pnl"))
        balances = as_proto_json(await get(url + "/api/balance"))
        assert as_json(await ask(channel, "GetBalance")) == {"balances": balances}


async def test_an_account_without_anything_says_so_and_not_zero(desk: TradingDesk) -> None:
    await desk.open(wallet=None)
    async with calling(desk) as channel:
        state = await ask(channel, "GetAccountState")

        assert not state.HasField("as_of")
        assert not state.pnl.HasField("equity")
        assert not state.risk.HasField("margin_ratio")
        assert as_proto_json({**await get(desk.doors.http_url + "/api/account"), "timestamp": ""}) == {
            **as_json(state), "timestamp": "",
        }  # fmt: skip


async def test_what_is_answered_follows_the_view(desk: TradingDesk) -> None:
    await desk.open()
    async with calling(desk) as channel:
        for number in range(1, 6):
            await desk.trade(desk.fill("BUY", "1"))
            assert (await ask(channel, "GetPosition", symbol="BTCUSDT")).quantity == str(number)
            assert (await ask(channel, "GetAccountState")).seq == number + 1


async def test_an_account_of_many_positions_is_answered_whole(desk: TradingDesk) -> None:
    await desk.open()
    desk.put(*(desk.fill(symbol=f"S{number}USDT") for number in range(300)))
    await desk.reach(301)
    async with calling(desk) as channel:
        states = await asyncio.gather(*(ask(channel, "GetAccountState") for _ in range(10)))

    assert {len(state.positions) for state in states} == {300}
    assert as_proto_json(await get(desk.doors.http_url + "/api/positions")) == as_json(states[0])["positions"]


async def test_the_history_is_what_rest_shows(desk: TradingDesk) -> None:
    await desk.open(snapshot_seconds=0.0)
    await desk.trade(desk.fill("BUY", "2", at="100"), desk.fill("SELL", "1", at="110"))
    await desk.remember()
    url = desk.doors.http_url + "/api/pnl/history"
    now_ms = clock()
    start, end = now_ms - now_ms % 60_000 - 600_000, now_ms - now_ms % 60_000 + 60_000
    span: dict[str, Any] = {"from": Timestamp(seconds=start // 1000), "to": Timestamp(seconds=end // 1000)}
    params = {"from": _rfc3339(start), "to": _rfc3339(end)}
    async with calling(desk) as channel:
        questions: list[Any] = [{"interval": "1m"}, {"interval": "1s"}, {"interval": "1m", "symbol": "BTCUSDT"}]
        for more in questions:
            told = as_json(await ask(channel, "GetPnLHistory", **span, **more))
            assert told == as_proto_json(await get(url, params={**params, **more}))
            assert told["buckets"]
        assert as_json(await ask(channel, "GetPnLHistory"))["interval"] == "1h"


def _rfc3339(at_ms: int) -> str:
    return Timestamp(seconds=at_ms // 1000).ToJsonString()


async def test_the_stream_tells_what_the_socket_tells_with_the_same_sequences(desk: TradingDesk) -> None:
    monitor = await desk.open()
    async with calling(desk) as channel, listening(desk) as client:
        call = watch(channel)
        told = [await call.read() for _ in range(2)]
        heard = [await _heard(client) for _ in range(2)]
        await trade_awkwardly_on(desk)
        drift = Drift("position", "BTCUSDT", Decimal(2), None, 1_700_000_000_000, ("MISSED_FILL",), Decimal(2))
        await monitor.record(Reconciliation("r1", clock(), "round", (drift,)), source=MONITOR)
        alert: dict[str, Any] = {"symbol": None, "severity": "WARNING", "message": "silent", "type": "STREAM_STALE"}
        await monitor.record(
            Alert(id="a1", state="FIRING", at_ms=clock(), revision=0, fired_ms=1, **alert), source=MONITOR
        )
        last = monitor.view.seq
        told += await _until(call, last)
        while (heard[-1]["seq"] or 0) < last:  # not as many as there: what is told together depends on how busy it is
            heard.append(await _heard(client))

    numbers = [(m.WhichOneof("data"), m.seq, m.prev if m.HasField("prev") else None) for m in told]
    kinds = {kind for kind, _, _ in numbers}
    assert kinds >= {"snapshot", "health", "fill", "position_update", "balance_update", "alert", "reconciliation"}
    entries = ("fill", "alert", "reconciliation", "position_update")
    assert _of(entries, told) == [
        (m["type"], m["seq"], m["prev"], as_proto_json(_shaped(m))) for m in heard if m["type"] in entries
    ]
    seqs = [seq for _, seq, _ in numbers if seq]
    assert seqs == sorted(seqs)


async def trade_awkwardly_on(desk: TradingDesk) -> None:
    """Trade on an open account."""
    for fill in (
        desk.fill("BUY", "2", position_side="LONG"),
        desk.fill("BUY", SHIB, at="0.00001234", symbol="1000SHIBUSDT", maker=True, order_id="7"),
        desk.fill("BUY", "0.3", at="7", symbol="XRPBTC", fee=None, fee_asset=None, realized_pnl=Decimal("-0.1")),
    ):
        await desk.trade(fill)


async def _until(call: Any, seq: int) -> list[Any]:
    taken: list[Any] = []
    async with asyncio.timeout(5):
        while not taken or taken[-1].seq < seq:
            taken.append(await call.read())
    return taken


def _of(kinds: tuple[str, ...], messages: list[Any]) -> list[tuple[str, int, int, Any]]:
    found = []
    for message in messages:
        kind = message.WhichOneof("data")
        if kind in kinds:
            found.append((kind, message.seq, message.prev, as_json(getattr(message, kind))))
    return found


async def _heard(client: Client) -> dict[str, Any]:
    async with asyncio.timeout(5):
        message: dict[str, Any] = json.loads(await client.socket.receive_str())
        return message


def _shaped(message: dict[str, Any]) -> Any:
    """Return the data of a message of the socket in the shape of gRPC, which keeps the key apart."""
    data = dict(message["data"])
    return {"key": data.pop("key"), "position": data} if message["type"] == "position_update" else data


# -- every field ---------------------------------------------------------------------------------------------------


PAIRS = (
    (v1.AccountState, AccountReport),
    (v1.Position, PositionReport),
    (v1.PnL, PnLReport),
    (v1.Balance, BalanceReport),
    (v1.PnLHistory, PnLHistoryReport),
    (v1.Fill, FillReport),
    (v1.Alert, AlertReport),
    (v1.Reconciliation, ReconciliationReport),
    (v1.Health, HealthReport),
)


@pytest.mark.parametrize(("message", "report"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_message_has_the_fields_of_its_report_and_is_absent_where_that_is_null(message: Any, report: Any) -> None:
    compare(message.DESCRIPTOR, msgspec.inspect.type_info(report))


def compare(descriptor: Descriptor, described: Any) -> None:
    assert isinstance(described, msgspec.inspect.StructType)
    by_name = {field.encode_name: field.type for field in described.fields}
    assert set(by_name) == {field.name for field in descriptor.fields}, descriptor.name
    for field in descriptor.fields:
        kind, is_nullable = without_null(by_name[field.name])
        assert field.has_presence == is_nullable or is_message(field), f"{descriptor.name}.{field.name}"
        compare_field(field, kind)


def compare_field(field: FieldDescriptor, kind: Any) -> None:
    message = field.message_type
    if message is None:
        assert not isinstance(kind, msgspec.inspect.StructType)
    elif message.GetOptions().map_entry:
        compare_field(message.fields_by_name["value"], kind.value_type)
    elif field.is_repeated:
        compare(message, kind.item_type)
    elif message.full_name == "google.protobuf.Timestamp":
        assert isinstance(kind, msgspec.inspect.StrType)
    else:
        compare(message, kind)


def without_null(kind: Any) -> tuple[Any, bool]:
    if not isinstance(kind, msgspec.inspect.UnionType):
        return kind, False
    (inner,) = (each for each in kind.types if not isinstance(each, msgspec.inspect.NoneType))
    return inner, True


def is_message(field: FieldDescriptor) -> bool:
    return field.message_type is not None


def test_how_an_account_compares_with_its_exchange_is_told_whole() -> None:
    drift = Drift("wallet", "USDT", Decimal("1.50"), Decimal(-1), 1_700_000_000_001, ("FUNDING",), Decimal("2.50"))
    anchor = Anchor("BTCUSDT", "BOTH", Decimal(2), Decimal(200))
    adjustment = Adjustment("x", 1_700_000_000_000, "UNEXPLAINED", (("USDT", Decimal("0.1")),), (anchor,), None, "fee")
    comparison = Comparison(
        5, None, 7.5, (drift,), (Quarantine("wallet", "BNB", 9, False, "three in a row"),), (adjustment,)
    )
    report = msgspec.to_builtins(comparison_report(comparison))

    assert as_json(message_of(v1.Comparison, report)) == as_proto_json(report)


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00.000Z", "1969-12-31T23:59:59.001Z", "2286-11-20T17:46:39.999Z"])
def test_a_time_is_the_same_time(text: str) -> None:
    assert timestamp_of(text) == _parsed(text)


def _parsed(text: str) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromJsonString(text)
    return timestamp


# -- refusals ------------------------------------------------------------------------------------------------------


async def test_what_is_not_there_is_named(desk: TradingDesk) -> None:
    await desk.open()
    async with calling(desk) as channel:
        for method in ("GetPosition", "GetPnLHistory"):
            assert await refusal(channel, method, symbol="SOLUSDT") == (
                "NOT_FOUND", "symbol: account main never held 'SOLUSDT'",
            )  # fmt: skip
        for method in ("GetAccountState", "GetPosition", "GetAllPositions", "GetPnL", "GetBalance", "GetPnLHistory"):
            assert await refusal(channel, method, account="other") == (
                "NOT_FOUND", "account: unknown 'other'; configured: main",
            )  # fmt: skip


async def test_of_a_long_name_the_beginning_is_repeated(desk: TradingDesk) -> None:
    """Beyond 8 KB a client refuses to take the words in which it was refused."""
    await desk.open()
    long, begin = "x" * 60_000, f"'{'x' * 60}'"
    async with calling(desk) as channel:
        for method, request, status in (
            ("GetPosition", {"symbol": long}, "NOT_FOUND"),
            ("GetPnL", {"account": long}, "NOT_FOUND"),
            ("GetPnLHistory", {"symbol": long}, "NOT_FOUND"),
            ("GetPnLHistory", {"interval": long}, "INVALID_ARGUMENT"),
        ):
            told = await refusal(channel, method, **request)
            assert told[0] == status
            assert begin in told[1]


async def test_what_is_not_allowed_is_named(desk: TradingDesk) -> None:
    await desk.open()
    async with calling(desk) as channel:
        refusals: tuple[tuple[str, dict[str, Any], str], ...] = (
            ("GetPosition", {}, "symbol: must be given"),
            ("GetPnLHistory", {"interval": "7m"}, "interval: was '7m'"),
            ("GetPnLHistory", {"from": Timestamp(seconds=-99_999_999_999_999)}, "from: was seconds -99999999999999"),
            ("GetPnLHistory", {"to": Timestamp(nanos=-1)}, "to: was seconds 0, nanos -1"),
            ("GetPnLHistory", {"from": Timestamp(seconds=253_402_300_799)}, "seconds of the years 1970 to 2199"),
            ("GetPnLHistory", {"to": Timestamp(seconds=-62_135_596_800)}, "seconds of the years 1970 to 2199"),
        )
        for method, request, word in refusals:
            status, detail = await refusal(channel, method, **request)
            assert status == "INVALID_ARGUMENT"
            assert word in detail
        await desk.open("second")
        status, detail = await refusal(channel, "GetPnL")
        assert (status, "main, second" in detail) == ("INVALID_ARGUMENT", True)


async def test_what_is_being_folded_is_unavailable(desk: TradingDesk) -> None:
    desk.desk.configure(["main"])
    async with calling(desk) as channel:
        status, detail = await refusal(channel, "GetPnL")
        assert (status, "not open yet" in detail) == ("UNAVAILABLE", True)
        await desk.open()
        assert await refusal(channel, "GetPnLHistory") == ("UNAVAILABLE", "the history is not open yet")


async def test_a_defect_is_internal_and_tells_nothing_of_the_inside(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open()
    monkeypatch.setattr(answers, "pnl_report", lambda view: 1 / 0)
    async with calling(desk) as channel:
        assert await refusal(channel, "GetPnL") == ("INTERNAL", "see the log of the service")


async def test_health_is_told_as_the_socket_tells_it(desk: TradingDesk) -> None:
    await desk.open()
    desk.desk.health.report("nats", Status.DEGRADED, "not connected")
    async with calling(desk) as channel, listening(desk) as client:
        call = watch(channel)
        message = await call.read()
        while message.WhichOneof("data") != "health":
            message = await call.read()
        heard = (await client.next("health"))["data"]

    assert as_proto_json({**heard, "uptime": 0}) == {**as_json(message.health), "uptime": "0"}
    assert not message.HasField("seq")
