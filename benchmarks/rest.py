"""How many requests of `GET /api/account` are answered a second, beside an empty handler of the same framework?

One process serves both, on two ports, with the same server and settings; another asks, turn about. The account has 20
positions, and its prices change ten times a second, so each rendering serves those who ask until the next.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

CONNECTIONS = 32
SECONDS, ROUNDS = 2.0, 5
POSITIONS = 20


def main() -> None:
    """Print the figures."""
    command = [sys.executable, "-m", "benchmarks.rest_server", str(POSITIONS)]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
        [*command, folder], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as server:  # fmt: skip
        assert server.stdout is not None
        try:
            uvloop.run(_compare(json.loads(server.stdout.readline())))
        finally:
            server.terminate()


async def _compare(ports: dict[str, int]) -> None:
    addresses = {
        "an empty handler": (ports["empty"], "/"),
        "/api/account": (ports["service"], "/api/account"),
        "/api/pnl": (ports["service"], "/api/pnl"),
        "/health": (ports["service"], "/health"),
    }
    rates: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(ROUNDS):
        for name, (port, path) in addresses.items():
            rates[name].append(await _rate(port, path))
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, rates["an empty handler"], strict=True))
        print(f"{name:18} {statistics.median(found):8,.0f}/s   {ratio:.2f} of an empty handler's")


async def _rate(port: int, path: str) -> float:
    """Return how many requests a second are answered with connections that ask again at once."""
    ends = time.perf_counter() + SECONDS
    counts = await asyncio.gather(*(_ask(port, path, ends) for _ in range(CONNECTIONS)))
    return sum(counts) / SECONDS


async def _ask(port: int, path: str, ends: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    count = 0
    while time.perf_counter() < ends:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
        count += 1
    writer.close()
    await writer.wait_closed()
    return count
