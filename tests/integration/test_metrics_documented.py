"""The page of metrics, the rules and the dashboard beside what a live service exposes, at the simulated exchange."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.certificates import Authority
from tests.deployed import dashboard_expressions, documented, family_of, metrics_in, rules
from tests.integration.market import API_KEY, market, monitored
from tests.integration.nats_server import NatsServer, nats_server_path, publish
from tests.integration.service import Service, free_port
from tests.integration.webhook import Webhook, webhook

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(nats_server_path() is None, reason="there is no nats-server"),
]

OF_THE_PROCESS = ("process_", "python_")
OF_PROMETHEUS = {"up"}
LAST_TO_COME = (
    "alerts_firing",
    "account_unrealized_pnl_usd",
    "projection_lag_events",
    "channel_letters_total",
    "heartbeats_total",
)


def exposed_by(service: Service) -> dict[str, set[frozenset[str]]]:
    """Return the metrics by name, each with the labels of its series."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    found: dict[str, set[frozenset[str]]] = {}
    for family in text_string_to_metric_families(page):
        name = {"counter": f"{family.name}_total"}.get(family.type, family.name)
        name = name.removesuffix("_info") + "_info" if family.type == "info" else name
        labels = found.setdefault(name, set())
        labels.update(frozenset(sample.labels) - {"le"} for sample in family.samples)
    return found


@pytest.fixture
async def exposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, set[frozenset[str]]]:
    """What a service exposes that has seen what can happen: fills, a cut, NATS, people, a message nobody can read."""
    with NatsServer(tmp_path / "nats") as nats:
        async with (
            webhook() as hook,
            market(1) as here,
            monitored(
                tmp_path, here, monkeypatch, nats_url=nats.url, alerts=people(tmp_path, hook), grpc=door(tmp_path)
            ) as service,
        ):
            await here.trade(200)
            here.exchange.disconnect(API_KEY, 1006)
            client = await nats.connect()
            await publish(client, [b"no JSON"])
            await client.close()

            def has_everything() -> bool:
                found = exposed_by(service)
                return all(found.get(name) for name in LAST_TO_COME)

            await asyncio.to_thread(service.wait_until, has_everything, "seen everything", 20)
            return exposed_by(service)


def door(folder: Path) -> dict[str, object]:
    """Return a gRPC door with a certificate: only where there is one its age is a metric."""
    issued = Authority(folder).issue()
    return {"port": str(free_port()), "tls": {"cert_file": str(issued.cert_file), "key_file": str(issued.key_file)}}


def people(folder: Path, hook: Webhook) -> dict[str, str]:
    """Return how people are told: on a channel that takes it, beside a dead man's switch that nobody hears."""
    (folder / "channels").write_text(hook.url)
    (folder / "heartbeat").write_text(f"http://127.0.0.1:{free_port()}/")
    return {"channels_file": str(folder / "channels"), "heartbeat_url_file": str(folder / "heartbeat")}


async def test_what_is_documented_is_exposed_and_what_is_exposed_is_documented(
    exposed: dict[str, set[frozenset[str]]],
) -> None:
    ours = {name for name in exposed if not name.startswith(OF_THE_PROCESS)}
    there, missing = documented()

    assert ours - set(there) == set(), "exposed, and not on the page"
    assert set(there) - ours == set(), "on the page, and not exposed"
    assert missing & ours == set(), "called missing, and exposed"
    for name, metric in there.items():
        assert exposed[name] <= {metric.labels}, name

    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for expression in (*(rule["expr"] for rule in rules()), *dashboard_expressions()):
        asked = {family_of(name) if family_of(name) in exposed else name for name in metrics_in(expression)}
        assert asked <= set(exposed) | missing | recorded | OF_PROMETHEUS, expression
