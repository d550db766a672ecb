"""The simulated exchange as users start it: `account-monitor simulate`, a process of its own, and its back door."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Any, Self

STOP_SECONDS = 5.0


class Simulation:
    """A simulated exchange for the length of a `with` block; without a bot nothing moves by itself."""

    def __init__(self, *options: str) -> None:
        self._options = options or ("--no-bot",)
        self.process: subprocess.Popen[str]
        self.rest_url = ""
        self.websocket_url = ""
        self.port = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "account_monitor", "simulate", *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        started = re.search(r"on (http://\S+) \(WebSocket (ws://[^)]+)\)", self.process.stdout.readline())
        assert started is not None, self.process.communicate()
        self.rest_url, self.websocket_url = started.groups()
        self.port = int(self.rest_url.rpartition(":")[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.communicate(timeout=STOP_SECONDS)

    def admin(self, method: str, path: str, **body: Any) -> Any:
        """Use the back door."""
        return self.ask(f"/admin/{path}", method, json.dumps(body).encode() if body else None)

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Any:
        """Send a request that needs no key."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, data=body)
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  # its own address, made above
            return json.loads(answer.read())

    def account(self, **settings: Any) -> dict[str, Any]:
        """Return the configuration of an account that lives there."""
        return {
            "name": "main",
            "exchange": "binance-usdm",
            "rest_url": self.rest_url,
            "websocket_url": self.websocket_url,
            "api_key_env": "TEST_API_KEY",
            "secret_key_env": "TEST_SECRET_KEY",
            **settings,
        }
