"""The description: what it says is there, and what is there it says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from account_monitor.api.rendering import PLAIN
from account_monitor.ledger.alerts import Alert
from account_monitor.ledger.events import Adjustment
from account_monitor.ledger.reconciliation import Quarantine
from account_monitor.monitor.health import Status
from account_monitor.monitor.views import Comparison
from tests.integration.trading_desk import OtherHolders, TradingDesk, get, trading_desk

pytestmark = pytest.mark.integration

Json = dict[str, Any]


@pytest.fixture
async def description(desk: TradingDesk) -> Json:
    found: Json = await get(desk.doors.http_url + "/openapi.json")
    return found


def references(node: Any) -> set[str]:
    """Return every `$ref` in a document."""
    if isinstance(node, dict):
        found = {node["$ref"]} if "$ref" in node else set()
        return found.union(*(references(each) for each in node.values()))
    return set().union(*(references(each) for each in node)) if isinstance(node, list) else set()


class Checker:
    """Says whether a value is as a schema describes it; of JSON Schema, what the description uses."""

    def __init__(self, description: Json) -> None:
        self._schemas: Json = description["components"]["schemas"]

    def fits(self, value: Any, schema: Json) -> bool:
        """Whether a value is as described; a property that is not described does not fit."""
        if "$ref" in schema:
            return self.fits(value, self._schemas[schema["$ref"].rpartition("/")[2]])
        if "oneOf" in schema:
            return sum(self.fits(value, variant) for variant in schema["oneOf"]) == 1
        match schema["type"]:
            case "object":
                return isinstance(value, dict) and self._fits_object(value, schema)
            case "array":
                return isinstance(value, list) and all(self.fits(each, schema["items"]) for each in value)
            case "integer":
                return isinstance(value, int) and not isinstance(value, bool)
            case "boolean":
                return isinstance(value, bool)
            case "null":
                return value is None
            case "string":
                return isinstance(value, str) and self._fits_text(value, schema)
            case other:
                raise AssertionError(f"unknown type {other}")

    def _fits_object(self, value: Json, schema: Json) -> bool:
        if "additionalProperties" in schema:
            return all(self.fits(each, schema["additionalProperties"]) for each in value.values())
        properties = schema["properties"]
        return (
            set(schema["required"]) <= set(value) <= set(properties)
            and all(self.fits(value[name], properties[name]) for name in value)
        )  # fmt: skip

    def _fits_text(self, value: str, schema: Json) -> bool:
        forms = {
            "decimal": r"-?\d+(\.\d+)?",
            "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
        }
        form = forms.get(schema.get("format", ""), ".*")
        return re.fullmatch(form, value, re.DOTALL) is not None and value in schema.get("enum", (value,))


AT_THE_DOOR = ("401", "403", "429")

ORDERS: dict[str, bytes | None] = {
    "/api/reconcile": None,
    "/api/corrections": b'{"reason":"a test","by":"ann","wallets":{"USDT":"1"}}',
    "/api/drawdown/reset": b'{"reason":"new strategy","by":"ann"}',
    "/api/quarantine/release": b'{"kind":"wallet","name":"USDT","reason":"seen","by":"ann"}',
    "/api/alerts/{alert_id}/ack": b'{"by":"ann"}',
    "/api/alerts/silence": b'{"duration":"1h","reason":"maintenance","by":"ann"}',
}
"""By address of a POST, a body that it takes."""


QUERIES = {"/api/whatif": "shock=-10%25"}
"""By address, what it cannot be asked without."""


def operations(description: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield path, method and description of each."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def asked(path: str, *more: str) -> str:
    """Return a query with which an address answers, and more in it."""
    parts = [QUERIES[path], *more] if path in QUERIES else more
    return f"?{'&'.join(parts)}" if parts else ""


async def ask(
    desk: TradingDesk, path: str, *, method: str = "get", body: bytes | None = None, **headers: str
) -> tuple[int, str, Any]:
    """Return status, media type and body."""
    headers = ({} if body is None else {"Content-Type": "application/json"}) | headers
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, desk.doors.http_url + path, data=body) as response,
    ):
        return response.status, response.content_type, await response.json(content_type=None)


def test_it_is_openapi_3_1(description: Json) -> None:
    assert description["openapi"].startswith("3.1.")
    assert description["info"]["title"] == "account-monitor"
    assert description["info"]["version"] == "9.9.9"
    assert set(description["paths"]) == {
        "/health", "/live", "/ready",
        "/api/accounts", "/api/account", "/api/positions", "/api/pnl", "/api/pnl/history", "/api/balance", "/api/fills",
        "/api/explain", "/api/reconciliation", *ORDERS,
        "/api/alerts", "/api/alerts/silences", "/api/cluster", "/api/exchange", "/api/whatif",
    }  # fmt: skip


def test_every_reference_leads_somewhere_and_every_schema_is_used(description: Json) -> None:
    schemas = {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}

    assert references(description) == schemas


def test_everything_is_explained(description: Json) -> None:
    for _, _, operation in operations(description):
        assert operation["operationId"]
        assert operation["summary"]
        assert operation["description"]
        for parameter in operation.get("parameters", ()):
            assert parameter["description"]
            assert parameter["schema"]["type"] in ("string", "integer", "boolean")
            assert None not in parameter["schema"].get("enum", ())
    for name, schema in description["components"]["schemas"].items():
        assert schema["description"], name
        for field, property_schema in schema["properties"].items():
            assert property_schema["description"], f"{name}.{field}"


def test_operation_ids_are_unique(description: Json) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(description)]

    assert len(set(ids)) == len(ids)


async def test_every_documented_response_is_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address is brought to answer with each status that the description names, in the form it names."""
    async with trading_desk(tmp_path) as desk:
        description = await get(desk.doors.http_url + "/openapi.json")
        seen: dict[str, set[str]] = {path: set() for path in description["paths"]}
        method_of = {path: method for path, method, _ in operations(description)}
        checker = Checker(description)

        async def knock(path: str, query: str = "", given: bytes | None = None, **headers: str) -> None:
            body = given if given is not None else ORDERS.get(path)
            url = path.format(alert_id="a") + query
            status, media_type, answer = await ask(desk, url, method=method_of[path], body=body, **headers)
            documented = description["paths"][path][method_of[path]]["responses"][str(status)]["content"]
            assert checker.fits(answer, documented[media_type]["schema"]), (path, query, status, answer)
            seen[path].add(str(status))

        async def knock_everywhere(**headers: str) -> None:
            for path in seen:
                await knock(path, asked(path), None, **headers)

        desk.desk.configure(["main"])
        desk.desk.health.report("journal:main", Status.UNHEALTHY, "disk full")
        await knock_everywhere()  # 503 where an account is asked for, and of health
        await desk.open("main")
        await desk.trade(desk.fill(), desk.fill("SELL", "0.4", at="120"), desk.fill(symbol="X-Y", fee=None))
        await knock("/api/pnl/history")  # 503
        await desk.remember()
        desk.desk.health.report("journal:main", Status.DEGRADED, "slow disk")
        desk.desk.wait_for("start", None)
        await knock_everywhere()  # 200
        await knock_everywhere(Host="evil.example")  # 421
        await knock_everywhere(**{"Content-Length": "1000000"})  # 413
        for path in PLAIN:
            async with aiohttp.ClientSession() as session, session.get(desk.doors.http_url + path) as response:
                tag = response.headers["ETag"]
            status, _, _ = await ask(desk, path, body=None, **{"If-None-Match": f'"x", {tag}'})
            seen[path].add(str(status))  # 304
        for path in (path for path in seen if not path.startswith("/api/")):
            await knock(path, "?token=x")  # 400
        for path in (path for path in seen if path.startswith("/api/")):
            await knock(path, "?nonsense=1")  # 400
            if path != "/api/accounts":
                await knock(path, asked(path, "account=nobody"))  # 404

        for path in ORDERS:
            await knock(path, Origin="https://evil.example")  # 403
            await knock(path, "", b"{}", **{"Content-Type": "text/plain"})  # 415
        for path in (path for path, body in ORDERS.items() if body is not None):
            await knock(path, given=b'{"reason":1}')  # 422
        monitor = desk.monitor()
        await monitor.record(Quarantine("wallet", "USDT", 1, is_over=False, reason="a test"), source="monitor")
        await knock("/api/quarantine/release")  # 201
        acked = Alert("a", "STREAM_STALE", None, "WARNING", "FIRING", "silent", 1, 1, acked_by="ann", acked_ms=1)
        monitor.acknowledge = lambda alert_id, by: acked
        await knock("/api/alerts/{alert_id}/ack")  # 201
        await knock("/api/alerts/{alert_id}/ack")  # 409
        await monitor.record(
            Quarantine("wallet", "USDT", desk.desk.clock(), is_over=False, reason="x"), source="monitor"
        )
        await monitor.record(acked._replace(acked_by=None, acked_ms=None, revision=7), source="monitor")
        monitor.acknowledge = lambda alert_id, by: acked._replace(revision=8)
        monitor.reconcile = _compared
        desk.desk.cluster = OtherHolders(is_copied=False)
        for path in ORDERS:
            await knock(path)  # 202
        desk.desk.cluster = None
        await monitor.record(Adjustment("a", 1, "OPERATOR", (("NOTHING", Decimal(1)),)), source="monitor")
        await knock("/api/drawdown/reset")  # 409
        await knock("/api/reconcile")  # 200
        monkeypatch.setattr("account_monitor.api.reconciliation.ANSWER_SECONDS", 0.0)
        await knock("/api/reconcile")  # 503

        missing = {path: set(op["responses"]) - seen[path] for path, _, op in operations(description)}
        # Not to be had from outside: a defect, and of what asks no journal the second before everything is imported.
        # Only where there are tokens, as in test_rest_access: refusals at the door.
        early = ("/api/accounts", "/api/cluster", "/api/exchange")
        assert all(left <= {"500", *AT_THE_DOOR} for path, left in missing.items() if path not in early), missing
        assert missing["/api/accounts"] <= {"500", "503", *AT_THE_DOOR}


