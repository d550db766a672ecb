"""Alerts over REST: who looks after them, and what people do not want to hear for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from account_monitor.api import alerts as alerts_of_api
from account_monitor.cli.alerts import alerts as alerts_command
from account_monitor.ledger.alerts import Alert, AlertType
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.ports import JournalEntry, RemarkKind
from tests.integration.trading_desk import OtherHolders, TradingDesk, get

pytestmark = pytest.mark.integration


@pytest.fixture
async def desk(desk: TradingDesk) -> TradingDesk:
    await desk.open("main")
    return desk


@pytest.fixture
def board(desk: TradingDesk) -> AlarmBoard:
    board = AlarmBoard(desk.desk.clock)
    board.attach(desk.monitor())
    return board


async def post(desk: TradingDesk, path: str, body: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(desk.doors.http_url + path, json=body) as response:
        return response.status, await response.json(content_type=None)


async def fired(desk: TradingDesk, board: AlarmBoard) -> str:
    """Fire an alert, and return its id once it is journaled."""
    board.fire("main", "STREAM_STALE", "silent")
    await desk.trade(desk.fill())
    (alert,) = (await get(desk.doors.http_url + "/api/alerts"))["alerts"]
    return str(alert["id"])


async def test_an_acknowledged_alert_says_who_looks_after_it(desk: TradingDesk, board: AlarmBoard) -> None:
    name = await fired(desk, board)
    status, answer = await post(desk, f"/api/alerts/{name}/ack", {"by": " ann "})

    assert (status, answer["event"]) == (201, f"alert:{name}:1")
    (alert,) = (await get(desk.doors.http_url + "/api/alerts"))["alerts"]
    assert (alert["id"], alert["state"], alert["acked_by"]) == (name, "FIRING", "ann")
    assert alert["acked_at"] is not None


async def test_an_alert_is_acknowledged_once_by_one_person(desk: TradingDesk, board: AlarmBoard) -> None:
    name = await fired(desk, board)
    answers = [await post(desk, f"/api/alerts/{name}/ack", {"by": by}) for by in ("ann", "ann", "bob")]

    assert [status for status, _ in answers] == [201, 409, 201]
    assert answers[1][1]["detail"] == f"'ann' looks after alert {name!r} already"


async def test_what_nothing_records_is_not_acknowledged(desk: TradingDesk, board: AlarmBoard) -> None:
    name = await fired(desk, board)
    desk.monitor().failure = "the disk is full"
    status, problem = await post(desk, f"/api/alerts/{name}/ack", {"by": "ann"})

    assert (status, problem["detail"]) == (503, "the journal of main records nothing now")
    assert board.firing("main")[0].acked_by is None


async def test_what_does_not_fire_cannot_be_acknowledged(desk: TradingDesk, board: AlarmBoard) -> None:
    status, problem = await post(desk, "/api/alerts/nothing/ack", {"by": "ann"})

    assert (status, problem["detail"]) == (404, "no alert 'nothing' of account main fires")


async def test_where_processes_share_the_accounts_an_order_is_answered_once_it_is_copied(desk: TradingDesk) -> None:
    desk.desk.cluster = others = OtherHolders(is_copied=True)

    status, answer = await post(desk, "/api/alerts/silence", {"duration": "2h", "reason": "work", "by": "ann"})

    assert (status, answer["pending"]) == (201, None)
    assert others.asked == [("main", answer["seq"], 2.0)]


async def test_an_order_that_is_not_copied_in_time_is_taken_and_says_that_it_may_be_lost(desk: TradingDesk) -> None:
    desk.desk.cluster = OtherHolders(is_copied=False)

    status, answer = await post(desk, "/api/alerts/silence", {"duration": "2h", "reason": "work", "by": "ann"})

    assert status == 202
    assert answer["pending"].startswith("recorded here, and not yet where another process would read it")
    assert len((await get(desk.doors.http_url + "/api/alerts/silences"))["silences"]) == 1
    words = ["silence", "0s", "--by", "ann", "--reason", "done", "--url", desk.doors.http_url]
    done = await asyncio.to_thread(CliRunner().invoke, alerts_command, words)
    assert f"pending   {answer['pending']}" in done.output.splitlines()


async def test_a_silence_is_listed_until_it_is_ended(desk: TradingDesk) -> None:
    order = {"duration": "2h", "type": "LOW_BALANCE", "reason": "the wallets move", "by": "ann"}
    status, answer = await post(desk, "/api/alerts/silence", order)
    assert (status, answer["account"]) == (201, "main")

    url = desk.doors.http_url + "/api/alerts/silences"
    (listed,) = (await get(url))["silences"]
    assert (listed["type"], listed["symbol"], listed["by"], listed["reason"]) == (
        "LOW_BALANCE", None, "ann", "the wallets move",
    )  # fmt: skip
    await post(desk, "/api/alerts/silence", {**order, "duration": "0s"})
    assert (await get(url))["silences"] == []


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"duration": "soon"}, "duration: was 'soon', expected a duration such as 500ms, 5s, 1m, 4h or 90d"),
        ({"duration": "31d"}, "duration: was '31d', expected at most 30d"),
        ({"by": " "}, "by: was ' ', expected 1 to 500 printable characters"),
        ({"by": "ann\nCRITICAL"}, "by: was 'ann\\nCRITICAL', expected 1 to 500 printable characters"),
        ({"reason": ""}, "reason: was '', expected 1 to 500 printable characters"),
        ({"symbol": "x" * 501}, f"symbol: was {'x' * 50!r}, expected 1 to 500 printable characters"),
    ],
)
async def test_a_silence_that_is_not_understood_is_refused_by_name(
    desk: TradingDesk, change: dict[str, str], detail: str
) -> None:
    order = {"duration": "2h", "reason": "maintenance", "by": "ann", **change}
    status, problem = await post(desk, "/api/alerts/silence", order)

    assert (status, problem["detail"]) == (422, detail)


async def test_a_silence_of_what_there_is_not_is_taken_and_says_so(desk: TradingDesk, board: AlarmBoard) -> None:
    await desk.trade(desk.fill())
    board.fire("main", "CHANNEL_FAILED", "no answer", symbol="slack")
    await desk.trade(desk.fill())
    order = {"duration": "2h", "reason": "maintenance", "by": "ann"}
    symbols = ("BTCUSD", "BTCUSDT", "USDT", "slack", None)
    answers = [await post(desk, "/api/alerts/silence", {**order, "symbol": symbol}) for symbol in symbols]
    ended = await post(desk, "/api/alerts/silence", {**order, "symbol": "BTCUSD", "duration": "0s"})

    assert [status for status, _ in answers] == [201] * len(symbols)
    assert [answer["note"] for _, answer in answers] == [
        "account main has nothing called 'BTCUSD' now, and the silence counts once it has; known: BTCUSDT, USDT",
        None, None, None, None,
    ]  # fmt: skip
    assert ended[1]["note"] is None


async def test_the_terminal_says_that_a_silence_is_about_nothing_now(desk: TradingDesk) -> None:
    words = ["silence", "2h", "--by", "ann", "--reason", "maintenance", "--symbol", "BTCUSD"]
    done = await asyncio.to_thread(CliRunner().invoke, alerts_command, [*words, "--url", desk.doors.http_url])

    assert done.exit_code == 0
    said = [line for line in done.output.splitlines() if line.startswith(("recorded", "note"))]
    assert said[0].startswith("recorded  main  seq ")
    assert said[1].startswith("note      account main has nothing called 'BTCUSD' now")


async def test_a_type_that_there_is_not_is_refused(desk: TradingDesk) -> None:
    order = {"duration": "2h", "reason": "maintenance", "by": "ann", "type": "NOISE"}
    status, problem = await post(desk, "/api/alerts/silence", order)

    assert status == 422
    assert "NOISE" in problem["detail"]


async def test_a_body_that_is_no_text_is_refused(desk: TradingDesk) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            desk.doors.http_url + "/api/alerts/silence",
            data=b'{"by":"\xff"}',
            headers={"Content-Type": "application/json"},
        ) as response,
    ):
        assert response.status in (400, 422)
        assert "UTF-8" in (await response.json(content_type=None))["detail"]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("state=firing", "state: was 'firing', expected one of FIRING, RESOLVED"),
        ("type=NOISE", "type: was 'NOISE', expected one of BALANCE_DRIFT, CHANNEL_FAILED, CLOCK_SKEW, "),
        ("type=" + "x" * 90, f"type: was {'x' * 50!r}, expected one of "),
    ],
)
async def test_a_filter_that_there_is_not_is_named_beside_those_that_there_are(
    desk: TradingDesk, query: str, detail: str
) -> None:
    problem = await get(f"{desk.doors.http_url}/api/alerts?{query}", status=400)

    assert problem["detail"].startswith(detail)


async def test_alerts_are_acknowledged_and_silenced_from_the_terminal(desk: TradingDesk, board: AlarmBoard) -> None:
    name, url = await fired(desk, board), desk.doors.http_url
    orders = [
        ["ack", name, "--by", "ann"],
        ["silence", "2h", "--by", "ann", "--reason", "maintenance", "--type", "STREAM_STALE", "--account", "main"],
        ["ack", "nothing", "--by", "ann"],
    ]
    results = [await asyncio.to_thread(CliRunner().invoke, alerts_command, [*order, "--url", url]) for order in orders]

    assert [result.exit_code for result in results] == [0, 0, 1]
    assert "recorded  main  seq " in results[0].output
    assert "no alert 'nothing' of account main fires" in str(results[2].exception)
    (alert,) = (await get(url + "/api/alerts"))["alerts"]
    (silence,) = (await get(url + "/api/alerts/silences"))["silences"]
    assert (alert["acked_by"], silence["type"]) == ("ann", "STREAM_STALE")


async def test_a_type_that_is_rare_reads_no_more_the_longer_the_journal_is(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transition(number: int, type_: AlertType) -> Alert:
        return Alert(str(number), type_, None, "WARNING", "FIRING", "it is", number, number)

    read: list[int] = []
    remarks = desk.monitor().journal.remarks

    def counted(kind: RemarkKind) -> Iterator[JournalEntry]:
        for entry in remarks(kind):
            read.append(entry.seq)
            yield entry

    monkeypatch.setattr(alerts_of_api, "MOST_READ", 20)
    monkeypatch.setattr(desk.monitor().journal, "remarks", counted)
    desk.put(transition(1, "MARGIN_CALL"), *(transition(number, "STREAM_STALE") for number in range(2, 21)))
    await desk.reach(21)
    short = await get(desk.doors.http_url + "/api/alerts?type=MARGIN_CALL")
    desk.put(*(transition(number, "STREAM_STALE") for number in range(21, 121)))
    await desk.reach(121)
    read.clear()
    long = await get(desk.doors.http_url + "/api/alerts?type=MARGIN_CALL")

    assert ([alert["id"] for alert in short["alerts"]], short["looked_back_to"]) == (["1"], None)
    assert (long["alerts"], long["looked_back_to"]) == ([], "1970-01-01T00:00:00.100Z")
    assert len(read) == 21
