"""`simulate`: the simulated exchange as a command of this program."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from tests.integration.simulated_exchange import STOP_SECONDS, Simulation

pytestmark = pytest.mark.integration


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "account_monitor", "simulate", *options],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_it_answers_where_it_says_that_it_is() -> None:
    with Simulation() as exchange:
        assert exchange.ask("/fapi/v1/time")["serverTime"] > 0
        assert exchange.websocket_url == exchange.rest_url.replace("http", "ws")
        assert exchange.admin("GET", "books?api_key=demo-key")["trades"] == {}


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])  # noqa: S104  # for the length of a test
def test_the_address_that_it_prints_can_be_connected_to(host: str) -> None:
    with Simulation("--no-bot", "--host", host) as exchange:
        assert exchange.rest_url == f"http://127.0.0.1:{exchange.port}"
        assert exchange.websocket_url == f"ws://127.0.0.1:{exchange.port}"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(how: signal.Signals) -> None:
    with Simulation() as exchange:
        exchange.ask("/fapi/v1/ping")  # from here on it listens to signals
        exchange.process.send_signal(how)

        assert exchange.process.wait(STOP_SECONDS) == 0


def test_the_faults_are_handed_on() -> None:
    with Simulation("--no-bot", "--faults", "drop=0.25,half_open=0.5", "--seed", "5") as exchange:
        faults = exchange.admin("GET", "faults")

    assert {name: fault["rate"] for name, fault in faults.items()} == {"drop": 0.25, "half_open": 0.5}


def test_a_taken_port_is_named_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = simulate("--port", str(port))

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert str(port) in result.stderr


def test_a_fault_that_nobody_knows_lists_them_all_in_one_line() -> None:
    result = simulate("--faults", "gremlins")

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert [name in result.stderr for name in ("gremlins", "half_open", "drop", "rest")] == [True] * 4


def test_every_option_is_explained() -> None:
    said = simulate("--help").stdout

    for option in ("--port", "--seed", "--faults", "--bot / --no-bot", "--minutes"):
        assert option in said
    assert "demo-key / demo-secret" in said


def test_it_ends_by_itself_after_the_minutes_asked_for() -> None:
    assert simulate("--minutes", "0.01", "--no-bot").returncode == 0
