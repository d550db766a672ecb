"""`python -m deploy.helm` writes deploy/kubernetes, with the Python of `.venv-deploy`. `--check` says whether the files
are what the chart makes, and lints the chart; `--render VALUES.yaml` prints what the chart makes of other values.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.helm.rendering import MANIFESTS, NotRendered, lint, plain_manifests, rendered, values_of


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 ok, 1 refused or different, 2 wrong arguments."""
    try:
        match arguments:
            case []:
                write(plain_manifests())
                return 0
            case ["--check"]:
                return report([*differences(plain_manifests()), *lint()])
            case ["--render", file]:
                print("\n---\n".join(rendered(values_of(Path(file))).values()))
                return 0
            case _:
                report([f"deploy.helm: was given {arguments}, expected nothing, --check or --render VALUES.yaml"])
                return 2
    except NotRendered as error:
        return report([str(error)])
    except ModuleNotFoundError as error:
        print(f"deploy.helm: there is no Helm for this machine ({error}); nothing was rendered", file=sys.stderr)
        return 0 if arguments == ["--check"] else 1


def write(manifests: dict[Path, str]) -> None:
    """Make the folder hold these and no others."""
    for file in MANIFESTS.rglob("*.yaml"):
        if file not in manifests:
            file.unlink()
    for file, text in manifests.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def differences(manifests: dict[Path, str]) -> list[str]:
    """Return a line for each file that is not what the chart makes."""
    there = {file: file.read_text(encoding="utf-8") for file in MANIFESTS.rglob("*.yaml")}
    files = sorted({*there, *manifests})
    return [
        f"{file}: is not what the chart makes; run make manifests"
        for file in files
        if there.get(file) != manifests.get(file)
    ]


def report(problems: list[str]) -> int:
    """Say what is wrong."""
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
