"""WebSocket API: listen keys, reports and orders over a socket, and Spot's subscriptions."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_simulator.signatures import sign
from tests.exchange_rig import KEY, SECRET, Client, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def ask(client: Client, method: str, params: Any = None, request_id: Any = 1) -> Any:
    client.send({"id": request_id, "method": method, **({} if params is None else {"params": params})})
    return client.messages()[-1]


def signed(rig: Rig, **params: Any) -> dict[str, Any]:
    params = {"apiKey": KEY, "timestamp": rig.now_ms, **params}
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return {**params, "signature": sign(SECRET, payload)}


def test_a_listen_key_is_started_renewed_and_stopped(rig: Rig) -> None:
    client = rig.client("/ws-fapi/v1")

    started = ask(client, "userDataStream.start", {"apiKey": KEY}, "one")
    renewed = ask(client, "userDataStream.ping", {"apiKey": KEY})
    stopped = ask(client, "userDataStream.stop", {"apiKey": KEY})
    gone = ask(client, "userDataStream.ping", {"apiKey": KEY})

    assert (started["id"], started["status"], len(started["result"]["listenKey"])) == ("one", 200, 64)
    assert renewed["result"] == started["result"]
    assert stopped["result"] == {}
    assert (gone["status"], gone["error"]) == (400, {"code": -1125, "msg": "This listenKey does not exist."})


def test_the_handshake_and_each_call_are_counted(rig: Rig) -> None:
    client = rig.client("/ws-fapi/v1")

    answer = ask(client, "time")

    assert answer["result"] == {"serverTime": rig.now_ms}
    assert answer["rateLimits"] == [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400, "count": 6}
    ]
    assert "rateLimits" not in ask(client, "ping", {"returnRateLimits": False})


def test_keys_with_a_secret_cannot_log_on(rig: Rig) -> None:
    answer = ask(rig.client("/ws-fapi/v1"), "session.logon", signed(rig))

    assert answer["error"] == {"code": -4056, "msg": "HMAC_SHA256 API key is not supported."}


def test_orders_and_reports_come_over_the_socket_too(rig: Rig) -> None:
    client = rig.client("/ws-fapi/v1")

    order = ask(client, "order.place", signed(rig, symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"))
    position = ask(client, "v2/account.position", signed(rig))
    status = ask(client, "v2/account.status", signed(rig, recvWindow=5000))

    assert order["status"] == 200, order
    assert position["result"][0]["positionAmt"] == "0.010"
    assert status["result"]["positions"]


@pytest.mark.parametrize(
    ("params", "code"),
    [({}, -2014), ({"apiKey": "unknown"}, -2015), ({"apiKey": KEY}, -1102), ({"apiKey": KEY, "timestamp": 1}, -1021)],
)
def test_whoever_does_not_sign_is_refused(rig: Rig, params: dict[str, Any], code: int) -> None:
    answer = ask(rig.client("/ws-fapi/v1"), "account.status", params)

    assert answer["error"]["code"] == code


@pytest.mark.parametrize(
    "message",
    ["{", "[]", "1", {"id": 1}, {"id": {}, "method": "ping"}, {"id": 1, "method": "x", "params": {}},
     {"id": 1, "method": "ping", "params": []}, {"id": "\ud800", "method": "\ud800"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/ws-fapi/v1", "/ws-api/v3"])
def test_garbage_is_answered_with_an_error(rig: Rig, path: str, message: Any) -> None:
    client = rig.client(path)

    client.send(message)

    assert client.messages()[0]["status"] == 400
    assert client.connection.is_open


def test_over_the_limit_the_socket_says_so() -> None:
    rig = Rig(weight_a_minute=6)
    client = rig.client("/ws-fapi/v1")
    ask(client, "ping")

    answer = ask(client, "ping")

    assert (answer["status"], answer["error"]["code"]) == (429, -1003)
    assert answer["error"]["data"]["retryAfter"] == rig.now_ms + 60_000


def test_spot_user_data_is_subscribed_with_a_signature(rig: Rig) -> None:
    client = rig.client("/ws-api/v3")

    subscribed = ask(client, "userDataStream.subscribe.signature", signed(rig))
    again = ask(client, "userDataStream.subscribe.signature", signed(rig))
    listed = ask(client, "session.subscriptions")
    status = ask(client, "session.status")
    ask(client, "userDataStream.unsubscribe", {"subscriptionId": 0})

    assert (subscribed["status"], subscribed["result"]) == (200, {"subscriptionId": 0})
    assert again["status"] == 400
    assert listed["result"] == [{"subscriptionId": 0}]
    assert status["result"]["userDataStream"] is True
    assert client.messages()[-2] == {
        "subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": rig.now_ms}
    }  # fmt: skip


def test_spot_no_longer_knows_listen_keys(rig: Rig) -> None:
    assert rig.request("POST", "/api/v3/userDataStream", key=KEY).status == 410
    assert ask(rig.client("/ws-api/v3"), "userDataStream.start", {"apiKey": KEY})["error"]["code"] == -5000
