"""Every door and every scope: that it stays shut for whom it ought to, on real ports.

The addresses come from the application itself: one that is not in the table fails a test until somebody has said who
may ask there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import aiohttp
import pytest

from account_monitor.api.access import MAX_FAILURES, TokenAccess
from account_monitor.api.renderer import Renderer
from account_monitor.api.rest import rest_application
from account_monitor.ledger.alerts import Alert, Silence
from account_monitor.ledger.events import Adjustment, Deed, DrawdownReset, Event
from account_monitor.ledger.reconciliation import Quarantine
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.health import Status
from account_monitor.tokens import Token, TokenSet, new_token
from tests.integration.trading_desk import TradingDesk, clock, eventually, trading_desk

pytestmark = pytest.mark.integration

Needs = Literal["nothing", "read", "operate"]
Shows = Literal["nothing", "an account", "accounts"]

Json = dict[str, Any]


class Door(NamedTuple):
    """Who may ask at an address, and what of accounts it shows."""

    needs: Needs
    shows: Shows
    body: Json | None = None


_BY = {"reason": "a test", "by": "mallory"}

DOORS: dict[tuple[str, str], Door] = {
    ("GET", "/"): Door("nothing", "nothing"),
    ("GET", "/docs"): Door("nothing", "nothing"),
    ("GET", "/openapi.json"): Door("nothing", "nothing"),
    ("GET", "/health"): Door("nothing", "nothing"),
    ("GET", "/live"): Door("nothing", "nothing"),
    ("GET", "/ready"): Door("nothing", "nothing"),
    ("GET", "/api/accounts"): Door("read", "accounts"),
    ("GET", "/api/account"): Door("read", "an account"),
    ("GET", "/api/positions"): Door("read", "an account"),
    ("GET", "/api/pnl"): Door("read", "an account"),
    ("GET", "/api/pnl/history"): Door("read", "an account"),
    ("GET", "/api/balance"): Door("read", "an account"),
    ("GET", "/api/fills"): Door("read", "an account"),
    ("GET", "/api/explain"): Door("read", "an account"),
    ("GET", "/api/whatif"): Door("read", "an account"),
    ("GET", "/api/cluster"): Door("read", "accounts"),
    ("GET", "/api/exchange"): Door("read", "accounts"),
    ("GET", "/api/reconciliation"): Door("read", "an account"),
    ("GET", "/api/alerts"): Door("read", "an account"),
    ("GET", "/api/alerts/silences"): Door("read", "an account"),
    ("POST", "/api/alerts/{alert_id}/ack"): Door("operate", "an account", {"by": "mallory"}),
    ("POST", "/api/alerts/silence"): Door("operate", "an account", {"duration": "1m", **_BY}),
    ("POST", "/api/reconcile"): Door("operate", "an account"),
    ("POST", "/api/corrections"): Door("operate", "an account", {"wallets": {"USDT": "1"}, **_BY}),
    ("POST", "/api/quarantine/release"): Door("operate", "an account", {"kind": "wallet", "name": "USDT", **_BY}),
    ("POST", "/api/drawdown/reset"): Door("operate", "an account", _BY),
}
"""By method and path of the application."""

SOCKETS = ("/ws",)

QUERIES = {"/api/whatif": "shock=-10%25"}

SHUT = {key: door for key, door in DOORS.items() if door.needs != "nothing"}
ORDERS = [path for method, path in DOORS if method == "POST"]


class Desked(NamedTuple):
    """A desk of two accounts whose doors ask for tokens, and texts of tokens by what they are."""

    desk: TradingDesk
    access: TokenAccess
    tokens: dict[str, Token]
    texts: dict[str, str]

    def without(self, name: str) -> None:
        """Take a token out of the file."""
        self.access.take(TokenSet(token for token in self.tokens.values() if token.name != name))

    async def ask(
        self, method: str, path: str, token: str | None = None, *, query: str = "", alert_id: str = "a", **headers: str
    ) -> tuple[int, Any, Any]:
        """Return status, headers and body of what an address answers, by default of account main."""
        door = DOORS.get((method, path))
        body = None if door is None or door.body is None else json.dumps(door.body).encode()
        given = {"Content-Type": "application/json"} if body is not None else {}
        given |= {} if token is None else {"Authorization": f"Bearer {self.texts.get(token, token)}"}
        asked = "&".join(part for part in (QUERIES.get(path, ""), query) if part)
        url = f"{self.desk.doors.http_url}{path.format(alert_id=alert_id)}?{asked}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=body, headers=given | headers, allow_redirects=False) as response,
        ):
            answered = await response.read()
            is_json = "json" in response.content_type
            return response.status, response.headers, json.loads(answered) if is_json else answered


@pytest.fixture
async def desked(tmp_path: Path) -> AsyncIterator[Desked]:
    async with two_accounts(tmp_path) as made:
        yield made


@asynccontextmanager
async def two_accounts(data_dir: Path, **doors: Any) -> AsyncIterator[Desked]:
    now_ms = clock()
    made = {
        name: new_token(name, right, accounts, now_ms=now_ms, by="ann", lifetime_ms=lifetime)  # type: ignore[arg-type]
        for name, right, accounts, lifetime in (
            ("reader", "read", None, None),
            ("operator", "operate", None, None),
            ("alt-reader", "read", ["alt"], None),
            ("alt-operator", "operate", ["alt"], None),
            ("expired", "operate", None, 0),
            ("revoked", "operate", None, None),
        )
    }
    tokens = {name: token for name, (token, _) in made.items()}
    tokens["revoked"] = tokens["revoked"]._replace(revoked_ms=now_ms)
    access = TokenAccess(TokenSet(tokens.values()), clock=clock, rate_per_second=doors.pop("rate", None))
    async with trading_desk(data_dir, access=access, **doors) as desk:
        await desk.open("main")
        await desk.open("alt")
        yield Desked(desk, access, tokens, {name: text for name, (_, text) in made.items()})


def routes_of(application: Any) -> Iterator[tuple[str, str]]:
    for route in application.framework.routes:
        for method in route.methods - {"OPTIONS", "HEAD"}:
            yield method, route.path_format


def test_the_table_knows_every_route() -> None:
    routes = set(routes_of(rest_application(Desk(clock, "1"), Renderer())))

    assert routes == set(DOORS), "say in the table who may ask there"


async def test_the_table_knows_every_socket(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk:
        assert tuple(desk.doors._front._sockets) == SOCKETS


# Who is kept out, everywhere


async def test_no_wrong_expired_or_revoked_token_opens_a_door(desked: Desked) -> None:
    right = desked.texts["operator"]
    unknown = f"am_0123456789ab_{'a' * 43}"
    opened: list[tuple[Any, ...]] = []
    for method, path in SHUT:
        for token in (None, "", right[:-1], right + "a", unknown, "expired", "revoked"):
            status, headers, body = await desked.ask(method, path, token)
            told = (status, body["type"], headers.get("WWW-Authenticate", "")[:6])
            flood = (429, "/docs#too-many-requests")  # after so many wrong ones
            if told != (401, "/docs#unauthenticated", "Bearer") and told[:2] != flood:
                opened.append((method, path, token, told))
        for scheme in ("Basic", "Token", "bearerx"):
            status, _, _ = await desked.ask(method, path, Authorization=f"{scheme} {right}")
            if status != 401:
                opened.append((method, path, scheme, status))

    assert opened == []


async def test_a_token_of_another_account_opens_no_door_to_this_one(desked: Desked) -> None:
    opened = []
    for method, path in SHUT:
        for token in ("alt-reader", "alt-operator"):
            for query in ("account=main", "account=alt&account=main", "account=m%61in", "account=nobody"):
                status, _, body = await desked.ask(method, path, token, query=query)
                if (status, body["type"]) != (403, "/docs#forbidden"):
                    opened.append((method, path, token, query, status))

    assert opened == []


async def test_a_token_that_may_read_orders_nothing(desked: Desked) -> None:
    before = desked.desk.monitor().view.seq
    for path in ORDERS:
        status, _, body = await desked.ask("POST", path, "reader", query="account=main")

        assert (status, body["type"]) == (403, "/docs#forbidden"), path
        assert "--scope operate" in body["detail"]
    assert desked.desk.monitor().view.seq == before


async def test_a_page_of_another_origin_orders_nothing_even_with_a_token(desked: Desked) -> None:
    for path in ORDERS:
        origin = "https://evil.example"
        status, _, body = await desked.ask("POST", path, "operator", query="account=main", Origin=origin)

        assert (status, body["type"]) == (403, "/docs#foreign-origin"), path


async def test_a_token_in_the_url_is_refused_with_the_right_way(desked: Desked) -> None:
    for method, path in DOORS:
        for name in ("token", "access_token", "TOKEN"):
            status, _, body = await desked.ask(method, path, query=f"{name}={desked.texts['operator']}")

            assert (status, body["type"]) == (400, "/docs#bad-parameter"), path
            assert "Authorization: Bearer" in body["detail"]
            assert desked.texts["operator"] not in json.dumps(body)


async def test_a_token_before_the_host_is_repeated_nowhere(desked: Desked) -> None:
    """As to a proxy: the whole address in the first line, and in it a name and a password."""
    token = desked.texts["operator"]
    known = {"Authorization": f"Bearer {token}"}
    for path, more, expected in (
        ("/api/account", {}, b" 401 "),
        ("/api/nothing", known, b" 404 "),
        ("/api/accounts", known, b" 200 "),
    ):
        answer = await _answered(desked, f"http://x:{token}@127.0.0.1{path}", more)

        assert expected in answer.partition(b"\r\n")[0]
        assert token.encode() not in answer
    assert b" 400 " in (await _answered(desked, f"x:{token}@127.0.0.1:443", {})).partition(b"\r\n")[0]


async def _answered(desked: Desked, target: str, headers: dict[str, str]) -> bytes:
    """Ask for exactly this target, and return all that comes."""
    reader, writer = await asyncio.open_connection(*_address(desked.desk.doors.http_url))
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_no_method_goes_round_the_door(desked: Desked) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "POST", "TRACE", "X"):
        for path in ("/api/account", "/api/nothing", "//api/account", "/api/account/", "/API/account"):
            assert (await desked.ask(method, path))[0] == 401
            assert (await desked.ask(method, path, "reader"))[0] == 403


async def test_what_is_not_there_is_not_told_without_a_token(desked: Desked) -> None:
    for path in ("/api/nothing", "/ws", "/static/../api/account", "/docs/../api/account", "/docs/x", "/health/x"):
        assert (await desked.ask("GET", path))[0] == 401


async def test_two_authorizations_are_refused(desked: Desked) -> None:
    url = f"{desked.desk.doors.http_url}/api/account?account=main"
    both = [("Authorization", f"Bearer {desked.texts[name]}") for name in ("reader", "operator")]
    async with aiohttp.ClientSession(headers=both) as session, session.get(url) as response:
        assert response.status == 400


# Who is let in


async def test_the_right_token_opens_the_door(desked: Desked) -> None:
    await desked.desk.remember()
    shut = []
    for (method, path), door in SHUT.items():
        name = "reader" if door.needs == "read" else "operator"
        for token, account in ((name, "main"), (f"alt-{name}", "alt")):
            query = "" if path in ("/api/accounts", "/api/cluster") else f"account={account}"
            status, _, body = await desked.ask(method, path, token, query=query)
            # There is no such alert, no quarantine and no exchange: that is a matter of the account, not of the door.
            if status not in (200, 201, 404, 409):
                shut.append((method, path, token, status, body))

    assert shut == []


async def test_a_token_for_one_account_need_not_name_it(desked: Desked) -> None:
    await desked.desk.remember("alt")
    for method, path in SHUT:
        status, _, body = await desked.ask(method, path, "alt-operator")

        assert status in (200, 201, 404, 409), (path, body)
        assert '"main"' not in json.dumps(body), path


async def test_a_token_for_an_account_that_is_gone_does_not_mean_the_only_one_that_is_left(tmp_path: Path) -> None:
    token, text = new_token("old", "operate", ["gone"], now_ms=clock(), by="ann")
    access = TokenAccess(TokenSet([token]), clock=clock)
    async with trading_desk(tmp_path, access=access) as desk:
        made = Desked(desk, access, {"old": token}, {"old": text})
        await desk.open("main")
        for method, path in SHUT:
            status, _, body = await made.ask(method, path, "old")

            assert (status, '"main"' in json.dumps(body)) in ((404, False), (200, False)), (path, body)
            if status == 200:
                assert SHUT[method, path].shows == "accounts", path
        assert desk.monitor().view.seq == 1


async def test_lists_hold_the_accounts_of_the_token(desked: Desked) -> None:
    for token, wanted in (("reader", ["main", "alt"]), ("alt-reader", ["alt"])):
        _, _, body = await desked.ask("GET", "/api/accounts", token)
        assert [each["account"] for each in body] == wanted
    _, _, body = await desked.ask("GET", "/api/account", "reader")
    assert body["type"] == "/docs#bad-parameter"  # there are two of them


async def test_pages_without_anything_of_an_account_are_for_all(desked: Desked) -> None:
    for method, path in DOORS.keys() - SHUT.keys():
        assert (await desked.ask(method, path))[0] in (200, 302, 503), path


async def test_health_tells_everyone_states_and_names_and_texts_to_those_who_may_know(desked: Desked) -> None:
    health = desked.desk.desk.health
    health.report("alarms:main", Status.DEGRADED, "LOW_BALANCE: 17 USDT")
    health.report("alarms:alt", Status.HEALTHY, "none")
    health.report("nats", Status.HEALTHY, "connected to 10.0.0.9")

    async def checks(token: str | None) -> dict[str, tuple[str, str]]:
        status, _, body = await desked.ask("GET", "/health", token)
        assert status == 200
        return {name: (check["status"], check["message"]) for name, check in body["checks"].items()}

    for token in (None, "wrong", "expired"):
        assert await checks(token) == {"alarms": ("degraded", ""), "nats": ("healthy", "")}
    assert await checks("alt-reader") == {
        "alarms": ("degraded", ""), "alarms:alt": ("healthy", "none"), "nats": ("healthy", ""),
    }  # fmt: skip
    assert await checks("reader") == {
        "alarms:main": ("degraded", "LOW_BALANCE: 17 USDT"),
        "alarms:alt": ("healthy", "none"),
        "nats": ("healthy", "connected to 10.0.0.9"),
    }


async def test_readiness_says_what_is_missing_and_names_accounts_to_those_who_may_know(desked: Desked) -> None:
    desked.desk.desk.wait_for("start", None)
    desked.desk.desk.wait_for("journal:main", "account main: disk full at 17 USDT")

    reasons = [(await desked.ask("GET", "/ready", token))[2]["reason"] for token in (None, "alt-reader", "reader")]

    assert reasons[0] == reasons[1] == "waits for journal; with a token, it is said why"
    assert reasons[2] == "account main: disk full at 17 USDT"


async def test_an_account_that_is_not_open_is_refused_without_the_name_of_another(desked: Desked) -> None:
    desk = desked.desk.desk
    desk.wait_for("start", None)
    desk.wait_for("journal:main", "account main: disk full at 17 USDT")
    alt = desked.desk.monitor("alt")
    desk.remove("alt")

    status, _, body = await desked.ask("GET", "/api/account", "alt-reader")
    desk.add(alt)  # to be closed with the others

    assert status == 503
    assert body["detail"] == "account alt is not open yet: waits for journal"


async def test_tokens_that_come_and_go_take_effect_at_once(desked: Desked) -> None:
    assert (await desked.ask("GET", "/api/accounts", "reader"))[0] == 200
    desked.without("reader")
    assert (await desked.ask("GET", "/api/accounts", "reader"))[0] == 401


# Who did it


async def test_what_was_ordered_is_journaled_under_the_name_of_the_token(desked: Desked) -> None:
    monitor = desked.desk.monitor()
    board = AlarmBoard(clock)
    board.attach(monitor)
    board.fire("main", "STREAM_STALE", "silent")
    await desked.desk.trade(desked.desk.fill())
    (alert,) = monitor.alerts
    await monitor.record(Quarantine("wallet", "USDT", 1, is_over=False, reason="a test"), source="monitor")

    async def compared() -> Any:
        raise AssertionError("no exchange")

    monitor.reconcile = compared
    for path in ORDERS:
        status, _, body = await desked.ask("POST", path, "operator", query="account=main", alert_id=alert.id)
        assert (status, body.get("by")) == ((201, "operator") if path != "/api/reconcile" else (500, None)), body
    events: list[Event] = [entry.event for entry in monitor.journal.entries()]

    assert [event.acked_by for event in events if isinstance(event, Alert)] == [None, "operator"]
    kinds = (Silence, Adjustment, Quarantine, DrawdownReset, Deed)
    by = {type(event): event.by for event in events if isinstance(event, kinds)}
    assert by == dict.fromkeys(kinds, "operator")
    (deed,) = [event for event in events if isinstance(event, Deed)]
    assert (deed.kind, deed.by) == ("reconcile", "operator")
    status, _, explained = await desked.ask("GET", "/api/explain", "reader", query="account=main")
    assert (status, explained["residual"]) == (200, "0")  # what moves nothing explains nothing


async def test_without_tokens_an_order_says_who_gives_it(tmp_path: Path) -> None:
    async with trading_desk(tmp_path) as desk:
        await desk.open()
        url = f"{desk.doors.http_url}/api/drawdown/reset"
        async with aiohttp.ClientSession() as session:
            for order, status, wanted in (
                ({"reason": "a test", "by": "ann"}, 201, "ann"),
                ({"reason": "a test"}, 422, "by: is missing, expected who gives the order"),
            ):
                async with session.post(url, json=order) as response:
                    body = await response.json(content_type=None)
                    assert (response.status, body.get("by", body.get("detail"))) == (status, wanted)


# Sockets


@asynccontextmanager
async def connected(
    desked: Desked, token: str | None = None, *, protocols: tuple[str, ...] = (), query: str = "", **headers: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    given = headers | ({} if token is None else {"Authorization": f"Bearer {desked.texts.get(token, token)}"})
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{desked.desk.doors.http_url}/ws?{query}", headers=given, protocols=protocols, max_msg_size=0
        ) as socket,
    ):
        yield socket


async def refused_status(desked: Desked, token: str | None = None, **more: Any) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connected(desked, token, **more):
            pass
    return refused.value.status


def bearer(desked: Desked, token: str) -> tuple[str, str]:
    return "account-monitor", f"bearer.{desked.texts.get(token, token)}"


async def told(socket: aiohttp.ClientWebSocketResponse, seconds: float = 0.4) -> list[Json]:
    messages: list[Json] = []
    while True:
        try:
            async with asyncio.timeout(seconds):
                messages.append(json.loads(await socket.receive_str()))
        except TimeoutError:
            return messages


@pytest.mark.parametrize("token", [None, "wrong", "expired", "revoked"])
async def test_a_socket_stays_shut(desked: Desked, token: str | None) -> None:
    assert await refused_status(desked, token) == 401
    if token is not None:
        assert await refused_status(desked, protocols=bearer(desked, token)) == 401


async def test_a_socket_stays_shut_for_other_accounts_and_origins(desked: Desked) -> None:
    assert await refused_status(desked, "alt-reader", query="account=main") == 403
    assert await refused_status(desked, protocols=bearer(desked, "alt-reader"), query="account=main") == 403
    assert await refused_status(desked, "reader", Origin="https://evil.example") == 403
    assert await refused_status(desked, "reader", query=f"token={desked.texts['reader']}") == 400
    assert await refused_status(desked, protocols=bearer(desked, "reader")[1:]) == 400


async def test_a_page_shows_its_token_as_a_subprotocol_that_is_not_repeated(desked: Desked) -> None:
    async with connected(desked, protocols=bearer(desked, "reader")) as socket:
        assert socket.protocol == "account-monitor"
        assert (await told(socket))[0]["type"] == "snapshot"


async def test_a_socket_tells_of_the_accounts_of_its_token_alone(desked: Desked) -> None:
    desked.desk.desk.health.report("alarms:main", Status.DEGRADED, "LOW_BALANCE: 17 USDT")
    for token, wanted in (("alt-reader", {"alt"}), ("reader", {"main", "alt"})):
        async with connected(desked, token, query="interval_ms=50") as socket:
            for account in ("main", "alt"):
                await desked.desk.trade(desked.desk.fill(), account=account)
            messages = await told(socket)
            assert {each["account"] for each in messages} - {None} == wanted
            assert {"snapshot", "fill", "health"} <= {each["type"] for each in messages}
            assert ("17 USDT" in json.dumps(messages)) is (token == "reader")


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(2):
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    assert message.type is aiohttp.WSMsgType.CLOSE
    return socket.close_code


async def test_a_socket_is_closed_when_its_token_is_revoked_and_no_other_is(desked: Desked) -> None:
    async with connected(desked, "reader") as socket, connected(desked, "operator") as other:
        await told(socket)
        await told(other)

        desked.without("reader")

        assert await closed(socket) == 4401
        assert await told(other, 0.2) == []
        assert not other.closed
    await eventually(lambda: len(desked.desk.doors.publisher) == 0)
    assert desked.access._ends == {}


async def test_a_socket_of_a_client_that_answers_nothing_is_cut_when_its_token_is_revoked(desked: Desked) -> None:
    reader, writer = await asyncio.open_connection(*_address(desked.desk.doors.http_url), limit=1024)
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'a' * 22}==\r\n"
        f"Authorization: Bearer {desked.texts['reader']}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await eventually(lambda: len(desked.desk.doors.publisher) == 1)

    desked.without("reader")

    async with asyncio.timeout(2):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass  # cut, rather than closed
    writer.close()


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


# The port of the metrics


async def test_metrics_are_for_all_who_reach_them_and_health_there_tells_nothing_of_accounts(desked: Desked) -> None:
    desked.desk.desk.health.report("alarms:main", Status.DEGRADED, "LOW_BALANCE: 17 USDT")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{desked.desk.doors.metrics_url}/metrics") as response:
            assert response.status == 200
        async with session.get(f"{desked.desk.doors.metrics_url}/health") as response:
            assert (await response.json())["checks"]["alarms"]["message"] == ""


@pytest.mark.parametrize("page", ["/metrics", "/", "/docs"])
async def test_metrics_ask_for_a_token_of_all_accounts_where_they_are_told_to(tmp_path: Path, page: str) -> None:
    async with two_accounts(tmp_path, metrics_need_token=True, metrics_path=page) as desked:
        statuses = {}
        for token in (None, "wrong", "expired", "alt-reader", "reader"):
            headers = {} if token is None else {"Authorization": f"Bearer {desked.texts.get(token, token)}"}
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{desked.desk.doors.metrics_url}{page}") as response,
            ):
                statuses[token] = response.status
            async with aiohttp.ClientSession() as session, session.get(f"{desked.desk.doors.metrics_url}/health") as up:
                assert up.status == 200

    assert statuses == {None: 401, "wrong": 401, "expired": 401, "alt-reader": 403, "reader": 200}


# Floods


async def test_a_flood_of_wrong_tokens_is_told_to_wait_and_right_ones_still_come_in(desked: Desked) -> None:
    statuses = [(await desked.ask("GET", "/api/accounts", f"wrong{n}"))[0] for n in range(MAX_FAILURES + 5)]
    status, headers, body = await desked.ask("GET", "/api/accounts", "wrong")

    assert statuses == [401] * MAX_FAILURES + [429] * 5
    assert (status, body["type"]) == (429, "/docs#too-many-requests")
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert (await desked.ask("GET", "/api/accounts", "reader"))[0] == 200
    assert (await desked.ask("GET", "/health", "wrong"))[0] == 200
    assert desked.access.refused["flood"] == 7


async def test_a_token_that_asks_too_often_is_told_to_wait(tmp_path: Path) -> None:
    async with two_accounts(tmp_path, rate=5.0) as desked:
        answers = [await desked.ask("GET", "/api/accounts", "reader") for _ in range(7)]

        assert [status for status, _, _ in answers][:5] == [200] * 5
        assert answers[-1][0] == 429
        assert answers[-1][1]["Retry-After"] == "1"
        assert (await desked.ask("GET", "/api/accounts", "operator"))[0] == 200


# The description


async def test_refusals_at_the_door_are_as_described(tmp_path: Path) -> None:
    async with two_accounts(tmp_path, rate=1.0) as desked:
        description = (await desked.ask("GET", "/openapi.json"))[2]
        for (method, path), door in SHUT.items():
            described = description["paths"][path][method.lower()]["responses"]
            assert {"401", "403", "429"} <= set(described), path
            assert door.needs in ("read", "operate")
        assert description["security"] == [{"token": []}, {}]
