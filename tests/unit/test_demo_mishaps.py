"""Mishaps of the demo: the same for the same seed, each listed once before any comes again."""

from __future__ import annotations

from itertools import islice

from account_monitor.demo.mishaps import MISHAPS, in_turn


def test_every_mishap_comes_before_one_comes_again() -> None:
    first = list(islice(in_turn(3), len(MISHAPS) * 3))

    assert first[: len(MISHAPS)] == list(MISHAPS)
    for start in range(0, len(first), len(MISHAPS)):
        assert {mishap.said for mishap in first[start : start + len(MISHAPS)]} == {mishap.said for mishap in MISHAPS}


def test_the_same_seed_gives_the_same_mishaps() -> None:
    assert list(islice(in_turn(7), 50)) == list(islice(in_turn(7), 50))
