"""The command line of the simulated exchange: one line when it is up, one line when it cannot be."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

pytestmark = pytest.mark.integration

SOURCES = Path(__file__).parents[2] / "src"


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "exchange_simulator", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=SOURCES,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_one_line_is_printed_and_a_signal_ends_it_at_once(number: signal.Signals) -> None:
    process = run("--seed", "3", "--faults", "drop=0.01,delay=0.05")
    assert process.stdout is not None
    line = await asyncio.to_thread(process.stdout.readline)
    found = re.fullmatch(
        r"exchange simulator on (http://127\.0\.0\.1:\d+) \(WebSocket ws://127\.0\.0\.1:\d+\), "
        r"API key demo-key, secret demo-secret\n",
        line,
    )
    assert found, line
    async with aiohttp.ClientSession() as session, session.ws_connect(found[1] + "/market/ws") as ws:
        async with session.get(found[1] + "/admin/faults") as reply:
            assert set(await reply.json()) == {"drop", "delay"}
        await ws.send_json({"method": "SUBSCRIBE", "params": ["!markPrice@arr@1s"], "id": 1})
        await ws.receive(timeout=5)
        before = time.monotonic()
        process.send_signal(number)
        out, err = await asyncio.to_thread(process.communicate, timeout=5)

    assert time.monotonic() - before < 1
    assert (process.returncode, out, err) == (0, "", "")


def test_it_ends_by_itself_after_its_minutes() -> None:
    process = run("--minutes", "0.005", "--no-bot")

    out, err = process.communicate(timeout=20)

    assert (process.returncode, len(out.splitlines()), err) == (0, 1, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "--nonsense"),
        (["--port", "70000"], "70000"),
        (["--faults", "nonsense"], "nonsense"),
        (["--faults", "drop=2"], "rate"),
        (["--minutes", "0"], "minutes"),
        (["--legacy-streams", "half"], "half"),
        (["extra"], "extra"),
    ],
)
def test_a_wrong_option_is_one_line(arguments: list[str], said: str) -> None:
    process = run(*arguments)

    out, err = process.communicate(timeout=20)

    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        process = run("--port", port)
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)
    assert port in err
