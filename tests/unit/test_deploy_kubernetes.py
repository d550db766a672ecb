"""The chart and the manifests made of it: is the service closed in, kept, asked, watched, and never doubled?"""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from account_monitor import __version__
from tests.deployed import CHART, DEPLOY, PROMETHEUS, ROOT, RULES_FILE, TOOLS_PYTHON, manifests

EXAMPLE = DEPLOY / "helm" / "example.yaml"


def stateful_set() -> dict[str, Any]:
    found: dict[str, Any] = manifests()["StatefulSet", "account-monitor"]["spec"]
    return found


def pod() -> dict[str, Any]:
    found: dict[str, Any] = stateful_set()["template"]["spec"]
    return found


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    return dict(found)


def test_there_is_every_kind_that_a_cluster_needs() -> None:
    kinds = sorted(kind for kind, _ in manifests())

    assert kinds == [
        "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service", "ServiceAccount", "StatefulSet",
    ]  # fmt: skip
    assert sorted(manifests(operator=True)) == [
        ("PrometheusRule", "account-monitor"),
        ("ServiceMonitor", "account-monitor"),
    ]


def test_the_chart_is_of_this_version() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    assert container()["image"] == f"account-monitor:{__version__}"


def test_the_pod_has_no_right_that_it_does_not_need() -> None:
    inside = pod()["securityContext"]

    assert (inside["runAsNonRoot"], inside["runAsUser"], inside["fsGroup"]) == (True, 10001, 10001)
    assert inside["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False
    assert {"hostNetwork", "hostPID", "hostIPC"} & set(pod()) == set()
    assert not any("hostPath" in volume for volume in pod()["volumes"])


def test_probes_ask_where_no_token_is_needed() -> None:
    paths = {name: container()[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}

    assert paths == {
        "startup": {"path": "/live", "port": "metrics"},
        "liveness": {"path": "/live", "port": "metrics"},
        "readiness": {"path": "/ready", "port": "metrics"},
    }


def test_the_journal_outlives_its_pod() -> None:
    (claim,) = stateful_set()["volumeClaimTemplates"]

    assert claim["metadata"]["name"] == "data"
    assert {"name": "data", "mountPath": "/data"} in container()["volumeMounts"]
    assert stateful_set()["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert pod()["terminationGracePeriodSeconds"] >= 10


def test_secrets_are_references() -> None:
    assert not any(kind == "Secret" for kind, _ in manifests())
    templates = "".join(file.read_text() for file in (CHART / "templates").iterdir())
    assert "kind: Secret" not in templates
    assert yaml.safe_load((CHART / "values.yaml").read_text())["secrets"] == []


def test_every_selector_selects_the_pod() -> None:
    labels = stateful_set()["template"]["metadata"]["labels"].items()
    selectors = [
        stateful_set()["selector"]["matchLabels"],
        manifests()["PodDisruptionBudget", "account-monitor"]["spec"]["selector"]["matchLabels"],
        manifests()["NetworkPolicy", "account-monitor"]["spec"]["podSelector"]["matchLabels"],
        *(manifests()["Service", name]["spec"]["selector"] for name in ("account-monitor", "account-monitor-members")),
        *(each["labelSelector"]["matchLabels"] for each in pod()["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector.items() <= labels
    assert "app.kubernetes.io/version" not in stateful_set()["selector"]["matchLabels"]  # an upgrade may change it


def test_the_members_have_names_before_they_are_ready() -> None:
    members = manifests()["Service", stateful_set()["serviceName"]]["spec"]

    assert (members["clusterIP"], members["publishNotReadyAddresses"]) == ("None", True)


def test_a_drain_is_never_stuck() -> None:
    budget = manifests()["PodDisruptionBudget", "account-monitor"]["spec"]

    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_network_lets_in_who_asks_and_out_to_what_is_needed() -> None:
    policy = manifests()["NetworkPolicy", "account-monitor"]["spec"]
    doors = [{port["port"] for port in rule["ports"]} for rule in policy["ingress"]]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert doors == [{"http", "grpc"}, {"metrics"}]
    assert all(rule["from"] for rule in policy["ingress"])
    out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert out == {53, 443, 4222, 5432, 6379}


def test_the_operator_scrapes_the_members_as_the_job_that_the_rules_look_for() -> None:
    monitor = manifests(operator=True)["ServiceMonitor", "account-monitor"]["spec"]
    members = manifests()["Service", "account-monitor-members"]
    (endpoint,) = monitor["endpoints"]
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]

    assert monitor["selector"]["matchLabels"].items() <= members["metadata"]["labels"].items()
    assert not monitor["selector"]["matchLabels"].items() <= (
        manifests()["Service", "account-monitor"]["metadata"]["labels"].items()
    )
    assert endpoint["port"] in {port["name"] for port in members["spec"]["ports"]}
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": job["job_name"]}]


def test_the_rules_are_those_of_prometheus() -> None:
    spec = manifests(operator=True)["PrometheusRule", "account-monitor"]["spec"]

    assert spec == yaml.safe_load(RULES_FILE.read_text())
    assert (CHART / "files" / RULES_FILE.name).resolve() == RULES_FILE.resolve()


# -- what Helm makes of other values -----------------------------------------------------------------------------------

needs_helm = pytest.mark.skipif(not TOOLS_PYTHON.exists(), reason="there is no .venv-deploy; make check makes it")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS_PYTHON), "-m", "deploy.helm", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if "No module named 'helm_python'" in done.stderr:
        pytest.skip("there is no Helm for this machine")
    return done


def render(folder: Path, **changed: Any) -> subprocess.CompletedProcess[str]:
    """Render the example with other values; `a__b` is a key of a section."""
    values = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text()))
    for path, value in changed.items():
        *sections, key = path.split("__")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return helm("--render", str(file))


@needs_helm
def test_the_manifests_are_what_the_chart_makes() -> None:
    done = helm("--check")

    assert done.returncode == 0, done.stderr


@needs_helm
def test_the_schemas_of_kubernetes_and_compose_take_them() -> None:
    command = [str(TOOLS_PYTHON), "-m", "deploy.schemas"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


@needs_helm
def test_several_replicas_need_a_lease(tmp_path: Path) -> None:
    refused = render(tmp_path, replicas=3)

    assert refused.returncode == 1
    assert (
        "replicas: was 3, expected 1: with config.cluster.lease none each replica would watch every account;"
        " set config.cluster.lease to postgres or nats first"
    ) in refused.stderr
    assert "replicas: 3" in render(tmp_path, replicas=3, config__cluster={"lease": "nats"}).stdout


@needs_helm
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"replica": 1}, "additional properties 'replica' not allowed"),
        ({"image__tag": "latest"}, "/image/tag"),
        ({"image__digest": "sha256:abc"}, "/image/digest"),
        ({"config__service": {"data_dir": "/var/data"}}, "/config/service/data_dir"),
        ({"config__auth": {"tokens_file": None}}, "/config/auth"),
        ({"config__accounts": []}, "/config/accounts"),
        ({"config__cluster": {"lease": "zookeeper"}}, "/config/cluster/lease"),
        ({"secrets": [{"name": "key", "value": "hunter2"}]}, "/secrets/0"),
        ({"persistence__accessModes": ["ReadWriteMany"]}, "/persistence/accessModes"),
        ({"terminationGracePeriodSeconds": 1}, "/terminationGracePeriodSeconds"),
    ],
)
def test_wrong_values_are_refused_by_name(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    refused = render(tmp_path, **changed)

    assert refused.returncode == 1
    assert said in refused.stderr


@needs_helm
def test_what_is_switched_off_is_left_out(tmp_path: Path) -> None:
    done = render(
        tmp_path, networkPolicy={"enabled": False}, podDisruptionBudget={"enabled": False},
        serviceMonitor={"enabled": False}, prometheusRule={"enabled": False}, secrets=[],
    )  # fmt: skip
    kinds = {each["kind"] for each in yaml.safe_load_all(done.stdout)}

    assert done.returncode == 0, done.stderr
    assert kinds == {"ConfigMap", "Service", "ServiceAccount", "StatefulSet"}
    assert "/run/secrets" not in yaml.safe_dump([e for e in yaml.safe_load_all(done.stdout) if e["kind"][0] == "S"])


@needs_helm
def test_a_null_of_the_configuration_stays_one(tmp_path: Path) -> None:
    """Helm takes null for "without the default of the chart"; of the configuration it switches something off."""
    done = render(
        tmp_path, config__pubsub={"nats": {"url": None}}, config__alerts={"thresholds": {"max_leverage": None}}
    )
    made = next(each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "ConfigMap")
    document = yaml.safe_load(made["data"]["config.yaml"])

    assert document["pubsub"]["nats"] == {"url": None}
    assert document["alerts"]["thresholds"] == {"max_leverage": None}


@needs_helm
def test_a_digest_takes_the_place_of_the_tag_and_runbooks_get_an_address(tmp_path: Path) -> None:
    digest = "sha256:" + "ab" * 32
    done = render(tmp_path, image={"digest": digest}, prometheusRule__runbooks="https://wiki.example.org/monitor")

    assert f'image: "account-monitor@{digest}"' in done.stdout
    rules = next(each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "PrometheusRule")
    urls = [rule["annotations"]["runbook_url"] for rule in rules["spec"]["groups"][0]["rules"] if "alert" in rule]
    assert all(url.startswith("https://wiki.example.org/monitor/runbooks.md#") for url in urls)
