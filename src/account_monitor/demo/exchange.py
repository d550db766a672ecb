"""The simulated exchange, as a child process, and its back door: its own books, and what goes wrong there."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from account_monitor.demo.children import start_child, stop_child
from account_monitor.errors import CommandFailed

START_SECONDS = 15.0
TIMEOUT_SECONDS = 2.0

_FUNDING = ("--funding-minutes", "5")  # instead of eight hours: a demonstration that nobody watches shows nothing
_VOLATILITY = ("--volatility", "6")  # on a usual day fees outweigh all that prices bring within minutes
_SHOWN_CHARACTERS = 300
_started = re.compile(
    r"exchange simulator on (?P<rest>http://\S+) \(WebSocket (?P<websocket>ws://[^\s)]+)\),"
    r" API key (?P<key>\S+), secret (?P<secret>\S+)\s*"
).fullmatch


class SimulatedExchange:
    """`python -m exchange_simulator` on a free port, with a bot that trades. All it knows ends with it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rest_url = ""
        self.websocket_url = ""
        self.api_key = ""
        self.secret = ""
        self._log = folder / "exchange.log"
        self._seed = seed
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and return once it listens. Raises: CommandFailed with what it said."""
        command = [
            sys.executable,
            "-m",
            "exchange_simulator",
            "--port",
            "0",
            "--seed",
            str(self._seed),
            "--bot",
            *_FUNDING,
            *_VOLATILITY,
        ]
        self._process = await start_child(command, log=self._log, heard=True, orphaned=signal.SIGKILL)
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await self._first_line(self._process)
        except TimeoutError:
            await self.stop()
            raise CommandFailed(
                f"the simulated exchange did not start within {START_SECONDS:.0f} s{self._said()}"
            ) from None
        started = _started(line)
        if started is None:
            await self.stop()
            what = f"said {line.strip()[:_SHOWN_CHARACTERS]!r}" if line else "ended"
            raise CommandFailed(f"the simulated exchange did not start: it {what}{self._said()}")
        self.rest_url, self.websocket_url = started["rest"], started["websocket"]
        self.api_key, self.secret = started["key"], started["secret"]

    async def watch(self) -> None:
        """Run as long as it does. Raises: CommandFailed when it ends, for nothing can follow."""
        assert self._process is not None, "start first"
        assert self._process.stdout is not None
        while await self._process.stdout.read(4096):
            pass  # what it says after its first line is for people
        code = await self._process.wait()
        raise CommandFailed(f"the simulated exchange ended with code {code}{self._said()}")

    async def stop(self) -> None:
        """End it."""
        await stop_child(self._process)

    async def _first_line(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        return (await process.stdout.readline()).decode(errors="replace")

    def _said(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return f": {lines[-1][:_SHOWN_CHARACTERS]} (all of it in {self._log})" if lines else ""


class BackDoor:
    """What whoever runs the simulated exchange can see and do there, and no customer.

    Raises, from each: aiohttp.ClientError, TimeoutError, ValueError.
    """

    def __init__(self, session: aiohttp.ClientSession, exchange: SimulatedExchange) -> None:
        self._session = session
        self._exchange = exchange

    async def books(self) -> dict[str, Any]:
        """Return the exchange's own books of the account."""
        return await self._ask("GET", f"books?api_key={self._exchange.api_key}")

    async def struck(self) -> dict[str, int]:
        """Return how often each fault has struck."""
        statistics = await self._ask("GET", "statistics")
        struck: dict[str, int] = statistics["faults_struck"]
        return struck

    async def do(self, action: str, settings: Mapping[str, Any]) -> None:
        """Do one of the things that can be done there to the account: `faults` switches on those that are named."""
        account = {} if action == "faults" else {"api_key": self._exchange.api_key}
        await self._ask("POST", action, {**account, **settings})

    async def clear(self) -> None:
        """Switch all faults off."""
        await self._ask("DELETE", "faults")

    async def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        url = f"{self._exchange.rest_url}/admin/{path}"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with self._session.request(method, url, json=body, timeout=timeout) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer
