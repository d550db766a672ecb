"""Problems: what is wrong with a configuration, one line each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from account_monitor.config.nodes import joined
from account_monitor.config.schema import keys_of
from account_monitor.config.secrets import is_secret_name


class Problem(NamedTuple):
    """A line for the operator, and the keys that it is about."""

    paths: tuple[str, ...]
    line: str

    def concerns(self, path: str) -> bool:
        """Whether `path` is one of its keys, or stands below one."""
        return any(path == mine or not mine or path.startswith((f"{mine}.", f"{mine}[")) for mine in self.paths)


class Violation(NamedTuple):
    """The keys that do not go together, the last one named first in the line, and what is wrong with it."""

    paths: tuple[str, ...]
    text: str


def unknown_key(section: type, path: str, key: str, where: str) -> Problem:
    """Return the line about a key that `section`, at `path`, does not have; a secret is never shown."""
    known = list(keys_of(section))
    full = joined(path, key)
    sources = [name for name in known if name.endswith("_env")]
    if is_secret_name(key) and not key.endswith(("_env", "_file")):
        line = f"{where}: {full}: secrets are not written into the configuration; {_right_way(path, key, sources)}"
        return Problem((full,), line)
    nearest = _nearest(key, known)
    hint = f"did you mean {joined(path, nearest)}?" if nearest else f"known here: {', '.join(known)}"
    return Problem((full,), f"{where}: {full} is not a known key; {hint}")


def _right_way(path: str, key: str, sources: list[str]) -> str:
    name = f"{key}_env" if f"{key}_env" in sources else _nearest(f"{key}_env", sources, cutoff=0.3)
    if name is None:
        return "they come from environment variables and files that keys ending in _env and _file name"
    file_key = name.removesuffix("_env") + "_file"
    return f"name an environment variable in {joined(path, name)}, or a file in {joined(path, file_key)}"


def _nearest(key: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    import difflib  # here, because a configuration without mistakes never needs it

    return next(iter(difflib.get_close_matches(key[:80].lower(), list(known), n=1, cutoff=cutoff)), None)
