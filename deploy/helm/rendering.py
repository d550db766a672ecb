"""Rendering: the manifests that Helm makes of the chart. Needs `.venv-deploy`, where Helm is a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
CHART = FOLDER / "account-monitor"
EXAMPLE = FOLDER / "example.yaml"
MANIFESTS = FOLDER.parent / "kubernetes"

NAME = "account-monitor"
"""Of the release and of the namespace in the manifests of MANIFESTS."""

OPERATOR = "monitoring.coreos.com/"
"""Kinds that a cluster has only with the Prometheus operator: they lie in a folder of their own."""

_HINT = 1  # of severities: 2 is a warning, 3 an error
_HEAD = "# Made of deploy/helm by `make manifests`; an edit here is lost. How to use it: docs/deployment.md\n"


class NotRendered(Exception):
    """Helm refused the values or a template; the text is its own."""


def rendered(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each manifest by the name of its template. Raises: NotRendered, ImportError without Helm."""
    from helm_python import Chart
    from helm_python.errors import HelmError

    try:
        with Chart.load(CHART) as chart:
            made: dict[str, str] = chart.render(dict(values), name=NAME, namespace=NAME)
    except HelmError as error:
        raise NotRendered(str(error)) from error
    return {Path(template).name: text for template, text in made.items() if template.endswith(".yaml") and text.strip()}


def lint() -> list[str]:
    """Return what `helm lint --strict` finds beyond hints. Raises: ImportError without Helm."""
    from helm_python.chart import lint as helm_lint

    found = helm_lint(CHART, values_of(EXAMPLE), strict=True)
    messages = [f"{each['path']}: {each['error']}" for each in found["messages"] if each["severity"] > _HINT]
    return [*messages, *found["errors"]]


def values_of(file: Path) -> dict[str, Any]:
    """Return the values in a file."""
    values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return values


def plain_manifests() -> dict[Path, str]:
    """Return what MANIFESTS should hold, by file. Raises: NotRendered, ImportError without Helm."""
    made = rendered(values_of(EXAMPLE))
    return {_file(name, text): _HEAD + text.strip("\n") + "\n" for name, text in made.items()}


def _file(name: str, text: str) -> Path:
    is_for_operator = yaml.safe_load(text.split("\n---\n")[0])["apiVersion"].startswith(OPERATOR)
    return (MANIFESTS / "prometheus-operator" if is_for_operator else MANIFESTS) / name
