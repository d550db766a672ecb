"""Site: what the site is made from. Which pages has it, and where does a link out of docs/ lead?

python -m docs.site FOLDER    write its pages to FOLDER/pages, and its configuration to FOLDER/mkdocs.yml

The pages are those of docs/ and the reference that docs/reference.py makes. A page may link to any file of the
repository, as it does where the repository is read. In the site such a file is a page below repository/, and a folder a
list of what lies in it: the site needs nothing but itself.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from docs import reference

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ROOT / "mkdocs.yml"

LANGUAGES = {".json": "json", ".proto": "protobuf", ".py": "python", ".sh": "bash", ".yaml": "yaml", ".yml": "yaml"}
"""How the files of the repository are coloured."""

PICTURES = (".svg", ".webp")
"""What is copied as it is."""

UNSEARCHED = "---\nsearch: {exclude: true}\n---\n"
"""Before pages that the search leaves out: who looks for a word wants what is written about it, not each manifest."""

_link = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
_fence = re.compile(r"^```", re.MULTILINE)


# -- which page shows what ---------------------------------------------------------------------------------------------


def page_of(path: str) -> str:
    """Return which page of the site shows a file or a folder of the repository, such as `docs/api.md` or `deploy`."""
    if path.startswith("docs/") and (ROOT / path).is_file():
        return path.removeprefix("docs/")
    return f"repository/{path}" if path.endswith(".md") else f"repository/{path}.md"


def led(markdown: str, *, place: str) -> str:
    """Return what stands at a place in the repository with its links leading to the pages of the site."""
    here = posixpath.dirname(page_of(place))

    def lead(target: str) -> str:
        path, mark, section = target.partition("#")
        return posixpath.relpath(page_of(_resolved(place, path)), here) + mark + section

    return _with_links(markdown, lead)


def links(markdown: str, *, place: str) -> list[str]:
    """Return the files and folders of the repository that a page at a place leads to."""
    found: list[str] = []

    def note(target: str) -> str:
        found.append(_resolved(place, target.partition("#")[0]))
        return target

    _with_links(markdown, note)
    return found


def _with_links(markdown: str, change: Callable[[str], str]) -> str:
    def changed(found: re.Match[str]) -> str:
        is_ours = ":" not in found[2] and not found[2].startswith("#")
        return found[1] + (change(found[2]) if is_ours else found[2]) + found[3]

    parts = _fence.split(markdown)  # every other one is code
    return "```".join(part if number % 2 else _link.sub(changed, part) for number, part in enumerate(parts))


def _resolved(place: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), path))


# -- the pages ---------------------------------------------------------------------------------------------------------


def tracked(root: Path = ROOT) -> list[str]:
    """Return the files of a repository. What it ignores, such as secrets and data, is never shown."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True)  # noqa: S603 - no word of it is given
    return sorted(path for path in set(listed.stdout.decode().split("\0")) if path and not _is_hidden(path))


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))  # builders leave such pages out


def pages(files: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each page of docs/, and each of the files that they lead to: its path in the site, and its Markdown."""
    waiting = [path for path in files if path.startswith("docs/") and path.endswith(".md")]
    seen = set(waiting)
    while waiting:
        place = waiting.pop()
        markdown = _markdown(place, files)
        yield page_of(place), led(markdown, place=place)
        found = {path for path in links(markdown, place=place) if _is_shown(path, files)} - seen
        seen |= found
        waiting += sorted(found)


def _is_shown(path: str, files: list[str]) -> bool:
    """Whether a path gets a page; pictures are copied as they are, and what is not there is for the builder to name."""
    return not path.endswith(PICTURES) and (path in files or any(file.startswith(f"{path}/") for file in files))


def _markdown(path: str, files: list[str]) -> str:
    if path not in files:
        below = [file for file in files if file.startswith(f"{path}/")]
        items = [
            f"- [`{posixpath.relpath(file, path)}`]({posixpath.relpath(file, posixpath.dirname(path))})"
            for file in below
        ]
        return f"{UNSEARCHED}# {path}\n\n" + "\n".join(items) + "\n"
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    return f"{UNSEARCHED}# {path}\n\n````{LANGUAGES.get(posixpath.splitext(path)[1], 'text')}\n{text}````\n"


# -- the navigation ----------------------------------------------------------------------------------------------------


def navigation(named: list[Any], present: list[str]) -> list[Any]:
    """Return what mkdocs.yml names, with the decisions, and at last the pages of docs/ that it does not name yet."""
    decisions = [page for page in present if page.startswith("decisions/")]
    others = [page for page in present if page not in {*_names(named), *decisions} and "/" not in page]
    return [*named, {"Decisions": decisions}, *([{"More": others}] if others else [])]


def _names(nav: Any) -> Iterator[str]:
    match nav:
        case str():
            yield nav
        case dict():
            yield from _names([*nav.values()])
        case list():
            for each in nav:
                yield from _names(each)
        case _:
            raise ValueError(f"mkdocs.yml: nav holds {nav!r}, expected pages, and lists of pages by title")


# -- all of it ---------------------------------------------------------------------------------------------------------


def main(folder: Path) -> None:
    """Write what the site is made from."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder / "pages", ignore=shutil.ignore_patterns("*.py", "*.md", "__pycache__"))
    reference.main(folder / "pages" / "reference")
    made = dict(pages(tracked()))
    for page, markdown in made.items():
        path = folder / "pages" / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(markdown, encoding="utf-8")
    # The navigation stands at the end; what stands before it has tags that only the builder understands.
    before, mark, nav = SETTINGS.read_text(encoding="utf-8").partition("\nnav:\n")
    written = yaml.safe_dump(navigation(yaml.safe_load(nav), sorted(made)), sort_keys=False)
    (folder / "mkdocs.yml").write_text(before + mark + written, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.site FOLDER")
    main(Path(sys.argv[1]))
