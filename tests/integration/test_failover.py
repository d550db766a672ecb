"""Three processes share accounts that trade, and one after the other is lost: nobody outside sees a second writer."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.integration.drill import FREEZE, KILL, PARTITION, RESTART, Drill, busy
from tests.integration.replicas import chance_of, cluster
from tests.integration.witness import Witness

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LEASE = "postgres"
"""`python -m benchmarks failover --lease nats` does the same with the other."""
TTL_SECONDS = 2.0
BOOKS_SECONDS = 60.0
DIP_SECONDS = 20.0
"""Longer than a busy machine leaves an account without anybody."""

log = logging.getLogger(__name__)


@pytest.mark.timeout(420)
async def test_what_is_killed_frozen_cut_off_or_restarted_costs_a_moment_and_nothing_else(tmp_path: Path) -> None:
    async with (
        cluster(tmp_path, accounts=6, seed=3, lease=LEASE, ttl_seconds=TTL_SECONDS) as here,
        Witness(here) as witness,
    ):
        drill = Drill(here, witness, chance_of(3))
        async with busy(here, fills_per_second=40, dip_seconds=DIP_SECONDS):
            await drill.even()
            for kind in (KILL, FREEZE, RESTART, PARTITION):
                await drill.do(kind)
        differing = await here.end_equal(BOOKS_SECONDS)
        await witness.judge()

        log.info("%s: %s; served again after %s s", LEASE, dict(witness.counts), [f"{x:.2f}" for x in drill.killed])
        assert not witness.violations, "\n".join(witness.violations)
        assert not differing, "\n".join(f"{account}: {how}" for account, how in differing.items())
        assert all(witness.counts[what] for what in ("messages", "entries", "reports", "alerts", "dips", "takeovers"))
