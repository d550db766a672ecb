"""REST: who is let in, what is refused with which words, and nothing hostile makes it stumble."""

from __future__ import annotations

import json
import random

import pytest

from exchange_simulator.routes import ROUTES
from exchange_simulator.signatures import sign
from tests.exchange_rig import KEY, SECRET, Rig, error_of

READ = sorted(path for (method, path), route in ROUTES.items() if method == "GET" and route.security == "signed")
PUBLIC = sorted(path for (method, path), route in ROUTES.items() if method == "GET" and route.security == "none")
NEEDED = {"symbol": "BTCUSDT", "orderId": "1", "algoId": "1"}


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize("path", PUBLIC)
def test_public_paths_answer_json_without_a_key(rig: Rig, path: str) -> None:
    reply = rig.request("GET", path, "symbol=BTCUSDT" if path != "/fapi/v1/assetIndex" else "")

    assert reply.status == 200, reply.body
    json.loads(reply.body)
    assert "X-MBX-USED-WEIGHT-1M" in reply.headers
    assert reply.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("path", READ)
def test_signed_paths_answer_whoever_signs(rig: Rig, path: str) -> None:
    rig.trade()

    reply = rig.signed("GET", path, **NEEDED)

    assert reply.status == 200 or error_of(reply)[1] in (-2013, -2011), reply.body
    json.loads(reply.body)


@pytest.mark.parametrize("path", READ)
def test_signed_paths_refuse_everyone_else(rig: Rig, path: str) -> None:
    query = f"symbol=BTCUSDT&timestamp={rig.now_ms}"

    refusals = [
        error_of(rig.request("GET", path, query)),
        error_of(rig.request("GET", path, query, key="no such key!")),
        error_of(rig.request("GET", path, query, key="unknown", ip="9.8.7.6")),
        error_of(rig.request("GET", path, query, key=KEY)),
        error_of(rig.request("GET", path, f"{query}&signature={'0' * 64}", key=KEY)),
        error_of(rig.request("GET", path, f"symbol=BTCUSDT&signature={'0' * 64}", key=KEY)),
    ]

    signature, timestamp = (
        f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
        for name in ("signature", "timestamp")
    )
    assert refusals == [
        (401, -2014, "API-key format invalid."),
        (401, -2014, "API-key format invalid."),
        (401, -2015, "Invalid API-key, IP, or permissions for action, request ip: 9.8.7.6"),
        (400, -1102, signature),
        (400, -1022, "Signature for this request is not valid."),
        (400, -1102, timestamp),
    ]


def test_a_key_that_may_only_read_places_no_order(rig: Rig) -> None:
    rig.account.permissions = {"READ"}

    reply = rig.signed("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")

    assert error_of(reply)[:2] == (401, -2015)
    assert rig.get("/fapi/v3/positionRisk") == []


@pytest.mark.parametrize(("offset_ms", "code"), [(0, None), (1000, -1021), (-5000, None), (-5001, -1021)])
def test_the_time_of_a_request_has_to_be_about_now(rig: Rig, offset_ms: int, code: int | None) -> None:
    reply = rig.signed("GET", "/fapi/v3/account", timestamp=rig.now_ms + offset_ms)

    assert code is None or error_of(reply)[1] == code
    assert (reply.status == 200) == (code is None)


