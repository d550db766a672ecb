"""What every test starts with: exact arithmetic as in the service, servers, properties that no slow machine fails."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from account_monitor.ledger.money import use_exact_arithmetic

pytest_plugins = ["tests.servers.fixtures"]  # databases and Redis, started when a test asks for one

use_exact_arithmetic()

# The first text on a fresh clone takes a second: hypothesis writes down its table of characters then.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("any machine")
