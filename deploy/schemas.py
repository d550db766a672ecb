"""Schemas: is deploy/ what Kubernetes and Compose take? `python -m deploy.schemas`, with the Python of `.venv-deploy`.

The schemas come with packages: those of Kubernetes with kubernetes-validate, that of Compose with check-jsonschema. The
kinds of the Prometheus operator are custom resources, whose schemas neither has: the rules in them are checked by
promtool, where they come from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

FOLDER = Path(__file__).parent
VERSIONS = ("1.27", "1.30", "1.33", "1.37")
"""Of Kubernetes: what kubeVersion in Chart.yaml begins with, some between, and the newest that the package has."""


def problems() -> Iterator[str]:
    """Yield a line for everything that a schema does not allow."""
    for file in sorted((FOLDER / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            for version in VERSIONS:
                yield from _of_kubernetes(file, document, version)
    yield from _of_compose(FOLDER / "compose.yaml")


def _of_kubernetes(file: Path, document: dict[str, Any], version: str) -> Iterator[str]:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(map(str, error.path))
        yield f"{file}: {document['kind']}: {path}: {error.message} (Kubernetes {version})"


def _of_compose(file: Path) -> Iterator[str]:
    folder = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(document):
        yield f"{file}: {'.'.join(map(str, error.absolute_path))}: {error.message}"


if __name__ == "__main__":
    found = list(problems())
    for line in found:
        print(line, file=sys.stderr)
    sys.exit(1 if found else 0)
