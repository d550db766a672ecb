"""A few worlds on every run; `make sim` lives through as many as one likes, and CI through 200."""

from __future__ import annotations

import pytest

from tests.simulation.worlds import check


@pytest.mark.parametrize("seed", range(3))
def test_in_the_end_of_every_world_the_books_are_equal_and_every_dollar_is_explained(seed: int) -> None:
    check(seed)


@pytest.mark.parametrize(
    "seed", [pytest.param(1602, id="searches-for-rows-listed-late-left-no-weight-for-comparisons")]
)
def test_a_world_that_failed_once_holds(seed: int) -> None:
    check(seed)
