"""Admin: what the operator can see and do, and how mistakes are answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchange_simulator.admin import Admin
from tests.exchange_rig import KEY, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def do(rig: Rig, method: str, name: str, body: Any = None, query: str = "") -> tuple[int, Any]:
    def shift(milliseconds: int) -> None:
        rig.now_ms += milliseconds

    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = Admin(rig.exchange, shift).handle(method, f"/admin/{name}", query, raw)
    return reply.status, json.loads(reply.body)


def test_the_books_are_those_of_the_venue(rig: Rig) -> None:
    rig.trade()

    status, books = do(rig, "GET", "books", query=f"api_key={KEY}")

    assert (status, books) == (200, rig.venue.books(rig.account))
    assert books["positions"] == {"BTCUSDT": "0.01"}


def test_faults_are_set_read_and_cleared(rig: Rig) -> None:
    set_to = do(rig, "POST", "faults", {"drop": {"rate": 0.5}, "slow": {"ms": 10, "count": 2}})
    read = do(rig, "GET", "faults")
    less = do(rig, "DELETE", "faults", query="name=drop")
    none = do(rig, "DELETE", "faults")

    assert set_to == read
    assert set(read[1]) == {"drop", "slow"}
    assert set(less[1]) == {"slow"}
    assert none == (200, {})


def test_money_comes_and_goes(rig: Rig) -> None:
    client = rig.user_client()

    do(rig, "POST", "deposit", {"api_key": KEY, "asset": "USDT", "amount": "50.5"})
    do(rig, "POST", "withdraw", {"api_key": KEY, "amount": 20})

    assert rig.venue.books(rig.account)["wallets"]["USDT"] == "100030.5"
    assert [event["a"]["m"] for event in client.events("ACCOUNT_UPDATE")] == ["DEPOSIT", "WITHDRAW"]


def test_prices_liquidations_and_funding_are_made(rig: Rig) -> None:
    rig.trade(quantity="1")
    rig.trade(symbol="ETHUSDT", quantity="1")

    results = [
        do(rig, "POST", "price", {"symbol": "BTCUSDT", "mark": "80000.5"}),
        do(rig, "POST", "funding-rate", {"symbol": "ETHUSDT", "rate": "-0.0001"}),
        do(rig, "POST", "fund"),
        do(rig, "POST", "liquidate", {"api_key": KEY, "symbol": "BTCUSDT"}),
        do(rig, "POST", "adl", {"api_key": KEY, "symbol": "ETHUSDT", "quantity": "0.5"}),
    ]

    assert [status for status, _ in results] == [200] * 5, results
    books = rig.venue.books(rig.account)
    assert books["positions"] == {"ETHUSDT": "0.5"}
    assert books["funding"]
    assert books["insurance"]


def test_accounts_can_be_opened_and_trade(rig: Rig) -> None:
    opened = do(rig, "POST", "accounts", {"api_key": "third", "secret": "s", "wallets": {"USDT": "500"}, "hedge": True})
    order = {"api_key": "third", "symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.002"}
    placed = do(rig, "POST", "order", {**order, "positionSide": "LONG"})

    assert opened == (200, {"api_key": "third"})
    assert placed[0] == 200
    assert do(rig, "GET", "accounts")[1] == [KEY, "other-key", "third"]
    assert do(rig, "POST", "accounts", {"api_key": "third", "secret": "s"})[0] == 400


def test_a_key_loses_its_permissions_and_gets_them_back(rig: Rig) -> None:
    do(rig, "POST", "permissions", {"api_key": KEY, "permissions": []})
    assert rig.signed("GET", "/fapi/v3/account").status == 401

    do(rig, "POST", "permissions", {"api_key": KEY})

    assert rig.signed("GET", "/fapi/v3/account").status == 200


def test_keys_expire_and_connections_end_at_will(rig: Rig) -> None:
    client = rig.user_client()

    assert do(rig, "POST", "expire-key", {"api_key": KEY}) == (200, {"expired": True})
    assert do(rig, "POST", "expire-key", {"api_key": KEY}) == (200, {"expired": False})
    assert do(rig, "POST", "disconnect", {"code": 1011}) == (200, {"disconnected": 1})

    assert len(client.events("listenKeyExpired")) == 1
    assert client.ending() is not None


def test_the_clock_moves_forward(rig: Rig) -> None:
    client = rig.user_client()

    status, said = do(rig, "POST", "clock", {"forward_ms": 3_600_000})

    assert (status, said["now_ms"]) == (200, rig.now_ms)
    assert len(client.events("listenKeyExpired")) == 1


def test_statistics_say_what_clients_did(rig: Rig) -> None:
    rig.user_client()
    rig.request("GET", "/fapi/v1/nothing")
    rig.exchange.limits.ban("127.0.0.1")
    rig.request("GET", "/fapi/v1/time")

    said = do(rig, "GET", "statistics")[1]

    assert {"method": "POST", "path": "/fapi/v1/listenKey", "status": 200, "count": 1} in said["requests"]
    assert {"method": "?", "path": "(unknown)", "status": 404, "count": 1} in said["requests"]
    assert said["violations"] == 1
    assert said["connections_open"] == 1
    do(rig, "POST", "lift-bans")
    assert rig.request("GET", "/fapi/v1/time").status == 200


@pytest.mark.parametrize(
    ("method", "name", "body"),
    [
        ("GET", "nothing", None),
        ("POST", "books", None),
        ("GET", "books", {"api_key": "unknown"}),
        ("POST", "price", b"{"),
        ("POST", "price", b"[" * 100_000),
        ("POST", "price", []),
        ("POST", "price", {"symbol": "NOSUCH", "mark": "1"}),
        ("POST", "price", {"symbol": "BTCUSDT", "mark": "0.0"}),
        ("POST", "price", {"symbol": "BTCUSDT", "mark": "NaN"}),
        ("POST", "price", {"symbol": "BTCUSDT", "mark": 1.5}),
        ("POST", "deposit", {"asset": "NOSUCH", "amount": "1"}),
        ("POST", "deposit", {"amount": "1e9"}),
        ("POST", "deposit", {"amount": True}),
        ("POST", "withdraw", {"amount": "1000000000"}),
        ("POST", "deposit", {"amount": "1.000000000000001"}),
        ("POST", "deposit", {"amount": "1", "reason": 7}),
        ("POST", "accounts", {"api_key": "x y", "secret": "s"}),
        ("POST", "accounts", {"api_key": "x", "secret": "s", "wallets": {"NOSUCH": "1"}}),
        ("POST", "accounts", {"api_key": "x", "secret": "s", "leverage": 0}),
        ("POST", "faults", {"nonsense": {}}),
        ("POST", "faults", {"drop": 1}),
        ("POST", "faults", {"drop": {"rate": "x"}}),
        ("POST", "faults", {"drop": {"name": "x"}}),
        ("DELETE", "faults", {"name": "nonsense"}),
        ("POST", "clock", {"forward_ms": -1}),
        ("POST", "permissions", {"permissions": ["FLY"]}),
        ("POST", "disconnect", {"code": 5}),
        ("POST", "liquidate", {"symbol": "BTCUSDT", "position_side": "UP"}),
        ("POST", "adl", {"symbol": "BTCUSDT", "quantity": "1"}),
        ("POST", "order", {"symbol": "BTCUSDT", "quantity": 1}),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(rig: Rig, method: str, name: str, body: Any) -> None:
    status, said = do(rig, method, name, body)

    assert status in (400, 404)
    assert said["msg"]
