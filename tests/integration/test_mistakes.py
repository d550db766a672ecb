"""A password that is wrong is no outage: it is told at once, with what to change, and mended without a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from account_monitor.historian.historian import UNAVAILABLE_SECONDS
from tests.integration.service import Service
from tests.servers.postgres import FreshDatabase

pytestmark = pytest.mark.integration

VARIABLE = "TEST_DATABASE_PASSWORD"
ADVICE = "see the user in database.url and what database.password_env or database.password_file names"


@pytest.fixture
def service(tmp_path: Path, postgres_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service whose database has another password for it."""
    if postgres_database.role is None:
        pytest.skip("no roles can be made on this server")
    parts = urlsplit(postgres_database.url)
    monkeypatch.setenv(VARIABLE, "hunter2")
    service = Service(tmp_path, None)
    service.document["database"] = {
        "url": f"postgresql://{parts.username}@{parts.hostname}:{parts.port}{parts.path}",
        "password_env": VARIABLE,
    }
    return service


def start_with_a_journal(service: Service) -> None:
    """Start it once without the database, so that it has a journal and needs no past, and then with it."""
    database, service.document["database"] = service.document["database"], {}
    service.start()
    assert service.stop() == 0
    service.document["database"] = database
    service.start()


async def mend(database: FreshDatabase) -> None:
    """Give the role the password that the service has."""
    admin = await asyncpg.connect(database.admin_url)
    await admin.execute(f"ALTER ROLE {database.role} PASSWORD 'hunter2'")
    await admin.close()


def logged(service: Service, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in service.log_file.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


async def test_a_start_that_needs_the_past_says_what_is_wrong_and_goes_on_once_it_is_mended(
    service: Service, postgres_database: FreshDatabase
) -> None:
    service.start(wait=False)
    try:
        service.wait_until(lambda: ADVICE in str(service.get("/ready")[1]["reason"]), "told")
        (refused,) = logged(service, "history_refused")
        await mend(postgres_database)
        service.wait_ready()
    finally:
        assert service.stop() == 0

    assert refused["level"] == "error"
    assert f"{ADVICE}; tried again every 1 s, until then the account waits" in refused["reason"]
    assert "hunter2" not in service.log_file.read_text()


async def test_an_account_that_needs_the_past_comes_by_itself_once_it_is_mended(
    service: Service, postgres_database: FreshDatabase
) -> None:
    start_with_a_journal(service)
    try:
        service.document["accounts"].append({"name": "new", "exchange": "none"})
        service.document["alerts"] = {"enabled": "false"}
        service.write_config()
        service.wait_until(lambda: "configuration" in service.get("/health")[1]["checks"], "told")
        told = service.get("/health")[1]["checks"]["configuration"]
        await mend(postgres_database)
        service.wait_until(lambda: service.get("/api/account?account=new")[0] == 200, "reloaded")
        assert "configuration" not in service.get("/health")[1]["checks"]
    finally:
        assert service.stop() == 0

    assert told["status"] == "degraded"
    assert told["message"].startswith("what was changed is not taken over: ")
    assert told["message"].endswith(f"{ADVICE}; tried again every 5 s")
    (waits,) = logged(service, "reload_waits")
    assert waits["level"] == "warning"
    assert len(logged(service, "reloaded")) == 1


async def test_a_running_service_fires_at_once_and_catches_up_once_it_is_mended(
    service: Service, postgres_database: FreshDatabase
) -> None:
    start_with_a_journal(service)
    try:
        service.wait_until(lambda: service.get("/api/alerts")[1]["alerts"], "fired", UNAVAILABLE_SECONDS - 1)
        (alert,) = service.get("/api/alerts")[1]["alerts"]
        health = service.get("/health")[1]["checks"]["history"]
        await mend(postgres_database)
        service.wait_until(lambda: service.get("/api/alerts?state=FIRING")[1]["alerts"] == [], "resolved")
    finally:
        assert service.stop() == 0

    host = urlsplit(postgres_database.url)
    assert alert["message"].startswith(f"{host.hostname}:{host.port}{host.path}: password authentication failed")
    assert f"{ADVICE}; tried again every 5 s" in alert["message"]
    assert alert["message"] in health["message"]
    assert len(logged(service, "history_refused")) == 1
