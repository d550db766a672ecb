"""`status --watch` in a terminal: what the service says, as it changes; and afterwards the terminal as it was."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import pytest

from account_monitor.cli.screen import price_text, rounded, whole
from tests.integration.nats_server import NatsServer
from tests.integration.service import Service
from tests.terminal_by_hand import TerminalByHand

pytestmark = pytest.mark.integration

WIDE = (150, 45)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as started:
        yield started


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, server: NatsServer) -> Iterator[Service]:
    """A service with two accounts, each of which holds something that has a price."""
    opening = {"balances": {"USDT": "10000"}}
    accounts = [{"name": name, "exchange": "none", "opening": opening} for name in ("main", "alt")]
    started = Service(tmp_path_factory.mktemp("service"), server.url, accounts)
    started.start()
    trade(server, started, "main", 1, "50000.5")
    trade(server, started, "alt", 1, "50000.5")
    yield started
    started.stop()


def publish(server: NatsServer, subject: str, **message: Any) -> None:
    async def told() -> None:
        connection = await nats.connect(server.url)
        await connection.publish(subject, json.dumps(message).encode())
        await connection.drain()

    asyncio.run(told())


def trade(server: NatsServer, service: Service, account: str, number: int, price: str) -> None:
    """Buy a bit, and return when the service knows."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    publish(server, f"trading.fills.{account}", id=str(number), account=account, symbol="BTCUSDT", side="BUY",
            quantity="0.125", price=price, fee="0.75", fee_currency="USDT", timestamp=now)  # fmt: skip
    service.wait_until(lambda: service.fill_count(account) == number, "traded")


def watching(service: Service, *options: str, size: tuple[int, int] = WIDE, **env: str) -> TerminalByHand:
    command = [sys.executable, "-m", "account_monitor", "status", "--watch", "--config", str(service.config_file)]
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    return TerminalByHand(
        [*command, *options], size=size, env={**environment, "TERM": "xterm-256color", **env}, cwd=service.folder
    )


def figures(account: dict[str, Any]) -> list[str]:
    """Return what a screen shows of an account, as it writes it; not `seq`, which journaled prices move untold."""
    pnl = account["pnl"]
    texts = [rounded(pnl[name], 8) for name in ("equity", "net_pnl", "realized_pnl", "unrealized_pnl", "total_fees")]
    for key, position in account["positions"].items():
        texts += [key, whole(position["quantity"]), price_text(position["entry_price"])]
        texts += [price_text(position["current_price"])]
    return texts + [f"{whole(each['total'])} {asset}" for asset, each in account["balances"].items()]


def shows(terminal: TerminalByHand, account: dict[str, Any]) -> bool:
    return all(figure in terminal.text for figure in figures(account))


def test_it_shows_what_the_service_knows_through_changes_sizes_and_deaths(server: NatsServer, service: Service) -> None:
    terminal = watching(service)
    try:
        terminal.until(lambda: "live" in terminal.text and shows(terminal, service.account("main")))
        assert shows(terminal, service.account("alt"))
        total = sum(float(service.account(name)["pnl"]["equity"]) for name in ("main", "alt"))
        assert re.search(rf"^total +{total:,.2f}".rstrip("0"), terminal.text, re.MULTILINE)

        count = service.fill_count("main")
        trade(server, service, "main", count + 1, "51000.25")
        terminal.until(lambda: shows(terminal, service.account("main")), seconds=5)
        assert re.search(r"fill .*Z  BUY  0\.125 BTCUSDT at 51,000\.25  fee 0\.75 USDT", terminal.text)

        terminal.resize((70, 12))
        terminal.until(lambda: "↑ 0" in terminal.text)
        assert all(len(line) <= 70 for line in terminal.text.splitlines())
        terminal.type(b"j")
        terminal.until(lambda: "↑ 1" in terminal.text)
        terminal.resize(WIDE)
        terminal.until(lambda: shows(terminal, service.account("main")))

        service.kill()
        terminal.until(lambda: "disconnected since" in terminal.text)
        terminal.until(lambda: terminal.is_dim("BTCUSDT"))
        service.start()
        terminal.until(lambda: "disconnected" not in terminal.text and shows(terminal, service.account("main")))
        assert f"seq {service.account('main')['epoch']}:" in terminal.text
        trade(server, service, "main", count + 2, "52000.25")
        terminal.until(lambda: shows(terminal, service.account("main")), seconds=5)

        assert terminal.is_alternate
        terminal.type(b"q" + 70 * b"x")  # more than is read at a time
        terminal.until(lambda: terminal.process.poll() is not None, seconds=3)
        assert terminal.process.returncode == 0
        assert (terminal.is_alternate, terminal.has_cursor, terminal.mode) == (False, True, terminal.mode_before)
        assert len(terminal.frames) < 11 * (terminal.frames[-1] - terminal.frames[0])  # ten a second at most
    finally:
        terminal.close()


