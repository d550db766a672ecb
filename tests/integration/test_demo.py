"""The demo as a newcomer runs it: it trades, breaks, heals, equals the exchange's books, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from account_monitor.demo.exchange import SimulatedExchange
from account_monitor.errors import CommandFailed
from tests.integration.service import READY_SECONDS, free_port

EQUAL = re.compile(
    r"equal to the exchange's own books: wallets (\d+) of \1, positions (\d+) of \2, realized P&L (\d+) of \3"
)


class Demo:
    """`account-monitor demo` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port, self.metrics_port, self.grpc_port = free_port(), free_port(), free_port()
        self.output = folder / "output"
        self.process: subprocess.Popen[bytes]

    def start(self, *more: str) -> None:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "account_monitor", "demo", "--data-dir", str(self.folder / "demo"),
                    "--http-port", str(self.port), "--metrics-port", str(self.metrics_port),
                    "--grpc-port", str(self.grpc_port), *more,
                ],
                stdout=output, stderr=output, cwd=self.folder,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.output.read_text()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return json.loads(answer.read())

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def fills(self) -> int:
        positions = self.get("/api/account")["positions"]
        return sum(position["fill_count"] for position in positions.values())

    def wait_until(self, holds: Callable[[], Any], what: str, seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            assert self.process.poll() is None, f"it ended: {self.said}"
            assert time.monotonic() < deadline, f"not {what} after {seconds} s: {self.said}"
            time.sleep(0.05)

    def children(self) -> list[psutil.Process]:
        children: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return children

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    if hasattr(demo, "process") and demo.process.poll() is None:
        demo.kill()


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.integration
@pytest.mark.slow
def test_what_breaks_is_healed_and_the_ledger_equals_the_books_of_the_exchange(demo: Demo) -> None:
    demo.start()
    demo.wait_until(lambda: demo.fills() > 10, "traded")
    demo.wait_until(lambda: EQUAL.search(demo.said), "equal")
    demo.wait_until(lambda: "; healed after" in demo.said, "healed", 60)
    healed_to = len(demo.said)
    demo.wait_until(lambda: EQUAL.search(demo.said, healed_to), "equal again")

    assert "injected: the stream was cut; healing" in demo.said
    reconnects = re.search(r'websocket_reconnects_total{account="demo"} (\d+)', demo.metrics())
    assert reconnects is not None
    assert int(reconnects[1]) == 1, demo.said
    assert "not equal" not in demo.said
    assert "alerts firing: 0" in demo.said.splitlines()[-1]
    assert demo.get("/api/account")["unpriced"] == []


@pytest.mark.integration
def test_every_fill_comes_from_the_exchange_and_over_nats_and_counts_once(demo: Demo) -> None:
    demo.start()
    demo.wait_until(lambda: demo.fills() > 10, "traded")

    def counts(metric: str) -> dict[str, int]:
        found = re.findall(rf'^{metric}{{account="demo",source="([^"]+)"}} (\d+)', demo.metrics(), re.MULTILINE)
        return {source: int(count) for source, count in found}

    demo.wait_until(lambda: sum(counts("fills_duplicate_total").values()) > 5, "told of twice")
    sources = counts("fills_total").keys() | counts("fills_duplicate_total").keys()
    assert any(source.startswith("exchange") for source in sources)
    assert any(source.startswith("nats") for source in sources)
    ids = [(fill["symbol"], fill["id"]) for fill in demo.get("/api/fills?limit=1000")["fills"]]
    assert len(ids) == len(set(ids))


@pytest.mark.integration
def test_a_killed_demo_leaves_no_process_behind(demo: Demo) -> None:
    demo.start()
    demo.wait_until(lambda: demo.fills() > 0, "traded")
    children = demo.children()
    assert len(children) == 3
    assert any(child.name() == "nats-server" for child in children)
    assert any("exchange_simulator" in child.cmdline() for child in children)
    assert any("account_monitor.historian.scribe" in child.cmdline() for child in children)

    demo.kill()

    deadline = time.monotonic() + 10
    while not all(map(is_gone, children)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.integration
def test_ctrl_c_ends_everything_within_two_seconds(demo: Demo) -> None:
    demo.start()
    demo.wait_until(lambda: demo.fills() > 0, "traded")
    children = demo.children()

    demo.process.send_signal(signal.SIGINT)

    assert demo.process.wait(2) == 0
    assert all(map(is_gone, children))
    assert "Traceback" not in demo.said


@pytest.mark.integration
def test_each_run_begins_anew_and_ends_by_itself_after_the_minutes_asked_for(demo: Demo) -> None:
    for _ in range(2):
        demo.start("--minutes", "0.03")
        assert demo.process.wait(30) == 0

    assert f"http://127.0.0.1:{demo.port}" in demo.said
    assert "Traceback" not in demo.said
    runs = sorted(path.name for path in (demo.folder / "demo").iterdir() if path.is_dir() and not path.is_symlink())
    assert len(runs) == 2
    assert (demo.folder / "demo" / "latest").resolve().name == runs[-1]
    assert (demo.folder / "demo" / runs[0] / "demo.journal").exists()


@pytest.mark.integration
def test_it_ends_with_a_reason_when_the_simulated_exchange_dies(demo: Demo) -> None:
    demo.start()
    demo.wait_until(lambda: demo.fills() > 0, "traded")
    (exchange,) = [child for child in demo.children() if "exchange_simulator" in child.cmdline()]

    exchange.kill()

    assert demo.process.wait(10) == 1
    assert "the simulated exchange ended with code -9" in demo.said.splitlines()[-1]
    assert "Traceback" not in demo.said


@pytest.mark.integration
def test_doctor_finds_a_running_demo_well(demo: Demo) -> None:
    demo.start()
    demo.wait_until(lambda: demo.fills() > 0, "traded")

    result = subprocess.run(
        [sys.executable, "-m", "account_monitor", "doctor", "--config", str(demo.folder / "demo/latest/config.yaml")],
        capture_output=True, text=True, timeout=60, check=False,
        env={"DEMO_API_KEY": "demo-key", "DEMO_SECRET_KEY": "demo-secret"},
    )  # fmt: skip

    assert result.returncode == 0, result.stdout + result.stderr
    assert "TRADING" in result.stdout


@pytest.mark.integration
def test_a_taken_port_is_named_in_one_line(tmp_path: Path) -> None:
    first, second = Demo(tmp_path / "first"), Demo(tmp_path / "second")
    first.start()
    try:
        first.wait_until(lambda: first.get("/health"), "up")
        second.port = first.port
        second.start()
        assert second.process.wait(30) == 2
    finally:
        first.kill()

    assert len(second.said.splitlines()) == 1
    assert str(first.port) in second.said
    assert 'make demo ARGS="--http-port P"' in second.said
    assert [path.name for path in (second.folder / "demo").iterdir()] == ["demo.lock"]


@pytest.mark.integration
def test_two_ports_that_are_the_same_are_refused_before_a_folder_is_made(demo: Demo) -> None:
    demo.metrics_port = demo.port
    demo.start()

    assert demo.process.wait(30) == 2
    assert "--metrics-port" in demo.said
    assert [path.name for path in (demo.folder / "demo").iterdir()] == ["demo.lock"]


@pytest.mark.integration
def test_a_second_demo_in_the_same_place_is_refused_in_one_line(demo: Demo) -> None:
    demo.start()
    demo.wait_until(lambda: demo.get("/health"), "up")
    second = Demo(demo.folder)
    second.output = demo.folder / "second"
    second.start()

    assert second.process.wait(30) == 1
    assert len(second.said.splitlines()) == 1
    assert "--data-dir" in second.said


@pytest.mark.integration
async def test_a_simulated_exchange_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no module named so' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))

    with pytest.raises(CommandFailed, match="no module named so"):
        await SimulatedExchange(tmp_path, 1).start()
