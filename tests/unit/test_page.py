"""The files of the dashboard as they are sent."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from account_monitor.api.asgi import Reply
from account_monitor.api.page import Page


@pytest.fixture
def page(tmp_path: Path) -> Page:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>here")
    (tmp_path / "assets" / "index-0f.js").write_text("let x = 1")
    (tmp_path / "built-from.txt").write_text("a hash")
    return Page(tmp_path)


def ask(page: Page, path: str, **headers: str) -> Reply | None:
    stated = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return page.reply({"path": path, "headers": stated})


def answered(page: Page, path: str, **headers: str) -> Reply:
    reply = ask(page, path, **headers)
    assert reply is not None
    return reply


def test_only_files_of_the_page_are_sent(page: Page) -> None:
    assert answered(page, "/").body == b"<p>here"
    assert answered(page, "/assets/index-0f.js").media_type == "text/javascript; charset=utf-8"
    assert [ask(page, path) for path in ("/built-from.txt", "/assets", "/../page.py", "/api/account")] == [None] * 4


@pytest.mark.parametrize(
    ("stated", "is_zipped"),
    [("gzip, br", True), ("br;q=1, gzip;q=0.5", True), ("gzip;q=0", False), ("gzip;q=0.0", False), ("", False)],
)
def test_who_takes_gzip_is_sent_it(page: Page, stated: str, is_zipped: bool) -> None:
    reply = answered(page, "/", accept_encoding=stated)

    assert ((b"content-encoding", b"gzip") in reply.headers) is is_zipped
    assert (gzip.decompress(reply.body) if is_zipped else reply.body) == b"<p>here"


def test_who_has_a_file_in_this_form_is_not_sent_it_again(page: Page) -> None:
    tag = dict(answered(page, "/").headers)[b"etag"].decode()

    assert answered(page, "/", if_none_match=tag).status == 304
    assert answered(page, "/", if_none_match=tag, accept_encoding="gzip").status == 200  # another form


def test_what_carries_its_hash_in_its_name_may_be_kept_and_nothing_else(page: Page) -> None:
    kept = {path: dict(answered(page, path).headers)[b"cache-control"] for path in ("/", "/assets/index-0f.js")}

    assert kept["/"] == b"no-cache"
    assert b"immutable" in kept["/assets/index-0f.js"]


def test_a_page_that_was_not_built_says_so(tmp_path: Path) -> None:
    assert b"was not built here" in answered(Page(tmp_path), "/").body
