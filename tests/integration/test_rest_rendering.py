"""Rendering: the present is written once for each view, and is the same whichever way it is asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from account_monitor.api import rendering
from account_monitor.api.access import EVERYONE
from account_monitor.api.asgi import Message
from account_monitor.api.credentials import CALLER
from account_monitor.api.renderer import Renderer
from account_monitor.api.rendering import PLAIN, Rendered, Renderings
from account_monitor.monitor.views import View
from tests.integration.trading_desk import TradingDesk, get, trading_desk

pytestmark = pytest.mark.integration


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path) as opened:
        await opened.open()
        await opened.trade(opened.fill(), opened.fill("SELL", "3", "120.5"), opened.fill(symbol="ETHUSDT", fee=None))
        yield opened


async def asked(desk: TradingDesk, path: str, **headers: str) -> tuple[int, str, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(desk.doors.http_url + path, headers=headers) as response,
    ):
        return response.status, response.headers.get("etag", ""), await response.read()


def but_time(report: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: value for name, value in report.items() if kind != "account" or name != "timestamp"}


@pytest.mark.parametrize(("path", "kind"), PLAIN.items())
async def test_it_is_what_the_framework_would_answer(desk: TradingDesk, path: str, kind: str) -> None:
    plain = await get(f"{desk.doors.http_url}{path}?account=main")
    by_framework = await get(f"{desk.doors.http_url}{path}?account=%6Dain")

    assert list(plain) == list(by_framework)
    assert but_time(plain, kind) == but_time(by_framework, kind)


@pytest.mark.parametrize("path", PLAIN)
async def test_who_knows_it_is_told_so_until_something_changes(desk: TradingDesk, path: str) -> None:
    _, tag, _ = await asked(desk, path)

    assert await asked(desk, path, **{"If-None-Match": f'"other", {tag}'}) == (304, tag, b"")
    assert (await asked(desk, path, **{"If-None-Match": '"other"'}))[0] == 200

    await desk.trade(desk.fill("SELL"))
    status, other, _ = await asked(desk, path, **{"If-None-Match": tag})
    assert (status, other == tag) == (200, False)


async def test_an_account_says_when_it_was_asked_for(desk: TradingDesk) -> None:
    first = await get(f"{desk.doors.http_url}/api/account")
    await asyncio.sleep(0.002)
    second = await get(f"{desk.doors.http_url}/api/account")

    assert first["timestamp"] < second["timestamp"]
    assert first["seq"] == second["seq"]


async def test_a_view_is_rendered_once_however_many_ask(desk: TradingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MANY_POSITIONS", 1)  # in a thread
    count = 0

    def render(view: View) -> bytes:
        nonlocal count
        count += 1
        return b"{}"

    monkeypatch.setitem(rendering._BODIES, "pnl", render)
    renderings = Renderings(1, Renderer())

    made: list[Rendered] = await asyncio.gather(*(renderings.of(desk.monitor(), "pnl") for _ in range(20)))

    assert count == 1
    assert len({each.tag for each in made}) == 1


async def test_who_waits_gets_the_next_rendering_though_the_view_moves_on(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "MANY_POSITIONS", 1)  # in a thread
    first_began, first_goes_on = threading.Event(), threading.Event()
    rendered: list[int] = []

    def render(view: View) -> bytes:
        rendered.append(view.seq)
        first_began.set()
        assert len(rendered) > 1 or first_goes_on.wait(10)
        return str(view.seq).encode()

    monkeypatch.setitem(rendering._BODIES, "pnl", render)
    renderings = Renderings(1, Renderer())
    asked: list[tuple[int, asyncio.Task[Rendered]]] = []
    for _ in range(20):
        asked.append((desk.monitor().view.seq, asyncio.create_task(renderings.of(desk.monitor(), "pnl"))))
        assert await asyncio.to_thread(first_began.wait, 10)
        await desk.trade(desk.fill())
    first_goes_on.set()
    answers = [(seq, int((await each).body)) for seq, each in asked]

    assert len(rendered) == 2
    assert all(told >= seq for seq, told in answers)


async def test_one_who_gives_up_takes_the_rendering_from_nobody(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "MANY_POSITIONS", 1)
    renderings = Renderings(1, Renderer())
    gave_up = asyncio.create_task(renderings.of(desk.monitor(), "pnl"))
    others = [asyncio.create_task(renderings.of(desk.monitor(), "pnl")) for _ in range(2)]
    await asyncio.sleep(0)
    gave_up.cancel()

    first, second = await asyncio.wait_for(asyncio.gather(*others), 5)

    assert first == second


@pytest.mark.parametrize(
    ("usual", "unusual"),
    [("/api/account", "/api/account?corrected=false"), ("/api/positions", "/api/positions?account=%6Dain")],
)
async def test_another_way_to_ask_for_the_present_makes_no_more_of_it(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch, usual: str, unusual: str
) -> None:
    monkeypatch.setattr(rendering, "MANY_POSITIONS", 1)
    kind, count = PLAIN[usual], 0
    as_ever = rendering._BODIES[kind]

    def render(view: View) -> bytes:
        nonlocal count
        count += 1
        return as_ever(view)

    monkeypatch.setitem(rendering._BODIES, kind, render)
    answers = await asyncio.gather(*(get(desk.doors.http_url + path) for path in [usual, *[unusual] * 20]))

    assert count == 1
    assert all(but_time(each, kind) == but_time(answers[0], kind) for each in answers)


async def test_an_account_that_is_not_there_is_refused_as_ever(desk: TradingDesk) -> None:
    assert (await get(f"{desk.doors.http_url}/api/pnl?account=nobody", status=404))["type"] == "/docs#unknown-account"
    assert (await get(f"{desk.doors.http_url}/api/pnl?account=", status=404))["type"] == "/docs#unknown-account"
    assert (await get(f"{desk.doors.http_url}/api/pnl?nonsense=1", status=400))["type"] == "/docs#bad-parameter"


async def test_those_who_ask_share_the_bytes_of_a_view_and_differ_in_the_time_alone(desk: TradingDesk) -> None:
    """A client that takes nothing costs no copy of the account."""
    present = rendering.Present(desk.desk, _none, Renderings(1, Renderer()))
    bodies: list[list[bytes]] = []
    for _ in range(2):
        sent: list[Message] = []
        scope = {"type": "http", "method": "GET", "path": "/api/account", "query_string": b"", "headers": []}
        scope[CALLER] = EVERYONE

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        await present(scope, _none, send)
        begun, *pieces = sent
        bodies.append([piece["body"] for piece in pieces])
        assert dict(begun["headers"])[b"content-length"] == str(sum(map(len, bodies[-1]))).encode()
        assert [piece.get("more_body", False) for piece in pieces] == [True, False]

    assert bodies[0][0] is bodies[1][0]
    assert msgspec.json.decode(b"".join(bodies[0]))["account"] == "main"


async def _none(*_: object) -> Any:
    raise AssertionError("nobody else is asked")
