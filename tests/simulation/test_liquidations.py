"""Our margins are the venue's own, to the digit, and it liquidates where we say, within a tick.

Some accounts of each kind; `python -m tests.simulation.liquidations --seeds 500` walks many more.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.simulation.liquidations import KINDS, traded, walked

D = Decimal
SEEDS = range(6 * len(KINDS))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_venue_liquidates_where_we_say(seed: int) -> None:
    walk = walked(seed)
    if walk is None:
        pytest.skip("no position of this account has a liquidation price in reach")

    assert walk.ticks_off is not None, f"not liquidated at {walk.predicted}: {walk}"
    assert walk.ticks_off <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_our_margins_are_those_that_the_venue_states(seed: int) -> None:
    case = traded(seed)
    for _ in range(25):
        assert case.differences() == {}
        case.trade()
        case.move()


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if KINDS[seed % len(KINDS)] in ("cross", "isolated", "mixed")])
def test_our_liquidation_prices_are_those_that_the_venue_states(seed: int) -> None:
    """Of hedged legs the venue tells one end of the safe prices, in multi-assets mode it leaves the buffers out."""
    case = traded(seed)
    case.learn()

    stated, ours = case.stated_prices(), case.prices()

    assert stated.keys() == ours.keys()
    assert all(abs(price - ours[key]) <= D("0.00000001") for key, price in stated.items())
