"""Links: does everything that is written lead somewhere, to the section and not only to the page?"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from docs.site import ROOT, links, tracked

FILES = tracked()
PAGES = [path for path in FILES if path.endswith(".md")]
TEXTS = (".cfg", ".in", ".md", ".proto", ".py", ".service", ".sh", ".ts", ".tsx", ".txt", ".yaml", ".yml")

_link = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_heading = re.compile(r"^#+ (.+)$", re.MULTILINE)
_code = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_mention = re.compile(r"\bdocs/[\w/-]+\.(?:md|svg|webp)(?:#[\w-]+)?")


@cache
def anchors(path: str) -> frozenset[str]:
    """Return the anchors of a page as GitHub, and the site, name them."""
    text = _code.sub("", (ROOT / path).read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    for heading in _heading.findall(text):
        slug = re.sub(r"[^\w -]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).strip().replace(" ", "-")
        found[slug] = found.get(slug, 0) + 1
    return frozenset(found) | {f"{slug}-{n}" for slug, count in found.items() for n in range(1, count)}


def wrong(place: str, target: str) -> str | None:
    """Return what is wrong with a link; None where it leads somewhere, or out of the repository."""
    if ":" in target:
        return None
    path, _, section = target.partition("#")
    full = (ROOT / place).parent / path if path else ROOT / place
    resolved = full.resolve().relative_to(ROOT).as_posix()
    if resolved not in FILES and not any(file.startswith(f"{resolved}/") for file in FILES):
        return f"{place}: {target}: there is no {resolved}"
    if section and section not in anchors(resolved):
        return f"{place}: {target}: {resolved} has no section #{section}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    text = _code.sub("", (ROOT / page).read_text(encoding="utf-8"))

    assert [found for target in _link.findall(text) if (found := wrong(page, target))] == []


def test_every_page_of_the_documentation_that_anything_names_is_there() -> None:
    """Messages, comments, rules and manifests name pages by their place in the repository."""
    mentions = {
        (path, found)
        for path in FILES
        if path.endswith(TEXTS) and Path(path).name != Path(__file__).name
        for found in _mention.findall((ROOT / path).read_text(encoding="utf-8"))
    }

    assert len(mentions) > 50
    assert [said for path, target in sorted(mentions) if (said := wrong("README.md", target)) and path] == []


def test_the_readme_leads_to_every_page_in_few_steps() -> None:
    reached, waiting = {"README.md", "docs/index.md"}, ["README.md"]  # the other is the README of the site
    while waiting:
        place = waiting.pop()
        found = set(links((ROOT / place).read_text(encoding="utf-8"), place=place))
        if "docs/decisions" in found:
            found |= {page for page in PAGES if page.startswith("docs/decisions/")}
        new = {page for page in found if page in PAGES} - reached
        reached |= new
        waiting += new

    assert {page for page in PAGES if page.startswith("docs/")} <= reached


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("docs/api.md", None),
        ("docs/api.md#websocket", None),
        ("docs", None),
        ("https://example.org/nothing", None),
        ("docs/nothing.md", "README.md: docs/nothing.md: there is no docs/nothing.md"),
        ("docs/api.md#nothing", "README.md: docs/api.md#nothing: docs/api.md has no section #nothing"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(target: str, said: str | None) -> None:
    assert wrong("README.md", target) == said
