"""What every test starts with: exact arithmetic as in the service, servers, properties that no slow machine fails."""

from __future__ import annotations

import os

import pytest
import structlog
from hypothesis import HealthCheck, settings

from account_monitor.ledger.money import use_exact_arithmetic

pytest_plugins = ["tests.servers.fixtures"]  # databases and Redis, started when a test asks for one

use_exact_arithmetic()

# The first text on a fresh clone takes a second: hypothesis writes down its table of characters then.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def logs_as_they_are_before_a_command_sets_them() -> None:
    """Take back what an earlier test in this process made of the logs: their level, and where they are written."""
    structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no process is left alone with it in the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_xdist_auto_num_workers() -> int | None:
    """Return how many processes `-n auto` is: more than there are cores, as tests wait for half of their time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # whoever sets it knows better
    return (os.cpu_count() or 1) + 2
