"""Supply: what the program is made of, from its lock files: a bill of materials, and whether its licences let us.

python -m deploy.supply licences           # fails with a line for each package whose licence nobody allowed
python -m deploy.supply licences LOCK      # the same of another lock file, in the environment that it is installed in
python -m deploy.supply sbom [FILE]        # CycloneDX 1.6 as JSON; the same lock makes the same bytes
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, cast

from account_monitor import __version__

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "run.txt"
PAGE_LOCK = ROOT / "dashboard" / "package-lock.json"

ALLOWED = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "Unlicense", "Zlib"}
)
"""Permissive ones: they ask to be named, and nothing of what is built with them."""

ALLOWED_FOR = {"MPL-2.0": frozenset({"certifi", "pathspec"})}
"""Those that ask for changes to their own files alone: the packages are used as they are."""

STATED = {
    "apsw": "0BSD",  # says any-OSI: any licence that the Open Source Initiative approved
    "async-timeout": "Apache-2.0",  # before Python 3.11.3 only
    "colorama": "BSD-3-Clause",  # on Windows only
    "requests-oauthlib": "ISC",  # its classifier says BSD, its text and its metadata ISC
    "rich-click": "MIT",  # the metadata hold the whole text
    "tzdata": "Apache-2.0",  # on Windows only
}
"""What the metadata of a package do not say, or not here."""

_BY_CLASSIFIER = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_BY_TEXT = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
}
_UNSAID = "UNKNOWN"
"""What older tools write where a package says nothing in a field."""

_entry = re.compile(r"^([A-Za-z0-9._-]+)==([^ \\;]+)", re.MULTILINE)
_via = re.compile(r"^    #(?: via|  ) +(?:via )?(\S+)", re.MULTILINE)
_hash = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Package(NamedTuple):
    """A locked package: the digests of its files, and who needs it."""

    name: str
    version: str
    sha256: tuple[str, ...]
    needed_by: tuple[str, ...]


def locked(text: str) -> Iterator[Package]:
    """Yield the packages of a lock file."""
    starts = [*_entry.finditer(text)]
    for found, following in zip(starts, [*starts[1:], None], strict=True):
        part = text[found.start() : following.start() if following is not None else len(text)]
        needed_by = tuple(name for name in _via.findall(part) if not name.startswith("-")) or ("account-monitor",)
        yield Package(found[1], found[2], tuple(_hash.findall(part)), needed_by)


class PagePackage(NamedTuple):
    """A package of npm that the built page ships: its digest, and what it needs itself."""

    name: str
    version: str
    licence: str
    sha512: str
    needs: tuple[str, ...]


def shipped(text: str) -> Iterator[PagePackage]:
    """Yield the packages of the lock file of the page, but for those that only build it."""
    for path, told in json.loads(text)["packages"].items():
        if path and not told.get("dev"):
            yield PagePackage(
                path.rpartition("node_modules/")[2],
                told["version"],
                told.get("license", "unknown: the lock says nothing"),
                base64.b64decode(told["integrity"].removeprefix("sha512-"), validate=True).hex(),
                tuple(told.get("dependencies", ())),
            )


def licence(name: str) -> str:
    """Return the licence of a package as an SPDX expression; what it says itself where that is none."""
    if name in STATED:
        return STATED[name]
    try:
        told = cast(Message, metadata.metadata(name))
    except metadata.PackageNotFoundError:
        return "unknown: it is not installed here"
    if expression := told["License-Expression"]:
        return str(expression)
    classifiers = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier", []) if each.startswith("License")]
    text = str(told["License"] or "").strip()
    if text and text != _UNSAID and "\n" not in text and len(text) < 40:
        return _BY_TEXT.get(text, text)
    return " OR ".join(_BY_CLASSIFIER.get(each, each) for each in classifiers) or "unknown: it says nothing"


def is_allowed(name: str, expression: str) -> bool:
    """Whether a package may be used: of what is joined by OR one licence is enough, of what is joined by AND none."""
    choices = expression.replace("(", "").replace(")", "").split(" OR ")
    return any(all(_is_permissive(name, each.strip()) for each in choice.split(" AND ")) for choice in choices)


def _is_permissive(name: str, identifier: str) -> bool:
    return identifier in ALLOWED or name in ALLOWED_FOR.get(identifier, ())


def bill(text: str, page: str) -> dict[str, Any]:
    """Return the bill of materials of the lock files of the program and of its page."""
    packages = list(locked(text))
    ours = _reference("account-monitor", __version__)
    reference = {package.name: _reference(package.name, package.version) for package in packages}
    needs: dict[str, list[str]] = {each: [] for each in (ours, *reference.values())}
    for package in packages:
        for name in package.needed_by:
            needs[reference.get(name, ours)].append(reference[package.name])
    parts = list(shipped(page))
    page_reference = {part.name: _page_reference(part) for part in parts}
    needs.update({page_reference[part.name]: [page_reference[name] for name in part.needs] for part in parts})
    needs[ours] += [page_reference[name] for name in json.loads(page)["packages"][""]["dependencies"]]
    digest = hashlib.sha256((text + page).encode()).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'account-monitor {__version__} {digest}')}",
        "version": 1,
        "metadata": {"component": _component("application", "account-monitor", __version__, "Apache-2.0", ())},
        "components": [
            *(_component("library", each.name, each.version, licence(each.name), each.sha256) for each in packages),
            *map(_page_component, parts),
        ],
        "dependencies": [{"ref": each, "dependsOn": sorted(needed)} for each, needed in sorted(needs.items())],
    }


def _reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def _page_reference(part: PagePackage) -> str:
    return f"pkg:npm/{part.name.replace('@', '%40')}@{part.version}"


def _page_component(part: PagePackage) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": _page_reference(part),
        "name": part.name,
        "version": part.version,
        "purl": _page_reference(part),
        "licenses": [{"expression": part.licence}],
        "hashes": [{"alg": "SHA-512", "content": part.sha512}],
    }


def _component(kind: str, name: str, version: str, expression: str, sha256: tuple[str, ...]) -> dict[str, Any]:
    # A package has several files, for several systems; a component has one digest. So they are properties.
    properties = [{"name": "account-monitor:locked-sha256", "value": each} for each in sorted(sha256)]
    return {
        "type": kind,
        "bom-ref": _reference(name, version),
        "name": name,
        "version": version,
        "purl": _reference(name, version),
        "licenses": [{"expression": expression}],
        **({"properties": properties} if properties else {}),
    }


def main(arguments: list[str]) -> None:
    """Do what is asked."""
    text, page = LOCK.read_text(encoding="utf-8"), PAGE_LOCK.read_text(encoding="utf-8")
    match arguments:
        case ["licences"]:
            _check_licences(text, page)
        case ["licences", lock]:
            _check_licences(Path(lock).read_text(encoding="utf-8"), None)
        case ["sbom", *files]:
            made = bill(text, page)
            written = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
            path = Path(files[0]) if files else ROOT / "sbom.json"
            path.write_text(written, encoding="utf-8")
            print(f"{path}: {len(made['components'])} packages")
        case _:
            sys.exit("usage: python -m deploy.supply licences [LOCK] | sbom [FILE]")


def _check_licences(text: str, page: str | None) -> None:
    found = {package.name: licence(package.name) for package in locked(text)}
    if page is not None:
        found |= {f"{part.name} of the page": part.licence for part in shipped(page)}
    refused = {name: expression for name, expression in found.items() if not is_allowed(name, expression)}
    for name, expression in refused.items():
        print(f"{name}: {expression}, expected one of {', '.join(sorted(ALLOWED))}", file=sys.stderr)
    if refused:
        sys.exit(f"{len(refused)} packages have a licence that nobody allowed; see deploy/supply.py")
    print(f"licences: {len(found)} locked packages, all permissive")


if __name__ == "__main__":
    main(sys.argv[1:])
