"""Limits: weights of a minute, 429, 418 and what comes after."""

from __future__ import annotations

import json

import pytest

from exchange_simulator.limits import Limited, Limits
from tests.exchange_rig import KEY, START_MS, Rig, error_of


class Turned:
    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def limits(clock: Turned) -> Limits:
    return Limits(clock, weight_a_minute=100)


def limited(limits: Limits, weight: int = 1, ip: str = "1.2.3.4") -> Limited:
    with pytest.raises(Limited) as caught:
        limits.take(ip, weight)
    return caught.value


def test_weight_counts_by_the_fixed_minute(limits: Limits, clock: Turned) -> None:
    clock.now_ms += 59_999
    limits.take("1.2.3.4", 100)
    assert limits.used_weight("1.2.3.4") == 100

    clock.now_ms += 1

    assert limits.used_weight("1.2.3.4") == 0
    limits.take("1.2.3.4", 100)


def test_over_the_limit_is_429_until_the_minute_ends(limits: Limits, clock: Turned) -> None:
    clock.now_ms += 12_500
    limits.take("1.2.3.4", 60)

    refusal = limited(limits, 41)

    assert (refusal.status, refusal.retry_after_seconds) == (429, 48)
    assert refusal.message.startswith("Too many requests; current limit is 100 requests per minute.")
    assert limits.violations == 0
    clock.now_ms += 47_500
    limits.take("1.2.3.4", 1)


def test_addresses_are_counted_apart(limits: Limits) -> None:
    limited(limits, 101)

    limits.take("5.6.7.8", 100)


def test_whoever_goes_on_is_banned_and_every_request_is_noted(limits: Limits, clock: Turned) -> None:
    limited(limits, 101)

    statuses = [limited(limits).status for _ in range(6)]

    assert statuses == [429, 429, 429, 429, 418, 418]
    assert limits.violations == 6
    clock.now_ms += 119_999
    assert limited(limits).status == 418
    clock.now_ms += 1
    limits.take("1.2.3.4", 1)


def test_bans_grow_up_to_three_days(limits: Limits, clock: Turned) -> None:
    lengths = []
    for _ in range(8):
        ban = limits.ban("1.2.3.4")
        lengths.append((ban.until_ms - clock.now_ms) // 60_000)
        clock.now_ms = ban.until_ms

    assert lengths == [2, 10, 60, 360, 1440, 4320, 4320, 4320]


def test_a_ban_names_its_end_in_the_text(limits: Limits, clock: Turned) -> None:
    ban = limits.ban("1.2.3.4")

    until_ms = clock.now_ms + 120_000
    assert ban.message == (
        f"Way too many requests; IP banned until {until_ms}. Please use the websocket for live updates to avoid bans."
    )
    assert ban.retry_after_seconds == 120


def test_addresses_are_forgotten_before_there_are_too_many(limits: Limits) -> None:
    for number in range(10_050):
        limits.take(f"address {number}", 1)

    assert limits.used_weight("address 0") == 0
    assert limits.used_weight("address 10049") == 1


@pytest.mark.parametrize(
    ("path", "parameters", "weight"),
    [
        ("/fapi/v3/account", {}, 5),
        ("/fapi/v3/positionRisk", {}, 5),
        ("/fapi/v1/income", {}, 30),
        ("/fapi/v1/openOrders", {}, 40),
        ("/fapi/v1/openOrders", {"symbol": "BTCUSDT"}, 1),
        ("/fapi/v1/positionSide/dual", {}, 30),
        ("/fapi/v1/commissionRate", {"symbol": "BTCUSDT"}, 20),
        ("/fapi/v1/premiumIndex", {}, 10),
        ("/fapi/v1/forceOrders", {}, 50),
        ("/fapi/v1/fundingInfo", {}, 0),
    ],
)
def test_calls_weigh_what_is_documented(path: str, parameters: dict[str, str], weight: int) -> None:
    rig = Rig()

    reply = rig.signed("GET", path, **parameters)

    assert reply.status == 200, reply.body
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_the_limit_is_shared_by_all_accounts_of_an_address_and_said_in_seconds() -> None:
    rig = Rig(weight_a_minute=10)
    rig.get("/fapi/v3/account")
    rig.signed("GET", "/fapi/v3/account", key="other-key", secret="other-secret")

    reply = rig.signed("GET", "/fapi/v3/account")

    assert error_of(reply)[:2] == (429, -1003)
    assert reply.headers["Retry-After"] == "60"
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "15"
    assert rig.exchange.statistics()["violations"] == 0


def test_a_banned_address_gets_no_websocket_either() -> None:
    rig = Rig()
    rig.exchange.limits.ban("127.0.0.1")

    with pytest.raises(Exception, match="HTTP 418"):
        rig.client("/market/ws")

    assert rig.exchange.statistics()["violations"] == 1
    rig.client("/market/ws", ip="5.6.7.8")


def test_spot_has_limits_of_its_own() -> None:
    rig = Rig(weight_a_minute=1)
    rig.request("GET", "/fapi/v1/time")

    assert rig.request("GET", "/fapi/v1/time").status == 429
    assert rig.request("GET", "/api/v3/time").status == 200


def test_orders_are_counted_by_account() -> None:
    rig = Rig()
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.002"}

    first = rig.signed("POST", "/fapi/v1/order", **order)
    rig.pass_time(10_000)
    second = rig.signed("POST", "/fapi/v1/order", **order)

    counts = [(r.headers["X-MBX-ORDER-COUNT-10S"], r.headers["X-MBX-ORDER-COUNT-1M"]) for r in (first, second)]
    assert counts == [("1", "1"), ("1", "2")]
    for _ in range(299):
        rig.exchange.limits.take_orders(KEY, 1)
    reply = rig.signed("POST", "/fapi/v1/order", **order)
    assert error_of(reply) == (429, -1015, "Too many new orders; current limit is 300 orders per 10 SECONDS.")


def test_funding_rates_have_a_limit_for_five_minutes() -> None:
    rig = Rig()

    statuses = [rig.request("GET", "/fapi/v1/fundingInfo").status for _ in range(501)]

    assert statuses == [200] * 500 + [429]
    assert json.loads(rig.request("GET", "/fapi/v1/time").body) == {"serverTime": rig.now_ms}
