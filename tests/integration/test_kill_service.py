"""Killed with -9 at any moment, restarted on the same data: no fill of the stream is missing, none counts twice."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from tests.integration.nats_server import NatsServer
from tests.integration.publisher import SteadyPublisher, assert_equal_to
from tests.integration.service import Service

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILLS = 50


@pytest.mark.timeout(400)
def test_killed_at_random_moments_under_load_nothing_is_missing_and_nothing_counts_twice(
    tmp_path: Path, server: NatsServer
) -> None:
    generator = random.Random(20261122)
    publisher = SteadyPublisher(server.url, seed=1)
    publisher.start()
    service = Service(tmp_path, server.url)
    for _ in range(KILLS):
        service.start(wait=False)
        time.sleep(generator.uniform(0.3, 1.6))  # while it imports, folds, connects, reads, commits
        service.kill()
    service.start()
    publisher.finish()
    service.wait_until(lambda: service.fill_count() == len(publisher.fills), "complete")
    account = service.account()
    assert_equal_to(publisher.fills, account)
    assert service.stop() == 0

    replayed = service.command("replay", "--verify", "--config", str(service.config_file))

    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["positions"] == account["positions"]


@pytest.mark.timeout(240)
def test_a_nats_server_that_is_killed_and_restarted_costs_nothing(tmp_path: Path, server: NatsServer) -> None:
    publisher = SteadyPublisher(server.url, seed=2)
    publisher.start()
    service = Service(tmp_path, server.url)
    service.start()
    for _ in range(5):
        time.sleep(1.0)
        server.kill()
        time.sleep(0.2)
        server.start()
    publisher.finish()

    service.wait_until(lambda: service.fill_count() == len(publisher.fills), "complete")

    assert_equal_to(publisher.fills, service.account())
    assert service.stop() == 0
