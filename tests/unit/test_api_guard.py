"""The guard: whose requests come in."""

from __future__ import annotations

from typing import Any

import pytest

from account_monitor.api.guard import Guard
from account_monitor.api.problems import Refused


def scope(scheme: str = "ws", **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "websocket", "scheme": scheme, "headers": named}


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:1", "LocalHost", "127.0.0.2:8080"])
def test_this_machine_goes_by_these_names(host: str) -> None:
    Guard("127.0.0.2", ()).check_request(scope(host=host))


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "127.0.0.3", "[::", "a b", "@localhost@x"]
)
def test_and_by_no_other(host: str) -> None:
    with pytest.raises(Refused, match="Host: "):
        Guard("127.0.0.2", ()).check_request(scope(host=host))


def test_without_a_host_nothing_is_served() -> None:
    with pytest.raises(Refused):
        Guard("::1", ()).check_request(scope())


def test_a_service_for_others_goes_by_any_name() -> None:
    Guard("0.0.0.0", ()).check_request(scope(host="desk.example.org"))  # noqa: S104  # nothing is bound


@pytest.mark.parametrize(
    ("host", "origin", "scheme"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "ws"),
        ("localhost", "http://localhost:80", "ws"),
        ("[::1]:8080", "http://[::1]:8080", "ws"),
        ("desk.example.org", "https://DESK.example.org", "wss"),
        ("localhost:8080", "https://app.example.org:443", "ws"),
    ],
)
def test_our_own_origin_and_the_allowed_ones_come_in(host: str, origin: str, scheme: str) -> None:
    Guard("127.0.0.1", ["https://app.example.org"]).check_origin(scope(scheme, host=host, origin=origin))


@pytest.mark.parametrize(
    ("host", "origin", "scheme"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8081", "ws"),
        ("127.0.0.1:8080", "http://localhost:8080", "ws"),
        ("127.0.0.1:8080", "https://127.0.0.1:8080", "ws"),
        ("desk.example.org", "http://desk.example.org", "wss"),
        ("localhost", "https://app.example.org.evil.example", "ws"),
        ("localhost", "null", "ws"),
        ("", "", "ws"),
        ("localhost", "http://localhost:99999", "ws"),
    ],
)
def test_no_other_origin_does(host: str, origin: str, scheme: str) -> None:
    with pytest.raises(Refused, match="Origin: "):
        Guard("127.0.0.1", ["https://app.example.org"]).check_origin(scope(scheme, host=host, origin=origin))


def test_programs_have_no_origin() -> None:
    Guard("127.0.0.1", ()).check_origin(scope(host="localhost"))


def test_a_body_may_be_as_large_as_said() -> None:
    guard = Guard("127.0.0.1", ())
    guard.check_request(scope(host="localhost", content_length="65536"))
    with pytest.raises(Refused, match="65537"):
        guard.check_request(scope(host="localhost", content_length="65537"))
