"""Faults of the REST interface: answers that lie, break off, lag, or never come."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from tests.exchange_rig import Rig, error_of, sound


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(
    ("name", "status", "is_json"),
    [
        ("http_403", 403, False), ("throttled", 503, True), ("unavailable", 503, True), ("revoked_key", 401, True),
        ("http_500", 500, False), ("http_502", 502, False), ("http_503", 503, True), ("http_504", 504, False),
        ("html_200", 200, False), ("empty_body", 200, False), ("half_json", 200, False),
    ],
)  # fmt: skip
def test_the_answer_is_not_the_one_expected(rig: Rig, name: str, status: int, is_json: bool) -> None:
    right = rig.signed("GET", "/fapi/v3/account").body
    rig.faults.set(name, count=1)

    reply = rig.signed("GET", "/fapi/v3/account")

    assert reply.status == status
    assert reply.body != right
    assert sound(reply.body.decode()) == is_json
    assert "X-MBX-USED-WEIGHT-1M" in reply.headers
    assert rig.signed("GET", "/fapi/v3/account").body == right


def test_right_json_under_a_wrong_name(rig: Rig) -> None:
    rig.faults.set("wrong_content_type")

    reply = rig.request("GET", "/fapi/v1/time")

    assert reply.headers["Content-Type"] == "text/html"
    assert json.loads(reply.body) == {"serverTime": rig.now_ms}


def test_compressed_and_cut(rig: Rig) -> None:
    rig.faults.set("gzip_cut")

    reply = rig.request("GET", "/fapi/v1/exchangeInfo")

    assert reply.headers["Content-Encoding"] == "gzip"
    with pytest.raises((EOFError, zlib.error)):
        gzip.decompress(reply.body)


@pytest.mark.parametrize(("name", "fate"), [("hang", "hang"), ("reset", "reset"), ("cut_body", "cut")])
def test_the_connection_is_what_fails(rig: Rig, name: str, fate: str) -> None:
    rig.faults.set(name, count=1)

    assert rig.request("GET", "/fapi/v1/time").fate == fate
    assert rig.request("GET", "/fapi/v1/time").fate == "answer"


def test_slow_is_slow(rig: Rig) -> None:
    rig.faults.set("slow", ms=1234)

    assert rig.request("GET", "/fapi/v1/time").delay_ms == 1234


def test_a_429_that_comes_from_nowhere_has_to_be_heeded(rig: Rig) -> None:
    rig.faults.set("http_429", count=1, retry_after=90)
    reply = rig.request("GET", "/fapi/v1/time")
    assert (reply.status, reply.headers["Retry-After"]) == (429, "90")

    rig.pass_time(89_999)
    rig.request("GET", "/fapi/v1/time")
    assert rig.exchange.limits.violations == 1
    rig.pass_time(1)

    assert rig.request("GET", "/fapi/v1/time").status == 200


def test_a_ban_that_comes_from_nowhere(rig: Rig) -> None:
    rig.faults.set("http_418", count=1, ban_seconds=120)

    status, code, text = error_of(rig.request("GET", "/fapi/v1/time"))

    assert (status, code) == (418, -1003)
    assert str(rig.now_ms + 120_000) in text


@pytest.mark.parametrize("skew_ms", [3_600_000, -3_600_000])
def test_the_clock_is_another_one(rig: Rig, skew_ms: int) -> None:
    rig.faults.set("clock_skew", ms=skew_ms)

    told = json.loads(rig.request("GET", "/fapi/v1/time").body)["serverTime"]

    assert told == rig.now_ms + skew_ms
    assert error_of(rig.signed("GET", "/fapi/v3/account"))[1] == -1021
    assert rig.signed("GET", "/fapi/v3/account", timestamp=told).status == 200


def test_an_order_whose_answer_is_lost_was_placed_all_the_same(rig: Rig) -> None:
    rig.faults.set("http_503", count=1)

    reply = rig.signed("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")

    assert reply.status == 503
    assert rig.venue.books(rig.account)["positions"] == {"BTCUSDT": "0.01"}


def test_a_snapshot_lags_behind_the_stream(rig: Rig) -> None:
    rig.faults.set("stale_snapshot", ms=3000)
    rig.pass_time(5000)
    rig.trade()
    client = rig.user_client()
    rig.pass_time(2000)
    rig.trade()

    before = [row["positionAmt"] for row in rig.get("/fapi/v3/positionRisk")]
    rig.pass_time(1000)
    after_first = [row["positionAmt"] for row in rig.get("/fapi/v3/positionRisk", symbol="BTCUSDT")]
    rig.pass_time(2000)
    after_both = [row["positionAmt"] for row in rig.get("/fapi/v3/positionRisk")]

    assert len(client.trade_ids()) == 1
    assert (before, after_first, after_both) == ([], ["0.010"], ["0.020"])


def trades_of(rig: Rig, **parameters: Any) -> list[int]:
    return [row["id"] for row in rig.get("/fapi/v1/userTrades", symbol="BTCUSDT", **parameters)]


def test_pages_overlap_miss_are_empty_and_short(rig: Rig) -> None:
    for _ in range(6):
        rig.trade()
    ids = trades_of(rig)

    rig.faults.set("page_overlap", count=1, rows=2)
    overlapping = trades_of(rig, fromId=ids[3])
    rig.faults.set("page_missing", count=1)
    missing = trades_of(rig)
    rig.faults.set("page_empty", count=1)
    empty = trades_of(rig)
    rig.faults.set("page_short", count=1, rows=2)
    short = trades_of(rig)

    assert overlapping[0] < ids[3]
    assert set(overlapping) >= set(ids[3:])
    assert len(missing) == 5
    assert missing[0] == ids[0]
    assert missing[-1] == ids[-1]
    assert (empty, short) == ([], ids[:2])
    assert trades_of(rig) == ids


def test_faults_can_be_meant_for_one_path_or_one_account(rig: Rig) -> None:
    rig.faults.set("http_500", path="/fapi/v1/userTrades")
    rig.faults.set("http_502", account="other-key")

    assert rig.signed("GET", "/fapi/v3/account").status == 200
    assert rig.signed("GET", "/fapi/v1/userTrades", symbol="BTCUSDT").status == 500
    assert rig.signed("GET", "/fapi/v3/account", key="other-key", secret="other-secret").status == 502
