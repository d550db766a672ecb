"""Signing: the venue's own examples, and what is refused."""

from __future__ import annotations

import pytest

from exchange_simulator.errors import VenueError
from exchange_simulator.parameters import Parameters, read_parameters
from exchange_simulator.signatures import check_signature, check_time, sign

SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
PAYLOAD = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"

MIXED_QUERY = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
MIXED_BODY = "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943"
MIXED_SIGNATURE = "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"


def refused(query: str, body: str = "") -> int:
    with pytest.raises(VenueError) as caught:
        check_signature(SECRET, read_parameters(query, body))
    return caught.value.code


def test_the_documented_example_signs_as_documented() -> None:
    assert sign(SECRET, PAYLOAD) == SIGNATURE


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (f"{PAYLOAD}&signature={SIGNATURE}", ""),
        ("", f"{PAYLOAD}&signature={SIGNATURE}"),
        (f"{PAYLOAD}&signature={SIGNATURE.upper()}", ""),
        (MIXED_QUERY, f"{MIXED_BODY}&signature={MIXED_SIGNATURE}"),
        (f"{MIXED_QUERY}&signature={MIXED_SIGNATURE}", MIXED_BODY),
    ],
    ids=["query", "body", "upper case", "mixed", "mixed, signed in the query"],
)
def test_query_and_body_are_signed_one_after_the_other(query: str, body: str) -> None:
    check_signature(SECRET, read_parameters(query, body))


@pytest.mark.parametrize(
    "query",
    [
        f"{PAYLOAD}0&signature={SIGNATURE}",
        f"{PAYLOAD}&signature={SIGNATURE[:-1]}",
        f"{PAYLOAD}&signature=%C3%A9",
        f"&{PAYLOAD}&more=1&signature={SIGNATURE}",
    ],
)
def test_anything_else_is_not_what_was_signed(query: str) -> None:
    assert refused(query) == -1022


def test_a_missing_signature_is_a_missing_parameter() -> None:
    assert refused(PAYLOAD) == -1102


def test_what_was_signed_is_the_text_after_percent_encoding() -> None:
    raw = "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&timestamp=1"

    parameters = read_parameters(f"{raw}&signature={sign(SECRET, raw)}", "")

    check_signature(SECRET, parameters)
    assert parameters["symbol"] == "币安人生USDT"
    assert refused(f"{raw}&signature={sign(SECRET, 'symbol=币安人生USDT&timestamp=1')}") == -1022


@pytest.mark.parametrize(
    ("timestamp", "window", "text"),
    [
        (10_999, None, None),
        (11_000, None, "Timestamp for this request was 1000ms ahead of the server's time."),
        (5_000, None, None),
        (4_999, None, "Timestamp for this request is outside of the recvWindow."),
        (9_000, 1_000, None),
        (8_999, 1_000, "Timestamp for this request is outside of the recvWindow."),
    ],
)
def test_a_request_is_neither_from_the_future_nor_old(timestamp: int, window: int | None, text: str | None) -> None:
    parameters = {"timestamp": str(timestamp), **({} if window is None else {"recvWindow": str(window)})}

    if text is None:
        check_time(Parameters(parameters), 10_000)
        return
    with pytest.raises(VenueError) as caught:
        check_time(Parameters(parameters), 10_000)

    assert (caught.value.code, caught.value.message) == (-1021, text)


@pytest.mark.parametrize(
    ("query", "code"),
    [("a=%", -1100), ("a=%zz", -1100), ("a=%ff", -1100), ("a=1&a=2", -1101), ("&".join(["a"] * 2000), -1104)],
)
def test_parameters_that_cannot_be_read(query: str, code: int) -> None:
    with pytest.raises(VenueError) as caught:
        read_parameters(query, "")

    assert caught.value.code == code


def test_what_is_in_query_and_body_counts_as_in_the_query() -> None:
    assert read_parameters("a=query", "a=body&b=2") == {"a": "query", "b": "2"}
