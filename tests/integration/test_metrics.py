"""The metrics port over real sockets: what a scrape shows is what the views say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_plain

from account_monitor.api.metrics import Sample
from account_monitor.monitor.ports import MALFORMED_EVENT, UNKNOWN_ACCOUNT, UNROUTED, Delivery
from tests.integration.trading_desk import TradingDesk, clock, get, trading_desk

pytestmark = pytest.mark.integration

Labels = frozenset[tuple[str, str]]


def foreign_samples() -> list[Sample]:
    return [
        Sample("nats_connected", "Whether NATS is connected.", "gauge", 1.0),
        Sample("nats_messages_total", "Messages by subject.", "counter", 3.0, {"subject": "a"}),
        Sample("nats_messages_total", "Messages by subject.", "counter", 4.0, {"subject": "b"}),
    ]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[TradingDesk]:
    async with trading_desk(tmp_path, samples=foreign_samples) as opened:
        yield opened


async def page(desk: TradingDesk, accept: str = "text/plain") -> tuple[str, str]:
    """Return the type and the text of a scrape."""
    url = desk.doors.metrics_url + "/metrics"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": accept}) as response:
        assert response.status == 200
        return response.headers["Content-Type"], await response.text()


async def scrape(desk: TradingDesk) -> dict[str, dict[Labels, float]]:
    """Return every sample by name and labels."""
    _, text = await page(desk)
    found: dict[str, dict[Labels, float]] = {}
    for family in read_plain(text):
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            assert labels not in found.setdefault(sample.name, {}), f"{sample.name} {sample.labels} twice"
            found[sample.name][labels] = sample.value
    return found


def labels(**named: str) -> Labels:
    return frozenset(named.items())


MAIN = labels(account="main")


async def test_a_scrape_says_what_the_view_says(desk: TradingDesk) -> None:
    monitor = await desk.open()
    await desk.trade(
        desk.fill("BUY", "2", at="100"), desk.fill("SELL", "1", at="110"), desk.fill("SELL", "3", symbol="ETHUSDT")
    )
    await desk.mark("120")

    found = await scrape(desk)

    view = monitor.view
    assert found["account_realized_pnl_usd"] == {MAIN: 10.0}
    assert found["account_equity_usd"] == {MAIN: float(view.pnl.equity or 0)}
    assert found["account_drawdown_pct"] == {MAIN: float(view.standing.drawdown_pct or 0)}
    assert found["account_leverage"] == {MAIN: float(view.exposure.leverage or 0)}
    assert found["account_balance"] == {labels(account="main", asset="USDT"): 10009.85}
    btc, eth = labels(account="main", symbol="BTCUSDT"), labels(account="main", symbol="ETHUSDT")
    assert found["account_positions_total"] == {btc: 1, eth: 1}
    assert found["account_position_value_usd"] == {btc: 120.0, eth: -300.0}
    assert found["account_unrealized_pnl_usd"] == {btc: 20.0, eth: 0.0}
    assert found["account_info"] == {labels(version="9.9.9"): 1.0}


async def test_what_is_not_known_is_left_out_and_is_not_zero(desk: TradingDesk) -> None:
    await desk.open(wallet=None)
    await desk.trade(desk.fill())

    found = await scrape(desk)

    assert "account_equity_usd" not in found
    assert "account_leverage" not in found
    assert "account_drawdown_pct" not in found
    assert "account_balance" not in found
    assert found["account_positions_total"] == {labels(account="main", symbol="BTCUSDT"): 1}


async def test_what_settles_in_something_else_is_shown_in_usd(desk: TradingDesk) -> None:
    """0.1 BTC of profit on 1 BTC worth of ETHBTC, while a bitcoin costs 50,000."""
    await desk.open()
    await desk.trade(
        desk.fill("BUY", "1", at="50000"),
        desk.fill("BUY", "10", at="0.1", symbol="ETHBTC", fee=None, fee_asset=None),
    )
    await desk.mark("50000")
    await desk.mark("0.11", "ETHBTC")

    found = await scrape(desk)

    label = labels(account="main", symbol="ETHBTC")
    assert found["account_position_value_usd"][label] == pytest.approx(55_000)
    assert found["account_unrealized_pnl_usd"][label] == pytest.approx(5_000)


async def test_a_flat_position_is_not_counted(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill("BUY", "1"), desk.fill("SELL", "1"))

    found = await scrape(desk)

    assert "account_positions_total" not in found
    assert "account_position_value_usd" not in found


async def test_symbols_of_any_script_are_labels(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill(symbol="币安人生USDT", position_side="LONG"))

    found = await scrape(desk)

    assert found["account_positions_total"] == {labels(account="main", symbol="币安人生USDT:LONG"): 1}


async def test_fills_are_counted_by_source_and_duplicates_apart(desk: TradingDesk) -> None:
    await desk.open()
    fill = desk.fill()
    await desk.trade(fill, desk.fill())
    desk.put(fill, fill)
    desk.monitor().inbox.put(Delivery("simulator", "", b"", desk.fill()))
    await desk.reach(4)

    found = await scrape(desk)

    nats, simulator = labels(account="main", source="nats:fills"), labels(account="main", source="simulator")
    assert found["fills_total"] == {nats: 2, simulator: 1}
    assert found["fills_duplicate_total"] == {nats: 2}


async def test_what_was_parked_is_counted_by_reason(desk: TradingDesk) -> None:
    await desk.open()
    await desk.open(UNROUTED, wallet=None)
    desk.desk.configure(["main"])
    fill = desk.fill()
    await desk.trade(fill)
    desk.put(fill._replace(price=Decimal(7)))
    malformed = Delivery("nats", "trading.fills", b"?", None, rejection=MALFORMED_EVENT, reason="no JSON")
    desk.monitor().inbox.put(malformed)
    desk.monitor().inbox.put(malformed)
    desk.monitor(UNROUTED).inbox.put(malformed._replace(rejection=UNKNOWN_ACCOUNT))
    await asyncio.sleep(0.2)

    found = await scrape(desk)

    assert {key: count for key, count in found["events_parked_total"].items() if count} == {
        labels(account="main", reason="CONFLICTING_FILL"): 1,
        labels(account="main", reason="MALFORMED_EVENT"): 2,
        labels(account="_unrouted", reason="UNKNOWN_ACCOUNT"): 1,
    }
    assert (
        found["events_parked_total"][labels(account="main", reason="UNKNOWN_ACCOUNT")] == 0
    )  # it has to rise from there
    assert not [key for name, values in found.items() for key in values if ("account", "_unrouted") in key
                and name != "events_parked_total"]  # fmt: skip


async def test_latency_is_from_the_venue_to_the_view(desk: TradingDesk) -> None:
    await desk.open()
    now = clock()
    desk.put(desk.fill(at_ms=now - 3_000), desk.fill(at_ms=now - 40_000), desk.fill(at_ms=now + 60_000))
    await desk.reach(4)

    found = await scrape(desk)

    buckets = {dict(key)["le"]: value for key, value in found["fill_latency_seconds_bucket"].items()}
    assert (buckets["0.001"], buckets["2.0"], buckets["5.0"], buckets["60.0"], buckets["+Inf"]) == (1, 1, 2, 3, 3)
    assert found["fill_latency_seconds_count"] == {labels(): 3}
    assert found["fill_latency_seconds_sum"][labels()] == pytest.approx(43, abs=1)
    assert found["journal_append_seconds_count"][labels()] >= 1


async def test_what_feeds_know_is_added(desk: TradingDesk) -> None:
    found = await scrape(desk)

    assert found["nats_connected"] == {labels(): 1.0}
    assert found["nats_messages_total"] == {labels(subject="a"): 3.0, labels(subject="b"): 4.0}


async def test_openmetrics_is_spoken_where_it_is_asked_for(desk: TradingDesk) -> None:
    await desk.open()
    await desk.trade(desk.fill())

    media_type, text = await page(desk, "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3")

    assert media_type.startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in read_openmetrics(text)}  # type: ignore[no-untyped-call]
    assert {"fills", "account_equity_usd", "fill_latency_seconds", "process_cpu_seconds", "python_info"} <= names


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain;version=x.y", "application/openmetrics-text;version=é"])
async def test_whatever_is_accepted_something_comes(desk: TradingDesk, accept: str) -> None:
    assert "account_info" in (await page(desk, accept))[1]


async def test_the_port_answers_health_and_nothing_else(desk: TradingDesk) -> None:
    url = desk.doors.metrics_url
    assert (await get(url + "/health"))["status"] == "healthy"
    assert (await get(url + "/ready", status=503))["ready"] is False
    assert (await get(url + "/api/account", status=404))["type"] == "/docs#not-found"
    async with aiohttp.ClientSession() as session:
        async with session.post(url + "/metrics") as response:
            assert (response.status, response.content_type) == (405, "application/problem+json")
        async with session.head(url + "/metrics") as response:
            assert response.status == 200
    assert (await get(url + "/metrics", status=421, headers={"Host": "evil.example"}))["type"] == "/docs#wrong-host"


async def test_the_path_can_be_chosen(tmp_path: Path) -> None:
    async with trading_desk(tmp_path, metrics_path="/m") as desk:
        async with aiohttp.ClientSession() as session, session.get(desk.doors.metrics_url + "/m") as response:
            assert "account_info" in await response.text()
        await get(desk.doors.metrics_url + "/metrics", status=404)
