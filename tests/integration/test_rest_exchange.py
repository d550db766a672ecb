"""`/api/exchange` and what `status` says of it: the facts of a desk, as its doors tell them."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import pytest
from rich.console import Console

from account_monitor.cli.status import account_screens
from account_monitor.monitor.quality import ExchangeQuality, Failure, Gap, Spread, Tally
from tests.integration.test_rest_openapi import Checker
from tests.integration.trading_desk import TradingDesk, get
from tests.unit.test_exchange_quality import ANSWERING, GOOD, NOW_MS

pytestmark = pytest.mark.integration

LATE = GOOD._replace(
    account="alt",
    address="https://b",
    lag=GOOD.lag._replace(recent=Spread(10, 20, 50, 3_400, 4_000)),
    gaps=(Gap(NOW_MS, NOW_MS + 1_500, "code 1006"), Gap(NOW_MS + 9_000, None, "no pong")),
    fills_repeated={"exchange:stream": 3},
)
LIMITED = ANSWERING._replace(
    address="https://b",
    weight_used=2_500,
    limited_until_ms=NOW_MS + 60_000,
    last_failure=Failure(NOW_MS, "GET /fapi/v3/account: HTTP 429"),
    requests={**ANSWERING.requests, "limited": Tally(2, 1)},
    clock_error_ms=4.4,
)


@pytest.fixture
async def desk(desk: TradingDesk) -> TradingDesk:
    await desk.open("main")
    await desk.open("alt")
    await desk.open("none")
    desk.desk.exchange_quality = lambda: ExchangeQuality(NOW_MS, [GOOD, LATE], [ANSWERING, LIMITED])
    return desk


async def test_it_tells_of_every_account_and_address(desk: TradingDesk) -> None:
    answer = await get(desk.doors.http_url + "/api/exchange")

    assert (answer["timestamp"], answer["window"]) == ("2026-09-21T14:13:20.000Z", "300s")
    good, late = answer["accounts"]
    assert (good["account"], good["poor"], good["stream"]["lag"]["p99_ms"]) == ("main", [], None)
    assert late["poor"] == ["one message of a hundred comes 3.4 s late or later"]
    assert late["stream"]["gaps"] == [
        {"from": "2026-09-21T14:13:20.000Z", "to": "2026-09-21T14:13:21.500Z", "reason": "code 1006"},
        {"from": "2026-09-21T14:13:29.000Z", "to": None, "reason": "no pong"},
    ]
    assert late["fills_repeated"] == {"exchange:stream": 3}
    answering, limited = answer["addresses"]
    assert answering["weight"] == {"used": 60, "limit": 2400, "headroom": 2340}
    assert answering["clock"] == {"offset_ms": 3, "error_ms": 4}
    assert limited["weight"]["headroom"] == 0
    assert limited["limited_until"] == "2026-09-21T14:14:20.000Z"
    assert limited["last_failure"]["reason"] == "GET /fapi/v3/account: HTTP 429"
    assert limited["requests"]["limited"] == {"total": 2, "recent": 1}


async def test_what_it_tells_is_as_described(desk: TradingDesk) -> None:
    description = await get(desk.doors.http_url + "/openapi.json")
    answer = await get(desk.doors.http_url + "/api/exchange")

    schema = description["paths"]["/api/exchange"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert Checker(description).fits(answer, schema)


async def test_an_account_is_told_with_the_address_that_it_asks(desk: TradingDesk) -> None:
    answer = await get(desk.doors.http_url + "/api/exchange?account=alt")
    assert [each["account"] for each in answer["accounts"]] == ["alt"]
    assert [each["address"] for each in answer["addresses"]] == ["https://b"]

    answer = await get(desk.doors.http_url + "/api/exchange?account=none")
    assert (answer["accounts"], answer["addresses"]) == ([], [])


async def test_an_account_that_nobody_configured_is_refused_by_name(desk: TradingDesk) -> None:
    async with aiohttp.ClientSession() as session, session.get(
        desk.doors.http_url + "/api/exchange?account=nobody"
    ) as response:  # fmt: skip
        assert response.status == 404
        assert "'nobody'" in (await response.json(content_type=None))["detail"]


async def test_status_says_in_a_line_what_is_poor_and_nothing_of_what_is_good(desk: TradingDesk) -> None:
    desk.desk.wait_for("start", None)
    console = Console(width=400, file=io.StringIO())
    screens = await asyncio.to_thread(account_screens, desk.doors.http_url, None, 400)
    console.print(screens.shown)
    said = console.file.getvalue()  # type: ignore[attr-defined]  # given above

    poor = [line for line in said.splitlines() if line.startswith("poor")]
    assert poor == [
        "poor  exchange:alt  one message of a hundred comes 3.4 s late or later",
        (
            "poor  exchange:https://b  the exchange takes no requests from this machine for now; "
            "2500 of 2400 of the request weight is used"
        ),
    ]
