"""The examples of docs/grpc.md, run as they stand."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.trading_desk import eventually, trading_desk

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "grpc.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_an_example_works(tmp_path: Path, number: int) -> None:
    async with trading_desk(tmp_path, grpc_port=0) as desk:
        await desk.open()
        await desk.trade(desk.fill("BUY", "2", at="100.5"))
        script = EXAMPLES[number].replace("127.0.0.1:50051", desk.doors.grpc_address)
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if "watch" in script:
            await eventually(lambda: len(desk.doors.publisher) == 1, timeout_seconds=20)
            await desk.trade(desk.fill("SELL", "1", at="101", symbol="ETHUSDT"))
        async with asyncio.timeout(20):
            told = (await running.communicate())[0].decode()
    assert running.returncode == 0, told
    assert told.splitlines()[-1] in ("100.5", "SELL 1 ETHUSDT at 101 held 1")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 2
