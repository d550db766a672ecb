"""What compose.yaml mounts into other people's images: do the real servers take it?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nats
import pytest
import yaml
from redis import Redis
from redis.exceptions import AuthenticationError

from tests.deployed import DEPLOY, RULES_FILE, compose, services
from tests.integration.nats_server import free_port, nats_server_path
from tests.integration.service import Service
from tests.servers.process import ServerProcess
from tests.servers.valkey import valkey_program

pytestmark = pytest.mark.integration

FILES = DEPLOY / "compose"


class Nats(NamedTuple):
    """A server with the configuration of compose."""

    url: str
    monitoring: int
    """The port that the health check asks."""


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Nats]:
    """Start NATS with the configuration of compose, but for its folder and its ports."""
    program = nats_server_path()
    if program is None:
        pytest.skip("there is no nats-server")
    port, monitoring = free_port(), free_port()
    text = (FILES / "nats.conf").read_text()
    for there, here in (("/data", str(tmp_path)), ("0.0.0.0:4222", f"127.0.0.1:{port}"), (":8222", f":{monitoring}")):
        assert text.count(there) == 1
        text = text.replace(there, here)
    config, log = tmp_path / "nats.conf", tmp_path / "nats.log"
    config.write_text(text)
    process = ServerProcess([program, "--config", str(config)], log=log)
    try:
        process.wait_until(lambda: "Server is ready" in log.read_text())
        yield Nats(f"nats://127.0.0.1:{port}", monitoring)
    finally:
        process.kill()


def make_stream(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FILES / "stream.py"), url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_health_check_of_nats_is_answered(nats_server: Nats) -> None:
    address = services()["nats"]["healthcheck"]["test"][-1]
    here = address.replace(":8222/", f":{nats_server.monitoring}/")
    with urllib.request.urlopen(here, timeout=5) as answer:  # noqa: S310  # http, as compose.yaml says
        assert json.load(answer)["status"] == "ok"


async def test_the_stream_is_made_once_and_keeps_every_fill(nats_server: Nats) -> None:
    first, second = make_stream(nats_server.url), make_stream(nats_server.url)

    assert first.stdout == "made the stream TRADING_FILLS over trading.fills, trading.fills.>\n", first.stderr
    assert second.stdout == "the stream TRADING_FILLS covers trading.fills already, and is left as it is\n"
    connection = await nats.connect(nats_server.url)
    try:
        for subject in ("trading.fills", "trading.fills.main"):
            assert (await connection.jetstream().publish(subject, b"{}")).stream == "TRADING_FILLS"
    finally:
        await connection.close()


def test_a_server_that_is_not_there_is_said_in_one_line() -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    done = make_stream(url)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"stream.py: {url}: ")
    assert done.stderr.count("\n") == 1


def test_the_cache_asks_for_the_password_of_the_file(tmp_path: Path) -> None:
    program = valkey_program()
    if program is None:
        pytest.skip("there is no valkey-server")
    secret = tmp_path / "redis_password"
    secret.write_text("made-up")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "valkey-server").symlink_to(program)
    port = free_port()
    environment = ["env", f"PATH={tmp_path}/bin:/usr/bin:/bin", f"REDIS_PASSWORD_FILE={secret}"]
    command = [*environment, "sh", str(FILES / "redis.sh"), "--port", str(port), "--bind", "127.0.0.1"]
    process = ServerProcess(command, log=tmp_path / "redis.log")
    try:
        process.wait_until(lambda: "Ready to accept connections" in (tmp_path / "redis.log").read_text())
        with Redis(port=port, password="made-up", decode_responses=True) as redis:
            assert redis.ping()
            assert redis.config_get("save") == {"save": ""}
        with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        assert process.is_running()
    finally:
        process.kill()


def test_the_cache_and_its_health_check_read_one_file() -> None:
    (name,) = services()["redis"]["secrets"]

    assert f"/run/secrets/{name}" in services()["redis"]["healthcheck"]["test"][1]
    assert f"/run/secrets/{name}" in (FILES / "redis.sh").read_text()
    assert name in compose()["secrets"]


def test_prometheus_takes_its_configuration_with_the_rules_beside_it(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("there is no promtool; it is in Debian's package prometheus")
    shutil.copy(FILES / "prometheus.yml", tmp_path)
    shutil.copy(RULES_FILE, tmp_path)
    command = ["promtool", "check", "config", "prometheus.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_without_docker_becomes_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and the configuration of the profile, on this machine's loopback, where no tokens are needed."""
    port = free_port()
    command = ["--host=127.0.0.1" if word.startswith("--host=") else word for word in services()["exchange"]["command"]]
    command = [f"--port={port}" if word.startswith("--port=") else word for word in command]
    for name, value in services()["demo-monitor"]["environment"].items():
        monkeypatch.setenv(name, value)
    exchange = ServerProcess([sys.executable, "-m", "account_monitor", *command], log=tmp_path / "exchange.log")
    service = Service(tmp_path / "monitor", None)
    service.folder.mkdir()
    text = (FILES / "demo.yaml").read_text().replace("exchange:9100", f"127.0.0.1:{port}")
    written = yaml.safe_load(text)
    service.document |= {"accounts": written["accounts"], "pubsub": written["pubsub"]}
    try:
        exchange.wait_until(lambda: health_check_of_exchange(port).returncode == 0)
        service.start()

        assert service.account("demo")["positions"]
        assert service.stop() == 0
    finally:
        if service.process is not None and service.process.poll() is None:
            service.kill()
        exchange.kill()


def health_check_of_exchange(port: int) -> subprocess.CompletedProcess[bytes]:
    """Ask as compose.yaml does."""
    _, _, option, code = services()["exchange"]["healthcheck"]["test"]
    command = [sys.executable, option, code.replace(":9100/", f":{port}/")]
    return subprocess.run(command, capture_output=True, check=False, timeout=30)
