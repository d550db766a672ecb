"""Margins at the doors: what the view knows of them is what every door shows."""

from __future__ import annotations

from decimal import Decimal

import pytest

from account_monitor.ledger.margin import MarginStated, VenueMargin
from account_monitor.monitor.reports import time_text
from tests.integration.test_metrics import MAIN, scrape
from tests.integration.test_whatif import judged
from tests.integration.trading_desk import OPENED_MS, TradingDesk, eventually, get, listening

pytestmark = pytest.mark.integration

D = Decimal


async def test_an_account_whose_rules_are_known_shows_its_risk(desk: TradingDesk) -> None:
    monitor = await judged(desk)
    venue = VenueMargin(D("11.5"), D(301), D(170), OPENED_MS)
    monitor.state_margin(MarginStated({}, order_margins={"USDT": D(5)}, venue=venue))
    await eventually(lambda: monitor.view.margin.venue is not None)

    account = await get(desk.doors.http_url + "/api/account")

    risk, position = account["risk"], account["positions"]["BTCUSDT"]
    assert (risk["maintenance_margin"], risk["margin_ratio"]) == ("12", "0.04")
    assert risk["available_margin"] == "175"  # 300 − 120 for positions − 5 for orders
    assert [(pool["name"], pool["balance"]) for pool in risk["pools"]] == [("USDT", "300")]
    assert risk["venue"] == {
        "maintenance_margin": "11.5", "margin_balance": "301", "available": "170", "as_of": time_text(OPENED_MS),
    }  # fmt: skip
    assert risk["liquidations"].keys() == {"BTCUSDT", "ETHUSDT"}
    assert position["leverage"] == "10"
    assert position["margin_type"] == "cross"
    assert position["maintenance_margin"] == "10"
    assert position["liquidation_price"] == risk["liquidations"]["BTCUSDT"] == "70.9090909"
    assert position["liquidation_distance_pct"].startswith("29.0909090909")
    assert (await scrape(desk))["account_margin_ratio"] == {MAIN: 0.04}


async def test_a_client_hears_of_a_position_with_its_liquidation_price(desk: TradingDesk) -> None:
    await judged(desk)

    async with listening(desk) as client:
        snapshot = (await client.next("snapshot"))["data"]
        assert snapshot["positions"]["BTCUSDT"]["liquidation_price"] == "70.9090909"
        await desk.mark("90", "ETHUSDT")

        told = (await client.next("position_update"))["data"]

        assert told["symbol"] == "ETHUSDT"
        assert told["liquidation_price"] == "97.02970297"  # 490 = 5.05 × p, with 10 less for BTC
        shown = await get(desk.doors.http_url + "/api/positions")
        assert shown["ETHUSDT"]["liquidation_price"] == told["liquidation_price"]
        assert shown["BTCUSDT"]["liquidation_price"] != "70.9090909"  # which moved with the other's loss


async def test_the_past_has_no_margins(desk: TradingDesk) -> None:
    await judged(desk)

    past = await get(desk.doors.http_url + "/api/account?at=2100-01-01T00:00:00Z")

    assert past["risk"]["margin_ratio"] is None
    assert past["positions"]["BTCUSDT"]["leverage"] is None
