"""Faults: each does what its name says, repeats with the seed, and leaves the venue's own books alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchange_simulator.exchange import Binary, Close, Cut, Pong, Refused
from tests.exchange_rig import KEY, Client, Rig, error_of, sound


@pytest.fixture
def rig() -> Rig:
    return Rig()


def plain(trades: int = 3) -> list[str]:
    """Return what a user stream delivers of so many trades when nothing goes wrong."""
    rig = Rig()
    client = rig.user_client()
    for _ in range(trades):
        rig.trade()
    return client.texts()


def struck(rig: Rig, name: str, trades: int = 3, **settings: Any) -> Client:
    """Return a client of a user stream that suffered one fault."""
    client = rig.user_client()
    rig.faults.set(name, **settings)
    for _ in range(trades):
        rig.trade()
    return client


# -- frames


def test_a_lost_frame_is_lost(rig: Rig) -> None:
    assert struck(rig, "drop", count=1).texts() == plain()[1:]


def test_a_burst_loses_the_next_frames_too(rig: Rig) -> None:
    assert struck(rig, "drop_burst", count=1, length=4).texts() == plain()[4:]


def test_a_duplicate_comes_again(rig: Rig) -> None:
    expected = plain()

    assert struck(rig, "duplicate", count=1, copies=2).texts() == [expected[0]] * 3 + expected[1:]


def test_reordered_frames_all_come_a_little_later(rig: Rig) -> None:
    client = struck(rig, "reorder", rate=0.5, within=3)
    rig.faults.clear()
    rig.pass_time(2000)

    assert client.texts() != plain()
    assert sorted(client.texts()) == sorted(plain())


def test_a_delay_keeps_the_order(rig: Rig) -> None:
    client = struck(rig, "delay", count=1, ms=500)
    early = client.texts()
    rig.pass_time(500)

    assert early == []
    assert client.texts() == plain()


def test_a_backlog_makes_everything_late_and_keeps_the_order(rig: Rig) -> None:
    client = struck(rig, "backlog", ms=600_000)
    rig.pass_time(599_999)
    assert client.texts() == []

    rig.pass_time(1)

    assert client.texts() == plain()


def test_a_late_frame_is_overtaken(rig: Rig) -> None:
    client = struck(rig, "late", count=1, ms=60_000)
    assert client.texts() == plain()[1:]

    rig.pass_time(60_000)

    assert client.texts() == [*plain()[1:], plain()[0]]


def test_half_of_the_json(rig: Rig) -> None:
    whole = plain()[0]

    assert struck(rig, "cut_json", count=1).texts()[0] == whole[: len(whole) // 2]


def test_two_messages_share_a_frame(rig: Rig) -> None:
    expected = plain()

    assert struck(rig, "concatenated", count=1).texts() == [expected[0] + expected[1], *expected[2:]]


def test_a_message_does_not_wait_forever_for_another_one(rig: Rig) -> None:
    client = struck(rig, "concatenated", count=1, trades=1)
    before = len(client.texts())
    client = rig.user_client()
    rig.faults.set("concatenated")
    rig.venue.deposit(rig.account, "USDT", "1")
    assert client.texts() == []

    rig.pass_time(2000)

    assert before == len(plain(1)) - 1
    assert len(client.texts()) == 1


@pytest.mark.parametrize("name", ["wrong_types", "missing_key", "extra_key"])
def test_the_content_is_another_one_but_json(rig: Rig, name: str) -> None:
    texts = struck(rig, name).texts()

    assert all(sound(text) for text in texts)
    assert all(text != right for text, right in zip(texts, plain(), strict=True))


def test_a_key_is_there_twice(rig: Rig) -> None:
    texts = struck(rig, "duplicate_key", count=1).texts()
    pairs: list[tuple[str, Any]] = []
    json.loads(texts[0], object_pairs_hook=pairs.extend)

    names = [name for name, _ in pairs]
    assert any(names.count(name) > 1 for name in "eTEoa")


def test_numbers_that_are_none(rig: Rig) -> None:
    texts = struck(rig, "bad_number", trades=20).texts()

    assert any("NaN" in text for text in texts)
    assert any("1e999999" in text for text in texts)
    assert all(text != right for text, right in zip(texts, plain(20), strict=True))


def test_bytes_that_are_no_utf8(rig: Rig) -> None:
    client = struck(rig, "invalid_utf8", count=1)

    output = client.outputs[0]
    assert not isinstance(output, Close | Cut)
    with pytest.raises(UnicodeDecodeError):
        output.payload.decode()


def test_a_binary_frame(rig: Rig) -> None:
    assert struck(rig, "binary", count=1).outputs[0] == Binary(plain()[0].encode())


def test_a_byte_order_mark(rig: Rig) -> None:
    assert struck(rig, "byte_order_mark", count=1).texts()[0] == "\ufeff" + plain()[0]


@pytest.mark.parametrize(("name", "kind"), [("unknown_event", "SOMETHING_NEW"), ("huge_frame", "SOMETHING_LARGE")])
def test_messages_that_nobody_expects_come_besides(rig: Rig, name: str, kind: str) -> None:
    client = struck(rig, name, count=1)

    assert len(client.events(kind)) == 1
    assert [text for text in client.texts() if kind not in text] == plain()
    if name == "huge_frame":
        assert max(map(len, client.texts())) == 10_000_000


def test_nesting_that_is_deep(rig: Rig) -> None:
    texts = struck(rig, "nested", count=1, depth=5000).texts()

    assert [text for text in texts if "SOMETHING_DEEP" not in text] == plain()
    assert "[" * 5000 in texts[1]


def test_a_conflict_is_the_same_trade_with_another_price(rig: Rig) -> None:
    client = struck(rig, "conflict", count=1)

    fills = [event["o"] for event in client.events("ORDER_TRADE_UPDATE") if event["o"]["x"] == "TRADE"]
    first, second = fills[:2]
    assert len(fills) == 4
    assert first["t"] == second["t"]
    assert first["L"] != second["L"]
    assert first["n"] != second["n"]


# -- sockets


@pytest.mark.parametrize(
    ("name", "ending"),
    [("close_1000", Close(1000)), ("close_1006", Cut()), ("close_1008", Close(1008, "disconnected")),
     ("close_1011", Close(1011, "internal error"))],
)  # fmt: skip
def test_the_socket_ends(rig: Rig, name: str, ending: Close | Cut) -> None:
    client = struck(rig, name, count=1)

    assert client.outputs == [ending]
    assert not client.connection.is_open


def test_tcp_ends_in_the_middle_of_a_message(rig: Rig) -> None:
    whole = plain()[0].encode()

    client = struck(rig, "tcp_cut", count=1)

    assert client.outputs == [Cut(whole[: len(whole) // 2], len(whole))]


def test_half_open_means_that_nothing_comes_not_even_pongs(rig: Rig) -> None:
    client = struck(rig, "half_open", count=1)
    client.connection.receive_ping(b"?")
    rig.pass_time(3_600_000)

    assert client.outputs == []
    assert not client.connection.is_open


def test_half_open_strikes_without_data_too(rig: Rig) -> None:
    client = rig.user_client()
    rig.faults.set("half_open")

    client.connection.receive_ping(b"?")
    rig.faults.clear()
    rig.trade()

    assert client.outputs == []


def test_silent_means_pongs_but_no_data(rig: Rig) -> None:
    client = struck(rig, "silent", count=1)
    rig.faults.clear()
    rig.trade()
    client.connection.receive_ping(b"?")

    assert client.outputs == [Pong(b"?")]
    rig.pass_time(3_500_000)
    assert client.connection.is_open


def test_sockets_can_be_chosen(rig: Rig) -> None:
    user, market = rig.user_client(), rig.client("/market/ws/btcusdt@markPrice@1s")
    rig.faults.set("close_1000", streams="market")

    rig.trade()
    rig.pass_time(1000)

    assert user.ending() is None
    assert market.ending() == Close(1000)


def test_market_data_is_spared_by_faults_of_frames(rig: Rig) -> None:
    market = rig.client("/market/ws/btcusdt@markPrice@1s")
    rig.faults.set("drop")
    rig.pass_time(1000)
    rig.faults.set("drop", streams="market")
    rig.pass_time(1000)

    assert len(market.texts()) == 1


# -- keys and handshakes


def test_a_key_expires_early_with_its_event(rig: Rig) -> None:
    client = struck(rig, "key_expired", count=1, trades=2)

    assert len(client.events("listenKeyExpired")) == 1
    assert len(client.texts()) == 2
    assert error_of(rig.request("PUT", "/fapi/v1/listenKey", key=KEY))[1] == -1125


def test_a_key_dies_without_a_word(rig: Rig) -> None:
    client = struck(rig, "key_dead", count=1, trades=2)

    assert len(client.texts()) == 1
    assert error_of(rig.request("PUT", "/fapi/v1/listenKey", key=KEY))[1] == -1125


def test_the_handshake_is_refused(rig: Rig) -> None:
    rig.faults.set("refuse_connect", count=1, status=429)

    with pytest.raises(Refused) as caught:
        rig.client("/private/ws")

    assert caught.value.status == 429
    rig.client("/private/ws")


def test_whoever_reconnects_is_banned(rig: Rig) -> None:
    rig.faults.set("ban_connect", count=1, ban_seconds=300)
    with pytest.raises(Refused) as caught:
        rig.client("/private/ws")
    assert caught.value.status == 418
    assert caught.value.reply.headers["Retry-After"] == "300"

    rig.pass_time(299_999)
    assert rig.request("GET", "/fapi/v1/time").status == 418
    rig.pass_time(1)

    assert rig.request("GET", "/fapi/v1/time").status == 200
