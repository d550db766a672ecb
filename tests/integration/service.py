"""The service as users run it: a process of its own, with a configuration file, killed or stopped at will."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

READY_SECONDS = 75.0
"""In the first half minute of an hour no account is adopted, as its funding may be under way."""

STOP_SECONDS = 6.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """`account-monitor run` in a folder of its own."""

    def __init__(self, folder: Path, nats_url: str | None, accounts: list[dict[str, Any]] | None = None) -> None:
        self.folder = folder
        self.http_port, self.metrics_port, self.grpc_port = free_port(), free_port(), free_port()
        self.document: dict[str, Any] = {
            "service": {"data_dir": str(folder / "data")},
            "grpc": {"port": str(self.grpc_port)},
            "http": {"port": str(self.http_port)},
            "metrics": {"port": str(self.metrics_port)},
            "accounts": accounts or [{"name": "main", "exchange": "none"}],
            "pubsub": {"nats": {"url": nats_url, "reconnect_wait": "100ms"}},
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def log_file(self) -> Path:
        return self.folder / "service.log"

    def write_config(self) -> None:
        scratch = self.config_file.with_suffix(".new")
        scratch.write_text(json.dumps(self.document))
        scratch.replace(self.config_file)

    def start(self, *, wait: bool = True) -> None:
        self.write_config()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "account_monitor", "run", "--config", str(self.config_file)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        self.wait_until(lambda: self.get("/ready")[0] == 200, "ready")

    def wait_until(self, holds: Any, what: str, seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except (urllib.error.URLError, ConnectionError, KeyError, TimeoutError):
                pass
            assert self.process is not None
            assert self.process.poll() is None, f"the service ended: {self.log_file.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"not {what} after {seconds} s: {self.log_file.read_text()[-2000:]}"
            time.sleep(0.02)

    def get(self, path: str) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}"))

    def post(self, path: str, body: object) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.http_port}{path}"
        return self._ask(urllib.request.Request(url, json.dumps(body).encode(), headers))

    @staticmethod
    def _ask(request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # its own address
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def account(self, name: str = "main") -> dict[str, Any]:
        status, body = self.get(f"/api/account?account={name}")
        assert status == 200, body
        report: dict[str, Any] = body
        return report

    def fill_count(self, name: str = "main") -> int:
        return sum(position["fill_count"] for position in self.account(name)["positions"].values())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the service, with its configuration."""
        return subprocess.run(
            [sys.executable, "-m", "account_monitor", *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "200"},
            timeout=60,
            check=False,
        )