@pytest.mark.parametrize(
    ("method", "path", "parameters", "code"),
    [
        ("GET", "/fapi/v1/userTrades", {}, -1102),
        ("GET", "/fapi/v1/userTrades", {"symbol": "NOSUCH"}, -1121),
        ("GET", "/fapi/v1/userTrades", {"symbol": "BTCUSDT", "limit": "1001"}, -1130),
        ("GET", "/fapi/v1/userTrades", {"symbol": "BTCUSDT", "fromId": "x"}, -1100),
        ("GET", "/fapi/v1/userTrades", {"symbol": "BTCUSDT", "startTime": "1", "endTime": "604800002"}, -1127),
        ("GET", "/fapi/v1/commissionRate", {}, -1102),
        ("GET", "/fapi/v1/order", {"symbol": "BTCUSDT"}, -1102),
        ("GET", "/fapi/v1/premiumIndex", {"symbol": "NOSUCH"}, -1121),
        ("PUT", "/fapi/v1/listenKey", {}, -1125),
        ("POST", "/fapi/v1/batchOrders", {"batchOrders": "[{"}, -1102),
        ("POST", "/fapi/v1/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}, -1102),
        ("POST", "/fapi/v1/countdownCancelAll", {"symbol": "NOSUCH", "countdownTime": "1"}, -1121),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_the_code_for_it(
    rig: Rig, method: str, path: str, parameters: dict[str, str], code: int
) -> None:
    assert error_of(rig.signed(method, path, **parameters))[:2] == (400, code)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/fapi/v1/nothing"), ("PATCH", "/fapi/v1/order"), ("GET", "//fapi/v1/ping")],
)
def test_an_unknown_path_is_404_in_json(rig: Rig, method: str, path: str) -> None:
    assert error_of(rig.request(method, path)) == (404, -5000, f"Path {path}, Method {method} is invalid")


def test_parameters_come_in_the_query_in_the_body_or_in_both(rig: Rig) -> None:
    query, body = "symbol=BTCUSDT&side=BUY", f"type=MARKET&quantity=0.01&timestamp={rig.now_ms}"
    form = {"content-type": "application/x-www-form-urlencoded"}
    for first, second in ((query, body), ("", f"{query}&{body}"), (f"{query}&{body}", "")):
        signature = sign(SECRET, first + second)
        tail = f"&signature={signature}" if second else ""

        reply = rig.request(
            "POST", "/fapi/v1/order", first if tail else f"{first}&signature={signature}",
            body=f"{second}{tail}".encode(), key=KEY, headers=form,
        )  # fmt: skip

        assert reply.status == 200, reply.body
    assert rig.venue.books(rig.account)["positions"] == {"BTCUSDT": "0.03"}


def test_an_order_can_be_placed_changed_and_cancelled(rig: Rig) -> None:
    terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    placed = json.loads(rig.signed("POST", "/fapi/v1/order", **terms, price="74000").body)

    named = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    changed = rig.signed("PUT", "/fapi/v1/order", **named, side="BUY", quantity="0.02", price="74100")
    listed = rig.get("/fapi/v1/openOrders")
    cancelled = json.loads(rig.signed("DELETE", "/fapi/v1/order", **named).body)

    assert changed.status == 200, changed.body
    assert [(float(row["origQty"]), float(row["price"])) for row in listed] == [(0.02, 74100.0)]
    assert cancelled["status"] == "CANCELED"
    assert rig.get("/fapi/v1/openOrders") == []


def test_a_batch_answers_each_order_in_its_place(rig: Rig) -> None:
    good = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}

    reply = rig.signed("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps([good, {**good, "symbol": "NO"}, 7]))

    answers = json.loads(reply.body)
    assert answers[0]["symbol"] == "BTCUSDT"
    assert [answer.get("code") for answer in answers[1:]] == [-1121, -1102]
    assert reply.headers["X-MBX-ORDER-COUNT-10S"] == "3"


def test_a_countdown_cancels_unless_it_is_started_anew(rig: Rig) -> None:
    terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    rig.signed("POST", "/fapi/v1/order", **terms, price="74000")
    rig.signed("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime="5000")

    rig.pass_time(4000)
    rig.signed("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime="5000")
    rig.pass_time(4000)
    assert len(rig.get("/fapi/v1/openOrders")) == 1
    rig.pass_time(1000)

    assert rig.get("/fapi/v1/openOrders") == []


def test_the_listen_key_is_one_per_account_and_lives_an_hour(rig: Rig) -> None:
    first = rig.listen_key()
    rig.pass_time(3_000_000)
    assert rig.listen_key() == first
    rig.pass_time(3_000_000)
    renewed = rig.request("PUT", "/fapi/v1/listenKey", key=KEY)
    assert json.loads(renewed.body) == {"listenKey": first}

    rig.pass_time(3_600_000)

    assert error_of(rig.request("PUT", "/fapi/v1/listenKey", key=KEY)) == (400, -1125, "This listenKey does not exist.")
    assert rig.listen_key() != first
    assert len(first) == 64
    assert rig.listen_key("other-key") != rig.listen_key()


def test_a_closed_listen_key_is_gone(rig: Rig) -> None:
    rig.listen_key()

    closed = rig.request("DELETE", "/fapi/v1/listenKey", key=KEY)

    assert (closed.status, closed.body) == (200, b"{}")
    assert rig.request("PUT", "/fapi/v1/listenKey", key=KEY).status == 400


@pytest.mark.parametrize("seed", range(5))
def test_garbage_is_refused_and_never_more_than_that(rig: Rig, seed: int) -> None:
    generator = random.Random(seed)
    names = ["symbol", "limit", "startTime", "endTime", "fromId", "orderId", "page", "quantity", "price", "side",
             "type", "timestamp", "recvWindow", "batchOrders", "countdownTime", "leverage", "marginType",
             "dualSidePosition", "amount", "stopPrice", "timeInForce", "positionSide", "reduceOnly", "algoType",
             "triggerPrice"]  # fmt: skip
    values = ["BTCUSDT", "", "-1", "0", "1e400", "NaN", "Infinity", "0x1", "١", "9" * 400, "%00", "%ff", "%", "[[]]",
              "null", "[1]", "true", "BUY", "LIMIT", "STOP", "GTC", "GTD", "0.0000000000000000000000001", "2",
              "CONDITIONAL"]  # fmt: skip
    for number in range(400):
        method, path = generator.choice(list(ROUTES))
        query = "&".join(f"{generator.choice(names)}={generator.choice(values)}" for _ in range(generator.randrange(6)))
        query += f"&timestamp={rig.now_ms}" if generator.random() < 0.8 else ""
        query += f"&signature={sign(SECRET, query.removeprefix('&'))}"
        body = generator.choice([b"", b"\xff\xfe", b"{", b"%", b"a=1", b"[" * 100_000])
        headers = generator.choice([{}, {"content-type": "application/json"}])

        reply = rig.request(
            method, path, query.removeprefix("&"), body=body if number % 4 == 0 else b"", key=KEY, headers=headers,
            ip=f"10.0.0.{number}",
        )  # fmt: skip

        assert reply.status < 500, (method, path, query, reply)
        json.loads(reply.body)
