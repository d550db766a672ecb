"""The service under what its systemd unit forbids, enforced by this kernel: does it do all that it has to?"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import sandbox
from tests.deployed import ROOT, UNIT_FILE
from tests.integration.nats_server import NatsServer, nats_server_path
from tests.integration.service import Service

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable())),
]

LIBRARIES = (
    "aiohttp, apprise, apsw, asyncpg, hiredis, litestar, msgspec, nats, redis, uvicorn, uvloop, websockets, yaml"
)


def confined(*code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.sandbox", str(UNIT_FILE), sys.executable, "-c", "\n".join(code)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)", "PermissionError"),
        ("import os; os.chroot('/')", "PermissionError: [Errno 1]"),
        ("import os; os.chown('/dev/null', 0, 0)", "PermissionError: [Errno 1]"),
        ("import os; os.setgroups([0])", "PermissionError: [Errno 1]"),
        ("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "OSError: [Errno 97]"),
    ],
)  # fmt: skip
def test_the_sandbox_forbids(code: str, error: str) -> None:
    """Else what follows would prove nothing."""
    assert error in confined(code).stderr


def test_every_library_can_be_loaded() -> None:
    done = confined(f"import {LIBRARIES}", "print('loaded')")

    assert (done.stdout, done.returncode) == ("loaded\n", 0), done.stderr


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    if nats_server_path() is None:
        pytest.skip("there is no nats-server")
    with NatsServer(tmp_path / "nats") as nats_server:
        service = Service(tmp_path / "service", nats_server.url)
        service.folder.mkdir()
        yield service
        if service.process is not None and service.process.poll() is None:
            service.kill()


def test_the_service_runs_writes_its_history_and_ends(service: Service) -> None:
    service.write_config()
    command = [sys.executable, "-m", "tests.sandbox", str(UNIT_FILE)]
    with service.log_file.open("ab") as log:
        service.process = subprocess.Popen(
            [*command, sys.executable, "-m", "account_monitor", "run", "--config", str(service.config_file)],
            stdout=log, stderr=log, cwd=ROOT,
        )  # fmt: skip
    service.wait_ready()
    assert service.get("/health")[1]["status"] == "healthy"
    for path in ("/health", "/live", "/ready"):  # where probes ask, in containers and in Kubernetes
        with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}{path}", timeout=5) as answer:
            assert answer.status == 200
    assert service.stop() == 0
    assert (service.folder / "data" / "history.sqlite").exists()
