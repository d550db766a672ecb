"""Loads: does a built site load anything from elsewhere, such as fonts, scripts or pictures? Links may lead anywhere.

python -m docs.loads SITE    names each address and the file that loads it, and fails where there is one
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

LOADING = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "script": "src",
    "source": "src",
}
_in_style = re.compile(r"(?:url\(|@import )\s*[\"']?((?:https?:)?//[^\"')\s]+)")


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(LOADING.get(tag, "")) or ""
        if address.startswith(("http://", "https://", "//")):
            self.addresses.append(address)


def loaded_by(path: Path) -> list[str]:
    """Return the addresses elsewhere that a page or a style sheet loads something from."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return _in_style.findall(text)
    reader = _Loads()
    reader.feed(text)
    return [*reader.addresses, *_in_style.findall(text)]


def loads(site: Path) -> Iterator[str]:
    """Yield a line for each address. Raises: SystemExit where there is no site."""
    files = sorted(path for path in site.rglob("*") if path.suffix in (".css", ".html"))
    if not files:
        sys.exit(f"{site}: no page is there; `make docs` makes them")
    for path in files:
        yield from (f"{path.relative_to(site)} loads {address}" for address in loaded_by(path))


def main(site: Path) -> None:
    """Say what is loaded from elsewhere, and fail."""
    found = list(loads(site))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        sys.exit(f"{site}: {len(found)} addresses elsewhere, expected none: the site has to work without a network")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.loads SITE")
    main(Path(sys.argv[1]))
