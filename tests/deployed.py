"""What is in deploy/ and in docs/metrics.md, as tests need it: expressions, and the names in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES_FILE = PROMETHEUS / "account-monitor.rules.yml"
TESTS_FILE = PROMETHEUS / "account-monitor.tests.yml"
DASHBOARD_FILE = ROOT / "deploy" / "grafana" / "account-monitor.json"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
OF_REPLICAS = "## Where replicas share the accounts"

_WORDS = {
    "and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "inf",
    "nan",
}  # fmt: skip


class Metric(NamedTuple):
    """A metric as the page has it."""

    name: str
    labels: frozenset[str]


def rules() -> list[dict[str, Any]]:
    """Return all rules, recorded ones and alerts."""
    return [rule for group in yaml.safe_load(RULES_FILE.read_text())["groups"] for rule in group["rules"]]


def alert_rules() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD_FILE.read_text())["panels"]
    return found


def dashboard_expressions() -> list[str]:
    """Return what the panels ask, with values for what Grafana fills in."""
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    return [expr.replace("$__rate_interval", "5m").replace("$account", "main") for expr in asked]


def metrics_in(expression: str) -> set[str]:
    """Return the metrics that a PromQL expression names."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    names = re.findall(r"(?<![\w:.])([a-z_:][\w:]*)(?!\s*\(|[\w:])", bare, re.IGNORECASE)
    return {name for name in names if name.lower() not in _WORDS}


def family_of(name: str) -> str:
    """Return the metric whose series this is one of."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def documented() -> tuple[dict[str, Metric], set[str]]:
    """Return the metrics of the page by name, and the names of those that a single service does not tell."""
    of_all, _, of_replicas = METRICS_PAGE.read_text(encoding="utf-8").partition(OF_REPLICAS)
    return {metric.name: metric for metric in _rows(of_all)}, {metric.name for metric in _rows(of_replicas)}


def _rows(page: str) -> Iterator[Metric]:
    for name, labels in re.findall(r"^\| `(\w+)` \|([\w, ]*)\|", page, re.MULTILINE):
        yield Metric(name, frozenset(filter(None, labels.replace(" ", "").split(","))))


# -- how it is run -----------------------------------------------------------------------------------------------------

DEPLOY = ROOT / "deploy"
COMPOSE_FILE = DEPLOY / "compose.yaml"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
UNIT_FILE = DEPLOY / "systemd" / "account-monitor.service"
CHART = DEPLOY / "helm" / "account-monitor"
MANIFESTS = DEPLOY / "kubernetes"
TOOLS_PYTHON = ROOT / ".venv-deploy" / "bin" / "python"
"""Where Helm and the schemas are, once `make check` or `make manifests` ran."""


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def manifests(*, operator: bool = False) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rendered manifests by kind and name: those of Kubernetes, or of the Prometheus operator."""
    folder = MANIFESTS / "prometheus-operator" if operator else MANIFESTS
    documents = [each for file in sorted(folder.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with what follows them, in one line each."""
    bare = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", bare).splitlines()
    return [(name, rest) for name, _, rest in (line.strip().partition(" ") for line in lines) if name]