async def _compared() -> Comparison:
    await asyncio.sleep(0.01)
    return Comparison(1, 1, 5.0)


async def test_the_page_needs_nothing_from_elsewhere(desk: TradingDesk) -> None:
    async with aiohttp.ClientSession() as session, session.get(desk.doors.http_url + "/docs") as response:
        html = await response.text()
        policy = response.headers["Content-Security-Policy"]
        assert response.content_type == "text/html"

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in re.sub(r"^\s*//.*$", "", html, flags=re.MULTILINE)  # no address but our own
    assert "innerHTML" not in html
    assert not re.search(r"\son\w+=|style=", html)  # the policy would refuse them


@pytest.mark.parametrize("path", ["/schema", "/openapi", "/openapi/redoc", "/schema/swagger", "/docs/"])
async def test_the_pages_of_the_framework_are_not_there(desk: TradingDesk, path: str) -> None:
    """They load scripts from other hosts."""
    async with aiohttp.ClientSession() as session, session.get(desk.doors.http_url + path) as response:
        assert response.status == 404 or (path == "/docs/" and "Content-Security-Policy" in response.headers)


async def test_the_policy_names_the_page_as_it_is(desk: TradingDesk) -> None:
    import base64
    import hashlib

    async with aiohttp.ClientSession() as session, session.get(desk.doors.http_url + "/docs") as response:
        html, policy = await response.text(), response.headers["Content-Security-Policy"]

    for element in ("script", "style"):
        text = html.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy


async def test_the_root_is_the_dashboard(desk: TradingDesk) -> None:
    async with aiohttp.ClientSession() as session, session.get(desk.doors.http_url + "/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert "account-monitor" in await response.text()


async def test_without_the_dashboard_the_root_leads_to_the_reference(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, shows_page=False) as desk:
        url = desk.doors.http_url + "/"
        async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "/docs")


async def test_every_kind_of_problem_is_in_the_description(desk: TradingDesk, description: Json) -> None:
    from account_monitor.api.problems import KINDS

    assert [kind["name"] for kind in description["x-problems"]] == [kind.name for kind in KINDS]
