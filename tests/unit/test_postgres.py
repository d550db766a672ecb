"""How a server of PostgreSQL is named to people, by whoever asks it."""

from __future__ import annotations

import pytest

from account_monitor.cluster.postgres import PostgresLeases
from account_monitor.postgres import server_of


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("postgresql://me@db.example.org:5432/trading", "db.example.org:5432/trading"),
        ("postgresql://me:p@ss@db.example.org/trading?sslmode=require", "db.example.org/trading"),
        ("postgresql://one:1,two:2/trading", "one:1,two:2/trading"),
        ("postgresql://me@[::1]:5432", "[::1]:5432"),
        ("postgresql:///trading?host=db.example.org", "db.example.org/trading"),
        ("postgresql://me@/a%20b?sslmode=disable&host=/run/postgresql", "a b in /run/postgresql"),
        ("postgresql://%2Frun%2Fpostgresql/trading", "trading in /run/postgresql"),
        ("postgresql:///trading", "localhost/trading"),
    ],
)
def test_a_server_is_named_without_its_user(url: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST", raising=False)

    assert server_of(url) == server
    assert PostgresLeases(url).description == f"PostgreSQL {server}"


def test_a_server_that_the_environment_names_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "/run/postgresql")

    assert server_of("postgresql:///trading") == "trading in /run/postgresql"
    assert server_of("postgresql://db/trading") == "db/trading"
