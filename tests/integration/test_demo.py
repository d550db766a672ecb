"""The demo as a newcomer runs it: from nothing, killed in the middle, and continued."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from account_monitor.demo.feeder import recorded_fills, recorded_positions
from account_monitor.demo.market import Market, Trade
from tests.integration.service import free_port


class Demo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None

    def start(self, *more: str) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "account_monitor", "demo", "--data-dir", str(self.folder / "demo"),
                "--http-port", str(self.port), "--metrics-port", "0", *more,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder,
        )  # fmt: skip

    def account(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/account", timeout=5) as answer:
            body: dict[str, Any] = json.loads(answer.read())
            return body

    def wait_until_recorded(self, fills: int) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                account = self.account()
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
                continue
            if sum(position["fill_count"] for position in account["positions"].values()) >= fills:
                return account
            time.sleep(0.05)
        raise AssertionError(f"not {fills} fills after 60 s")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()


@pytest.mark.timeout(180)
def test_the_recorded_fills_survive_kills_and_equal_the_exchange(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    for fills in (5, 20):
        demo.start()
        demo.wait_until_recorded(fills)
        demo.kill()
    demo.start()
    account = demo.wait_until_recorded(len(recorded_fills()) + 5)  # all of the recording, and the market has begun

    stated: dict[str, list[Decimal]] = {}
    for fill in recorded_fills():
        stated.setdefault(fill.symbol, []).append(fill.realized_pnl)
    for symbol, results in stated.items():
        position = account["positions"][symbol]
        assert position["fill_count"] == len(results)
        assert abs(Decimal(position["realized_pnl"]) - sum(results)) <= Decimal("0.00000001") * len(results)
    assert account["unpriced"] == []

    assert demo.process is not None
    demo.process.terminate()
    demo.process.communicate(timeout=10)
    assert demo.process.returncode == 0


def test_a_killed_demo_leaves_no_server_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    demo.start()
    demo.wait_until_recorded(1)
    assert demo.process is not None
    servers = psutil.Process(demo.process.pid).children()
    assert [server.name() for server in servers] == ["nats-server"]

    demo.kill()

    psutil.wait_procs(servers, timeout=10)
    assert not any(server.is_running() and server.status() != psutil.STATUS_ZOMBIE for server in servers)


def test_it_ends_by_itself_after_the_minutes_asked_for(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    demo.start("--minutes", "0.05")
    assert demo.process is not None

    said, _ = demo.process.communicate(timeout=60)

    assert demo.process.returncode == 0
    assert f"http://127.0.0.1:{demo.port}" in said
    assert "Traceback" not in said


def test_a_taken_port_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first, second = Demo(tmp_path / "first"), Demo(tmp_path / "second")
    first.start()
    first.wait_until_recorded(1)
    second.port = first.port
    second.start()
    assert second.process is not None
    said, _ = second.process.communicate(timeout=30)
    first.kill()

    assert second.process.returncode == 2
    assert len(said.splitlines()) == 1
    assert str(first.port) in said


def test_a_market_is_the_same_for_the_same_seed() -> None:
    def play(seed: int) -> list[tuple[dict[str, str], list[Trade]]]:
        market = Market(seed)
        return [(market.step(), list(market.trades())) for _ in range(200)]

    assert play(3) == play(3)
    assert play(3) != play(4)


def test_a_market_trades_in_whole_lots_at_positive_prices() -> None:
    market = Market(random.Random(1).randint(0, 99))
    trades = [trade for _ in range(2_000) if market.step() for trade in market.trades()]

    assert len(trades) > 1_000
    assert {trade.side for trade in trades} == {"BUY", "SELL"}
    assert all(Decimal(trade.quantity) > 0 and Decimal(trade.price) > 0 for trade in trades)


def test_what_the_recorded_accounts_held_is_an_opening() -> None:
    assert recorded_positions()["SANDUSDT"] == {"quantity": "86", "entry_price": "0.9413"}
    assert len(recorded_fills()) == 51
