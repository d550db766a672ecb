"""The site: is every page in it, and does it hold nothing that is not kept in the repository?"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from account_monitor import __version__
from account_monitor.api.renderer import Renderer
from account_monitor.api.rendering import Renderings
from account_monitor.api.rest import openapi_document
from account_monitor.monitor.desk import Desk
from docs.loads import loads
from docs.pictures import MOST_BYTES, SCHEMES, SIZES
from docs.reference import grpc_page, read_definition, rest_page
from docs.site import ROOT, SETTINGS, led, main, navigation, page_of, pages, tracked


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("docs/api.md", "api.md"),
        ("docs/decisions/0001-venue-order.md", "decisions/0001-venue-order.md"),
        ("CHANGELOG.md", "repository/CHANGELOG.md"),
        ("deploy/compose.yaml", "repository/deploy/compose.yaml.md"),
        ("deploy", "repository/deploy.md"),
    ],
)
def test_everything_in_the_repository_has_its_page(path: str, page: str) -> None:
    assert page_of(path) == page


def test_a_link_out_of_the_documentation_leads_to_the_page_of_the_file() -> None:
    text = "[a](../deploy/compose.yaml) [b](api.md#rest) [c](#here) [d](https://example.org)\n```\n[e](../x)\n```\n"

    assert led(text, place="docs/deployment.md") == (
        "[a](repository/deploy/compose.yaml.md) [b](api.md#rest) [c](#here) [d](https://example.org)\n"
        "```\n[e](../x)\n```\n"
    )


def test_a_file_of_the_repository_leads_back_to_the_documentation() -> None:
    assert led("[a](docs/api.md)", place="README.md") == "[a](../api.md)"


def test_what_the_repository_ignores_is_not_shown(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("/secrets/\n")
    (tmp_path / "page.md").write_text("# A page")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key.md").write_text("# A key")

    assert tracked(tmp_path) == ["page.md"]


def test_a_file_and_a_folder_that_a_page_leads_to_become_pages() -> None:
    shown = dict(pages(tracked()))

    assert "- alert: AccountMonitorDown" in shown["repository/deploy/prometheus/account-monitor.rules.yml.md"]
    assert "- [`compose.yaml`](deploy/compose.yaml.md)" in shown["repository/deploy.md"]


def test_a_page_that_the_navigation_does_not_name_yet_stands_at_its_end() -> None:
    named = [{"Start": ["start.md"]}]

    assert navigation(named, ["decisions/0001-x.md", "new.md", "repository/README.md", "start.md"]) == [
        {"Start": ["start.md"]},
        {"Decisions": ["decisions/0001-x.md"]},
        {"More": ["new.md"]},
    ]


def test_what_the_builder_reads_is_whole(tmp_path: Path) -> None:
    main(tmp_path / "site")

    written = (tmp_path / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    before, _, nav = written.partition("\nnav:\n")
    assert before == SETTINGS.read_text(encoding="utf-8").partition("\nnav:\n")[0]
    for page in [page for section in yaml.safe_load(nav) for listed in section.values() for page in listed]:
        assert (tmp_path / "site" / "pages" / page).is_file(), page


def test_the_reference_has_every_address_with_its_parameters_and_answers() -> None:
    document = openapi_document(Desk(lambda: 0, __version__), Renderings(0, Renderer()))
    page = rest_page(document)

    assert "see [REST and WebSocket](../api.md)." in page
    assert "### GET /api/positions" in page
    assert "### POST /api/corrections" in page
    assert "| `limit` | integer | Entries to name, the youngest. (from 0, to 1000, default 100) |" in page
    assert "late fills included. (default false) |" in page
    assert "| `win_rate` | decimal or null | Winning round trips per hundred; null without any. |" in page
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"\n### {method.upper()} {path}\n" in page
    for name in document["components"]["schemas"]:
        assert f"\n### {name}\n" in page


def test_the_reference_has_every_message_of_grpc_with_its_comments() -> None:
    definition = read_definition()
    page = grpc_page(definition)

    assert "| 2 | `symbol` | string | A position key. Required. |" in page
    assert "| 1 | `positions` | map of string to [Position](#position) | By position key. |" in page
    assert "a stream of [WatchAccountResponse](#watchaccountresponse)" in page
    for message in definition.message_type:
        assert f"\n### {message.name}\n" in page


def test_what_a_page_loads_from_elsewhere_is_named_and_a_link_is_not(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://example.org">out</a><script src="assets/ours.js"></script>'
        '<script src="https://cdn.example.org/x.js"></script><style>@import "//fonts.example.org/f.css"</style>'
    )
    (tmp_path / "site.css").write_text("a { background: url(https://example.org/p.png) } b { background: url(data:x) }")

    assert list(loads(tmp_path)) == [
        "page.html loads https://cdn.example.org/x.js",
        "page.html loads //fonts.example.org/f.css",
        "site.css loads https://example.org/p.png",
    ]


def test_a_site_that_is_not_there_is_no_site_that_loads_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no page is there"):
        list(loads(tmp_path))


def test_pictures_are_small_enough_to_be_looked_at() -> None:
    pictures = sorted((ROOT / "docs" / "assets").glob("*.webp"))

    assert len(pictures) == len(SIZES) * len(SCHEMES)
    assert [path.name for path in pictures if path.stat().st_size > MOST_BYTES] == []
