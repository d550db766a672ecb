"""Streams: every form of URL, subscriptions, and what is delivered where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchange_simulator.exchange import Refused
from tests.exchange_rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


BAD_ID = "Invalid request: request ID must be an unsigned integer"
FORMS = [
    ("/private/ws/{key}", "", False),
    ("/private/ws", "listenKey={key}", False),
    ("/private/ws", "listenKey={key}&events=ORDER_TRADE_UPDATE/ACCOUNT_UPDATE", False),
    ("/private/stream", "listenKey={key}", True),
    ("/private/stream", "streams={key}", True),
    ("/private/stream/{key}", "", True),
]
LEGACY = [("/ws/{key}", "", False), ("/ws", "listenKey={key}", False), ("/stream", "streams={key}", True)]


@pytest.mark.parametrize(("path", "query", "combined"), FORMS)
def test_user_data_comes_on_every_private_form(rig: Rig, path: str, query: str, combined: bool) -> None:
    key = rig.listen_key()
    client = rig.client(path.format(key=key), query.format(key=key))

    rig.trade()

    message = client.messages()[-1]
    if combined:
        assert message["stream"] == key
        message = message["data"]
    assert message["e"] == "ORDER_TRADE_UPDATE"
    assert len(client.trade_ids()) == 1


@pytest.mark.parametrize(("path", "query", "combined"), LEGACY)
def test_the_unrouted_urls_open_and_stay_silent_unless_old_times_are_wanted(
    path: str, query: str, combined: bool
) -> None:
    silent, full = Rig(), Rig(legacy="full")
    heard = []
    for rig in (silent, full):
        key = rig.listen_key()
        client = rig.client(path.format(key=key), query.format(key=key))
        client.send({"method": "SUBSCRIBE", "params": ["!markPrice@arr@1s", "btcusdt@bookTicker"], "id": 1})
        rig.trade()
        rig.pass_time(2000)
        heard.append(client.kinds())

    assert heard[0] == {"bookTicker"}
    assert heard[1] >= {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "bookTicker", "markPriceUpdate"}


def test_events_are_filtered_for_each_key(rig: Rig) -> None:
    first, second = rig.listen_key(), rig.listen_key("other-key")
    client = rig.client(
        "/private/stream", f"listenKey={first}&events=ORDER_TRADE_UPDATE&listenKey={second}&events=ACCOUNT_UPDATE"
    )

    rig.trade()
    rig.trade(key="other-key")

    heard = {(m["stream"] == first, m["data"]["e"]) for m in client.messages()}
    assert heard == {(True, "ORDER_TRADE_UPDATE"), (False, "ACCOUNT_UPDATE")}


def test_overlapping_filters_deliver_twice(rig: Rig) -> None:
    key = rig.listen_key()
    client = rig.client("/private/ws", f"listenKey={key}&listenKey={key}&events=ORDER_TRADE_UPDATE")

    rig.trade()

    assert len(client.trade_ids()) == 2
    assert len(client.events("ACCOUNT_UPDATE")) == 1


def test_two_sockets_on_one_key_both_hear_everything(rig: Rig) -> None:
    first, second = rig.user_client(), rig.user_client()

    rig.trade()

    assert first.texts() == second.texts() != []


def test_a_bogus_key_connects_and_hears_nothing(rig: Rig) -> None:
    client = rig.client("/private/ws", "listenKey=bogus")

    rig.trade()
    rig.pass_time(400_000)

    assert client.texts() == []
    assert client.connection.is_open


def test_nobody_hears_another_account(rig: Rig) -> None:
    client = rig.user_client()

    rig.trade(key="other-key")

    assert client.texts() == []


def test_a_listen_key_can_be_subscribed_later_with_any_kind_of_id(rig: Rig) -> None:
    key = rig.listen_key()
    client = rig.client("/private/stream")

    for request_id in (3, "a-b-c"):
        client.send({"method": "SUBSCRIBE", "params": [key], "id": request_id})
    rig.trade()
    client.send({"method": "LIST_SUBSCRIPTIONS", "id": 4})
    client.send({"method": "UNSUBSCRIBE", "params": [key], "id": 5})
    rig.trade()

    messages = client.messages()
    assert messages[:2] == [{"result": None, "id": 3}, {"result": None, "id": "a-b-c"}]
    assert messages[-2:] == [{"result": [key], "id": 4}, {"result": None, "id": 5}]
    assert all(message["stream"] == key for message in messages[2:-2])
    assert len(client.trade_ids()) == 1


@pytest.mark.parametrize("path", ["/market/ws/btcusdt@markPrice@1s", "/market/stream?streams=btcusdt@markPrice@1s"])
def test_a_mark_price_comes_every_second(rig: Rig, path: str) -> None:
    path, _, query = path.partition("?")
    client = rig.client(path, query)

    rig.pass_time(9_000)

    events = client.events("markPriceUpdate")
    assert len(events) == 9
    assert {"e", "E", "s", "p", "ap", "P", "i", "r", "T", "st"} == set(events[0])
    assert {event["s"] for event in events} == {"BTCUSDT"}


def test_a_mark_price_without_a_pace_comes_every_three_seconds(rig: Rig) -> None:
    client = rig.client("/market/ws/btcusdt@markPrice")

    rig.pass_time(9_000)

    assert [event["E"] % 3000 for event in client.events("markPriceUpdate")] == [0, 0, 0]


def test_the_array_carries_a_coin_margined_contract_to_be_filtered_out(rig: Rig) -> None:
    client = rig.client("/market/ws", "")
    client.send({"method": "SUBSCRIBE", "params": ["!markPrice@arr@1s"], "id": 1})

    rig.pass_time(1000)

    rows = client.messages()[-1]
    assert {(row["s"], row["st"]) for row in rows} == {("BTCUSDT", 1), ("ETHUSDT", 1), ("BTCUSD_PERP", 2)}


@pytest.mark.parametrize(
    ("path", "stream", "comes"),
    [
        ("/public/ws", "btcusdt@bookTicker", True),
        ("/market/ws", "btcusdt@bookTicker", False),
        ("/public/ws", "btcusdt@markPrice@1s", False),
        ("/private/ws", "btcusdt@markPrice@1s", False),
        ("/market/ws/0", "btcusdt@markPrice@1s", True),
        ("/market/ws", "btcusdt@aggTrade", True),
        ("/market/ws", "BTCUSDT@markPrice@1s", False),
        ("/market/ws", "nosuch@markPrice@1s", False),
    ],
)
def test_a_stream_comes_only_where_it_is_at_home(rig: Rig, path: str, stream: str, comes: bool) -> None:
    client = rig.client(path)
    client.send({"method": "SUBSCRIBE", "params": [stream], "id": 1})

    rig.trade()
    rig.pass_time(3_000)

    assert client.messages()[0] == {"result": None, "id": 1}
    assert (len(client.messages()) > 1) == comes


def test_the_combined_form_can_be_switched(rig: Rig) -> None:
    client = rig.client("/market/ws/btcusdt@markPrice@1s")
    client.send({"method": "GET_PROPERTY", "params": ["combined"], "id": 1})
    client.send({"method": "SET_PROPERTY", "params": ["combined", True], "id": 2})

    rig.pass_time(1000)

    assert client.messages()[:2] == [{"result": False, "id": 1}, {"result": None, "id": 2}]
    assert client.messages()[2]["stream"] == "btcusdt@markPrice@1s"


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("{", 3, "Invalid JSON: expected value at line 1 column 1"),
        ("[" * 200_000, 3, "Invalid JSON: expected value at line 1 column 1"),
        ([], 2, "Invalid request: invalid type: expected struct Request at line 1 column 1"),
        ({"id": 1}, 2, "Invalid request: missing field `method` at line 1 column 9"),
        ({"method": "SUBSCRIBE", "params": ["a"]}, 2, BAD_ID),
        ({"method": "SUBSCRIBE", "params": ["a"], "id": -1}, 2, BAD_ID),
        ({"method": "SUBSCRIBE", "params": ["a"], "id": 1.5}, 2, BAD_ID),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2, "Invalid request: invalid type: expected a string"),
        ({"method": "SUBSCRIBE", "params": "a", "id": 1}, 2, "Invalid request: invalid type: expected a sequence"),
        ({"method": "LIST_SUBSCRIPTIONS", "params": [1], "id": 1}, 2, "Invalid request: too many parameters"),
        ({"method": "GET_PROPERTY", "params": [], "id": 1}, 2, "Invalid request: property name must be a string"),
        ({"method": "GET_PROPERTY", "params": ["x"], "id": 1}, 0, "Unknown property"),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1, "Invalid value type: expected Boolean"),
    ],
)  # fmt: skip
def test_a_broken_request_is_answered_and_the_socket_stays(rig: Rig, message: Any, code: int, text: str) -> None:
    client = rig.client("/market/ws")

    client.send(message)

    answer = client.messages()[0]
    assert (answer["code"], answer["msg"]) == (code, text)
    assert client.connection.is_open


def test_text_that_has_no_utf8_form_is_answered_too(rig: Rig) -> None:
    client = rig.client("/market/ws")

    client.send('{"method":"SUBSCRIBE","params":["\\ud800"],"id":"\\ud800"}')
    client.send('{"method":"\\ud800","id":1}')
    client.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')

    assert len(client.messages()) == 3
    assert all(text.encode() for text in client.texts())


def test_more_than_1024_streams_are_too_many(rig: Rig) -> None:
    client = rig.client("/market/ws")
    client.send({"method": "SUBSCRIBE", "params": [f"s{n}@aggTrade" for n in range(1024)], "id": 1})
    client.send({"method": "SUBSCRIBE", "params": ["one@aggTrade"], "id": 2})

    assert client.messages() == [{"result": None, "id": 1}, {"code": 2, "msg": "Invalid request: too many parameters"}]
    with pytest.raises(Refused, match="400"):
        rig.client("/market/ws/" + "/".join(f"s{n}@aggTrade" for n in range(1025)))


@pytest.mark.parametrize("path", ["/", "/private", "/market/nothing", "/ws-api/v2", "/fapi/v1/ping"])
def test_other_paths_are_no_websocket(rig: Rig, path: str) -> None:
    with pytest.raises(Refused) as caught:
        rig.client(path)

    assert caught.value.status == 404
    assert json.loads(caught.value.body)["code"] == -5000


def test_an_expired_key_is_announced_and_then_the_socket_is_silent_but_open(rig: Rig) -> None:
    client, combined = (
        rig.user_client(),
        rig.client("/private/stream", f"listenKey={rig.listen_key()}&events=TRADE_LITE"),
    )
    key = rig.listen_key()

    rig.pass_time(3_600_000)
    expired_ms = rig.now_ms
    fresh = rig.listen_key()
    rig.trade()
    rig.pass_time(1000)

    event = {"e": "listenKeyExpired", "E": expired_ms, "listenKey": key}
    assert client.messages() == [event]
    assert combined.messages() == [{"stream": key, "data": event}]
    assert client.connection.is_open
    assert fresh != key


def test_a_closed_key_goes_silent_for_everyone(rig: Rig) -> None:
    client = rig.user_client()
    rig.request("DELETE", "/fapi/v1/listenKey", key="demo-key")

    rig.trade()

    assert client.texts() == []
    assert client.connection.is_open
