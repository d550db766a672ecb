"""The process that writes the history: whatever becomes of it, the service goes on, says so, and starts another."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from account_monitor.config import ServiceSettings, Settings
from account_monitor.historian import historian as module
from account_monitor.historian.historian import SCRIBE, Historian
from account_monitor.monitor.alarms import AlarmBoard
from account_monitor.monitor.health import Status
from tests.integration.trading_desk import TradingDesk, clock, trading_desk

pytestmark = pytest.mark.integration

GARBAGE = (sys.executable, "-c", "import sys; sys.stdin.readline(); print('no report', flush=True); sys.stdin.read()")
ENDLESS = (
    sys.executable,
    "-c",
    "import sys; sys.stdin.readline(); print('x' * 3_000_000, flush=True); sys.stdin.read()",
)
SHOUTS = (
    sys.executable, "-c",
    "import sys; sys.stderr.write('x' * 3_000_000 + '\\n'); raise SystemExit('no reason at all')",
)  # fmt: skip
DIES = (sys.executable, "-c", "raise SystemExit('no reason at all')")


class Rig:
    """A desk with one account, and a historian at work."""

    def __init__(self, desk: TradingDesk, historian: Historian, alarms: AlarmBoard) -> None:
        self.desk = desk
        self.historian = historian
        self.alarms = alarms

    @property
    def pid(self) -> int:
        process = self.historian._process
        assert process is not None
        return process.pid

    def fired(self) -> list[str]:
        return [alarm.alert.message for alarm in self.alarms.open("main")]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.historian.watch()
                await asyncio.sleep(0.02)


@asynccontextmanager
async def at_work(folder: Path, monkeypatch: pytest.MonkeyPatch, command: Sequence[str] = SCRIBE) -> AsyncIterator[Rig]:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(module, "UNAVAILABLE_SECONDS", 0.3)
    async with trading_desk(folder) as desk:
        monitor = await desk.open("main")
        alarms = AlarmBoard(clock, suppression_seconds=0.0)
        alarms.attach(monitor)
        settings = Settings()._replace(service=ServiceSettings(data_dir=folder))
        historian = Historian(settings, desk.desk, alarms, command=command)
        historian.assign(["main"])
        task = asyncio.create_task(historian.run())
        try:
            yield Rig(desk, historian, alarms)
        finally:
            await historian.stop()
            await task


async def test_what_is_traded_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work(tmp_path, monkeypatch) as rig:
        seq = await rig.desk.trade(rig.desk.fill(), rig.desk.fill())
        await rig.until(
            lambda: dict(rig.historian.lags()) == {"main": 0} and rig.historian._followed["main"].seq >= seq
        )

        check = rig.desk.desk.health.checks["history"]
        assert (check.status, check.message.endswith("; 0 entries to write")) == (Status.HEALTHY, True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_one_that_is_killed_is_replaced_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    async with at_work(tmp_path, monkeypatch) as rig:
        await rig.desk.trade(rig.desk.fill())
        await rig.until(lambda: dict(rig.historian.lags()) == {"main": 0})
        first = rig.pid
        os.kill(first, number)
        seq = await rig.desk.trade(rig.desk.fill())
        if number is signal.SIGSTOP:
            os.kill(first, signal.SIGCONT)
        await rig.until(lambda: rig.historian._followed["main"].seq >= seq)
        await rig.until(lambda: not rig.fired())

        assert (rig.pid == first) is (number is signal.SIGSTOP)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (GARBAGE, "ended with code -9"),
        (ENDLESS, "ended with code -9"),
        (DIES, "no reason at all"),
        (SHOUTS, "no reason at all"),
    ],
)
async def test_one_that_talks_nonsense_or_cannot_start_is_told_of_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Sequence[str], says: str
) -> None:
    async with at_work(tmp_path, monkeypatch, command) as rig:
        await rig.until(lambda: bool(rig.fired()))

        assert says in rig.fired()[0]
        assert rig.desk.desk.health.checks["history"].status is Status.DEGRADED
        assert await rig.desk.trade(rig.desk.fill())


async def test_the_signals_of_a_terminal_or_an_init_are_left_to_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(tmp_path, monkeypatch) as rig:
        await rig.desk.trade(rig.desk.fill())
        await rig.until(lambda: dict(rig.historian.lags()) == {"main": 0})
        first = rig.pid
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(first, number)
        seq = await rig.desk.trade(rig.desk.fill())
        await rig.until(lambda: rig.historian._followed["main"].seq >= seq)

        assert rig.pid == first


async def test_modules_of_the_directory_it_was_started_in_are_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit('taken from the wrong place')")
    monkeypatch.chdir(tmp_path)
    async with at_work(tmp_path / "data", monkeypatch) as rig:
        await rig.desk.trade(rig.desk.fill())
        await rig.until(lambda: dict(rig.historian.lags()) == {"main": 0})
