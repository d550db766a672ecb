"""The protocol of the leases bears what goes wrong, and the model of it sees what people get wrong."""

from __future__ import annotations

import pytest

from tests.simulation.cluster_model import Mistake, World, explore

ONLY_ELSEWHERE = {Mistake.NOT_CLAIMED, Mistake.REFUSAL_IGNORED}
"""Mistakes about a database that is not where the leases are."""


@pytest.mark.slow
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["one database", "leases elsewhere"])
def test_every_promise_is_kept(is_elsewhere: bool) -> None:
    assert explore(range(120), is_elsewhere=is_elsewhere) is None


@pytest.mark.slow
@pytest.mark.parametrize("mistake", Mistake)
def test_each_mistake_breaks_a_promise(mistake: Mistake) -> None:
    assert explore(range(200), mistake, is_elsewhere=mistake in ONLY_ELSEWHERE) is not None


def test_a_seed_says_everything_that_happens() -> None:
    worlds = [World(10), World(10)]
    for world in worlds:
        world.run()

    assert worlds[0].database.entries == worlds[1].database.entries
    assert len({entry.epoch for entry in worlds[0].database.entries}) > 2  # it was taken over, more than once