def test_ctrl_z_and_ctrl_c_leave_the_terminal_as_it_was_and_no_colour_was_shown(service: Service) -> None:
    terminal = watching(service, "--account", "alt", NO_COLOR="1")
    try:
        terminal.until(lambda: shows(terminal, service.account("alt")))
        assert "main" not in terminal.text
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.until(lambda: not terminal.is_alternate and terminal.mode == terminal.mode_before)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(lambda: terminal.is_alternate and shows(terminal, service.account("alt")))

        terminal.type(b"\x03")
        terminal.until(lambda: terminal.process.poll() is not None, seconds=3)
        terminal.read(0.2)

        assert terminal.process.returncode == 130
        assert (terminal.is_alternate, terminal.has_cursor, terminal.mode) == (False, True, terminal.mode_before)
        assert not re.search(rb"\x1b\[[0-9;]*(3[0-8]|4[0-8]|9[0-7])[0-9;]*m", terminal.written)
        assert b"Traceback" not in terminal.written
    finally:
        terminal.close()


def test_ctrl_backslash_leaves_the_terminal_as_it_was_also_while_nothing_answers(service: Service) -> None:
    terminal = watching(service, "--url", "http://127.0.0.1:9")
    try:
        terminal.until(lambda: "not connected" in terminal.text)
        terminal.type(b"\x1c")
        terminal.until(lambda: terminal.process.poll() is not None)
        terminal.read(0.2)

        assert terminal.process.returncode == 131
        assert (terminal.is_alternate, terminal.has_cursor, terminal.mode) == (False, True, terminal.mode_before)
    finally:
        terminal.close()


def test_what_will_not_pass_is_one_line_on_the_screen_that_was_there(service: Service) -> None:
    terminal = watching(service, "--account", "nobody")
    try:
        terminal.until(lambda: terminal.process.poll() is not None)
        terminal.read(0.2)

        assert terminal.process.returncode == 1
        assert terminal.mode == terminal.mode_before
        said = terminal.written.rpartition(b"\x1b[?1049l")[2].decode()
        assert said.strip().startswith("account-monitor: ")
        assert "nobody" in said
        assert len(said.strip().splitlines()) == 1
    finally:
        terminal.close()


def test_an_alarm_stands_once_on_the_screen(tmp_path: Path, server: NatsServer) -> None:
    account = {"name": "poor", "exchange": "none", "opening": {"balances": {"USDT": "10"}}}
    service = Service(tmp_path, server.url, [account])
    service.document["alerts"] = {"thresholds": {"min_balance": "1000"}}
    service.start()
    terminal = None
    try:
        service.wait_until(lambda: "LOW_BALANCE" in str(service.get("/health")), "alarmed")
        terminal = watching(service)
        terminal.until(lambda: bool(re.search(r"^(WARNING|CRITICAL) +LOW_BALANCE", terminal.text, re.MULTILINE)))
        terminal.read(1.0)

        assert "alarms:poor" not in terminal.text
    finally:
        if terminal is not None:
            terminal.close()
        service.stop()
