"""What the service says of something that it was not told: found, named, told once, and shown alike by every door."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.market import equal, market, monitored
from tests.integration.service import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def post(service: Service, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(  # its own address
        f"http://127.0.0.1:{service.http_port}{path}", method="POST",
        data=None if body is None else json.dumps(body).encode(),
        headers={} if body is None else {"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  # the same
        return json.loads(answer.read())


def metrics(service: Service) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


async def test_what_was_lost_is_found_named_and_told_once_also_over_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(2) as here, monitored(tmp_path, here, monkeypatch) as service:
        here.order("BTCUSDT", "BUY", "0.5")
        await equal(service, here, 10)
        here.faults.set("drop")
        here.order("BTCUSDT", "BUY", "0.25")
        here.venue.withdraw(here.account, "USDT", "1000")
        here.faults.clear("drop")
        await asyncio.to_thread(post, service, "/api/reconcile")
        await equal(service, here, 10)

        def is_named() -> bool:
            reports = service.get("/api/reconciliation")[1]["reports"]
            causes = {finding["cause"] for report in reports for finding in report["findings"]}
            return causes >= {"MISSED_FILL", "TRANSFER"} and service.account()["reconciliation"]["status"] == "agrees"

        await asyncio.to_thread(service.wait_until, is_named, "named", 15)

        def is_over() -> bool:
            alerts = service.get("/api/alerts?type=POSITION_DRIFT")[1]["alerts"]
            return [(each["state"], each["cause"]) for each in alerts] == [("RESOLVED", "MISSED_FILL")]

        await asyncio.to_thread(service.wait_until, is_over, "over", 15)
        told = await asyncio.to_thread(service.get, "/api/alerts")
        page = await asyncio.to_thread(metrics, service)
        assert re.search(r'reconciliation_corrections_total{account="main",cause="MISSED_FILL"} [1-9]', page)
        assert 'account_equity_residual_usd{account="main"} 0.0' in page
        assert "reconciliation_drift_abs_bucket" in page
        assert "reconciliation_duration_seconds_count" in page

        await asyncio.to_thread(service.kill)
        await asyncio.to_thread(service.start)
        assert (await asyncio.to_thread(service.get, "/api/alerts?type=POSITION_DRIFT"))[1]["alerts"] == [
            each for each in told[1]["alerts"] if each["type"] == "POSITION_DRIFT"
        ]
        log = service.log_file.read_text()
        fired = [json.loads(line) for line in log.splitlines() if '"alert_fired"' in line]
        assert [each["symbol"] for each in fired if each["type"] == "POSITION_DRIFT"] == ["BTCUSDT"]


async def test_a_correction_by_hand_that_the_exchange_does_not_share_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market(2) as here, monitored(tmp_path, here, monkeypatch) as service:
        ordered = {"reason": "a mistake", "by": "ann", "wallets": {"USDT": "100"}}
        answer = await asyncio.to_thread(post, service, "/api/corrections", ordered)
        assert answer["event"].startswith("adjustment:")

        def is_noticed() -> bool:
            alerts = service.get("/api/alerts?type=BALANCE_DRIFT")[1]["alerts"]
            return bool(alerts) and "USDT" in alerts[0]["message"]

        await asyncio.to_thread(service.wait_until, is_noticed, "noticed", 60)
