"""Every configuration in deploy/: does the service take it, and is everything there that it names?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from account_monitor.config import check_settings, load_settings
from account_monitor.config.settings import Settings
from tests.deployed import (
    CHART,
    DEPLOY,
    DOCKERFILE,
    UNIT_FILE,
    compose,
    instructions,
    manifests,
    services,
)
from tests.sandbox import directives

COMPOSED = {"account-monitor": "account-monitor.yaml", "demo-monitor": "demo.yaml"}


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(file: Path, environ: dict[str, str]) -> list[str]:
    """Return what is wrong besides secrets that only a running container has, and what is about to be built."""
    lines = check_settings(file, environ)
    return [line for line in lines if "cannot be read" not in line and "which is not built yet" not in line]


def settings_of(file: Path, environ: dict[str, str]) -> Settings:
    """Return the settings without secrets; tokens are told of separately until they are built."""
    document = yaml.safe_load(file.read_text())
    document.pop("auth", None)
    for door in ("http", "grpc"):
        document.get(door, {}).pop("host", None)
    bare = file.with_name("bare.yaml")
    bare.write_text(yaml.safe_dump(document))
    return load_settings(bare, environ, secrets=())


def image_environment() -> dict[str, str]:
    (text,) = [rest for name, rest in instructions(DOCKERFILE.read_text()) if name == "ENV" and "DATA_DIR" in rest]
    return dict(pair.split("=", 1) for pair in text.split())


def secret_files(document: object) -> set[str]:
    """Return the files that keys ending in `_file` name, wherever they stand."""
    if isinstance(document, dict):
        named = {value for key, value in document.items() if str(key).endswith("_file") and isinstance(value, str)}
        return named.union(*(secret_files(value) for value in document.values()))
    if isinstance(document, list):
        return set().union(*(secret_files(each) for each in document))
    return set()


@pytest.mark.parametrize("service", COMPOSED)
def test_what_compose_hands_to_a_monitor_is_a_configuration(service: str, tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / COMPOSED[service]).read_text()
    environ = services()[service].get("environment", {})

    assert problems(written(tmp_path, text), environ) == []
    mounts = [volume for volume in services()[service]["volumes"] if volume.startswith("./")]
    assert mounts == [f"./compose/{COMPOSED[service]}:/etc/account-monitor/config.yaml:ro"]


@pytest.mark.parametrize("service", COMPOSED)
def test_compose_mounts_every_secret_that_a_monitor_reads(service: str) -> None:
    document = yaml.safe_load((DEPLOY / "compose" / COMPOSED[service]).read_text())
    tokens = document["auth"]["tokens_file"]
    mounted = {f"/run/secrets/{name}" for name in services()[service].get("secrets", [])}

    assert secret_files(document) - {tokens} == mounted
    assert tokens.startswith("/data/")
    assert any(volume.split(":")[1] == "/data" for volume in services()[service]["volumes"])


@pytest.mark.parametrize("service", COMPOSED)
def test_compose_publishes_the_ports_that_a_monitor_listens_on(service: str, tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / COMPOSED[service]).read_text()
    settings = settings_of(written(tmp_path, text), services()[service].get("environment", {}))
    listening = {settings.http.port, settings.grpc.port, settings.metrics.port}

    assert {int(port.rpartition(":")[2]) for port in services()[service]["ports"]} <= listening


def test_a_monitor_in_a_container_is_reached_from_outside_with_tokens_alone() -> None:
    documents = [yaml.safe_load((DEPLOY / "compose" / file).read_text()) for file in COMPOSED.values()]
    documents.append(yaml.safe_load((CHART / "values.yaml").read_text())["config"])
    for document in documents:
        assert [document[door]["host"] for door in ("http", "grpc", "metrics")] == ["0.0.0.0"] * 3  # noqa: S104
        assert document["auth"]["tokens_file"]


def test_what_the_chart_makes_is_a_configuration(tmp_path: Path) -> None:
    text = manifests()["ConfigMap", "account-monitor"]["data"]["config.yaml"]

    assert problems(written(tmp_path, text), image_environment()) == []


def test_the_values_of_the_chart_are_a_configuration(tmp_path: Path) -> None:
    config = yaml.safe_load((CHART / "values.yaml").read_text())["config"]

    assert problems(written(tmp_path, yaml.safe_dump(config)), image_environment()) == []


def test_the_chart_mounts_every_secret_that_the_configuration_names() -> None:
    document = yaml.safe_load(manifests()["ConfigMap", "account-monitor"]["data"]["config.yaml"])
    pod = manifests()["StatefulSet", "account-monitor"]["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "secrets"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "secrets"]
    items = [item for source in volume["projected"]["sources"] for item in source["secret"]["items"]]

    mounted = {f"{mount['mountPath']}/{item['path']}" for item in items}
    assert secret_files(document) - {document["auth"]["tokens_file"]} == mounted


def test_the_ports_of_the_chart_are_those_that_the_service_listens_on(tmp_path: Path) -> None:
    text = manifests()["ConfigMap", "account-monitor"]["data"]["config.yaml"]
    settings = settings_of(written(tmp_path, text), {})
    named = {"http": settings.http.port, "grpc": settings.grpc.port, "metrics": settings.metrics.port}
    container = manifests()["StatefulSet", "account-monitor"]["spec"]["template"]["spec"]["containers"][0]
    (endpoint,) = manifests(operator=True)["ServiceMonitor", "account-monitor"]["spec"]["endpoints"]

    assert {port["name"]: port["containerPort"] for port in container["ports"]} == named
    for name in ("account-monitor", "account-monitor-members"):
        ports = manifests()["Service", name]["spec"]["ports"]
        assert {port["targetPort"]: port["port"] for port in ports}.items() <= named.items()
    assert endpoint["path"] == settings.metrics.path


def test_the_image_exposes_the_ports_of_the_defaults() -> None:
    (exposed,) = [rest for name, rest in instructions(DOCKERFILE.read_text()) if name == "EXPOSE"]
    defaults = Settings()

    assert {int(port) for port in exposed.split()} == {
        defaults.http.port, defaults.grpc.port, defaults.metrics.port
    }  # fmt: skip


@pytest.mark.parametrize("where", ["the image", "the unit"])
def test_the_environment_names_keys_that_there_are(where: str, tmp_path: Path) -> None:
    unit = dict(pair.split("=", 1) for pair in directives(UNIT_FILE)["Environment"])
    environ = image_environment() if where == "the image" else unit
    file = written(tmp_path, "accounts: [{name: main, exchange: none}]")

    assert problems(file, environ) == []
    assert load_settings(file, environ).service.data_dir == Path(environ["ACCOUNT_MONITOR__SERVICE__DATA_DIR"])


def test_every_variable_that_deploy_names_is_a_key(tmp_path: Path) -> None:
    named = {
        name
        for file in DEPLOY.rglob("*")
        if file.is_file() and file.suffix != ".json"
        for name in re.findall(r"ACCOUNT_MONITOR__\w*[A-Z]", file.read_text(encoding="utf-8"))
    }
    expected = {
        "ACCOUNT_MONITOR__SERVICE__DATA_DIR",
        "ACCOUNT_MONITOR__METRICS__PORT",
        "ACCOUNT_MONITOR__LOGGING__LEVEL",
    }
    samples = {"PORT": "9093", "LEVEL": "debug"}

    assert named == expected  # a new one gets its place, and is tried
    file = written(tmp_path, "accounts: [{name: main, exchange: none}]")
    assert problems(file, {name: samples.get(name.rpartition("__")[2], "/data") for name in named}) == []


def test_the_demo_watches_the_exchange_that_runs_beside_it() -> None:
    (account,) = yaml.safe_load((DEPLOY / "compose" / "demo.yaml").read_text())["accounts"]
    (port,) = [word.partition("=")[2] for word in services()["exchange"]["command"] if word.startswith("--port=")]

    assert (account["rest_url"], account["websocket_url"]) == (f"http://exchange:{port}", f"ws://exchange:{port}")


def test_the_stores_that_a_monitor_names_are_services_of_compose() -> None:
    document = yaml.safe_load((DEPLOY / "compose" / "account-monitor.yaml").read_text())
    addresses = [document["database"]["url"], document["database"]["redis_url"], document["pubsub"]["nats"]["url"]]
    hosts = {match[1] for address in addresses if (match := re.search(r"(?:@|//)([\w-]+):\d+", address))}

    assert hosts == {"timescaledb", "redis", "nats"} <= set(compose()["services"])
