"""Pace: how long until the next attempt? For ever, not in step with others, and slowly where asking makes it worse."""

from __future__ import annotations

from random import Random
from typing import Final

LONGEST_BACKOFF_SECONDS: Final = 60.0

SLOW_SECONDS: Final = 300.0
"""After a ban or a refused API key, which nothing but time or the operator can mend."""

STABLE_SECONDS: Final = 60.0
"""A connection that lived for so long ends a series of failures."""

BANNED: Final = (403, 418, 429)
"""HTTP answers to a handshake that get worse by asking again."""

_MOST_DOUBLINGS = 16


class Pace:
    """The pauses of one series of attempts: none before the first, then at random up to a bound that doubles."""

    def __init__(self, first_seconds: float, chance: Random) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = max(first_seconds, LONGEST_BACKOFF_SECONDS)
        self._chance = chance
        self._failures = 0

    def pause(self) -> float:
        """Return the seconds to wait before another attempt, and count it."""
        failures, self._failures = self._failures, self._failures + 1
        if failures == 0:
            return 0  # a gap costs more than one attempt
        bound = self._first_seconds * 2 ** min(failures - 1, _MOST_DOUBLINGS)
        return self._chance.uniform(0, min(self._longest_seconds, bound))

    def slow_pause(self) -> float:
        """Return the seconds to wait where asking soon makes it worse."""
        return self._chance.uniform(SLOW_SECONDS / 2, SLOW_SECONDS)

    def reset(self) -> None:
        """The series is over."""
        self._failures = 0
