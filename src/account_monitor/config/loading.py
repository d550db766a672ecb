"""Loading: from a file and the environment to settings, or to the lines that say why not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from account_monitor.config.environment import overlay
from account_monitor.config.nodes import Node
from account_monitor.config.problems import Problem, Violation
from account_monitor.config.reading import Reading
from account_monitor.config.resolving import Resolver
from account_monitor.config.rules import not_built, violations
from account_monitor.config.secrets import EVERY_PURPOSE, Purpose
from account_monitor.config.settings import Settings
from account_monitor.errors import ConfigurationError


def load_settings(
    path: Path | str | None, environ: Mapping[str, str], *, secrets: Collection[Purpose] = EVERY_PURPOSE
) -> Settings:
    """Return the settings that the file and the environment make; without a path, the environment alone.

    `secrets` says for what they are resolved; the others stay None, and nobody asks whether they are there.
    Raises: ConfigurationError, one line about the first problem.
    """
    settings, problems = _examined(path, environ, secrets)
    if problems:
        raise ConfigurationError(problems[0])
    return settings


def check_settings(path: Path | str | None, environ: Mapping[str, str]) -> list[str]:
    """Return a line for every problem: the structure, contradictions, what is not built, then missing secrets."""
    return _examined(path, environ, EVERY_PURPOSE)[1]


def unbuilt(settings: Settings) -> list[str]:
    """Return a line for everything that the settings ask for and that is not built yet."""
    return [f"{violation.paths[-1]} {violation.text}" for violation in not_built(settings)]


def _examined(
    path: Path | str | None, environ: Mapping[str, str], secrets: Collection[Purpose]
) -> tuple[Settings, list[str]]:
    try:
        root, problems = _document(path)
    except ConfigurationError as error:
        return Settings(), [str(error)]
    misnamed = overlay(root, environ, Settings)
    reading = Reading(root)
    resolver = Resolver(environ, frozenset(reading.places), secrets)
    settings = resolver.resolve(reading.settings)
    structure = [*misnamed, *reading.problems]
    later = [*violations(reading.settings, reading.places), *not_built(reading.settings), *resolver.missing]
    lines = [*problems, *(problem.line for problem in structure), *_lines(later, structure, reading)]
    return settings, lines


def _document(path: Path | str | None) -> tuple[Node, list[str]]:
    if path is None:
        return Node(None, "environment"), []
    from account_monitor.config.document import read_document  # here: it brings the YAML parser along

    return read_document(Path(path))


def _lines(found: Iterable[Violation], structure: list[Problem], reading: Reading) -> Iterable[str]:
    """Yield lines about keys whose values are meant; a default that stands in for a wrong value says nothing."""
    for paths, text in found:
        if not any(problem.concerns(path) for problem in structure for path in paths):
            yield f"{reading.place(paths[-1])}: {paths[-1]} {text}"
