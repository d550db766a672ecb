"""What the exchange client can ask for: everything that it can name only reads, but for the key of its own stream."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

CLIENT = sorted((Path(__file__).parents[2] / "src/account_monitor/feeds/binance").glob("*.py"))

READ = {
    "/api/v3/time",
    "/fapi/v1/accountConfig",
    "/fapi/v1/assetIndex",
    "/fapi/v1/exchangeInfo",
    "/fapi/v1/income",
    "/fapi/v1/leverageBracket",
    "/fapi/v1/order",
    "/fapi/v1/symbolConfig",
    "/fapi/v1/time",
    "/fapi/v1/userTrades",
    "/fapi/v3/account",
    "/fapi/v3/positionRisk",
    "/sapi/v1/account/apiRestrictions",
}
"""Asked with GET, and never otherwise."""

LISTEN_KEY = "/fapi/v1/listenKey"
"""Made and kept alive; never deleted, which would cut the streams of others."""

_endpoint = re.compile(r"/(?:api|[a-z]api)/[A-Za-z0-9/]+").match
_METHODS = {"GET", "POST", "PUT", "DELETE", "PATCH"}


def nodes() -> Iterator[ast.AST]:
    for path in CLIENT:
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def texts() -> Iterator[str]:
    """Yield every text of the code, also the fixed parts of those that are put together."""
    return (node.value for node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str))


def endpoints() -> Iterator[str]:
    """Yield every endpoint that is named, also at the beginning of a text."""
    return (found[0] for found in map(_endpoint, texts()) if found is not None)


def first_arguments(method: str) -> set[str]:
    """Return what a method is called with first, as code."""
    calls = (node for node in nodes() if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute))
    return {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func).endswith(f".{method}") and call.args}


def test_there_is_a_client_to_look_at() -> None:
    assert {"requests.py", "rest.py", "transport.py", "stream.py"} <= {path.name for path in CLIENT}


def test_the_client_names_these_endpoints_and_no_other() -> None:
    assert set(endpoints()) == READ | {LISTEN_KEY}


def test_nothing_but_a_listen_key_is_made_or_changed() -> None:
    assert first_arguments("_rest.post") == {repr(LISTEN_KEY)}
    assert first_arguments("_rest.put") == {repr(LISTEN_KEY)}
    assert first_arguments("delete") == set()


def test_requests_are_sent_in_one_place_with_methods_that_are_written_there() -> None:
    assert {text for text in texts() if text in _METHODS} == {"GET", "POST", "PUT"}
    assert first_arguments("_send") == {"'GET'", "'POST'", "'PUT'"}
    assert first_arguments("request") == {"method"}, "a transport is handed the method, and knows none"


def test_no_parameter_of_an_order_is_ever_sent() -> None:
    sent = {keyword.arg for node in nodes() if isinstance(node, ast.Call) for keyword in node.keywords}

    assert not {"timeInForce", "stopPrice", "newClientOrderId", "reduceOnly", "closePosition", "network"} & sent
