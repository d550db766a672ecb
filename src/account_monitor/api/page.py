"""Page: the dashboard's files, as `dashboard/build.py` made them, from memory. They hold no account data."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from account_monitor.api.asgi import Headers, Reply, Scope, header

FOLDER = Path(__file__).with_name("dashboard")
INDEX = "index.html"

_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads only what is its own, and nobody frames it."""

_NOT_BUILT = b"""<!doctype html><meta charset="utf-8"><title>account-monitor</title>
<p>The dashboard was not built here: it takes npm, and <code>make setup</code> tries it again.
<p>The same figures: <a href="/api/account">/api/account</a> &middot; every address: <a href="/docs">/docs</a>"""


class File(NamedTuple):
    """A file as it is sent. A name with a hash in it never changes its content."""

    body: bytes
    zipped: bytes
    media_type: str
    tag: str
    headers: Headers


class Page:
    """The files of the dashboard by path."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = _read(folder) or {"/": _file(INDEX, _NOT_BUILT)}

    def reply(self, scope: Scope) -> Reply | None:
        """Return the answer to a GET, None where no file has this path."""
        file = self._files.get(scope["path"])
        if file is None:
            return None
        is_zipped = _takes_gzip(header(scope, b"accept-encoding") or "")
        tag = f'"{file.tag}{"-gzip" if is_zipped else ""}"'
        headers = (*file.headers, (b"etag", tag.encode()))
        if header(scope, b"if-none-match") == tag:
            return Reply(304, b"", file.media_type, headers)
        if is_zipped:
            return Reply(200, file.zipped, file.media_type, (*headers, (b"content-encoding", b"gzip")))
        return Reply(200, file.body, file.media_type, headers)


def _takes_gzip(stated: str) -> bool:
    codings = [coding.replace(" ", "").lower() for coding in stated.split(",")]
    return any(each == "gzip" or (each.startswith("gzip;q=") and each[7:].strip("0.") != "") for each in codings)


def _read(folder: Path) -> Mapping[str, File]:
    """Return the files by path; none where the dashboard was not built."""
    if not (folder / INDEX).is_file():
        return {}
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in _TYPES]
    files = {f"/{name}": _file(name, (folder / name).read_bytes()) for name in names}
    return {**files, "/": files[f"/{INDEX}"]}


def _file(name: str, body: bytes) -> File:
    suffix = Path(name).suffix
    lasts = b"public, max-age=31536000, immutable" if name.startswith("assets/") else b"no-cache"
    headers: Headers = (
        (b"cache-control", lasts),
        (b"vary", b"accept-encoding"),
        (b"content-security-policy", POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
    )
    tag = hashlib.sha256(body).hexdigest()[:16]
    return File(body, gzip.compress(body, 9, mtime=0), f"{_TYPES[suffix]}; charset=utf-8", tag, headers)
